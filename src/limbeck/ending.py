"""How the command ends: an error that a user can mend is one line on stderr, with an exit code of its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence

import typer

from limbeck.errors import LimbeckError, is_out_of_memory

_OUT_OF_MEMORY = "out of memory: close other programs, or take a smaller network, a smaller batch or fewer views"

_WALKS = {"run", "teach", "extract", "distill", "evaluate", "report"}  # commands that go on where they stopped


@contextlib.contextmanager
def one_line_errors(arguments: Sequence[str], *, debug: bool) -> Iterator[None]:
    """Turn what is raised inside into a line on stderr and an exit code.

    Args:
        arguments: of the command, in which the value of a wrong option is looked up.
        debug: whether a traceback comes before.
    """
    try:
        yield
    except LimbeckError as error:
        _fail(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, typer.Abort):
        again = "continues" if _walks(arguments) else "begins anew"
        _fail(f"interrupted: the same command {again}", 130, debug)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}: mend that, and the same command continues", 1, debug)
    except Exception as error:
        if is_out_of_memory(error):
            _fail(_OUT_OF_MEMORY, 1, debug)
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # click's own errors of usage
            _fail(error.format_message() + _given(error, arguments), error.exit_code, debug)
        if isinstance(error, RuntimeError) and "CUDA error" in str(error):
            said = str(error).partition("\n")[0]
            _fail(f"the GPU failed ({said}): --device cpu computes without it", 1, debug)
        _fail(f"{type(error).__name__}: {error} (a bug in limbeck: --debug shows where)", 1, debug)


def _walks(arguments: Sequence[str]) -> bool:
    """Whether the command goes on where it stopped; `evaluate MODEL ROWS` does not."""
    command, *rest = [*arguments, ""]
    return command in _WALKS and not (command == "evaluate" and len(rest) > 2 and not rest[1].startswith("-"))


def _given(error: Exception, arguments: Sequence[str]) -> str:
    """The value that an option was given, where the message does not repeat it."""
    for name in getattr(getattr(error, "param", None), "opts", ()):
        for place, argument in enumerate(arguments):
            value = argument.removeprefix(f"{name}=") if argument.startswith(f"{name}=") else None
            if argument == name and place + 1 < len(arguments):
                value = arguments[place + 1]
            if value is not None and value not in str(error):
                return f" (found {value})"
    return ""


def _fail(message: str, code: int, debug: bool) -> None:
    if debug and sys.exc_info()[0] not in (None, KeyboardInterrupt):
        import traceback

        traceback.print_exc()
    print(f"limbeck: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
