"""TUT Acoustic Scenes 2017: clips of 10 s in 15 scenes; the official folders in.

The folder holds ``TUT-acoustic-scenes-2017-development/`` or ``-evaluation/``, or both,
as Zenodo's archives are extracted, or is one of them. In each, ``meta.txt``, else
``evaluation_setup/evaluate.txt``, has lines of a file, a scene and perhaps more, with
tabs between; ``evaluation_setup/map.txt``, if it is there, pairs the names of these
files with the anonymous ones of the audio, in either order.

The evaluation part (1620 clips) is the default. Pengi may have been scored on all 6300;
``part`` chooses. All clips are in the test split.

Certain, from several readers' code: the files and their columns. From memory: the sizes
of the parts, and that the audio of the evaluation part has anonymous names.
"""

from dataclasses import replace
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    read_text,
    write_corpus,
)

CORPUS = Corpus(
    name="tut2017",
    title="TUT Acoustic Scenes 2017",
    tasks=("acoustic_scene",),
    clips={"test": 1620},
    hours=4.5,
    licence="TUT EULA: non-commercial scientific use",
    home="https://zenodo.org/record/1040168",
    use="test",
    citation="A. Mesaros, T. Heittola and T. Virtanen, TUT database for acoustic scene "
    "classification and sound event detection, EUSIPCO 2016",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

#: Part -> clips of the complete part.
PARTS = {"evaluation": 1620, "development": 4680}

#: Official name of a scene -> text.
SCENES = {
    "beach": "beach",
    "bus": "bus",
    "cafe/restaurant": "cafe or restaurant",
    "car": "car",
    "city_center": "city center",
    "forest_path": "forest path",
    "grocery_store": "grocery store",
    "home": "home",
    "library": "library",
    "metro_station": "metro station",
    "office": "office",
    "park": "park",
    "residential_area": "residential area",
    "train": "train",
    "tram": "tram",
}

CLASSES = list(SCENES.values())


def prepare_tut2017(
    data_folder: str, manifest_folder: str, part: str = "evaluation"
) -> None:
    """Write ``test.json``.

    Arguments
    ---------
    data_folder : str
        The folder of a part, or one that holds parts.
    manifest_folder : str
        Where the manifest is written.
    part : str
        ``evaluation``, ``development`` or ``all``.

    Raises
    ------
    FileNotFoundError
        If the part or its list is missing.
    ValueError
        If the part is unknown, or a line has none of the 15 scenes.
    """
    if part not in (*PARTS, "all"):
        raise ValueError(f"part must be one of {', '.join(PARTS)}, all; got {part!r}.")
    data_folder = Path(data_folder)
    arguments = {"corpus": "tut2017", "version": VERSION, "part": part}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    parts = list(PARTS) if part == "all" else [part]
    clips = [clip for name in parts for clip in read_part(data_folder, name)]
    corpus = replace(CORPUS, clips={"test": sum(PARTS[name] for name in parts)})
    write_corpus(corpus, clips, data_folder, manifest_folder, arguments)


def read_part(data_folder: Path, part: str) -> list[Clip]:
    """Return the clips of a part; their names begin with it."""
    folder = part_folder(data_folder, part)
    names = ("meta.txt", "evaluation_setup/evaluate.txt")
    path = find_file(folder, *names, what=f"TUT Acoustic Scenes 2017, {part}")
    audio = find_audio(folder)
    others = read_map(path.with_name("map.txt")) | read_map(
        path.parent / "evaluation_setup" / "map.txt"
    )
    clips = []
    for file, *cells in read_lines(path):
        scenes = [cell for cell in cells if cell in SCENES]
        if not scenes:
            raise ValueError(f"{path}: {file} has none of the 15 scenes in {cells}.")
        name = Path(file).stem
        clips.append(
            Clip(
                name=f"{part}_{name}",
                split="test",
                path=audio.get(name) or audio.get(others.get(name)),
                rows={"scene": {"task": "acoustic_scene", "scene": SCENES[scenes[0]]}},
                fields={"part": part},
            )
        )
    return clips


def part_folder(data_folder: Path, part: str) -> Path:
    """Return the folder of a part, below the given one or itself."""
    name = f"TUT-acoustic-scenes-2017-{part}"
    for folder in (data_folder / name, data_folder / part):
        if folder.is_dir():
            return folder
    (other,) = set(PARTS) - {part}
    if (data_folder / f"TUT-acoustic-scenes-2017-{other}").is_dir() or (
        other in data_folder.resolve().name
    ):
        raise FileNotFoundError(
            f"There is no {name} in {data_folder}, which has the {other} part; give "
            f"the folder of the {part} part, or part={other}."
        )
    return data_folder


def read_lines(path: Path) -> list[list[str]]:
    """Return the cells of each line of a file of a part."""
    lines = [line.split("\t") for line in read_text(path).splitlines()]
    return [[cell.strip() for cell in cells] for cells in lines if cells != [""]]


def read_map(path: Path) -> dict[str, str]:
    """Return the names of one audio file, each to the other, without endings."""
    found = {}
    if path.is_file():
        for cells in read_lines(path):
            first, second = (Path(cell).stem for cell in cells[:2])
            found |= {first: second, second: first}
    return found
