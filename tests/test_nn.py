"""Modules and layers: what they register, load and compute, beside torch's."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from twins import distance

import tinytl
from tinytl import Tensor, nn
from tinytl.nn import Parameter

F64 = {"dtype": np.float64}


def small_net(module, **dtype):
    """The same nested network in both libraries."""
    return module.Sequential(
        OrderedDict(
            features=module.Sequential(
                module.Conv2d(2, 4, 3, padding=1, **dtype),
                module.BatchNorm2d(4, **dtype),
                module.ReLU(),
                module.MaxPool2d(2),
            ),
            flatten=module.Flatten(),
            act=module.PReLU(**dtype),
            head=module.Linear(4 * 3 * 3, 5, **dtype),
        )
    )


def drop(layer):
    """A layer as it is, for those that have no parameters and hence no dtype."""
    return lambda module, **dtype: layer(module)


LAYERS = {
    "linear": (lambda m, **d: m.Linear(5, 3, **d), (4, 5)),
    "linear, no bias": (lambda m, **d: m.Linear(5, 3, bias=False, **d), (2, 4, 5)),
    "conv": (lambda m, **d: m.Conv2d(3, 4, 3, **d), (2, 3, 6, 7)),
    "conv, all numbers": (
        lambda m, **d: m.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2, False, **d),
        (2, 4, 7, 6),
    ),
    "conv, same": (
        lambda m, **d: m.Conv2d(2, 3, (2, 4), padding="same", dilation=(3, 1), **d),
        (2, 2, 7, 6),
    ),
    "conv, valid": (
        lambda m, **d: m.Conv2d(2, 3, 3, padding="valid", **d),
        (2, 2, 5, 5),
    ),
    "conv, reflect": (
        lambda m, **d: m.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="reflect", **d),
        (2, 2, 6, 5),
    ),
    "conv, replicate": (
        lambda m, **d: m.Conv2d(2, 3, 3, 2, padding=1, padding_mode="replicate", **d),
        (2, 2, 6, 5),
    ),
    "conv, circular, same": (
        lambda m, **d: m.Conv2d(
            2, 3, (4, 3), padding="same", padding_mode="circular", **d
        ),
        (2, 2, 6, 5),
    ),
    "conv, valid, reflect": (
        lambda m, **d: m.Conv2d(2, 3, 3, padding="valid", padding_mode="reflect", **d),
        (2, 2, 6, 5),
    ),
    "batch norm 2d": (lambda m, **d: m.BatchNorm2d(3, **d), (4, 3, 5, 2)),
    "batch norm 2d, settings": (
        lambda m, **d: m.BatchNorm2d(3, eps=1e-3, momentum=0.3, affine=False, **d),
        (4, 3, 5, 2),
    ),
    "batch norm 2d, cumulative": (
        lambda m, **d: m.BatchNorm2d(3, momentum=None, **d),
        (4, 3, 5, 2),
    ),
    "batch norm 2d, untracked": (
        lambda m, **d: m.BatchNorm2d(3, track_running_stats=False, **d),
        (4, 3, 5, 2),
    ),
    "batch norm 1d": (lambda m, **d: m.BatchNorm1d(3, **d), (6, 3)),
    "batch norm 1d, sequences": (lambda m, **d: m.BatchNorm1d(3, **d), (4, 3, 5)),
    "relu": (drop(lambda m: m.ReLU(inplace=False)), (3, 4)),
    "relu6": (drop(lambda m: m.ReLU6()), (3, 4)),
    "leaky relu": (drop(lambda m: m.LeakyReLU(0.2)), (3, 4)),
    "prelu": (lambda m, **d: m.PReLU(**d), (3, 4)),
    "prelu, channels": (lambda m, **d: m.PReLU(4, 0.1, **d), (3, 4, 2)),
    "softplus": (drop(lambda m: m.Softplus(2.0, 3.0)), (3, 4)),
    "sigmoid": (drop(lambda m: m.Sigmoid()), (3, 4)),
    "tanh": (drop(lambda m: m.Tanh()), (3, 4)),
    "hardsigmoid": (drop(lambda m: m.Hardsigmoid()), (3, 4)),
    "hardswish": (drop(lambda m: m.Hardswish()), (3, 4)),
    "softmax": (drop(lambda m: m.Softmax(1)), (3, 4, 2)),
    "log softmax": (drop(lambda m: m.LogSoftmax(-1)), (3, 4)),
    "max pool": (drop(lambda m: m.MaxPool2d(3, 2, 1, 2, ceil_mode=True)), (2, 2, 9, 8)),
    "max pool, default": (drop(lambda m: m.MaxPool2d((2, 3))), (2, 2, 7, 8)),
    "avg pool": (drop(lambda m: m.AvgPool2d(3, 2, 1, True, False)), (2, 2, 7, 8)),
    "avg pool, divisor": (
        drop(lambda m: m.AvgPool2d(2, divisor_override=3)),
        (2, 2, 7, 8),
    ),
    "adaptive pool": (drop(lambda m: m.AdaptiveAvgPool2d((2, None))), (2, 2, 5, 4)),
    "adaptive pool, one": (drop(lambda m: m.AdaptiveAvgPool2d(1)), (2, 2, 5, 4)),
    "flatten": (drop(lambda m: m.Flatten()), (2, 3, 4)),
    "flatten, some": (drop(lambda m: m.Flatten(0, 1)), (2, 3, 4)),
    "identity": (drop(lambda m: m.Identity(3, unused=True)), (2, 3)),
    "upsample": (
        drop(lambda m: m.Upsample((5, 7), mode="bilinear", align_corners=False)),
        (2, 2, 3, 4),
    ),
    "upsample, factor": (drop(lambda m: m.Upsample(scale_factor=2)), (2, 2, 3, 4)),
    "network": (small_net, (4, 2, 6, 6)),
}


def make_twins(make, seed=0):
    """Our module and torch's with the same random weights, ours loaded by name."""
    rng = np.random.default_rng(seed)
    ours, theirs = make(nn, **F64), make(torch.nn, dtype=torch.float64)
    with torch.no_grad():
        for tensor in (*theirs.parameters(), *theirs.buffers()):
            if tensor.is_floating_point():
                values = rng.uniform(0.5, 1.5, tuple(tensor.shape))
                tensor.copy_(torch.from_numpy(values))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    result = ours.load_state_dict(theirs.state_dict())
    assert result.complete
    assert result.loaded == list(theirs.state_dict())
    return ours, theirs


