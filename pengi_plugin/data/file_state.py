"""An audio file in, what changes when the file does out; without reading it."""

import os
import stat

from pengi_plugin.data.shards import is_member, member_state


def file_state(path: str | os.PathLike) -> list[int] | None:
    """Return an audio file's size and time of change; None if it is missing or empty.

    Raises
    ------
    ValueError
        If it is a clip in a shard, and the shard is damaged.
    """
    if is_member(path):
        return member_state(path)
    try:
        found = os.stat(path)
    except OSError:
        return None
    is_there = stat.S_ISREG(found.st_mode) and found.st_size
    return [found.st_size, found.st_mtime_ns] if is_there else None
