"""tinytl on PyTorch's own test samples.

PyTorch ships the arguments that it tests its operations with. Whoever wrote them knew
where implementations go wrong and did not know ours, so they make an independent
table. Each sample is called in both worlds; value, first and second derivatives must
agree. Each call that PyTorch says must fail has to fail here too.

A sample is left out by a reason in LEFT_OUT alone, and a row that compares fewer
samples than it states fails: this file cannot silently compare nothing.
"""

import pytest
import torch
from sets import SETS, sets_for
from torch.testing._internal.common_methods_invocations import op_db
from twins import Leaf, Ours, Theirs, compare, convert, leaves, tower

import tinytl
import tinytl.functional as F

# PyTorch sows its generators for every sample. For devices that are not there it writes
# down where it was asked to, for later; that took as long as the comparisons.
for devices in (torch.cuda, torch.xpu, torch.mtia):
    if not devices.is_available():
        devices.manual_seed_all = lambda seed: None

MOST = 1500  # samples of one operation; more would be thinned out evenly

# (PyTorch's name, variant): (our name, least number of samples compared)
ROWS = {
    ("add", ""): ("add", 9),
    ("sub", ""): ("sub", 9),
    ("mul", ""): ("mul", 9),
    ("div", "no_rounding_mode"): ("div", 9),
    ("neg", ""): ("neg", 1),
    ("pow", ""): ("pow", 9),
    ("__radd__", ""): ("__radd__", 9),
    ("__rsub__", ""): ("__rsub__", 9),
    ("__rmul__", ""): ("__rmul__", 9),
    ("__rdiv__", ""): ("__rtruediv__", 9),
    ("__rpow__", ""): ("__rpow__", 9),
    ("__rmatmul__", ""): ("__rmatmul__", 15),
    ("exp", ""): ("exp", 3),
    ("log", ""): ("log", 3),
    ("sqrt", ""): ("sqrt", 1),
    ("abs", ""): ("abs", 1),
    ("clamp", ""): ("clamp", 7),
    ("maximum", ""): ("maximum", 9),
    ("minimum", ""): ("minimum", 9),
    ("where", ""): ("where", 6),
    ("sum", ""): ("sum", 20),
    ("mean", ""): ("mean", 20),
    ("var", ""): ("var", 14),
    ("var", "unbiased"): ("var", 2),
    ("amax", ""): ("amax", 20),
    ("amin", ""): ("amin", 20),
    ("matmul", ""): ("matmul", 15),
    ("mm", ""): ("matmul", 3),
    ("bmm", ""): ("matmul", 1),
    ("reshape", ""): ("reshape", 7),
    ("flatten", ""): ("flatten", 6),
    ("transpose", ""): ("transpose", 8),
    ("permute", ""): ("permute", 4),
    ("expand", ""): ("expand", 9),
    ("squeeze", ""): ("squeeze", 8),
    ("squeeze", "multiple"): ("squeeze", 6),
    ("unsqueeze", ""): ("unsqueeze", 9),
    ("cat", ""): ("cat", 9),
    ("stack", ""): ("stack", 9),
    ("__getitem__", ""): ("__getitem__", 16),
    ("gather", ""): ("gather", 5),
    ("sigmoid", ""): ("sigmoid", 3),
    ("tanh", ""): ("tanh", 1),
    ("softmax", ""): ("softmax", 7),
    ("softmax", "with_dtype"): ("softmax", 7),
    ("log_softmax", ""): ("log_softmax", 7),
    ("log_softmax", "with_dtype"): ("log_softmax", 7),
    ("nn.functional.pad", "constant"): ("pad", 51),
    ("nn.functional.pad", "reflect"): ("pad", 12),
    ("nn.functional.pad", "replicate"): ("pad", 12),
    ("nn.functional.pad", "replicate_negative"): ("pad", 6),
    ("nn.functional.pad", "circular"): ("pad", 8),
    ("nn.functional.relu", ""): ("relu", 4),
    ("nn.functional.leaky_relu", ""): ("leaky_relu", 9),
    ("nn.functional.prelu", ""): ("prelu", 25),
    ("nn.functional.relu6", ""): ("relu6", 3),
    ("nn.functional.softplus", ""): ("softplus", 3),
    ("nn.functional.hardsigmoid", ""): ("hardsigmoid", 3),
    ("nn.functional.hardswish", ""): ("hardswish", 4),
    ("nn.functional.cross_entropy", ""): ("cross_entropy", 21),
    ("nn.functional.nll_loss", ""): ("nll_loss", 61),
    ("nn.functional.mse_loss", ""): ("mse_loss", 6),
    ("nn.functional.linear", ""): ("linear", 18),
    ("nn.functional.conv2d", ""): ("conv2d", 30),
    ("nn.functional.max_pool2d", ""): ("max_pool2d", 1440),
    ("nn.functional.avg_pool2d", ""): ("avg_pool2d", 7),
    ("nn.functional.adaptive_avg_pool2d", ""): ("adaptive_avg_pool2d", 10),
    ("nn.functional.batch_norm", ""): ("batch_norm", 10),
    ("nn.functional.dropout", ""): ("dropout", 5),
    ("nn.functional.interpolate", "nearest"): ("interpolate", 23),
    ("nn.functional.interpolate", "nearest-exact"): ("interpolate", 23),
    ("nn.functional.interpolate", "linear"): ("interpolate", 18),
    ("nn.functional.interpolate", "bilinear"): ("interpolate", 24),
    ("nn.functional.interpolate", "bicubic"): ("interpolate", 24),
    ("nn.functional.interpolate", "trilinear"): ("interpolate", 24),
    ("nn.functional.interpolate", "area"): ("interpolate", 22),
}

