"""Threads: as many as there are cores that this process may use; more make small nets several times slower."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch


def available_cores() -> int:
    """The cores this process may run on: its affinity, where the system has one, else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_available_cores() -> int:
    """Set torch's threads to the cores that are ours, unless OMP_NUM_THREADS says otherwise; the number used."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(available_cores())
    return thread_count()


def thread_count() -> int:
    """The threads that torch computes with: part of what decides the last bits of a result."""
    return torch.get_num_threads()


@contextlib.contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Compute with so many threads, as a plan says that was begun with them; afterwards as before."""
    before = thread_count()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
