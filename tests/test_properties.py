"""Drawn cases: shapes, steps and memory orders that nobody would have thought of.

The comparisons with PyTorch are those of the contract, to the second derivative. The
identities below need no second library: two ways of saying the same must agree.
"""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as T
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from operations import Draw, memory
from twins import Leaf, Ours, Theirs, compare, tower

import tinytl
import tinytl.functional as F
from reference.loops import pool
from tinytl import Tensor, grad

ORDERS = st.sampled_from("CF-/")
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module", params=["plain", "cpu"], autouse=True)
def kernels(request):
    """Each kernel set, for the whole file: Hypothesis wants none per example."""
    try:
        chosen = tinytl.use_kernels(request.param)
    except ValueError:
        pytest.skip("numba is not installed")
    with chosen:
        yield


def same(name, theirs, args, kwargs=None, orders=2):
    expected = tower(Theirs, theirs, args, kwargs, orders)
    compare(tower(Ours, getattr(F, name), args, kwargs, orders), expected)


@st.composite
def axes(draw, dilated=True, most_padding=2, longest=5):
    """One direction of a window: size, kernel, stride, padding, dilation that fit."""
    U, s = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    d = draw(st.integers(1, 3)) if dilated else 1
    reach = d * (U - 1) + 1
    p = draw(st.integers(0, most_padding if dilated else U // 2))
    H = max(1, reach - 2 * p) + draw(st.integers(0, longest))
    return H, U, s, p, d


@st.composite
def convolutions(draw):
    """Also with more padding than the kernel sees, and with long rows."""
    rows, columns = draw(axes(most_padding=9)), draw(axes(most_padding=9, longest=20))
    (H, U, *_), (W, V, *_) = rows, columns
    s, p, d = (tuple(a) for a in list(zip(rows, columns, strict=True))[2:])
    groups = draw(st.integers(1, 3))
    C, Fs = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(SEEDS))
    shape_x = (draw(st.integers(0, 3)), groups * C, H, W)
    if draw(st.integers(0, 5)) == 0:
        shape_x = shape_x[1:]
    x, w, b = (
        Leaf(memory(rng.standard_normal(shape), draw(ORDERS)))
        for shape in (shape_x, (groups * Fs, C, U, V), (groups * Fs,))
    )
    if s == (1, 1) and draw(st.booleans()):
        p = draw(st.sampled_from(["same", "valid"]))
        if p == "valid" and (d[0] * (U - 1) >= H or d[1] * (V - 1) >= W):
            p = "same"
    return x, w, draw(st.sampled_from([b, None])), s, p, d, groups


@given(convolutions())
def test_conv2d(args):
    same("conv2d", T.conv2d, args)


@st.composite
def pools(draw, dilated, ties):
    rows, columns = draw(axes(dilated)), draw(axes(dilated))
    size, kernel, stride, padding, dilation = zip(rows, columns, strict=True)
    padding = tuple(
        min(p, (d * (k - 1) + 1) // 2, k // 2)
        for p, d, k in zip(padding, dilation, kernel, strict=True)
    )
    size = tuple(
        max(n, d * (k - 1) + 1 - 2 * p)
        for n, p, d, k in zip(size, padding, dilation, kernel, strict=True)
    )
    ceil_mode = draw(st.booleans())
    for n, *numbers in zip(size, kernel, stride, padding, dilation, strict=True):
        # PyTorch crashes where a spread-out window sees padding alone
        U, d = numbers[0], numbers[3]
        for start in pool.windows(n, *numbers, ceil_mode):
            assume(any(0 <= start + u * d < n for u in range(U)))
    source = Draw(np.random.default_rng(draw(SEEDS)))
    array = source.ties if ties else source.distinct
    x = array(draw(st.integers(0, 2)), draw(st.integers(1, 2)), *size)
    x = Leaf(memory(x.array, draw(ORDERS)))
    kwargs = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
    }
    if dilated:
        kwargs["dilation"] = dilation
    return x, kwargs


@given(st.booleans().flatmap(lambda ties: pools(dilated=True, ties=ties)))
def test_max_pool2d(case):
    x, kwargs = case
    same("max_pool2d", T.max_pool2d, (x,), {**kwargs, "return_indices": True})


@given(
    pools(dilated=False, ties=False),
    st.booleans(),
    st.sampled_from([None, 3, -2]),
)
def test_avg_and_sum_pool2d(case, count_include_pad, divisor_override):
    x, kwargs = case
    same(
        "sum_pool2d",
        lambda *a, **k: T.avg_pool2d(*a, divisor_override=1, **k),
        (x,),
        kwargs,
    )
    also = {
        "count_include_pad": count_include_pad,
        "divisor_override": divisor_override,
    }
    same("avg_pool2d", T.avg_pool2d, (x,), {**kwargs, **also})


@given(
    st.tuples(st.integers(0, 2), *[st.integers(1, 9)] * 3),
    st.tuples(*[st.integers(1, 12)] * 2),
    ORDERS,
)
def test_adaptive_avg_pool2d(shape, size, order):
    x = Draw(np.random.default_rng(0))(*shape, order=order)
    same("adaptive_avg_pool2d", T.adaptive_avg_pool2d, (x, size))


def factors(n):
    """Scale factors that leave a pixel, change the size, and let none lie on an edge.

    On an edge rounding decides which pixel is nearest, in PyTorch in single precision.
    Where a factor leaves the size, PyTorch's gradient may not be that of its value.
    """
    drawn = st.integers(1, 40).map(lambda k: max(k / 13 + 0.0031, 1.0031 / n))
    return drawn.filter(lambda factor: int(n * factor) != n)


@st.composite
def resizings(draw):
    mode, dims = draw(
        st.sampled_from(
            [
                ("nearest", 1),
                ("nearest", 2),
                ("nearest-exact", 2),
                ("nearest-exact", 3),
                ("linear", 1),
                ("bilinear", 2),
                ("bicubic", 2),
                ("trilinear", 3),
                ("area", 2),
            ]
        )
    )
    sizes = st.integers(1, 8)
    shape = (draw(st.integers(0, 2)), draw(st.integers(1, 2)))
    shape += tuple(draw(sizes) for _ in range(dims))
    x = Draw(np.random.default_rng(draw(SEEDS)))(*shape, order=draw(ORDERS))
    kwargs = {"mode": mode}
    if draw(st.booleans()):
        kwargs["size"] = tuple(draw(sizes) for _ in range(dims))
    else:
        kwargs["scale_factor"] = tuple(draw(factors(n)) for n in shape[2:])
        if mode != "area":
            kwargs["recompute_scale_factor"] = draw(st.sampled_from([None, True]))
    if mode in ("linear", "bilinear", "bicubic", "trilinear"):
        kwargs["align_corners"] = draw(st.booleans())
    if mode in ("bilinear", "bicubic"):
        # PyTorch is wrong where an image of one column comes in or out
        factor = kwargs.get("scale_factor", (1,))[-1]
        out = kwargs["size"][-1] if "size" in kwargs else int(shape[-1] * factor)
        kwargs["antialias"] = draw(st.booleans()) and 1 not in (shape[-1], out)
    return x, kwargs


@given(resizings())
def test_interpolate(case):
    x, kwargs = case
    same("interpolate", T.interpolate, (x,), kwargs)


@given(
    mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4),
    st.sampled_from("add sub mul div maximum minimum pow".split()),  # noqa: SIM905
    ORDERS,
    ORDERS,
    SEEDS,
)
def test_broadcasting(shapes, name, order_x, order_z, seed):
    draw = Draw(np.random.default_rng(seed))
    x, z = (
        draw(*shape, order=order, low=0.3, high=2)
        for shape, order in zip(shapes.input_shapes, (order_x, order_z), strict=True)
    )
    same(name, getattr(torch, name), (x, z))


