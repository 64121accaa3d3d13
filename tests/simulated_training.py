"""Train a small CNN in Numba's simulator of a GPU and on the CPU, and compare.

Imported by ``test_device.py`` in a process of its own, because Numba decides when it is
imported whether it simulates, after the stand-in for CuPy has taken its place.
"""

import numpy as np
import standin
from training import sgd_and_cosine

import tinytl
import tinytl.functional as F
from tinytl import Tensor, nn


def network(dtype):
    """Convolution, norm, pooling and a dropout, 6 x 6 pixels, three classes."""
    rng = np.random.default_rng(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, generator=rng, dtype=dtype),
        nn.BatchNorm2d(3, dtype=dtype),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 2, generator=rng, dtype=dtype),
        nn.Softplus(),
        nn.Flatten(),
        nn.Dropout(0.25, generator=rng),
        nn.Linear(16, 3, generator=rng, dtype=dtype),
    )


def train(device, dtype, steps=3):
    """Losses, and all parameters and buffers afterwards; and how often it waited."""
    model = network(dtype).to(device)
    optimizer, _ = sgd_and_cosine(model.parameters())
    draw = np.random.default_rng(1)
    before, losses = standin.waits.count, []
    for _ in range(steps):
        x = Tensor(draw.standard_normal((5, 1, 6, 6)).astype(dtype)).to(device)
        labels = Tensor(draw.integers(0, 3, 5)).to(device)
        loss = F.cross_entropy(model(x), labels)
        optimizer.step(tinytl.grad(loss, list(model.parameters())))
        losses.append(loss)
    waits = standin.waits.count - before
    state = [x.cpu().numpy() for x in model.state_dict().values()]
    return [loss.item() for loss in losses], state, waits


for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
    (a, here, _), (b, there, waits) = (train(d, dtype) for d in ("cpu", "cuda"))
    assert waits == 0
    np.testing.assert_allclose(a, b, rtol=tolerance)
    for x, y in zip(here, there, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)
print("equal after", len(a), "steps")
