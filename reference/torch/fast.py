"""The iteration of ``l2t`` in the fastest form that PyTorch allows: same results.

Nothing is computed twice. Source features, their resizing and the meta-networks depend
on the batch and on phi alone: once an iteration. The graph of every step's gradient is
kept, and the reverse sweep differentiates it instead of computing the step anew. L_wfm
is linear in omega, lambda and gamma, so the sweep adds up the gradient in these
weights, and one pass back through the meta-networks ends it. Before step t = 0 there is
no theta left to differentiate by. In return, the graphs of T + 1 steps are in memory.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import grad
from torch.func import functional_call
from torch.nn import functional as F

from .l2t import Options, Report, State, Values, forward, leaves, meta_step, sgd
from .matching import Networks, Weights, matching_loss, resize, stretch


class Shared(NamedTuple):
    """What all passes of an iteration share.

    Attributes:
        x: images.
        labels: their classes.
        maps: S^m of every pair, in the size of T^n.
        weights: omega, lambda, and gamma in that size; leaves.
    """

    x: Tensor
    labels: Tensor
    maps: list[Tensor]
    weights: Weights


class Kept(NamedTuple):
    """A step: the leaves it started from, and its gradient there, with its graph.

    The gradient is None in a parameter that is not in the step's loss.
    """

    theta: list[Tensor]
    gradient: Sequence[Tensor | None]


def fast_iteration(
    nets: Networks, state: State, x: Tensor, labels: Tensor, options: Options
) -> tuple[State, Report]:
    """What ``l2t.iteration`` computes."""
    phi = leaves(state.phi)
    maps = nets.source_maps(x)
    weights = functional_call(nets.meta, phi, (maps,))

    # The target's part of the real step comes first: it tells the sizes.
    theta = leaves(state.theta)
    scores, matched, buffers = forward(nets, theta, state.buffers, x, True)
    sizes = [r.shape[2:] for r in matched]
    pairs = zip(weights.gamma, sizes, strict=False)
    gamma = [stretch(g, size, options.scale) for g, size in pairs]
    full = weights._replace(gamma=gamma)
    known = full.like([w.detach().requires_grad_() for w in full.tensors()])
    maps = [resize(s, size) for s, size in zip(maps, sizes, strict=True)]
    shared = Shared(x, labels, maps, known)
    ce = F.cross_entropy(scores, labels)
    match = matching_loss(maps, matched, known, options.beta)
    g = grad(ce + match, list(theta.values()))
    losses = {"cross_entropy": ce.item(), "matching": match.item()}
    after, v = sgd(state.theta, state.momentum, _named(theta, g), options)
    state = state._replace(theta=after, momentum=v, buffers=buffers)

    steps, last, again, found = _steps(nets, state, shared, options.inner())
    scores, _, _ = forward(nets, last, buffers, x, False)
    outer = F.cross_entropy(scores, labels)
    a = _gradients(outer, last)
    G = _sweep(steps, a, known.tensors(), options.inner())
    G = grad(full.tensors(), list(phi.values()), G, materialize_grads=True)

    losses = {**losses, **found, "outer": outer.item()}
    shown = weights.like([w.detach() for w in weights.tensors()])
    report = Report(losses, shown, _named(phi, G))
    state = meta_step(state, report.hypergradient, options)
    if options.bn == "official":
        state = state._replace(buffers=again)
    return state, report


def _steps(
    nets: Networks, state: State, shared: Shared, options: Options
) -> tuple[list[Kept], Values, Values, dict[str, float]]:
    """Steps 0 .. T, kept; theta_T+1; running statistics after step 0; the losses."""
    theta, v = leaves(state.theta), state.momentum
    steps: list[Kept] = []
    losses: dict[str, float] = {}
    first: Values = {}
    for t in range(options.T + 1):
        virtual = t < options.T
        scores, matched, moved = forward(nets, theta, state.buffers, shared.x, virtual)
        if virtual:
            loss = matching_loss(shared.maps, matched, shared.weights, options.beta)
        else:
            loss = F.cross_entropy(scores, shared.labels)
        p = list(theta.values())
        g = grad(loss, p, create_graph=True, allow_unused=True)
        steps.append(Kept(p, g))
        losses[f"virtual_{t}" if virtual else "final"] = loss.item()
        first = first or moved
        with torch.no_grad():
            after, v = sgd(theta, v, _named(theta, g), options)
        theta = leaves(after)
    return steps, theta, first, losses


def _sweep(
    steps: list[Kept], a: list[Tensor], weights: list[Tensor], options: Options
) -> list[Tensor]:
    """dF/dweights, by the recursion of ``l2t.reverse_sweep``; empties `steps`.

    q = b - alpha a;  a <- a + w q + d<grad l_t, q>/dtheta;  b <- mu q
    """
    b = [torch.zeros_like(x) for x in a]
    total = [torch.zeros_like(w) for w in weights]
    while steps:
        theta, g = steps.pop()
        q = [y.sub(x, alpha=options.lr) for x, y in zip(a, b, strict=True)]
        known = [(gi, qi) for gi, qi in zip(g, q, strict=True) if gi is not None]
        outputs, along = zip(*known, strict=True)
        inputs = [*weights, *(theta if steps else [])]
        found = grad(outputs, inputs, along, materialize_grads=True, allow_unused=True)
        total = [x + y for x, y in zip(total, found, strict=False)]
        if steps:
            h = found[len(weights) :]
            a = [
                x.add(y, alpha=options.weight_decay).add_(z)
                for x, y, z in zip(a, q, h, strict=True)
            ]
            b = [y * options.momentum for y in q]
    return total


def _named(theta: Values, tensors: Sequence[Tensor | None]) -> Values:
    """Under the names of theta; 0 for None."""
    pairs = zip(theta.items(), tensors, strict=True)
    return {n: torch.zeros_like(p) if x is None else x for (n, p), x in pairs}


def _gradients(loss: Tensor, theta: Values) -> list[Tensor]:
    """Gradient in every parameter, 0 in those that are not in the loss."""
    p = list(theta.values())
    return list(grad(loss, p, allow_unused=True, materialize_grads=True))
