"""Which images: few-shot subsets, batches and splits, all as index arrays.

An index array is int64, of shape (K,), and selects along the first axis:
images[index], labels[index]. Randomness comes from the generator given, so one
seed gives one result.
"""

import operator
from collections.abc import Iterator, Sequence

import numpy as np


def few_shot(
    labels: np.ndarray, per_class: int, generator: np.random.Generator
) -> np.ndarray:
    """Exactly `per_class` examples of each class, drawn without replacement.

    labels: (N,) integers; the classes are the values that occur.
    Returns (per_class * number of classes,) int64: the lowest class first, then the
    next one, each in the order drawn.

    The draws of each class are the head of one permutation of it. So equal seeds
    give nested subsets: the 5 of a class are among its 10, and a curve over
    `per_class` only ever adds images.

    Raises ValueError if a class has fewer examples, or `labels` isn't (N,) with
    N > 0; TypeError if the labels aren't integers or `generator` isn't a Generator.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(
            f"few_shot: labels have shape {labels.shape}; they need (N,) with N > 0"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"few_shot: labels are {labels.dtype}; they need integers")
    per_class = _count("few_shot", "per_class", per_class, 1)
    _check_generator("few_shot", generator)
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < per_class:
        least = counts.argmin()
        raise ValueError(
            f"few_shot: class {classes[least]} has {counts[least]} examples; "
            f"per_class = {per_class} needs as many of each class"
        )
    drawn = [
        generator.permutation(np.flatnonzero(labels == label))[:per_class]
        for label in classes
    ]
    return np.concatenate(drawn).astype(np.int64, copy=False)


def batches(
    n: int,
    batch_size: int,
    generator: np.random.Generator | None = None,
    drop_last: bool = False,
) -> Iterator[np.ndarray]:
    """One epoch: 0 .. n-1 in pieces of `batch_size`, each index exactly once.

    In order without a generator, shuffled with one: a single permutation, drawn at
    the call and not at the first piece. The last piece holds what remains; with
    `drop_last` it is left out if it's smaller than the others.

    Yields ceil(n / batch_size) int64 arrays, with `drop_last` floor(n / batch_size).
    Raises ValueError if n < 0 or batch_size < 1; TypeError if they aren't integers.
    """
    n = _count("batches", "n", n, 0)
    batch_size = _count("batches", "batch_size", batch_size, 1)
    order = np.arange(n, dtype=np.int64)
    if generator is not None:
        _check_generator("batches", generator)
        order = generator.permutation(order)
    stop = n - n % batch_size if drop_last else n
    return (order[i : i + batch_size] for i in range(0, stop, batch_size))


def split(
    n: int, fractions: Sequence[float], generator: np.random.Generator
) -> list[np.ndarray]:
    """Cut a permutation of 0 .. n-1 into one part for each fraction.

    With F_k = fractions[0] + ... + fractions[k], part k ends at round(F_k n): the
    parts are disjoint, hold every index, and differ by less than 1 from their
    fraction of n.

    Returns int64 arrays, in the order of the fractions; a part may be empty.
    Raises ValueError if n < 0, a fraction isn't positive, or their sum isn't 1.
    """
    n = _count("split", "n", n, 0)
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.ndim != 1 or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-9:
        raise ValueError(
            f"split: fractions are {fractions}; they need to be positive and sum to 1"
        )
    _check_generator("split", generator)
    ends = np.rint(np.cumsum(shares)[:-1] * n).astype(np.int64)
    return np.split(generator.permutation(np.arange(n, dtype=np.int64)), ends)


def _count(operation: str, name: str, value: int, least: int) -> int:
    """`value` as an int that is `least` or more."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{operation}: {name} = {value!r}; it needs an integer"
        ) from None
    if count < least:
        raise ValueError(f"{operation}: {name} = {count}; it needs {least} or more")
    return count


def _check_generator(operation: str, generator: np.random.Generator) -> None:
    if not isinstance(generator, np.random.Generator):
        raise TypeError(
            f"{operation}: generator is a {type(generator).__name__}; "
            "it needs a numpy.random.Generator, as numpy.random.default_rng(seed)"
        )
