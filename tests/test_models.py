"""The networks: sizes, torch twins, and the identities that define them."""

import numpy as np
import pytest
import torch
from torch.nn import functional as TF
from twins import distance

import tinytl
from tinytl import Tensor, nn, optim
from tinytl import functional as F
from tinytl.models import (
    BasicBlock,
    Custom3Layer,
    LeNet5,
    LeNet5Original,
    PartialConv2d,
    ResNet,
    count_parameters,
    digit_codes,
    resnet8,
    resnet32,
)
from tinytl.models.lenet import C3_LINKS, squash
from tinytl.nn import init

F64 = {"dtype": np.float64}


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: Custom3Layer(10, 1, 28), 65_994),
        (lambda: Custom3Layer(10, 3, 32), 72_330),
        (lambda: LeNet5Original(), 60_000),
        (lambda: LeNet5(), 61_706),
        (lambda: LeNet5(image_size=28, padding=2), 61_706),
        (lambda: LeNet5(43), 64_511),
        (lambda: LeNet5(43, 3), 64_811),
        (lambda: resnet8(), 19_818),
        (lambda: resnet32(200), 479_272),
        (lambda: resnet32(), 466_922),
        (lambda: resnet32(100), 472_772),
    ],
)
def test_parameter_counts(make, count):
    assert count_parameters(make()) == count


@pytest.mark.parametrize("channels", [1, 3])
def test_layers_of_the_first_network_have_the_stated_sizes(channels):
    net = Custom3Layer(in_channels=channels)
    sizes = [count_parameters(layer) for layer in (net.conv1, net.conv2, net.conv3)]
    assert sizes == [9 * 32 * channels + 32, 18_496, 36_928]


@pytest.mark.parametrize("size", [16, 17, 28, 31, 32, 50, (16, 40)])
def test_the_first_network_takes_images_of_any_size(size):
    rows, columns = (size, size) if isinstance(size, int) else size
    net = Custom3Layer(7, 2, size)
    x = Tensor(np.zeros((3, 2, rows, columns), np.float32))
    assert net(x).shape == (3, 7)


# -- beside torch ----------------------------------------------------------------------


