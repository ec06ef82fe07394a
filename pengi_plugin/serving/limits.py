"""What a client of the server may ask for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one request, so that no client can hold up the others.

    Arguments
    ---------
    max_bytes : int
        Of the audio file.
    max_seconds : float
        Of the recording.
    max_wait : float
        Seconds that a request may wait for its turn.
    max_labels : int
        Number of labels.
    max_letters : int
        Of the prompt, and of each label.
    max_label_letters : int
        Of all labels together.
    max_beam : int
        Of ``beam_size`` and ``n_best``.
    max_new_tokens : int
        Longest answer, in tokens.
    """

    max_bytes: int = 20_000_000
    max_seconds: float = 300.0
    max_wait: float = 60.0
    max_labels: int = 1000
    max_letters: int = 2000
    max_label_letters: int = 20_000
    max_beam: int = 20
    max_new_tokens: int = 200
