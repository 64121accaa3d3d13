"""Stochastic gradient descent, with momentum."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tinytl_kernels import Array, kernels_for

from .optimizer import Optimizer, in_range
from .together import State


def sgd_step(
    parameter: Array,
    gradient: Array,
    state: State,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> tuple[Array, State]:
    r"""One step of gradient descent for one parameter p.

        g <- gradient + weight_decay * p         (- gradient, to maximise)
        v <- g                                   first step
        v <- momentum * v + (1 - dampening) * g  afterwards
        p <- p - lr * v                          or p - lr * (g + momentum * v) with
                                                 nesterov

    Without momentum v is g, and nothing is remembered. v is a sum of gradients whose
    weights fade like momentum^k, so that steady directions are taken up to
    1 / (1 - momentum) times as fast. The rate stands outside of v: lowering lr acts at
    once on all that v has collected.

    Args:
        parameter: p, any shape.
        gradient: the same shape and dtype.
        state: {} or {"momentum_buffer": v}.
        lr: rate; the other options likewise as in ``SGD``.

    Returns:
        New p and new state; the arrays given are not written to.

    Source: Polyak 1964; Sutskever et al. 2013 for nesterov, in torch's form, where lr
    multiplies v instead of being inside of it.
    """
    p, v = kernels_for(parameter).sgd_step(
        parameter,
        -gradient if maximize else gradient,
        state.get("momentum_buffer"),
        lr,
        momentum,
        dampening,
        weight_decay,
        nesterov,
    )
    return p, {} if v is None else {"momentum_buffer": v}


class SGD(Optimizer):
    """Stochastic gradient descent; ``sgd_step`` for every parameter.

    Args:
        params: parameters or groups of them, see ``Optimizer``.
        lr: rate.
        momentum: share of the former direction that is kept, 0 for none.
        dampening: share of the new gradient that is left out of it.
        weight_decay: strength of the pull to 0, added to the gradient: the gradient of
            weight_decay / 2 * |p|^2.
        nesterov: look ahead along the momentum.
        maximize: go up instead of down.

    Raises:
        ValueError: an option out of its range; nesterov without momentum or with
            dampening.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option is out of its range."""
        positive = (0.0, math.inf)
        in_range("SGD", options, lr=positive, momentum=positive, weight_decay=positive)
        in_range("SGD", options, dampening=(-math.inf, math.inf))
        if options["nesterov"] and (not options["momentum"] or options["dampening"]):
            raise ValueError(
                "SGD: nesterov needs momentum > 0 and dampening = 0, got momentum "
                f"{options['momentum']} and dampening {options['dampening']}"
            )

    def remembered(self, options: Mapping[str, Any]) -> set[str]:
        """The momentum."""
        return {"momentum_buffer"} if options["momentum"] else set()

    def update(
        self, parameter: Array, gradient: Array, state: State, options: dict[str, Any]
    ) -> tuple[Array, State]:
        """``sgd_step`` with the options of the group."""
        return sgd_step(parameter, gradient, state, **options)
