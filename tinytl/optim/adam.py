"""Adam and AdamW: a step size of its own for every single value."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tinytl_kernels import Array, namespace

from .optimizer import Optimizer, in_range
from .together import State


def adam_step(
    parameter: Array,
    gradient: Array,
    state: State,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled: bool = False,
) -> tuple[Array, State]:
    r"""One step of Adam for one parameter p; t counts the steps from 1.

        g <- gradient + weight_decay * p         Adam   (- gradient, to maximise)
        p <- p - lr * weight_decay * p           AdamW, and g <- gradient
        m <- b1 * m + (1 - b1) * g               mean of the gradients, fading
        s <- b2 * s + (1 - b2) * g^2             mean of their squares, fading
        p <- p - lr * mh / (sqrt(sh) + eps)
             with mh = m / (1 - b1^t) and sh = s / (1 - b2^t)

    m and s start at 0; after t steps their weights add up to 1 - b^t, and mh and sh
    divide by that. The step is about lr in every coordinate, whatever the scale of the
    gradient: |mh| / sqrt(sh) is at most 1 for steady gradients. With amsgrad, s in the
    last line is the largest s so far.

    Args:
        parameter: p, any shape.
        gradient: the same shape and dtype.
        state: {} or {"step": t, "exp_avg": m, "exp_avg_sq": s} and, for amsgrad,
            "max_exp_avg_sq".
        lr: rate; the other options likewise as in ``Adam``.
        decoupled: AdamW's weight decay.

    Returns:
        New p and new state; the arrays given are not written to.

    Source: Kingma & Ba 2015, arXiv 1412.6980, algorithm 1; Loshchilov & Hutter 2019,
    arXiv 1711.05101, algorithm 2 (AdamW); Reddi et al. 2018 (amsgrad). As in torch, eps
    is added after the bias correction of s, and amsgrad takes the largest of the
    uncorrected s.
    """
    g = -gradient if maximize else gradient
    if weight_decay and decoupled:
        parameter = parameter * (1 - lr * weight_decay)
    elif weight_decay:
        g = g + weight_decay * parameter
    b1, b2 = betas
    t = state.get("step", 0) + 1
    xp = namespace(parameter)
    m = state["exp_avg"] if state else xp.zeros_like(parameter)
    s = state["exp_avg_sq"] if state else xp.zeros_like(parameter)
    m = m + (1 - b1) * (g - m)
    s = b2 * s + (1 - b2) * (g * g)
    new: State = {"step": t, "exp_avg": m, "exp_avg_sq": s}
    if amsgrad:
        s = xp.maximum(state.get("max_exp_avg_sq", 0), s)
        new["max_exp_avg_sq"] = s
    spread = xp.sqrt(s) / math.sqrt(1 - b2**t) + eps
    return parameter - (lr / (1 - b1**t)) * (m / spread), new


class Adam(Optimizer):
    """Adam; ``adam_step`` for every parameter.

    Args:
        params: parameters or groups of them, see ``Optimizer``.
        lr: rate, about the size of a step in every coordinate.
        betas: how slowly the means of gradients and of their squares fade.
        eps: added to the root, against division by 0.
        weight_decay: added to the gradient as weight_decay * p.
        amsgrad: never let a step size grow again.
        maximize: go up instead of down.

    Raises:
        ValueError: an option out of its range.
    """

    elementwise = True
    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option is out of its range."""
        positive = (0.0, math.inf)
        in_range(self._name, options, lr=positive, eps=positive, weight_decay=positive)
        betas = options["betas"]
        if not isinstance(betas, tuple) or len(betas) != 2:
            raise ValueError(f"{self._name}: betas must be two numbers, got {betas!r}")
        both = {"betas[0]": betas[0], "betas[1]": betas[1]}
        in_range(self._name, both, **dict.fromkeys(both, (0.0, 1.0)))

    def remembered(self, options: Mapping[str, Any]) -> set[str]:
        """Means of gradients and squares, and the number of steps."""
        names = {"step", "exp_avg", "exp_avg_sq"}
        return names | ({"max_exp_avg_sq"} if options["amsgrad"] else set())

    def update(
        self, parameter: Array, gradient: Array, state: State, options: dict[str, Any]
    ) -> tuple[Array, State]:
        """``adam_step`` with the options of the group."""
        return adam_step(
            parameter, gradient, state, decoupled=self.decoupled, **options
        )


class AdamW(Adam):
    """Adam whose weight decay acts on the parameter, not through the gradient.

    In Adam the decay is divided by the root of s like every gradient, so weights with
    large gradients decay less; here all decay by lr * weight_decay.

    Arguments and errors: as in ``Adam``, with weight_decay 0.01 unless told.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize
        )
