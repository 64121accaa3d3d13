"""What an initialisation does to a signal in 30 layers. Takes about 5 seconds.

    python examples/02_signal.py

Each layer multiplies the standard deviation of the signal by sqrt(n Var(w) / 2): by 1
with He's rule, by 0.71 with Xavier's. Printed beside it: what a network really does,
and what that means for learning. More in tinytl/experiments/signal.py.
"""

import math
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are small

import numpy as np
from matplotlib.figure import Figure

import tinytl
from tinytl import functional as F
from tinytl import nn
from tinytl.data import fashion_mnist
from tinytl.optim import SGD

DEPTH, WIDTH = 30, 128
RULES = {"He": 2 / WIDTH, "Xavier": 2 / (WIDTH + WIDTH), "N(0, 0.01^2)": 0.01**2}


def make_weights(variance, rng):
    """30 weights of one variance, and a head; all of them Parameters."""
    shapes = [(WIDTH, 784), *[(WIDTH, WIDTH)] * (DEPTH - 1), (10, WIDTH)]
    scale = [math.sqrt(variance * WIDTH / shape[1]) for shape in shapes]
    draws = [rng.normal(0, s, shape) for s, shape in zip(scale, shapes, strict=True)]
    return [nn.Parameter(draw.astype(np.float32)) for draw in draws]


def forward(weights, x):
    """Scores, and the signal before every ReLU."""
    signals = []
    for weight in weights[:-1]:
        signals.append(F.linear(x, weight))
        x = F.relu(signals[-1])
    return F.linear(x, weights[-1]), signals


def train(weights, images, labels, rng, steps=150):
    """The loss at every step."""
    optimizer = SGD(weights, lr=0.005, momentum=0.9)
    losses = []
    for _ in range(steps):
        index = rng.integers(0, len(images), 64)
        scores, _ = forward(weights, tinytl.Tensor(images[index]))
        loss = F.cross_entropy(scores, labels[index])
        optimizer.step(tinytl.grad(loss, weights))
        losses.append(loss.item())
    return losses


def main():
    """Train, print, draw."""
    began = time.perf_counter()
    clothes = fashion_mnist()
    images = clothes.images.reshape(len(clothes), -1).astype(np.float32)
    images = (images - images.mean()) / images.std()
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, variance), style in zip(RULES.items(), ("o-", "s--", "D:"), strict=True):
        rng = np.random.default_rng(0)
        weights = make_weights(variance, rng)
        with tinytl.no_grad():
            _, signals = forward(weights, tinytl.Tensor(images[:256]))
        sizes = [float(np.sqrt((z.data.astype(float) ** 2).mean())) for z in signals]
        predicted = sizes[0] * math.sqrt(WIDTH * variance / 2) ** (DEPTH - 1)
        losses = train(weights, images, clothes.labels, rng)
        print(
            f"{name:<13} signal in layer 30: {sizes[-1]:.1e} "
            f"(predicted {predicted:.1e}), "
            f"loss {np.mean(losses[:10]):.2f} -> {np.mean(losses[-10:]):.2f}"
        )
        left.semilogy(range(1, DEPTH + 1), sizes, style, markersize=3, label=name)
        right.plot(losses, style, markevery=30, markersize=3, linewidth=1)
    left.set(xlabel="layer", ylabel="standard deviation of the signal")
    right.set(xlabel="training step", ylabel="cross-entropy (nats)", ylim=(0, 4))
    left.legend()
    figure.savefig("02_signal.png", dpi=150)
    print(f"drawn: 02_signal.png, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