def compare_modules(ours, theirs, x, rng):
    """Value, gradients with respect to input and parameters, buffers afterwards."""
    # torch's derivative of hardsigmoid has 1/6 in float32 even where x is float64
    tolerance = 1e-8 if isinstance(ours, nn.Hardsigmoid) else 1e-10
    ox, tx = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    oy, ty = ours(ox), theirs(tx)
    v = rng.standard_normal(oy.shape)
    pairs = [(oy.data, ty.detach().numpy())]
    og = tinytl.grad(oy, [ox, *ours.parameters()], Tensor(v), allow_unused=True)
    tg = torch.autograd.grad(ty, [tx, *theirs.parameters()], torch.from_numpy(v))
    pairs += [(a.data, b.numpy()) for a, b in zip(og, tg, strict=True)]
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        pairs.append((a.data, b.numpy()))
    for a, b in pairs:
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert distance(a, b) < tolerance


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")  # torch's
@pytest.mark.parametrize("name", LAYERS)
def test_layers_equal_torch_in_training_and_evaluation(name):
    make, shape = LAYERS[name]
    ours, theirs = make_twins(make)
    rng = np.random.default_rng(1)
    for mode in (True, True, False):
        ours.train(mode)
        theirs.train(mode)
        compare_modules(ours, theirs, 2 * rng.standard_normal(shape), rng)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_print_as_torch_prints_them(name):
    make, _ = LAYERS[name]
    theirs = repr(make(torch.nn, dtype=torch.float64))
    if "BatchNorm" in theirs:  # newer torch adds what it was not asked for
        theirs = theirs.replace(", bias=True, track", ", track")
        theirs = theirs.replace(", bias=False, track", ", track")
    assert repr(make(nn, **F64)) == theirs


def test_running_statistics_can_be_forgotten():
    layer = nn.BatchNorm1d(2)
    fresh = {k: v.tolist() for k, v in layer.state_dict().items()}
    layer(Tensor([[1.0, 2.0], [3.0, 5.0]]))
    assert {k: v.tolist() for k, v in layer.state_dict().items()} != fresh
    layer.reset_running_stats()
    assert {k: v.tolist() for k, v in layer.state_dict().items()} == fresh
    nn.BatchNorm1d(2, track_running_stats=False).reset_running_stats()


