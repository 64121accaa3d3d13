r"""Pretrain the source network that transfer starts from.

    OPENBLAS_NUM_THREADS=1 TINYTL_KERNELS=plain \
        python -m tinytl.experiments.pretrain --out FILE

The task. Clothes (Fashion-MNIST) of ten kinds, each turned by 0, 90, 180 or 270
degrees: 40 classes. To name the turn, filters must tell the directions of strokes,
which digits need too; on held-out digits of the training pool this source served better
than the ten kinds alone.

The same seed gives the same weights with the same kernels, BLAS, threads and processor.
"""

import argparse
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from ..nn import BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, ReLU, Sequential, init
from ..optim import SGD, CosineAnnealingLR
from ..persistence import load, load_metadata, save
from ..tensor import Tensor
from .runner import versions
from .training import Tick, accuracy, endless, fashion, train_step

NAME = "three_blocks_fashion_turned"
TURNS = 4


class ThreeBlocks(Module):
    """Three blocks of convolution, norm, ReLU and pooling, and a linear head.

        layer                                   output         parameters
        block1 conv 3x3, p 1; norm; ReLU; pool  16 x 14 x 14      144 +  32
        block2 the same                         32 x  7 x  7    4,608 +  64
        block3 the same                         64 x  3 x  3   18,432 + 128
        fc 576 -> K                             K              577 * K

    29,178 parameters for 10 classes. Convolutions have no bias, since the norm takes it
    away; they start with He's values, the head with Xavier's.

    Args:
        num_classes: K.
        widths: filters of each block; the table is for those of the source network.
        generator: randomness of the initial values.

    Shapes: (N, 1, 28, 28) -> (N, K), scores before softmax.
    """

    def __init__(
        self,
        num_classes: int,
        widths: tuple[int, int, int] = (16, 32, 64),
        *,
        generator: np.random.Generator,
    ):
        super().__init__()
        self.block1 = block(1, widths[0], generator)
        self.block2 = block(widths[0], widths[1], generator)
        self.block3 = block(widths[1], widths[2], generator)
        self.fc = Linear(widths[2] * 3 * 3, num_classes, generator=generator)
        init.xavier_normal_(self.fc.weight, generator=generator)
        assert self.fc.bias is not None
        init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return self.forward_with_features(x)[0]

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores, and what each block puts out."""
        maps = []
        for part in (self.block1, self.block2, self.block3):
            x = part(x)
            maps.append(x)
        return self.fc(x.flatten(1)), maps


def block(channels: int, filters: int, generator: np.random.Generator) -> Sequential:
    """Convolution, norm, ReLU, pooling: (N, C, H, W) -> (N, F, H/2, W/2)."""
    conv = Conv2d(channels, filters, 3, padding=1, bias=False, generator=generator)
    init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
    return Sequential(conv, BatchNorm2d(filters), ReLU(), MaxPool2d(2))


def turned(
    images: np.ndarray, labels: np.ndarray, turns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Images turned by turns[n] times 90 degrees, with the label 4 label + turn.

    images (N, C, H, H), labels and turns (N,); returns new arrays of the same shapes.
    """
    result = np.empty_like(images)
    for turn in range(TURNS):
        here = turns == turn
        result[here] = np.rot90(images[here], turn, axes=(2, 3))
    return result, labels * TURNS + turns


def pretrain(
    seed: int = 0, epochs: int = 12, per_epoch: int = 78, tick: Tick | None = None
) -> tuple[ThreeBlocks, float]:
    """Train the source network; returns it and its accuracy on upright test clothes.

    SGD with momentum 0.9, weight decay 1e-4, batches of 64, rate 0.05 falling to 0
    along half a cosine.
    """
    rng = np.random.default_rng(seed)
    model = ThreeBlocks(10 * TURNS, generator=rng)
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    schedule = CosineAnnealingLR(optimizer, T_max=epochs * per_epoch)
    clothes, test = fashion("train"), fashion("test")
    order = endless(len(clothes), 64, rng)
    for _ in range(epochs * per_epoch):
        index = next(order)
        turns = rng.integers(0, TURNS, len(index))
        images, labels = turned(clothes.images[index], clothes.labels[index], turns)
        loss = train_step(model, optimizer, images, labels)
        schedule.step()
        if tick is not None:
            tick(loss)
    return model, accuracy(model, test.images, test.labels * TURNS)


def weights_path() -> Path:
    """Where the weights that come with the package are."""
    return Path(str(files("tinytl.models").joinpath("weights", f"{NAME}.safetensors")))


def source_weights() -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights that come with the package, and where they come from.

    Raises:
        FileNotFoundError: they are not there; the message says how to make them.
    """
    path = weights_path()
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; make it: python -m tinytl.experiments.pretrain "
            f"--out {path}"
        )
    return load(path), load_metadata(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and write the weights with where they come from."""
    parser = argparse.ArgumentParser(
        prog="python -m tinytl.experiments.pretrain",
        description="Train the source network of the transfer experiment (a minute).",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps-per-epoch", type=int, default=78)
    options = parser.parse_args(argv)
    losses: list[float] = []

    def tick(loss: float) -> None:
        losses.append(loss)
        if len(losses) % options.steps_per_epoch == 0:
            epoch = len(losses) // options.steps_per_epoch
            mean = float(np.mean(losses[-options.steps_per_epoch :]))
            print(f"epoch {epoch}/{options.epochs}  loss {mean:.3f}", flush=True)

    model, score = pretrain(options.seed, options.epochs, options.steps_per_epoch, tick)
    known = versions()
    metadata = {
        "command": f"python -m tinytl.experiments.pretrain --seed {options.seed} "
        f"--epochs {options.epochs} --steps-per-epoch {options.steps_per_epoch}",
        "network": "tinytl.experiments.pretrain.ThreeBlocks(40)",
        "data": "Fashion-MNIST, bundled subset, 5,000 training images, four turns",
        "seed": str(options.seed),
        "accuracy": f"{score:.3f} on 1,000 upright test images, among 40 classes",
        "versions": f"tinytl {known['tinytl']}, NumPy {known['numpy']}, "
        f"kernels {known['kernels']}, "
        f"OPENBLAS_NUM_THREADS {os.environ.get('OPENBLAS_NUM_THREADS', 'not set')}",
    }
    save(model.state_dict(), options.out, metadata)
    print(f"{options.out}: accuracy {metadata['accuracy']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
