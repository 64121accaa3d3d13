r"""The three meta-networks: what, where and which.

For a pair (m, n) of a source layer m and a target layer n, and for each image b, they
look at the source's maps S^m(x_b) and say how much the target should imitate them:

    what    omega_{b,c}      weight of channel c; positive, adding up to 1 over c
    where   lambda_b         weight of the whole pair, between 0 and 6
    which   gamma_{b,c,i,j}  weight of pixel (i, j) of channel c; positive

Each is a single linear layer, and every pair has its own, also where two pairs share a
source layer. What and where see p, the mean of every channel over its pixels, and which
sees u; both are views of a map alone, and pairs with one source layer share them.

Sources: Jang, Lee, Hwang & Shin, Learning What and Where to Transfer, ICML 2019, arXiv
1905.05901, section 3 (what, where). Which is the extension L2T-www; where its text is
silent (the input of the layer, its initial values) the choice made here is named.
"""

from __future__ import annotations

import math

import numpy as np

from .. import functional as F
from ..nn import Linear, Module, Parameter, init
from ..tensor import Tensor

H_INPUTS = ("map", "pooled", "pooled-map")


def pooled(maps: Tensor) -> Tensor:
    """Mean of every channel over its pixels: (N, C, H, W) -> (N, C)."""
    return F.mean(maps, (2, 3))


def seen(maps: Tensor, h_input: str) -> Tensor:
    """u of every channel, as ``Which`` reads it: the channels first.

    Shapes: (N, C, H, W) -> (C, N, H * W), "map"; (1, N, C), "pooled", the same for
    every channel; (C, N, 64), "pooled-map".
    """
    if h_input == "pooled":
        return F.unsqueeze(pooled(maps), 0)
    if h_input == "pooled-map":
        maps = F.adaptive_avg_pool2d(maps, 8)
    return F.permute(F.flatten(maps, 2), (1, 0, 2))


class What(Module):
    """omega = softmax(W p + b) over the channels.

    W = 0 and b = 0 at the start, so omega = 1 / C: all channels alike. (A text swaps
    the activations of what and where; the softmax belongs here.)

    Args:
        channels: C of the source layer.
        dtype: of the parameters.

    Shapes: p (N, C), see ``pooled`` -> (N, C). Parameters: C^2 + C.
    """

    def __init__(self, channels: int, *, dtype: type = np.float32):
        super().__init__()
        self.linear = Linear(channels, channels, dtype=dtype)
        init.zeros_(self.linear.weight)
        init.zeros_(self.linear.get_parameter("bias"))

    def forward(self, p: Tensor) -> Tensor:
        """Weights of the channels."""
        return F.softmax(self.linear(p), 1)


class Where(Module):
    """lambda = relu6(w . p + b).

    b = 1 at the start and w is small, so lambda is about 1. relu6 has no gradient below
    0 and above 6: a pair whose lambda is 0 for every image can never return.

    Args:
        channels: C of the source layer.
        generator: randomness of w; None for fresh entropy.
        dtype: of the parameters.

    Shapes: p (N, C), see ``pooled`` -> (N,). Parameters: C + 1.
    """

    def __init__(
        self,
        channels: int,
        *,
        generator: np.random.Generator | None = None,
        dtype: type = np.float32,
    ):
        super().__init__()
        self.linear = Linear(channels, 1, generator=generator, dtype=dtype)
        init.ones_(self.linear.get_parameter("bias"))

    def forward(self, p: Tensor) -> Tensor:
        """Weight of the pair."""
        return F.relu6(F.squeeze(self.linear(p), 1))


class Which(Module):
    """gamma = softplus(A_c u_c + e_c), nine values a channel, laid out 3 x 3.

    They are stretched to the size of the target's map where they are used. softplus
    comes first, so gamma is positive everywhere.

    The source text leaves u, the input, open. Three readings:

        "map"         u_c = the channel's own map, H * W values; A_c is (9, H * W)
        "pooled"      u = the means of all C channels;            A is (9 C, C)
        "pooled-map"  u_c = the channel's own map averaged over 8 x 8 cells; A_c (9, 64)

    A = 0 and e = log(exp(1) - 1) at the start, so gamma = 1 exactly, and L2T-www begins
    as L2T-ww.

    Args:
        channels: C of the source layer.
        size: its (H, W).
        h_input: which reading.
        dtype: of the parameters.

    Shapes: u of ``seen(maps, h_input)`` -> (N, C, 3, 3).

    Raises:
        ValueError: an unknown reading.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        h_input: str = "map",
        *,
        dtype: type = np.float32,
    ):
        super().__init__()
        if h_input not in H_INPUTS:
            raise ValueError(f"Which: h_input must be in {H_INPUTS}, got {h_input!r}")
        self.h_input = h_input
        values = {"map": math.prod(size), "pooled": channels, "pooled-map": 64}[h_input]
        self.weight = Parameter(np.zeros((channels, 9, values), dtype))
        self.bias = Parameter(np.full((channels, 9), unit_softplus(dtype)))

    def forward(self, u: Tensor) -> Tensor:
        """Weights of the pixels, before they are stretched."""
        z = u @ F.transpose(self.weight, 1, 2)  # C, N, 9
        z = z + F.unsqueeze(self.bias, 1)
        c, n = z.shape[:2]
        return F.softplus(F.reshape(F.permute(z, (1, 0, 2)), (n, c, 3, 3)))


def unit_softplus(dtype: type) -> np.floating:
    """The number whose softplus is exactly 1 in this precision: log(e - 1), rounded.

    The rounded logarithm may miss 1 by a unit in the last place; then its neighbours
    are tried.
    """
    start = np.dtype(dtype).type(math.log(math.e - 1))
    tries = [start]
    for _ in range(4):
        below, above = np.nextafter(tries[0], -np.inf), np.nextafter(tries[-1], np.inf)
        tries = [below, *tries, above]
    exact = [e for e in tries if F.softplus(Tensor(np.asarray(e))).item() == 1]
    return min(exact, key=lambda e: abs(e - start), default=start)
