"""The two libraries behind one interface, so that a workload is written once.

A workload says ``side.F.conv2d(x, w)`` and ``side.grad(...)`` and means either library.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np


class Ours:
    """tinytl, with images in the order that a user has them, NCHW, or channels last."""

    @staticmethod
    def load() -> None:
        """Import all that a first call would, and start no thread."""
        import tinytl

        tinytl.functional.softplus(tinytl.Tensor(np.zeros(1, np.float32)))

    def __init__(self, threads: int, channels_last: bool):
        import tinytl

        self.library, self.F = tinytl, tinytl.functional
        self.no_grad = tinytl.no_grad
        self.channels_last = channels_last
        if hasattr(tinytl, "set_num_threads"):  # older commits are measured too
            tinytl.set_num_threads(threads)

    def keep_pages(self) -> None:
        """Keep freed memory for later arrays."""
        self.library.keep_pages()

    def tensor(self, array: np.ndarray, requires_grad: bool = False) -> Any:
        """A Tensor that holds `array`; one of four dimensions holds images."""
        if self.channels_last and array.ndim == 4:
            array = array.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
        return self.filters(array, requires_grad)

    def filters(self, array: np.ndarray, requires_grad: bool = False) -> Any:
        """A Tensor that holds parameters, in the order that layers keep them in."""
        return self.library.Tensor(array, requires_grad=requires_grad)

    def grad(
        self,
        outputs: Any,
        inputs: Sequence[Any],
        grad_outputs: Any = None,
        create_graph: bool = False,
        retain_graph: bool = False,
    ) -> Sequence[Any]:
        """As ``torch.autograd.grad``."""
        return self.library.grad(outputs, inputs, grad_outputs, create_graph)

    def norm_relu(self, *args: Any, **options: Any) -> Any:
        """Batch norm and ReLU, which are one operation."""
        return self.F.batch_norm_relu(*args, **options)

    def optimiser(self, parameters: Sequence[Any], **options: float) -> Any:
        """SGD; what it returns is called with the gradients."""
        return self.library.optim.SGD(parameters, **options).step

    def copy(self, target: np.ndarray, source: np.ndarray) -> None:
        """As fast as it goes."""
        np.copyto(target, source)

    def numpy(self, x: Any) -> np.ndarray:
        """Its array."""
        return x.numpy()


class Theirs:
    """PyTorch, with every image and filter in one memory order or the other."""

    @staticmethod
    def load() -> None:
        """Import all that a first call and gradient would, and start no thread."""
        importlib.import_module("torch.fx.experimental.symbolic_shapes")

    def __init__(self, threads: int, channels_last: bool):
        import torch

        self.library, self.F = torch, torch.nn.functional
        self.no_grad = torch.no_grad
        torch.set_num_threads(threads)
        orders = (torch.contiguous_format, torch.channels_last)
        self.order = orders[channels_last]

    def keep_pages(self) -> None:
        """Keep freed memory for later arrays; the advice is tinytl.keep_pages's."""
        from tinytl_kernels.memory import keep_pages

        if not keep_pages():
            raise OSError("the allocator takes no advice")

    def tensor(self, array: np.ndarray, requires_grad: bool = False) -> Any:
        """A Tensor that holds `array`."""
        x = self.library.from_numpy(array)
        if x.ndim == 4:
            x = x.contiguous(memory_format=self.order)
        return x.requires_grad_(requires_grad)

    filters = tensor

    def grad(
        self,
        outputs: Any,
        inputs: Sequence[Any],
        grad_outputs: Any = None,
        create_graph: bool = False,
        retain_graph: bool = False,
    ) -> Sequence[Any]:
        """``torch.autograd.grad``."""
        kept = retain_graph or create_graph
        return self.library.autograd.grad(
            outputs, inputs, grad_outputs, retain_graph=kept, create_graph=create_graph
        )

    def norm_relu(self, *args: Any, **options: Any) -> Any:
        """Batch norm, and ReLU in place."""
        return self.F.relu(self.F.batch_norm(*args, **options), inplace=True)

    def optimiser(self, parameters: Sequence[Any], **options: float) -> Any:
        """SGD; what it returns is called with the gradients."""
        sgd = self.library.optim.SGD(parameters, **options)

        def step(gradients: Sequence[Any]) -> None:
            for p, g in zip(parameters, gradients, strict=True):
                p.grad = g
            sgd.step()
            sgd.zero_grad(set_to_none=True)

        return step

    def copy(self, target: np.ndarray, source: np.ndarray) -> None:
        """As fast as it goes."""
        self.library.from_numpy(target).copy_(self.library.from_numpy(source))

    def numpy(self, x: Any) -> np.ndarray:
        """Its array."""
        return x.detach().numpy()


SIDES = {"tinytl": Ours, "torch": Theirs}
