"""The library transformers, where it is needed."""

from __future__ import annotations

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
