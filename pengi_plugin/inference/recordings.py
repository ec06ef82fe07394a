"""Recordings in, clips at a model's rate and length out: what interfaces share."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import torch
from speechbrain.dataio.preprocess import AudioNormalizer
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.autocast import AMPConfig, TorchAutocast
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
from pengi_plugin.data.shards import is_member
from pengi_plugin.inference.precision import check_half
from pengi_plugin.lobes.int8 import is_int8, to_int8
from pengi_plugin.lobes.packed import pack_linears
from pengi_plugin.precision import AUTO, choose_precision
from pengi_plugin.pretrained.folder import HPARAMS_FILE, open_folder
from pengi_plugin.pretrained.trust import unbuildable
from pengi_plugin.storage.locate import download, locate

logger = logging.getLogger(__name__)


class RecordingModel(Pretrained):
    """A trained model that reads recordings, from a folder or a hub repository.

    Arguments
    ---------
    modules : dict
        ``MODULES_NEEDED`` of the subclass.
    hparams : dict
        The rest of the model's YAML.
    run_opts : dict
        Such as ``{"device": "cuda", "precision": "bf16"}``. On a CPU ``fp16`` rounds
        weights to 16 bits and sums in float32; see ``lobes.products``.
    freeze_params : bool
        Whether to switch to evaluation mode without gradients.
    int8 : bool
        Whether to round weights to 8 bits: faster and smaller on CPUs; see
        ``lobes.int8``.

    Raises
    ------
    ValueError
        If the YAML lacks something, or int8 is asked for on another device, or a
        precision that this one cannot give.
    """

    #: (asked, device) -> the precision that ``auto`` means on the device.
    choose_precision = staticmethod(choose_precision)

    def __init__(
        self,
        modules=None,
        hparams=None,
        run_opts=None,
        freeze_params=True,
        int8=False,
    ):
        missing = [name for name in self.MODULES_NEEDED if name not in (modules or {})]
        missing += [name for name in self.HPARAMS_NEEDED if name not in (hparams or {})]
        if missing:
            raise ValueError(
                f"{HPARAMS_FILE} lacks {', '.join(missing)}; modules need "
                f"{self.MODULES_NEEDED}, and the top level {self.HPARAMS_NEEDED}."
            )
        normalizer = AudioNormalizer(sample_rate=hparams["sample_rate"])
        hparams = {"audio_normalizer": normalizer} | hparams
        parts = [part for part in modules.values() if part is not None]
        has_int8 = int8 or any(map(is_int8, parts))
        can_round = freeze_params and not has_int8
        run_opts = self._with_precision(run_opts, can_round)
        super().__init__(modules, hparams, run_opts, freeze_params)
        if int8 and not (freeze_params and self.device_type == "cpu"):
            raise ValueError(
                "int8 is for answering on a CPU, without gradients; got "
                f"device={self.device}, freeze_params={freeze_params}."
            )
        if self._rounds and not can_round:
            raise ValueError(
                "precision fp16 on a CPU is for answering, without gradients and "
                f"without int8; got freeze_params={freeze_params}, int8={has_int8}."
            )
        if int8:
            to_int8(self.mods)
        self._is_frozen = freeze_params
        self._pack()

    @classmethod
    def from_hparams(
        cls,
        source,
        hparams_file=HPARAMS_FILE,
        overrides=None,
        overrides_must_match=True,
        savedir=None,
        download_only=False,
        trust=False,
        local_strategy=None,
        fetch_config=None,
        **kwargs,
    ):
        """Load a model from a folder or a hub repository.

        A folder that you did not make is checked before anything of it is built. Its
        YAML may build classes of this package's lobes and decoders, torch.nn, and
        SpeechBrain's lobes, nnet and searchers that read no files, from plain values.
        Every other class, function, call, attribute, path or hub name in it is named
        and refused, and so are files and links that lead out of the folder. Weights
        are read as safetensors, and tokenizers by their own libraries: no pickle.

        What is not protected: memory and time (a YAML may ask for a huge model), faults
        of the libraries that read weights, tokenizers and audio, a folder that is
        changed while it is loaded, and the answers themselves, which may be anything.
        ``trust=True`` leaves the check out: such a folder can run any code.

        Arguments
        ---------
        source : str, Path or FetchSource
            Folder or hub name; ``hub:owner/name`` is the hub's whatever lies here.
        hparams_file : str
            Name of the YAML in it.
        overrides : dict or str
            Other values for keys of the YAML, such as ``{"beam_size": 2}``.
        overrides_must_match : bool
            Whether overrides that the YAML has no key for are an error.
        savedir : str
            Where to put what is fetched.
        download_only : bool
            Whether to return None when the files are there.
        trust : bool
            Whether the YAML may build and call anything.
        local_strategy : LocalStrategy
            How files are kept; see ``speechbrain.utils.fetching``.
        fetch_config : FetchConfig
            How the hub is asked; see there.
        **kwargs : dict
            Arguments of the constructor, such as ``run_opts={"device": "cuda"}``.

        Returns
        -------
        model : RecordingModel

        Raises
        ------
        FileNotFoundError
            If ``source`` is a path and no model is there, or a file is missing.
        KeyError
            If an override has no key.
        ValueError
            If the folder needs trust (``UntrustedError``), its YAML cannot be built,
            or weights do not fit the model; says what and where.
        """
        fetching = {"local_strategy": local_strategy, "fetch_config": fetch_config}
        fetching = {name: value for name, value in fetching.items() if value}
        hparams, folder = open_folder(
            source,
            hparams_file,
            overrides,
            overrides_must_match,
            trust,
            savedir,
            **fetching,
        )
        hparams["savedir"] = savedir
        pretrainer = hparams["pretrainer"]
        pretrainer.set_collect_in(savedir)
        pretrainer.collect_files(default_source=folder, **fetching)
        if download_only:
            return None
        pretrainer.load_collected()
        modules = hparams.get("modules")
        try:
            return cls(modules=modules, hparams=hparams, **kwargs)
        except (TypeError, AttributeError, KeyError) as error:
            if trust:
                raise
            raise unbuildable(f"{folder[1]}/{hparams_file}", error) from error

    def to(self, *args, **kwargs):
        """Move all of the model, and what it reads from now on."""
        super().to(*args, **kwargs)
        self.device = str(next(self.mods.parameters()).device)
        self.device_type = self.device.split(":")[0]
        self._pack()
        return self

    @property
    def _rounds(self) -> bool:
        """Whether weights are rounded to 16 bits, which is what fp16 is on a CPU."""
        return self.precision == "fp16" and self.device_type == "cpu"

    def _pack(self) -> None:
        """Let linear layers keep packed weights, on a CPU and without gradients."""
        if self._rounds:
            check_half()
        if self._is_frozen and self.device_type == "cpu":
            pack_linears(self.mods, half=self._rounds)

    @property
    def is_int8(self) -> bool:
        """Whether weights are in int8, rounded at loading or in the folder."""
        return is_int8(self.mods)

    @property
    def inference_ctx(self):
        """A context of the model's precision; a new one, as each keeps a state."""
        dtype = AMPConfig.from_name(self.precision).dtype
        if self._rounds:
            dtype = torch.float32  # the weights alone have 16 bits
        return TorchAutocast(device_type=self.device_type, dtype=dtype)

    @inference_ctx.setter
    def inference_ctx(self, _):
        """Ignore the one that the base class makes for all calls."""

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
            If the file is not audio that can be read, or holds no samples, or NaN or
            infinite ones.
        """
        path = self.local_path(path, savedir)
        return read_recording(path, self.hparams.sample_rate).to(self.device)

    @staticmethod
    def local_path(path, savedir=None) -> str:
        """Return a recording's path, fetched if it is on the web or the hub.

        A reference to a clip in a shard is returned as it is.
        """
        if is_member(path):
            return str(path)
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

    def _with_precision(
        self, run_opts: Mapping | None, can_round: bool
    ) -> RunOptions | None:
        """Return run options with the precision that ``auto`` means on their device.

        On a CPU it is fp32 where weights cannot be rounded to 16 bits.
        """
        if isinstance(run_opts, dict):
            run_opts = RunOptions.from_dictionary(run_opts)
        if run_opts is None or "precision" not in run_opts.overridden_args:
            return run_opts
        device = run_opts.device or infer_device()
        chosen = self.choose_precision(run_opts.precision, device)
        if run_opts.precision == AUTO and chosen == "fp16" and not can_round:
            logger.info("precision: fp32 instead, with gradients or weights in int8.")
            chosen = "fp32"
        return replace(run_opts, precision=chosen)

    @property
    def n_sample(self) -> int:
        """Number of samples of ``clip_seconds``."""
        return round(self.hparams.clip_seconds * self.hparams.sample_rate)

    def clips(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Return mono clips of ``clip_seconds`` [batch, n_sample] of recordings."""
        wavs = mix_to_mono(wavs.to(self.device).float())
        return repeat_or_trim(wavs, wav_lens, self.n_sample)


def full_lengths(wavs: Tensor) -> Tensor:
    """Return the relative lengths of recordings without padding."""
    return torch.ones(len(wavs), device=wavs.device)
