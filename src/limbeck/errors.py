"""What a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LimbeckError(Exception):
    """A mistake that a user can mend, in one line: what was found, where, what was expected, what to do.

    Raised near the cause and caught once, in the command line, which exits with `exit_code`.
    """

    exit_code = 1


class UsageError(LimbeckError):
    """The request itself is wrong: an unknown key, a wrong type, a value out of range."""

    exit_code = 2


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """The end of an error message: `, did you mean "x"?` for the option nearest to `word`, else nothing.

    Capitals do not count. Nearest as `difflib` has it, with its cutoff of 0.6: a far-fetched guess is
    worse than none.
    """
    by_lower_case = {option.lower(): option for option in options}
    nearest = difflib.get_close_matches(word.lower(), by_lower_case, n=1)
    return f', did you mean "{by_lower_case[nearest[0]]}"?' if nearest else ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, or what torch makes of it, on the processor or on a GPU."""
    said = str(error)
    of_torch = "can't allocate memory" in said or "CUDA out of memory" in said
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and of_torch)
