"""Tensor, record, grad: what the graph promises, apart from any one operation."""

import copy
import gc
import pickle
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import tinytl
import tinytl.functional as F
from tinytl import Tensor, detect_anomaly, enable_grad, grad, nn, no_grad
from tinytl.graph import used_once
from tinytl.tensor import record


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


# -- values ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        (2, np.int64),
        (True, np.bool_),
        ([1.0, 2.0], np.float32),
        ([[1, 2], [3, 4]], np.int64),
        (np.ones(3), np.float64),
        (np.float64(1), np.float64),
        (np.ones(3, np.float32), np.float32),
        (np.zeros(2, np.uint8), np.uint8),
    ],
)
def test_data_keep_their_dtype_and_numbers_get_torchs(data, dtype):
    assert Tensor(data).dtype == dtype


@pytest.mark.parametrize(
    "data", ["text", 1j, np.ones(2, np.float16), np.array([None]), {"a": 1}]
)
def test_what_a_tensor_cannot_hold_is_a_type_error(data):
    with pytest.raises(TypeError, match="a Tensor holds float32, float64"):
        Tensor(data)


def test_ragged_sequences_are_refused():
    with pytest.raises(ValueError, match="nested sequences of equal lengths"):
        Tensor([[1.0, 2.0], [3.0]])


def test_arrays_are_shared_not_copied():
    array = np.ones(3)
    assert Tensor(array).data is array
    assert Tensor(array).detach().data is array


def test_a_tensor_reads_like_an_array():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.shape == x.size() == (2, 2)
    assert x.size(1) == x.dim() == x.ndim == len(x) == 2
    assert x.numel() == 4
    assert x.tolist() == [[1, 2], [3, 4]]
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert float(x[0, 1]) == 2.0
    assert int(x[1, 1]) == 4
    assert bool(x[0, 0] > 0)
    assert np.asarray(x).tolist() == x.numpy().tolist()
    assert x.argmax(1).tolist() == [1, 1]
    assert x.T.tolist() == [[1, 3], [2, 4]]
    assert x.double().dtype == np.float64
    assert x.double().float().dtype == np.float32
    assert (x == x).data.all()
    assert not (x != x).data.any()
    assert ((x > 2) == (x >= 3)).data.all()
    assert ((x < 2) != (x >= 2)).data.all()
    assert len({x, x}) == 1
    assert x != None  # noqa: E711 - no Tensor of bools, as for everything else
    assert x != "text"


def test_repr_shows_values_dtype_and_history():
    assert repr(Tensor([1.0, 2.0])) == "Tensor([1., 2.])"
    assert repr(Tensor(np.ones(1))) == "Tensor([1.], dtype=float64)"
    assert "requires_grad=True" in repr(leaf(1.0))


def test_arrays_and_numbers_mix_with_tensors_from_both_sides():
    x = leaf(1.0, 2.0)
    array = np.array([3.0, 4.0])
    for y in (array + x, x + array, 2 + x, array @ x, x @ array, 2**x, 1 / x, 1 - x):
        assert isinstance(y, Tensor)
        assert y.requires_grad
    assert (array * x).tolist() == [3, 8]
    assert (2**x).tolist() == [2, 4]
    assert abs(-x).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("name", "args"),
    [
        *((name, ()) for name in ("exp", "log", "sqrt", "abs", "relu", "sigmoid")),
        *((name, ()) for name in ("tanh", "sum", "mean", "var", "amax", "amin")),
        *((name, ()) for name in ("flatten", "squeeze", "log_softmax", "softmax")),
        *((name, (1, True)) for name in ("sum", "mean", "amax", "amin")),
        ("var", (1, False, True)),
        ("pow", (2,)),
        ("clamp", (0.2, 0.8)),
        ("clamp", (None, 0.5)),
        ("matmul", (np.arange(12.0).reshape(4, 3),)),
        ("transpose", (0, 1)),
        ("unsqueeze", (1,)),
        ("permute", ((1, 0),)),
        ("expand", ((2, 3, 4),)),
        ("reshape", ((2, 6),)),
    ],
)
def test_a_method_is_the_function_of_its_name(name, args):
    x = Tensor(np.linspace(0.1, 1, 12).reshape(3, 4), requires_grad=True)
    method, function = getattr(x, name)(*args), getattr(F, name)(x, *args)
    assert np.array_equal(method.data, function.data)
    weights = Tensor(np.ones(method.shape))
    ours, theirs = (grad(y, x, weights)[0] for y in (method, function))
    assert np.array_equal(ours.data, theirs.data)


