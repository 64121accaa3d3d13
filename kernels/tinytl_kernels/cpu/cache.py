"""Compiled code: a word while it is made, and none kept whose source has changed.

Numba keeps the code of a function beside its source and looks whether that file has
changed. It does not look at the files of the functions that are called and compiled in.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

from numba.core import event

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


class Announcement(event.Listener):
    """Say once, on standard error, that kernels are being compiled."""

    def __init__(self) -> None:
        self.made = False

    def on_start(self, event: Any) -> None:
        """A function is about to be compiled; one of ours?"""
        module = event.data["dispatcher"].py_func.__module__
        if not self.made and module.startswith(__package__):
            self.made = True
            print(
                "tinytl: compiling kernels for this processor; it takes some seconds, "
                "once",
                file=sys.stderr,
                flush=True,
            )

    def on_end(self, event: Any) -> None:
        """Nothing more to say."""
