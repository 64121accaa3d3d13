"""Activations as layers. Formulas and derivatives: ``tinytl.functional``.

``inplace`` is torch's argument. It has no effect: nothing is ever done in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import functional as F
from ..tensor import Tensor
from .linear import positive
from .module import Module, Parameter

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class _InPlace(Module):
    """An activation with torch's argument ``inplace`` and no other."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Shown as torch shows it."""
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """max(0, x), with gradient 0 at 0."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.relu(input)


class ReLU6(_InPlace):
    """min(max(0, x), 6), with gradient 0 at 0 and at 6."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.relu6(input)


class Hardsigmoid(_InPlace):
    """relu6(x + 3) / 6."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.hardsigmoid(input)


class Hardswish(_InPlace):
    """x * relu6(x + 3) / 6."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.hardswish(input)


class LeakyReLU(Module):
    """x where x > 0, negative_slope * x elsewhere."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """Slope."""
        text = f"negative_slope={self.negative_slope}"
        return text + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """x where x > 0, weight * x elsewhere, with a trained weight.

    Args:
        num_parameters: 1 for one weight, or the number of channels for one each.
        init: initial weight.
        dtype: of the weight.

    Raises:
        ValueError: num_parameters is not a positive integer.

    Source: He et al. 2015, eq. 1.
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        *,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__()
        positive(self, num_parameters=num_parameters)
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(np.full(num_parameters, init, dtype))

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept; channels are dimension 1."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Number of weights."""
        return f"num_parameters={self.num_parameters}"


class Softplus(Module):
    """log(1 + exp(beta x)) / beta, a smooth ReLU; x itself where beta x > threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Settings."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Sigmoid(Module):
    """1 / (1 + exp(-x)), between 0 and 1."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.sigmoid(input)


class Tanh(Module):
    """Hyperbolic tangent, between -1 and 1."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.tanh(input)


class Step(Module):
    """1 where x > 0, 0 elsewhere: the unit of the perceptron. Its gradient is 0."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.step(input)


class Softmax(Module):
    """exp(x) / sum(exp(x)) along dim: positive values that add up to 1.

    Args:
        dim: dimension of the classes: 1 for (N, K) and (N, K, H, W). None guesses, as
            torch does: 0 for an input with 0, 1 or 3 dimensions, else 1.
    """

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Dimension."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """x - log(sum(exp(x))) along dim; arguments as in ``Softmax``."""

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Dimension."""
        return f"dim={self.dim}"