@given(
    st.lists(st.integers(1, 4), max_size=4),
    st.sampled_from("sum mean amax amin var".split()),  # noqa: SIM905
    st.data(),
)
def test_reductions(shape, name, data):
    draw = Draw(np.random.default_rng(data.draw(SEEDS)))
    x = draw.distinct(*shape, order=data.draw(ORDERS))
    dims = data.draw(st.sets(st.integers(0, len(shape) - 1))) if shape else set()
    if name == "var" and not dims:  # PyTorch's gradient forgets the 1/n of dim=()
        dims = set(range(len(shape)))
    flipped = tuple(d - len(shape) if data.draw(st.booleans()) else d for d in dims)
    kwargs = {"keepdim": data.draw(st.booleans())}
    if name == "var":
        kwargs["correction"] = 0
    same(name, getattr(torch, name), (x, flipped), kwargs)


@given(
    st.tuples(st.integers(0, 3), st.integers(1, 3), *[st.integers(1, 3)] * 2),
    st.integers(2, 4),
    st.booleans(),
    ORDERS,
    SEEDS,
)
def test_batch_norm(shape, dims, training, order, seed):
    shape = shape[:dims]
    if training and np.prod(shape) <= shape[1]:
        return  # one value in a channel: no variance, an error in both
    draw = Draw(np.random.default_rng(seed))
    C = shape[1]
    arguments = (
        draw(*shape, order=order),
        draw(C, grad=False),
        draw(C, low=0.5, high=2, grad=False),
        draw(C),
        draw(C),
        training,
        0.2,
        0.1,
    )
    same("batch_norm", T.batch_norm, arguments)


