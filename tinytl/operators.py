"""What a Tensor can be asked for with an operator or a method: its operations.

Each is the function of the same name and meaning in ``tinytl.functional``. Operations
are made of Tensors, so they are looked up when a method is called, not when this file
loads.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from tinytl_kernels import Array

import tinytl

from .devices import device as Device
from .devices import split_arguments

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .tensor import Tensor

Operand = Union["Tensor", Array, float, int, bool]
Dims = int | Sequence[int] | None


class Operators:
    """Operators and methods of Tensor."""

    __slots__ = ()

    data: Array

    def __add__(self, other: Operand) -> "Tensor":
        return tinytl.functional.add(self, other)

    def __radd__(self, other: Operand) -> "Tensor":
        return tinytl.functional.add(other, self)

    def __sub__(self, other: Operand) -> "Tensor":
        return tinytl.functional.sub(self, other)

    def __rsub__(self, other: Operand) -> "Tensor":
        return tinytl.functional.sub(other, self)

    def __mul__(self, other: Operand) -> "Tensor":
        return tinytl.functional.mul(self, other)

    def __rmul__(self, other: Operand) -> "Tensor":
        return tinytl.functional.mul(other, self)

    def __truediv__(self, other: Operand) -> "Tensor":
        return tinytl.functional.div(self, other)

    def __rtruediv__(self, other: Operand) -> "Tensor":
        return tinytl.functional.div(other, self)

    def __pow__(self, other: Operand) -> "Tensor":
        return tinytl.functional.pow(self, other)

    def __rpow__(self, other: Operand) -> "Tensor":
        return tinytl.functional.pow(other, self)

    def __matmul__(self, other: Operand) -> "Tensor":
        return tinytl.functional.matmul(self, other)

    def __rmatmul__(self, other: Operand) -> "Tensor":
        return tinytl.functional.matmul(other, self)

    def __neg__(self) -> "Tensor":
        return tinytl.functional.neg(self)

    def __abs__(self) -> "Tensor":
        return tinytl.functional.abs(self)

    def __getitem__(self, index: Any) -> "Tensor":
        return tinytl.functional.getitem(self, index)

    def exp(self) -> "Tensor":
        """e to the power of each value."""
        return tinytl.functional.exp(self)

    def log(self) -> "Tensor":
        """Natural logarithm of each value."""
        return tinytl.functional.log(self)

    def sqrt(self) -> "Tensor":
        """Square root of each value."""
        return tinytl.functional.sqrt(self)

    def abs(self) -> "Tensor":
        """Absolute value of each value."""
        return tinytl.functional.abs(self)

    def pow(self, exponent: Operand) -> "Tensor":
        """Each value to the power of `exponent`."""
        return tinytl.functional.pow(self, exponent)

    def clamp(self, min: Operand | None = None, max: Operand | None = None) -> "Tensor":
        """Values limited to [min, max]."""
        return tinytl.functional.clamp(self, min, max)

    def relu(self) -> "Tensor":
        """max(0, x)."""
        return tinytl.functional.relu(self)

    def sigmoid(self) -> "Tensor":
        """1 / (1 + exp(-x))."""
        return tinytl.functional.sigmoid(self)

    def tanh(self) -> "Tensor":
        """Hyperbolic tangent."""
        return tinytl.functional.tanh(self)

    def softmax(self, dim: int | None = None) -> "Tensor":
        """Positive values that add up to 1 along `dim`."""
        return tinytl.functional.softmax(self, dim)

    def log_softmax(self, dim: int | None = None) -> "Tensor":
        """Logarithm of the softmax along `dim`."""
        return tinytl.functional.log_softmax(self, dim)

    def sum(self, dim: Dims = None, keepdim: bool = False) -> "Tensor":
        """Sum over `dim`, or over everything."""
        return tinytl.functional.sum(self, dim, keepdim)

    def mean(self, dim: Dims = None, keepdim: bool = False) -> "Tensor":
        """Mean over `dim`, or over everything."""
        return tinytl.functional.mean(self, dim, keepdim)

    def amax(self, dim: Dims = (), keepdim: bool = False) -> "Tensor":
        """Largest value over `dim`; ties share the gradient."""
        return tinytl.functional.amax(self, dim, keepdim)

    def amin(self, dim: Dims = (), keepdim: bool = False) -> "Tensor":
        """Smallest value over `dim`; ties share the gradient."""
        return tinytl.functional.amin(self, dim, keepdim)

    def matmul(self, other: Operand) -> "Tensor":
        """Matrix product, batched over leading dimensions."""
        return tinytl.functional.matmul(self, other)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> "Tensor":
        """Dimensions start_dim..end_dim joined into one."""
        return tinytl.functional.flatten(self, start_dim, end_dim)

    def transpose(self, dim0: int, dim1: int) -> "Tensor":
        """Two dimensions exchanged."""
        return tinytl.functional.transpose(self, dim0, dim1)

    def squeeze(self, dim: Dims = None) -> "Tensor":
        """Dimensions of size 1 removed."""
        return tinytl.functional.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> "Tensor":
        """A dimension of size 1 put in at `dim`."""
        return tinytl.functional.unsqueeze(self, dim)

    def var(
        self,
        dim: Dims | bool = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
    ) -> "Tensor":
        """Variance over `dim`, divided by n - correction (1 unless told)."""
        return tinytl.functional.var(
            self, dim, unbiased, keepdim, correction=correction
        )

    def reshape(self, *shape: int | Sequence[int]) -> "Tensor":
        """The same values in another shape; one size may be -1."""
        return tinytl.functional.reshape(self, _sizes(shape))

    def view(self, *shape: int | Sequence[int]) -> "Tensor":
        """The same as reshape; a copy is made where the order in memory needs it."""
        return self.reshape(*shape)

    def permute(self, *dims: int | Sequence[int]) -> "Tensor":
        """Dimensions in another order."""
        return tinytl.functional.permute(self, _sizes(dims))

    def expand(self, *sizes: int | Sequence[int]) -> "Tensor":
        """Dimensions of size 1 repeated; -1 keeps a size."""
        return tinytl.functional.expand(self, _sizes(sizes))

    @property
    def T(self) -> "Tensor":
        """All dimensions in reverse order."""
        return tinytl.functional.permute(self, range(self.data.ndim)[::-1])

    def to(
        self,
        *args: "DTypeLike | Device | Tensor",
        device: str | Device | None = None,
        dtype: "DTypeLike | None" = None,
    ) -> "Tensor":
        """The values on another device, in another dtype, or both, as ``to("cuda")``.

        Args:
            args: a device, a dtype, both in this order, or a Tensor to be like.
            device: "cpu" or "cuda".
            dtype: of the result.

        The gradient comes back to this device, in this dtype.

        Raises:
            ImportError: CuPy, which "cuda" needs, is not installed.
            RuntimeError: there is no usable GPU.
            MemoryError: its memory does not suffice; what was asked, what is free.
            ValueError: there is no such device.
            TypeError: no such dtype, or neither device nor dtype given.
        """
        if len(args) == 1 and isinstance(args[0], tinytl.Tensor):
            args = (args[0].device, args[0].dtype)
        place, kind = split_arguments(args, device, dtype)
        return tinytl.functional.to(self, kind, device=place)

    def cuda(self) -> "Tensor":
        """The values on the GPU; raises what ``to`` raises."""
        return self.to(device="cuda")

    def cpu(self) -> "Tensor":
        """The values in the computer's memory; waits until they are computed."""
        return self.to(device="cpu")

    def float(self) -> "Tensor":
        """The values as float32."""
        return tinytl.functional.to(self, np.float32)

    def double(self) -> "Tensor":
        """The values as float64."""
        return tinytl.functional.to(self, np.float64)


def _sizes(args: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(args[0]) if len(args) == 1 and not isinstance(args[0], int) else args
