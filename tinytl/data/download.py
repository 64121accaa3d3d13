"""Download official files: complete and checked, or not at all.

Nothing is downloaded unless it is asked for, by ``download``, ``fetch``, an argument
``download=True``, or the command ::

    python -m tinytl.data cifar-10 FOLDER

What arrives is written to NAME.part. It gets its name once length and checksums agree.
A connection that breaks is taken up where it broke (HTTP's Range), or from the start if
the server can't do that; likewise the next time, if the program was stopped.
"""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from tinytl.data.official import OFFICIAL, OfficialFile

CHUNK = 1 << 18
TRIES = 5
TIMEOUT = 30.0  # seconds without a byte
MOST = 1 << 33  # bytes, where nobody says how many to expect
AGAIN = (408, 425, 429, 500, 502, 503, 504)  # answers of a server that may get better


class Damaged(ValueError):
    """What arrived is not what was expected."""


def fetch(
    dataset: str, folder: str | os.PathLike[str], progress: bool = True
) -> list[Path]:
    """Download the official files of a data set that are not in `folder` yet.

    Args:
        dataset: a key of ``tinytl.data.official.OFFICIAL``.
        folder: where they go; it is made if it doesn't exist.
        progress: show a bar, if tqdm is installed.

    Returns:
        Paths of all files, each with the published checksum.

    Raises:
        ValueError: the name is unknown, or a file differs from the published one.
        ConnectionError: the server can't be reached, or doesn't have it.
    """
    if dataset not in OFFICIAL:
        raise ValueError(f"fetch: {dataset!r} is none of {', '.join(OFFICIAL)}")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [
        download(file, Path(folder) / file.name, progress) for file in OFFICIAL[dataset]
    ]


def download(
    file: OfficialFile,
    path: str | os.PathLike[str],
    progress: bool = True,
    *,
    tries: int = TRIES,
    wait: Callable[[float], None] = time.sleep,
) -> Path:
    """Download one file to `path`, unless it is there.

    Args:
        file: address, checksums and, if known, the length.
        path: where it goes; the folder must exist.
        progress: show a bar, if tqdm is installed.
        tries: how often to connect before giving up.
        wait: called with the seconds to wait between tries: 1, 2, 4, ...

    Returns:
        `path`. It holds exactly what was published.

    Raises:
        ValueError: a file of this name is there and differs; or what the server sends
            differs, in length or checksum, also when it is sent again.
        ConnectionError: the connection failed at every try. What arrived stays in
            NAME.part, and the next call goes on from there.
    """
    path = Path(path)
    if path.exists():
        try:
            _check(path, file)
        except Damaged as error:
            raise ValueError(
                f"download: {path} {error}; move it away or delete it, and try again"
            ) from None
        return path
    part = path.with_name(path.name + ".part")
    fresh = not part.exists()
    for attempt in range(tries):
        last = attempt == tries - 1
        try:
            _receive(file, part, progress)
            _check(part, file)
        except Damaged as error:
            part.unlink(missing_ok=True)
            if fresh or last:
                raise ValueError(
                    f"download: what {file.url} sends {error}. Nothing was kept. Try "
                    "again later; if it stays so, the file there has changed"
                ) from None
            fresh = True  # what was left from another time may have been the reason
        except (OSError, http.client.HTTPException) as error:
            if last or getattr(error, "code", AGAIN[0]) not in AGAIN:
                raise ConnectionError(_lost(file, part, error)) from error
            wait(2.0**attempt)
        else:
            os.replace(part, path)
            return path
    raise ValueError(f"download: tries = {tries}; it needs 1 or more")


def _lost(file: OfficialFile, part: Path, error: Exception) -> str:
    kept = part.stat().st_size if part.exists() else 0
    rest = f"; {kept:,} bytes are kept in {part}, and the next try goes on there"
    return f"download: {file.url}: {error}{rest if kept else ''}"


def _receive(file: OfficialFile, part: Path, progress: bool) -> None:
    """Let the .part file grow to its end."""
    start = part.stat().st_size if part.exists() else 0
    if file.size is not None and start == file.size:
        return
    headers = {"User-Agent": "tinytl"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(file.url, headers=headers)
    try:
        response = _opener().open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # there is nothing after `start`
            part.unlink()
            raise ConnectionError("the server has less than was kept") from None
        raise
    with response:
        start, total = _extent(response, start)
        if file.size is not None and total not in (None, file.size):
            raise Damaged(f"has {total:,} bytes instead of {file.size:,}")
        total = file.size if total is None else total
        with (
            part.open("ab" if start else "wb") as out,
            _bar(progress, file.name, start, total) as bar,
        ):
            _copy(response, out, bar, start, total)
            out.flush()
            os.fsync(out.fileno())


def _extent(response: Any, start: int) -> tuple[int, int | None]:
    """Where the answer begins, and the length of the whole file, if it says so."""
    length = response.headers.get("Content-Length", "")
    size = int(length) if length.isdecimal() else None
    if response.status != 206:  # the server ignored Range: all from the beginning
        return 0, size
    span, _, whole = response.headers.get("Content-Range", "").partition("/")
    if span.partition("-")[0].strip() != f"bytes {start}":
        raise Damaged(f"is another part than the one asked for ({span!r})")
    if whole.isdecimal():
        return start, int(whole)
    return start, None if size is None else start + size


def _copy(response: Any, out: Any, bar: Any, start: int, total: int | None) -> None:
    done, most = start, MOST if total is None else total
    while chunk := response.read(CHUNK):
        done += len(chunk)
        if done > most:
            raise Damaged(f"goes on after the {most:,} bytes that it may have")
        out.write(chunk)
        bar.update(len(chunk))
    if total is not None and done < total:
        out.flush()
        raise ConnectionError(f"it broke off after {done:,} of {total:,} bytes")


def _check(path: Path, file: OfficialFile) -> None:
    """Compare length and checksums with the published ones."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise Damaged(f"has {size:,} bytes instead of {file.size:,}")
    for kind, expected in (("md5", file.md5), ("sha256", file.sha256)):
        if expected is None:
            continue
        with path.open("rb") as stream:
            total = hashlib.new(kind, usedforsecurity=False)
            while chunk := stream.read(CHUNK):
                total.update(chunk)
        if total.hexdigest() != expected:
            raise Damaged(
                f"has the {kind.upper()} {total.hexdigest()} instead of {expected}"
            )


def _opener() -> urllib.request.OpenerDirector:
    """Opens http and https, follows redirections to these, and nothing else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


class _NoBar:
    """What stands for a progress bar where there is none."""

    def update(self, count: int) -> None:
        """Nothing."""


def _bar(
    wanted: bool, name: str, start: int, total: int | None
) -> AbstractContextManager[Any]:
    if not wanted:
        return nullcontext(_NoBar())
    try:
        from tqdm import tqdm
    except ImportError:
        return nullcontext(_NoBar())
    return tqdm(
        desc=name, initial=start, total=total, unit="B", unit_scale=True, leave=False
    )
