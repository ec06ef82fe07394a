"""Recordings in, clips at a model's rate and length out: what interfaces share."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from speechbrain.dataio.preprocess import AudioNormalizer
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.data_utils import split_path
from speechbrain.utils.distributed import infer_device
from speechbrain.utils.fetching import fetch
from speechbrain.utils.run_opts import RunOptions
from torch import Tensor

from pengi_plugin.data.audio import (
    mix_to_mono,
    read_clip,
    read_recording,
    repeat_or_trim,
)
from pengi_plugin.precision import choose_precision
from pengi_plugin.pretrained.folder import (
    HPARAMS_FILE,
    find_folder,
    find_yaml,
    reach_parts,
)
from pengi_plugin.storage.locate import download, locate


class RecordingModel(Pretrained):
    """A trained model that reads recordings, from a folder or a hub repository.

    Arguments
    ---------
    modules : dict
        ``MODULES_NEEDED`` of the subclass.
    hparams : dict
        The rest of the model's YAML.
    run_opts : dict
        Such as ``{"device": "cuda", "precision": "bf16"}``.
    freeze_params : bool
        Whether to switch to evaluation mode without gradients.

    Raises
    ------
    ValueError
        If the YAML lacks something.
    """

    def __init__(self, modules=None, hparams=None, run_opts=None, freeze_params=True):
        missing = [name for name in self.MODULES_NEEDED if name not in (modules or {})]
        missing += [name for name in self.HPARAMS_NEEDED if name not in (hparams or {})]
        if missing:
            raise ValueError(
                f"{HPARAMS_FILE} lacks {', '.join(missing)}; modules need "
                f"{self.MODULES_NEEDED}, and the top level {self.HPARAMS_NEEDED}."
            )
        normalizer = AudioNormalizer(sample_rate=hparams["sample_rate"])
        hparams = {"audio_normalizer": normalizer} | hparams
        run_opts = _with_precision(run_opts)
        super().__init__(modules, hparams, run_opts, freeze_params)

    @classmethod
    def from_hparams(cls, source, hparams_file=HPARAMS_FILE, **kwargs):
        """Load a model from a folder or a hub repository.

        Arguments
        ---------
        source : str, Path or FetchSource
            Folder or hub name.
        hparams_file : str
            Name of the YAML in it.
        **kwargs : dict
            See ``speechbrain.inference.interfaces.pretrained_from_hparams``; for
            instance ``run_opts={"device": "cuda"}``.

        Returns
        -------
        model : RecordingModel

        Raises
        ------
        FileNotFoundError
            If ``source`` is a path and no model is there.
        ValueError
            If weights do not fit the model; names them.
        """
        if isinstance(source, str | os.PathLike):
            path = find_yaml(find_folder(source), hparams_file)  # says what is missing
            if isinstance(kwargs.get("overrides"), Mapping):
                text = path.read_text(encoding="utf-8")
                kwargs["overrides"] = reach_parts(kwargs["overrides"], text)
            source = str(Path(source).expanduser())
        return super().from_hparams(source, hparams_file, **kwargs)

    def load_audio(self, path, savedir=None) -> Tensor:
        """Load a recording, whole, mixed to mono, at the model's rate.

        Arguments
        ---------
        path : str
            File, web address, or hub file (``owner/name/file``).
        savedir : str
            Where to put a file from the web or the hub.

        Returns
        -------
        wav : torch.Tensor
            [sample]

        Raises
        ------
        FileNotFoundError
            If a local file is not there.
        ValueError
            If the file is not audio that soundfile reads, or holds no samples, or NaN
            or infinite ones.
        """
        path = self.local_path(path, savedir)
        return read_recording(path, self.hparams.sample_rate).to(self.device)

    @staticmethod
    def local_path(path, savedir=None) -> str:
        """Return a recording's path, fetched if it is on the web or the hub."""
        location = locate(path, "https://...", "owner/name/file")
        if location.path is not None:
            return str(location.path)
        if location.url is not None:
            source, file = split_path(location.url)
        else:
            source, file = location.repository, location.file
            found = download(
                source, file
            )  # says that it is no path, if it is not there
            if savedir is None:
                return str(found)
        return str(fetch(file, source=source, savedir=savedir))

    def load_clip(self, path, savedir=None) -> Tensor:
        """Load a clip of ``clip_seconds`` from the beginning of a recording.

        Of a long file only the beginning is read; a short one is repeated. Returns
        [n_sample]; raises the errors of ``load_audio``.
        """
        path = self.local_path(path, savedir)
        return read_clip(path, self.hparams.sample_rate, self.n_sample).to(self.device)

    @property
    def n_sample(self) -> int:
        """Number of samples of ``clip_seconds``."""
        return round(self.hparams.clip_seconds * self.hparams.sample_rate)

    def clips(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Return mono clips of ``clip_seconds`` [batch, n_sample] of recordings."""
        wavs = mix_to_mono(wavs.to(self.device).float())
        return repeat_or_trim(wavs, wav_lens, self.n_sample)


def _with_precision(run_opts: Mapping | None) -> RunOptions | None:
    """Return run options with the precision that ``auto`` means on their device."""
    if isinstance(run_opts, dict):
        run_opts = RunOptions.from_dictionary(run_opts)
    if run_opts is None or "precision" not in run_opts.overridden_args:
        return run_opts
    device = run_opts.device or infer_device()
    return replace(run_opts, precision=choose_precision(run_opts.precision, device))


def full_lengths(wavs: Tensor) -> Tensor:
    """Return the relative lengths of recordings without padding."""
    return torch.ones(len(wavs), device=wavs.device)
