"""Bad input is refused by name: no wrong answer, and no traceback from floors below.

Every sample of the table is damaged, one argument at a time. Then PyTorch is asked. If
it refuses the call, so must tinytl; if it has an answer, tinytl gives the same one or
refuses. And to refuse is to raise ValueError, TypeError or IndexError that begins with
the name of the operation.
"""

import numpy as np
import pytest
from operations import ROWS
from twins import Leaf, Ours, Theirs, compare, tower

import tinytl


def damaged_arrays(x):
    """An array that is almost like x."""
    yield "without its first dimension", x[0] if x.ndim and len(x) else None
    yield "with one more dimension", x[None]
    yield (
        "one longer",
        np.concatenate([x, x[..., -1:]], -1) if x.size and x.ndim else None,
    )
    yield "empty", x[..., :0] if x.ndim else None
    if x.dtype.kind == "f":
        yield "of integers", np.ones(x.shape, np.int64)
        yield "in the other precision", x.astype(np.float32)
    else:
        yield "out of range", x + 1000 if x.dtype.kind == "i" else None
        yield "of floats", x.astype(np.float64)


NUMBERS = [-1, 0, 7, 2.5, "x", (1, 2, 3), ()]

# (operation, what, why): calls that PyTorch refuses and that are welcome here
WELCOME = [
    *[
        (name, "= (1, 2, 3)", "sequences of numbers are welcome wherever Tensors are")
        for name in ("add", "sub", "mul", "div", "pow", "where")
    ],
    ("clamp", "= (1, 2, 3)", "likewise"),
    ("reshape", "= -1", "one size is as good as a tuple of one"),
]


def damages(args, kwargs):
    """Yield (what, args, kwargs) with one argument replaced."""
    everything = [*enumerate(args), *kwargs.items()]
    for key, value in everything:

        def put(new, key=key):
            if isinstance(key, int):
                return [*args[:key], new, *args[key + 1 :]], kwargs
            return list(args), {**kwargs, key: new}

        if isinstance(value, Leaf):
            for what, array in damaged_arrays(value.array):
                if array is not None:
                    yield f"argument {key} {what}", *put(Leaf(array, False))
            yield f"argument {key} a word", *put("x")
        elif not isinstance(value, bool | list | np.dtype):
            for new in NUMBERS:
                yield f"argument {key} = {new!r}", *put(new)


def outcome(world, function, args, kwargs):
    try:
        return tower(world, function, args, kwargs, orders=0), None
    except Exception as error:
        return None, error


def complaint(row, args, kwargs):
    """What is wrong with how tinytl takes a damaged call, or None."""
    expected, refused = outcome(Theirs, row.theirs, args, kwargs)
    actual, error = outcome(Ours, row.ours, args, kwargs)
    if error is not None:
        named = str(error).startswith(f"{row.name}: ")
        if isinstance(error, ValueError | TypeError | IndexError) and named:
            return None
        return f"raised {error!r}"
    if refused is not None:
        return f"torch said {refused!r}"
    try:
        compare(actual, expected, 1e-6)
    except AssertionError as different:
        return str(different)
    return None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # 1/0 may warn, as NumPy does
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.name != "getitem"], ids=lambda row: row.name
)
def test_damaged_calls(row):
    tried, wrong = 0, {}
    for sample in row.samples:
        for what, args, kwargs in damages(sample.args, sample.kwargs):
            if any(n == row.name and what.endswith(end) for n, end, _ in WELCOME):
                continue
            tried += 1
            found = complaint(row, args, kwargs)
            if found:
                wrong[f"{what}: {found}"[:300]] = None
    assert tried
    assert not wrong, f"{len(wrong)} of {tried}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("index", [3, -4, 2.5, "x", (0, 0, 0), (slice(None), 4), [7]])
def test_bad_indices(index):
    with pytest.raises((IndexError, TypeError)):
        tinytl.Tensor(np.zeros((3, 4)))[index]
