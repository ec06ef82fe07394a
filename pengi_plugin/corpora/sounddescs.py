"""SoundDescs: 32,979 sound effects of the BBC with descriptions; its tables in.

The files of the repository and the audio anywhere in one folder::

    sounddescs_data/descriptions.pkl        ID -> description; also named
                                            sounddescs_descriptions.pkl
    data/SoundDescs/{train,val,test}_list.txt   an ID per line
    audios/<ID>/<ID>.wav                    found by ID, in any case

Tables are pickles, which can run code when they are read: only plain texts, lists and
dicts are accepted. IDs keep their zeros in front.

**The official split leaks**: it has near-duplicates on both sides. Weck and Serra
(ICASSP 2023) publish cleaned ones: ``lists`` is the folder of one. The paper trains on
the training list. The same clips are in WavCaps; the BBC's old links give few files.

Certain, from the published files: lists, IDs and the form of the other tables. Not
seen: ``descriptions.pkl``. From memory: the hours.
"""

import pickle
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    find_split_files,
    read_text,
    text_rows,
    write_corpus,
)

CORPUS = Corpus(
    name="sounddescs",
    title="SoundDescs",
    tasks=("metadata",),
    clips={"train": 23085, "valid": 4947, "test": 4947},
    hours=1060.0,
    licence="RemArc, non-commercial",
    home="https://github.com/akoepke/audio-retrieval-benchmark",
    use="train",
    citation="A. S. Koepke et al., Audio Retrieval with Natural Language Queries: A "
    "Benchmark Study, IEEE Transactions on Multimedia, 2022",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

NAMES = {"train": "train", "valid": "val", "test": "test"}
#: All that a table may be made of.
ALLOWED = {("collections", "defaultdict"), ("builtins", "list"), ("builtins", "str")}


def prepare_sounddescs(
    data_folder: str, manifest_folder: str, lists: str | None = None
) -> None:
    """Write the manifests of the three splits; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where the tables and the audio are.
    manifest_folder : str
        Where the manifests are written.
    lists : str
        Folder of other lists, ``train_list.txt`` and so on; by default the official
        ones in ``data_folder``.

    Raises
    ------
    FileNotFoundError
        If the descriptions or all lists are missing.
    ValueError
        If the descriptions hold more than texts, or no clip for training is there.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "sounddescs", "version": VERSION, "lists": lists}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    names = ("descriptions.pkl", "sounddescs_descriptions.pkl")
    descriptions = read_pickle(find_file(data_folder, *names, what="SoundDescs"))
    names = {split: [f"{name}_list.txt"] for split, name in NAMES.items()}
    if lists is None:
        names = {
            split: [f"data/SoundDescs/{name}_list.txt", f"{name}_list.txt"]
            for split, name in NAMES.items()
        }
    files = find_split_files(lists or data_folder, names, "SoundDescs")
    audio = find_audio(data_folder, lambda path: path.stem.lower())
    clips = []
    for split, path in files.items():
        for name in dict.fromkeys(read_text(path).split()):
            rows = text_rows([descriptions.get(name, "")], split, "metadata")
            if rows:
                source = f"bbc:{name.lower()}"
                found = audio.get(name.lower())
                clips.append(Clip(name, split, found, rows, source))
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def read_pickle(path: Path) -> dict:
    """Read a pickle of texts, lists and dicts; one of more is refused."""
    with Path(path).open("rb") as file:
        try:
            return dict(_TextUnpickler(file).load())
        except (pickle.UnpicklingError, EOFError, TypeError) as error:
            raise ValueError(
                f"{path} is no table of SoundDescs: {error}. If it begins with "
                "'version https://git-lfs', run git lfs pull."
            ) from error


class _TextUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}")
        return super().find_class(module, name)
