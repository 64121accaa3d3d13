"""Operations that move values without changing them.

Each is a linear map that copies, selects or reorders; its pullback is the transposed
map: what was moved there is moved back, what was selected is put into zeros.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tinytl_kernels import Array, kernels_for, namespace
from tinytl_kernels.devices import device_type, is_array, move

from ..operators import Dims, Operand
from ..tensor import Tensor, record
from .promote import common, same_device, tensor


def axes(operation: str, dim: Dims, ndim: int) -> tuple[int, ...]:
    """`dim` as a tuple of different axes in 0..ndim-1; None means all of them.

    Raises:
        ValueError: an axis is out of range or named twice.
    """
    if dim is None:
        return tuple(range(ndim))
    return _axes(operation, integers(operation, "dim", dim), ndim)


@functools.lru_cache(maxsize=1024)
def _axes(operation: str, wanted: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """``axes`` of a tuple of integers: a network asks for the same few every time."""
    limit = max(ndim, 1)  # a single number may be addressed as if it had one dimension
    for d in wanted:
        if not -limit <= d < limit:
            raise ValueError(
                f"{operation}: dim {d} does not exist in a Tensor with {ndim} "
                "dimensions"
            )
    found = tuple(d % limit for d in wanted)
    if len(set(found)) != len(found):
        raise ValueError(f"{operation}: dim {wanted} names a dimension twice")
    return found if ndim else ()


def axis(operation: str, dim: int, ndim: int) -> int:
    """One dimension as an index in 0..ndim-1."""
    if not isinstance(dim, int | np.integer) or isinstance(dim, bool):
        raise TypeError(f"{operation}: dim must be one integer, got {dim!r}")
    return (_axes(operation, (int(dim),), ndim) or (0,))[0]


def integers(operation: str, name: str, value: Any) -> tuple[int, ...]:
    """One integer, or a sequence of them, as a tuple.

    Raises:
        TypeError: it is anything else.
    """
    if type(value) is tuple and all(type(n) is int for n in value):
        return value  # as nearly always
    many = (value,) if isinstance(value, int | np.integer) else value
    if not isinstance(many, Sequence | np.ndarray) or not all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) for n in many
    ):
        raise TypeError(
            f"{operation}: {name} must be an integer or a sequence of them, "
            f"got {value!r}"
        )
    return tuple(int(n) for n in many)


def reshape(input: Operand, shape: int | Sequence[int]) -> Tensor:
    """The same values in another shape, last dimension fastest; one size may be -1.

    Backward. gy in the shape of x.

    Raises:
        ValueError: the shape has another number of values.
    """
    x = tensor("reshape", "input", input)
    wanted = integers("reshape", "shape", shape)
    try:
        value = x.data.reshape(wanted)
    except ValueError:
        raise ValueError(
            f"reshape: {x.numel()} values of shape {x.shape} do not fit {wanted}"
        ) from None
    before = x.shape
    return record(value, (x, lambda g: reshape(g, before)))


def flatten(input: Operand, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim..end_dim joined into one.

    Raises:
        ValueError: start_dim comes after end_dim, or one does not exist.
    """
    x = tensor("flatten", "input", input)
    first, last = (axis("flatten", d, x.ndim) for d in (start_dim, end_dim))
    if first > last:
        raise ValueError(
            f"flatten: start_dim {start_dim} comes after end_dim {end_dim}"
        )
    joined = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], joined, *x.shape[last + 1 :]))


def permute(input: Operand, dims: Sequence[int]) -> Tensor:
    """Dimensions in another order: dimension k of y is dimension dims[k] of x.

    Backward. The inverse order.

    Raises:
        ValueError: `dims` does not name every dimension once.
    """
    x = tensor("permute", "input", input)
    order = axes("permute", dims, x.ndim)
    if len(order) != x.ndim:
        raise ValueError(
            f"permute: dims {dims} must name each of the {x.ndim} dimensions once"
        )
    back = tuple(map(order.index, range(x.ndim)))
    return record(x.data.transpose(order), (x, lambda g: permute(g, back)))


def transpose(input: Operand, dim0: int, dim1: int) -> Tensor:
    """Dimensions dim0 and dim1 exchanged."""
    x = tensor("transpose", "input", input)
    a, b = axis("transpose", dim0, x.ndim), axis("transpose", dim1, x.ndim)
    order = list(range(x.ndim))
    if x.ndim:
        order[a], order[b] = b, a
    return permute(x, tuple(order))


def squeeze(input: Operand, dim: Dims = None) -> Tensor:
    """Dimensions of size 1 removed: all of them, or those in `dim`."""
    x = tensor("squeeze", "input", input)
    gone = axes("squeeze", dim, x.ndim)
    kept = [n for k, n in enumerate(x.shape) if n != 1 or k not in gone]
    return reshape(x, kept)


def unsqueeze(input: Operand, dim: int) -> Tensor:
    """A dimension of size 1 put in, so that it becomes dimension `dim`."""
    x = tensor("unsqueeze", "input", input)
    k = axis("unsqueeze", dim, x.ndim + 1)
    return reshape(x, (*x.shape[:k], 1, *x.shape[k:]))


# -- joining ---------------------------------------------------------------------------


