"""What batch normalisation does to a channel once its statistics are known."""

from typing import NamedTuple

import numpy as np


class Line(NamedTuple):
    """y = (x - mean) * scale + shift in each channel, and then max(0, y) if `relu`.

    mean, scale and shift are of shape (C,) and of the dtype of x; channels lie along
    axis 1 of x.
    """

    mean: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    relu: bool
