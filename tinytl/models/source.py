"""The source network of L2T-ww: a ResNet-32, trained on Tiny ImageNet by its authors.

Source: https://github.com/alinlab/L2T-ww (MIT licence), the file
logs/tinyimagenet-200-resnet32/0/model_best.pth.tar.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ..nn import LoadResult
from ..persistence import load, load_torch
from ..tensor import Tensor
from .resnet import ResNet

# Names in published files -> names here, by regular expression; all others are equal.
RENAMED = {
    r"^module\.": "",  # what torch.nn.DataParallel puts in front
}


def load_source(path: str | os.PathLike[str]) -> tuple[ResNet, LoadResult]:
    """ResNet-32 with weights from a file, frozen and in evaluation mode.

    The published network has 200 classes (Tiny ImageNet's, their wnids sorted) and
    479,272 parameters, and expects images of 32 x 32 with ImageNet's mean and standard
    deviation. The number of classes is that of the file.

    How the images became 32 x 32 matters more than it looks: on Tiny ImageNet's 10,000
    validation images it is right for 49.13 % if they were shrunk by the antialiased
    bilinear filter (``tinytl.data.resize``), 42.46 % bicubic, 23.04 % by means of 2 x 2
    and 7.00 % by taking every second pixel.

    Args:
        path: the original torch file (``python -m tinytl.data l2t-source FOLDER``
            gets it), or its state in safetensors.

    Returns:
        The network, and which names were loaded; names that the network doesn't have
        are listed as unexpected and skipped.

    Raises:
        ValueError: the file is damaged, or isn't the state of such a network.
        FileNotFoundError: there is no such file.
        ImportError: it is a safetensors file, and safetensors isn't installed.
    """
    state = _read_state(path)
    head = state.get("fc.weight")
    if not isinstance(head, Tensor) or head.ndim != 2 or len(head) < 1:
        raise ValueError(f"load_source: {path} has no weights (K, 64) called fc.weight")
    net = ResNet(len(head))
    result = net.load_state_dict(state, strict=False)
    if result.missing_keys or result.skipped:
        missing = [*result.missing_keys, *result.skipped]
        raise ValueError(
            f"load_source: {path} doesn't hold a ResNet-32: {len(missing)} of its "
            f"tensors are missing or have other shapes, such as {missing[0]}"
        )
    net.eval().requires_grad_(False)
    return net, result


def _read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Tensors by our names."""
    with Path(path).open("rb") as file:
        start = file.read(9)
    header = start[8:] == b"{"  # of safetensors, after the length, which may look so
    torch = start[:2] in (b"\x80\x02", b"PK") and not header
    state = load_torch(path) if torch else load(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]  # a checkpoint, with epochs and accuracies
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ValueError(f"load_source: {path} holds no state of a network")
    return {_rename(key): value for key, value in state.items()}


def _rename(name: str) -> str:
    for pattern, replacement in RENAMED.items():
        name = re.sub(pattern, replacement, name)
    return name
