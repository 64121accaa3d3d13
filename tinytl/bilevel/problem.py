r"""The bilevel problem: what is given, one inner step, and what comes back.

    v_{t+1}     = mu v_t + grad ell_t(theta_t, phi) + w theta_t
    theta_{t+1} = theta_t - alpha_t v_{t+1}                          t = 0 .. T-1
    F(phi)      = L(theta_T(phi), phi)

    theta   the inner parameters (a network's), T steps of SGD away from where they are
    v       their velocity: the momentum buffer
    phi     the hyper-parameters: everything whose influence on F is wanted
    ell_t   inner loss of step t; `inner` in the code
    L       outer loss; `outer` in the code
    alpha   rate, mu momentum, w weight decay

The *hypergradient* is dF/dphi. All letters are the names in the code of this package.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tinytl_kernels import Array, namespace

from .. import functional as F
from ..graph import used_once
from ..optim import sgd_step
from ..tensor import Tensor, grad

Inner = Callable[[list[Tensor], list[Tensor], int], Tensor]
Outer = Callable[[list[Tensor], list[Tensor]], Tensor]
Tensors = Sequence[Tensor]
BUFFER = "momentum_buffer"  # v, in the state of optim.SGD


class ZeroHypergradientWarning(UserWarning):
    """Every entry of a hypergradient is exactly zero: nothing would be learned."""


@dataclass(frozen=True)
class Problem:
    """What an estimator is given: both losses, the start, and the rule of the steps.

    Attributes:
        inner: ell_t, called as inner(theta, phi, t).
        outer: L, called as outer(theta, phi).
        theta: the start theta_0, without history.
        v: the velocity v_0; zeros unless told.
        phi: the Tensors whose gradients are wanted.
        alpha: the rate of each step.
        mu: momentum.
        w: weight decay.
        rate: alpha of a step that would follow the last one.
    """

    inner: Inner
    outer: Outer
    theta: list[Tensor]
    v: list[Tensor]
    phi: list[Tensor]
    alpha: tuple[float, ...]
    mu: float = 0.0
    w: float = 0.0
    rate: float = 0.0

    @property
    def steps(self) -> int:
        """T, the number of inner steps."""
        return len(self.alpha)

    def ell(self, theta: Tensors, t: int, phi: Tensors | None = None) -> Tensor:
        """ell_t at theta; `phi` is the problem's own unless given."""
        phi = self.phi if phi is None else phi
        return _loss(f"inner at t = {t}", self.inner(list(theta), list(phi), t))

    def outer_loss(self, theta: Tensors, phi: Tensors | None = None) -> Tensor:
        """L at theta."""
        phi = self.phi if phi is None else phi
        return _loss("outer", self.outer(list(theta), list(phi)))

    def step(
        self, theta: Tensors, v: Tensors, g: Tensors, t: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """theta_{t+1} and v_{t+1} from theta_t, v_t and g, the gradient of ell_t.

        The same for values and, when the Tensors have a history, recorded. It is the
        step of ``optim.SGD``, bit by bit.
        """
        if not self.mu or any(x.requires_grad for x in (*theta, *v, *g)):
            d = add_scaled(g, self.w, theta) if self.w else list(g)
            v = add_scaled(d, self.mu, v) if self.mu else d
            return add_scaled(theta, -self.alpha[t], v), v
        rule: dict[str, Any] = {
            "lr": self.alpha[t],
            "momentum": self.mu,
            "weight_decay": self.w,
        }
        found = [
            sgd_step(p.data, x.data, {BUFFER: u.data}, **rule)
            for p, x, u in zip(theta, g, v, strict=True)
        ]
        return [Tensor(p) for p, _ in found], [Tensor(s[BUFFER]) for _, s in found]


@dataclass(frozen=True)
class Hypergradient:
    """What an estimator returns.

    Attributes:
        gradients: dF/dphi, one Tensor for each of `hyper`, without history.
        outer: F, the outer loss at theta_T, without history.
        parameters: theta_T as arrays.
        velocity: v_T as arrays.
        inner: ell_t(theta_t) of every step, without history.
        info: what else the estimator has to tell, by name.
    """

    gradients: tuple[Tensor, ...]
    outer: Tensor
    parameters: tuple[Array, ...]
    velocity: tuple[Array, ...]
    inner: tuple[Tensor, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """F as a number; on a GPU, reading it waits."""
        return float(self.outer.item())

    @property
    def losses(self) -> tuple[float, ...]:
        """ell_t(theta_t) of every step as numbers, likewise."""
        return tuple(float(loss.item()) for loss in self.inner)


def _loss(name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = value.shape if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"hypergradient: {name} must return a Tensor with a single value, got {got}"
        )
    return value


def whole(name: str, value: Any, at_least: int) -> None:
    """Raise ValueError unless an option is None or a whole number in its range."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"hypergradient: {name} must be a whole number, got {value!r}")
    if value < at_least:
        raise ValueError(
            f"hypergradient: {name} must be at least {at_least}, got {value}"
        )


def leaves(values: Tensors) -> list[Tensor]:
    """The same values as new Tensors that gradients can be asked for."""
    return [Tensor(x.data, requires_grad=True) for x in values]


def differentiate(
    name: str,
    loss: Tensor,
    theta: Tensors,
    others: Tensors = (),
    create_graph: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients of a loss by theta and by `others`; zeros where it does not depend.

    Raises:
        ValueError: the loss does not depend on theta at all.
    """
    targets = [*theta, *others]
    found: Sequence[Tensor | None] = [None] * len(targets)
    if loss.requires_grad:
        found = grad(loss, targets, create_graph=create_graph, allow_unused=True)
    if all(g is None for g in found[: len(theta)]):
        raise ValueError(
            f"hypergradient: {name} does not depend on the parameters it is given; "
            "compute it from the list of Tensors in its first argument (for a module: "
            "nn.functional_call), not from the parameters that the module owns"
        )
    filled = zeros_for_none(found, targets)
    return filled[: len(theta)], filled[len(theta) :]


def inner_gradient(
    problem: Problem, theta: Tensors, t: int
) -> tuple[Tensor, list[Tensor]]:
    """ell_t and its gradient at theta."""
    at = leaves(theta)
    with used_once():
        loss = problem.ell(at, t, [x.detach() for x in problem.phi])
    return loss.detach(), differentiate(f"inner at t = {t}", loss, at)[0]


def inner_steps(
    problem: Problem,
    theta: Tensors,
    v: Tensors,
    start: int = 0,
    stop: int | None = None,
    losses: list[Tensor] | None = None,
    gradient: Callable[..., tuple[Tensor, list[Tensor]]] = inner_gradient,
) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """States (theta_t, v_t), t = start .. stop, by values alone: no graph is kept."""
    theta, v = list(theta), list(v)
    yield theta, v
    for t in range(start, problem.steps if stop is None else stop):
        value, g = gradient(problem, theta, t)
        theta, v = problem.step(theta, v, g, t)
        if losses is not None:
            losses.append(value)
        yield theta, v


def outer_gradients(
    problem: Problem, theta: Tensors
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """L at theta, its gradient by theta, and the direct one by phi."""
    at = leaves(theta)
    with used_once():
        loss = problem.outer_loss(at)
    a, direct = differentiate("outer", loss, at, problem.phi)
    return loss.detach(), a, direct


def result(
    problem: Problem,
    gradients: Tensors,
    outer: Tensor,
    state: tuple[Tensors, Tensors],
    inner: Sequence[Tensor],
    **info: Any,
) -> Hypergradient:
    """Put together what an estimator has found."""
    theta, v = state
    return Hypergradient(
        tuple(g.detach() for g in gradients),
        outer.detach(),
        tuple(x.data for x in theta),
        tuple(x.data for x in v),
        tuple(loss.detach() for loss in inner),
        info,
    )


def warn_if_zero(problem: Problem, found: Hypergradient) -> None:
    """Say so, and where to look, if nothing would be learned.

    The one thing that waits for a GPU: a look at the first gradient, and at the others
    as long as all have been zero.
    """
    if any(namespace(g.data).any(g.data) for g in found.gradients):
        return
    by_steps = "products" not in found.info  # implicit goes another way
    if by_steps and not problem.steps:
        reason = "there are no inner steps, and outer does not use phi itself"
    elif by_steps and not any(problem.alpha):
        reason = "lr is 0: look at the schedule"
    else:
        reason = (
            "look whether inner computes with the hyper-parameters it is given (no "
            ".data, detach() or no_grad() on the way), and for dead or saturated units "
            "(relu6 at 0, one-hot softmax) behind them"
        )
    warnings.warn(
        "hypergradient: all gradients are exactly zero, so that the hyper-parameters "
        f"would never be updated: {reason}",
        ZeroHypergradientWarning,
        stacklevel=3,
    )


# -- lists of Tensors as vectors -------------------------------------------------------


def add_scaled(x: Tensors, c: float, y: Tensors) -> list[Tensor]:
    """x + c y; without a history, one pass: a step down y at the rate -c."""
    if any(z.requires_grad for z in (*x, *y)):
        return [F.add(p, q, alpha=c) for p, q in zip(x, y, strict=True)]
    pairs = zip(x, y, strict=True)
    return [Tensor(sgd_step(p.data, q.data, {}, lr=-c)[0]) for p, q in pairs]


def dot(x: Tensors, y: Tensors) -> float:
    """<x, y>."""
    return sum(float((p.data * q.data).sum()) for p, q in zip(x, y, strict=True))


def zeros(like: Tensors) -> list[Tensor]:
    """Zeros of the same shapes."""
    return [Tensor(namespace(x.data).zeros_like(x.data)) for x in like]


def zeros_for_none(found: Sequence[Tensor | None], like: Tensors) -> list[Tensor]:
    """The gradients, with zeros for those that do not exist."""
    pairs = zip(found, like, strict=True)
    return [zeros([x])[0] if g is None else g for g, x in pairs]