def test_shapes_are_given_as_numbers_or_as_one_sequence():
    x = Tensor(np.arange(6.0).reshape(2, 3))
    assert x.reshape(3, 2).shape == x.view([3, 2]).shape == (3, 2)
    assert x.permute(1, 0).tolist() == x.permute((1, 0)).tolist() == x.T.tolist()
    assert x.expand(2, -1, 3).shape == x.expand((2, -1, 3)).shape == (2, 2, 3)
    assert x.view(-1).shape == (6,)


def test_items_and_lengths_of_the_wrong_shape_are_errors():
    with pytest.raises(ValueError, match="exactly one value, shape is"):
        Tensor([1.0, 2.0]).item()
    with pytest.raises(ValueError, match="exactly one value"):
        bool(Tensor([1.0, 2.0]) > 0)
    with pytest.raises(TypeError, match="no length"):
        len(Tensor(1.0))
    with pytest.raises(TypeError):
        Tensor([1.0])[0] = 2.0


# -- requires_grad -----------------------------------------------------------------


def test_only_floats_and_only_leaves_change_requires_grad():
    with pytest.raises(TypeError, match="only floats have gradients"):
        Tensor([1, 2], requires_grad=True)
    x = leaf(1.0)
    with pytest.raises(ValueError, match=r"leaves only.*detach"):
        (x * 2).requires_grad = False
    assert not x.requires_grad_(False).requires_grad
    assert (x * 2).is_leaf
    assert not (x.requires_grad_() * 2).is_leaf


def test_no_grad_records_nothing_and_enable_grad_does_again():
    x = leaf(1.0)
    with no_grad():
        assert not (x * 2).requires_grad
        assert not tinytl.is_grad_enabled()
        with enable_grad():
            assert (x * 2).requires_grad

    @no_grad()
    def value(t):
        return t * 2

    assert not value(x).requires_grad
    assert (x * 2).requires_grad


def test_recording_is_a_matter_of_each_thread():
    x, seen = leaf(1.0), []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, None])
def test_copies_of_leaves_are_leaves_of_their_own(duplicate):
    duplicate = duplicate or (lambda t: pickle.loads(pickle.dumps(t)))
    x = leaf(1.0, 2.0)
    y = duplicate(x)
    (y * 3).sum().backward()
    assert x.grad is None
    assert y.grad.tolist() == [3, 3]
    with pytest.raises(ValueError, match="only leaves can be copied"):
        duplicate(x * 2)


# -- gradients ---------------------------------------------------------------------


def test_a_value_used_twice_gets_the_sum_of_both_gradients():
    a = leaf(1.0)
    b = a + a
    c = b + b
    assert grad(c, a)[0].item() == 4


def test_each_node_is_visited_once():
    """A chain of n doublings has 2**n paths; visiting paths would take for ever."""
    a = leaf(1.0)
    x = a
    for _ in range(200):
        x = x * 0.5 + x * 0.5
    assert grad(x, a)[0].item() == pytest.approx(1)


def test_grad_reaches_intermediate_values_and_outputs_themselves():
    x = leaf(2.0)
    y = x * x
    z = y * 3
    dy, dx, dz = grad(z, [y, x, z])
    assert (dy.item(), dx.item(), dz.item()) == (3, 12, 1)


def test_grad_sums_over_outputs_with_weights():
    x = leaf(1.0, 2.0)
    weights = [Tensor(np.array([1.0, 10.0])), None]
    (g,) = grad([x * x, x.sum()], x, weights)
    assert g.tolist() == [2 + 1, 40 + 1]
    (g,) = grad([x.sum(), x.sum()], x)
    assert g.tolist() == [2, 2]


def test_grad_leaves_nothing_behind_and_can_be_asked_again():
    x = leaf(3.0)
    y = x * x
    assert grad(y, x)[0].item() == grad(y, x)[0].item() == 6
    assert x.grad is None
    assert not grad(y, x)[0].requires_grad


def test_derivatives_of_every_order():
    x = leaf(2.0)
    g = x**5
    for expected in (5 * 2**4, 20 * 2**3, 60 * 2**2, 120 * 2, 120):
        (g,) = grad(g, x, create_graph=True)
        assert g.item() == expected


def test_create_graph_records_inside_no_grad_too():
    x = leaf(2.0)
    y = x * x * x
    with no_grad():
        (g,) = grad(y, x, create_graph=True)
    assert grad(g, x)[0].item() == 12


