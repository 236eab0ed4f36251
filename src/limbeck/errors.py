"""What a user can mend."""

from __future__ import annotations


class LimbeckError(Exception):
    """A mistake that a user can mend, in one line: what was found, where, what was expected, what to do.

    Raised near the cause and caught once, in the command line, which exits with `exit_code`.
    """

    exit_code = 1


class UsageError(LimbeckError):
    """The request itself is wrong: an unknown key, a wrong type, a value out of range."""

    exit_code = 2
