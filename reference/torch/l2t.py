r"""One training iteration of L2T-ww or L2T-www, in the order of the published code.

On one batch B. theta: target network and branch; phi: meta-networks; alpha, mu, w:
rate, momentum and weight decay of the SGD on theta.

    (theta_0, v_0): after the real step
    l_t     = L_wfm(B; theta, phi)  for t = 0 .. T-1,  and  l_T = CE(B; theta)
    v_t+1   = mu v_t + grad l_t(theta_t) + w theta_t
    theta_t+1 = theta_t - alpha v_t+1
    F(phi)  = CE(B; theta_T+1);  wanted: the hypergradient G = dF/dphi

Steps, one function each:

    1  real_step       SGD on CE + L_wfm: theta and v will be back here at the end
    2  virtual_steps   T steps of SGD on L_wfm alone, a snapshot before each
    3  final_step      a snapshot, and a step on CE alone
    4  outer_gradient  dF/dtheta_T+1
    5  reverse_sweep   back through the steps, each computed anew from its snapshot: G
    6  meta_step       Adam on phi
    7  rollback        theta and v as after step 1, running statistics by policy

``iteration`` does it as published: 2T + 4 passes of the target network, 2T + 1 of the
source and the meta-networks. (``fast.py`` gives the same with T + 3 and one.)
``unrolled`` and ``difference`` are two more ways to G.

Everything is a value, State in and State out. Nothing is kept in the modules; their own
values serve to ``start``.

Source: Y. Jang, H. Lee, S. J. Hwang, J. Shin, Learning What and Where to Transfer,
2019, arXiv 1905.05901, algorithm 1; where the published code does more (beta, momentum
and weight decay in steps 2 and 3, the rollback), it is followed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from .matching import Networks, Weights, matching_loss

Values = dict[str, Tensor]  # tensors by the name of a parameter or buffer


@dataclass(frozen=True)
class Options:
    """Everything that is a number or a choice.

    Attributes:
        lr: alpha.
        momentum: mu.
        weight_decay: w.
        beta: factor of L_wfm.
        scale: of gamma, "raw", "unit" or "flat", see matching.stretch.
        T: virtual steps on L_wfm.
        meta_lr: rate of Adam on phi.
        meta_weight_decay: its weight decay, added to the gradient.
        betas: of Adam.
        eps: of Adam.
        frozen: meta-networks that step 6 leaves as they are: "what", "where", "which".
        bn: which passes move the running statistics of the target's norms. All passes
            normalise by the batch, so no pass reads the statistics.
            "official": all do; steps 2 to 5 start from snapshots, and of theirs only
            the last survives, the recomputation of step t = 0. Two updates are left.
            "restore": all do, and the rollback undoes steps 2 to 5. One is left.
            "freeze": step 1 alone does. One is left.
        virtual: "official", steps 2 and 3 as above; "paper", plain gradient descent
            there: beta = 1, mu = 0, w = 0.
    """

    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    beta: float = 0.5
    scale: str = "raw"
    T: int = 2
    meta_lr: float = 1e-4
    meta_weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    frozen: tuple[str, ...] = ()
    bn: str = "official"
    virtual: str = "official"

    def inner(self) -> "Options":
        """What holds in steps 2, 3 and 5."""
        if self.virtual == "official":
            return self
        return replace(self, beta=1.0, momentum=0.0, weight_decay=0.0)


class State(NamedTuple):
    """All that an iteration changes.

    Attributes:
        theta: parameters, "target.*" and "branch.*".
        momentum: v, the same names; 0 before the first step.
        buffers: running statistics of the target.
        phi: parameters, "what.*", "where.*" and "which.*".
        mean: Adam's fading mean of the gradients of phi.
        square: Adam's fading mean of their squares.
        steps: Adam's steps so far, of each parameter.
    """

    theta: Values
    momentum: Values
    buffers: Values
    phi: Values
    mean: Values
    square: Values
    steps: int = 0


class Report(NamedTuple):
    """What one may want to look at.

    Attributes:
        losses: CE and L_wfm of the real step, l_0 .. l_T, and F.
        weights: omega, lambda, gamma (3 x 3) of the batch.
        hypergradient: G.
    """

    losses: dict[str, float]
    weights: Weights
    hypergradient: Values


class Snapshot(NamedTuple):
    """What a step starts from."""

    theta: Values
    momentum: Values
    buffers: Values


class Pass(NamedTuple):
    """A loss, and the running statistics after the pass that computed it."""

    loss: Tensor
    buffers: Values
    cross_entropy: Tensor | None = None
    weights: Weights | None = None


# A step's loss as a function of (theta, buffers, phi).
Objective = Callable[[Values, Values, Values], Pass]


def start(nets: Networks) -> State:
    """The values that are in the modules, and momenta of 0."""
    theta = _copy(dict(nets.student.named_parameters()))
    phi = _copy(dict(nets.meta.named_parameters()))
    buffers = _copy(dict(nets.student.named_buffers()))
    return State(theta, zeros(theta), buffers, phi, zeros(phi), zeros(phi))


# -- the three losses ------------------------------------------------------------------


def objectives(
    nets: Networks, x: Tensor, labels: Tensor, options: Options
) -> tuple[Objective, Objective, Objective]:
    """CE + beta L_wfm, beta L_wfm and CE of a batch; everything computed anew in each.

    The first has the beta of the real step, the second that of virtual steps.
    """

    def both(theta: Values, buffers: Values, phi: Values) -> Pass:
        maps = nets.source_maps(x)
        weights = functional_call(nets.meta, phi, (maps,))
        scores, matched, moved = forward(nets, theta, buffers, x, True)
        ce = F.cross_entropy(scores, labels)
        loss = ce + matching_loss(maps, matched, weights, options.beta, options.scale)
        return Pass(loss, moved, ce, weights)

    def matching(theta: Values, buffers: Values, phi: Values) -> Pass:
        maps = nets.source_maps(x)
        weights = functional_call(nets.meta, phi, (maps,))
        _, matched, moved = forward(nets, theta, buffers, x, True)
        beta = options.inner().beta
        loss = matching_loss(maps, matched, weights, beta, options.scale)
        return Pass(loss, moved)

    def classifying(theta: Values, buffers: Values, phi: Values) -> Pass:
        scores, _, moved = forward(nets, theta, buffers, x, False)
        return Pass(F.cross_entropy(scores, labels), moved)

    return both, matching, classifying


def forward(
    nets: Networks, theta: Values, buffers: Values, x: Tensor, matching: bool
) -> tuple[Tensor, list[Tensor], Values]:
    """Scores, r(T^n), and the statistics after the pass; `buffers` stay as they are."""
    moved = _copy(buffers)
    scores, maps = functional_call(nets.student, {**theta, **moved}, (x, matching))
    return scores, maps, moved


# -- steps 1 to 7 ----------------------------------------------------------------------


def sgd(
    theta: Values, momentum: Values, gradients: Values, options: Options
) -> tuple[Values, Values]:
    """v <- mu v + g + w theta;  theta <- theta - alpha v.

    A parameter that is not in the loss has g = 0: it decays and keeps moving.
    """
    v = {
        name: momentum[name] * options.momentum + g.add(p, alpha=options.weight_decay)
        for (name, p), g in zip(theta.items(), gradients.values(), strict=True)
    }
    return {name: p.sub(v[name], alpha=options.lr) for name, p in theta.items()}, v


def gradients(
    objective: Objective, at: Snapshot, phi: Values
) -> tuple[Pass, Values, Values]:
    """A loss, its gradient in theta, and that in phi, for which no step has a use."""
    theta, phi = leaves(at.theta), leaves(phi)
    result = objective(theta, at.buffers, phi)
    by_theta, by_phi = _gradient(result.loss, theta, phi)
    return result, by_theta, by_phi


def real_step(
    both: Objective, state: State, options: Options
) -> tuple[State, Pass, Values]:
    """1: SGD on CE + L_wfm. The gradient in phi is computed too, and unused."""
    at = Snapshot(state.theta, state.momentum, state.buffers)
    result, g, unused = gradients(both, at, state.phi)
    theta, v = sgd(state.theta, state.momentum, g, options)
    after = state._replace(theta=theta, momentum=v, buffers=result.buffers)
    return after, result, unused


def virtual_steps(
    matching: Objective, state: State, options: Options
) -> tuple[list[Snapshot], list[float]]:
    """2: T steps on L_wfm. Snapshots 0 .. T and the losses."""
    snapshots = [Snapshot(state.theta, state.momentum, state.buffers)]
    found = []
    for _ in range(options.T):
        result, after = _step(matching, snapshots[-1], state.phi, options)
        snapshots.append(after)
        found.append(result.loss.item())
    return snapshots, found


def final_step(
    classifying: Objective, at: Snapshot, phi: Values, options: Options
) -> tuple[Snapshot, float]:
    """3: one step on CE alone, to theta_T+1."""
    result, after = _step(classifying, at, phi, options)
    return after, result.loss.item()


def outer_gradient(classifying: Objective, at: Snapshot) -> tuple[Values, float]:
    """4: a = dF/dtheta_T+1, and F."""
    result, a, _ = gradients(classifying, at, {})
    return a, result.loss.item()


def reverse_sweep(
    steps: list[Objective],
    snapshots: list[Snapshot],
    a: Values,
    phi: Values,
    options: Options,
) -> tuple[Values, Values]:
    r"""5: from dF/dtheta_T+1 to G, and the statistics after the last recomputation.

    a_t = dF/dtheta_t and b_t = dF/dv_t. theta_t+1 = theta_t - alpha v_t+1 makes
    q = b_t+1 - alpha a_t+1 the whole effect of v_t+1, and v_t+1 = mu v_t + grad l_t +
    w theta_t passes it on. With X(theta, phi) = <grad l_t(theta), q>, q constant:

        G   <- G + dX/dphi
        a_t =  a + w q + dX/dtheta  =  (1 - alpha w) a + w b + dX/dtheta
        b_t =  mu q                 =  mu b - alpha mu a

    The right-hand forms are the published ones, and are computed here.
    """
    lr, mu, w = options.lr, options.momentum, options.weight_decay
    b, total = zeros(a), zeros(phi)
    moved: Values = {}
    for objective, at in zip(reversed(steps), reversed(snapshots), strict=True):
        theta, meta = leaves(at.theta), leaves(phi)
        loss, moved, *_ = objective(theta, at.buffers, meta)
        g = torch.autograd.grad(
            loss, list(theta.values()), create_graph=True, allow_unused=True
        )
        q = {name: b[name] - lr * a[name] for name in a}
        found = zip(g, q.values(), strict=True)
        X = torch.stack([(gi * qi).sum() for gi, qi in found if gi is not None]).sum()
        by_theta, by_phi = _gradient(X, theta, meta)
        total = {name: total[name] + by_phi[name] for name in total}
        a, b = (
            {n: (1 - lr * w) * a[n] + w * b[n] + by_theta[n] for n in a},
            {n: mu * b[n] - lr * mu * a[n] for n in a},
        )
    return total, moved


def meta_step(state: State, hypergradient: Values, options: Options) -> State:
    """6: Adam, with its weight decay in the gradient; phi and its memory.

    g <- G + w phi;  m <- b1 m + (1 - b1) g;  s <- b2 s + (1 - b2) g^2
    phi <- phi - lr m / (1 - b1^t) / (sqrt(s / (1 - b2^t)) + eps)
    """
    b1, b2 = options.betas
    t = state.steps + 1
    phi, mean, square = dict(state.phi), dict(state.mean), dict(state.square)
    for name, p in state.phi.items():
        if name.split(".")[0] in options.frozen:
            continue
        g = hypergradient[name] + options.meta_weight_decay * p
        mean[name] = m = mean[name] + (1 - b1) * (g - mean[name])
        square[name] = s = b2 * square[name] + (1 - b2) * g * g
        spread = s.sqrt() / math.sqrt(1 - b2**t) + options.eps
        phi[name] = p - options.meta_lr / (1 - b1**t) * (m / spread)
    return state._replace(phi=phi, mean=mean, square=square, steps=t)


def rollback(state: State, first: Snapshot, moved: Values, options: Options) -> State:
    """7: theta and v as after the real step; running statistics by policy.

    `moved` are the statistics after the recomputation of step t = 0.
    """
    buffers = moved if options.bn == "official" else first.buffers
    return state._replace(theta=first.theta, momentum=first.momentum, buffers=buffers)


def iteration(
    nets: Networks, state: State, x: Tensor, labels: Tensor, options: Options
) -> tuple[State, Report]:
    """All seven steps as published."""
    both, matching, classifying = objectives(nets, x, labels, options)
    state, real, _ = real_step(both, state, options)
    G, losses, first, moved = _meta_part(matching, classifying, state, options)
    state = meta_step(state, G, options)
    state = rollback(state, first, moved, options)
    assert real.cross_entropy is not None
    assert real.weights is not None
    ce = real.cross_entropy.item()
    losses = {"cross_entropy": ce, "matching": real.loss.item() - ce, **losses}
    weights = real.weights.like([w.detach() for w in real.weights.tensors()])
    return state, Report(losses, weights, G)


def hypergradient(
    nets: Networks, state: State, x: Tensor, labels: Tensor, options: Options
) -> Values:
    """G at theta_0 = state.theta, by steps 2 to 5."""
    _, matching, classifying = objectives(nets, x, labels, options)
    return _meta_part(matching, classifying, state, options)[0]


def _meta_part(
    matching: Objective, classifying: Objective, state: State, options: Options
) -> tuple[Values, dict[str, float], Snapshot, Values]:
    """Steps 2 to 5: G, losses, snapshot 0 and the last statistics."""
    if options.bn == "freeze":
        matching, classifying = _still(matching), _still(classifying)
    inner = options.inner()
    snapshots, virtual = virtual_steps(matching, state, inner)
    after, final = final_step(classifying, snapshots[-1], state.phi, inner)
    a, outer = outer_gradient(classifying, after)
    steps = [matching] * options.T + [classifying]
    G, moved = reverse_sweep(steps, snapshots, a, state.phi, inner)
    losses = {f"virtual_{t}": loss for t, loss in enumerate(virtual)}
    return G, {**losses, "final": final, "outer": outer}, snapshots[0], moved


def _step(
    objective: Objective, at: Snapshot, phi: Values, options: Options
) -> tuple[Pass, Snapshot]:
    result, g, _ = gradients(objective, at, phi)
    theta, v = sgd(at.theta, at.momentum, g, options)
    return result, Snapshot(theta, v, result.buffers)


def _still(objective: Objective) -> Objective:
    """The same loss, leaving the running statistics as they were."""

    def still(theta: Values, buffers: Values, phi: Values) -> Pass:
        return objective(theta, buffers, phi)._replace(buffers=buffers)

    return still


# -- two more ways to the hypergradient ------------------------------------------------


def outer_loss(
    nets: Networks,
    state: State,
    x: Tensor,
    labels: Tensor,
    options: Options,
    phi: Values,
    create_graph: bool = False,
) -> Tensor:
    """F(phi) from theta_0 = state.theta: steps 2 to 4 as one function.

    With create_graph, autograd sees all of it, the gradients in the steps included.
    """
    _, matching, classifying = objectives(nets, x, labels, options)
    theta = leaves(state.theta)
    v = state.momentum
    for objective in [matching] * options.T + [classifying]:
        loss = objective(theta, state.buffers, phi).loss
        g = torch.autograd.grad(
            loss,
            list(theta.values()),
            create_graph=create_graph,
            allow_unused=True,
            materialize_grads=True,
        )
        with torch.set_grad_enabled(create_graph):
            theta, v = sgd(theta, v, dict(zip(theta, g, strict=True)), options.inner())
        theta = theta if create_graph else leaves(theta)
    return classifying(theta, state.buffers, phi).loss


def unrolled(
    nets: Networks, state: State, x: Tensor, labels: Tensor, options: Options
) -> Values:
    """G by PyTorch alone: F with its whole graph, differentiated."""
    phi = leaves(state.phi)
    loss = outer_loss(nets, state, x, labels, options, phi, create_graph=True)
    return _gradient(loss, phi)[0]


def difference(
    nets: Networks,
    state: State,
    x: Tensor,
    labels: Tensor,
    options: Options,
    direction: Values,
    eps: float = 1e-6,
) -> float:
    """<G, direction> as (F(phi + eps d) - F(phi - eps d)) / 2 eps."""

    def value(step: float) -> float:
        phi = {name: p + step * direction[name] for name, p in state.phi.items()}
        return outer_loss(nets, state, x, labels, options, phi).item()

    return (value(eps) - value(-eps)) / (2 * eps)


# -- dicts of tensors ------------------------------------------------------------------


def _gradient(loss: Tensor, *inputs: Values) -> tuple[Values, ...]:
    """Gradient of a scalar in each dict of leaves; 0 for what is not in it."""
    wanted = [leaf for values in inputs for leaf in values.values()]
    found = iter(
        torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    )
    return tuple({name: next(found) for name in values} for values in inputs)


def _copy(values: Values) -> Values:
    return {name: v.detach().clone() for name, v in values.items()}


def leaves(values: Values) -> Values:
    """The same memory, at the beginning of a new graph."""
    return {name: v.detach().requires_grad_() for name, v in values.items()}


def zeros(values: Values) -> Values:
    """As many zeros."""
    return {name: torch.zeros_like(v) for name, v in values.items()}


# -- the rate --------------------------------------------------------------------------


def learning_rate(
    epoch: int, epochs: int = 200, base: float = 0.1, reading: str = "torch-1.0"
) -> float:
    """Rate of an epoch, counted from 0, under the cosine schedule.

        rate_n = base / 2 (1 + cos(pi n / epochs))

    The published code steps its scheduler before each epoch, and what that means
    changed. "torch-1.0", of the paper: epoch e has rate_e; the last of 200 has 6.17e-6.
    "torch-1.1" and later: the scheduler has stepped once already when it is made, so
    epoch e has rate_e+1: the first 0.0999938 and the last 0, which leaves theta as it
    is and makes G exactly 0, while Adam still moves phi by its memory and decay.
    """
    n = epoch + {"torch-1.0": 0, "torch-1.1": 1}[reading]
    return base / 2 * (1 + math.cos(math.pi * n / epochs))
