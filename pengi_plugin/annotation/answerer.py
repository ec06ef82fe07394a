"""A model and prompts in; what answers about recordings, and writes parts, out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from speechbrain.utils.fetching import FetchSource

from pengi_plugin.annotation.output import Output, write_part
from pengi_plugin.annotation.rows import WINDOWS, answer_rows
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.storage.fingerprint import fingerprint


@dataclass(frozen=True)
class Answerer:
    """Answer prompts with a model that is loaded once in each worker.

    Arguments
    ---------
    model : str or FetchSource
        Folder or hub name, as ``AudioLanguageModel.from_hparams`` takes it.
    prompts : tuple of str
        Each is asked about every window.
    windows : str
        ``"all"`` or ``"first"``; see ``answer_rows``.
    search : dict
        Search options.
    batch_size : int
        Windows that are encoded at a time.
    run_opts : dict
        ``device`` and ``precision``, as ``AudioLanguageModel`` takes them.
    n_thread : int
        Threads of a worker; those of PyTorch if None.
    trust : bool
        Whether the model's YAML may build and call anything.
    int8 : bool
        Whether the model's weights are rounded to 8 bits.

    Raises
    ------
    ValueError
        If one of these cannot be used.
    """

    model: str | FetchSource
    prompts: tuple[str, ...]
    windows: str = "all"
    search: Mapping = field(default_factory=dict)
    batch_size: int = 8
    run_opts: Mapping = field(default_factory=dict)
    n_thread: int | None = None
    trust: bool = False
    int8: bool = False

    def __post_init__(self):
        if self.windows not in WINDOWS:
            raise ValueError(f"windows must be one of {WINDOWS}; got {self.windows!r}.")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {self.batch_size}.")
        if not self.prompts or len(set(self.prompts)) < len(self.prompts):
            raise ValueError(
                f"Give one or more prompts, each once; got {self.prompts}."
            )

    def settings(self) -> dict:
        """Return what the rows depend on; the batch size and the device do not count:
        they change a sum's rounding."""
        return {
            "model": fingerprint(self.model),
            "prompts": self.prompts,
            "windows": self.windows,
            "search": self.search,
            "precision": self.run_opts.get("precision", "fp32"),
            "int8": self.int8,
        }

    def load(self, number: int = 0) -> Callable[..., Iterator[dict]]:
        """Load the model of a worker; return what yields the rows of recordings.

        Arguments
        ---------
        number : int
            Of the worker; where there are several GPUs, each takes another.

        Returns
        -------
        answer : callable
            (paths, on_recording) -> rows; see ``answer_rows``.

        Raises
        ------
        ValueError
            If answers are drawn at random without a seed: those of a part that is
            written again after an interruption would be others.
        """
        if self.n_thread is not None:
            torch.set_num_threads(self.n_thread)
        options = dict(self.run_opts)
        n_gpu = torch.cuda.device_count()
        if options.get("device", "cuda") == "cuda" and n_gpu > 1:
            options["device"] = f"cuda:{number % n_gpu}"
        model = AudioLanguageModel.from_hparams(
            source=self.model,
            trust=self.trust,
            run_opts=options,
            int8=self.int8,
        )
        if not model.is_repeatable(**self.search):  # refuses wrong options too
            raise ValueError(
                "Answers that are drawn at random need a seed, or those after an "
                "interruption would be others than before it; give seed (--seed 1)."
            )

        def answer(paths: Sequence[str], *on_recording) -> Iterator[dict]:
            asked = (self.prompts, self.windows, self.batch_size, self.search)
            return answer_rows(model, paths, *asked, *on_recording)

        return answer


@dataclass(frozen=True)
class PartWriter:
    """Write parts in a worker of its own.

    Arguments
    ---------
    output : Output
        Whose parts to write.
    answerer : Answerer
        Whose answers.
    """

    output: Output
    answerer: Answerer

    def __call__(self, number: int) -> Callable[[int, Callable[[], None]], None]:
        """Load the model of a worker; return what writes a part."""
        answer = self.answerer.load(number)

        def work(part: int, on_recording: Callable[[], None]) -> None:
            rows = answer(self.output.recordings_of(part), on_recording)
            write_part(self.output.path_of(part), rows)

        return work
