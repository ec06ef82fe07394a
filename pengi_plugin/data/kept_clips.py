"""The clips of a corpus in, one after another; kept on disk, to be gone through again.

Of each only some numbers stay in memory, so a corpus may have millions.
"""

import os
import pickle
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from pengi_plugin.data.manifest import number_of, raw

#: Clips that are in memory at a time.
N_BLOCK = 1024


class KeptClips:
    """Clips on disk, and what is found about their audio files.

    Arguments
    ---------
    clips : iterable of Clip
        As ``data.preparation`` makes them; gone through once.
    folder : str
        Holds a file without a name until the clips are forgotten.
    """

    def __init__(self, clips: Iterable, folder: str | Path):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (stays open)
        names, paths = array("Q"), array("Q")
        self.n_listed: Counter = Counter()  # split -> clips
        self.splits_with_audio: set[str] = set()
        for clip in clips:
            pickle.dump(clip, self._file, pickle.HIGHEST_PROTOCOL)
            names.append(number_of(raw(clip.split), raw(clip.name)))
            paths.append(number_of(os.fsencode(clip.path)) if clip.path else 0)
            self.n_listed[clip.split] += 1
            if clip.path is not None:
                self.splits_with_audio.add(clip.split)
        self._names = np.frombuffer(names, np.uint64)
        #: Which of all files each clip has; 0 may be no file.
        numbers, self._file_of = np.unique(
            np.frombuffer(paths, np.uint64), return_inverse=True
        )
        self.n_file = len(numbers)
        self._durations = np.zeros(len(numbers))
        self._reasons: dict[int, str] = {}  # file -> why it cannot be used

    def __len__(self):
        return len(self._names)

    def __iter__(self) -> Iterator:
        offset = 0  # of this loop: another one may read too
        for begin in range(0, len(self), N_BLOCK):
            self._file.seek(offset)
            n_clip = min(N_BLOCK, len(self) - begin)
            some = [pickle.load(self._file) for _ in range(n_clip)]
            offset = self._file.tell()
            yield from some

    def twice(self) -> list[str]:
        """Return names that a clip has and an earlier one of its split, if any."""
        numbers, counts = np.unique(self._names, return_counts=True)
        repeated = set(numbers[counts > 1].tolist())
        if not repeated:
            return []
        found = Counter(
            (clip.split, clip.name)
            for number, clip in zip(self._names.tolist(), self, strict=True)
            if number in repeated
        )
        return [name for (_, name), n in found.items() if n > 1]

    def check(self, check_many: Callable) -> None:
        """Check every audio file once.

        Arguments
        ---------
        check_many : callable
            Paths -> pairs of seconds and what is wrong, in their order, as they come.
        """
        order = array("Q")

        def paths() -> Iterator[Path]:
            is_seen = np.zeros(self.n_file, bool)
            for file, clip in zip(self._file_of, self, strict=True):
                if clip.path is not None and not is_seen[file]:
                    is_seen[file] = True
                    order.append(int(file))
                    yield clip.path

        for index, (duration, reason) in enumerate(check_many(paths())):
            self._durations[order[index]] = duration
            if reason:
                self._reasons[order[index]] = reason

    def checked(self) -> Iterator[tuple]:
        """Yield every clip, its seconds, and why it cannot be used (empty: it can)."""
        for file, clip in zip(self._file_of, self, strict=True):
            if clip.path is None:
                yield clip, 0.0, "missing"
            else:
                yield clip, float(self._durations[file]), self._reasons.get(file, "")