LOSSES = {
    "cross entropy": lambda m, w: m.CrossEntropyLoss(w, label_smoothing=0.1),
    "cross entropy, sum": lambda m, w: m.CrossEntropyLoss(
        ignore_index=1, reduction="sum"
    ),
    "nll": lambda m, w: m.NLLLoss(w, reduction="none"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_classes_equal_torch(name):
    rng = np.random.default_rng(0)
    x, target, w = rng.standard_normal((5, 4)), np.array([0, 1, 3, 1, 2]), rng.random(4)
    ours, theirs = LOSSES[name](nn, Tensor(w)), LOSSES[name](torch.nn, torch.tensor(w))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    y = ours(Tensor(x), Tensor(target))
    expected = theirs(torch.tensor(x), torch.tensor(target)).numpy()
    assert distance(y.data, expected) < 1e-12


def test_mean_squares_equal_torch():
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((2, 5, 4))
    expected = torch.nn.MSELoss(reduction="sum")(torch.tensor(x), torch.tensor(t))
    y = nn.MSELoss(reduction="sum")(Tensor(x), Tensor(t))
    assert distance(y.data, expected.numpy()) < 1e-12


def test_sum_pooling_is_average_pooling_times_the_window():
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 6, 8)))
    np.testing.assert_allclose(
        nn.SumPool2d((2, 4))(x).data, 8 * nn.AvgPool2d((2, 4))(x).data, rtol=1e-12
    )


def test_max_pooling_returns_indices():
    x = Tensor(np.arange(16.0).reshape(1, 1, 4, 4))
    _, index = nn.MaxPool2d(2, return_indices=True)(x)
    assert index.tolist() == [[[[5, 7], [13, 15]]]]


def test_step_is_0_at_0_and_has_no_slope():
    x = Tensor([-1.0, 0.0, 2.0], requires_grad=True)
    y = nn.Step()(x)
    assert y.tolist() == [0.0, 0.0, 1.0]
    assert tinytl.grad(y.sum(), x)[0].tolist() == [0.0, 0.0, 0.0]


# -- dropout ---------------------------------------------------------------------------


def test_dropout_keeps_the_mean_and_repeats_with_its_generator():
    x = Tensor(np.ones((100, 100)))
    y = nn.Dropout(0.3, generator=np.random.default_rng(5))(x).data
    again = nn.Dropout(0.3, generator=np.random.default_rng(5))(x).data
    assert np.array_equal(y, again)
    assert set(np.unique(y)) == {0.0, 1 / 0.7}
    # 10,000 draws: the share of zeros has standard deviation 0.0046
    assert abs((y == 0).mean() - 0.3) < 5 * 0.0046


def test_dropout_does_nothing_in_evaluation():
    layer = nn.Dropout(0.5).eval()
    x = Tensor(np.ones((3, 3)))
    assert np.array_equal(layer(x).data, x.data)
    assert repr(nn.Dropout(0.3)) == repr(torch.nn.Dropout(0.3))


# -- what a module registers -----------------------------------------------------------


class Twin(nn.Module):
    """Parts, parameters and buffers in mixed order, one of each shared."""

    def __init__(self):
        super().__init__()
        self.part = nn.Linear(2, 2)
        self.register_buffer("seen", Tensor([0.0]))
        self.register_buffer("scratch", Tensor([0.0]), persistent=False)
        self.scale = Parameter([1.0])
        self.register_buffer("nothing", None)
        self.again = self.part
        self.tied = self.scale
        self.inner = nn.ModuleList([nn.BatchNorm1d(2), nn.Identity()])
        self.note = "not counted"
        self.absent = None

    def forward(self, x):
        return self.part(x) * self.scale


