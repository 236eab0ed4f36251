import os

import pytest
import torch

from limbeck.threads import available_cores, use_available_cores, using_threads


@pytest.fixture(autouse=True)
def _as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_the_cores_that_are_ours(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(7)
    assert use_available_cores() == len(os.sched_getaffinity(0)) == available_cores()
    assert torch.get_num_threads() == available_cores()


def test_what_the_environment_says_is_left_as_it_is(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    torch.set_num_threads(7)
    assert use_available_cores() == 7


def test_threads_asked_for_hold_until_the_end_however_it_comes():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), using_threads(before + 2):
        assert torch.get_num_threads() == before + 2
        raise KeyError
    assert torch.get_num_threads() == before
