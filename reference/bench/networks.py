"""Rows that are whole networks: training steps, single images, sweeps."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .workloads import Build, Row, Step, he, normal

SGD = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
VGG9_FLOPS, RESNET32_FLOPS = 2 * 152.8e6, 2 * 69.1e6  # forward, an image of 32 x 32
LENET5 = (
    *((6, 3, 5, 5), (6,), (16, 6, 5, 5), (16,)),
    *((120, 400), (120,), (84, 120), (84,), (10, 84), (10,)),
)
# Among millions of values in front of a ReLU a few are 0 but for rounding, and pass or
# not by chance: then even PyTorch's two memory orders differ by 1 % in some gradients.
BY_CHANCE = 0.05
BATCHES = (1, 4, 16, 32, 64, 128, 256, 512)
DEPTHS = (4, 8, 16, 32)


def lenet5(F: Any, x: Any, p: Sequence[Any]) -> Any:
    """LeNet-5 with ReLU and average pooling, full second convolution; scores."""
    h = F.avg_pool2d(F.relu(F.conv2d(x, p[0], p[1])), 2)
    h = F.avg_pool2d(F.relu(F.conv2d(h, p[2], p[3])), 2)
    h = F.relu(F.linear(h.flatten(1), p[4], p[5]))
    h = F.relu(F.linear(h, p[6], p[7]))
    return F.linear(h, p[8], p[9])


def plain_net(F: Any, x: Any, p: Sequence[Any]) -> Any:
    """3 x 3 convolutions in a row, each with ReLU, and a linear layer; scores."""
    for w in p[:-1]:
        x = F.relu(F.conv2d(x, w, None, padding=1))
    return F.linear(x.mean((2, 3)), p[-1])


def module(name: str, side: Any) -> Any:
    """VGG9, ResNet-32 or another of the two libraries' twins, same values in both."""
    if side.library.__name__ == "tinytl":
        from tinytl import models

        net = {"VGG9": models.VGG9, "ResNet-32": models.resnet32}[name](10)
    else:
        from reference.torch import networks

        net = {"VGG9": networks.vgg9, "ResNet-32": networks.resnet32}[name](10)
        net = net.to(memory_format=side.order)
    fill(net)
    return net


def fill(net: Any, gain: float = 1.0) -> None:
    """Values by place: He-normal weights, norms near 1, biases near 0."""
    for k, (name, p) in enumerate(net.named_parameters()):
        shape = tuple(p.shape)
        if len(shape) > 1:
            value = gain * he(k, *shape)
        else:
            value = normal(k, *shape, scale=0.1) + name.endswith(".weight")
        assign(p, value.astype(np.float32))


def assign(parameter: Any, value: np.ndarray) -> None:
    """Give a parameter of either library its value."""
    value = value.reshape(parameter.shape)
    if isinstance(parameter.data, np.ndarray):
        parameter.data = value
    else:
        import torch

        parameter.data.copy_(torch.from_numpy(value))


def batch_of(side: Any, n: int) -> tuple[Any, Any]:
    """Images of 3 x 32 x 32 and labels of 10 classes."""
    labels = np.random.default_rng(1).integers(0, 10, n)
    return side.tensor(normal(0, n, 3, 32, 32)), side.tensor(labels)


def training(network: str) -> Build:
    """Loss, all gradients, and a step of SGD with momentum and weight decay."""

    def build(side: Any, batch: int) -> Step:
        x, labels = batch_of(side, batch)
        forward, parameters = functional(network, side)
        update = side.optimiser(parameters, **SGD)

        def step() -> Sequence[Any]:
            loss = side.F.cross_entropy(forward(x), labels)
            gradients = side.grad(loss, parameters)
            update(gradients)
            return (loss, *gradients)

        return step

    return build


def functional(network: str, side: Any) -> tuple[Callable[[Any], Any], list[Any]]:
    """Scores as a function of the images, and the parameters."""
    if network in ("VGG9", "ResNet-32"):
        net = module(network, side)
        return net, list(net.parameters())
    if network == "LeNet-5":
        shapes, forward = LENET5, lenet5
    else:  # plain, so many layers deep
        deep = (*[(32, 32, 3, 3)] * (int(network) - 1), (10, 32))
        shapes, forward = ((32, 3, 3, 3), *deep), plain_net
    values = [
        he(k, *s) if len(s) > 1 else normal(k, *s, scale=0.1)
        for k, s in enumerate(shapes)
    ]
    parameters = [side.filters(value, True) for value in values]
    return lambda x: forward(side.F, x, parameters), parameters


def scores(network: str) -> Build:
    """Scores in evaluation mode, nothing recorded."""

    def build(side: Any, batch: int) -> Step:
        x, _ = batch_of(side, batch)
        forward, _ = functional(network, side)
        if hasattr(forward, "eval"):
            forward.eval()

        def step() -> Sequence[Any]:
            with side.no_grad():
                return (forward(x),)

        return step

    return build


def flops(network: str, batch: int) -> float:
    """Of a training step: three times the forward's convolutions and linear layers."""
    if network == "LeNet-5":
        pixels = (28**2, 0, 10**2, 0, 1, 0, 1, 0, 1, 0)
        sizes = zip(map(math.prod, LENET5), pixels, strict=True)
        return 6.0 * batch * sum(size * n for size, n in sizes)
    return 3.0 * batch * {"VGG9": VGG9_FLOPS, "ResNet-32": RESNET32_FLOPS}[network]


def rows() -> list[Row]:
    """Training steps at batch 128; scores and training steps of a single image."""
    steps = [
        Row(
            "training step",
            name,
            training(name),
            flops=flops(name, 128),
            seconds=seconds,
            allowed=BY_CHANCE,
        )
        for name, seconds in (("LeNet-5", 4.0), ("VGG9", 15.0), ("ResNet-32", 12.0))
    ]
    single = [
        Row(
            "single image",
            f"{name}, forward",
            scores(name),
            batch=1,
            flops=flops(name, 1) / 3,
            seconds=2.0,
        )
        for name in ("LeNet-5", "VGG9", "ResNet-32")
    ]
    single += [
        Row(
            "single image",
            f"{name}, training step",
            training(name),
            batch=1,
            flops=flops(name, 1),
            seconds=2.0,
            allowed=BY_CHANCE,
        )
        for name in ("LeNet-5", "VGG9", "ResNet-32")
    ]
    return [*steps, *single]


def sweep() -> list[Row]:
    """Time and memory against the batch, and against the depth."""
    batches = [
        Row(
            f"sweep {network}",
            str(n),
            training(network),
            batch=n,
            flops=flops(network, n),
            allowed=BY_CHANCE,
        )
        for network in ("LeNet-5", "VGG9")
        for n in BATCHES
    ]
    depths = [
        Row("sweep depth", str(n), training(str(n)), batch=32, allowed=BY_CHANCE)
        for n in DEPTHS
    ]
    return [*batches, *depths]
