"""Initial values: fans by counting, spreads by sampling, never by the same formula."""

import numpy as np
import pytest
import torch

from tinytl import Tensor, nn
from tinytl.nn import init

SHAPES = [(8, 3, 3, 3), (32, 16, 5, 3), (6, 40, 1, 1), (300, 100), (20, 200), (2, 1)]


def count_inputs_of_one_output(shape):
    """Walk over the sum that makes one output of a layer, one connection at a time."""
    outputs, inputs, *kernel = shape
    count = 0
    for _channel in range(inputs):
        for _place in np.ndindex(*kernel):
            count += 1
    return count


def count_outputs_of_one_input(shape):
    """Slide all filters over an image; count the windows that see its middle pixel."""
    outputs, inputs, *kernel = shape
    if not kernel:
        return outputs  # every output has one connection to it
    size = 4 * max(kernel) + 1
    middle = size // 2
    count = 0
    for _filter in range(outputs):
        for i in range(size - kernel[0] + 1):
            for j in range(size - kernel[1] + 1):
                rows, columns = range(i, i + kernel[0]), range(j, j + kernel[1])
                count += middle in rows and middle in columns
    return count


@pytest.mark.parametrize("shape", SHAPES)
def test_fans_are_numbers_of_connections(shape):
    fan_in, fan_out = init.fans(Tensor(np.zeros(shape, np.float32)))
    assert fan_in == count_inputs_of_one_output(shape)
    assert fan_out == count_outputs_of_one_input(shape)


def test_fan_in_of_a_group_counts_the_channels_of_the_group():
    # a filter of a depthwise layer sees one channel under 3 x 3 weights
    assert init.fans(nn.Conv2d(8, 8, 3, groups=8).weight)[0] == 9


