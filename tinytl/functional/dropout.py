"""Dropout."""

import numpy as np

from ..operators import Operand
from ..tensor import Tensor
from .promote import floating, number


def dropout(
    input: Operand,
    p: float = 0.5,
    training: bool = True,
    *,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Each value is set to 0 with probability p, the others divided by 1 - p.

    So the expected value stays what it was, and evaluation needs no change. p is the
    probability to *drop*; some texts give the one to keep.

    Args:
        input: any shape.
        p: in [0, 1].
        training: False returns the input as it is.
        generator: where the randomness comes from; None draws a new, unrepeatable one.

    Backward. gy through the same mask.
    Source: Srivastava et al. 2014.

    Raises:
        ValueError: p is no probability.
    """
    x = floating("dropout", "input", input)
    if not 0 <= number("dropout", "p", p) <= 1:
        raise ValueError(f"dropout: p must be a probability in [0, 1], got {p}")
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0
    random = np.random.default_rng() if generator is None else generator
    kept = random.random(x.shape, dtype=x.dtype.type) >= p
    mask = Tensor(kept.astype(x.dtype) / x.dtype.type(1 - p))
    return x * mask.to(x.device)  # drawn by NumPy: one seed, one mask, on all devices
