"""CochlScene: 76115 clips of 10 s in 13 scenes; the official folder in, manifests out.

The folder is that of Zenodo's archives, joined and extracted (``zip -s 0 IN.zip --out
OUT.zip; unzip OUT.zip``). There are no lists: the split and the scene of a clip are
its folders, ``Train/SubwayStation/SubwayStation_user0807_14976869_001.wav``, in
``CochlScene/`` or up to two folders below.

Certain, from public code: the folders, the classes and the number of all clips. From
memory: the sizes of the splits, whose sum is known. Ours: the words of the scenes,
which are the folders' names in lower case.
"""

from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    write_corpus,
)

CORPUS = Corpus(
    name="cochlscene",
    title="CochlScene",
    tasks=("acoustic_scene",),
    clips={"train": 60855, "valid": 7573, "test": 7687},
    hours=211.4,
    licence="CC BY-SA 3.0",
    home="https://zenodo.org/record/7080122",
    use="train",
    citation="I.-Y. Jeong and J. Park, CochlScene: Acquisition of acoustic scene data "
    "using crowdsourcing, APSIPA 2022",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

#: Folder of a scene -> text.
SCENES = {
    "Bus": "bus",
    "Cafe": "cafe",
    "Car": "car",
    "CrowdedIndoor": "crowded indoor",
    "Elevator": "elevator",
    "Kitchen": "kitchen",
    "Park": "park",
    "ResidentialArea": "residential area",
    "Restaurant": "restaurant",
    "Restroom": "restroom",
    "Street": "street",
    "Subway": "subway",
    "SubwayStation": "subway station",
}

CLASSES = list(SCENES.values())

#: Folder of a split -> split.
SPLITS = {"Train": "train", "Val": "valid", "Test": "test"}


def prepare_cochlscene(data_folder: str, manifest_folder: str) -> None:
    """Write ``train.json``, ``valid.json`` and ``test.json``.

    Arguments
    ---------
    data_folder : str
        The folder with ``Train``, ``Val`` and ``Test``, or one above.
    manifest_folder : str
        Where the manifests are written.

    Raises
    ------
    FileNotFoundError
        If none of these is there.
    ValueError
        If a folder of them is none of a scene.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "cochlscene", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    root = find_file(data_folder, *SPLITS, what="CochlScene").parent
    clips = []
    for folder, split in SPLITS.items():
        for name, path in find_audio(root / folder).items():
            scene = path.parent.name
            if scene not in SCENES:
                raise ValueError(
                    f"{path} is not in the folder of a scene: {', '.join(SCENES)}."
                )
            row = {"task": "acoustic_scene", "scene": SCENES[scene]}
            clips.append(Clip(name, split, path, {"scene": row}))
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)
