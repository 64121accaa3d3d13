"""Hypergradients: how the result of training depends on what training was told.

Run it: ``python examples/04_hypergradient.py`` (three seconds). Three problems whose
answer can be written down, and ours printed beside it:

1. One parameter, one hyper-parameter, momentum and weight decay, three steps.
2. Ridge regression: how the validation loss depends on the strength of regularisation,
   by going back through T steps and by the implicit function theorem. Then the
   derivative is used: gradient descent on the strength itself.
3. A network, where nothing can be written down: check_hypergradient.
"""

import time

import numpy as np

import tinytl.functional as F
from tinytl import Tensor, nn
from tinytl.bilevel import check_hypergradient, hypergradient

METHODS = ["unrolled", "reverse", "jvp", "finite", "one_step", "first_order"]


def one_parameter() -> None:
    """ell = k/2 (theta - phi)^2, L = theta: dtheta_3/dphi by hand."""
    k, alpha, mu, w = 1.5, 0.2, 0.9, 0.1
    p, s = alpha * (k + w), alpha * k
    by_hand = s * (3 + 2 * mu + mu**2 - 3 * p - 2 * mu * p + p**2)
    print("1. Three steps of SGD on k/2 (theta - phi)^2; wanted: dtheta_3/dphi")
    print(f"   by hand      {by_hand:.15f}")
    for method in METHODS:
        found = hypergradient(
            inner=lambda p, h, t: 0.5 * k * (p[0] - h[0]) ** 2,
            outer=lambda p, h: p[0],
            parameters=[Tensor(np.array(0.3))],
            hyper=[Tensor(np.array(2.0), requires_grad=True)],
            steps=3,
            lr=alpha,
            momentum=mu,
            weight_decay=w,
            method=method,
        )
        print(f"   {method:12} {found.gradients[0].item():.15f}")
    print("   one_step forgets the first two steps, first_order forgets H.")


class Ridge:
    """1/2 mean (X theta - y)^2 + exp(phi)/2 |theta|^2, and a validation loss."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        true = rng.normal(size=8)
        self.x, self.xv = rng.normal(size=(12, 8)), rng.normal(size=(200, 8))
        self.y = self.x @ true + 2 * rng.normal(size=12)
        self.yv = self.xv @ true + 2 * rng.normal(size=200)

    def inner(self, p: list[Tensor], h: list[Tensor], t: int) -> Tensor:
        """Training loss."""
        fit = 0.5 * F.mse_loss(F.matmul(self.x, p[0]), self.y)
        return fit + 0.5 * F.exp(h[0]) * (p[0] * p[0]).sum()

    def outer(self, p: list[Tensor], h: list[Tensor]) -> Tensor:
        """Validation loss."""
        return 0.5 * F.mse_loss(F.matmul(self.xv, p[0]), self.yv)

    def closed_form(self, phi: float) -> tuple[np.ndarray, float, float]:
        """theta*, the derivative of the validation loss there, and the least curvature.

        theta* = A^-1 X'y / n with A = X'X / n + e^phi, so dtheta*/dphi = -e^phi A^-1
        theta*.
        """
        n, strength = len(self.y), np.exp(phi)
        A = self.x.T @ self.x / n + strength * np.eye(8)
        theta = np.linalg.solve(A, self.x.T @ self.y / n)
        slope = self.xv.T @ (self.xv @ theta - self.yv) / len(self.yv)
        derivative = -strength * slope @ np.linalg.solve(A, theta)
        return theta, float(derivative), float(np.linalg.eigvalsh(A)[0])


def ridge_regression() -> None:
    """Through T steps, the derivative tends to that of the solution."""
    ridge, alpha, start = Ridge(), 0.2, -3.0
    theta, expected, least = ridge.closed_form(start)
    phi = Tensor(np.array(start), requires_grad=True)
    print("\n2. Ridge regression: d(validation loss)/d(log strength)")
    print(f"   closed form           {expected:+.10f}")
    for solver in ("cg", "neumann"):
        found = hypergradient(
            ridge.inner,
            ridge.outer,
            [Tensor(theta)],
            [phi],
            steps=0,
            lr=alpha,
            method="implicit",
            solver=solver,
            terms=600,
        )
        products = found.info["products"]
        value = found.gradients[0].item()
        print(f"   implicit, {solver:8}    {value:+.10f}  {products} products with H")
    print("   back through T steps from the solution; the error falls as")
    print(f"   (1 - alpha * least curvature)^T = {1 - alpha * least:.4f}^T")
    for steps in (1, 10, 50, 100, 200):
        found = hypergradient(
            ridge.inner, ridge.outer, [Tensor(theta)], [phi], steps=steps, lr=alpha
        )
        value = found.gradients[0].item()
        error = abs(value - expected)
        print(f"   T = {steps:3}               {value:+.10f}  error {error:.1e}")
    tune(ridge, start)


def tune(ridge: Ridge, log_strength: float) -> None:
    """Gradient descent on the hyper-parameter."""
    print("   gradient descent on the strength:")
    for k in range(17):
        theta, derivative, _ = ridge.closed_form(log_strength)
        phi = Tensor(np.array(log_strength), requires_grad=True)
        found = hypergradient(
            ridge.inner,
            ridge.outer,
            [Tensor(theta)],
            [phi],
            steps=0,
            lr=0.0,
            method="implicit",
        )
        if k in (0, 1, 2, 4, 8, 16):
            print(
                f"   step {k:2}: strength {np.exp(log_strength):.4f}, "
                f"validation loss {found.value:.5f}, derivative {derivative:+.5f}"
            )
        log_strength -= 1.0 * found.gradients[0].item()


def a_network() -> None:
    """Weights of examples, through five steps of a small convolutional network."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, generator=rng),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 3, generator=rng),
    ).double()
    names = [name for name, _ in net.named_parameters()]
    x, labels = Tensor(rng.normal(size=(10, 1, 8, 8))), Tensor(rng.integers(0, 3, 10))

    def losses(p: list[Tensor]) -> Tensor:
        scores = nn.functional_call(net, dict(zip(names, p, strict=True)), x)
        return F.cross_entropy(scores, labels, reduction="none")

    problem = {
        "inner": lambda p, h, t: (F.sigmoid(h[0]) * losses(p)[:7]).mean(),
        "outer": lambda p, h: losses(p)[7:].mean(),
        "parameters": list(net.parameters()),
        "hyper": [Tensor(np.zeros(7), requires_grad=True)],
        "steps": 5,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.01,
    }
    print(
        "\n3. Convolution, batch normalisation, max pooling: weights of seven examples"
    )
    check = check_hypergradient(**problem)
    print("   estimate    " + " ".join(f"{x:+.5f}" for x in check.estimates))
    print("   differences " + " ".join(f"{x:+.5f}" for x in check.differences))
    print(f"   largest error, relative to the largest entry: {check.error:.1e}")


def main() -> None:
    """All three, and the time they took."""
    start = time.perf_counter()
    one_parameter()
    ridge_regression()
    a_network()
    print(f"\n{time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
