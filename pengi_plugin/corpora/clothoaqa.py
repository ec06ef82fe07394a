"""ClothoAQA: 1991 clips of Freesound, six questions each, by three annotators.

The files of Zenodo in one folder, the audio of all splits together::

    clotho_aqa_train.csv  clotho_aqa_val.csv  clotho_aqa_test.csv
    clotho_aqa_metadata.csv                   Freesound's number of each clip
    audio_files/                              any name; found by file names

In training each annotator's answer is a row, as in the files; in the other splits each
question is one, answered by the majority, else by the first annotator. All rows also
have ``answers`` (of all three, in order), ``agreement`` (how many gave the commonest
answer: 3, 2 or 1), ``has_majority`` and ``question_kind`` (``binary``: answered by yes
or no; ``word``). Which answers Pengi was trained with and scored by is not known.

**Leaks:** 289 of the 1174 training clips are evaluation clips of Clotho, and 254 of the
473 test clips are in its development part. ``exclude`` leaves clips out of training.

Traps: the three lines of a question follow each other, and one question is asked twice
of one clip, so lines are taken in threes; a few names differ in punctuation between the
archive, the questions and the metadata (``18.44``, ``18_44``); where a name is not
found, one that differs in punctuation alone is taken. One question has a damaged
letter.

Certain, from the published files: all columns and counts. The hours are another
package's.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    find_split_files,
    read_table,
    write_corpus,
)

CORPUS = Corpus(
    name="clothoaqa",
    title="ClothoAQA",
    tasks=("question_answering",),
    clips={"train": 1174, "valid": 344, "test": 473},
    hours=12.5,
    licence="MIT for the questions; clips CC0, CC BY, CC BY-NC or CC Sampling+",
    home="https://zenodo.org/records/6473207",
    use="train, test",
    citation="S. Lipping, P. Sudarsanam, K. Drossos and T. Virtanen, Clotho-AQA: A "
    "Crowdsourced Dataset for Audio Question Answering, EUSIPCO 2022",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 2

NAMES = {"train": "train", "valid": "val", "test": "test"}
#: Annotators of a question.
N_ANNOTATOR = 3
COLUMNS = ("file_name", "QuestionText", "answer")


def prepare_clothoaqa(
    data_folder: str, manifest_folder: str, exclude: str | None = None
) -> None:
    """Write the manifests of the three splits; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where the questions and the audio are.
    manifest_folder : str
        Where the manifests are written.
    exclude : str
        A table with a column ``file_name``, such as ``clotho_captions_evaluation.csv``
        of Clotho: its clips are left out of the training split.

    Raises
    ------
    FileNotFoundError
        If no split has questions, or there is no ``exclude``.
    ValueError
        If a file is not ClothoAQA's, or no clip for training is there.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "clothoaqa", "version": VERSION, "exclude": exclude}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    names = {split: [f"clotho_aqa_{name}.csv"] for split, name in NAMES.items()}
    lists = find_split_files(data_folder, names, "ClothoAQA")
    audio = LooseNames(find_audio(data_folder))
    sources = LooseNames(read_sources(data_folder))
    left_out = set()
    if exclude:
        excluded = read_table(Path(exclude), ("file_name",))
        left_out = {loose_name(Path(line["file_name"]).stem) for line in excluded}
    clips = []
    for split, path in lists.items():
        for stem, questions in read_questions(path).items():
            if split == "train" and loose_name(stem) in left_out:
                continue
            rows = {}
            for n, (question, answers) in enumerate(questions, start=1):
                rows |= question_rows(n, question, answers, split)
            source = clotho_source(stem, sources.get(stem))
            clips.append(Clip(stem, split, audio.get(stem), rows, source))
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def read_questions(path: Path) -> dict[str, list[tuple[str, list[str]]]]:
    """Return name of a clip -> its questions, each with the annotators' answers."""
    clips, before = {}, None
    for line in read_table(path, COLUMNS):
        stem, question = Path(line["file_name"]).stem, line["QuestionText"]
        questions = clips.setdefault(stem, [])
        # A question that is asked twice of a clip has six lines.
        if (stem, question) != before or len(questions[-1][1]) == N_ANNOTATOR:
            questions.append((question, []))
        questions[-1][1].append(line["answer"])
        before = stem, question
    return clips


def question_rows(n: int, question: str, answers: list[str], split: str) -> dict:
    """Return the rows of the ``n``-th question of a clip.

    Example
    -------
    >>> rows = question_rows(1, "Is it loud?", ["no", "yes", "yes"], "test")
    >>> rows["question_1"]["answer"], rows["question_1"]["agreement"]
    ('yes', 2)
    """
    commonest, agreement = Counter(answers).most_common(1)[0]
    is_binary = all(answer in ("yes", "no") for answer in answers)
    row = {
        "task": "question_answering",
        "question": question,
        "answer": commonest,
        "answers": answers,
        "question_kind": "binary" if is_binary else "word",
        "agreement": agreement,
        "has_majority": 2 * agreement > len(answers),
    }
    if split != "train":
        return {f"question_{n}": row}
    return {
        f"question_{n}_{annotator}": {**row, "answer": answer}
        for annotator, answer in enumerate(answers, start=1)
    }


def read_sources(folder: Path) -> dict[str, str]:
    """Return name of a clip -> source, of those whose link to Freesound is known."""
    try:
        path = find_file(folder, "clotho_aqa_metadata.csv", what="ClothoAQA")
    except FileNotFoundError:
        return {}
    found = {}
    for line in read_table(path, ("file_name", "sound_link")):
        number = re.search(r"/sounds/(\d+)", line["sound_link"] or "")
        if number:
            found[Path(line["file_name"]).stem] = f"freesound:{number[1]}"
    return found


def clotho_source(stem: str, freesound: str | None = None) -> str:
    """Return the source of a clip of either: its number, if known, and its name.

    Example
    -------
    >>> clotho_source("Rain (2)", "freesound:7"), clotho_source("Rain 2")
    ('freesound:7 clotho:rain_2_', 'clotho:rain_2')
    """
    name = f"clotho:{loose_name(stem)}"
    return f"{freesound} {name}" if freesound else name


def loose_name(name: str) -> str:
    """Return a name in lower case, all but letters and digits as underscores.

    Example
    -------
    >>> loose_name("Geese 18_44 05.10") == loose_name("Geese 18.44 05.10")
    True
    """
    return re.sub(r"[^0-9a-z]+", "_", name.lower())


class LooseNames:
    """Names that are found although their punctuation differs.

    Arguments
    ---------
    values : dict
        Name -> value.

    Example
    -------
    >>> LooseNames({"a.b": 1, "a_b": 2, "c.d": 3}).get("c_d")
    3
    """

    def __init__(self, values: Mapping):
        self.values = dict(values)
        counts = Counter(map(loose_name, self.values))
        self.loose = {
            loose_name(name): value
            for name, value in self.values.items()
            if counts[loose_name(name)] == 1
        }

    def get(self, name: str):
        """Return the value of a name, or of the only one that is alike, or None."""
        return self.values.get(name, self.loose.get(loose_name(name)))
