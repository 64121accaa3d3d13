"""Pictures of the ten digits, 7 wide and 12 high: the target codes of LeNet-5.

The paper draws stylised characters on a 7 x 12 grid, hence its 84 units in F6, and
prints them as a figure. These are our own drawings in its manner, not copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

# Five digits a block, twelve rows, a space between the digits.
DRAWINGS = (
    """
    ..###.. ...#... .#####. .#####. .....#.
    .#...#. ..##... #.....# #.....# ....##.
    #.....# .#.#... ......# ......# ...#.#.
    #.....# ...#... ......# ......# ..#..#.
    #.....# ...#... .....#. ......# .#...#.
    #.....# ...#... ....#.. ..####. #....#.
    #.....# ...#... ...#... ......# #######
    #.....# ...#... ..#.... ......# .....#.
    #.....# ...#... .#..... ......# .....#.
    #.....# ...#... #...... ......# .....#.
    .#...#. ...#... #...... #.....# .....#.
    ..###.. .#####. ####### .#####. .....#.
    """,
    """
    ####### ...###. ####### ..###.. .#####.
    #...... ..#.... ......# .#...#. #.....#
    #...... .#..... ......# #.....# #.....#
    #...... #...... .....#. #.....# #.....#
    #...... #...... .....#. .#...#. #.....#
    ######. ######. ....#.. ..###.. .######
    ......# #.....# ....#.. .#...#. ......#
    ......# #.....# ...#... #.....# ......#
    ......# #.....# ...#... #.....# ......#
    ......# #.....# ..#.... #.....# .....#.
    #.....# #.....# ..#.... .#...#. ....#..
    .#####. .#####. ..#.... ..###.. .###...
    """,
)


def digit_codes(dtype: DTypeLike = np.float32) -> np.ndarray:
    """Array (10, 84) of +1 (ink) and -1 (paper), row by row of each drawing."""
    digits = []
    for block in DRAWINGS:
        lines = [line.split() for line in block.split("\n") if line.strip()]
        digits += ["".join(parts) for parts in zip(*lines, strict=True)]
    ink = np.array([[pixel == "#" for pixel in digit] for digit in digits])
    return np.where(ink, 1, -1).astype(dtype)
