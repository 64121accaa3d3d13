"""A line, its ReLU and its weights, a vector at a time; see plain/norm.py."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .compiled import inlined
from .simd import Vector, address, compiled_as, lanes, load, spread, store, stream

Array = np.ndarray


@intrinsic
def _where_positive(typing: Any, test: Any, v: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        nothing = ir.Constant(args[0].type, None)
        positive = builder.fcmp_ordered(">", args[0], nothing)
        # Behind a fence, or v would be loaded under the mask, and so wait for the test.
        kind = ir.FunctionType(args[1].type, [args[1].type])
        name = f"llvm.arithmetic.fence.v{args[1].type.count}f{v.dtype.bitwidth}"
        fence = builder.module.declare_intrinsic(name, (), kind)
        return builder.select(positive, builder.call(fence, [args[1]]), nothing)

    return v(v, v), emit


@intrinsic
def _unless_negative(typing: Any, v: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        nothing = ir.Constant(args[0].type, None)
        negative = builder.fcmp_ordered("<", args[0], nothing)
        return builder.select(negative, nothing, args[0])

    return v(v), emit


@intrinsic
def _total(typing: Any, v: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, half = args[0], args[0].type.count // 2
        while half:
            kind = ir.VectorType(ir.IntType(32), half)
            low, high = (ir.Constant(kind, [*range(k, k + half)]) for k in (0, half))
            value = builder.fadd(
                builder.shuffle_vector(value, value, low),
                builder.shuffle_vector(value, value, high),
            )
            half //= 2
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return v.dtype(v), emit


@intrinsic
def _everywhere(typing: Any, x: Any, i: Any) -> Any:
    kind = Vector(x.dtype)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = builder.load(address(context, builder, x, *args))
        number.set_metadata("invariant.load", builder.module.add_metadata([]))
        return spread(builder, number, context.get_value_type(kind))

    return kind(x, types.intp), emit


@compiled_as(_where_positive)
def where_positive(test: Array, v: Array) -> Array:
    """v where `test` is above 0, else 0."""
    return np.where(test > 0, v, v.dtype.type(0))


@compiled_as(_unless_negative)
def unless_negative(v: Array) -> Array:
    """max(0, v), and NaN where v is NaN."""
    return np.where(v < 0, v.dtype.type(0), v)


@compiled_as(_total)
def total(v: Array) -> Any:
    """The sum of a vector's numbers."""
    return v.sum()


@compiled_as(_everywhere)
def everywhere(x: Array, i: int) -> Array:
    """A vector of x[i]. That no loop changes x is promised to the compiler."""
    return np.full(lanes(x.dtype), x[i])


@inlined
def gated(g, c, scale, shift, relu):  # type: ignore[no-untyped-def]
    """g where the line through c is above 0, or `relu` is None; else 0."""
    return g if relu is None else where_positive(scale * c + shift, g)


@inlined
def weight(by, i, k, planes):  # type: ignore[no-untyped-def]
    """Weights of a vector: all by[i] in a plane, by[i + k] and on in a row of lanes."""
    return load(by, i + k) if planes is None else everywhere(by, i)


@inlined
def put(y, at, v, past):  # type: ignore[no-untyped-def]
    """Store v, past the caches unless `past` is None."""
    if past is None:
        store(y, at, v)
    else:
        stream(y, at, v)
