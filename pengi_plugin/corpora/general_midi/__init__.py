"""The sampled sounds of General MIDI: a sound font in, clips and manifests out.

The clips are rendered from ``TimGM6mb.sf2``, which the Python package
``pretty_midi`` ships, so that nothing needs to be downloaded. There are single
notes of 119 instruments in 15 families, eight sound effects and 28 pieces of the
drum kit, and scenes of two or three of these, together or one after the other.
Seven of the paper's tasks are put to them, and eight kinds of questions.

Splits differ in what is heard and how: four neighbouring pitches of an instrument or
effect, a drum kit and its tuning, a loudness (MIDI velocity), a pair of sounds in a
scene, and every room, microphone and background noise belong to one split each. Every
instrument, effect and drum is in every split.

The sound font is TimGM6mb by Tim Brechbill (as packaged by Debian,
``timgm6mb-soundfont``). The clips are made on the user's machine and are not part
of this project.

Certain: all of it, as the clips are made here. How the paper's prompts are put to them
is ours.
"""

from pathlib import Path

from pengi_plugin.corpora.general_midi.plan import CLIP_SECONDS, plan_clips
from pengi_plugin.corpora.general_midi.render import VERSION, render_clips
from pengi_plugin.corpora.general_midi.words import plan_rows
from pengi_plugin.data.manifest import is_prepared, write_manifests
from pengi_plugin.data.preparation import Corpus

#: Clips of each split, in the main job and in the benchmark.
N_TRAIN, N_VALID, N_TEST = 36000, 200, 600

CORPUS = Corpus(
    name="general_midi",
    title="General MIDI",
    tasks=(
        *("sound_events", "captioning", "question_answering"),
        *("music_analysis", "music_note", "metadata"),
    ),
    clips={"train": N_TRAIN, "valid": N_VALID, "test": N_TEST},
    hours=round((N_TRAIN + N_VALID + N_TEST) * CLIP_SECONDS / 3600, 1),
    licence="GPL-2.0 (the sound font)",
    home="made on this machine from the Python package pretty_midi",
    use="none",
    citation="C. Raffel and D. P. W. Ellis, Intuitive Analysis, Creation and "
    "Manipulation of MIDI Data with pretty_midi, ISMIR late-breaking session, 2014",
)


def prepare_general_midi(
    data_folder: str,
    manifest_folder: str,
    n_train: int = N_TRAIN,
    n_valid: int = N_VALID,
    n_test: int = N_TEST,
    seed: int = 0,
    n_thread: int = 2,
) -> None:
    """Render the clips and write ``train.json``, ``valid.json`` and ``test.json``.

    A second call with the same arguments does nothing; one that was interrupted
    goes on with the clips that are missing.

    Arguments
    ---------
    data_folder : str
        Where the clips go: mono, 16 kHz, 2.56 s, FLAC, about 22 kB each.
    manifest_folder : str
        Where the manifests go.
    n_train, n_valid, n_test : int
        How many clips; each has about seven rows.
    seed : int
        Random seed.
    n_thread : int
        How many clips are rendered at a time.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> prepare_general_midi(folder / "clips", folder, n_train=2, n_valid=1, n_test=1)
    >>> sorted(path.name for path in folder.glob("*.json"))
    ['prepared.json', 'test.json', 'train.json', 'valid.json']
    """
    data_folder = Path(data_folder)
    sizes = {"train": n_train, "valid": n_valid, "test": n_test}
    arguments = {"corpus": "general_midi", "version": VERSION, "seed": seed}
    arguments |= {**sizes, "data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments, makes_files=True):
        return
    splits = {split: plan_clips(split, sizes[split], seed) for split in sizes}
    paths, left_out = render_clips(
        [clip for clips in splits.values() for clip in clips], data_folder, n_thread
    )
    manifests = {}
    for split, clips in splits.items():
        rows = plan_rows([clip for clip in clips if clip.clip_id in paths], seed)
        manifests[split] = {
            key: {"wav": paths[row["clip"]], "duration": CLIP_SECONDS, **row}
            for key, row in rows.items()
        }
    write_manifests(manifest_folder, manifests, data_folder, arguments, left_out)


def plan(split: str, n_clip: int, seed: int = 0) -> dict[str, dict]:
    """Return the words of the corpus without rendering a sound.

    Arguments
    ---------
    split : str
        ``train``, ``valid`` or ``test``.
    n_clip : int
        How many clips.
    seed : int
        Random seed.

    Returns
    -------
    rows : dict
        ID -> row as in the manifest, without ``wav`` and ``duration``.

    Example
    -------
    >>> plan("train", 1)["train_00000_analysis"]["attributes"]
    ['piano', 'high note', 'medium']
    """
    return plan_rows(plan_clips(split, n_clip, seed), seed)
