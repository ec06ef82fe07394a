"""What every searcher checks of its settings."""

from torch import nn


def check_limits(
    lm: nn.Module, eos_index: int, max_new_tokens: int, min_new_tokens: int = 0
) -> None:
    """Raise a ValueError if a search with these settings cannot be run."""
    if not 0 <= eos_index < lm.vocab_size:
        raise ValueError(
            f"eos_index must be a token of the LM, from 0 to {lm.vocab_size - 1}; "
            f"got {eos_index}."
        )
    if not 0 <= min_new_tokens <= max_new_tokens or max_new_tokens < 1:
        raise ValueError(
            "max_new_tokens must be at least 1, and min_new_tokens from 0 to "
            f"max_new_tokens; got {max_new_tokens} and {min_new_tokens}."
        )
