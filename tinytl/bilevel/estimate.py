"""One call for all estimators."""

import inspect
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from tinytl_kernels import Array

from ..graph import enable_grad
from ..optim import SGD
from ..optim.optimizer import in_range, plain
from ..tensor import FLOATS, Tensor
from .finite import finite
from .first_order import first_order
from .forward_mode import forward_mode
from .implicit import implicit
from .one_step import one_step
from .problem import Hypergradient, Inner, Outer, Problem, Tensors, warn_if_zero, zeros
from .reverse import reverse
from .unrolled import unrolled

Estimator = Callable[..., Hypergradient]

METHODS: dict[str, Estimator] = {
    "unrolled": unrolled,
    "reverse": reverse,
    "jvp": forward_mode,
    "finite": finite,
    "one_step": one_step,
    "first_order": first_order,
    "implicit": implicit,
}


def hypergradient(
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
    **options: Any,
) -> Hypergradient:
    r"""How an outer loss, after steps of SGD on an inner one, depends on `hyper`.

        v_{t+1}     = mu v_t + grad ell_t(theta_t, phi) + w theta_t
        theta_{t+1} = theta_t - alpha_t v_{t+1}                     t = 0 .. T-1
        F(phi)      = L(theta_T(phi), phi);        the result is dF/dphi

    The direct gradient of L by phi is part of it. Nothing given is changed. The steps
    are those of ``optim.SGD``; a parameter that ell_t does not use has gradient 0, and
    momentum and weight decay still move it.

    `inner` and `outer` may be called several times with the same arguments, and must
    then give the same value: for dropout and the like see ``replay``, for running
    statistics ``VirtualStatistics``.

    Args:
        inner: ell_t: inner(parameters, hyper, t) -> Tensor with a single value,
            computed from the Tensors it is given (for a module: ``functional_call``).
            t lets one step have another loss.
        outer: L: outer(parameters, hyper), likewise.
        parameters: theta_0. Values count; whether they require gradients does not.
        hyper: phi, Tensors with ``requires_grad``. They may have been computed from
            others: then ``grad(hyper, others, result.gradients)`` carries on, and what
            computed them is evaluated once instead of at every step.
        steps: T.
        lr: alpha, one number or one for each step.
        momentum: mu.
        weight_decay: w.
        velocity: v_0, one for each parameter; None stands for zeros.
        method: "unrolled", "reverse", "jvp" (all exact), "finite", "one_step",
            "first_order" (approximate), "implicit" (for a solved inner problem); each
            is a file here. Or a function of your own that takes a ``Problem``.
        options: what the method takes beyond that.

    Warns:
        ZeroHypergradientWarning: every gradient is exactly zero.

    Raises:
        ValueError: an argument is out of its range or does not fit the others, a loss
            is no single value, or it does not depend on the parameters.
        TypeError: parameters or hyper are no Tensors of floats; an unknown option.
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
    with enable_grad():
        found = estimator(problem, **options)
    warn_if_zero(problem, found)
    return found


def sgd_settings(optimizer: SGD) -> dict[str, Any]:
    """What virtual steps need to continue where an optimiser stands.

    ``hypergradient(inner, outer, hyper=phi, steps=2, **sgd_settings(sgd))``

    Returns:
        parameters, velocity, lr, momentum, weight_decay, by name.

    Raises:
        ValueError: it has several groups, or an option that virtual steps do not have.
        TypeError: it is not SGD.
    """
    if not isinstance(optimizer, SGD):
        raise TypeError(f"sgd_settings: needs SGD, got {type(optimizer).__name__}")
    if len(optimizer.param_groups) > 1:
        raise ValueError("sgd_settings: virtual steps have one group of parameters")
    group = optimizer.param_groups[0]
    extra = {k: group[k] for k in ("dampening", "nesterov", "maximize") if group[k]}
    if extra:
        raise ValueError(f"sgd_settings: virtual steps do not have {extra}")
    memory = [optimizer.state.get(k, {}) for k in range(len(group["params"]))]
    return {
        "parameters": group["params"],
        "velocity": [state.get("momentum_buffer") for state in memory],
        **{name: group[name] for name in ("lr", "momentum", "weight_decay")},
    }


def find_estimator(method: str | Estimator, options: dict[str, Any]) -> Estimator:
    """The function behind a name, if it takes these options.

    Raises:
        ValueError: unknown name.
        TypeError: unknown option.
    """
    if callable(method):
        return method
    if method not in METHODS:
        raise ValueError(
            f"hypergradient: method must be one of {sorted(METHODS)}, got {method!r}"
        )
    known = list(inspect.signature(METHODS[method]).parameters)[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(
            f"hypergradient: method {method!r} has no options {unknown}; it has {known}"
        )
    return METHODS[method]


def make_problem(
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
) -> Problem:
    """The arguments of ``hypergradient``, checked, as a Problem."""
    theta = [x.detach() for x in _tensors("parameters", parameters)]
    phi = _tensors("hyper", hyper)
    for k, x in enumerate(phi):
        if not x.requires_grad:
            raise ValueError(
                f"hypergradient: hyper {k} has requires_grad=False; no gradient can be "
                "asked for it"
            )
    scalars = {"momentum": plain(momentum), "weight_decay": plain(weight_decay)}
    bound = (0.0, float("inf"))
    in_range("hypergradient", scalars, momentum=bound, weight_decay=bound)
    alpha, rate = _rates(lr, steps)
    return Problem(
        inner,
        outer,
        theta,
        _velocity(velocity, theta),
        phi,
        alpha,
        float(scalars["momentum"]),
        float(scalars["weight_decay"]),
        rate,
    )


def _tensors(name: str, given: Any) -> list[Tensor]:
    if isinstance(given, Tensor) or not isinstance(given, Sequence):
        raise TypeError(
            f"hypergradient: {name} must be a list of Tensors, got "
            f"{type(given).__name__}"
        )
    for k, x in enumerate(given):
        if not isinstance(x, Tensor) or x.dtype not in FLOATS:
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(
                f"hypergradient: {name} {k} must be a Tensor of floats, got {kind}"
            )
    if not given:
        raise ValueError(f"hypergradient: {name} is empty")
    return list(given)


def _rates(lr: Any, steps: Any) -> tuple[tuple[float, ...], float]:
    """The rate of each step, and the one that goes on after them."""
    if not isinstance(plain(steps), int) or isinstance(steps, bool) or steps < 0:
        raise ValueError(
            f"hypergradient: steps must be a whole number >= 0, got {steps!r}"
        )
    lr = lr.tolist() if isinstance(lr, np.ndarray | np.generic) else lr
    if not isinstance(lr, Real | Sequence):
        raise TypeError(
            f"hypergradient: lr must be a number or one for each step, got {lr!r}"
        )
    rates = [lr] * steps if isinstance(lr, Real) else list(lr)
    if len(rates) != steps:
        raise ValueError(
            f"hypergradient: lr must be one number or {steps}, one for each step; got "
            f"{len(rates)}"
        )
    after = lr if isinstance(lr, Real) else rates[-1] if rates else 0.0
    for rate in (*rates, after):
        in_range("hypergradient", {"lr": rate}, lr=(0.0, float("inf")))
    return tuple(float(rate) for rate in rates), float(after)


def _velocity(given: Any, theta: list[Tensor]) -> list[Tensor]:
    if given is None:
        return zeros(theta)
    values = list(given)
    if len(values) != len(theta):
        raise ValueError(
            f"hypergradient: got {len(values)} velocities for {len(theta)} parameters; "
            "pass None where there is none"
        )
    v = []
    for k, (value, x) in enumerate(zip(values, theta, strict=True)):
        found = zeros([x])[0] if value is None else Tensor(value).to(x.dtype)
        if found.shape != x.shape:
            raise ValueError(
                f"hypergradient: velocity {k} has shape {found.shape}, its parameter "
                f"{x.shape}"
            )
        v.append(found)
    return v
