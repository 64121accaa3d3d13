"""Where PyTorch's derivatives end: ``python -m reference.torch.beyond``.

Each case compares three opinions: tinytl's operation, PyTorch's operation,
and the same function put together in PyTorch from elementary operations.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import tinytl
import tinytl.functional as F


def derivatives(
    function: Callable[[Any], Any], x: Any, grad: Callable[..., Any], order: int
) -> list[np.ndarray]:
    """Gradient of <function(x)^3, 1>, then of each gradient's half squared norm."""
    found = []
    scalar = (function(x) ** 3).sum()
    for k in range(order):
        (g,) = grad(scalar, x, create_graph=k < order - 1)
        found.append(np.asarray(g.detach().numpy()))
        scalar = (g * g).sum() / 2
    return found


def standardised(x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """Batch normalisation in training, by its formula."""
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, relative to the largest value."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def batch_norm() -> list[tuple[float, float]]:
    """Errors of tinytl and of PyTorch against the formula, for orders 1, 2 and 3."""
    data = np.random.default_rng(0).normal(size=(3, 2, 2, 2))
    ours = derivatives(
        lambda x: F.batch_norm(x, None, None, training=True),
        tinytl.Tensor(data, requires_grad=True),
        tinytl.grad,
        3,
    )
    x = torch.tensor(data, requires_grad=True)
    native, formula = (
        derivatives(f, x, torch.autograd.grad, 3)
        for f in (
            lambda t: torch.nn.functional.batch_norm(t, None, None, training=True),
            standardised,
        )
    )
    return [
        (relative(a, c), relative(b, c))
        for a, b, c in zip(ours, native, formula, strict=True)
    ]


def tails() -> list[tuple[str, float, float, float]]:
    """Slopes far out in float32: name, tinytl's, PyTorch's, the true one in float64."""
    rows = []
    for name, point in (("sigmoid", 20.0), ("tanh", 10.0)):
        slopes = []
        x = tinytl.Tensor(np.float32(point), requires_grad=True)
        slopes.append(tinytl.grad(getattr(F, name)(x), x)[0].item())
        for dtype, sign in ((torch.float32, 1), (torch.float64, -1)):
            # at -x sigmoid keeps its digits, and its slope is the same
            where = point * (sign if name == "sigmoid" else 1)
            t = torch.tensor(where, dtype=dtype, requires_grad=True)
            slopes.append(torch.autograd.grad(getattr(torch, name)(t), t)[0].item())
        rows.append((f"{name}'({point:g})", *slopes))
    return rows


def slips() -> list[tuple[str, float, float, float]]:
    """First derivatives in float64: name, tinytl's, PyTorch's, the true one."""
    x, t = (make(1.0) for make in (_ours, _theirs))
    (a,) = tinytl.grad(F.hardsigmoid(x), x)
    (b,) = torch.autograd.grad(torch.nn.functional.hardsigmoid(t), t)
    rows = [("slope of hardsigmoid at 1", a.item(), b.item(), 1 / 6)]
    x, t = (make([1.0, 3.0]) for make in (_ours, _theirs))
    (a,) = tinytl.grad(F.var(x, dim=()), x)
    (b,) = torch.autograd.grad(torch.var(t, dim=()), t)
    rows.append(("d var([1, 3], dim=()) / d 3", a[1].item(), b[1].item(), 2.0))
    return rows


def _ours(values: Any) -> tinytl.Tensor:
    return tinytl.Tensor(np.array(values), requires_grad=True)


def _theirs(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def main() -> None:
    """Print every case."""
    print(f"PyTorch {torch.__version__}, NumPy {np.__version__}")
    print("batch norm in training, error against the formula (relative, float64)")
    print("order      tinytl     PyTorch")
    for order, (ours, theirs) in enumerate(batch_norm(), 1):
        print(f"{order:5} {ours:11.1e} {theirs:11.1e}")
    print("slopes in float32      tinytl     PyTorch        true")
    for name, *slopes in tails():
        print(f"{name:18}" + "".join(f"{s:12.3e}" for s in slopes))
    print("first derivatives in float64: tinytl, PyTorch, true")
    for name, *slopes in slips():
        print(f"{name:28}" + "".join(f"{s:20.15f}" for s in slopes))


if __name__ == "__main__":
    main()
