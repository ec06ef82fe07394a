"""Corpora in their official formats, of a few clips each: a name in, its folder out."""

import shutil

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
    test_multiple_choice,
    test_nsynth,
    test_ravdess,
    test_sesa,
    test_sounddescs,
    test_tut2017,
    test_urbansound8k,
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

#: Those that it is only tested on, and those of today's questions.
TESTING = {
    "esc50": (lambda folder, _: test_esc50.build(folder), "ESC-50-master"),
    "urbansound8k": (test_urbansound8k.build, "UrbanSound8K"),
    "dcase2017_task4": (test_dcase2017_task4.build, "dcase2017_task4"),
    "tut2017": (test_tut2017.build, "TUT2017"),
    "vocalsound": (test_vocalsound.build, "vocalsound"),
    "sesa": (test_sesa.build, "SESA"),
    "gtzan": (test_gtzan.build, "gtzan"),
    "gtzan_music_speech": (test_gtzan_music_speech.build, "music_speech"),
    "beijing_opera": (test_beijing_opera.build, "beijing_opera"),
    "crema_d": (test_crema_d.build, "CREMA-D"),
    "ravdess": (test_ravdess.build, "ravdess"),
    "mmau": (test_multiple_choice.build_mmau, "MMAU"),
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
