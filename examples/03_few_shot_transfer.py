"""Digits from five labelled images each, with and without help. Takes 10 seconds.

    python examples/03_few_shot_transfer.py

A network that was pretrained on clothes (its weights come with the package) gets a new
head and learns digits, against the same network from scratch: the same images, the same
head, the same order, three times. More arms and runs: tinytl/experiments/transfer.py.
"""

import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are small

import numpy as np
from matplotlib.figure import Figure

import tinytl
from tinytl import functional as F
from tinytl.data import batches, channel_statistics, digits, fashion_mnist, few_shot
from tinytl.experiments.pretrain import ThreeBlocks, source_weights
from tinytl.optim import SGD

STEPS, POINTS, RUNS = 40, (5, 10, 20, 40), 3


def prepare(split):
    """Digits as the source network saw clothes: 28 x 28, its mean and deviation."""
    mean, std = channel_statistics(fashion_mnist().images / 255)
    small = digits(split).images.astype(np.float32) / 16
    large = F.interpolate(small, size=28, mode="bilinear").data
    return ((large - mean[0]) / std[0]).astype(np.float32), digits(split).labels


def accuracy(model, images, labels):
    """Share of right answers, with the running statistics of batch norm."""
    model.eval()
    with tinytl.no_grad():
        right = model(tinytl.Tensor(images)).data.argmax(axis=1) == labels
    model.train()
    return right.mean()


def run(pretrained, seed, train, test):
    """Test accuracy after each of the POINTS, for one subset and one head."""
    chosen = few_shot(train[1], 5, np.random.default_rng([seed, 1]))
    images, labels = train[0][chosen], train[1][chosen]
    model = ThreeBlocks(10, generator=np.random.default_rng([seed, 2]))
    slow = 1.0
    if pretrained:
        state, _ = source_weights()
        blocks = {name: w for name, w in state.items() if name.startswith("block")}
        model.load_state_dict(blocks, strict=False)  # everything but the head
        slow = 0.1
    blocks = [model.block1, model.block2, model.block3]
    body = [p for block in blocks for p in block.parameters()]
    head = list(model.fc.parameters())
    groups = [{"params": body, "lr": 0.03 * slow}, {"params": head, "lr": 0.03}]
    optimizer = SGD(groups, momentum=0.9, weight_decay=1e-4)
    rng, step, curve = np.random.default_rng([seed, 3]), 0, []
    while step < STEPS:
        for index in batches(len(labels), 25, rng):
            loss = F.cross_entropy(model(tinytl.Tensor(images[index])), labels[index])
            optimizer.step(tinytl.grad(loss, [*body, *head]))
            step += 1
            if step in POINTS:
                curve.append(accuracy(model, *test))
    return curve


def main():
    """Train, print, draw."""
    began = time.perf_counter()
    train, test = prepare("train"), prepare("test")
    figure = Figure(figsize=(4.8, 3.2), layout="constrained")
    axis = figure.subplots()
    print(f"accuracy on 797 digits after {POINTS} steps, mean of {RUNS} runs")
    arms = {"from scratch": (False, "o-"), "pretrained on clothes": (True, "s--")}
    for name, (pretrained, style) in arms.items():
        curves = 100 * np.array([run(pretrained, k, train, test) for k in range(RUNS)])
        print(f"{name:<22}", *(f"{value:5.1f} %" for value in curves.mean(axis=0)))
        axis.plot(POINTS, curves.mean(axis=0), style, label=f"{name}, mean")
        axis.plot(POINTS, curves.T, ".", color=axis.lines[-1].get_color(), alpha=0.4)
    axis.set(xlabel="training step", ylabel="test accuracy (%)", ylim=(0, 100))
    axis.legend()
    figure.savefig("03_few_shot_transfer.png", dpi=150)
    print(f"drawn: 03_few_shot_transfer.png, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
