r"""Collapse: filters that start equal stay equal, however long they are trained.

What is computed. The network of three convolutions (``Custom3Layer``) is trained on
digits from five different initial values. After every step, for each of its layers,

    spread = max over filters f, g and weights j of |w[f, j] - w[g, j]|
           = max over j of (max_f w[f, j] - min_f w[f, j])

with the bias as one more weight: 0 if and only if all filters of the layer are equal.

Why equal filters stay equal. Let the units of layers l and l + 1 be equal within their
layers, weights and biases. With x the layer's input and d the gradient at its output,

    dL/dw_l[k, j] = sum over images and places of d_l[k] x_l[j].

All x_l[j] are equal over j, being outputs of equal units. All d_l[k] are equal over k
if the weights w_{l+1}[., k] on the way out are. So the gradient has equal rows and
columns, and after the step weights are equal again. By induction it goes on for ever.

The argument for layer l needs the layer above it to be symmetric *over its inputs*. The
head is the layer above conv3. If its weights are random, conv3's filters get different
gradients and part at the first step; conv1 and conv2 have conv3 above, whose
filters all see the *same* sum over equal inputs and stay symmetric over them, and so
never part. If the head is symmetric too, no layer ever gets free.

Biases of 1 keep the equal filters from dying: with ReLU, a negative output of one is a
negative output of all. The kernel drawn is divided by the number of input channels,
since equal inputs add up (C w x, where independent ones would give sqrt(C) w x).

Exactly 0? Yes, in exact arithmetic. A computer's matrix product adds up the terms of
different filters in different orders, so their last digits differ. Here weights are
float32, and everything between two updates is computed in float64: what differs is the
16th digit, and rounding the updated weights to float32 removes it. In float32
throughout, the spread of conv1 and conv2 is not 0 but 1e-8 to 1e-7.
"""

import math
from typing import Any

import numpy as np

from ..models import Custom3Layer
from ..nn import Conv2d, Linear, Module, init
from ..optim import SGD
from .runner import Cell, Result, Settings, number
from .training import Tick, accuracy, digits_of_size, endless, train_step

LAYERS = ("conv1", "conv2", "conv3")
ARMS = {
    "equal": "equal filters, random head",
    "equal-all": "equal filters, symmetric head",
    "he": "He",
    "xavier": "Xavier",
    "small": "N(0, 0.01²)",
}
DEFAULTS: Settings = {
    "steps": 120,
    "batch_size": 32,
    "lr": 0.02,
    "lr_equal": 0.0005,
    "momentum": 0.9,
    "size": 16,
}


def cells(seed: int = 0, seeds: int = 1, **changes: Any) -> list[Cell]:
    """One cell an arm. A single seed: the claim is exact, not one about averages."""
    settings = {**DEFAULTS, **changes}
    return [
        Cell("collapse", arm, {"arm": arm, "seed": seed, **settings}, settings["steps"])
        for arm in ARMS
    ]


def compute(settings: Settings, tick: Tick) -> Result:
    """Train one arm.

    Returns spread (one list a layer, steps + 1 numbers), loss (steps), accuracy on test
    images, and conv1's filters before and after (32, 3, 3).
    """
    rng = np.random.default_rng([settings["seed"], 1])
    model = initial_network(settings["arm"], settings["size"], rng).double()
    train, test = (digits_of_size(part, settings["size"]) for part in ("train", "test"))
    rate = "lr_equal" if settings["arm"].startswith("equal") else "lr"
    optimizer = SGD(
        model.parameters(), lr=settings[rate], momentum=settings["momentum"]
    )
    before = model.conv1.weight.data[:, 0]
    spreads, losses = [spread_by_layer(model)], []
    order = endless(len(train), settings["batch_size"], rng)
    for _ in range(settings["steps"]):
        index = next(order)
        loss = train_step(model, optimizer, train.images[index], train.labels[index])
        round_to_float32_(model)
        spreads.append(spread_by_layer(model))
        losses.append(number(loss))
        tick(loss)
    return {
        "spread": [list(layer) for layer in zip(*spreads, strict=True)],
        "loss": losses,
        "accuracy": accuracy(model, test.images, test.labels),
        "conv1_before": before.tolist(),
        "conv1_after": model.conv1.weight.data[:, 0].tolist(),
    }


def initial_network(
    arm: str, size: int, generator: np.random.Generator
) -> Custom3Layer:
    """The network with one arm's initial values.

    Raises ValueError for an unknown arm.
    """
    if arm not in ARMS:
        raise ValueError(f"initial_network: arm = {arm!r}; there are {list(ARMS)}")
    model = Custom3Layer(10, in_channels=1, image_size=size, generator=generator)
    for layer in (model.conv1, model.conv2, model.conv3):
        assert layer.bias is not None
        if arm.startswith("equal"):
            init.identical_filters_(layer.weight, generator=generator)
            channels = layer.weight.shape[1]
            layer.weight.data = layer.weight.data / np.float32(math.sqrt(channels))
            init.ones_(layer.bias)
        else:
            _random_(layer, arm, generator)
    _random_(model.fc, arm, generator)
    if arm == "equal-all":
        make_symmetric_(model.fc, units=model.conv3.weight.shape[0])
    return model


def _random_(layer: Conv2d | Linear, arm: str, generator: np.random.Generator) -> None:
    if arm == "small":
        init.normal_(layer.weight, 0.0, 0.01, generator)
    elif arm == "he":
        init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    else:
        init.xavier_normal_(layer.weight, generator=generator)
    assert layer.bias is not None
    init.zeros_(layer.bias)


def make_symmetric_(head: Linear, units: int) -> None:
    """Give the head the same weights for every unit of the layer below.

    Weights (K, units * places) are read as (K, units, places); those of the first unit
    go to all, divided by sqrt(units) as in the other layers.
    """
    weight = head.weight.data.reshape(len(head.weight), units, -1)
    first = weight[:, :1] / np.float32(math.sqrt(units))
    equal = np.broadcast_to(first, weight.shape).reshape(head.weight.shape)
    head.weight.data = np.ascontiguousarray(equal)


def round_to_float32_(model: Module) -> None:
    """Round float64 parameters to what float32 can hold; they stay float64."""
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float32).astype(np.float64)


def spread_by_layer(model: Custom3Layer) -> list[float]:
    """Spread of conv1, conv2, conv3."""
    return [spread(getattr(model, name)) for name in LAYERS]


def spread(layer: Conv2d) -> float:
    """Largest difference between any two filters of a layer, biases included."""
    assert layer.bias is not None
    rows = layer.weight.data.reshape(len(layer.weight), -1)
    rows = np.concatenate([rows, layer.bias.data[:, None]], axis=1)
    return float((rows.max(axis=0) - rows.min(axis=0)).max())
