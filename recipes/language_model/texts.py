"""Texts of the small language model: corpora in, lists of lower-case lines out.

Every reader returns ``(train, held_out)``. A line is lower case and has no
final full stop, as the answers of this project have.

Authors
 * The pengi-plugin authors, 2026
"""

import csv
import re
from pathlib import Path

from pengi_plugin.corpora.esc50_words import PHRASES, captions_of, label_of
from pengi_plugin.corpora.general_midi_plan import plan_clips
from pengi_plugin.corpora.general_midi_words import plan_rows
from pengi_plugin.tasks import TASKS, apply

#: WordNet's files of synsets; the gloss stands behind the bar.
WORDNET_FILES = ("data.noun", "data.verb", "data.adj", "data.adv")
EXAMPLE = re.compile(r'"([^"]+)"')


def clean(text: str) -> str:
    """Lower-case a line, close up its spaces, and drop a final full stop.

    Example
    -------
    >>> clean(" A dog  barks. ")
    'a dog barks'
    """
    return " ".join(text.lower().split()).rstrip(".").rstrip()


def read_audiocaps(folder, held_out_split: str = "test"):
    """Read the captions of AudioCaps (Kim et al., NAACL 2019), official CSV files."""
    return tuple(
        [clean(row["caption"]) for row in _rows(Path(folder) / f"{split}.csv")]
        for split in ("train", held_out_split)
    )


def read_wordnet(folder, held_out_every: int = 50):
    """Read WordNet's glosses (``word: definition``) and example sentences.

    Synsets whose first word is a proper name (genera, persons, places) are
    left out. Every ``held_out_every``-th synset that is kept is held out.
    """
    train, held_out, n_kept = [], [], 0
    for name in WORDNET_FILES:
        path = _existing(Path(folder) / name)
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            lines = _gloss_lines(line)
            n_kept += bool(lines)
            (train if n_kept % held_out_every else held_out).extend(lines)
    return train, held_out


def _gloss_lines(synset: str) -> list[str]:
    fields, gloss = synset.split(" | ", 1)
    word = fields.split(" ")[4].split("(")[0].replace("_", " ")
    if word != word.lower():
        return []
    definition = EXAMPLE.sub("", gloss).strip(' ;"')
    examples = [clean(example) for example in EXAMPLE.findall(gloss)]
    return [clean(f"{word}: {definition}"), *(e for e in examples if " " in e)]


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; is the folder right?")
    return path


def _rows(path: Path) -> list[dict]:
    with _existing(path).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def read_forms(n_clip: int = 6000):
    """Read what this project's corpora ask and answer, without any sound.

    A row of ``general_midi`` gives two lines, the answer and the prompt followed
    by the answer; ``n_clip`` planned training clips are trained on, a tenth as
    many test clips are held out. The rows of ESC-50 (Piczak, 2015) follow from
    its classes and are few, so they are repeated and none is held out; so are the
    prompts of all tasks.
    """
    labels = [{"labels": [label_of(name)]} for name in PHRASES]
    captions = [{"caption": text} for name in PHRASES for text in captions_of(name)]
    esc50 = [apply("sound_events", row) for row in labels * 4]
    esc50 += [apply("captioning", row) for row in captions]
    prompts = [t.prompt for t in TASKS.values() if "{" not in t.prompt]
    repeated = (_lines(esc50) + prompts) * 12
    return _midi_lines("train", n_clip) + repeated, _midi_lines("test", n_clip // 10)


def _midi_lines(split: str, n_clip: int) -> list[str]:
    rows = plan_rows(plan_clips(split, n_clip)).values()
    captions = [text for row in rows for text in row.get("references", ())]
    return _lines(apply(row["task"], row) for row in rows) + captions


def _lines(pairs) -> list[str]:
    """Return the answers, and the prompts followed by the answers."""
    return [line for prompt, answer in pairs for line in (answer, f"{prompt} {answer}")]