# (our name, which samples, why)
LEFT_OUT = [
    (
        "dropout",
        lambda args, kwargs: (
            kwargs.get("training", True) and 0 < kwargs.get("p", 0.5) < 1
        ),
        "draws random numbers",
    ),
    (
        "gather",
        lambda args, kwargs: args[2].array.ndim != args[0].array.ndim,
        "here an index has as many dimensions as the input, without exceptions for "
        "single numbers and for nothing",
    ),
    (
        "batch_norm",
        lambda args, kwargs: args[0].array.shape == (0,),
        "here there must be a dimension of channels even if there are no images",
    ),
]

# PyTorch has no second derivative of hardsigmoid; its definition by relu6 has one.
TWINS = {"nn.functional.hardsigmoid": lambda x: torch.nn.functional.relu6(x + 3) / 6}

OPS = {(op.name, op.variant_test_name): op for op in op_db}


def ours(name):
    """Our function: of tinytl.functional, or for an operator, the operator."""
    if name == "where":  # PyTorch's samples begin with the input, not the condition
        return lambda input, condition, other: F.where(condition, input, other)
    if name.startswith("__"):
        return lambda x, *args: getattr(x, name)(*args)
    return getattr(F, name)


def neutral(value):
    """Turn PyTorch's arguments into arrays, dtypes, tuples: what both worlds read."""
    if isinstance(value, torch.Tensor):
        return Leaf(value.detach().numpy(), value.requires_grad)
    if isinstance(value, torch.dtype):
        return torch.empty(0, dtype=value).numpy().dtype
    if isinstance(value, list | tuple):
        kind = list if isinstance(value, list) else tuple
        return kind(neutral(v) for v in value)
    if isinstance(value, dict):
        return {k: neutral(v) for k, v in value.items()}
    return value


