"""Tensors, modules, optimisers, files and snapshots on a GPU that is not there.

CuPy is the stand-in of ``tests/cuda``, which keeps CuPy's rules and counts how often
the host waits for the device. Here the plain kernels compute behind it; that those of
the set for GPUs give the same is tested there, and of a whole training step at the end.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_gpu import plain_gpu
from tinytl_kernels import devices
from training import Training, adam_and_warm_up, sgd_and_cosine

import tinytl
import tinytl.functional as F
from tinytl import Tensor, nn, optim, persistence
from tinytl.bilevel import hypergradient
from tinytl.bilevel.snapshot import Snapshot
from tinytl.experiments.training import accuracy, descend, train_step
from tinytl.models import VGG9, LeNet5Original, ResNet
from tinytl.transfer import L2T, METHODS, Run, Settings, generators

ROOT = Path(__file__).parents[1]


@pytest.fixture
def gpu():
    """A GPU that is not there, see ``plain_gpu``."""
    with plain_gpu() as found:
        yield found


def there(values, **options):
    return Tensor(values, **options).to("cuda")


# -- what is not there -----------------------------------------------------------------


def test_without_cupy_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert not tinytl.cuda.is_available()
    for ask in (
        lambda: Tensor([1.0]).cuda(),
        lambda: nn.Linear(2, 2).to("cuda"),
        tinytl.cuda.synchronize,
    ):
        with pytest.raises(ImportError, match="cuda.*CuPy.*pip install 'tinytl.cuda.'"):
            ask()


def test_without_a_gpu_the_error_says_so(monkeypatch, gpu):
    monkeypatch.setattr(gpu.cupy.cuda, "is_available", lambda: False)
    assert not tinytl.cuda.is_available()
    with pytest.raises(RuntimeError, match="no GPU can be used"):
        Tensor([1.0]).to("cuda")


def test_too_little_memory_says_what_was_asked_and_what_is_free(gpu):
    there([1.0])
    handed = []

    def full(size):
        handed.append(size)
        raise MemoryError("CuPy's own words")

    gpu.place.allocate = full
    devices._explain_lack_of_memory.cache_clear()
    there([1.0])
    with pytest.raises(MemoryError, match=r"12\.5 GB were asked.*3 GB of 40 GB.*5 MB"):
        gpu.place.allocate(12_500_000_000)
    assert handed == [12_500_000_000]
    assert tinytl.cuda.mem_get_info() == (3 * 10**9, 40 * 10**9)


# -- moving ----------------------------------------------------------------------------


def test_devices_have_torchs_names(gpu):
    for name in ("cpu", "cuda:0"):
        ours, theirs = tinytl.device(name), torch.device(name)
        assert str(ours) == str(theirs)
        assert (ours.type, ours.type == "cuda") == (theirs.type, theirs.index == 0)
    assert repr(tinytl.device("cuda")) == repr(torch.device("cuda", 0))
    assert tinytl.device(tinytl.device("cuda")) == tinytl.device("cuda:0")
    assert there([1.0]).device == tinytl.device("cuda")
    assert tinytl.cuda.is_available()
    tinytl.cuda.synchronize()
    for wrong in ("gpu", "cuda:1", 3, None):
        with pytest.raises(ValueError, match="'cpu' or 'cuda'"):
            tinytl.device(wrong)


@pytest.mark.parametrize(
    ("args", "kwargs", "place", "dtype"),
    [
        (("cuda",), {}, "cuda", np.float32),
        (("cuda:0", np.float64), {}, "cuda", np.float64),
        ((), {"device": "cuda", "dtype": np.float64}, "cuda", np.float64),
        ((tinytl.device("cuda"),), {}, "cuda", np.float32),
        ((np.int64,), {}, "cpu", np.int64),
        (("float64",), {}, "cpu", np.float64),
        ((Tensor([1])), {}, "cpu", np.int64),
    ],
)
def test_the_arguments_of_to_are_torchs(gpu, args, kwargs, place, dtype):
    args = args if isinstance(args, tuple) else (args,)
    y = Tensor([1.0, 2.0]).to(*args, **kwargs)
    assert (y.device.type, y.dtype) == (place, dtype)
    assert y.cpu().tolist() == [1, 2]
    assert y.to(y) is y


@pytest.mark.parametrize("args", [(), ("cuda", "cpu"), (np.float32, np.float64)])
def test_to_needs_one_of_each_at_most(gpu, args):
    for thing in (Tensor([1.0]), nn.Linear(1, 1)):
        with pytest.raises(TypeError, match="to: needs a device, a dtype"):
            thing.to(*args)
        with pytest.raises(ValueError, match="'cpu' or 'cuda'"):
            thing.to(device="gpu")


def test_values_are_read_only_when_asked(gpu):
    x = there(np.arange(6.0, dtype=np.float32).reshape(2, 3))
    for read in (lambda: x.numpy(), lambda: np.asarray(x)):
        with pytest.raises(TypeError, match=r"cuda:0.*Tensor\.cpu\(\)"):
            read()
    assert x.cpu().numpy().tolist() == x.tolist()
    assert x.sum().item() == 15
    assert float(x[1, 2]) == 5
    assert repr(x[0]) == "Tensor([0., 1., 2.], device='cuda:0')"
    assert (x.shape, x.ndim, x.numel(), len(x)) == ((2, 3), 2, 6, 2)
    assert x.detach().device.type == "cuda"
    assert x.argmax(1).tolist() == [2, 2]


def test_gradients_come_back(gpu):
    """To the device that a value came from, in every order."""
    values = np.array([0.5, -2.0, 3.0])
    x = Tensor(values, requires_grad=True)
    y = F.sum(F.softplus(x.to("cuda")) * x.to("cuda", np.float32)).cpu()
    expected = Tensor(values, requires_grad=True)
    z = F.sum(F.softplus(expected) * expected.to(np.float32))
    for _ in range(3):
        (y,), (z,) = (
            tinytl.grad(F.sum(a), b, create_graph=True)
            for a, b in ((y, x), (z, expected))
        )
        assert y.device.type == "cpu"
        np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-12)
    x.to("cuda").sum().backward()
    assert x.grad.device.type == "cpu"


def test_numbers_and_single_values_go_along(gpu):
    x = there(np.array([1.0, 2.0], np.float32))
    half = Tensor(0.5, requires_grad=True)
    for y in (x * 2, 2 * x, x + np.float32(1), x * half, half - x, x**2, 2**x):
        assert y.device.type == "cuda"
        assert y.dtype == np.float32
    (g,) = tinytl.grad(F.sum(x * half), half)
    assert (g.device.type, g.item()) == ("cpu", 3)
    assert (x > 1).tolist() == [False, True]
    assert (x == Tensor(2.0)).tolist() == [False, True]
    assert (x == x).tolist() == [True, True]
    assert x != "text"
    assert F.where(x > 1, 1.0, 0.0).tolist() == [0, 1]
    assert x[Tensor([1, 0])].tolist() == [2, 1]
    assert x[[1]].tolist() == [2]


CALLS = {
    "add": lambda x, y: x + y,
    "where": lambda x, y: F.where(y > 0, x, x),
    "maximum": lambda x, y: F.maximum(y, x),
    "cat": lambda x, y: F.cat([x, y]),
    "matmul": lambda x, y: x @ y,
    "linear": lambda x, y: F.linear(x, y),
    "conv2d": lambda x, y: F.conv2d(x[None, None], y[None, None]),
    "batch_norm": lambda x, y: F.batch_norm(x, None, None, y[0], training=True),
    "prelu": lambda x, y: F.prelu(x, y[0, :1]),
    "gather": lambda x, y: F.gather(x, 0, (y > 0).to(np.int64)),
    "mse_loss": lambda x, y: F.mse_loss(x, y),
    "nll_loss": lambda x, y: F.nll_loss(x, (y[0] > 9).to(np.int64)),
    "cross_entropy": lambda x, y: F.cross_entropy(x, y),
    "comparison": lambda x, y: x < y,
}


@pytest.mark.parametrize("name", CALLS)
def test_mixed_devices_are_refused_and_both_are_named(gpu, name):
    a, b = np.eye(2, dtype=np.float32), np.ones((2, 2), np.float32)
    for x, y in ((there(a), Tensor(b)), (Tensor(a), there(b))):
        with pytest.raises(
            ValueError, match=rf"{name}: .*cuda:0.*cpu|{name}: .*cpu.*c"
        ):
            CALLS[name](x, y)
    assert CALLS[name](there(a), there(b)).device.type == "cuda"


def test_a_class_that_does_not_exist(gpu):
    """An error on the CPU; on a GPU, where looking would be waiting, NaN."""
    x, t = np.zeros((2, 3), np.float32), np.array([0, 3])
    with pytest.raises(ValueError, match="class 3 does not exist"):
        F.cross_entropy(Tensor(x), Tensor(t))
    before = gpu.waits.count
    loss = F.cross_entropy(there(x), there(t))
    assert gpu.waits.count == before
    assert np.isnan(loss.item())
    each = F.cross_entropy(there(x), there(t), reduction="none", ignore_index=3)
    np.testing.assert_allclose(each.tolist(), [np.log(3), 0], rtol=1e-6)


# -- modules and what goes with them ---------------------------------------------------


def test_a_module_moves_with_all_it_has(gpu):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    before = {name: x.numpy() for name, x in net.state_dict().items()}
    objects = list(net.parameters())
    F.sum(net(Tensor(np.ones((2, 1, 4, 4), np.float32)))).backward()
    assert net.cuda() is net
    assert all(a is b for a, b in zip(objects, net.parameters(), strict=True))
    for x in (*net.parameters(), *net.buffers()):
        assert x.device.type == "cuda"
        assert x.grad is None or x.grad.device.type == "cuda"
    assert objects[0].grad is not None
    assert net.to("cuda", np.float64)[1].running_mean.dtype == np.float64
    assert net[1].num_batches_tracked.dtype == np.int64
    net[1].reset_running_stats()
    assert net[1].num_batches_tracked.device.type == "cuda"
    net.to("cpu", np.float32)
    again = {name: x.numpy() for name, x in net.state_dict().items()}
    np.testing.assert_array_equal(again["0.weight"], before["0.weight"])


def test_a_module_that_does_not_fit_stays_where_it_is(gpu, monkeypatch):
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    given = iter([1, 1, 1])

    def asarray(array):
        next(given, None) or (_ for _ in ()).throw(MemoryError("full"))
        return gpu.cupy.ndarray(array)

    monkeypatch.setattr(gpu.cupy, "asarray", asarray, raising=False)
    with pytest.raises(MemoryError):
        net.to("cuda")
    assert {x.device.type for x in net.parameters()} == {"cpu"}


def step(training, count=2):
    """Training steps of a small CNN wherever its model is; nothing is read."""
    place = next(training.model.parameters()).device
    rng = np.random.default_rng(5)
    losses = []
    for _ in range(count):
        x = rng.standard_normal((6, 1, 8, 8)).astype(training.dtype)
        labels = rng.integers(0, 3, 6)
        scores = training.model(Tensor(x).to(place))
        loss = F.cross_entropy(scores, Tensor(labels).to(place))
        parameters = list(training.model.parameters())
        training.optimizer.step(tinytl.grad(loss, parameters))
        losses.append(loss)
    return losses


def values(training):
    return [x.cpu().numpy() for x in training.model.state_dict().values()]


@pytest.mark.parametrize("make", [sgd_and_cosine, adam_and_warm_up])
@pytest.mark.parametrize("when", ["before", "midway", "there and back"])
def test_one_seed_gives_one_run_on_both_devices(gpu, make, when):
    """Dropout, batch norm, momentum: the same bits, also when moved on the way."""
    with tinytl.use_kernels("plain"):
        here, away = (Training(make, 3, np.float64) for _ in range(2))
        if when == "before":
            away.model.to("cuda")
        losses = [step(here), step(away)]
        away.model.to("cuda" if when != "before" else "cpu")
        losses = [a + step(t) for a, t in zip(losses, (here, away), strict=True)]
        if when == "there and back":
            away.model.to("cpu")
        losses = [a + step(t) for a, t in zip(losses, (here, away), strict=True)]
    assert [a.item() for a in losses[0]] == [a.item() for a in losses[1]]
    for a, b in zip(values(here), values(away), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [sgd_and_cosine, adam_and_warm_up])
def test_a_training_step_waits_for_nothing(gpu, make):
    """The loss is read when asked for, and that is seen by the counter."""
    training = Training(make, 0, np.float32)
    training.model.to("cuda")
    step(training, 1)
    before = gpu.waits.count
    losses = step(training, 3)
    assert gpu.waits.count == before
    losses[-1].item()
    assert gpu.waits.count == before + 1


def l2t(place, method="l2t-www"):
    """A narrow VGG9 that learns from a narrow ResNet, in float64."""
    rng, options = np.random.default_rng(0), {"dtype": np.float64}
    source = ResNet(5, widths=(3, 4, 5), blocks=1, generator=rng, **options)
    target = VGG9(3, width=2, generator=rng, **options)
    pairs = ((0, 0), (0, 2), (2, 2))
    return L2T(source, target, pairs, generator=rng, **METHODS[method]).to(place)


@pytest.mark.parametrize(
    ("method", "most"), [("scratch", 0), ("ufm", 0), ("l2t-ww", 1), ("l2t-www", 1)]
)
def test_an_iteration_of_l2t_waits_once_at_most(gpu, method, most):
    """To see whether the hypergradient is zero; its losses are read when asked for."""
    rng, count = np.random.default_rng(1), gpu.waits.count
    with tinytl.use_kernels("plain"):
        both = [l2t(place, method) for place in ("cpu", "cuda")]
        for _ in range(2):
            x, labels = (
                Tensor(rng.standard_normal((4, 3, 32, 32))),
                Tensor([0, 2, 1, 1]),
            )
            expected = both[0].step(x, labels)
            x, labels = x.to("cuda"), labels.to("cuda")
            count = gpu.waits.count
            report = both[1].step(x, labels)
            assert gpu.waits.count == count + most
            for name in ("loss", "cross_entropy", "matching", "outer"):
                assert getattr(report, name) == getattr(expected, name), name
    assert gpu.waits.count == count + most + len(report.losses)


def test_a_hypergradient_waits_once(gpu):
    """For the look whether it is zero, however many steps there are."""
    theta, phi = (there(np.full(3, x), requires_grad=True) for x in (1.0, 2.0))
    for method in ("reverse", "unrolled", "jvp", "first_order", "one_step"):
        count = gpu.waits.count
        found = hypergradient(
            lambda p, h, t: F.sum((p[0] - h[0]) ** 2) ** 2,
            lambda p, h: F.sum(p[0] * p[0]),
            [theta],
            [phi],
            steps=4,
            lr=0.01,
            method=method,
        )
        assert gpu.waits.count == count + 1, method
        assert len(found.losses) == 4
        assert found.value > 3  # theta has gone from 1 towards 2
        assert gpu.waits.count == count + 6


def test_the_training_helpers_go_to_where_the_model_is(gpu):
    rng = np.random.default_rng(2)
    images, labels = rng.standard_normal((6, 1, 32, 32)), rng.integers(0, 10, 6)
    images = images.astype(np.float32)
    found = []
    for place in ("cpu", "cuda"):
        with tinytl.use_kernels("plain"):
            model = LeNet5Original(generator=np.random.default_rng(3)).to(place)
            assert {x.device.type for x in model.buffers()} == {place}
            sgd = optim.SGD(model.parameters(), 0.1, 0.9)
            loss = descend(model, sgd, images, labels)
            count = gpu.waits.count
            loss = descend(model, sgd, images, labels)
            assert gpu.waits.count == count
            assert loss.device.type == place
            assert not loss.requires_grad
            again = train_step(model, sgd, images, labels)
            count = gpu.waits.count
            share = accuracy(model, images, labels, batch_size=4)
            assert gpu.waits.count == count + (place == "cuda")
            model.reset_parameters(generator=np.random.default_rng(4))
        assert {x.device.type for x in model.state_dict().values()} == {place}
        found.append((loss.item(), again, share))
    np.testing.assert_allclose(*found, rtol=1e-6)


def whole_run(place, epochs=2):
    """A run of L2T-www on a few images, in float32."""
    settings = Settings("l2t-www", epochs=epochs, batch_size=4)
    rng, random = np.random.default_rng(5), generators(0)
    images = rng.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    source = ResNet(5, widths=(3, 4, 5), blocks=1, generator=rng)
    target = VGG9(3, width=2, generator=random["target"])
    labels = rng.integers(0, 3, 6)
    return Run(
        settings, source, target, ((0, 1), (2, 3)), images, labels, random, place
    )


def test_a_run_that_was_stopped_goes_on_on_the_other_device(gpu, tmp_path):
    with tinytl.use_kernels("plain"):
        whole = whole_run("cpu").train()
        for first, second in (("cpu", "cuda"), ("cuda", "cpu")):
            one = whole_run(first)
            one.epochs.append(one._epoch(None))
            one.save(tmp_path / first)
            other = whole_run(second)
            epochs = other.train(checkpoint=tmp_path / first)
            for a, b in zip(epochs, whole, strict=True):
                for name, value in vars(b).items():
                    if value is not None:
                        np.testing.assert_allclose(vars(a)[name], value, rtol=1e-6)
            parts = (other.l2t.source, other.l2t.student, other.l2t.meta)
            kinds = {x.device.type for m in parts for x in m.state_dict().values()}
            assert kinds == {second}


def test_anomalies_are_found_there_too(gpu):
    x = there([1.0, -1.0])
    x.requires_grad = True
    with tinytl.detect_anomaly(), pytest.raises(ValueError, match="log.*NaN: 1 of 2"):
        F.log(x)


def test_gradients_elsewhere_are_refused(gpu):
    net = nn.Linear(2, 2).to("cuda")
    sgd = optim.SGD(net.parameters(), 0.1)
    wrong = [Tensor(np.zeros(p.shape, np.float32)) for p in net.parameters()]
    with pytest.raises(ValueError, match=r"SGD\.step: .*cuda:0.*cpu"):
        sgd.step(wrong)


def test_initial_values_are_the_same_on_both(gpu):
    x, y = Tensor(np.zeros((3, 4))), there(np.zeros((3, 4)))
    for z in (x, y):
        nn.init.kaiming_normal_(z, generator=np.random.default_rng(1))
    assert y.device.type == "cuda"
    np.testing.assert_array_equal(x.numpy(), y.cpu().numpy())


# -- files and snapshots ---------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_checkpoints_go_from_device_to_device(gpu, tmp_path, first, second):
    a, b = (Training(adam_and_warm_up, seed, np.float32) for seed in (1, 2))
    a.model.to(first)
    b.model.to(second)
    step(a)
    persistence.save_checkpoint(tmp_path / "a", **a.parts())
    persistence.load_checkpoint(tmp_path / "a", **b.parts())
    for x, y in zip(values(a), values(b), strict=True):
        np.testing.assert_array_equal(x, y)
    kinds = {x.device.type for x in b.model.state_dict().values()}
    for state in b.optimizer.state.values():
        kinds |= {devices.device_type(v) for v in state.values() if devices.is_array(v)}
    assert kinds == {second}
    a.model.to(second)
    persistence.save_checkpoint(tmp_path / "b", **a.parts())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    persistence.save(a.model.state_dict(), tmp_path / "w")
    assert persistence.load(tmp_path / "w")["0.weight"].device.type == "cpu"


def test_a_snapshot_comes_back_to_where_the_module_is(gpu):
    training = Training(sgd_and_cosine, 4, np.float32)
    model, sgd = training.model, training.optimizer
    step(training)
    before = values(training)
    with Snapshot.take(model, optimizer=sgd):
        model.to("cuda")
        step(training)
    assert {x.device.type for x in model.state_dict().values()} == {"cuda"}
    for a, b in zip(before, values(training), strict=True):
        np.testing.assert_array_equal(a, b)
    step(training)


# -- the real kernels ------------------------------------------------------------------


def test_training_in_the_simulator_equals_the_cpu():
    """With the kernels that a GPU would run, in a process where Numba simulates one."""
    folders = os.pathsep.join(str(ROOT / p) for p in ("", "tests", "tests/cuda"))
    settings = {"NUMBA_ENABLE_CUDASIM": "1", "TINYTL_KERNELS": "plain"}
    done = subprocess.run(
        [sys.executable, "-c", "import simulated, simulated_training"],
        env={**os.environ, **settings, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "equal after 3 steps\n", done.stderr
