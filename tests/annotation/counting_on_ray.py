"""Rows without a model, on Ray: they follow from the path alone, answered slowly."""

import os
import sys
import time
from dataclasses import dataclass, field

from pengi_plugin.annotation.ray_engine import complete_on_ray
from tests.annotation.counting import output_in, rows_of


@dataclass(frozen=True)
class SlowAnswerer:
    """Answer about a recording every ``pause`` seconds."""

    pause: float
    asked: str
    run_opts: dict = field(default_factory=lambda: {"device": "cpu"})
    n_thread: int | None = None

    def load(self):
        """Return what yields the rows of recordings, and notes them in a file."""
        if self.pause < 0:
            raise ValueError(f"pause must not be negative; got {self.pause}.")

        def answer(paths):
            for path in paths:
                with open(self.asked, "a") as asked:
                    asked.write(f"{path}\n")
                time.sleep(self.pause)
                yield from rows_of([path])

        return answer


if __name__ == "__main__":
    folder, form, n_worker, pause, *asked = sys.argv[1:]
    output = output_in(folder, form)
    answerer = SlowAnswerer(float(pause), *(asked or [os.devnull]))
    print(*complete_on_ray(output, {"a": 1}, answerer, int(n_worker)))
