"""Where arrays lie: at the start of a cache line, and in pages that are kept.

A large array is made of fresh pages, which the system fills with zeros as each is first
touched: that costs as much as filling the array. C's allocator gives large blocks back
when they are freed, so a training step pays for the same pages again and again.
"""

import ctypes
import math
from typing import Any

import numpy as np

LINE = 64  # bytes
SMALL = 1 << 17  # bytes
STREAMED = 40 << 20  # bytes read and written; above, a result goes past the caches
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc: malloc.h
KEEP = 2**31 - 1  # bytes; the largest value that mallopt takes


def keep_pages() -> bool:
    """Keep freed memory in this process, for later arrays. Opt-in: it is yours.

    The process then stays as large as it was at its largest. Works with glibc (Linux).

    Returns:
        Whether the allocator has taken the advice.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library
        return False
    taken = [mallopt(name, KEEP) for name in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD)]
    return min(taken) == 1


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """np.empty, but beginning at the start of a cache line, unless it is small.

    Below SMALL bytes the detour, a microsecond, costs more than it saves.
    """
    if math.prod(shape) * np.dtype(dtype).itemsize < SMALL:
        return np.empty(shape, dtype)
    return aligned(shape, dtype)


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """np.empty, but beginning at the start of a cache line.

    The widest registers hold a whole line. Loading one from an array that begins
    elsewhere touches two lines, and takes many loops half as long again.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -ctypes.addressof(ctypes.c_char.from_buffer(memory.data)) % LINE
    return np.ndarray(shape, dtype, memory, start)
