"""Twins: one call and its derivatives, here and in PyTorch, compared number by number.

A call is a function with arguments; its arrays are given as Leaf. `tower` makes the
call in one world (tinytl or torch) and then climbs:

    value    y = f(x, ...)
    order 1  g = pullback of a random v through f          (with respect to each x)
    order 2  h = pullback of random u through x, v -> g    (to each x and to v)
    order 3  t = pullback of random w through x, v -> h    (to each x and to v)

The random numbers are the same in both worlds. `compare` then demands that all of it
agrees in shape, dtype and value. A gradient that does not exist (None) counts as 0,
since which zeros are None is nobody's promise.
"""

import contextlib
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

import tinytl


@dataclass
class Leaf:
    """An array among the arguments of a call, and whether to differentiate by it."""

    array: np.ndarray
    requires_grad: bool = True


class Ours:
    """How to do things with tinytl, where a warning is an error."""

    warnings = contextlib.nullcontext

    @staticmethod
    def tensor(array, requires_grad=False):
        return tinytl.Tensor(array, requires_grad=requires_grad)

    @staticmethod
    def is_tensor(value):
        return isinstance(value, tinytl.Tensor)

    @staticmethod
    def grad(outputs, inputs, grad_outputs, create_graph):
        return tinytl.grad(
            outputs, inputs, grad_outputs, create_graph=create_graph, allow_unused=True
        )

    @staticmethod
    def array(tensor):
        assert isinstance(tensor.data, np.ndarray), type(tensor.data)
        return tensor.data

    @staticmethod
    def constant(value):
        return value


class Theirs:
    """How to do things with torch, whose warnings are not ours."""

    warnings = partial(warnings.catch_warnings, action="ignore")

    @staticmethod
    def tensor(array, requires_grad=False):
        tensor = torch.from_numpy(np.array(array, order="C"))  # a copy: torch may write
        return tensor.requires_grad_(requires_grad)

    @staticmethod
    def is_tensor(value):
        return isinstance(value, torch.Tensor)

    @staticmethod
    def grad(outputs, inputs, grad_outputs, create_graph):
        return torch.autograd.grad(
            outputs, inputs, grad_outputs, create_graph=create_graph, allow_unused=True
        )

    @staticmethod
    def array(tensor):
        return tensor.detach().numpy(force=True)

    @staticmethod
    def constant(value):
        if isinstance(value, np.dtype):
            return getattr(torch, value.name)
        return value


def convert(value: Any, leaf, constant=lambda value: value):
    """Copy a nest of lists, tuples, dicts and slices, applying `leaf` to each Leaf."""
    if isinstance(value, Leaf):
        return leaf(value)
    if isinstance(value, list | tuple):
        return type(value)(convert(v, leaf, constant) for v in value)
    if isinstance(value, dict):
        return {k: convert(v, leaf, constant) for k, v in value.items()}
    return constant(value)


def leaves(value) -> list[Leaf]:
    """All Leaf in a nest, in order."""
    found: list[Leaf] = []
    convert(value, found.append)
    return found


def tower(world, function, args, kwargs=None, orders=2, seed=0):
    """Return [(what, array)]: the value and the derivatives up to the given order."""
    rng = np.random.default_rng(seed)
    made = []

    def make(leaf):
        made.append((world.tensor(leaf.array, leaf.requires_grad), leaf))
        return made[-1][0]

    args = convert(list(args), make, world.constant)
    kwargs = convert(dict(kwargs or {}), make, world.constant)
    before = [leaf.array.copy() for _, leaf in made]
    with world.warnings():
        y = function(*args, **kwargs)
    outputs = list(y) if isinstance(y, list | tuple) else [y]
    results = [(f"output {i}", world.array(t)) for i, t in enumerate(outputs)]
    for i, (tensor, leaf) in enumerate(made):
        if not leaf.requires_grad:  # running statistics change under the call
            results.append((f"argument {i} afterwards", world.array(tensor)))
    outputs = [t for t in outputs if world.array(t).dtype.kind == "f"]
    inputs = [t for t, leaf in made if leaf.requires_grad]
    sources = outputs  # cotangents have the shapes of these
    for order in range(1, orders + 1):
        like = [world.array(t) for t in sources]
        cotangents = [
            world.tensor(_numbers(rng, a.shape, a.dtype), requires_grad=order == 1)
            for a in like
        ]
        pairs = [
            (t, v)
            for t, v in zip(outputs, cotangents, strict=True)
            if t is not None and t.requires_grad
        ]
        gradients = [None] * len(inputs)
        if pairs:
            ys, vs = zip(*pairs, strict=True)
            with world.warnings():
                gradients = world.grad(ys, inputs, vs, order < orders)
        for i, (g, x) in enumerate(zip(gradients, inputs, strict=True)):
            array = np.zeros_like(world.array(x)) if g is None else world.array(g)
            results.append((f"order {order}, input {i}", array))
        outputs, sources = gradients, inputs
        if order == 1:
            inputs = inputs + cotangents
    for (_, leaf), array in zip(made, before, strict=True):
        np.testing.assert_array_equal(leaf.array, array, "an argument was written to")
    return results


def _numbers(rng, shape, dtype):
    """Random cotangent: the same numbers in both worlds and in both precisions."""
    return rng.standard_normal(shape).astype(np.float32).astype(dtype)


def distance(ours, theirs):
    r"""Largest difference, in units of the expected array's largest number.

    The unit is at least 1: arguments and cotangents are of order one, and where
    larger terms cancel, an error of their size times the rounding unit remains. NaN
    and infinities must stand in the same places.
    """
    if ours.size == 0:
        return 0.0
    if ours.dtype.kind != "f":
        return 0.0 if np.array_equal(ours, theirs) else np.inf
    finite = np.isfinite(theirs)
    if not np.array_equal(np.where(finite, 0, ours), np.where(finite, 0, theirs), True):
        return np.inf
    ours, theirs = np.where(finite, ours, 0), np.where(finite, theirs, 0)
    if not np.isfinite(ours).all():
        return np.inf
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max())


def compare(ours, theirs, tolerance=1e-10):
    """Demand that two towers agree: names, shapes, dtypes, numbers."""
    for (what, a), (_, b) in zip(ours, theirs, strict=True):
        assert a.shape == b.shape, f"{what}: shape {a.shape}, expected {b.shape}"
        assert a.dtype == b.dtype, f"{what}: dtype {a.dtype}, expected {b.dtype}"
        error = distance(a, b)
        assert error <= tolerance, f"{what}: relative error {error:.2e}\n{a}\n{b}"
    return len(ours)
