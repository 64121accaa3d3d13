"""Pages of memory, kept instead of given back and asked for again.

A large array is made of fresh pages, which the system fills with zeros as each is first
touched: that costs as much as filling the array. C's allocator gives large blocks back
when they are freed, so a training step pays for the same pages again and again.
"""

import ctypes

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
    settings = (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD)
    return all([mallopt(name, KEEP) == 1 for name in settings])