class TorchTwin(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.part = torch.nn.Linear(2, 2)
        self.register_buffer("seen", torch.zeros(1))
        self.register_buffer("scratch", torch.zeros(1), persistent=False)
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.register_buffer("nothing", None)
        self.again = self.part
        self.tied = self.scale
        self.inner = torch.nn.ModuleList([torch.nn.BatchNorm1d(2), torch.nn.Identity()])
        self.note = "not counted"
        self.absent = None


def test_names_and_order_are_those_of_torch():
    ours, theirs = Twin(), TorchTwin()
    for names in (
        lambda m: list(m.state_dict()),
        lambda m: [name for name, _ in m.named_parameters()],
        lambda m: [name for name, _ in m.named_parameters(recurse=False)],
        lambda m: [name for name, _ in m.named_parameters("net")],
        lambda m: [name for name, _ in m.named_buffers()],
        lambda m: [name for name, _ in m.named_children()],
        lambda m: [name for name, _ in m.named_modules()],
        lambda m: [name for name, _ in m.named_modules(prefix="net")],
        lambda m: [type(child).__name__ for child in m.children()],
        lambda m: len(list(m.parameters())),
        lambda m: len(list(m.buffers())),
    ):
        assert names(ours) == names(theirs)


def test_parts_are_found_by_dotted_name():
    net = small_net(nn)
    assert net.get_submodule("features.0") is net.features[0]
    assert net.get_submodule("") is net
    assert net.get_parameter("features.1.bias") is net.features[1].bias
    with pytest.raises(AttributeError, match=r"'0', '1', '2', '3'\], not '9'"):
        net.get_submodule("features.9.weight")
    with pytest.raises(AttributeError, match=r"no parameter 'head.wait'.*'weight'"):
        net.get_parameter("head.wait")


def test_training_mode_reaches_all_parts_and_apply_goes_inside_out():
    net = small_net(nn)
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert all(module.training for module in net.train().modules())
    order = []
    net.apply(lambda module: order.append(type(module).__name__))
    assert order[0] == "Conv2d"
    assert order[-2:] == ["Linear", "Sequential"]
    with pytest.raises(TypeError, match="train: mode must be True or False"):
        net.train("yes")


def test_frozen_parameters_get_no_gradient():
    net = small_net(nn)
    net.features.requires_grad_(False)
    net(Tensor(np.ones((2, 2, 6, 6), np.float32))).sum().backward()
    assert all(p.grad is None for p in net.features.parameters())
    assert all(p.grad is not None for p in net.head.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(True)
    assert all(p.requires_grad for p in net.parameters())


def test_dtype_conversion_leaves_counters_alone():
    net = small_net(nn)
    net(Tensor(np.ones((2, 2, 6, 6), np.float32))).sum().backward()
    assert net.double() is net
    kinds = {name: tensor.dtype for name, tensor in net.state_dict().items()}
    assert kinds.pop("features.1.num_batches_tracked") == np.int64
    assert set(kinds.values()) == {np.dtype(np.float64)}
    assert net.head.weight.grad.dtype == np.float64
    assert net.float().head.weight.dtype == np.float32
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        net.to(np.int64)


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_are_independent(how):
    net = small_net(nn)
    twin = how(net)
    before = net.head.weight.data
    twin(Tensor(np.ones((2, 2, 6, 6), np.float32))).sum().backward()
    assert twin.head.weight.grad is not None
    assert net.head.weight.grad is None
    assert not np.shares_memory(twin.head.weight.data, before)
    assert net.features[1].num_batches_tracked.item() == 0


def test_a_state_is_a_snapshot():
    layer = nn.BatchNorm1d(2)
    before = layer.state_dict()
    layer(Tensor([[1.0, 2.0], [3.0, 5.0]]))
    assert before["running_mean"].tolist() == [0.0, 0.0]
    assert before["num_batches_tracked"].item() == 0
    assert layer.num_batches_tracked.item() == 1
    assert not before["weight"].requires_grad


# -- mistakes --------------------------------------------------------------------------


def test_parameters_before_init_are_refused():
    class Hasty(nn.Module):
        def __init__(self):
            self.weight = Parameter([1.0])

    with pytest.raises(AttributeError, match=r"Hasty: cannot assign 'weight' before"):
        Hasty()


def test_missing_attributes_are_explained():
    with pytest.raises(AttributeError, match="did you mean 'weight'"):
        _ = nn.Linear(2, 2).wieght
    with pytest.raises(AttributeError, match=r"no attribute 'zebra'; it has \["):
        _ = nn.Linear(2, 2).zebra
    with pytest.raises(AttributeError, match="no attribute 'zebra'"):
        del nn.Linear(2, 2).zebra


def test_parameters_are_not_overwritten_by_other_things():
    layer = nn.BatchNorm1d(2)
    with pytest.raises(TypeError, match="'weight' must be a Parameter or None"):
        layer.weight = Tensor([1.0, 1.0])
    with pytest.raises(TypeError, match="'running_mean' must be a Tensor or None"):
        layer.running_mean = 3
    net = nn.Sequential(nn.ReLU())
    with pytest.raises(TypeError, match="'0' must be a Module or None"):
        setattr(net, "0", 1)
    layer.running_mean = Tensor([5.0, 5.0])
    assert layer.state_dict()["running_mean"].tolist() == [5.0, 5.0]
    layer.weight = None
    assert "weight" not in layer.state_dict()
    layer.running_mean = Parameter([1.0, 2.0])
    assert [name for name, _ in layer.named_parameters()] == ["bias", "running_mean"]
    assert "running_mean" not in dict(layer.named_buffers())
    del layer.running_var
    assert [name for name, _ in layer.named_buffers()] == ["num_batches_tracked"]


def test_buffers_need_a_name_of_their_own():
    layer = nn.Linear(2, 2)
    for name in ("", "a.b", "weight", "forward"):
        with pytest.raises(ValueError, match="is no name for a buffer"):
            layer.register_buffer(name, Tensor([1.0]))
    with pytest.raises(TypeError, match="'x' must be a Tensor or None, got Parameter"):
        layer.register_buffer("x", Parameter([1.0]))


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module does not define forward"):
        nn.Module()(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(0, 3), "Linear: in_features must be an integer of at least"),
        (lambda: nn.Linear(3, 2.5), "Linear: out_features must be"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "must be divisible by groups 2"),
        (lambda: nn.Conv2d(3, 4, 0), "Conv2d: kernel_size must be at least 1, got 0"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), "Conv2d: padding must be"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "'valid' or 'same', got 'full'"),
        (lambda: nn.Conv2d(3, 4, 3, 2, "same"), "padding='same' needs stride 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="x"), "padding_mode must be one of"),
        (lambda: nn.BatchNorm2d(3, momentum=2), "BatchNorm2d: momentum must be"),
        (lambda: nn.BatchNorm2d(3, eps=0), "BatchNorm2d: eps must be positive, got 0"),
        (lambda: nn.Dropout(1.5), r"Dropout: p must be in \[0, 1\], got 1.5"),
        (lambda: nn.PReLU(0), "PReLU: num_parameters"),
        (lambda: nn.MSELoss(reduction="avg"), "MSELoss: reduction must be"),
    ],
)
def test_wrong_arguments_name_the_layer(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("size", [(3, 3, 3), 2.5, "3", True, None])
def test_a_size_is_an_integer_or_two(size):
    with pytest.raises(TypeError, match="Conv2d: kernel_size must be an integer or a"):
        nn.Conv2d(3, 4, size)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.BatchNorm2d(3), (2, 3), r"BatchNorm2d: .* \(N, C, H, W\) with C = 3"),
        (nn.BatchNorm2d(3), (2, 4, 2, 2), r"got \(2, 4, 2, 2\)"),
        (nn.BatchNorm1d(3), (2, 3, 2, 2), r"\(N, C\) or \(N, C, L\)"),
        (nn.Conv2d(3, 4, 3), (2, 2, 5, 5), "conv2d"),
        (nn.Linear(3, 4), (2, 5), "linear"),
    ],
)
def test_wrong_inputs_name_the_layer(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer(Tensor(np.zeros(shape, np.float32)))


# -- containers ------------------------------------------------------------------------


def test_sequential_is_indexed_sliced_and_extended():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(net) == 3
    assert [type(part).__name__ for part in net] == ["Linear", "ReLU", "Linear"]
    assert net[-1] is net[2]
    head = net[1:]
    assert isinstance(head, nn.Sequential)
    assert [name for name, _ in head.named_children()] == ["1", "2"]
    assert head[1] is net[2]
    net[1] = nn.Tanh()
    assert isinstance(net[1], nn.Tanh)
    assert net.append(nn.Identity()) is net
    assert [name for name, _ in net.named_children()] == ["0", "1", "2", "3"]
    named = nn.Sequential(OrderedDict(first=nn.ReLU(), second=nn.Tanh()))
    assert [name for name, _ in named.named_children()] == ["first", "second"]
    assert list(nn.ModuleList([nn.ReLU()]).extend([nn.Tanh()])[1:])[0].training


def test_containers_refuse_what_is_no_module():
    with pytest.raises(TypeError, match="Sequential: part '1' must be a Module"):
        nn.Sequential(nn.ReLU(), len)
    with pytest.raises(TypeError, match="ModuleList: part '0' must be a Module"):
        nn.ModuleList([3])
    with pytest.raises(ValueError, match="'forward' is no name for a part"):
        nn.Sequential({"forward": nn.ReLU()})
    with pytest.raises(IndexError, match="index 3 is out of range, it has 1 parts"):
        nn.Sequential(nn.ReLU())[3]
    with pytest.raises(TypeError, match="an index must be an integer or a slice"):
        nn.Sequential(nn.ReLU())["0"]


# -- loading ---------------------------------------------------------------------------


def test_loading_copies_and_converts():
    source = nn.Linear(3, 2, dtype=np.float64)
    layer = nn.Linear(3, 2)
    array = source.weight.data
    layer.load_state_dict({"weight": array, "bias": source.bias})
    assert layer.weight.dtype == np.float32
    assert np.array_equal(layer.weight.data, array.astype(np.float32))
    source.load_state_dict({"weight": array, "bias": source.bias})
    assert not np.shares_memory(source.weight.data, array)


def test_strict_loading_names_every_key_and_loads_nothing():
    net = small_net(nn)
    before = net.state_dict()
    state = {k: Tensor(np.ones_like(v.data)) for k, v in before.items()}
    del state["head.bias"], state["features.0.bias"]
    state["extra.one"] = state["extra.two"] = Tensor([1.0])
    state["act.weight"] = Tensor(np.ones(7, np.float32))
    with pytest.raises(ValueError, match="load_state_dict") as caught:
        net.load_state_dict(state)
    for word in (
        "head.bias",
        "features.0.bias",
        "extra.one",
        "extra.two",
        "act.weight has shape (7,) in the state, (1,) in the module",
        "strict=False",
    ):
        assert word in str(caught.value)
    for name, tensor in net.state_dict().items():
        assert tensor.data is before[name].data


def test_loose_loading_reports_what_it_did():
    net = small_net(nn)
    before = net.state_dict()
    state = {"head.bias": np.ones(5), "act.weight": np.ones(3), "other": np.ones(1)}
    result = net.load_state_dict(state, strict=False)
    assert result.loaded == ["head.bias"]
    assert result.unexpected_keys == ["other"]
    assert result.skipped == {"act.weight": ((3,), (1,))}
    assert set(result.missing_keys) == set(before) - {"head.bias", "act.weight"}
    assert not result.complete
    assert net.head.bias.tolist() == [1.0] * 5
    assert net.act.weight.data is before["act.weight"].data


def test_a_result_is_complete_only_if_nothing_is_amiss():
    good = nn.Linear(1, 1).state_dict()
    one, wrong = {"weight": good["weight"]}, np.ones(3)
    for state in (one, {**good, "more": wrong}, {**good, "bias": wrong}):
        assert not nn.Linear(1, 1).load_state_dict(state, strict=False).complete
    assert nn.Linear(1, 1).load_state_dict(good, strict=False).complete


def test_loading_refuses_what_is_not_numeric():
    with pytest.raises(TypeError, match="'weight' must be a Tensor or an array"):
        nn.Linear(1, 1).load_state_dict({"weight": "abc", "bias": [1.0]})


# -- anomalies -------------------------------------------------------------------------


def test_anomalies_name_the_layer_that_made_them():
    net = small_net(nn)
    net.head.weight.data = np.full_like(net.head.weight.data, np.inf)
    x = Tensor(np.zeros((2, 2, 6, 6), np.float32))
    with (
        tinytl.detect_anomaly(),
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match=r"in layer head \(Linear\) holds"),
    ):
        net(x)
    net.features[0].bias.data = np.full_like(net.features[0].bias.data, np.nan)
    with (
        tinytl.detect_anomaly(),
        pytest.raises(ValueError, match=r"in layer features\.0 \(Conv2d\) holds NaN"),
    ):
        net(x)
