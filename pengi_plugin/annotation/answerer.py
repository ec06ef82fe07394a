"""A model's folder and prompts in; what writes the parts of an archive out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from pengi_plugin.annotation.output import Output, write_part
from pengi_plugin.annotation.rows import WINDOWS, answer_rows
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.storage.fingerprint import fingerprint


@dataclass(frozen=True)
class Answerer:
    """Write parts with the answers of a model that is loaded once in each worker.

    Arguments
    ---------
    output : Output
        Whose parts to write.
    model : str
        Folder or hub name.
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

    output: Output
    model: str
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
            **({"int8": True} if self.int8 else {}),
        }

    def __call__(self, number: int):
        """Load the model of a worker; return what writes a part.

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

        def work(part: int, on_recording) -> None:
            paths = self.output.recordings_of(part)
            asked = (self.prompts, self.windows, self.batch_size, self.search)
            rows = answer_rows(model, paths, *asked, on_recording)
            write_part(self.output.path_of(part), rows)

        return work
