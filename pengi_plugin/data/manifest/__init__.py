"""Manifests: audio files checked, manifests written once and whole, and read.

A manifest folder holds ``train``, ``valid`` and ``test`` in SpeechBrain's form, JSON
or CSV: this is what others read and write. One that ``pengi prepare`` wrote also holds
``left_out.csv`` (which files are in none of them, and why) and ``prepared.json`` (the
arguments they were made from, and the state of the files that were left out). Its paths
start with ``{data_root}``, so that the manifests can be moved; ``prepared.json`` holds
the folder it stands for. Other relative paths are relative to the manifest.

When a manifest is read for the first time, its rows are converted to Arrow, in
``train.json.arrow`` beside it, and from then on mapped into memory: a manifest of
millions opens at once and is shared by all processes. Such a file belongs to us alone
(it may be deleted), and is made again when the manifest changes; see
``data.manifest.arrow``.
"""

from pengi_plugin.data.file_state import file_state
from pengi_plugin.data.manifest.arrow import number_of, open_arrow, raw
from pengi_plugin.data.manifest.audio_files import (
    AUDIO_SUFFIXES,
    audio_files,
    check_audio,
    check_files,
)
from pengi_plugin.data.manifest.form import (
    DATA_ROOT,
    FIELDS,
    SPLITS,
    Fault,
    manifest_path,
    manifests_of,
    original_of,
    resolve,
)
from pengi_plugin.data.manifest.prepared import (
    LEFT_OUT,
    RECORD,
    check_options,
    is_prepared,
    keep_manifests,
    read_record,
    recorded_root,
)
from pengi_plugin.data.manifest.reading import (
    read_manifest,
    read_manifests,
    read_rows,
)
from pengi_plugin.data.manifest.rows import Rows, as_rows, concatenate
from pengi_plugin.data.manifest.writing import write_manifests

__all__ = [
    "AUDIO_SUFFIXES",
    "DATA_ROOT",
    "FIELDS",
    "LEFT_OUT",
    "RECORD",
    "SPLITS",
    "Fault",
    "Rows",
    "as_rows",
    "audio_files",
    "check_audio",
    "check_files",
    "check_options",
    "concatenate",
    "file_state",
    "is_prepared",
    "keep_manifests",
    "manifest_path",
    "manifests_of",
    "number_of",
    "open_arrow",
    "original_of",
    "raw",
    "read_manifest",
    "read_manifests",
    "read_record",
    "read_rows",
    "recorded_root",
    "resolve",
    "write_manifests",
]