def cat(tensors: Sequence[Operand], dim: int = 0) -> Tensor:
    """Tensors one after the other along `dim`; other sizes must agree.

    As in torch, a Tensor of shape (0,) is skipped whatever the other shapes are.
    Backward. Each gets its own part of gy.

    Raises:
        ValueError: nothing to join, or sizes differ elsewhere.
    """
    if isinstance(tensors, Tensor) or not len(tensors):
        raise ValueError("cat: needs a sequence of at least one Tensor")
    xs = common("cat", *tensors)
    shaped = [x for x in xs if x.shape != (0,)] or xs[:1]
    k = axis("cat", dim, shaped[0].ndim)
    others = {(*x.shape[:k], *x.shape[k + 1 :]) for x in shaped}
    if len(others) > 1 or not shaped[0].ndim or len({x.ndim for x in shaped}) > 1:
        raise ValueError(
            f"cat: shapes {[x.shape for x in xs]} must agree in all but dimension {dim}"
        )
    ends = np.cumsum([x.shape[k] for x in shaped]).tolist()
    edges = []
    for x, end in zip(shaped, ends, strict=True):
        part = (slice(None),) * k + (slice(end - x.shape[k], end),)
        edges.append((x, lambda g, part=part: getitem(g, part)))
    return record(_concatenated([x.data for x in shaped], k), *edges)


def _concatenated(arrays: list[Array], axis: int) -> Array:
    """In the order in memory of the first one, as NumPy's elementwise functions do."""
    first = arrays[0]
    order = sorted(range(first.ndim), key=lambda k: -first.strides[k])
    turned = [x.transpose(order) for x in arrays]
    joined = kernels_for(first).concatenate(turned, order.index(axis))
    return joined.transpose(np.argsort(order).tolist())


def stack(tensors: Sequence[Operand], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension `dim`.

    Raises:
        ValueError: nothing to stack, or shapes differ.
    """
    if isinstance(tensors, Tensor) or not len(tensors):
        raise ValueError("stack: needs a sequence of at least one Tensor")
    xs = common("stack", *tensors)
    if len({x.shape for x in xs}) > 1:
        raise ValueError(f"stack: shapes {[x.shape for x in xs]} must be the same")
    k = axis("stack", dim, xs[0].ndim + 1)
    return cat([unsqueeze(x, k) for x in xs], k)


# -- selecting -------------------------------------------------------------------------


def getitem(input: Operand, index: Any) -> Tensor:
    """x[index] with NumPy's rules: integers, slices, None, ..., integer or bool arrays.

    Backward. The gradient is added into zeros at the same index; where a value was
    selected twice, both gradients count.

    Raises:
        IndexError: the index does not fit, as Python's protocol wants it.
    """
    x = tensor("indexing", "input", input)
    key = _array_index(index, x)
    before = x.shape
    return record(x.data[key], (x, lambda g: put(g, key, before)))


def put(input: Tensor, index: Any, shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape` with `input` added at `index`: the transpose of getitem."""
    xp = namespace(input.data)
    value = xp.zeros(shape, input.dtype)
    if _selects_once(index):
        value[index] = input.data
    else:
        xp.add.at(value, index, input.data)
    return record(value, (input, lambda g: getitem(g, index)))


def gather(input: Operand, dim: int, index: Operand) -> Tensor:
    """y[i, j, k] = x[index[i, j, k], j, k] for dim 0, and so on for the others.

    Args:
        input: any shape.
        dim: the dimension that `index` looks up.
        index: integers, as many dimensions as `input`, no larger in the others.

    Raises:
        ValueError: the numbers of dimensions differ, an index is out of range, or the
            two are on different devices. On a GPU indices are not looked at, since that
            would wait for them: there they count from the other end, or again from 0.
        TypeError: the index does not hold integers.
    """
    x, where = tensor("gather", "input", input), tensor("gather", "index", index)
    same_device("gather", input=x, index=where)
    k = axis("gather", dim, x.ndim)
    if where.dtype.kind not in "iu":
        raise TypeError(f"gather: index must hold integers, got {where.dtype}")
    limits = [n for d, n in enumerate(x.shape) if d != k]
    sizes = [n for d, n in enumerate(where.shape) if d != k]
    if where.ndim != x.ndim or any(a > b for a, b in zip(sizes, limits, strict=True)):
        raise ValueError(
            f"gather: index of shape {where.shape} does not fit an input of shape "
            f"{x.shape} along dim {dim}"
        )
    if not x.ndim:
        return reshape(x, ())
    limit, on_cpu = x.shape[k], device_type(where.data) == "cpu"
    inside = not on_cpu or not where.numel() or _inside(where.data, limit)
    if not inside:
        raise ValueError(f"gather: indices must be in 0..{limit - 1} along dim {dim}")
    xp = namespace(where.data)
    place = [_stretched(xp.arange(n), d, x.ndim) for d, n in enumerate(where.shape)]
    place[k] = where.data
    return getitem(x, tuple(place))


def _stretched(line: Any, d: int, ndim: int) -> Any:
    """A line of numbers as an array of `ndim` dimensions that lies along `d`."""
    return line.reshape([-1 if k == d else 1 for k in range(ndim)])


def _inside(index: Any, limit: int) -> bool:
    return bool(index.min() >= 0 and index.max() < limit)


def _array_index(index: Any, x: Tensor) -> Any:
    """The index with arrays in the place of Tensors and lists, where `x` is."""
    if isinstance(index, tuple):
        return tuple(_array_index(i, x) for i in index)
    if isinstance(index, Tensor):
        index = index.data
    if isinstance(index, list):
        index = np.array(index) if index else np.zeros(0, np.int64)
    if device_type(x.data) == "cuda" and isinstance(index, np.ndarray):
        index = move(index, "cuda")
    return index


def _selects_once(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    simple = (int, np.integer, slice, type(None), type(Ellipsis))
    return all(
        isinstance(i, simple) or (is_array(i) and i.dtype == bool) for i in parts
    )
