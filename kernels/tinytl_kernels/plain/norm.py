"""Normalisation in NumPy, channel by channel.

A batch norm draws a Line through each channel. All its derivatives, of first and of
second order, are sums over a channel and weighted sums of a few arrays, with weights of
a channel's own. In the formulas c is x - line.mean, and g' is g behind the line's
ReLU: g where the line is above 0, else 0; g itself for a line without ReLU.
"""

import numpy as np

from ..line import Line

Array = np.ndarray


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance (divided by the count) of each channel, over all but axis 1."""
    over = (0, *range(2, x.ndim))
    mean = x.mean(axis=over)
    away = x - _wide(mean, x)
    return mean, np.square(away, out=away).mean(axis=over)


def line(x: Array, by: Line) -> Array:
    """y = (x - mean) * scale + shift, and max(0, y) if the line has a ReLU."""
    y = x - _wide(by.mean, x)
    y *= _wide(by.scale, x)
    y += _wide(by.shift, x)
    return np.maximum(y, 0, out=y) if by.relu else y


def line_sums(g: Array, x: Array, by: Line) -> Array:
    """The sums of g' and of g' c over each channel, in float64: (2, C)."""
    kept = gated(g, x, by)
    c = x - _wide(by.mean, x)
    return np.stack([_sum(kept), _sum(kept * c)])


def line_sums2(h: Array, g: Array, x: Array, by: Line) -> Array:
    """The sums of g', g' c, h, h c and h g' over each channel, likewise: (5, C)."""
    kept = gated(g, x, by)
    c = x - _wide(by.mean, x)
    parts = (
        kept,
        kept * c,
        h,
        h * c,
        h * kept,
    )
    return np.stack([_sum(part) for part in parts])


def line_mix(g: Array, x: Array, by: Line, weights: Array) -> Array:
    """u g' + v + w c, where u, v and w are the rows of `weights`, (3, C)."""
    u, v, w = (_wide(row, x) for row in weights)
    c = x - _wide(by.mean, x)
    return u * gated(g, x, by) + v + w * c


def line_mix_gated(g: Array, x: Array, by: Line, weights: Array) -> Array:
    """u g + v + w c, of which the line's ReLU then keeps its part."""
    u, v, w = (_wide(row, x) for row in weights)
    c = x - _wide(by.mean, x)
    return gated(u * g + v + w * c, x, by)


def line_mix2(h: Array, g: Array, x: Array, by: Line, weights: Array) -> Array:
    """u g' + v + w c + t h, where u, v, w and t are the rows of `weights`, (4, C)."""
    t = _wide(weights[3], x)
    return line_mix(g, x, by, weights[:3]) + t * h


def gated(g: Array, x: Array, by: Line) -> Array:
    """g': g where the line is above 0, else 0; g itself without ReLU."""
    if not by.relu:
        return g
    c = x - _wide(by.mean, x)
    y = c * _wide(by.scale, x) + _wide(by.shift, x)
    return np.where(y > 0, g, g.dtype.type(0))


def add_per_channel(x: Array, b: Array) -> Array:
    """x + b, where b has a number for each channel."""
    return x + _wide(b, x)


def sum_per_channel(x: Array) -> Array:
    """The sum of each channel, over all but axis 1."""
    return _sum(x).astype(x.dtype)


def _wide(values: Array, x: Array) -> Array:
    """(C,) in a shape that broadcasts against x."""
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))


def _sum(x: Array) -> Array:
    return x.sum(axis=(0, *range(2, x.ndim)), dtype=np.float64)
