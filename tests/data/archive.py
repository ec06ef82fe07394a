"""A folder of manifests whose clips are of many kinds, for the tests of shards."""

import json

import numpy as np
import soundfile

RATE = 8000


def write_archive(folder, n_clip=24):
    """Write two corpora: ``birds`` with train and test, ``rain`` that shares a clip.

    Clips of ``birds/train`` are 0.3 to 2.7 s, in four formats, and have two rows each;
    the fifth is no audio.
    """
    draw = np.random.default_rng(0)
    birds, rain = folder / "birds", folder / "rain"
    birds.mkdir(parents=True)
    rain.mkdir()
    kinds = (("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("wav", "FLOAT"))
    train, test = {}, {}
    for n in range(n_clip):
        suffix, subtype = kinds[n % 4]
        name = f"bird {n}.{suffix}"
        seconds = 0.3 + 0.4 * (n % 7)
        noise = 0.2 * draw.standard_normal((int(RATE * seconds), 1 + n % 2))
        soundfile.write(birds / name, noise, RATE, subtype)
        row = {"wav": name, "duration": seconds}
        train[f"{n}_a"] = {**row, "task": "captioning", "caption": f"bird {n} $x {{"}
        train[f"{n}_b"] = {**row, "task": "sound_events", "labels": ["a", str(n)]}
    (birds / "bird 4.ogg").unlink(missing_ok=True)
    (birds / "bird 4.wav").write_text("no audio")
    for key in ("4_a", "4_b"):
        train[key]["wav"] = "bird 4.wav"
    soundfile.write(birds / "held.wav", 0.1 * draw.standard_normal(RATE), RATE)
    test["t"] = {
        **{"wav": "held.wav", "duration": 1.0},
        **{"task": "captioning", "caption": "held"},
    }
    (birds / "train.json").write_text(json.dumps(train))
    (birds / "test.json").write_text(json.dumps(test))
    lines = [
        "ID,wav,duration,task,labels",
        'r,../birds/bird 1.flac,0.7,sound_events,"a,b"',
    ]
    (rain / "train.csv").write_text("\n".join(lines) + "\n")
    return folder
