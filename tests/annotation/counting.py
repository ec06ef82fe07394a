"""A work without a model: rows that follow from the path alone, written slowly."""

import sys
import time
from dataclasses import dataclass

from pengi_plugin.annotation.output import Output, write_part
from pengi_plugin.annotation.run import complete

#: Recordings of the list; the last part of 3 is shorter.
N_RECORDING = 37


def rows_of(paths, pause=0.0):
    """Yield a row or more per recording; every seventh is an error."""
    for path in paths:
        for n in range(1 + len(path) % 3):
            time.sleep(pause)
            values = {"path": path, "start": float(n), "end": n + 1.0, "prompt": "?"}
            error = "bad" if int(path) % 7 == 6 else None
            yield values | {"answer": path * 100, "score": -1.0, "error": error}


@dataclass(frozen=True)
class SlowWork:
    """Write parts, a recording every ``pause`` seconds."""

    output: Output
    pause: float

    def __call__(self, number):
        """Return what writes a part."""

        def work(part, on_recording):
            for _ in self.output.recordings_of(part):
                on_recording()
            rows = rows_of(self.output.recordings_of(part), self.pause)
            write_part(self.output.path_of(part), rows)

        return work


def output_in(folder, form="jsonl"):
    """Return the folder of parts of 37 recordings."""
    paths = tuple(str(10 ** (n % 4) * (n + 1)) + f"{n:02}" for n in range(N_RECORDING))
    return Output(str(folder), paths, form, part_size=3)


if __name__ == "__main__":
    output = output_in(sys.argv[1], sys.argv[2])
    work = SlowWork(output, float(sys.argv[4]))
    print(*complete(output, {"a": 1}, work, n_worker=int(sys.argv[3])))
