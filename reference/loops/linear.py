"""Matrices, and how wide to draw their first weights."""

import math

import numpy as np


def matmul(a, b):
    r"""Product of two matrices.

    a: (N, M)    b: (M, F)    y: (N, F)    y[n, f] = sum over m of a[n, m] * b[m, f]
    """
    y = np.zeros((len(a), b.shape[1]))
    for n in range(len(a)):
        for f in range(b.shape[1]):
            for m in range(a.shape[1]):
                y[n, f] += float(a[n, m]) * float(b[m, f])
    return y


def linear(x, w, b=None):
    r"""Apply a fully connected layer.

    x: (N, M)    w: (F, M)    b: (F,)    y[n, f] = b[f] + sum over m of w[f, m] x[n, m]
    """
    y = np.zeros((len(x), len(w)))
    for n in range(len(x)):
        for f in range(len(w)):
            if b is not None:
                y[n, f] = float(b[f])
            for m in range(x.shape[1]):
                y[n, f] += float(w[f, m]) * float(x[n, m])
    return y


def kaiming_uniform_bound(connections, gain=2**0.5):
    """He: U(-a, a) with a = gain * sqrt(3 / M), so that its std is gain / sqrt(M)."""
    return gain * math.sqrt(3 / connections)


def kaiming_normal_std(connections, gain=2**0.5):
    """He: standard deviation gain / sqrt(M), M wires into a unit (or out of one)."""
    return gain / math.sqrt(connections)


def xavier_uniform_bound(M, N, gain=1.0):
    """Glorot: U(-a, a) with a = gain * sqrt(6 / (M + N))."""
    return gain * math.sqrt(6 / (M + N))


def xavier_normal_std(M, N, gain=1.0):
    """Glorot: standard deviation gain * sqrt(2 / (M + N))."""
    return gain * math.sqrt(2 / (M + N))
