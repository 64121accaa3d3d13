"""Activations: a function of one number, and how to apply it to an array.

Each is written for a float64 of any size: nothing overflows, and nothing is lost to
cancellation where the value is small.
"""

import math

import numpy as np


def elementwise(function, x, *parameters):
    """Apply a function of one number to each number of an array."""
    y = np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        y[place] = function(float(x[place]), *parameters)
    return y


def relu(x):
    """max(0, x)."""
    return x if x > 0 else 0.0


def leaky_relu(x, negative_slope=0.01):
    """x above 0, negative_slope * x below."""
    return x if x > 0 else negative_slope * x


def relu6(x):
    """min(max(x, 0), 6)."""
    return min(max(x, 0.0), 6.0)


def step(x):
    """1 above 0, else 0 (and 0 at 0)."""
    return 1.0 if x > 0 else 0.0


def sigmoid(x):
    """1 / (1 + exp(-x)); the other form, exp(x) / (1 + exp(x)), where x < 0."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))


def tanh(x):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return math.tanh(x)


def softplus(x, beta=1.0, threshold=20.0):
    """log(1 + exp(beta*x)) / beta; x itself where beta*x exceeds the threshold."""
    b = beta * x
    if b > threshold:
        return x
    if b > 0:
        return (b + math.log1p(math.exp(-b))) / beta
    return math.log1p(math.exp(b)) / beta


def hardsigmoid(x):
    """relu6(x + 3) / 6: the sigmoid in three straight pieces."""
    return relu6(x + 3.0) / 6.0


def hardswish(x):
    """x * relu6(x + 3) / 6."""
    return x * relu6(x + 3.0) / 6.0


def prelu(x, weight):
    r"""x above 0, weight[c] * x below; x: (N, C, ...), weight: (C,) or (1,)."""
    y = np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        c = place[1] if len(weight) > 1 else 0
        y[place] = leaky_relu(float(x[place]), float(weight[c]))
    return y


def log_softmax(x, dim):
    r"""x - log(sum of exp(x)) along dim, with the largest x taken out of the sum.

    log sum exp(x) = m + log sum exp(x - m)        for any m; computed: m = max x
    """
    y = np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        line = [float(v) for v in x[_line(place, dim)]]
        largest = max(line)
        total = math.fsum(math.exp(v - largest) for v in line)
        y[place] = (float(x[place]) - largest) - math.log(total)
    return y


def softmax(x, dim):
    """exp(x) / sum of exp(x) along dim: positive numbers that add up to 1."""
    y = np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        line = [float(v) for v in x[_line(place, dim)]]
        largest = max(line)
        total = math.fsum(math.exp(v - largest) for v in line)
        y[place] = math.exp(float(x[place]) - largest) / total
    return y


def _line(place, dim):
    """The index of all numbers that differ from `place` in dim alone."""
    index = list(place)
    index[dim] = slice(None)
    return tuple(index)
