"""Filters that start equal stay equal. Takes about 5 seconds.

    python examples/01_collapse.py

A network of three convolutions learns digits, once from He's random filters, once from
equal ones under a random head. Printed: the largest difference between two filters of
each layer. Why it stays 0 in the first two layers: tinytl/experiments/collapse.py.
"""

import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are small

import numpy as np
from matplotlib.figure import Figure

import tinytl
from tinytl import functional as F
from tinytl import nn
from tinytl.data import batches, digits
from tinytl.models import Custom3Layer
from tinytl.optim import SGD

LAYERS = ("conv1", "conv2", "conv3")


def initialise(model, equal, rng):
    """He's values; or one kernel for all filters of a layer, and biases 1."""
    for layer in (getattr(model, name) for name in LAYERS):
        if equal:
            nn.init.identical_filters_(layer.weight, generator=rng)
            layer.weight.data = layer.weight.data / np.sqrt(layer.weight.shape[1])
            nn.init.ones_(layer.bias)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=rng)
    round_to_float32(model)


def round_to_float32(model):
    """Throw away the digits in which sums taken in different orders differ."""
    for p in model.parameters():
        p.data = p.data.astype(np.float32).astype(np.float64)


def spread(layer):
    """max over filters f, g and weights j of |w[f, j] - w[g, j]|."""
    rows = layer.weight.data.reshape(len(layer.weight), -1)
    return (rows.max(axis=0) - rows.min(axis=0)).max()


def train(equal, lr, steps=60, seed=0):
    """Spread of each layer after every step: (steps, 3)."""
    rng = np.random.default_rng(seed)
    images = F.interpolate(digits().images / 16.0, size=16, mode="bilinear").data
    labels = digits().labels
    model = Custom3Layer(10, in_channels=1, image_size=16, generator=rng).double()
    initialise(model, equal, rng)
    optimizer = SGD(model.parameters(), lr=lr, momentum=0.9)
    spreads = []
    while len(spreads) < steps:
        for index in batches(len(images), 32, rng, drop_last=True):
            scores = model(tinytl.Tensor(images[index] - images.mean()))
            loss = F.cross_entropy(scores, labels[index])
            optimizer.step(tinytl.grad(loss, list(model.parameters())))
            round_to_float32(model)
            spreads.append([spread(getattr(model, name)) for name in LAYERS])
    return np.array(spreads[:steps])


def main():
    """Train, print, draw."""
    began = time.perf_counter()
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    runs = {"He": (False, 0.02), "equal filters, random head": (True, 0.0005)}
    for axis, (name, (equal, lr)) in zip(axes, runs.items(), strict=True):
        spreads = train(equal, lr)
        print(
            f"{name:<28}",
            *(f"{a}: {s:.3g}" for a, s in zip(LAYERS, spreads[-1], strict=True)),
        )
        for k, dashes in enumerate(("-", "--", ":")):
            axis.plot(spreads[:, k], dashes, label=LAYERS[k], linewidth=2.5 - 0.5 * k)
        axis.set(title=name, xlabel="training step", yscale="symlog", ylim=(-1e-3, 10))
        axis.set_yscale("symlog", linthresh=1e-3)
    axes[0].set_ylabel("spread between filters")
    axes[0].legend()
    figure.savefig("01_collapse.png", dpi=150)
    print(f"drawn: 01_collapse.png, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