def spread(function, shape, draws=4000, dtype=np.float64, **arguments):
    """Values of many draws, enough to see the standard deviation."""
    rng = np.random.default_rng(0)
    rounds = -(-draws // int(np.prod(shape))) + 1
    values = []
    for _ in range(rounds):
        tensor = Tensor(np.zeros(shape, dtype))
        assert function(tensor, generator=rng, **arguments) is tensor
        assert tensor.dtype == dtype
        values.append(tensor.data.ravel())
    return np.concatenate(values)


def assert_std(values, std, kurtosis):
    """Mean 0 and the wanted standard deviation, within five standard errors.

    The variance of n draws has the standard error var * sqrt((kurtosis - 1) / n), its
    root half of that, relatively.
    """
    n = values.size
    assert abs(values.mean()) < 5 * std / np.sqrt(n)
    assert abs(values.std() / std - 1) < 5 * np.sqrt((kurtosis - 1) / n) / 2


NORMAL, UNIFORM = 3.0, 1.8  # kurtosis of the two distributions


@pytest.mark.parametrize("shape", SHAPES[:-1])  # a sum of one term is no sum
def test_he_keeps_the_signal_behind_relu(shape):
    # What it is for: unit-variance pre-activations, through ReLU, into a layer with
    # these weights: the next pre-activations have mean square 1 again. With a = E[x]^2
    # and v = Var[x] of ReLU's output, the mean square behind one filter is
    # v sum(w^2) + a (sum w)^2: mean 1, standard deviation below 0.65 from M = 27 on.
    rng = np.random.default_rng(1)
    connections = count_inputs_of_one_output(shape)
    x = np.maximum(rng.standard_normal((4000, connections)), 0)
    for function in (init.kaiming_normal_, init.kaiming_uniform_):
        filters = spread(function, shape, draws=2000 * connections)
        y = x @ filters.reshape(-1, connections).T
        assert y.shape[1] >= 2000
        assert abs((y**2).mean() - 1) < 5 * 0.65 / np.sqrt(2000)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_he_variance_times_connections_is_2(shape, mode):
    count = {
        "fan_in": count_inputs_of_one_output,
        "fan_out": count_outputs_of_one_input,
    }[mode](shape)
    std = np.sqrt(2 / count)
    assert_std(spread(init.kaiming_normal_, shape, mode=mode), std, NORMAL)
    values = spread(init.kaiming_uniform_, shape, mode=mode)
    assert_std(values, std, UNIFORM)
    # The support: nothing beyond sqrt(6 / count), and the largest of n draws is near it
    bound = np.sqrt(6 / count)
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > bound * (1 - 20 / values.size)


@pytest.mark.parametrize("shape", SHAPES)
def test_glorot_makes_the_mean_of_both_conditions_1(shape):
    m, n = count_inputs_of_one_output(shape), count_outputs_of_one_input(shape)
    for function, kurtosis in (
        (init.xavier_normal_, NORMAL),
        (init.xavier_uniform_, UNIFORM),
    ):
        values = spread(function, shape, draws=20000)
        error = 5 * np.sqrt((kurtosis - 1) / values.size)
        assert abs((m * values.var() + n * values.var()) / 2 - 1) < error
    assert np.abs(values).max() <= np.sqrt(6 / (m + n))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("kaiming_normal_", {}),
        ("kaiming_normal_", {"a": 0.2, "mode": "fan_out"}),
        ("kaiming_normal_", {"nonlinearity": "tanh"}),
        ("kaiming_uniform_", {"a": 5**0.5}),
        ("kaiming_uniform_", {"nonlinearity": "relu", "mode": "fan_out"}),
        ("xavier_normal_", {"gain": 2.0}),
        ("xavier_uniform_", {}),
        ("xavier_uniform_", {"gain": 5 / 3}),
        ("normal_", {"std": 0.3}),
        ("uniform_", {"a": -0.2, "b": 0.2}),
    ],
)
def test_spreads_equal_torch(shape, name, arguments):
    torch.manual_seed(0)
    theirs = torch.zeros((20, *shape), dtype=torch.float64)
    for part in theirs:
        getattr(torch.nn.init, name)(part, **arguments)
    ours = spread(getattr(init, name), shape, draws=theirs.numel(), **arguments)
    kurtosis = UNIFORM if "uniform" in name else NORMAL
    error = 5 * np.sqrt((kurtosis - 1) * (1 / ours.size + 1 / theirs.numel())) / 2
    assert abs(ours.std() / float(theirs.std()) - 1) < error
    assert abs(ours.mean()) < 5 * ours.std() / np.sqrt(ours.size)


@pytest.mark.parametrize(
    "arguments",
    [
        ("linear",),
        ("conv2d",),
        ("sigmoid",),
        ("tanh",),
        ("relu",),
        ("leaky_relu",),
        ("leaky_relu", 0.3),
        ("leaky_relu", 0),
        ("selu",),
    ],
)
def test_gains_equal_torch(arguments):
    assert init.calculate_gain(*arguments) == torch.nn.init.calculate_gain(*arguments)


@pytest.mark.parametrize(
    "make", [lambda m: m.Linear(64, 500), lambda m: m.Conv2d(9, 200, 3)]
)
def test_default_layers_spread_as_torch_does(make):
    torch.manual_seed(0)
    ours, theirs = make(nn), make(torch.nn)
    for name, tensor in ours.state_dict().items():
        other = theirs.state_dict()[name].numpy()
        error = 5 * np.sqrt((UNIFORM - 1) * 2 / tensor.numel()) / 2
        assert abs(tensor.data.std() / other.std() - 1) < error
        # 1 / sqrt(fan-in) bounds both, and both come close to it
        bound = 1 / np.sqrt(count_inputs_of_one_output(ours.weight.shape))
        for array in (tensor.data, other):
            assert bound * (1 - 20 / tensor.numel()) < np.abs(array).max()
            assert np.abs(array).max() <= bound * (1 + 1e-6)


