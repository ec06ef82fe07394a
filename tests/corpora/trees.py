"""Corpora in their official formats, of a few clips each: a name in, its folder out."""

import csv
import json
import shutil

from pengi_plugin.corpora.air_bench import SOUND
from pengi_plugin.corpora.muchomusic import OPTIONS
from pengi_plugin.corpora.urbansound8k import CLASSES as URBAN_CLASSES
from tests.corpora import (
    test_audiocaps,
    test_audioset,
    test_beijing_opera,
    test_clips,
    test_clotho,
    test_clothoaqa,
    test_cmu_mosei,
    test_cmu_mosi,
    test_cochlscene,
    test_crema_d,
    test_dcase2017_task4,
    test_esc50,
    test_fma,
    test_freesound,
    test_fsd50k,
    test_gtzan,
    test_gtzan_music_speech,
    test_macs,
    test_meld,
    test_msp_podcast,
    test_nsynth,
    test_ravdess,
    test_sesa,
    test_sounddescs,
    test_tut2017,
    test_vocalsound,
    test_wavcaps,
    test_wavtext5k,
)
from tests.corpora.conftest import write_tone

#: The corpora that the paper trains on -> what builds one, and a name of its folder.
TRAINING = {
    "audioset": (test_audioset.build, "AudioSet"),
    "fsd50k": (test_fsd50k.build, "FSD50K"),
    "cochlscene": (test_cochlscene.build, "CochlScene"),
    "msp_podcast": (test_msp_podcast.build, "MSP-PODCAST-Publish-1.12"),
    "cmu_mosi": (test_cmu_mosi.build, "CMU_MOSI"),
    "cmu_mosei": (lambda folder, _: test_cmu_mosei.build(folder), "CMU_MOSEI"),
    "meld": (test_meld.build, "MELD.Raw"),
    "nsynth": (test_nsynth.build, "nsynth"),
    "fma": (test_fma.build, "fma"),
    "audiocaps": (test_audiocaps.build, "AudioCaps"),
    "clotho": (test_clotho.build, "CLOTHO_v2.1"),
    "clothoaqa": (test_clothoaqa.build, "ClothoAQA"),
    "wavtext5k": (test_wavtext5k.build, "WavText5K"),
    "macs": (test_macs.build, "MACS"),
    "sounddescs": (test_sounddescs.build, "SoundDescs"),
    "wavcaps": (test_wavcaps.build, "WavCaps"),
    "freesound": (test_freesound.build, "freesound_no_overlap"),
    "findsounds": (test_clips.build, "FindSounds"),
}

#: Those that it is only tested on.
TESTING = {
    "esc50": (lambda folder, _: test_esc50.build(folder), "ESC-50-master"),
    "dcase2017_task4": (test_dcase2017_task4.build, "dcase2017_task4"),
    "tut2017": (test_tut2017.build, "TUT2017"),
    "vocalsound": (test_vocalsound.build, "vocalsound"),
    "sesa": (test_sesa.build, "SESA"),
    "gtzan": (test_gtzan.build, "gtzan"),
    "gtzan_music_speech": (test_gtzan_music_speech.build, "music_speech"),
    "beijing_opera": (test_beijing_opera.build, "beijing_opera"),
    "crema_d": (test_crema_d.build, "CREMA-D"),
    "ravdess": (test_ravdess.build, "ravdess"),
}


def build_urbansound8k(tmp_path, write_audio):
    """A clip in each of the ten folds, each of another class."""
    folder = tmp_path / "UrbanSound8K"
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        name = f"{fold}-{fold - 1}-0-0.wav"
        label = URBAN_CLASSES[fold - 1].replace(" ", "_")
        lines.append(f"{name},{fold},0,1,1,{fold},{fold - 1},{label}")
        write_audio(folder / "audio" / f"fold{fold}" / name)
    (folder / "metadata").mkdir()
    (folder / "metadata" / "UrbanSound8K.csv").write_text("\n".join(lines) + "\n")
    return folder


ITEM = {"question": "Who?", "choices": ["Man", "Cat, old"], "answer": "Man"}


