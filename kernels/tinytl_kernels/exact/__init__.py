"""The compiled kernel set without Winograd: every product that the definition has.

Where cpu's convolution takes a quarter of the multiplications, and in float32 rounds
ten to thirty times as coarsely, this one is a plain sum. Nothing else differs.
"""

from .. import cpu
from ..cpu import *  # noqa: F403
from .conv import conv, conv_dw, conv_dx  # noqa: F401

__all__ = cpu.__all__
