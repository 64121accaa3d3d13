"""Compiled code on disk, thrown away when the source it was made from has changed.

Numba keeps the code of a function beside its source and looks whether that file has
changed. It does not look at the files of the functions that are called and compiled in.
"""

import hashlib
from pathlib import Path

STAMP = "sources.sha256"


def digest(folder: Path) -> str:
    """Of the sources that compiled code is made from."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def forget_stale(cache: Path, sources: Path = Path(__file__).parent) -> bool:
    """Delete compiled code in the folder `cache` unless it was made from `sources`.

    Returns:
        Whether there was something to forget.
    """
    stamp, now = cache / STAMP, digest(sources)
    try:
        if stamp.exists() and stamp.read_text() == now:
            return False
        for path in cache.glob("*.nb[ci]"):
            path.unlink(missing_ok=True)
        cache.mkdir(parents=True, exist_ok=True)
        stamp.write_text(now)
    except OSError:  # a folder that nobody may write to holds nothing new either
        return False
    return True
