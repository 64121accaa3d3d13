"""How convolutions round in float32: ``python -m reference.bench.accuracy``.

Root mean square of the error against float64, divided by that of the result, for the
value and both gradients of convolutions with inputs and weights of unit variance:
PyTorch's, ours as the definition has it ("exact") and ours as it runs by default.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from tinytl_kernels import kernels_for, use_kernels
from tinytl_kernels.shapes import window

# channels, filters, size, taps, stride; batch 32
LAYERS = (
    (16, 16, 32, 3, 1),
    (64, 128, 16, 3, 1),
    (256, 256, 8, 3, 1),
    (512, 512, 4, 3, 1),
    (512, 512, 2, 3, 1),
    (32, 64, 16, 5, 1),
    (64, 128, 16, 3, 2),
)
BATCH = 32
Array = np.ndarray
Three = Callable[[Array, Array, Array, int], Sequence[Array]]


def theirs(x: Array, w: Array, gy: Array, stride: int) -> list[Array]:
    """PyTorch's value, gradient towards x and gradient towards w."""
    tensors = [torch.from_numpy(a) for a in (x, w, gy)]
    padding = w.shape[2] // 2
    y = torch.nn.functional.conv2d(*tensors[:2], None, stride, padding)
    place = [stride, stride], [padding, padding], [1, 1]
    wanted = [True, True, False]
    back = torch.ops.aten.convolution_backward
    gx, gw, _ = back(tensors[2], *tensors[:2], None, *place, False, [0, 0], 1, wanted)
    return [y.numpy(), gx.numpy(), gw.numpy()]


def ours(name: str) -> Three:
    """The same from one of our kernel sets."""

    def three(x: Array, w: Array, gy: Array, stride: int) -> list[Array]:
        taps = w.shape[2:]
        view = window("conv2d", x.shape[2:], taps, stride, taps[0] // 2)
        with use_kernels(name):
            kernels = kernels_for(x)
        return [
            kernels.conv(x, w, view, 1),
            kernels.conv_dx(gy, w, view, 1),
            kernels.conv_dw(x, gy, view, 1),
        ]

    return three


def errors(
    channels: int, filters: int, size: int, taps: int, stride: int
) -> dict[str, list[float]]:
    """Of value, gx and gw, for each way of computing them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, channels, size, size))
    w = rng.standard_normal((filters, channels, taps, taps))
    gy = rng.standard_normal((BATCH, filters, size // stride, size // stride))
    single = [a.astype(np.float32) for a in (x, w, gy)]
    true = theirs(*(a.astype(float) for a in single), stride)
    found = {}
    ways = {"PyTorch": theirs, "exact": ours("exact"), "fast": ours("cpu")}
    for name, three in ways.items():
        pairs = zip(three(*single, stride), true, strict=True)
        found[name] = [float(np.std(a - b) / np.std(b)) for a, b in pairs]
    return found


def main() -> None:
    """Print the table of docs/kernels.md."""
    print("| layer | PyTorch: y, gx, gw | exact: y, gx, gw | fast: y, gx, gw |")
    print("|" + "---|" * 4)
    for layer in LAYERS:
        cells = [
            ", ".join(f"{value:.1e}" for value in three)
            for three in errors(*layer).values()
        ]
        name = "{0} to {1}, {2}x{2}, weights {3}x{3}".format(*layer)
        name += " stride 2" * (layer[4] == 2)
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
