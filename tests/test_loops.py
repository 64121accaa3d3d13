"""The loops say what is meant; here PyTorch agrees, and so do numbers done by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as T

from reference.loops import activations, conv, linear, losses, norm, pool, resize


def close(ours, theirs, tolerance=1e-12):
    theirs = np.asarray(theirs)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    ("s", "p", "d", "groups"),
    [
        ((1, 1), (0, 0), (1, 1), 1),
        ((2, 3), (1, 2), (2, 1), 2),
        ((1, 1), "same", (1, 2), 1),
        ((2, 1), "valid", (1, 1), 4),
    ],
)
def test_conv2d(rng, s, p, d, groups):
    x = rng.normal(size=(2, 4, 7, 6))
    w = rng.normal(size=(8, 4 // groups, 2, 3))
    b = rng.normal(size=8)
    theirs = T.conv2d(*map(torch.tensor, (x, w, b)), s, p, d, groups)
    close(conv.conv2d(x, w, b, s, p, d, groups), theirs)


def test_pooling(rng):
    x = rng.integers(0, 4, size=(2, 2, 6, 7)).astype(float)  # whole numbers: many ties
    tx = torch.tensor(x)
    compared = 0
    for kernel, s, p, d, ceil_mode in itertools.product(
        [(2, 2), (3, 2)], [(1, 2), (3, 3)], [(0, 0), (1, 1)], [(1, 1), (2, 1)], [0, 1]
    ):
        if d[0] * (kernel[0] - 1) >= x.shape[2] + 2 * p[0]:
            continue
        y, index = pool.max_pool2d(x, kernel, s, p, d, ceil_mode)
        ty, tindex = T.max_pool2d(
            tx, kernel, s, p, d, bool(ceil_mode), return_indices=True
        )
        close(y, ty)
        close(index, tindex)
        if d == (1, 1):
            for pad, divisor in itertools.product([True, False], [None, 5]):
                rest = (bool(ceil_mode), pad, divisor)
                theirs = T.avg_pool2d(tx, kernel, s, p, *rest)
                close(pool.avg_pool2d(x, kernel, s, p, *rest), theirs)
        compared += 1
    assert compared == 32


def test_adaptive_avg_pool2d(rng):
    x = rng.normal(size=(2, 2, 5, 7))
    for size in [(1, 1), (5, 1), (2, 3), (5, 7), (7, 9), (3, 14)]:
        close(
            pool.adaptive_avg_pool2d(x, size),
            T.adaptive_avg_pool2d(torch.tensor(x), size),
        )


def test_interpolation(rng):
    x = rng.normal(size=(2, 2, 3, 5))
    for size in [(1, 1), (2, 4), (3, 5), (4, 3), (7, 11)]:
        tx = torch.tensor(x)
        close(resize.nearest(x, size), T.interpolate(tx, size, mode="nearest"))
        close(
            resize.nearest_exact(x, size), T.interpolate(tx, size, mode="nearest-exact")
        )
        for corners in (False, True):
            theirs = T.interpolate(tx, size, mode="bilinear", align_corners=corners)
            close(resize.bilinear(x, size, corners), theirs)


def test_bilinear_rows_by_hand():
    """Three pixels into two, and three into four, with half-pixel centres."""

    def rows(H, I):  # noqa: E741
        matrix = np.zeros((I, H))
        for i in range(I):
            a, b, q = resize.source(i, H, I, align_corners=False)
            matrix[i, a] += 1 - q
            matrix[i, b] += q
        return matrix.tolist()

    assert rows(3, 2) == [[0.75, 0.25, 0], [0, 0.25, 0.75]]
    assert rows(3, 4) == [[1, 0, 0], [0.375, 0.625, 0], [0, 0.625, 0.375], [0, 0, 1]]
    seen = {h for i in range(2) for h in resize.source(i, 32, 2, False)[:2]}
    assert seen == {7, 8, 23, 24}  # no smoothing: 32 -> 2 looks at four rows alone


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(rng, training):
    x, weight, bias, mean = (rng.normal(size=s) for s in [(3, 2, 4, 5), 2, 2, 2])
    var = rng.uniform(0.5, 2, size=2)
    tmean, tvar = torch.tensor(mean), torch.tensor(var)
    theirs = T.batch_norm(
        torch.tensor(x),
        tmean,
        tvar,
        torch.tensor(weight),
        torch.tensor(bias),
        training,
        0.3,
        1e-3,
    )
    ours = norm.batch_norm(x, mean, var, weight, bias, training, 0.3, 1e-3)
    for a, b in zip(ours, (theirs, tmean, tvar), strict=True):
        close(a, b)


EDGES = [-1000, -100, -6, -3, -1e-9, 0, 1e-9, 0.5, 3, 6, 19.5, 20.0, 20.5, 100, 1000]


@pytest.mark.parametrize(
    "name",
    ["relu", "leaky_relu", "relu6", "sigmoid", "tanh", "softplus"]
    + ["hardsigmoid", "hardswish"],
)
def test_activations(name):
    x = np.array(EDGES, dtype=float)
    theirs = getattr(T, name, None) or getattr(torch, name)
    close(
        activations.elementwise(getattr(activations, name), x), theirs(torch.tensor(x))
    )


def test_prelu_and_softmax(rng):
    x, weight = rng.normal(size=(2, 3, 4)), rng.normal(size=3)
    close(activations.prelu(x, weight), T.prelu(torch.tensor(x), torch.tensor(weight)))
    x *= 300
    for dim in (0, 1, -1):
        close(activations.softmax(x, dim), T.softmax(torch.tensor(x), dim))
        close(activations.log_softmax(x, dim), T.log_softmax(torch.tensor(x), dim))


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_losses(rng, reduction):
    x, other = rng.normal(size=(2, 6, 4))
    tx = torch.tensor(x)
    target = np.array([0, 3, 2, 2, 1, 0])
    weight = rng.uniform(0.5, 2, size=4)
    close(
        np.asarray(losses.mse_loss(x, other, reduction)),
        T.mse_loss(tx, torch.tensor(other), reduction=reduction),
    )
    probabilities = activations.softmax(other, 1)
    for w in (None, weight):
        tw = None if w is None else torch.tensor(w)
        close(
            np.asarray(losses.nll_loss(x, target, w, 2, reduction)),
            T.nll_loss(
                tx, torch.tensor(target), tw, ignore_index=2, reduction=reduction
            ),
        )
        for smoothing, t in itertools.product((0.0, 0.3), (target, probabilities)):
            close(
                np.asarray(losses.cross_entropy(x, t, w, 2, reduction, smoothing)),
                T.cross_entropy(
                    tx,
                    torch.tensor(t),
                    tw,
                    ignore_index=2 if t.ndim == 1 else -100,
                    reduction=reduction,
                    label_smoothing=smoothing,
                ),
            )


def test_matrices(rng):
    x, w, b = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=5)
    close(linear.matmul(x, w.T), x @ w.T)
    close(linear.linear(x, w, b), T.linear(*map(torch.tensor, (x, w, b))))


def test_connections_of_a_convolution():
    """Away from borders a unit of a 3x3 layer sees 9 pixels of every channel."""
    M, N = conv.connections(C=4, F=6, size=(8, 8), kernel=(3, 3), p=(1, 1))
    assert (M, N) == (4 * 9, 6 * 9)
    M, N = conv.connections(4, 6, (8, 8), (3, 3), groups=2)
    assert (M, N) == (2 * 9, 3 * 9)
    assert math.isclose(linear.kaiming_normal_std(M), 1 / 3)
    assert math.isclose(linear.xavier_uniform_bound(M, N), math.sqrt(6 / 45))
    # a uniform law on (-a, a) has standard deviation a / sqrt(3)
    a = linear.kaiming_uniform_bound(M)
    assert math.isclose(a / math.sqrt(3), linear.kaiming_normal_std(M))
