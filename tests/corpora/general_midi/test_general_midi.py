import json
import logging
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest
import soundfile

from pengi_plugin.corpora.general_midi import (
    plan,
    prepare_general_midi,
    soundfont,
)
from pengi_plugin.corpora.general_midi.conditions import noise
from pengi_plugin.corpora.general_midi.plan import (
    PROGRAMS,
    SPLITS,
    Clip,
    Condition,
    Event,
    pitches,
    plan_clips,
)
from pengi_plugin.corpora.general_midi.render import mix_clip
from pengi_plugin.corpora.general_midi.soundfont import level, render
from pengi_plugin.corpora.general_midi.sounds import (
    FAMILIES,
    SOUNDS,
    family_of,
    instrument_of,
)


@pytest.fixture(scope="module")
def clips():
    sizes = {"train": 3000, "valid": 300, "test": 700}
    return {split: plan_clips(split, size) for split, size in sizes.items()}


@pytest.fixture(scope="module")
def rows():
    return plan("test", 700)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("general_midi")
    prepare_general_midi(folder / "clips", folder, n_train=12, n_valid=4, n_test=4)
    return folder


def heard(clips):
    """Return what may be heard in one split only, as sets."""
    kinds = defaultdict(set)
    for clip in clips:
        for event in clip.events:
            kinds["velocity"].add(event.velocity)
            if event.program:
                kinds["pitch"].add((event.program, event.pitch))
            else:
                kinds["tuning"].add(event.tuning)
                kinds["kit"].add(event.kit)
        kinds["room"].add(clip.condition.room)
        kinds["microphone"].add(clip.condition.microphone)
        kinds["noise"].add(clip.condition.noise)
        kinds["pair"] |= {frozenset(pair) for pair in combinations([*clip.labels], 2)}
    return kinds


@pytest.mark.parametrize(
    "what",
    ["velocity", "pitch", "tuning", "kit", "pair", "room", "microphone", "noise"],
)
def test_splits_share_nothing_that_is_heard_but_the_sounds_themselves(clips, what):
    kinds = {split: heard(clips[split])[what] for split in SPLITS}
    assert all(kinds.values())
    for split, other in combinations(SPLITS, 2):
        assert not kinds[split] & kinds[other]


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_instrument_effect_and_drum_is_in_the_split(clips, split):
    events = [event for clip in clips[split] for event in clip.events]
    notes = {event.instrument for event in events if event.family}
    assert notes == {instrument_of(program) for program in PROGRAMS}
    assert len(notes) == 119
    labels = {event.label for event in events}
    names = {sound.name for sound in SOUNDS} | {family.name for family in FAMILIES}
    assert labels == names
    in_scenes = {label for c in clips[split] if len(c.events) > 1 for label in c.labels}
    assert in_scenes == names - {"percussion"}


def test_a_plan_depends_on_the_seed_alone_and_not_on_its_length():
    assert plan_clips("train", 40) == plan_clips("train", 60)[:40]
    assert plan_clips("train", 40, seed=1) != plan_clips("train", 40)
    assert plan("test", 30, seed=3) == plan("test", 30, seed=3)


