"""Normalisation in NumPy, channel by channel."""

import numpy as np

Array = np.ndarray


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance (divided by the count) of each channel, over all but axis 1."""
    over = (0, *range(2, x.ndim))
    shape = (1, -1, *(1,) * (x.ndim - 2))
    mean = x.mean(axis=over)
    away = x - mean.reshape(shape)
    return mean, np.square(away, out=away).mean(axis=over)


def standardise(x: Array, mean: Array, rstd: Array) -> Array:
    """(x - mean) * rstd, channel by channel along axis 1."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    y = x - mean.reshape(shape)
    y *= rstd.reshape(shape)
    return y


def standardise_dx(g: Array, x: Array, mean: Array, rstd: Array) -> Array:
    """rstd * (g - mean(g) - xs * mean(g * xs)), where xs is x standardised.

    The part of g that moves the mean or the scale of a channel is taken out: those two
    directions change nothing in the standardised values.
    """
    over = (0, *range(2, x.ndim))
    shape = (1, -1, *(1,) * (x.ndim - 2))
    xs = standardise(x, mean, rstd)
    along = (g * xs).mean(axis=over).reshape(shape)
    xs *= along
    gx = g - g.mean(axis=over).reshape(shape)
    gx -= xs
    gx *= rstd.reshape(shape)
    return gx
