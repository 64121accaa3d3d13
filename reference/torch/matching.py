r"""What, where and which: the meta-networks of L2T-ww and L2T-www, and their loss.

Letters. S^m is the map of layer m of the source network, T^n of layer n of the target
network, p its mean over the pixels of S^m; (m, n) is a pair, b an example, c a channel
of S^m, ij a pixel of T^n.

    what    f  omega_bc  = softmax_c(W p_b + e)                 which channels
    where   g  lambda_b  = relu6(w . p_b + e)                   which pairs
    which   h  gamma_bcij = up_ij(softplus(A_c u_bc + e_c))     which pixels (www only)
    branch  r  r(T^n): 1x1 convolution with bias, to the channels of S^m

    L_wfm = beta sum_(m,n) mean_b lambda_b sum_c omega_bc mean_ij gamma_bcij
            (r(T^n)_bcij - S^m_bcij)^2

with S^m resized to the size of T^n. UFM is the same without weights: lambda and gamma
are 1, omega is 1/C. Every pair has networks of its own. The parameters of f, g and h
are phi, those of the target network and of r theta.

Sources: Y. Jang, H. Lee, S. J. Hwang, J. Shin, Learning What and Where to Transfer,
2019, arXiv 1905.05901 (f, g, r); for h the dissertation that proposes L2T-www, whose
equation 7 leaves the input u and the initial values open.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pairs = Sequence[tuple[int, int]]

# Published for ResNet-32 and VGG9: the last layer of each source stage, all maps.
PAIRS = tuple((m, n) for m in (4, 9, 14) for n in range(5))


class Weights(NamedTuple):
    """What the meta-networks say about a batch; one entry a pair.

    Attributes:
        omega: (N, C) each.
        lam: (N,) each.
        gamma: (N, C, 3, 3) each, or none for L2T-ww.
    """

    omega: list[Tensor]
    lam: list[Tensor]
    gamma: list[Tensor]

    def tensors(self) -> list[Tensor]:
        """All of them in a row."""
        return [*self.omega, *self.lam, *self.gamma]

    def like(self, tensors: Sequence[Tensor]) -> "Weights":
        """The same arrangement of other tensors."""
        k = len(self.omega)
        return Weights(list(tensors[:k]), list(tensors[k : 2 * k]), [*tensors[2 * k :]])


# -- meta-networks, of one pair --------------------------------------------------------


class What(nn.Module):
    """f: omega = softmax(W p + e) over the channels; W = 0, e = 0: omega = 1/C.

    Shapes: S (N, C, H, W) -> (N, C).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.linear = nn.Linear(channels, channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, s: Tensor) -> Tensor:
        """omega."""
        return F.softmax(self.linear(s.mean((2, 3))), 1)


class Where(nn.Module):
    """g: lambda = relu6(w . p + e); w as torch draws it, e = 1.

    Shapes: S (N, C, H, W) -> (N,).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.linear = nn.Linear(channels, 1)
        nn.init.ones_(self.linear.bias)

    def forward(self, s: Tensor) -> Tensor:
        """lambda."""
        return F.relu6(self.linear(s.mean((2, 3)))).squeeze(1)


class Which(nn.Module):
    """h: gamma = softplus(A_c u_bc + e_c), nine values a channel.

    A = 0 and e = log(exp(1) - 1), so that gamma = 1 to begin with: exactly 1, in
    float32 and in float64.

    Args:
        channels: C.
        size: (H, W) of the maps.
        h_input: u_bc is "map", all pixels of channel c; "pooled-map", the channel
            brought to pool x pool by adaptive average pooling; or "pooled", the means
            of all channels.
        pool: for "pooled-map".
        shared: one A and e for all channels (not with "pooled").
        dtype: of the parameters; e is rounded in it, or gamma would not be exactly 1.

    Shapes: S (N, C, H, W) -> (N, C, 3, 3).
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        h_input: str = "map",
        pool: int = 8,
        shared: bool = False,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        pixels = {"map": math.prod(size), "pooled-map": pool**2}
        inputs = {**pixels, "pooled": channels}[h_input]
        sets = 1 if shared and h_input != "pooled" else channels
        self.h_input, self.pool = h_input, pool
        self.weight = nn.Parameter(torch.zeros(sets, 9, inputs, dtype=dtype))
        e = torch.full((sets, 9), math.log(math.e - 1), dtype=dtype)
        self.bias = nn.Parameter(e)

    def forward(self, s: Tensor) -> Tensor:
        """gamma, before it is brought to the size of the target's map."""
        if self.h_input == "pooled":
            y = torch.einsum("nk,cjk->ncj", s.mean((2, 3)), self.weight)
        else:
            u = s if self.h_input == "map" else F.adaptive_avg_pool2d(s, self.pool)
            weight = self.weight.expand(s.shape[1], -1, -1)
            y = torch.einsum("nck,cjk->ncj", u.flatten(2), weight)
        return F.softplus(y + self.bias).reshape(*s.shape[:2], 3, 3)


# -- of all pairs ----------------------------------------------------------------------


