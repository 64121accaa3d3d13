r"""Estimator "unrolled": exact, by recording every step; memory grows with T.

The T steps

    v_{t+1} = mu v_t + grad ell_t(theta_t, phi) + w theta_t,
    theta_{t+1} = theta_t - alpha_t v_{t+1}

are Tensor operations like any other, and grad ell_t is recorded too (``create_graph``).
So theta_T is a recorded function of phi, through momentum and weight decay as well, and
F = L(theta_T, phi) has a gradient. The walk back through that graph does exactly what
the recursion of ``recursion.py`` says, without anybody having derived it: the two
derivations test each other.

Cost, with c for one gradient of ell: T c, and about 2 c a step on the way back. Memory:
the graphs of all steps, gradients included, at once.
"""

from .problem import (
    Hypergradient,
    Problem,
    differentiate,
    leaves,
    result,
)


def unrolled(problem: Problem) -> Hypergradient:
    """Exact hypergradient from the recorded steps; no options."""
    theta, v = leaves(problem.theta), problem.v
    losses = []
    for t in range(problem.steps):
        loss = problem.ell(theta, t)
        g, _ = differentiate(f"inner at t = {t}", loss, theta, create_graph=True)
        theta, v = problem.step(theta, v, g, t)
        losses.append(loss.detach())
    outer = problem.outer_loss(theta)
    _, gradients = differentiate("outer", outer, theta, problem.phi)
    return result(problem, gradients, outer, (theta, v), losses)
