"""Linear, the fully connected layer; Flatten and Identity, which go with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import functional as F
from ..tensor import Tensor
from . import init
from .module import Module, Parameter

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def positive(layer: Module, **sizes: int) -> None:
    """Raise ValueError unless all named sizes are integers of at least 1."""
    for name, value in sizes.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < 1:
            raise ValueError(
                f"{type(layer).__name__}: {name} must be an integer of at least 1, got "
                f"{value!r}"
            )


def default_init(
    weight: Parameter, bias: Parameter | None, generator: np.random.Generator | None
) -> None:
    """torch's default for Linear and Conv2d: U(-b, b), b = 1 / sqrt(fan-in), for both.

    It is the "commonly used heuristic" of Glorot & Bengio 2010, eq. 1, with M V = 1/3
    in place of He's 2: every layer makes signals smaller. torch writes it as
    kaiming_uniform_ with slope a = sqrt(5), since sqrt(6 / ((1 + 5) M)) = 1 / sqrt(M).
    """
    rng = np.random.default_rng() if generator is None else generator
    init.kaiming_uniform_(weight, a=math.sqrt(5), generator=rng)
    if bias is not None:
        bound = 1 / math.sqrt(init.fans(weight)[0])
        init.uniform_(bias, -bound, bound, generator=rng)


class Linear(Module):
    """Fully connected layer: y = x W^T + b.

    Shapes: (..., in_features) -> (..., out_features); weight
    (out_features, in_features), bias (out_features,).

    Args:
        in_features: size of the last dimension of the input.
        out_features: size of the last dimension of the output.
        bias: whether to add b.
        generator: randomness of the initial values; None for fresh entropy.
        dtype: of the parameters, float32 or float64.

    Raises:
        ValueError: a size is not a positive integer.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__()
        positive(self, in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(np.zeros((out_features, in_features), dtype))
        self.bias = Parameter(np.zeros(out_features, dtype)) if bias else None
        self.reset_parameters(generator=generator)

    def reset_parameters(self, *, generator: np.random.Generator | None = None) -> None:
        """Draw new values, see ``default_init``."""
        default_init(self.weight, self.bias, generator)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Flatten(Module):
    """Join the dimensions start_dim..end_dim into one: (N, C, H, W) -> (N, C*H*W)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """The same values with fewer dimensions."""
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Dimensions."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """y = x: takes the place of a layer that is not wanted, whatever its arguments."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The input itself."""
        return input
