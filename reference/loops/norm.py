"""Batch normalisation, in training and in evaluation."""

import math

import numpy as np


def batch_norm(
    x,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
):
    r"""Centre and scale each channel; return y and the new running statistics.

    x and y: (N, C, ...)    all else: (C,)    M numbers in a channel

        y = weight * (x - mean) / sqrt(var + eps) + bias

    In training, mean = sum(x) / M and var = sum((x - mean)^2) / M are those of the
    channel in this batch, and the running statistics move a step towards them:

        running <- (1 - momentum) * running + momentum * new

    where the new variance is the unbiased one, sum((x - mean)^2) / (M - 1): it stands
    for the whole population, while var above is only a scale for this batch. In
    evaluation the running statistics are used as they are.
    """
    y = np.zeros(x.shape)
    new_mean = None if running_mean is None else np.array(running_mean, dtype=float)
    new_var = None if running_var is None else np.array(running_var, dtype=float)
    for c in range(x.shape[1]):
        places = [(n, c, *rest) for n, rest in _places(x)]
        if training or running_mean is None:
            M = len(places)
            mean = sum(float(x[a]) for a in places) / M
            squares = sum((float(x[a]) - mean) ** 2 for a in places)
            var = squares / M
            if training and new_mean is not None:
                new_mean[c] = (1 - momentum) * new_mean[c] + momentum * mean
                new_var[c] = (1 - momentum) * new_var[c] + momentum * squares / (M - 1)
        else:
            mean, var = float(running_mean[c]), float(running_var[c])
        for a in places:
            y[a] = (float(x[a]) - mean) / math.sqrt(var + eps)
            if weight is not None:
                y[a] *= weight[c]
            if bias is not None:
                y[a] += bias[c]
    return y, new_mean, new_var


def _places(x):
    """All (n, rest of the index) of an array, without the channel."""
    return [(n, rest) for n in range(x.shape[0]) for rest in np.ndindex(*x.shape[2:])]
