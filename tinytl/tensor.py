"""Tensor, record, grad: arrays that remember how they were computed.

An operation computes its value with arrays and then calls ::

    record(value, (input, pullback), ...)

What a pullback is, and how gradients travel, is told in ``graph.py``.

Arrays are never written to after they became a Tensor's data. Optimisers and running
statistics put a new array in the place of the old one. So a graph that was recorded
before an update stays valid, and keeping a reference to an array is a snapshot of it.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tinytl_kernels import Array, namespace
from tinytl_kernels.devices import device_type, is_array, move

from .devices import check_together
from .devices import device as Device
from .graph import (
    Edge,
    Node,
    ancestors,
    check_finite,
    layer_path,
    operation_name,
    state,
    walk,
)
from .operators import Operand, Operators

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Tensor(Operators):
    """An array that can remember how it was computed.

    Args:
        data: array, number, or nested sequence of numbers. An array is shared, not
            copied, and keeps its dtype (float32, float64, integers, bool). Python
            floats become float32, Python integers int64, as in torch.tensor.
        requires_grad: record what is computed from this Tensor, so that gradients
            with respect to it can be asked for. Needs a floating dtype.

    Attributes:
        data: the array, NumPy's or, on a GPU, CuPy's. Replace it if you must; never
            write into it.
        grad: Tensor left by ``backward``, or None. ``grad()`` leaves nothing behind.

    Raises:
        TypeError: `data` holds something else than real numbers, or `requires_grad` is
            asked of integers.
    """

    __slots__ = ("data", "grad", "node", "__weakref__")
    __array_ufunc__ = None  # array + Tensor is the Tensor's business

    data: Array
    grad: "Tensor | None"
    node: Node | None

    def __init__(self, data: Any, requires_grad: bool = False):
        self.data = as_array(data)
        self.grad = None
        self.node = None
        if requires_grad:
            self.requires_grad = True

    # -- what it is ------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype of the values."""
        return self.data.dtype

    @property
    def device(self) -> Device:
        """Where the values are: device("cpu") or device("cuda")."""
        return Device(device_type(self.data))

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.data.ndim

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it, rather than a recorded operation."""
        return self.node is None or not self.node.edges

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this Tensor are recorded. Settable on leaves."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not self.is_leaf:
            raise ValueError(
                "requires_grad can be changed on leaves only; this Tensor was computed "
                "by a recorded operation: use detach()"
            )
        if wanted and self.dtype not in FLOATS:
            raise TypeError(f"only floats have gradients, this Tensor is {self.dtype}")
        if wanted != self.requires_grad:
            self.node = Node(self.shape, leaf=self) if wanted else None

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Set `requires_grad` and return the Tensor itself."""
        self.requires_grad = requires_grad
        return self

    def dim(self) -> int:
        """Number of dimensions."""
        return self.data.ndim

    def size(self, dim: int | None = None) -> Any:
        """Shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """Number of values."""
        return self.data.size

    def numpy(self) -> Array:
        """The values as a NumPy array: the Tensor's own, not to be written to.

        Raises:
            TypeError: they are on a GPU.
        """
        if device_type(self.data) != "cpu":
            raise TypeError(
                f"can't convert a Tensor on {self.device} to numpy; use Tensor.cpu() "
                "to copy it to the computer's memory first"
            )
        return self.data

    def item(self) -> float | int | bool:
        """The single value as a Python number; on a GPU, waits until it is there."""
        if self.data.size != 1:
            raise ValueError(f"item: needs exactly one value, shape is {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self.data.tolist()

    def detach(self) -> "Tensor":
        """The same values without history; the array is shared."""
        return Tensor(self.data)

    def backward(
        self, gradient: "Tensor | None" = None, create_graph: bool = False
    ) -> None:
        """Add d(self)/d(leaf), times `gradient`, to ``leaf.grad`` of every leaf.

        For those who expect it. Code that wants gradients as values calls ``grad``.
        """
        roots = _roots("backward", [self], [gradient])
        leaves = {node for node in ancestors([roots[0][0]]) if node.leaf is not None}
        for node, g in walk(roots, leaves, create_graph).items():
            leaf = node.leaf() if node.leaf is not None else None
            if leaf is not None:
                leaf.grad = g if leaf.grad is None else leaf.grad + g

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise ValueError(
                "only leaves can be copied or pickled; this Tensor was computed by a "
                "recorded operation: use detach()"
            )
        return type(self), (self.data, self.requires_grad)

    def __repr__(self) -> str:
        values = move(self.data, "cpu")
        text = np.array2string(values, separator=", ", prefix="Tensor(", precision=4)
        text += "" if values is self.data else f", device='{self.device}'"
        text += "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        return f"Tensor({text}{', requires_grad=True' * self.requires_grad})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a Tensor with no dimensions has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __array__(
        self, dtype: "DTypeLike | None" = None, copy: bool | None = None
    ) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    # -- comparisons: bools, without gradient

    def __eq__(self, other: object) -> "Tensor":  # type: ignore[override]
        if other is None or not _comparable(other):  # `None in tensors` should be quick
            return NotImplemented
        return Tensor(self.data == _beside(self, other))

    def __ne__(self, other: object) -> "Tensor":  # type: ignore[override]
        if not _comparable(other):
            return NotImplemented
        return Tensor(self.data != _beside(self, other))

    def __lt__(self, other: Operand) -> "Tensor":
        return Tensor(self.data < _beside(self, other))

    def __le__(self, other: Operand) -> "Tensor":
        return Tensor(self.data <= _beside(self, other))

    def __gt__(self, other: Operand) -> "Tensor":
        return Tensor(self.data > _beside(self, other))

    def __ge__(self, other: Operand) -> "Tensor":
        return Tensor(self.data >= _beside(self, other))

    __hash__ = object.__hash__

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> "Tensor":
        """Where the largest value is, as int64; the first one wins. No gradient."""
        return Tensor(self.data.argmax(axis=dim, keepdims=keepdim))


def as_array(data: Any) -> Array:
    """Array of a Tensor, an array (shared), a number or nested sequences of numbers."""
    if isinstance(data, Tensor):
        return data.data
    if type(data) is np.ndarray or device_type(data) == "cuda":
        array = data
    elif isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
    else:
        try:
            array = np.array(data)
        except ValueError as error:
            raise ValueError(
                f"a Tensor needs nested sequences of equal lengths: {error}"
            ) from None
        if array.dtype == np.float64:
            array = array.astype(np.float32)
    if array.dtype not in FLOATS and array.dtype.kind not in "biu":
        raise TypeError(
            "a Tensor holds float32, float64, integers or bools, got "
            f"{array.dtype} from {type(data).__name__}; convert it first"
        )
    return array


def copied(value: Any, like: Tensor) -> Array:
    """A copy of a Tensor, array or numbers, in the dtype and on the device of `like`.

    In rows (C order), whatever the order in memory was.
    """
    array = value.data if isinstance(value, Tensor) else value
    if not is_array(array):
        array = np.asarray(array)
    away = move(array, device_type(like.data))
    return namespace(away).array(away, like.dtype, order="C")


def _comparable(other: object) -> bool:
    """Whether `other` is something that a Tensor could equal."""
    try:
        as_array(other)
    except (TypeError, ValueError):
        return False
    return True


def _beside(x: Tensor, other: Any) -> Array:
    """`other` as an array to compare `x` with, on the same device.

    A single value in the computer's memory may stand beside a Tensor on a GPU.
    """
    y = as_array(other)
    if device_type(y) != device_type(x.data):
        if not y.shape and device_type(y) == "cpu":
            return y.item()
        check_together("comparison", left=x.data, right=y)
    return y


def record(value: Array, *edges: Edge) -> Tensor:
    """Tensor of `value`, remembered as computed from the input of each edge.

    Args:
        value: what the operation computed.
        edges: pairs (input, pullback). A pullback takes the gradient with respect to
            the output, a Tensor of value's shape, and returns the one with respect to
            its input, a Tensor of the input's shape and dtype. It uses operations on
            Tensors only, writes to nothing, and does not hold the output. A third entry
            may take a tangent of the input to one of the output (``forward.py``). Both
            may return a sum in the making instead (``pending.py``).
    """
    output = Tensor(value)
    if state.checking and edges:
        check_finite(output.data, operation_name(edges[0][1]), layer_path())
    if state.recording:
        kept = tuple((x.node, *maps) for x, *maps in edges if x.node is not None)
        if kept:
            output.node = Node(output.shape, kept)
    return output


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor, ...]:
    """Gradient of sum_k <grad_outputs_k, outputs_k> with respect to each input.

    It returns; it leaves nothing behind in any Tensor. The graph stays usable for as
    long as its Tensors live, so there is no ``retain_graph``.

    Args:
        outputs: what is differentiated.
        inputs: leaves or intermediate values, each with ``requires_grad``.
        grad_outputs: weights, in the shape of each output; None stands for 1 and needs
            an output with a single value.
        create_graph: make the result differentiable, for higher derivatives.
        allow_unused: return None for an input that the outputs do not depend on, which
            is an error otherwise.

    Raises:
        ValueError: shapes do not fit, an output or input is not recorded, or an input
            was not used.
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, Tensor):
        weights: list[Tensor | None] = [grad_outputs] * len(outs)
    else:
        weights = list(grad_outputs)
    if len(weights) != len(outs):
        raise ValueError(
            f"grad: {len(outs)} outputs but {len(weights)} grad_outputs; give one each"
        )
    targets = []
    for k, x in enumerate(ins):
        if x.node is None:
            raise ValueError(
                f"grad: input {k} has requires_grad=False; set requires_grad before it "
                "is used"
            )
        targets.append(x.node)

    found = walk(_roots("grad", outs, weights), set(targets), create_graph)
    unused = [k for k, node in enumerate(targets) if node not in found]
    if unused and not allow_unused:
        raise ValueError(
            f"grad: the outputs do not depend on input {unused[0]}; pass "
            "allow_unused=True to get None for it"
        )
    return tuple(found.get(node) for node in targets)  # type: ignore[misc]


def _roots(
    caller: str, outputs: list[Tensor], weights: list[Tensor | None]
) -> list[tuple[Node, Tensor]]:
    """Where a walk starts: the Node of each output, and the gradient that arrives."""
    roots = []
    for k, (output, weight) in enumerate(zip(outputs, weights, strict=True)):
        if output.node is None:
            raise ValueError(
                f"{caller}: output {k} was not recorded: nothing it was computed from "
                "has requires_grad, or it was computed inside no_grad()"
            )
        if weight is None and output.numel() != 1:
            raise ValueError(
                f"{caller}: output {k} has shape {output.shape}; only a single value "
                "has a gradient without weights: take its sum or mean, or pass weights"
            )
        if weight is None:
            weight = Tensor(namespace(output.data).ones_like(output.data))
        elif not isinstance(weight, Tensor) or weight.shape != output.shape:
            raise ValueError(
                f"{caller}: the weight of output {k} must be a Tensor of shape "
                f"{output.shape}, got {getattr(weight, 'shape', type(weight).__name__)}"
            )
        roots.append((output.node, weight))
    return roots