class TorchCustom(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(2, 32, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(32, 64, 3)
        self.conv3 = torch.nn.Conv2d(64, 64, 3)
        self.fc = torch.nn.Linear(64, 5)

    def forward(self, x):
        x = TF.max_pool2d(TF.relu(self.conv1(x)), 2)
        x = TF.max_pool2d(TF.relu(self.conv2(x)), 2)
        return self.fc(TF.relu(self.conv3(x)).flatten(1))


class TorchLeNet(torch.nn.Module):
    def __init__(self, act, pool):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 6, 5)
        self.conv2 = torch.nn.Conv2d(6, 16, 5)
        self.fc1 = torch.nn.Linear(400, 120)
        self.fc2 = torch.nn.Linear(120, 84)
        self.fc3 = torch.nn.Linear(84, 43)
        self.act, self.pool = act, pool

    def forward(self, x):
        x = self.pool(self.act(self.conv1(x)), 2)
        x = self.pool(self.act(self.conv2(x)), 2)
        x = self.act(self.fc2(self.act(self.fc1(x.flatten(1)))))
        return self.fc3(x)


class TorchBlock(torch.nn.Module):
    def __init__(self, c, f, s=1):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(c, f, 3, s, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(f)
        self.conv2 = torch.nn.Conv2d(f, f, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(f)
        self.downsample = None
        if s != 1 or c != f:
            self.downsample = torch.nn.Sequential(
                torch.nn.Conv2d(c, f, 1, s, bias=False), torch.nn.BatchNorm2d(f)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(TF.relu(self.bn1(self.conv1(x)))))
        return TF.relu(y + (x if self.downsample is None else self.downsample(x)))


class TorchResNet(torch.nn.Module):
    def __init__(self, classes, channels, widths, n):
        super().__init__()
        a, b, c = widths
        self.conv1 = torch.nn.Conv2d(channels, a, 3, padding=1)
        self.bn1 = torch.nn.BatchNorm2d(a)
        self.block1 = TorchBlock(a, a)
        self.blocks2 = torch.nn.Sequential(*(TorchBlock(a, a) for _ in range(n - 1)))
        self.block3 = TorchBlock(a, b, 2)
        self.blocks4 = torch.nn.Sequential(*(TorchBlock(b, b) for _ in range(n - 1)))
        self.block5 = TorchBlock(b, c, 2)
        self.blocks6 = torch.nn.Sequential(*(TorchBlock(c, c) for _ in range(n - 1)))
        self.fc = torch.nn.Linear(c, classes)

    def forward(self, x):
        x = TF.relu(self.bn1(self.conv1(x)))
        x = self.blocks2(self.block1(x))
        x = self.blocks4(self.block3(x))
        x = self.blocks6(self.block5(x))
        return self.fc(x.mean((2, 3)))


TWINS = {
    "first": (lambda: Custom3Layer(5, 2, 16, **F64), TorchCustom, (3, 2, 16, 16)),
    "lenet": (
        lambda: LeNet5(43, 3, **F64),
        lambda: TorchLeNet(TF.relu, TF.avg_pool2d),
        (2, 3, 32, 32),
    ),
    "lenet, tanh and max": (
        lambda: LeNet5(43, 3, activation="tanh", pooling="max", **F64),
        lambda: TorchLeNet(torch.tanh, TF.max_pool2d),
        (2, 3, 32, 32),
    ),
    "resnet8": (
        lambda: resnet8(10, **F64),
        lambda: TorchResNet(10, 1, (8, 16, 32), 1),
        (3, 1, 28, 28),
    ),
    "resnet of two blocks": (
        lambda: ResNet(4, 3, (4, 6, 8), 2, **F64),
        lambda: TorchResNet(4, 3, (4, 6, 8), 2),
        (3, 3, 9, 7),
    ),
    "resnet32": (
        lambda: resnet32(5, **F64),
        lambda: TorchResNet(5, 3, (16, 32, 64), 5),
        (2, 3, 16, 16),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_networks_equal_their_torch_twins(name):
    make, make_torch, shape = TWINS[name]
    torch.manual_seed(0)
    ours, theirs = make(), make_torch().double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    rng = np.random.default_rng(0)
    for mode in (True, False):
        ours.train(mode)
        theirs.train(mode)
        x = rng.standard_normal(shape)
        ox, tx = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        oy, ty = ours(ox), theirs(tx)
        assert distance(oy.data, ty.detach().numpy()) < 1e-10
        target = rng.integers(0, oy.shape[1], shape[0])
        loss = F.cross_entropy(oy, Tensor(target))
        TF.cross_entropy(ty, torch.tensor(target)).backward()
        gradients = tinytl.grad(loss, [ox, *ours.parameters()])
        for g, t in zip(gradients, [tx, *theirs.parameters()], strict=True):
            assert distance(g.data, t.grad.numpy()) < 1e-10
            t.grad = None
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert distance(a.data, b.numpy()) < 1e-10


def test_features_are_the_maps_after_every_block():
    net = resnet32(10, **F64).eval()
    x = Tensor(np.random.default_rng(0).random((2, 3, 32, 32)))
    y, features = net.forward_with_features(x)
    assert np.array_equal(y.data, net(x).data)
    assert [f.shape[1:] for f in features] == (
        [(16, 32, 32)] * 5 + [(32, 16, 16)] * 5 + [(64, 8, 8)] * 5
    )
    again = net.fc(features[14].mean((2, 3)))
    # A logit may be a small difference of large terms: measured against the largest.
    assert distance(again.data, y.data) < 1e-12


@pytest.mark.parametrize("sizes", [(4, 4, 1), (4, 4, 2), (4, 6, 1), (4, 6, 2)])
def test_a_block_projects_where_sizes_change(sizes):
    ours, theirs = BasicBlock(*sizes, **F64), TorchBlock(*sizes).double()
    assert (ours.downsample is None) == (sizes == (4, 4, 1))
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 5))
    expected = theirs(torch.tensor(x)).detach().numpy()
    assert distance(ours(Tensor(x)).data, expected) < 1e-10


def test_residual_weights_start_as_he_says():
    net = resnet32(10, generator=np.random.default_rng(0))
    w = net.block5.conv2.weight.data  # 64 filters, each seen under 9 weights
    assert abs(w.std() / np.sqrt(2 / (64 * 9)) - 1) < 5 / np.sqrt(2 * w.size)
    assert not net.conv1.bias.data.any()


# -- LeNet-5 of 1998 -------------------------------------------------------------------


def test_connections_are_counted_by_the_layers_themselves():
    # With all inputs, weights and biases 1, a unit's value is the number of its
    # connections; with codes 0, a squared distance is the number of coordinates.
    net = LeNet5Original(**F64)
    for parameter in net.parameters():
        init.ones_(parameter)
    net.output.codes.data = np.zeros_like(net.output.codes.data)
    inputs = [
        (net.c1, (1, 1, 32, 32)),
        (net.s2, (1, 6, 28, 28)),
        (net.c3, (1, 6, 14, 14)),
        (net.s4, (1, 16, 10, 10)),
        (net.c5, (1, 16, 5, 5)),
        (net.f6, (1, 120)),
        (net.output, (1, 84)),
    ]
    counts = [int(layer(Tensor(np.ones(s))).sum().item()) for layer, s in inputs]
    assert counts == [122_304, 5_880, 151_600, 2_000, 48_120, 10_164, 840]
    assert sum(counts) == 340_908


def test_links_are_those_of_the_paper():
    assert sum(map(len, C3_LINKS)) == 60
    for source in range(6):
        assert sum(source in maps for maps in C3_LINKS) == 10
    assert len(set(C3_LINKS)) == 16
    assert [len(maps) for maps in C3_LINKS] == [3] * 6 + [4] * 9 + [6]


def test_c5_is_fully_connected_at_this_size():
    net = LeNet5Original(**F64)
    x = np.random.default_rng(0).standard_normal((3, 16, 5, 5))
    linear = nn.Linear(400, 120, **F64)
    weight = net.c5.weight.data.reshape(120, 400)
    linear.load_state_dict({"weight": weight, "bias": net.c5.bias})
    np.testing.assert_allclose(
        net.c5(Tensor(x)).data[:, :, 0, 0],
        linear(Tensor(x.reshape(3, 400))).data,
        rtol=1e-12,
        atol=1e-13,
    )


def test_c3_is_sixteen_small_convolutions():
    layer = LeNet5Original(**F64).c3
    x = np.random.default_rng(0).standard_normal((2, 6, 14, 14))
    y = layer(Tensor(x)).data
    for f, maps in enumerate(C3_LINKS):
        small = nn.Conv2d(len(maps), 1, 5, **F64)
        weight = layer.weight.data[f : f + 1, list(maps)]
        small.load_state_dict({"weight": weight, "bias": layer.bias.data[f : f + 1]})
        expected = small(Tensor(x[:, list(maps)])).data
        np.testing.assert_allclose(y[:, f : f + 1], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
        lambda p: optim.AdamW(p, lr=0.01),
    ],
)
def test_absent_weights_stay_absent(make):
    net = LeNet5Original(generator=np.random.default_rng(0))
    absent = np.broadcast_to(net.c3.mask.data == 0, net.c3.weight.shape)
    assert absent.sum() == (96 - 60) * 25
    opt = make(net.parameters())
    rng = np.random.default_rng(1)
    for _ in range(3):
        x = Tensor(rng.standard_normal((4, 1, 32, 32)).astype(np.float32))
        loss = F.cross_entropy(net(x), Tensor(rng.integers(0, 10, 4)))
        gradients = tinytl.grad(loss, list(net.parameters()))
        where = [p is net.c3.weight for p in net.parameters()].index(True)
        assert not gradients[where].data[absent].any()
        assert gradients[where].data[~absent].all()
        opt.step(gradients)
        assert not net.c3.weight.data[absent].any()


def test_squash_passes_through_1_and_bends_most_there():
    x = Tensor(np.linspace(0, 2, 2001), requires_grad=True)
    y = squash(x)
    assert abs(squash(Tensor(np.array([1.0]))).item() - 1) < 1e-4
    (slope,) = tinytl.grad(y.sum(), x, create_graph=True)
    (bend,) = tinytl.grad(slope.sum(), x)
    assert abs(x.data[np.abs(bend.data).argmax()] - 1) < 0.02


def test_outputs_are_minus_the_distances_to_the_codes():
    net = LeNet5Original(**F64)
    x = np.random.default_rng(0).standard_normal((2, 84))
    expected = [[((a - code) ** 2).sum() for code in digit_codes(**F64)] for a in x]
    np.testing.assert_allclose(net.output(Tensor(x)).data, expected, rtol=1e-12)
    scores = net(Tensor(np.zeros((2, 1, 32, 32))))
    assert scores.shape == (2, 10)
    assert (scores.data < 0).all()


def test_first_weights_keep_to_the_bounds_of_the_paper():
    net = LeNet5Original(generator=np.random.default_rng(0))
    for layer, inputs in ((net.c1, 25), (net.c5, 400), (net.f6, 120), (net.s4, 4)):
        for parameter in layer.parameters():
            assert np.abs(parameter.data).max() <= 2.4 / inputs * (1 + 1e-6)
        assert np.abs(layer.weight.data).max() > 0.6 * 2.4 / inputs
    for f, maps in enumerate(C3_LINKS):
        largest = np.abs(net.c3.weight.data[f]).max()
        bound = 2.4 / (25 * len(maps))
        assert 0.8 * bound < largest <= bound * (1 + 1e-6)


def test_codes_are_ten_clear_drawings():
    codes = digit_codes()
    assert codes.shape == (10, 84)
    assert codes.dtype == np.float32
    assert set(np.unique(codes)) == {-1.0, 1.0}
    apart = [(codes[a] != codes[b]).sum() for a in range(10) for b in range(a)]
    assert min(apart) >= 10
    one = codes[1].reshape(12, 7)
    assert (one[:, 3] == 1).all()
    assert (one[-1, 1:6] == 1).all()


# -- symmetry --------------------------------------------------------------------------


def symmetric_network(head, dtype=np.float64):
    """Kernels of each layer equal, biases 1; a head random, or alike for all units."""
    rng = np.random.default_rng(0)
    net = Custom3Layer(10, 1, 16, generator=rng, dtype=dtype)
    for layer in (net.conv1, net.conv2, net.conv3):
        init.identical_filters_(layer.weight, generator=rng)
        init.ones_(layer.bias)
        layer.weight.data = layer.weight.data * dtype(0.05)
    if head == "symmetric":
        net.fc.weight.data = np.repeat(net.fc.weight.data[:, :1], 64, axis=1)
    return net


def spreads(net):
    """How far the filters of each layer are from the first one, bias included."""
    return [
        max(np.abs(p.data - p.data[:1]).max() for p in layer.parameters())
        for layer in (net.conv1, net.conv2, net.conv3)
    ]


def train(net, steps):
    rng = np.random.default_rng(1)
    opt = optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    for _ in range(steps):
        images = rng.random((8, 1, 16, 16)).astype(net.fc.weight.dtype)
        loss = F.cross_entropy(net(Tensor(images)), Tensor(rng.integers(0, 10, 8)))
        opt.step(tinytl.grad(loss, list(net.parameters())))
    assert np.isfinite(loss.item())


def products_round_equal_rows_alike(dtype):
    """Whether this machine's matrix product does; not all of them do in all dtypes.

    They work on blocks of rows and columns, and may add up the terms of the last block
    in another order.
    """
    rng = np.random.default_rng(0)
    for rows, inner, columns in (
        (32, 9, 256),
        (64, 288, 72),
        (64, 576, 8),
        (288, 64, 9),
    ):
        a = np.repeat(rng.standard_normal((1, inner)).astype(dtype), rows, axis=0)
        b = rng.standard_normal((inner, columns)).astype(dtype)
        for product in (a @ b, (b.T.copy() @ a.T.copy()).T, np.asfortranarray(a) @ b):
            if not np.array_equal(product, np.repeat(product[:1], rows, axis=0)):
                return False
    return True


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("head", ["random", "symmetric"])
def test_equal_filters_stay_equal_below_the_head(head, dtype, kernel_set):
    net = symmetric_network(head, dtype)
    before = net.state_dict()
    assert spreads(net) == [0, 0, 0]
    train(net, 50)
    for name, tensor in net.state_dict().items():
        assert not np.array_equal(tensor.data, before[name].data), name  # it trains
    first, second, third = spreads(net)
    rounding = 1000 * np.finfo(dtype).eps
    assert max(first, second) < rounding
    assert third < rounding if head == "symmetric" else third > 0.01
    if products_round_equal_rows_alike(dtype):
        assert (first, second) == (0, 0)
        assert third == 0 if head == "symmetric" else third > 0.01


def test_equal_filters_with_different_channels_do_not_stay_equal():
    # Copying one filter to all outputs is not enough: conv2's weights for the different
    # filters of conv1 differ then, and send them different gradients.
    net = symmetric_network("random")
    filters = np.random.default_rng(3).standard_normal((1, 32, 3, 3)) * 0.02
    net.conv2.weight.data = np.repeat(filters, 64, axis=0)
    assert spreads(net) == [0, 0, 0]
    train(net, 5)
    assert spreads(net)[0] > 1e-4


# -- use -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda g: Custom3Layer(10, 1, 28, generator=g), (4, 1, 28, 28)),
        (lambda g: LeNet5Original(generator=g), (4, 1, 32, 32)),
        (lambda g: LeNet5(image_size=28, dropout=0.3, generator=g), (4, 1, 28, 28)),
        (lambda g: resnet8(generator=g), (4, 1, 28, 28)),
    ],
)
def test_one_seed_one_network_and_it_learns_a_batch(make, shape):
    twins = [make(np.random.default_rng(7)) for _ in range(2)]
    x = Tensor(np.random.default_rng(0).random(shape, np.float32))
    target = Tensor(np.arange(shape[0]))
    losses = []
    for net in twins:
        opt = optim.Adam(net.parameters(), lr=0.001)
        for _ in range(12):
            loss = F.cross_entropy(net(x), target)
            opt.step(tinytl.grad(loss, list(net.parameters())))
            losses.append(loss.item())
    assert losses[:12] == losses[12:]
    assert losses[11] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Custom3Layer(image_size=15), "image_size must be at least 16, got 15"),
        (lambda: Custom3Layer(num_classes=0), "out_features must be"),
        (lambda: LeNet5(activation="swish"), "activation must be one of"),
        (lambda: LeNet5(pooling="sum"), "pooling one of"),
        (lambda: LeNet5(image_size=15), "images of size 15 are too small"),
        (lambda: ResNet(widths=(3, 4)), "three widths"),
        (lambda: ResNet(blocks=0), "at least one block"),
        (lambda: PartialConv2d([(0,), ()], 2, 3), "at least one for each output map"),
        (lambda: PartialConv2d([(0, 2)], 2, 3), r"maps in 0\.\.1"),
        (
            lambda: LeNet5Original()(Tensor(np.zeros((1, 1, 28, 28), np.float32))),
            r"must have the shape \(N, 1, 32, 32\), got \(1, 1, 28, 28\)",
        ),
    ],
)
def test_wrong_arguments_are_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()