def build_mmau(tmp_path, write_audio):
    """Two questions about two recordings."""
    folder = tmp_path / "MMAU"
    paths = [f"./test-mini-audios/{name}.wav" for name in "ab"]
    items = [{**ITEM, "id": p[-5], "audio_id": p, "task": "sound"} for p in paths]
    for path in paths:
        write_audio(folder / path)
    (folder / "mmau-test-mini.json").write_text(json.dumps(items))
    return folder


def build_mmar(tmp_path, write_audio):
    """Two questions about two videos."""
    folder = tmp_path / "MMAR"
    paths = [f"./audio/qx8hrhBZJ9{name}_00-01-32_00-02-02.wav" for name in "ab"]
    items = [
        {**ITEM, "id": p[8:-4], "audio_path": p, "modality": "music"} for p in paths
    ]
    for item in items:
        item |= {"category": "Layer", "sub-category": "Knowledge", "source": "youtube"}
    for path in paths:
        write_audio(folder / path)
    (folder / "MMAR-meta.json").write_text(json.dumps(items))
    return folder


def build_muchomusic(tmp_path, write_audio):
    """Two questions about two tracks."""
    folder = tmp_path / "muchomusic"
    head = ["question", *OPTIONS, "dataset", "dataset_identifier"]
    head += ["genre", "music_knowledge", "music_reasoning"]
    options = ["right, one", "w1", "w2", "w3"]
    names = ("415600", "415601")
    lines = [
        ["Q?", *options, "sdd", f"{n}.json", "[]", "['tempo']", "[]"] for n in names
    ]
    for name in names:
        write_audio(folder / "data" / "sdd" / "audio" / "00" / f"{name}.2min.wav")
    with (folder / "data" / "muchomusic.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *lines])
    return folder


def build_air_bench(tmp_path, write_audio):
    """A question in each folder about sound."""
    folder = tmp_path / "AIR-Bench"
    items = []
    for number, name in enumerate(SOUND):
        task, _, dataset = name.rpartition("_")
        choices = {"choice_a": "yes", "choice_b": "no", "answer_gt": "no"}
        item = {"path": "a.wav", "question": "Q?", **choices, "uniq_id": number}
        items.append({**item, "task_name": task, "dataset_name": dataset})
        ending = "flac" if "Grounding" in name else "wav"
        write_audio(folder / "Foundation" / name / f"a.{ending}")
    (folder / "Foundation" / "Foundation_meta.json").write_text(json.dumps(items))
    return folder


def build_clotho(tmp_path, write_audio):
    """Two clips to evaluate: captions are scored of two or more."""
    folder = test_clotho.build(tmp_path, write_audio)
    path = folder / "clotho_captions_evaluation.csv"
    path.write_text(test_clotho.table("a, b (1).wav", "c.wav"), newline="")
    write_audio(folder / "evaluation" / "c.wav")
    return folder


def build_nsynth(tmp_path, write_audio):
    """Two test notes, of which one has a quality."""
    folder = test_nsynth.build(tmp_path, write_audio)
    note = test_nsynth.note("vocal_1-060-050", "vocal", "a", 60, 50, ["dark"])
    test_nsynth.write_notes(folder, "test", test_nsynth.REED, note)
    write_audio(folder / "nsynth-test" / "audio" / "vocal_1-060-050.wav", 4.0, 800)
    return folder


#: Corpora that are scored -> what builds as much of one as all its entries need.
EVALUATION = {
    "air_bench": build_air_bench,
    "clotho": build_clotho,
    "mmar": build_mmar,
    "mmau": build_mmau,
    "muchomusic": build_muchomusic,
    "nsynth": build_nsynth,
    "urbansound8k": build_urbansound8k,
}


def build_tree(root, corpora):
    """Build corpora below a folder: name -> its folder."""
    folders = {}
    for name, (build, folder_name) in corpora.items():
        scratch = root / "unfinished"
        scratch.mkdir(parents=True)
        folders[name] = root / folder_name
        build(scratch, write_tone).rename(folders[name])
        shutil.rmtree(scratch, ignore_errors=True)
    return folders