def test_backward_adds_up_in_the_leaves():
    x, unused = leaf(2.0), leaf(1.0)
    (x * x).backward()
    (x * 3).backward(Tensor(np.array([2.0])))
    assert x.grad.item() == 4 + 6
    assert unused.grad is None


def test_backward_can_be_differentiated():
    x = leaf(2.0)
    (x * x * x).backward(create_graph=True)
    assert grad(x.grad, x)[0].item() == 12


def test_unused_inputs_are_errors_unless_allowed():
    x, z = leaf(1.0), leaf(1.0)
    with pytest.raises(ValueError, match="do not depend on input 1.*allow_unused"):
        grad(x * 2, [x, z])
    assert grad(x * 2, [x, z], allow_unused=True)[1] is None


def test_what_grad_cannot_do_is_said():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"output 0 has shape \(2,\); only a single"):
        grad(x * 2, x)
    with pytest.raises(ValueError, match="output 0 was not recorded"):
        grad(Tensor([1.0]), x)
    with pytest.raises(ValueError, match="input 0 has requires_grad=False"):
        grad(x.sum(), Tensor([1.0]))
    with pytest.raises(ValueError, match="2 outputs but 1 grad_outputs"):
        grad([x.sum(), x.sum()], x, [None])
    with pytest.raises(ValueError, match=r"Tensor of shape \(2,\), got \(3,\)"):
        grad(x * 2, x, Tensor(np.ones(3)))
    with pytest.raises(ValueError, match=r"Tensor of shape \(2,\), got float"):
        grad(x * 2, x, [1.0])
    with pytest.raises(ValueError, match="backward: output 0 was not recorded"):
        Tensor([1.0]).backward()


def test_a_pullback_of_the_wrong_shape_is_named():
    def halve(x):
        return record(x.data * 2, (x, lambda g: g[:1]))

    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"halve returned .* \(1,\) .* shape \(2,\)"):
        grad(halve(x).sum(), x)


def test_gradients_keep_their_inputs_dtype():
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    y = Tensor(np.ones(2), requires_grad=True)
    z = x * y
    assert z.dtype == np.float64
    gx, gy = grad(z.sum(), [x, y])
    assert (gx.dtype, gy.dtype) == (np.float32, np.float64)


def test_an_update_between_forward_and_backward_changes_nothing():
    """Arrays are replaced, never written to: the recorded graph keeps the old ones."""
    x = leaf(2.0)
    y = x * x
    x.data = x.data - 1
    assert grad(y, x)[0].item() == 2 * 1  # the pullback reads x as it is now
    z = F.relu(x) * 1
    x.data = -x.data
    assert grad(z, x)[0].item() == 1  # a mask was settled when it was computed


# -- the graph lives exactly as long as it is needed ---------------------------------


def test_a_graph_ten_thousand_deep():
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + 1e-4 * y
    (g,) = grad(y, x)
    assert g.item() == pytest.approx(np.e, rel=1e-3)
    del y  # freeing it must not recurse either


@pytest.fixture
def _no_cycle_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


OPERATIONS = {
    "arithmetic": lambda x: (x * x / (x + 2) - x) ** 2,
    "functions": lambda x: F.exp(F.log(F.sqrt(x + 3))) + F.abs(x).clamp(0.1, 0.9),
    "choice": lambda x: F.maximum(x, 0.1) + F.where(x > 0, x, -x) + F.amax(x, 1, True),
    "activations": lambda x: F.softplus(F.tanh(F.sigmoid(x))) + F.hardswish(F.relu6(x)),
    "softmax": lambda x: F.softmax(x, 1) * F.log_softmax(x, 1),
    "shape": lambda x: F.cat([x.permute(0, 1, 3, 2), x[:, :, ::2]], 2).flatten(2),
    "conv": lambda x: F.conv2d(x, Tensor(np.ones((2, 3, 3, 3))), padding="same"),
    "pool": lambda x: F.max_pool2d(x, 3, 1, 1) + F.avg_pool2d(x, 3, 1, 1),
    "resize": lambda x: F.interpolate(F.pad(x, [1] * 4, "reflect"), 4, mode="bilinear"),
    "norm": lambda x: F.batch_norm(x, None, None, training=True),
    "losses": lambda x: F.cross_entropy(x, np.zeros((2, 8, 8), int)) + F.mse_loss(x, x),
}


