"""check_hypergradient: hold an estimator against differences, on your own problem."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tinytl_kernels import Array

from ..graph import enable_grad
from ..tensor import Tensor
from .estimate import Estimator, find_estimator, make_problem
from .problem import Hypergradient, Inner, Outer, Problem, Tensors, inner_steps

SMALL = 64  # so many hyper-parameters are checked one by one


class HypergradientMismatch(AssertionError):
    """An estimator's gradient is not what differences of the whole pipeline say."""


@dataclass(frozen=True)
class HypergradientCheck:
    """What ``check_hypergradient`` has found.

    Attributes:
        error: max |estimate - difference| / max |difference| over all directions.
        estimates: <dF/dphi, u> for every direction u that counted.
        differences: what differences of F along u say.
        rejected: directions that were left out: a kink is near.
        coordinates: whether the directions are the coordinates of phi.
    """

    error: float
    estimates: Array
    differences: Array
    rejected: int
    coordinates: bool


class UncheckedWarning(UserWarning):
    """A check has left out some of what it was to check."""


def check_hypergradient(
    inner: Inner,
    outer: Outer,
    parameters: Tensors,
    hyper: Tensors,
    *,
    steps: int,
    lr: float | Sequence[float],
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    velocity: Sequence[Tensor | Array | None] | None = None,
    method: str | Estimator = "reverse",
    eps: float = 1e-5,
    directions: int = 5,
    tolerance: float = 1e-5,
    generator: np.random.Generator | None = None,
    **options: Any,
) -> HypergradientCheck:
    r"""Compare a hypergradient with differences of F, all T steps taken anew each time.

    Along a direction u, with D(h) = (F(phi + h u) - F(phi - h u)) / 2h,

        <dF/dphi, u> = (4 D(eps) - D(2 eps)) / 3 + O(eps^4).

    Up to 64 hyper-parameters are checked one by one, more along random directions u of
    unit length: one of them tells a wrong gradient with probability 1. If D(eps) and
    D(2 eps) differ by more than the tolerance, there is a kink of F between (ReLU, max
    pooling), and the direction is left out.

    The measure is max |estimate - difference| / max |difference|, not the angle between
    the two: leaving out weight decay, for example, turns a gradient by so little that
    its cosine is 0.99999.

    The losses must be repeatable: for dropout see ``replay``. That is checked first.

    Args:
        inner: as for ``hypergradient``, like all arguments up to `method`.
        outer: likewise.
        parameters: likewise; in float64.
        hyper: likewise; their ``data`` is exchanged during the check.
        steps: likewise.
        lr: likewise.
        momentum: likewise.
        weight_decay: likewise.
        velocity: likewise.
        method: what is checked.
        eps: how far phi is moved.
        directions: how many, if they are random.
        tolerance: what the error may be.
        generator: of the directions; a fixed one if None.
        options: of the method.

    Warns:
        UncheckedWarning: a single hyper-parameter is at a kink: nothing is known of it.

    Raises:
        HypergradientMismatch: the error is above the tolerance.
        ValueError: F is not repeatable, or no direction was free of kinks.
        TypeError: not float64.
    """
    estimator = find_estimator(method, options)
    problem = make_problem(
        inner,
        outer,
        parameters,
        hyper,
        steps=steps,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        velocity=velocity,
    )
    _check_precision(problem)
    along = _directions(sum(x.numel() for x in problem.phi), directions, generator)
    with enable_grad():
        found = estimator(problem, **options)
        _check_repeatable(problem)
        check = _compare(problem, found, along, eps, tolerance)
    _warn_of_kinks(check)
    if not check.error <= tolerance:
        worst = int(abs(check.estimates - check.differences).argmax())
        raise HypergradientMismatch(
            f"check_hypergradient: relative error {check.error:.3g} is above "
            f"{tolerance:g}; in direction {worst} the method says "
            f"{check.estimates[worst]:.6g}, differences {check.differences[worst]:.6g}"
        )
    return check


def _compare(
    problem: Problem, found: Hypergradient, along: Array, eps: float, tolerance: float
) -> HypergradientCheck:
    """Estimates and differences along all directions that are free of kinks.

    Raises:
        ValueError: none is.
    """
    gradient = np.concatenate([g.data.ravel() for g in found.gradients])
    near = np.array([_difference(problem, u, eps) for u in along])
    far = np.array([_difference(problem, u, 2 * eps) for u in along])
    smooth = abs(near - far) <= tolerance * max(abs(near).max(), abs(far).max())
    if not smooth.any():
        raise ValueError(
            "check_hypergradient: differences over eps and 2 eps disagree in every "
            f"direction, eps = {eps}: kinks (pass a smaller eps), or rounding (larger)"
        )
    estimates, differences = (along @ gradient)[smooth], ((4 * near - far) / 3)[smooth]
    return HypergradientCheck(
        _relative_error(estimates, differences),
        estimates,
        differences,
        rejected=int((~smooth).sum()),
        coordinates=len(gradient) <= SMALL,
    )


def _warn_of_kinks(check: HypergradientCheck) -> None:
    """Another direction does for a rejected one; another coordinate does not."""
    if check.coordinates and check.rejected:
        size = check.rejected + len(check.estimates)
        warnings.warn(
            f"check_hypergradient: {check.rejected} of {size} hyper-parameters were "
            "not checked: the outer loss has a kink within 2 eps of their values",
            UncheckedWarning,
            stacklevel=3,
        )


def _relative_error(estimates: Array, differences: Array) -> float:
    error, size = abs(estimates - differences).max(), abs(differences).max()
    return float(error / size) if size else float(error and np.inf)


def _directions(size: int, count: int, generator: np.random.Generator | None) -> Array:
    if size <= SMALL:
        return np.eye(size)
    random = np.random.default_rng(0) if generator is None else generator
    u = random.standard_normal((count, size))
    return u / np.linalg.norm(u, axis=1, keepdims=True)


def _difference(problem: Problem, u: Array, h: float) -> float:
    """(F(phi + h u) - F(phi - h u)) / 2h."""
    plus, minus = (_moved(problem, sign * h * u, _value) for sign in (1, -1))
    return (plus - minus) / (2 * h)


def _moved(problem: Problem, by: Array, function: Callable[[Problem], float]) -> float:
    """function(problem), phi moved; by exchange of data, so that closures see it."""
    before = [x.data for x in problem.phi]
    ends = np.cumsum([x.size for x in before])[:-1]
    try:
        for x, part in zip(problem.phi, np.split(by, ends), strict=True):
            x.data = np.asarray(x.data + part.reshape(x.shape))
        return function(problem)
    finally:
        for x, array in zip(problem.phi, before, strict=True):
            x.data = array


def _value(problem: Problem) -> float:
    """F: all steps, and the outer loss after them."""
    for theta, _ in inner_steps(problem, problem.theta, problem.v):
        last = theta
    return float(problem.outer_loss(last).item())


def _check_precision(problem: Problem) -> None:
    for x in (*problem.theta, *problem.phi):
        if x.dtype != np.float64:
            raise TypeError(
                "check_hypergradient: differences need float64, got a Tensor of "
                f"{x.dtype}; convert modules and data with .double()"
            )


def _check_repeatable(problem: Problem) -> None:
    first, second = _value(problem), _value(problem)
    if math.isnan(first):
        raise ValueError("check_hypergradient: the outer loss is nan")
    if first != second:
        raise ValueError(
            f"check_hypergradient: the outer loss is {first!r} and then {second!r} for "
            "the same arguments. Wrap losses that draw random numbers with replay(), "
            "and those that move running statistics with VirtualStatistics"
        )
