"""What the experiments share: one step of training, batches, accuracy."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from .. import functional as F
from ..data import (
    ImageSet,
    batches,
    channel_statistics,
    digits,
    fashion_mnist,
    standardise,
)
from ..nn import Module
from ..optim import Optimizer
from ..tensor import Tensor, grad
from ..transfer import training as transfer

Tick = Callable[[float], None]
"""Called after each step with its loss: the progress bar."""


def train_step(
    model: Module, optimizer: Optimizer, images: np.ndarray, labels: np.ndarray
) -> float:
    """``descend``, and the loss as a number: on a GPU, reading it waits."""
    return float(descend(model, optimizer, images, labels).item())


def descend(
    model: Module, optimizer: Optimizer, images: np.ndarray, labels: np.ndarray
) -> Tensor:
    """One step down the gradient of the cross-entropy of a batch; returns that loss.

    Only what the optimiser holds is differentiated for and moved. The batch goes to
    where the model is; nothing waits for a GPU.

    Args:
        model: (N, C, H, W) -> scores (N, K).
        optimizer: of some or all of its parameters.
        images: (N, C, H, W) float32.
        labels: (N,) int64.
    """
    first = next(model.parameters())
    x = Tensor(images.astype(first.dtype, copy=False)).to(first.device)
    loss = F.cross_entropy(model(x), Tensor(labels).to(first.device))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.step(grad(loss, parameters))
    return loss.detach()


def accuracy(
    model: Module, images: np.ndarray, labels: np.ndarray, batch_size: int = 250
) -> float:
    """Share of standardised images that get their label, in [0, 1]; in eval mode."""
    dtype = next(model.parameters()).dtype

    def converted(batch: np.ndarray) -> np.ndarray:
        return batch.astype(dtype, copy=False)

    return transfer.accuracy(model, images, labels, batch_size, converted)


def endless(
    n: int, batch_size: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Index arrays of `batch_size`, epoch after epoch, reshuffled at each.

    What remains of an epoch is left out, unless it is all there is.
    """
    if n < batch_size:
        raise ValueError(f"endless: {n} images are no batch of {batch_size}")
    while True:
        yield from batches(n, batch_size, generator, drop_last=True)


def digits_of_size(
    split: str, size: int, mean: float | None = None, std: float | None = None
) -> ImageSet:
    """The bundled digits, brought to size x size pixels by bilinear interpolation.

    Pixels are in [0, 1] before they are standardised, by `mean` and `std` or else by
    those of the training digits.
    """
    whole = digits("train").images / np.float32(16)
    images = digits(split)
    large = F.interpolate(images.images / np.float32(16), size, mode="bilinear")
    centre = float(whole.mean()) if mean is None else mean
    scale = float(whole.std()) if std is None else std
    return replace(images, images=standardise(large.numpy(), centre, scale))


def fashion(split: str) -> ImageSet:
    """The bundled clothes, standardised with the training images' mean and std."""
    mean, std = channel_statistics(fashion_mnist("train").images)
    images = fashion_mnist(split)
    return replace(images, images=standardise(images.images, mean, std))