def test_one_seed_gives_the_same_weights_in_both_precisions():
    for function in (init.kaiming_normal_, init.xavier_uniform_):
        single = spread(function, (5, 4), draws=1, dtype=np.float32)
        double = spread(function, (5, 4), draws=1)
        assert np.array_equal(single, double.astype(np.float32))
    first = nn.Conv2d(3, 4, 3, generator=np.random.default_rng(3))
    again = nn.Conv2d(3, 4, 3, generator=np.random.default_rng(3))
    other = nn.Conv2d(3, 4, 3, generator=np.random.default_rng(4))
    assert np.array_equal(first.weight.data, again.weight.data)
    assert np.array_equal(first.bias.data, again.bias.data)
    assert not np.array_equal(first.weight.data, other.weight.data)


def test_values_are_replaced_not_overwritten():
    before = np.zeros((4, 4), np.float32)
    tensor = nn.Parameter(before)
    for function in (
        init.kaiming_normal_,
        init.kaiming_uniform_,
        init.xavier_normal_,
        init.xavier_uniform_,
        init.identical_filters_,
        init.normal_,
        init.uniform_,
        init.ones_,
        init.eye_,
    ):
        assert function(tensor) is tensor
        assert not np.array_equal(tensor.data, before)
        assert not before.any()
        assert tensor.requires_grad


def test_constants():
    tensor = Tensor(np.full((3, 3), 7.0))
    assert init.constant_(tensor, 2.5).tolist() == [[2.5] * 3] * 3
    assert init.ones_(tensor).tolist() == [[1.0] * 3] * 3
    assert init.eye_(tensor).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert init.eye_(Tensor(np.full((2, 3), 7.0))).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert init.zeros_(tensor).tolist() == [[0.0] * 3] * 3


@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (6, 5)])
def test_identical_filters_are_one_kernel_everywhere(shape):
    weight = Tensor(np.zeros(shape, np.float32))
    init.identical_filters_(weight, generator=np.random.default_rng(0))
    kernel = weight.data[0, 0]
    for f, c in np.ndindex(*shape[:2]):
        assert np.array_equal(weight.data[f, c], kernel)
    assert np.unique(weight.data).size == kernel.size  # but not all weights are equal
    assert set(np.unique(init.identical_filters_(weight, value=1.0).data)) == {1.0}


@pytest.mark.parametrize("shape", [(2, 7, 3, 3), (3, 1)])
def test_identical_filters_draw_with_he_variance(shape):
    rng = np.random.default_rng(0)
    weight = Tensor(np.zeros(shape))
    kernels = [
        init.identical_filters_(weight, generator=rng).data[0, 0] for _ in range(1000)
    ]
    connections = count_inputs_of_one_output(weight.shape)
    assert_std(np.array(kernels), np.sqrt(2 / connections), NORMAL)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: init.kaiming_normal_(Tensor([1.0])), "at least two dimensions"),
        (lambda t: init.xavier_uniform_(Tensor([1.0])), "at least two dimensions"),
        (lambda t: init.identical_filters_(Tensor([1.0])), "at least two dimensions"),
        (lambda t: init.kaiming_uniform_(t, mode="fan"), "kaiming_uniform_: mode must"),
        (lambda t: init.kaiming_normal_(t, nonlinearity="x"), "no gain is known for"),
        (lambda t: init.calculate_gain("leaky_relu", "x"), "slope must be a number"),
        (lambda t: init.normal_(t, std=-1), "normal_: std must not be negative"),
        (lambda t: init.uniform_(t, 1, 0), "uniform_: needs a <= b"),
        (lambda t: init.eye_(Tensor([1.0])), "eye_: needs a matrix"),
    ],
)
def test_wrong_arguments_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call(Tensor(np.zeros((2, 2), np.float32)))


def test_only_floating_tensors_are_initialised():
    with pytest.raises(TypeError, match="floating Tensor, got int64"):
        init.ones_(Tensor([1, 2]))
