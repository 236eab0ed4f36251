import contextlib
import io
import os
import signal
import time

import pytest

from limbeck.progress import Bar, Interruptible, Lines, Silent, duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.949, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_a_duration_is_said_as_a_person_would(seconds, shown):
    assert duration(seconds) == shown


def test_in_a_log_a_stage_is_a_line_when_it_ends():
    log = io.StringIO()
    lines = Lines(log)
    lines.start("student 2x16", 100)
    lines.at(50, "loss 0.5")
    lines.end("loss 0.25")
    (line,) = log.getvalue().splitlines()
    assert line.startswith("student 2x16: done in ")
    assert line.endswith(", loss 0.25")


def test_in_a_log_a_long_stage_says_how_far_it_is():
    log = io.StringIO()
    lines = Lines(log, every=0.0)
    lines.start("teacher", 200)
    lines.at(10)
    time.sleep(0.01)
    lines.at(50, "loss 0.5")
    first, second = log.getvalue().splitlines()
    assert first == "teacher: 5%"
    assert second.startswith("teacher: 25%, loss 0.5, about ")
    assert second.endswith(" left")


def test_the_time_left_goes_by_the_pace_since_a_stage_was_gone_on_with(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log = io.StringIO()
    lines = Lines(log, every=10.0)
    lines.start("teacher", 1000)
    for done, now[0] in ((500, 1.0), (510, 11.0)):
        lines.at(done)
    assert log.getvalue() == "teacher: 51%, about 8 min 10 s left\n"


def test_a_stage_of_no_steps_is_no_trouble():
    lines = Lines(io.StringIO(), every=0.0)
    lines.start("nothing", 0)
    lines.at(0)
    lines.end()


def test_a_bar_leaves_a_line_and_shows_brackets_as_they_are():
    screen = io.StringIO()
    bar = Bar(screen)
    bar.start("student [red]x[/red]", 10)
    bar.at(5, "loss [bold]")
    bar.line("a line [above]")
    bar.end("loss 0.5")
    assert "student [red]x[/red]: done in" in screen.getvalue()
    assert "a line [above]" in screen.getvalue()


def test_a_bar_that_was_stopped_can_be_stopped_again():
    bar = Bar(io.StringIO())
    bar.stop()
    bar.start("teacher", 10)
    bar.stop()
    bar.stop()
    bar.at(3)


def test_an_interruption_that_was_lost_comes_again_with_the_next_step():
    progress = Interruptible(Silent())
    before = signal.getsignal(signal.SIGINT)
    with progress.heeding() as heeded:
        heeded.start("training", 10)
        heeded.at(1)
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        heeded.line("cleaning up")
        with pytest.raises(KeyboardInterrupt):
            heeded.at(2)
        with pytest.raises(KeyboardInterrupt):
            heeded.start("another", 10)
    assert signal.getsignal(signal.SIGINT) is before
