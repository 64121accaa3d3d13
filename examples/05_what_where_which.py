"""What, where and which to transfer, in a few lines. Takes half a minute.

    python examples/05_what_where_which.py

A network that was pretrained on clothes helps a smaller one to learn digits. The small
one imitates its maps, and meta-networks learn which channels (what, omega), which pairs
of layers (where, lambda) and which pixels (which, gamma) to imitate; a picture shows
what they learned. A pair whose lambda has come to 0 for all images is out for good.
Whether it helps at all: compare with what=False, where=False, which=None and other
seeds, as tinytl/experiments/l2t.py does.
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
from tinytl.transfer import L2T
from tinytl.transfer.training import accuracy

STEPS = 60
PAIRS = [(m, n) for m in range(3) for n in range(3)]  # source block, target block


def prepare(split):
    """Digits as the source network saw clothes: 28 x 28, its mean and deviation."""
    mean, std = channel_statistics(fashion_mnist().images / 255)
    small = digits(split).images.astype(np.float32) / 16
    large = F.interpolate(small, size=28, mode="bilinear").data
    return ((large - mean[0]) / std[0]).astype(np.float32), digits(split).labels


def train(images, labels, rng):
    """A trained L2T, and its lambdas: step by pair, means over the batch."""
    source = ThreeBlocks(40, generator=rng)
    source.load_state_dict(source_weights()[0])
    l2t = L2T(
        source,  # anything with forward_with_features(x) -> (scores, maps)
        ThreeBlocks(10, (8, 16, 32), generator=rng),
        PAIRS,
        which="map",
        image=images.shape[1:],
        lr=0.03,
        meta_lr=0.01,
        generator=rng,
    )
    lambdas = []
    while len(lambdas) < STEPS:
        for index in batches(len(labels), 25, rng):
            report = l2t.step(
                tinytl.Tensor(images[index]), tinytl.Tensor(labels[index])
            )
            lambdas.append([w.lambda_.data.mean() for w in report.weights])
    return l2t, np.array(lambdas)


def draw(l2t, lambdas, images, path):
    """Where: lambda by step. What: omega, sorted. Which: gamma over an image."""
    _, maps = l2t.source.forward_with_features(tinytl.Tensor(images))
    weights = l2t.meta([maps[m] for m, _ in PAIRS])
    figure = Figure(figsize=(9, 3), layout="constrained")
    where, what, which = figure.subplots(1, 3)
    for m, style in enumerate(("-", "--", ":")):
        mine = [k for k, pair in enumerate(PAIRS) if pair[0] == m]
        where.plot(lambdas[:, mine].mean(axis=1), style, label=f"source block {m + 1}")
        omega = weights[mine[0]].omega.data.mean(axis=0)
        what.plot(np.sort(omega * len(omega))[::-1], style)
    where.set(title="where", xlabel="training step", ylabel="λ, mean of three pairs")
    where.legend()
    what.set(title="what", xlabel="channel, sorted", ylabel="C ω for target block 1")
    gamma = F.interpolate(weights[0].gamma, size=28, mode="bilinear").data[0]
    field = np.tensordot(weights[0].omega.data[0], gamma, 1)
    drawn = which.imshow(field, cmap="cividis")
    which.contour(images[0, 0], [images[0, 0].mean()], colors="white")
    which.set(title="which: γ over a digit", xticks=[], yticks=[])
    figure.colorbar(drawn, ax=which)
    figure.savefig(path, dpi=150)


def main():
    """Train, print, draw."""
    began = time.perf_counter()
    rng = np.random.default_rng(0)
    images, labels = prepare("train")
    chosen = few_shot(labels, 5, rng)
    l2t, lambdas = train(images[chosen], labels[chosen], rng)
    share = accuracy(l2t.student.target, *prepare("test"), prepare=np.asarray)
    print(f"accuracy on 797 digits after {len(lambdas)} steps: {100 * share:.1f} %")
    print("lambda, first and last step, by pair (source, target):")
    for (m, n), first, last in zip(PAIRS, lambdas[0], lambdas[-1], strict=True):
        print(f"  ({m + 1}, {n + 1})  {first:.2f} -> {last:.2f}")
    draw(l2t, lambdas, images[chosen[:5]], "05_what_where_which.png")
    print(f"drawn: 05_what_where_which.png, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