# -- identities ------------------------------------------------------------------------


def inner(a, b):
    return F.sum(a * b)


def tensors(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [Tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]


def agree(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=tolerance, atol=tolerance)


@given(convolutions())
def test_convolution_is_bilinear_and_its_gradients_are_its_transposes(args):
    """<conv(x, w), g> = <x, conv_dx(g, w)> = <w, conv_dw(x, g)>."""
    x, w = (Tensor(leaf.array, requires_grad=True) for leaf in args[:2])
    y = F.conv2d(x, w, None, *args[3:])
    g = Tensor(np.random.default_rng(0).standard_normal(y.shape))
    gx, gw = grad(y, [x, w], g)
    agree(inner(y, g), inner(x, gx), 1e-10)
    agree(inner(y, g), inner(w, gw), 1e-10)


@given(resizings())
def test_interpolation_is_linear_and_its_gradient_is_its_transpose(case):
    """<Ax, g> = <x, A'g> and A(2x + z) = 2Ax + Az."""
    leaf, kwargs = case
    x = Tensor(leaf.array, requires_grad=True)
    z = Tensor(np.random.default_rng(1).standard_normal(x.shape))
    y = F.interpolate(x, **kwargs)
    g = Tensor(np.random.default_rng(0).standard_normal(y.shape))
    agree(inner(y, g), inner(x, grad(y, x, g)[0]), 1e-10)
    agree(F.interpolate(2 * x + z, **kwargs), 2 * y + F.interpolate(z, **kwargs), 1e-10)


@given(resizings())
def test_interpolation_of_a_constant_is_that_constant(case):
    leaf, kwargs = case
    y = F.interpolate(Tensor(np.full(leaf.array.shape, 2.5)), **kwargs).numpy()
    np.testing.assert_allclose(y, 2.5, rtol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_pixels_are_counted_in_whole_numbers(mode):
    """18 -> 66: pixel 55 starts at 55 * 18 / 66 = 15, and not just before."""
    for H in range(1, 40):
        x = Tensor(np.arange(float(H)).reshape(1, 1, H, 1))
        for I in range(1, 80):  # noqa: E741
            y = F.interpolate(x, (I, 1), mode=mode).numpy().ravel()
            if mode == "nearest":
                expected = [i * H // I for i in range(I)]
            else:
                expected = [(2 * i + 1) * H // (2 * I) for i in range(I)]
            assert y.tolist() == expected, (H, I)


def test_depthwise_is_one_convolution_for_each_channel():
    x, w = tensors(1, (2, 3, 5, 6), (3, 1, 3, 2))
    y = F.conv2d(x, w, stride=(1, 2), padding=1, groups=3)
    for c in range(3):
        one = F.conv2d(x[:, c : c + 1], w[c : c + 1], stride=(1, 2), padding=1)
        agree(y[:, c : c + 1], one)


def test_groups_are_convolutions_side_by_side():
    x, w = tensors(2, (2, 4, 5, 6), (6, 2, 2, 3))
    halves = [F.conv2d(x[:, 2 * k : 2 * k + 2], w[3 * k : 3 * k + 3]) for k in range(2)]
    agree(F.conv2d(x, w, groups=2), F.cat(halves, 1))


def test_a_1x1_convolution_is_a_matrix_for_each_pixel():
    x, w = tensors(3, (2, 3, 4, 5), (6, 3, 1, 1))
    pixels = F.matmul(F.permute(x, (0, 2, 3, 1)), F.transpose(w[:, :, 0, 0], 0, 1))
    agree(F.conv2d(x, w), F.permute(pixels, (0, 3, 1, 2)))


def test_a_kernel_as_large_as_the_image_is_a_linear_layer():
    x, w = tensors(4, (2, 3, 4, 5), (6, 3, 4, 5))
    y = F.linear(F.flatten(x, 1), F.flatten(w, 1))
    agree(F.conv2d(x, w), F.reshape(y, (2, 6, 1, 1)))


@given(pools(dilated=False, ties=False))
def test_sum_pooling_is_average_pooling_times_the_area(case):
    leaf, kwargs = case
    x = Tensor(leaf.array)
    area = kwargs["kernel_size"][0] * kwargs["kernel_size"][1]
    kwargs = {**kwargs, "ceil_mode": False}
    agree(F.sum_pool2d(x, **kwargs), area * F.avg_pool2d(x, **kwargs))


def test_sum_pooling_is_a_convolution_with_ones():
    (x,) = tensors(5, (2, 3, 6, 7))
    ones = Tensor(np.ones((3, 1, 3, 2)))
    y = F.conv2d(x, ones, stride=2, padding=1, groups=3)
    agree(F.sum_pool2d(x, (3, 2), 2, 1), y)


def test_max_pooling_gathers_where_its_index_says():
    (x,) = tensors(6, (2, 3, 6, 7))
    y, index = F.max_pool2d(x, 3, 2, return_indices=True)
    flat = F.gather(F.flatten(x, 2), 2, F.flatten(index, 2))
    agree(flat, F.flatten(y, 2))


@given(st.floats(-50, 50), SEEDS)
def test_softmax_forgets_a_constant(constant, seed):
    (x,) = tensors(seed, (3, 4))
    agree(F.softmax(x + constant, 1), F.softmax(x, 1), 1e-11)
    agree(F.sum(F.softmax(x, 1), 1), Tensor(np.ones(3)))
    agree(F.exp(F.log_softmax(x, 1)), F.softmax(x, 1))


def test_batch_norm_standardises_and_forgets_scale_and_shift():
    x, gain = tensors(7, (4, 3, 5, 6), (3,))
    none = {"running_mean": None, "running_var": None, "training": True, "eps": 1e-14}
    y = F.batch_norm(x, **none)
    agree(F.mean(y, (0, 2, 3)), Tensor(np.zeros(3)))
    agree(F.var(y, (0, 2, 3), correction=0), Tensor(np.ones(3)))
    scale = F.reshape(F.exp(gain), (1, 3, 1, 1))
    agree(F.batch_norm(x * scale + 5, **none), y, 1e-10)
    (gx,) = grad(y, x, Tensor(np.random.default_rng(0).standard_normal(y.shape)))
    agree(F.sum(gx, (0, 2, 3)), Tensor(np.zeros(3)), 1e-10)  # moving all moves nothing
    agree(F.sum(gx * x, (0, 2, 3)), Tensor(np.zeros(3)), 1e-10)


def test_cross_entropy_is_log_softmax_and_nll():
    (x,) = tensors(8, (5, 4))
    target = Tensor(np.array([0, 1, 2, 3, 0]))
    agree(F.cross_entropy(x, target), F.nll_loss(F.log_softmax(x, 1), target))
    one_hot = Tensor(np.eye(4)[target.numpy()])
    agree(F.cross_entropy(x, target), F.cross_entropy(x, one_hot))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout(p):
    """It keeps a share 1 - p, keeps the mean, and its gradient has the same holes."""
    x = Tensor(np.full((200, 500), 3.0), requires_grad=True)
    y = F.dropout(x, p, generator=np.random.default_rng(1))
    again = F.dropout(x, p, generator=np.random.default_rng(1))
    np.testing.assert_array_equal(y.numpy(), again.numpy())
    kept = y.numpy() != 0
    assert abs(kept.mean() - (1 - p)) < 5 * np.sqrt(p * (1 - p) / kept.size)
    np.testing.assert_allclose(y.numpy()[kept], 3 / (1 - p), rtol=1e-12)
    (gx,) = grad(F.sum(y), x)
    np.testing.assert_allclose(gx.numpy(), kept / (1 - p), rtol=1e-12)
    agree(F.dropout(x, p, training=False), x)


def test_many_blocks_are_one(monkeypatch):
    """The plain convolution works on a few images at a time, which may not show."""
    plain = sys.modules["tinytl_kernels.plain.conv"]  # its package has a conv()
    rng = np.random.default_rng(9)
    args = [Leaf(rng.standard_normal(s)) for s in [(5, 4, 5, 6), (6, 2, 3, 2), (6,)]]
    for size in (1, 2 * 4 * 3 * 2 * 3 * 5, 1 << 20):
        monkeypatch.setattr(plain, "BLOCK", size)
        with tinytl.use_kernels("plain"):
            same("conv2d", T.conv2d, (*args, 1, 0, 1, 2))
