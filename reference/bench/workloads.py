"""What is timed. Each network is one function, called with either library's functional.

The names and arguments are the same on both sides, so the same lines are the tinytl
network and its PyTorch twin; the numbers they start from are the same arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Workload:
    """A training step: loss and gradients of all parameters for one batch."""

    name: str
    loss: Callable[
        [Any, Any, Any, list[Any]], Any
    ]  # (functional, x, labels, parameters)
    image: tuple[int, int, int]
    parameters: tuple[tuple[int, ...], ...]


def lenet5(F: Any, x: Any, labels: Any, p: list[Any]) -> Any:
    """LeNet-5 with ReLU and average pooling, full second convolution."""
    h = F.avg_pool2d(F.relu(F.conv2d(x, p[0], p[1])), 2)
    h = F.avg_pool2d(F.relu(F.conv2d(h, p[2], p[3])), 2)
    h = h.flatten(1)
    h = F.relu(F.linear(h, p[4], p[5]))
    h = F.relu(F.linear(h, p[6], p[7]))
    return F.cross_entropy(F.linear(h, p[8], p[9]), labels)


def three_layer_cnn(F: Any, x: Any, labels: Any, p: list[Any]) -> Any:
    """The lectures' three convolutions: 32, 64 and 64 filters of 3 x 3."""
    h = F.max_pool2d(F.relu(F.conv2d(x, p[0], p[1], padding=1)), 2)
    h = F.max_pool2d(F.relu(F.conv2d(h, p[2], p[3])), 2)
    h = F.relu(F.conv2d(h, p[4], p[5]))
    return F.cross_entropy(F.linear(h.flatten(1), p[6], p[7]), labels)


WORKLOADS = {
    "lenet5": Workload(
        "LeNet-5, 3x32x32",
        lenet5,
        (3, 32, 32),
        (
            *((6, 3, 5, 5), (6,), (16, 6, 5, 5), (16,)),
            *((120, 400), (120,), (84, 120), (84,), (10, 84), (10,)),
        ),
    ),
    "three_layer_cnn": Workload(
        "3-layer CNN, 3x32x32",
        three_layer_cnn,
        (3, 32, 32),
        (
            *((32, 3, 3, 3), (32,), (64, 32, 3, 3), (64,), (64, 64, 3, 3), (64,)),
            *((10, 64 * 5 * 5), (10,)),
        ),
    ),
}


def arrays(
    workload: Workload, batch: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Images, labels and He-normal parameters, float32, from one seed."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, *workload.image), dtype=np.float32)
    labels = rng.integers(0, 10, batch)
    parameters = []
    for shape in workload.parameters:
        fan_in = max(int(np.prod(shape[1:])), 1)
        std = np.sqrt(2 / fan_in) if len(shape) > 1 else 0.0
        parameters.append(std * rng.standard_normal(shape, dtype=np.float32))
    return x, labels, [p.astype(np.float32) for p in parameters]


def stepper(side: str, workload: Workload, batch: int) -> Callable[[], Any]:
    """A function that does one step on one side and returns the first gradient."""
    x, labels, parameters = arrays(workload, batch)
    if side == "tinytl":
        import tinytl

        tx, tl = tinytl.Tensor(x), tinytl.Tensor(labels)
        tp = [tinytl.Tensor(p, requires_grad=True) for p in parameters]
        F = tinytl.functional
        return lambda: tinytl.grad(workload.loss(F, tx, tl, tp), tp)[0].numpy()
    import torch

    sx, sl = torch.from_numpy(x), torch.from_numpy(labels)
    sp = [torch.from_numpy(p).requires_grad_() for p in parameters]
    G = torch.nn.functional
    return lambda: torch.autograd.grad(workload.loss(G, sx, sl, sp), sp)[0].numpy()
