"""A stand-in for CuPy where there is no GPU: NumPy's numbers under CuPy's rules.

Its names and keywords are those of the list in cupy_names.json, which list_cupy.py
takes from CuPy itself: what CuPy lacks is lacking here. And as with CuPy,

- arrays do not mix with NumPy's, neither in arithmetic nor as an index,
- nothing becomes a NumPy array unless asked with ``get`` or ``asnumpy``,
- sums and single elements are arrays without dimensions, not numbers.

``waits.count`` counts the times a program had to wait for the device.

    import standin
    standin.install()      # import cupy now gives this module
"""

import json
import sys
import types
from pathlib import Path

import numpy as np

NAMES = json.loads(Path(__file__).with_name("cupy_names.json").read_text())
FROM_HOST = {"array", "asarray", "ascontiguousarray", "asanyarray", "asfortranarray"}


class Waits:
    """How often the host waited for a result of the device."""

    count = 0


waits = Waits()


class ndarray:
    """An array on the device that is not there."""

    __array_priority__ = 100
    __hash__ = None

    def __init__(self, array):
        self._array = np.asarray(array)

    def __getattr__(self, name):
        if name in NAMES["methods"]:
            return method(self._array, name)
        if name in NAMES["attributes"]:
            return wrap(getattr(self._array, name))
        raise AttributeError(f"cupy.ndarray has no attribute {name!r}")

    def get(self, stream=None, order="C", out=None, *, blocking=True):
        waits.count += 1
        return self._array.copy()

    def item(self, *place):
        waits.count += 1
        return self._array.item(*place)

    def tolist(self):
        waits.count += 1
        return self._array.tolist()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        return bool(self.item())

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return (self[k] for k in range(len(self)))

    def __getitem__(self, place):
        return wrap(self._array[unwrap(place)])

    def __setitem__(self, place, value):
        self._array[unwrap(place)] = unwrap(value)

    def __repr__(self):
        return repr(self._array)

    def __reduce__(self):
        return ndarray, (self._array,)

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` "
            "to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc, how, *args, **kwargs):
        assert how == "__call__", f"the stand-in has no {ufunc.__name__}.{how}"
        return function(ufunc.__name__)(*args, **kwargs)

    def __array_function__(self, function_, types_, args, kwargs):
        return function(function_.__name__)(*args, **kwargs)


ndarray.__module__ = "cupy"


def wrap(value):
    """NumPy's result as CuPy would return it."""
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(value)
    if isinstance(value, list | tuple) and any(
        isinstance(v, np.ndarray | np.generic) for v in value
    ):
        return type(value)(map(wrap, value))
    return value


def unwrap(value):
    """An argument for NumPy; arrays that are NumPy's already are refused."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, list | tuple):
        return type(value)(map(unwrap, value))
    return value


def method(array, name):
    known = NAMES["methods"][name]

    def call(*args, **kwargs):
        unknown = set(kwargs) - set(known)
        if unknown:
            raise TypeError(f"cupy.ndarray.{name} has no argument {unknown}")
        arguments = {k: unwrap(v) for k, v in kwargs.items()}
        return wrap(getattr(array, name)(*map(unwrap, args), **arguments))

    return call


def function(name):
    if name not in NAMES["functions"]:
        raise AttributeError(f"module 'cupy' has no attribute {name!r}")
    known, numpys = NAMES["functions"][name], getattr(np, name)

    def call(*args, **kwargs):
        unknown = set(kwargs) - set(known)
        if unknown:
            raise TypeError(f"cupy.{name} has no argument {unknown}")
        if name in FROM_HOST:
            args = [ndarray(a) if isinstance(a, np.ndarray) else a for a in args]
        kwargs.pop("blocking", None)
        arguments = {k: unwrap(v) for k, v in kwargs.items()}
        return wrap(numpys(*map(unwrap, args), **arguments))

    if isinstance(numpys, np.ufunc):  # CuPy's have it too, by atomic operations
        call.at = lambda *args: numpys.at(*map(unwrap, args))
    return call


def _operators():
    """CuPy's arithmetic, by NumPy's methods of the same names."""
    both = [
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "matmul",
        "and",
        "or",
        "xor",
        "lshift",
        "rshift",
    ]
    names = [f"__{p}{n}__" for n in both for p in ("", "r", "i")]
    names += [
        f"__{n}__"
        for n in ["eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert"]
    ]
    for name in names:
        if name not in NAMES["special"]:
            continue

        def operate(self, *other, name=name):
            if any(isinstance(o, np.ndarray) for o in other):
                raise TypeError(f"Unsupported type {type(other[0])}")
            known = (
                isinstance(other[0], ndarray | int | float | np.generic) if other else 1
            )
            if not known:
                return NotImplemented
            value = getattr(self._array, name)(*map(unwrap, other))
            if value is self._array:  # in place
                return self
            return NotImplemented if value is NotImplemented else wrap(value)

        setattr(ndarray, name, operate)


_operators()


class Module(types.ModuleType):
    """``cupy``."""

    ndarray = ndarray
    __version__ = NAMES["version"]

    def __getattr__(self, name):
        if name in NAMES["values"]:
            return getattr(np, name)
        return function(name)

    @staticmethod
    def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
        return a.get() if isinstance(a, ndarray) else np.asarray(a)


class Cuda(types.ModuleType):
    """``cupy.cuda``: a device with room for everything."""

    allocator = staticmethod(lambda size: size)

    @staticmethod
    def is_available():
        return True

    def get_allocator(self):
        return self.allocator

    def set_allocator(self, allocator):
        self.allocator = allocator


def install():
    """Put the stand-in in CuPy's place."""
    if "cupy" not in sys.modules:
        module = Module("cupy")
        module.cuda = Cuda("cupy.cuda")
        sys.modules["cupy"], sys.modules["cupy.cuda"] = module, module.cuda
    return sys.modules["cupy"]