@pytest.mark.usefixtures("_no_cycle_collection")
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_graph_dies_with_its_last_tensor(operation):
    """Without help from the collector of cycles: no pullback holds its own output."""
    x = Tensor(np.random.default_rng(0).normal(size=(2, 3, 8, 8)), requires_grad=True)
    y = operation(x)
    (g,) = grad(y.sum(), x, create_graph=True)
    if g.requires_grad:
        grad((g * g).sum(), x, create_graph=True)
    alive = [weakref.ref(part) for part in (y, g, y.node, g.node) if part is not None]
    assert len(alive) >= 3
    del y, g
    assert [ref() for ref in alive] == [None] * len(alive)


@pytest.mark.usefixtures("_no_cycle_collection")
def test_memory_is_flat_over_a_thousand_steps():
    rng = np.random.default_rng(0)
    w = Tensor(rng.normal(size=(16, 16)), requires_grad=True)
    x = Tensor(rng.normal(size=(32, 16)))

    def step():
        (g,) = grad(F.tanh(x @ w).sum(), w, create_graph=True)
        (h,) = grad((g * g).sum(), w)
        w.data = w.data - 1e-4 * h.data

    tracemalloc.start()
    curve = []
    for k in range(1000):
        step()
        if k > 200 and k % 100 == 99:  # Python's lists of free tuples are full by then
            curve.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert max(curve) - min(curve) < 20_000  # bytes; one step's graph is ten times more


# -- looking for NaN -----------------------------------------------------------------


def chain(length):
    """A leaf, and a number that operations which each keep an array make of it."""
    x = Tensor(np.linspace(0.5, 1, 100_000), True)
    y = x
    for _ in range(length):
        y = y * F.sigmoid(y)
    return x, y.sum()


def test_a_graph_for_one_walk_is_let_go_on_the_way():
    x, y = chain(10)
    (wanted,) = grad(y, x)
    tracemalloc.start()
    try:
        with used_once():
            x, y = chain(10)
        before = tracemalloc.get_traced_memory()[0]
        (found,) = grad(y, x)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found.data, wanted.data)
    arrays = x.data.nbytes
    assert before > 15 * arrays  # in the graph alone: y is a number
    assert after < 4 * arrays
    with pytest.raises(ValueError, match="used_once"):
        grad(y, x)


def test_a_recorded_walk_lets_nothing_go():
    """The walk through its results lets go of both."""
    x, y = chain(3)
    (g,) = grad(y, x, create_graph=True)
    (wanted,) = grad(g.sum(), x)
    with used_once():
        x, y = chain(3)
        (g,) = grad(y, x, create_graph=True)
        (g,) = grad(y, x, create_graph=True)
        total = g.sum()
    np.testing.assert_array_equal(grad(total, x)[0].data, wanted.data)
    with pytest.raises(ValueError, match="used_once"):
        grad(total, x)


def test_what_was_recorded_outside_outlives_the_walk():
    x = Tensor(np.array(3.0), True)
    square = x * x
    for _ in range(2):
        with used_once():
            y = square * 2
        assert grad(y, x)[0].item() == 12


def test_anomaly_names_the_operation():
    x = leaf(0.0, 1.0)
    with (
        detect_anomaly(),
        pytest.raises(ValueError, match=r"^log holds infinity: 1 of"),
    ):
        F.log(x)
    assert np.isinf(F.log(x).data).any()  # outside the block nothing is checked


def test_anomaly_names_the_gradient():
    x = leaf(0.0)
    with detect_anomaly():
        y = F.sqrt(x)
        with pytest.raises(ValueError, match="^the gradient of sqrt holds infinity"):
            grad(y, x)


def test_anomaly_names_the_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Identity(), nn.Linear(2, 2))

        def forward(self, x):
            return self.features(x)

    net = Net()
    net.features[1].weight.data = np.full((2, 2), np.nan, np.float32)
    with (
        detect_anomaly(),
        pytest.raises(ValueError, match=r"in layer features.1 \(Linear\) holds NaN"),
    ):
        net(Tensor([[1.0, 2.0]]))


def test_public_names_exist():
    for module in (tinytl, F):
        for name in module.__all__:
            assert hasattr(module, name), name


@pytest.mark.parametrize("slope", [np.inf, np.nan])
def test_a_leak_without_bounds_stays_below_zero(slope):
    """The part of a leaky ReLU that is not taken is 0, whatever its slope is."""
    x = Tensor(np.array([2.0, np.inf]), requires_grad=True)
    for y in (F.leaky_relu(x, slope), F.prelu(x, Tensor(np.array(slope)))):
        np.testing.assert_array_equal(y.numpy(), x.numpy())
