"""Losses: how far a prediction is from what it should have been."""

import math

import numpy as np

from reference.loops.activations import log_softmax


def mse_loss(x, target, reduction="mean"):
    """Squared differences; their mean, their sum, or all of them."""
    losses = np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        losses[place] = (float(x[place]) - float(target[place])) ** 2
    if reduction == "none":
        return losses
    total = math.fsum(losses.ravel())
    return total if reduction == "sum" else total / losses.size


def nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean"):
    r"""Minus the log-probability of the right class, weighted by class.

    x: (N, C) log-probabilities    target: (N,) classes    weight: (C,)

        loss[n] = -weight[target[n]] * x[n, target[n]]

    An image whose target is ignore_index has loss 0 and weight 0. The mean divides by
    the sum of the weights used and not by N.
    """
    losses, weights = np.zeros(len(x)), np.zeros(len(x))
    for n, c in enumerate(target):
        if c != ignore_index:
            weights[n] = 1.0 if weight is None else weight[c]
            losses[n] = -weights[n] * x[n, c]
    if reduction == "none":
        return losses
    total = math.fsum(losses)
    return total if reduction == "sum" else total / math.fsum(weights)


def cross_entropy(
    x,
    target,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
):
    r"""Cross-entropy between a wanted distribution q and softmax(x).

    x: (N, C) scores    target: (N,) classes, or (N, C) probabilities

        loss[n] = -sum over c of weight[c] * q[n, c] * log_softmax(x)[n, c]
        q = (1 - e) * target + e / C                 e is label_smoothing

    A class stands for the distribution that is 1 there and 0 elsewhere. The mean over
    classes divides by the sum of the weights of the targets, the mean over
    probabilities by N; ignored images count in neither, and only classes can be
    ignored.
    """
    N, C = x.shape
    classes = target.ndim == 1
    logs = log_softmax(x, 1)
    losses, weights = np.zeros(N), np.zeros(N)
    for n in range(N):
        if classes and target[n] == ignore_index:
            continue
        weights[n] = weight[target[n]] if classes and weight is not None else 1.0
        for c in range(C):
            wanted = float(target[n] == c) if classes else float(target[n, c])
            q = (1 - label_smoothing) * wanted + label_smoothing / C
            losses[n] -= (1.0 if weight is None else weight[c]) * q * logs[n, c]
    if reduction == "none":
        return losses
    total = math.fsum(losses)
    return total if reduction == "sum" else total / math.fsum(weights)