class Meta(nn.Module):
    """f, g and, for L2T-www, h for every pair: from the source's maps to weights."""

    def __init__(self, what: list[What], where: list[Where], which: list[Which]):
        super().__init__()
        self.what, self.where = nn.ModuleList(what), nn.ModuleList(where)
        self.which = nn.ModuleList(which)

    def forward(self, source_maps: Sequence[Tensor]) -> Weights:
        """omega, lambda and gamma of a batch."""
        return Weights(
            [f(s) for f, s in zip(self.what, source_maps, strict=True)],
            [g(s) for g, s in zip(self.where, source_maps, strict=True)],
            [h(s) for h, s in zip(self.which, source_maps, strict=False)],
        )


class Student(nn.Module):
    """The target network with its matching branch: everything theta."""

    def __init__(self, target: nn.Module, branch: list[nn.Conv2d], pairs: Pairs):
        super().__init__()
        self.target, self.branch = target, nn.ModuleList(branch)
        self.layers = [n for _, n in pairs]

    def forward(self, x: Tensor, matching: bool) -> tuple[Tensor, list[Tensor]]:
        """Scores, and r(T^n(x)) of every pair if `matching`."""
        scores, maps = self.target.forward_with_features(x)
        pairs = zip(self.branch, self.layers, strict=True) if matching else ()
        return scores, [r(maps[n]) for r, n in pairs]


class Networks(NamedTuple):
    """All networks of L2T; their own values serve to start with, see l2t.start."""

    source: nn.Module
    student: Student
    meta: Meta
    pairs: Pairs

    def source_maps(self, x: Tensor) -> list[Tensor]:
        """S^m(x) of every pair, constants."""
        with torch.no_grad():
            maps = self.source.forward_with_features(x)[1]
        return [maps[m] for m, _ in self.pairs]


def networks(
    source: nn.Module,
    target: nn.Module,
    pairs: Pairs = PAIRS,
    image: tuple[int, int, int] = (3, 32, 32),
    h_input: str | None = None,
    **which: int,
) -> Networks:
    """Branch and meta-networks that fit a source and a target, in their dtype.

    Args:
        source: with forward_with_features; put into eval mode for good.
        target: with forward_with_features; put into train mode.
        pairs: (layer of the source, layer of the target).
        image: (C, H, W) of an input.
        h_input: None for L2T-ww; see Which for L2T-www.
        which: further arguments of Which.
    """
    dtype = next(target.parameters()).dtype
    x = torch.zeros(1, *image, dtype=dtype)
    source.eval().requires_grad_(False)
    with torch.no_grad():
        s = source.forward_with_features(x)[1]
        t = target.eval().forward_with_features(x)[1]
    shapes = [(s[m].shape[1], s[m].shape[2:], t[n].shape[1]) for m, n in pairs]
    branch = [nn.Conv2d(wide, channels, 1) for channels, _, wide in shapes]
    what = [What(channels) for channels, _, _ in shapes]
    where = [Where(channels) for channels, _, _ in shapes]
    asked = [] if h_input is None else shapes
    h = [Which(c, size, str(h_input), dtype=dtype, **which) for c, size, _ in asked]
    student = Student(target, branch, pairs).to(dtype).train()
    return Networks(source, student, Meta(what, where, h).to(dtype), pairs)


# -- the loss --------------------------------------------------------------------------


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, corners not aligned, no filter against aliasing; x if it fits already.

    Output i reads a = floor(s) and a + 1 with weights 1 - (s - a) and s - a, where
    s = max((i + 0.5) n_in / n_out - 0.5, 0), and a + 1 stays inside.
    """
    if x.shape[2:] == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def stretch(gamma: Tensor, size: Sequence[int], scale: str = "raw") -> Tensor:
    """up(gamma) over a map of `size`; gamma and lambda are confounded, hence `scale`.

    "raw" is gamma itself, "unit" gamma over its mean over the pixels (it can only move
    weight between pixels), "flat" that mean everywhere (it can only scale).
    """
    wide = resize(gamma, size)
    if scale == "raw":
        return wide
    mean = wide.mean((2, 3), keepdim=True)
    return {"unit": wide / mean, "flat": mean.expand_as(wide)}[scale]


def matching_loss(
    source_maps: Sequence[Tensor],
    target_maps: Sequence[Tensor],
    weights: Weights,
    beta: float,
    scale: str = "raw",
) -> Tensor:
    """L_wfm, see above; `target_maps` are r(T^n)."""
    total = torch.zeros((), dtype=target_maps[0].dtype)
    for k, (s, r) in enumerate(zip(source_maps, target_maps, strict=True)):
        squares = (resize(s, r.shape[2:]) - r) ** 2
        if weights.gamma:
            squares = stretch(weights.gamma[k], r.shape[2:], scale) * squares
        per_channel = squares.mean((2, 3))  # (N, C)
        per_example = (weights.omega[k] * per_channel).sum(1)  # (N,)
        total = total + beta * (weights.lam[k] * per_example).mean()
    return total


def unweighted_loss(
    source_maps: Sequence[Tensor], target_maps: Sequence[Tensor], beta: float
) -> Tensor:
    """UFM: beta sum_(m,n) mean_bcij (r(T^n) - S^m)^2."""
    pairs = zip(source_maps, target_maps, strict=True)
    return sum(beta * ((resize(s, r.shape[2:]) - r) ** 2).mean() for s, r in pairs)
