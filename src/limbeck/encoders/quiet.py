"""The library transformers where it is needed, and what it and its companions say, kept from the user's terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

from limbeck.errors import LimbeckError


def need_transformers(what: str) -> None:
    """Refuse what cannot be done without the extra.

    Args:
        what: the beginning of the sentence, e.g. "reading a Hugging Face model".

    Raises:
        LimbeckError: the library is missing.
    """
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise LimbeckError(f'{what} needs transformers: pip install "limbeck[transformers]"') from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither log lines nor warnings nor progress bars; exceptions pass, and all is as it was afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
