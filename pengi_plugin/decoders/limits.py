"""Checks of the options that searchers share: values in, a ValueError if unusable."""

from numbers import Integral

from torch import nn


def check_limits(
    lm: nn.Module, eos_index: int, max_new_tokens: int, min_new_tokens: int = 0
) -> None:
    """Raise a ValueError if a search with these values cannot be run."""
    if not 0 <= eos_index < lm.vocab_size:
        raise ValueError(
            f"eos_index must be a token of the LM, from 0 to {lm.vocab_size - 1}; "
            f"got {eos_index}."
        )
    check_count("max_new_tokens", max_new_tokens)
    check_count("min_new_tokens", min_new_tokens, least=0)
    if min_new_tokens > max_new_tokens:
        raise ValueError(
            "min_new_tokens must be at most max_new_tokens; got "
            f"min_new_tokens={min_new_tokens}, max_new_tokens={max_new_tokens}."
        )


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise a ValueError unless ``value`` is a whole number of at least ``least``.

    Example
    -------
    >>> check_count("beam_size", 0)
    Traceback (most recent call last):
    ValueError: beam_size must be at least 1; got 0.
    """
    if not isinstance(value, Integral):
        raise ValueError(f"{name} must be a whole number; got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}; got {value}.")