def test_a_pitch_of_the_test_split_has_a_block_of_four_to_itself():
    for program in (1, 33, 74, 122):
        mine = pitches(program, "test")
        blocks = {pitch // 4 for pitch in mine}
        others = {p // 4 for s in ("train", "valid") for p in pitches(program, s)}
        assert mine
        assert not blocks & others


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match=r"split must be one of .*; got 'dev'"):
        plan_clips("dev", 3)


def test_events_lie_inside_the_clip_and_follow_each_other_in_a_sequence(clips):
    for clip in clips["test"]:
        assert all(0 <= time < 2.5 for event in clip.events for time in event.times)
        if clip.kind == "sequence":
            for event, following in zip(clip.events, clip.events[1:]):
                assert event.times[-1] < following.times[0]
                assert event.times[0] + event.duration <= following.times[0]


def test_no_answer_is_too_common(rows):
    answers = defaultdict(Counter)
    for row in rows.values():
        if "question_kind" in row:
            answers[row["question_kind"]][row["answer"]] += 1
    commonest = {
        kind: count.most_common(1)[0][1] / count.total()
        for kind, count in answers.items()
    }
    assert set(answers) == {"family", "high or low", "soft or loud", "yes or no"} | {
        *("first", "last", "how many", "together")
    }
    two_answers = ("high or low", "soft or loud", "yes or no", "together")
    assert all(commonest[kind] < 0.56 for kind in two_answers)
    assert commonest["how many"] < 0.5
    assert max(commonest[kind] for kind in ("family", "first", "last")) < 0.12


def test_what_is_asked_for_does_not_tell_whether_it_is_there():
    asked = defaultdict(Counter)
    for row in plan("train", 6000).values():
        if row.get("question_kind") == "yes or no":
            asked[row["asked"]][row["answer"]] += 1
    shares = [count["yes"] / count.total() for count in asked.values()]
    assert len(shares) == 51
    assert 0.25 < min(shares) < max(shares) < 0.75


def test_questions_about_presence_are_answered_by_what_is_heard(rows):
    sounds = {sound.phrase: sound.name for sound in SOUNDS}
    phrases = sounds | {family.phrase: family.name for family in FAMILIES}
    labels = {clip.clip_id: clip.labels for clip in plan_clips("test", 700)}
    for row in rows.values():
        if row.get("question_kind") == "yes or no":
            text = row["question"].removeprefix("can ").removeprefix("is there ")
            text = text.removeprefix("do you hear ").removesuffix("?")
            asked = phrases[text.removesuffix(" be heard")]
            assert row["answer"] == ("yes" if asked in labels[row["clip"]] else "no")


def test_the_words_of_a_known_note_are_right():
    note = Event(41, 76, 110, 0, (0.1,), 1.0)
    assert (note.label, note.instrument) == ("strings", "violin")
    assert (note.register, note.loudness) == ("high", "loud")
    drum = Event(0, 56, 30, 0, (0.1,), 1.0)
    assert (drum.label, drum.phrase, drum.loudness) == ("cowbell", "a cowbell", "soft")
    effect = Event(127, 60, 70, 0, (0.1,), 1.0)
    assert (effect.label, effect.loudness) == ("applause", "medium")


def test_programs_have_the_families_of_the_specification():
    firsts = {1: "piano", 9: "mallets", 17: "organ", 25: "guitar", 33: "bass"}
    firsts |= {41: "strings", 49: "ensemble", 57: "brass", 65: "reed", 73: "pipe"}
    firsts |= {81: "synth lead", 89: "synth pad", 97: "synth effects", 105: "folk"}
    firsts |= {113: "percussion"}
    for program, family in firsts.items():
        assert family_of(program).name == family_of(program + 7).name == family


def test_every_key_of_the_drum_kit_has_one_name():
    keys = Counter(key for sound in SOUNDS if not sound.programs for key in sound.keys)
    assert keys == Counter(range(35, 82))


def test_captions_name_the_sounds_in_order(rows):
    clips = {clip.clip_id: clip for clip in plan_clips("test", 700)}
    scenes = [row for row in rows.values() if row.get("references")]
    for row in scenes:
        clip = clips[row["clip"]]
        assert row["caption"] in row["references"]
        if clip.kind == "sequence":
            for caption in row["references"]:
                places = [caption.index(event.phrase) for event in clip.events]
                assert places == sorted(places)


def hertz(wave):
    """Return the fundamental by autocorrelation, between 60 and 2000 Hz."""
    wave = wave * np.hanning(len(wave))
    energy = np.abs(np.fft.rfft(wave, 1 << 16)) ** 2
    correlation = np.fft.irfft(energy)[:267]
    correlation[:8] = 0
    peak = correlation.max()
    lag = next(
        lag
        for lag in range(8, 266)
        if correlation[lag] > 0.85 * peak
        and correlation[lag] == correlation[lag - 1 : lag + 2].max()
    )
    left, middle, right = correlation[lag - 1 : lag + 2]
    return 16000 / (lag + (left - right) / (left - 2 * middle + right) / 2)


@pytest.mark.parametrize(
    "instrument", ["acoustic grand piano", "nylon guitar", "violin", "trumpet", "flute"]
)
@pytest.mark.parametrize("pitch", [57, 60, 69])
def test_an_instrument_sounds_at_its_pitch(instrument, pitch):
    program = next(p for p in PROGRAMS if instrument_of(p) == instrument)
    wave = render(program, pitch, 100, (0.0,), 1.4, seconds=1.5)[3200:12800]
    assert 12 * np.log2(hertz(wave) / 440) + 69 == pytest.approx(pitch, abs=0.4)


def test_tuning_moves_the_drum_kit_by_its_cents():
    def peak(tuning):
        wave = render(0, 56, 100, (0.0,), 1.0, seconds=1.0, tuning=tuning)
        return np.argmax(np.abs(np.fft.rfft(wave, 64000)))

    assert 1200 * np.log2(peak(150) / peak(0)) == pytest.approx(150, abs=5)


@pytest.mark.parametrize(
    ("velocity", "decibel"), [(24, -40.0), (64, -30.0), (124, -15.0)]
)
def test_the_level_of_a_clip_follows_the_velocity(velocity, decibel):
    clip = Clip("x", "note", (Event(20, 60, velocity, 0, (0.2,), 1.5),))
    wave, silent = mix_clip(clip)
    frames = wave[: len(wave) // 800 * 800].reshape(-1, 800)
    loudest = 10 * np.log10((frames**2).mean(1).max())
    assert not silent
    assert loudest == pytest.approx(decibel, abs=0.01)
    assert np.abs(wave[: round(0.19 * 16000)]).max() < 1e-6


def test_a_drum_kit_has_sounds_of_its_own():
    standard, tr808 = (
        render(0, 42, 100, (0.1,), 0.5, seconds=1.0, kit=kit) for kit in (0, 25)
    )
    likeness = np.corrcoef(np.abs(np.fft.rfft(standard)), np.abs(np.fft.rfft(tr808)))
    assert likeness[0, 1] < 0.5


def test_a_clip_is_heard_in_its_room_through_its_microphone_over_its_noise():
    note = Event(20, 60, 64, 0, (0.2,), 0.8)
    condition = Condition(room=3, microphone=5, noise=8, start=1.5, noise_below=20.0)
    dry, _ = mix_clip(Clip("x", "note", (note,)))
    heard, silent = mix_clip(Clip("x", "note", (note,), condition))
    assert not silent
    # Nothing but noise before the note begins, and it is 20 dB below the note.
    before = heard[: round(0.19 * 16000)]
    expected = noise(8, 16000)[24000:][: len(before)]
    assert np.corrcoef(before, expected)[0, 1] > 0.999
    steady = np.square(noise(8, 16000)).mean() ** 0.5
    gain = before.std() / expected.std() * steady
    assert 20 * np.log10(gain) == pytest.approx(-30 - 20, abs=0.1)
    # Room and microphone leave the level of the loudest 50 ms alone.
    quiet = condition._replace(noise_below=200.0)
    filtered, _ = mix_clip(Clip("x", "note", (note,), quiet))
    assert level(filtered) == pytest.approx(level(dry), abs=0.01)
    after = slice(round(1.15 * 16000), round(1.4 * 16000))
    assert np.square(filtered[after]).mean() > 2 * np.square(dry[after]).mean()


def test_a_sound_that_the_font_does_not_have_is_told():
    assert mix_clip(Clip("x", "note", (Event(68, 84, 100, 0, (0.2,), 1.0),)))[1] == [
        "reed"
    ]


def test_prepared_clips_are_what_the_manifest_says(prepared):
    manifest = json.loads((prepared / "train.json").read_text())
    files = {row["wav"] for row in manifest.values()}
    assert len(files) == 12
    for file in files:
        assert file.startswith("{data_root}/")
        info = soundfile.info(file.format(data_root=prepared / "clips"))
        assert (info.samplerate, info.channels, info.frames) == (16000, 1, 40960)
        wave, _ = soundfile.read(file.format(data_root=prepared / "clips"))
        assert 10 * np.log10((wave**2).mean()) > -70
    assert {row["duration"] for row in manifest.values()} == {2.56}
    tasks = {row["task"] for row in manifest.values()}
    assert len(tasks) == 6
    assert (prepared / "left_out.csv").read_text() == "wav,reason\n"


def test_no_two_synthesizers_render_at_a_time(monkeypatch):
    class Slow:
        """Notes how many calls are under way."""

        running, most = 0, 0

        def render(self, score, stereo):
            Slow.running += 1
            Slow.most = max(Slow.most, Slow.running)
            time.sleep(0.01)
            Slow.running -= 1
            return np.zeros((1, 48000))

    monkeypatch.setattr(soundfont, "_synthesizer", lambda rate: Slow())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(mix_clip, plan_clips("train", 8)))
    assert Slow.most == 1


def test_a_second_preparation_does_nothing(prepared, caplog):
    def times():  # of all but the rows that were read, which are kept as Arrow
        paths = (path for path in prepared.rglob("*") if path.is_file())
        return {p: p.stat().st_mtime_ns for p in paths if p.suffix != ".arrow"}

    before = times()
    with caplog.at_level(logging.INFO):
        prepare_general_midi(prepared / "clips", prepared, 12, 4, 4)
    assert times() == before
    assert "is prepared already" in caplog.text


def test_an_interrupted_preparation_goes_on_with_the_clips_that_are_missing(tmp_path):
    prepare_general_midi(tmp_path / "a", tmp_path, n_train=6, n_valid=1, n_test=1)
    clips = sorted((tmp_path / "a" / "train").iterdir())
    (wave, _), lost = soundfile.read(clips[0]), clips[1]
    lost.unlink()
    (tmp_path / "prepared.json").unlink()
    before = clips[0].stat().st_mtime_ns
    prepare_general_midi(tmp_path / "a", tmp_path, n_train=6, n_valid=1, n_test=1)
    assert lost.is_file()
    assert clips[0].stat().st_mtime_ns == before
    clips[0].unlink()
    prepare_general_midi(tmp_path / "a", tmp_path, n_train=7, n_valid=1, n_test=1)
    assert np.array_equal(soundfile.read(clips[0])[0], wave)
