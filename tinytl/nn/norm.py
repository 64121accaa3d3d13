"""Batch normalisation layers, and Dropout: what behaves differently in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import functional as F
from ..tensor import Tensor, as_array, copied
from .linear import positive
from .module import Module, Parameter

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class _BatchNorm(Module):
    """What BatchNorm1d and BatchNorm2d share: all but the shape of the input."""

    shapes: tuple[str, ...] = ()
    dims: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ):
        super().__init__()
        positive(self, num_features=num_features)
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(
                f"{type(self).__name__}: momentum must be in [0, 1], or None for the "
                f"mean over all batches; got {momentum!r}"
            )
        if not eps > 0:
            raise ValueError(
                f"{type(self).__name__}: eps must be positive, got {eps!r}"
            )
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight = Parameter(np.ones(num_features, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype)) if affine else None
        tracked = track_running_stats
        zeros, ones = np.zeros(num_features, dtype), np.ones(num_features, dtype)
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        self.register_buffer("running_mean", Tensor(zeros) if tracked else None)
        self.register_buffer("running_var", Tensor(ones) if tracked else None)
        self.register_buffer(
            "num_batches_tracked", Tensor(np.array(0, np.int64)) if tracked else None
        )

    def reset_running_stats(self) -> None:
        """Running mean 0, running variance 1, no batches seen."""
        if self.running_mean is not None:
            self.running_mean.data = np.zeros_like(self.running_mean.data)
        if self.running_var is not None:
            self.running_var.data = np.ones_like(self.running_var.data)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.data = copied(0, self.num_batches_tracked)

    def forward(self, input: Tensor, relu: bool = False) -> Tensor:
        """Normalised values, in the shape of the input; their ReLU if `relu`.

        norm(x, relu=True) is relu(norm(x)) with fewer passes over memory.
        """
        if input.ndim not in self.dims or input.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: input must have the shape "
                f"{' or '.join(self.shapes)} with C = {self.num_features}, got "
                f"{input.shape}"
            )
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            count = self.num_batches_tracked.data + 1
            self.num_batches_tracked.data = as_array(count)
            if self.momentum is None:
                momentum = 1.0 / int(count)
        operation = F.batch_norm_relu if relu else F.batch_norm
        return operation(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training or self.running_mean is None,
            momentum=momentum,
            eps=self.eps,
        )

    def extra_repr(self) -> str:
        """Size and settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images: each channel to mean 0 and variance 1.

        y = weight * (x - mean) / sqrt(var + eps) + bias

    In training, mean and var (biased) are the channel's in this batch, and
    running <- (1 - momentum) running + momentum new, with the unbiased variance. In
    evaluation the running values are used.

    Shapes: (N, C, H, W) -> the same; weight, bias, running_mean, running_var (C,).

    Args:
        num_features: C.
        eps: keeps the root away from 0.
        momentum: share of the new batch; None for the mean over all batches so far.
        affine: whether there are weight and bias.
        track_running_stats: False uses the batch in evaluation too.
        dtype: of parameters and running values.

    Raises:
        ValueError: an argument or the shape of an input is not as stated.

    Source: Ioffe & Szegedy 2015, arXiv 1502.03167, algorithms 1 and 2.
    """

    shapes = ("(N, C, H, W)",)
    dims = (4,)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of vectors or sequences: as ``BatchNorm2d``.

    Shapes: (N, C) or (N, C, L) -> the same.
    """

    shapes = ("(N, C)", "(N, C, L)")
    dims = (2, 3)


class Dropout(Module):
    """In training, each value is 0 with probability p, or else divided by 1 - p.

    The division keeps the mean, so that nothing is left to do in evaluation.

    Args:
        p: probability *to drop*. Texts that speak of a "keep probability" mean 1 - p.
        inplace: torch's argument, without effect: nothing is ever done in place.
        generator: source of randomness, kept by the layer; None for fresh entropy at
            every call.

    Raises:
        ValueError: p is outside [0, 1].

    Source: Srivastava et al. 2014, JMLR 15, section 10 (the inverted form).
    """

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        generator: np.random.Generator | None = None,
    ):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be in [0, 1], got {p!r}")
        self.p = p
        self.inplace = inplace
        self.generator = generator

    def forward(self, input: Tensor) -> Tensor:
        """Any shape, kept."""
        return F.dropout(input, self.p, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        """Probability."""
        return f"p={self.p}, inplace={self.inplace}"