def calls(key):
    """All samples of an operation as (args, kwargs), thinned out to MOST."""
    samples = list(OPS[key].sample_inputs("cpu", torch.float64, requires_grad=True))
    if len(samples) > MOST:
        samples = [samples[i * len(samples) // MOST] for i in range(MOST)]
    for sample in samples:
        yield neutral((sample.input, *sample.args)), neutral(sample.kwargs)


def describe(args, kwargs):
    """Say which call it was, with shapes in the place of arrays."""

    def short(value):
        if isinstance(value, Leaf):
            return f"{value.array.dtype}{list(value.array.shape)}"
        if isinstance(value, list | tuple):
            return f"({', '.join(map(short, value))})"
        return repr(value)

    words = [*map(short, args), *(f"{k}={short(v)}" for k, v in kwargs.items())]
    return ", ".join(words)


@pytest.mark.parametrize("key", ROWS, ids="-".join)
def test_samples(key):
    name, least = ROWS[key]
    theirs = TWINS.get(key[0], OPS[key].op)
    compared, wrong = 0, []
    for seed, (args, kwargs) in enumerate(calls(key)):
        if any(n == name and skip(args, kwargs) for n, skip, _ in LEFT_OUT):
            continue
        expected = tower(Theirs, theirs, args, kwargs, orders=2, seed=seed)
        differentiable = any(leaf.requires_grad for leaf in leaves([args, kwargs]))
        for kernels in sets_for(name):
            try:
                with tinytl.use_kernels(kernels):
                    compare(tower(Ours, ours(name), args, kwargs, 2, seed), expected)
            except Exception as error:
                what = f"{kernels}: {type(error).__name__}: {error}"[:500]
                wrong.append(f"{describe(args, kwargs)}\n    {what}")
        compared += differentiable
    assert not wrong, f"{len(wrong)} of {compared} samples:\n" + "\n".join(wrong[:8])
    assert compared >= least, f"only {compared} samples were compared"


@pytest.mark.parametrize("key", ROWS, ids="-".join)
def test_dtypes(key):
    """Values and dtypes in single precision, of integers and of truth values.

    An operation may refuse integers and truth values with a clear error, and many do;
    it may not give another result.
    """
    name, _ = ROWS[key]
    op = OPS[key]
    wrong, compared = [], 0
    for dtype in (torch.float32, torch.int64, torch.bool):
        if dtype not in op.dtypes:
            continue
        samples = list(op.sample_inputs("cpu", dtype, requires_grad=False))
        for sample in samples[:: len(samples) // 15 + 1]:  # thinned out evenly
            args, kwargs = neutral((sample.input, *sample.args)), neutral(sample.kwargs)
            if any(n == name and skip(args, kwargs) for n, skip, _ in LEFT_OUT):
                continue
            compared += 1
            try:
                expected = tower(Theirs, op.op, args, kwargs, 0)
                compare(tower(Ours, ours(name), args, kwargs, 0), expected, 1e-5)
            except Exception as error:
                what = f"{type(error).__name__}: {error}"[:500]
                word = name.strip("_").removeprefix("r") if "__" in name else name
                if dtype != torch.float32 and f"Error: {word}: " in what:
                    continue
                wrong.append(f"{describe(args, kwargs)}\n    {what}")
    assert not wrong, f"{len(wrong)} of {compared} samples:\n" + "\n".join(wrong[:8])
    assert compared, "nothing was compared"


# (our name, which calls, why): calls that PyTorch refuses and we cannot even try
NO_SUCH_CALL = [
    ("", lambda args, kwargs: "out" in kwargs, "no operation here writes into `out`"),
    (
        "mean",
        lambda args, kwargs: "dtype" in kwargs,
        "no reduction here converts its input",
    ),
    (
        "conv2d",
        lambda args, kwargs: any(t.is_complex() for t in args),
        "no Tensor here holds complex numbers",
    ),
]

# Rows with calls that must fail, and the least number of them. Not maximum and pow:
# theirs refuse plain numbers, which are welcome here wherever Tensors are.
FAILING = {
    "neg": 1,
    "amax": 3,
    "amin": 3,
    "mean": 1,
    "reshape": 8,
    "gather": 4,
    "cat": 8,
    "nn.functional.prelu": 3,
    "nn.functional.conv2d": 9,
    "nn.functional.max_pool2d": 7,
    "nn.functional.avg_pool2d": 5,
    "nn.functional.adaptive_avg_pool2d": 3,
}


@pytest.mark.parametrize("torch_name", FAILING)
@pytest.mark.parametrize("kernel_set", ["plain", SETS[-1]], indirect=True)
def test_what_must_fail_fails(torch_name, kernel_set):
    name, _ = ROWS[torch_name, ""]
    tried, wrong = 0, []
    for failing in OPS[torch_name, ""].error_inputs("cpu"):
        sample = failing.sample_input
        if isinstance(sample.input, torch.Tensor) and sample.input.ndim > 64:
            continue  # NumPy stops at 64 dimensions, as PyTorch's test says
        given = (sample.input, *sample.args), sample.kwargs
        if any(n in ("", name) and skip(*given) for n, skip, _ in NO_SUCH_CALL):
            continue
        args, kwargs = (
            convert(neutral(part), lambda leaf: Ours.tensor(leaf.array))
            for part in given
        )
        tried += 1
        try:
            result = ours(name)(*args, **kwargs)
        except (ValueError, TypeError, IndexError) as error:
            if name not in str(error):
                wrong.append(f"{describe(*map(neutral, given))}\n    said {error}")
        else:
            wrong.append(f"{describe(*map(neutral, given))}\n    gave {result}")
    assert not wrong, f"{len(wrong)} of {tried}:\n" + "\n".join(wrong)
    assert tried >= FAILING[torch_name], f"only {tried} calls were tried"
