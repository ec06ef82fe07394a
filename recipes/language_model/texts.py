"""Texts of the small language model: corpora in, lists of lower-case lines out.

Every reader returns ``(train, held_out)``. A line is lower case and has no
final full stop, as the answers of this project have.

Authors
 * The pengi-plugin authors, 2026
"""

import csv
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pengi_plugin.corpora.esc50_words import PHRASES, captions_of, label_of
from pengi_plugin.corpora.general_midi_plan import plan_clips
from pengi_plugin.corpora.general_midi_words import plan_rows
from pengi_plugin.tasks import TASKS, apply

#: WordNet's files of synsets; the gloss stands behind the bar.
WORDNET_FILES = ("data.noun", "data.verb", "data.adj", "data.adv")
EXAMPLE = re.compile(r'"([^"]+)"')

#: The task whose prompts differ from clip to clip.
ASKED = "question_answering"

#: How often the questions about a clip are drawn, and how many a dialogue has.
N_WORDING, N_QUESTION = 8, 6

#: Ends a line, and each answer of a dialogue; Pengi's answers end with it too.
END = "</s>"


class Pair(NamedTuple):
    """What a task asks of a clip, what is right, and the kind of question or clip."""

    task: str
    prompt: str
    answer: str
    kind: str


def clean(text: str) -> str:
    """Lower-case a line, close up its spaces, and drop a final full stop.

    Example
    -------
    >>> clean(" A dog  barks. ")
    'a dog barks'
    """
    return " ".join(text.lower().split()).rstrip(".").rstrip()


def read_audiocaps(folder):
    """Read the captions of AudioCaps (Kim et al., NAACL 2019), official CSV files.

    The test split is held out. In the validation split every clip has several
    captions: each follows another one of its clip and the prompt for a caption.
    """
    train, held_out = (
        [clean(row["caption"]) for row in _rows(Path(folder) / f"{split}.csv")]
        for split in ("train", "test")
    )
    of_clip = defaultdict(list)
    for row in _rows(Path(folder) / "val.csv"):
        of_clip[row["youtube_id"], row["start_time"]].append(clean(row["caption"]))
    prompt = TASKS["captioning"].prompt
    train += [
        dialogue([fact], (prompt, caption))
        for captions in of_clip.values()
        for fact, caption in zip(captions, captions[1:] + captions[:1], strict=True)
    ]
    return train, held_out


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


def dialogue(facts: Sequence[str], *asked: tuple[str, str]) -> str:
    """Return one line: what is known of a clip, then prompts with their answers.

    Every answer ends as the last one does, so that a model learns to stop there.

    Example
    -------
    >>> dialogue(["an owl"], ("question: is it loud?", "no"), ("sound event", "owl"))
    'an owl. question: is it loud? no</s>sound event owl'
    """
    answered = END.join(f"{prompt} {answer}" for prompt, answer in asked)
    return ". ".join([*facts, answered])


def read_forms(n_clip: int = 20000):
    """Read what this project's corpora ask and answer, without any sound.

    Lines are answers alone and dialogues about a clip, where the model learns to
    answer from what stands before the prompt, as it has to from a prefix. ``n_clip``
    planned training clips of ``general_midi`` are trained on, 300 test clips are held
    out. The rows of ESC-50 (Piczak, 2015) follow from its classes and are few, so
    they are repeated and none is held out; so are the prompts of all tasks.
    """
    draw = random.Random("forms")
    esc50 = []
    for name in PHRASES:
        captions = [("captioning", {"caption": text}) for text in captions_of(name)]
        esc50.append([("sound_events", {"labels": [label_of(name)]}), *captions])
    esc50 = [[_pair(*row) for row in rows] for rows in esc50]
    repeated = [line for pairs in esc50 * 12 for line in _lines(pairs, draw)]
    prompts = [t.prompt for t in TASKS.values() if "{" not in t.prompt]
    train = _midi_lines("train", n_clip, draw) + repeated + prompts * 12
    return train, _midi_lines("test", 300, draw)


def read_questions(n_clip: int = 20000):
    """Read dialogues that only ask questions, those about a sound's presence apart.

    Whether "a tuba" is heard is a comparison of the prompt with what is known, which
    a model learns late: these lines let a recipe give it a share of its own. About
    each of ``n_clip`` planned training clips of ``general_midi`` there are two
    dialogues of yes and no, and one of all other kinds; those about 300 test clips
    are held out.
    """
    draw = random.Random("questions")
    train, held_out = (
        [
            _ask(said(pairs), pool, draw)
            for pairs in midi_pairs(split, n)
            for pool in (_presence(pairs), _presence(pairs), _others(pairs))
        ]
        for split, n in (("train", n_clip), ("test", 300))
    )
    return train, held_out


def _midi_lines(split: str, n_clip: int, draw: random.Random) -> list[str]:
    clips = midi_pairs(split, n_clip)
    return [line for pairs in clips for line in _lines(pairs, draw)]


def midi_pairs(split: str, n_clip: int) -> list[list[Pair]]:
    """Return what each planned clip is asked, its questions in several wordings."""
    clips, planned = defaultdict(list), plan_clips(split, n_clip)
    for seed in range(N_WORDING):
        for row in plan_rows(planned, seed).values():
            if seed == 0 or row["task"] == ASKED:
                clips[row["clip"]].append(_pair(row["task"], row))
    return [*clips.values()]


def _lines(pairs: Sequence[Pair], draw: random.Random) -> list[str]:
    """Return the lines of a clip.

    For each task that asks the same of all clips: its answer alone, and a dialogue
    from the answers to other tasks. Then dialogues with several questions: one of all
    kinds, and two that only ask whether a sound is there.
    """
    known, lines = said(pairs), []
    for task, prompt, answer, _ in known:
        facts = [pair.answer for pair in known if pair.task != task]
        lines += [answer, dialogue(_some(facts, draw), (prompt, answer))]
    questions = _questions(pairs)
    for pool in (questions, *[_presence(pairs)] * 2) if questions else ():
        lines.append(_ask(known, pool, draw))
    return lines


def _pair(task: str, words: Mapping) -> Pair:
    kind = words.get("question_kind") or words.get("clip_kind", "")
    return Pair(task, *apply(task, words), kind)


def said(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the answers to the tasks that ask the same of all clips."""
    return [pair for pair in pairs if pair.task != ASKED]


def _questions(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the different questions about a clip."""
    return [*{pair.prompt: pair for pair in pairs if pair.task == ASKED}.values()]


def _presence(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the different questions whether a sound is there."""
    return [pair for pair in _questions(pairs) if pair.answer in ("yes", "no")]


def _others(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the different questions of all other kinds."""
    return [pair for pair in _questions(pairs) if pair.answer not in ("yes", "no")]


def _ask(known: Sequence[Pair], pool: Sequence[Pair], draw: random.Random) -> str:
    """Return a dialogue with several questions of a pool, from some of what is said."""
    facts = _some([pair.answer for pair in known], draw)
    asked = draw.sample(pool, min(N_QUESTION, len(pool)))
    return dialogue(facts, *((pair.prompt, pair.answer) for pair in asked))


def _some(facts: Sequence[str], draw: random.Random) -> list[str]:
    return draw.sample(facts, draw.randint(min(1, len(facts)), len(facts)))
