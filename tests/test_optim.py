"""Optimisers and schedules: step by step equal to torch's."""

import math
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from tinytl_kernels import kernels_for, plain, use_kernels
from twins import distance

import tinytl
from tinytl import Tensor, nn, optim
from tinytl.nn import Parameter

SETTINGS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd, default rate": ("SGD", {}),
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "damped": ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5}),
    "decay": ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    "decay, no momentum": ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    "nesterov": (
        "SGD",
        {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    "sgd, up": ("SGD", {"lr": 0.001, "momentum": 0.5, "maximize": True}),
    "adam": ("Adam", {}),
    "adam, settings": ("Adam", {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-4}),
    "adam, slow": ("Adam", {"lr": 0.01, "betas": (0.4, 0.3)}),
    "adam, decay": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "amsgrad": ("Adam", {"lr": 0.05, "amsgrad": True, "betas": (0.9, 0.9)}),
    "adam, up": ("Adam", {"lr": 0.01, "maximize": True, "weight_decay": 0.1}),
    "adamw": ("AdamW", {}),
    "adamw, settings": (
        "AdamW",
        {"lr": 0.02, "weight_decay": 0.3, "amsgrad": True, "maximize": True},
    ),
}

SHAPES = [(3, 4), (5,), (), (2, 3, 2, 2), (0, 4), (4,)]
UNUSED, LATE, FROZEN = 5, 1, 3  # parameters with a gradient never, later, never


def start(dtype):
    rng = np.random.default_rng(0)
    return [np.asarray(rng.standard_normal(s), dtype) for s in SHAPES]


def gradients(parameters, step):
    """A gradient for each array: steady, noisy, with zeros, at times None."""
    rng = np.random.default_rng(step)
    found = []
    for k, p in enumerate(parameters):
        noise = rng.standard_normal(p.shape)
        g = np.asarray((p * 0.5 + noise * (noise > -0.5)).astype(p.dtype))
        absent = k in (UNUSED, FROZEN) or (k == LATE and step < 7)
        found.append(None if absent else g)
    return found


def groups(parameters):
    """Three groups, two with rates of their own."""
    return [
        {"params": parameters[:2]},
        {"params": parameters[2:4], "lr": 0.003},
        {"params": parameters[4:], "lr": 0.3, "weight_decay": 0.2},
    ]


def run_torch(kind, options, dtype, grouped, steps):
    params = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in start(dtype)]
    params[FROZEN].requires_grad_(False)
    made = getattr(torch.optim, kind)(groups(params) if grouped else params, **options)
    for step in range(steps):
        arrays = gradients([p.detach().numpy() for p in params], step)
        for p, g in zip(params, arrays, strict=True):
            p.grad = None if g is None else torch.from_numpy(g)
        made.step()
    return [p.detach().numpy() for p in params]


def run_ours(kind, options, dtype, grouped, steps, functional):
    params = [Parameter(a) for a in start(dtype)]
    params[FROZEN].requires_grad_(False)
    made = getattr(optim, kind)(groups(params) if grouped else params, **options)
    for step in range(steps):
        arrays = gradients([p.data for p in params], step)
        tensors = [None if g is None else Tensor(g) for g in arrays]
        before = [(p.data, p.data.copy()) for p in params]
        if functional:
            made.step(tensors)
        else:
            for p, g in zip(params, tensors, strict=True):
                p.grad = g
            made.step()
        assert all(np.array_equal(now, then) for now, then in before)
    return [p.data for p in params]


@pytest.mark.parametrize("functional", [True, False], ids=["returned", "grad"])
@pytest.mark.parametrize("grouped", [False, True], ids=["one group", "groups"])
@pytest.mark.parametrize("name", SETTINGS)
def test_fifty_steps_equal_torch(name, grouped, functional):
    kind, options = SETTINGS[name]
    ours = run_ours(kind, options, np.float64, grouped, 50, functional)
    theirs = run_torch(kind, options, np.float64, grouped, 50)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert distance(a, b) < 1e-12
    assert np.array_equal(ours[UNUSED], start(np.float64)[UNUSED])


@pytest.mark.parametrize("name", SETTINGS)
def test_single_precision_stays_within_rounding(name):
    kind, options = SETTINGS[name]
    ours = run_ours(kind, options, np.float32, True, 50, True)
    theirs = run_torch(kind, options, np.float32, True, 50)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == np.float32
        # 50 steps, each rounded a few times, in a feedback loop of factor about 1
        assert distance(a, b) < 50 * 8 * 2.0**-24


@pytest.mark.parametrize("rate", [np.float64(0.1), np.float32(0.1), 1])
@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
def test_rates_of_any_kind_keep_single_precision(make, rate):
    p = Parameter(np.ones(3, np.float32))
    options = {"momentum": np.float64(0.9)} if make is optim.SGD else {}
    opt = make([p], lr=rate, **options)
    for _ in range(3):
        opt.step([Tensor(np.ones(3, np.float64))])  # nor does a wider gradient widen it
    assert p.dtype == np.float32
    arrays = [v for v in opt.state[0].values() if isinstance(v, np.ndarray)]
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", SETTINGS)
def test_parameters_side_by_side_take_the_same_step_bit_by_bit(name):
    """Small and large ones, of two dtypes, of which some begin later than others."""
    kind, options = SETTINGS[name]
    large = np.random.default_rng(1).standard_normal((300, 250)).astype("f4")
    arrays = [*start("f4"), large, *start("f8")]
    ends = []
    for alone in (True, False):
        params = [Parameter(a.copy()) for a in arrays]
        optimizer = getattr(optim, kind)(params, **options)
        if alone:
            optimizer.elementwise = False
        update = optimizer.update = Mock(wraps=optimizer.update)
        for step in range(9):
            found = gradients(arrays, step)
            optimizer.step([None if g is None else Tensor(g) for g in found])
        ends.append((params, optimizer.state, update.call_count))
    (own, apart, more), (joined, together, fewer) = ends
    assert more > 2 * fewer
    for a, b in zip(own, joined, strict=True):
        assert a.data.flags.c_contiguous
        assert b.data.flags.c_contiguous
        np.testing.assert_array_equal(a.data, b.data, strict=True)
    assert apart.keys() == together.keys()
    for number, state in apart.items():
        assert state.keys() == together[number].keys()
        for part, value in state.items():
            np.testing.assert_array_equal(value, together[number][part], strict=True)


def test_an_optimiser_that_says_nothing_gets_its_parameters_one_by_one():
    """Its step may depend on a whole parameter, such as on its norm."""

    class Normed(optim.Optimizer):
        def update(self, parameter, gradient, state, options):
            return parameter - gradient / np.linalg.norm(gradient), {}

    params = [Parameter(np.zeros(3)), Parameter(np.zeros((2, 2)))]
    Normed(params, {}).step([Tensor(np.full(3, 4.0)), Tensor(np.full((2, 2), 9.0))])
    for p in params:
        np.testing.assert_allclose(p.data, -np.full(p.shape, p.numel() ** -0.5))


def test_steps_keep_memory_in_rows():
    # so that a run that was saved and loaded goes on with the same memory order
    p = Parameter(np.ones((3, 4), order="F"))
    opt = optim.SGD([p], momentum=0.9)
    opt.step([Tensor(np.ones((4, 3)).T)])
    assert p.data.flags.c_contiguous


def test_pure_steps_follow_their_formula_by_hand():
    array, state = optim.sgd_step(np.array([2.0]), np.array([3.0]), {}, lr=0.5)
    assert (array.tolist(), state) == ([0.5], {})
    p, v = 2.0, None
    state = {}
    array = np.array([p])
    for g in (1.0, -0.5, 0.25):
        array, state = optim.sgd_step(
            array, np.array([g]), state, lr=0.1, momentum=0.5, weight_decay=0.01
        )
        g = g + 0.01 * p
        v = g if v is None else 0.5 * v + g
        p = p - 0.1 * v
        assert array[0] == pytest.approx(p, rel=1e-15)
    # Adam's first step is lr * sign(g), however large g is
    for g in (1e-3, 1.0, -1e6):
        array, state = optim.adam_step(np.array([2.0]), np.array([g]), {}, lr=0.1)
        assert array[0] == pytest.approx(2.0 - 0.1 * math.copysign(1, g), rel=1e-5)
        assert set(state) == {"step", "exp_avg", "exp_avg_sq"}
        assert state["step"] == 1


def test_training_with_both_gradient_styles_is_the_same():
    results = []
    for functional in (True, False):
        layer = nn.Linear(3, 1, generator=np.random.default_rng(0))
        opt = optim.Adam(layer.parameters(), lr=0.1)
        x = Tensor(np.random.default_rng(1).standard_normal((8, 3)).astype(np.float32))
        for _ in range(5):
            loss = (layer(x) ** 2).mean()
            if functional:
                opt.step(tinytl.grad(loss, list(layer.parameters())))
            else:
                opt.zero_grad()
                loss.backward()
                opt.step()
        results.append(layer.weight.data)
    assert np.array_equal(*results)


# -- state -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_a_restored_optimiser_goes_on_bit_by_bit(name):
    kind, options = SETTINGS[name]

    def steps(params, opt, first, last):
        for step in range(first, last):
            arrays = gradients([p.data for p in params], step)
            opt.step([None if g is None else Tensor(g) for g in arrays])

    params = [Parameter(a) for a in start(np.float32)]
    opt = getattr(optim, kind)(groups(params), **options)
    steps(params, opt, 0, 10)
    saved, values = opt.state_dict(), [p.data for p in params]
    steps(params, opt, 10, 20)

    again = [Parameter(a) for a in values]
    fresh = getattr(optim, kind)(groups(again), lr=7.0)
    fresh.load_state_dict(saved)
    for number, state in fresh.state.items():
        for key, value in state.items():
            if isinstance(value, np.ndarray):
                assert not np.shares_memory(value, saved["state"][number][key])
    steps(again, fresh, 10, 20)
    for a, b in zip(params, again, strict=True):
        assert np.array_equal(a.data, b.data)


def test_foreign_states_are_refused_and_change_nothing():
    def fresh():
        return optim.Adam([Parameter([1.0, 2.0]), Parameter([3.0])], lr=0.5)

    opt = fresh()
    opt.step([Tensor([1.0, 1.0]), Tensor([1.0])])
    good = opt.state_dict()
    sgd = optim.SGD([Parameter([1.0, 2.0]), Parameter([3.0])]).state_dict()
    other = optim.Adam([Parameter([1.0, 2.0])]).state_dict()
    group = good["param_groups"][0]
    bad = [
        ({}, "not the state of an optimiser"),
        ({"state": 3, "param_groups": [{}]}, "not the state of an optimiser"),
        (sgd, "another kind of optimiser"),
        (other, r"groups of \[1\] parameters, this optimiser has groups of \[2\]"),
        ({**good, "state": {5: {}}}, "the state has no parameter 5"),
        ({**good, "state": {0: {"step": 1}}}, "needed are .*exp_avg"),
        (
            {**good, "state": {0: good["state"][1]}},
            r"exp_avg of parameter 0 has shape \(1,\), the parameter \(2,\)",
        ),
        ({**good, "param_groups": [{**group, "lr": -1.0}]}, "lr must be a number in"),
        ({**good, "param_groups": [{**group, "betas": [0.9]}]}, "betas must be two"),
    ]
    for state, message in bad:
        target = fresh()
        with pytest.raises(ValueError, match=message):
            target.load_state_dict(state)
        assert target.state == {}
        assert target.param_groups[0]["lr"] == 0.5


# -- mistakes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: optim.SGD([]), ValueError, "SGD: got no parameters"),
        (lambda p: optim.SGD(p), TypeError, "SGD: params must be an iterable"),
        (lambda p: optim.SGD([p, p]), ValueError, "was given twice"),
        (lambda p: optim.SGD([3.0]), TypeError, "leaf Tensors, got float"),
        (lambda p: optim.SGD([p * 2]), TypeError, "leaf Tensors, got Tensor"),
        (lambda p: optim.SGD([{"lr": 1}]), TypeError, "a group must be a dict with"),
        (
            lambda p: optim.SGD([{"params": [p], "rate": 1}]),
            ValueError,
            r"unknown options \['rate'\]; known are \['dampening', 'lr'",
        ),
        (lambda p: optim.SGD([p], lr=-1), ValueError, "SGD: lr must be a number in"),
        (lambda p: optim.SGD([p], lr=math.nan), ValueError, "SGD: lr must be"),
        (lambda p: optim.SGD([p], lr="1"), ValueError, "got '1'"),
        (lambda p: optim.SGD([p], momentum=-0.1), ValueError, "SGD: momentum must"),
        (lambda p: optim.SGD([p], weight_decay=-1), ValueError, "SGD: weight_decay"),
        (
            lambda p: optim.SGD([p], nesterov=True),
            ValueError,
            "nesterov needs momentum",
        ),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), ValueError, r"betas\[1\] must"),
        (lambda p: optim.Adam([p], betas=0.9), ValueError, "betas must be two"),
        (lambda p: optim.AdamW([p], eps=-1), ValueError, "AdamW: eps must be"),
    ],
)
def test_wrong_settings_are_explained(make, error, message):
    with pytest.raises(error, match=message):
        make(Parameter([1.0]))


def test_wrong_gradients_move_nothing():
    params = [Parameter([1.0, 2.0]), Parameter([3.0])]
    opt = optim.SGD(params, lr=0.1)
    for wrong, error, message in [
        ([Tensor([1.0, 1.0])], ValueError, "got 1 gradients for 2 parameters"),
        (
            [Tensor([1.0, 1.0]), Tensor([1.0, 1.0])],
            ValueError,
            r"gradient 1 has shape \(2,\), its parameter \(1,\)",
        ),
        ([Tensor([1.0, 1.0]), 3.0], TypeError, "gradient 1 must be a Tensor or None"),
        (Tensor([1.0, 1.0]), TypeError, "gradients must be a sequence"),
        (lambda: 0, TypeError, "gradients must be a sequence"),
    ]:
        with pytest.raises(error, match=message):
            opt.step(wrong)
        assert params[0].tolist() == [1.0, 2.0]


def test_printing_shows_options_and_counts():
    text = repr(optim.SGD(groups([Parameter(a) for a in start(np.float32)]), lr=0.5))
    assert text.startswith("SGD(\n  lr=0.5, momentum=0, ")
    assert "lr=0.003, " in text
    assert text.count(": 2 parameters") == 3
    assert "params=" not in text


# -- schedules -------------------------------------------------------------------------

SCHEDULES = {
    "step": lambda m, o: m.StepLR(o, 7, 0.3),
    "milestones": lambda m, o: m.MultiStepLR(o, [12, 3, 3, 25], 0.5),
    "cosine": lambda m, o: m.CosineAnnealingLR(o, 40),
    "cosine, floor, beyond the end": lambda m, o: m.CosineAnnealingLR(o, 15, 0.01),
    "linear": lambda m, o: m.LinearLR(o),
    "linear, down": lambda m, o: m.LinearLR(o, 1.0, 0.1, 20),
    "lambda": lambda m, o: m.LambdaLR(o, lambda epoch: 0.9**epoch),
    "lambdas": lambda m, o: m.LambdaLR(
        o, [lambda epoch: 1 / (1 + epoch), lambda epoch: epoch]
    ),
    "warm-up, then cosine": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.1, 1.0, 5), m.CosineAnnealingLR(o, 30)], [5]
    ),
    "three in a row": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.5), m.StepLR(o, 4), m.CosineAnnealingLR(o, 9)], [6, 20]
    ),
}


def twin_optimisers():
    ours, theirs = Parameter([1.0]), torch.nn.Parameter(torch.ones(1))
    second = Parameter([1.0]), torch.nn.Parameter(torch.ones(1))
    return (
        optim.SGD([{"params": [ours]}, {"params": [second[0]], "lr": 0.02}], lr=0.3),
        torch.optim.SGD(
            [{"params": [theirs]}, {"params": [second[1]], "lr": 0.02}], lr=0.3
        ),
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_equal_torch(name):
    make = SCHEDULES[name]
    opt, torch_opt = twin_optimisers()
    ours, theirs = make(optim, opt), make(torch.optim.lr_scheduler, torch_opt)
    for _ in range(45):
        expected = [group["lr"] for group in torch_opt.param_groups]
        assert [g["lr"] for g in opt.param_groups] == pytest.approx(
            expected, rel=1e-11, abs=1e-15
        )
        assert ours.get_last_lr() == [g["lr"] for g in opt.param_groups]
        torch_opt.step()
        theirs.step()
        ours.step()


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_restored_schedule_goes_on(name):
    make = SCHEDULES[name]
    opt, _ = twin_optimisers()
    schedule = make(optim, opt)
    for _ in range(11):
        schedule.step()
    saved, rates = schedule.state_dict(), opt.state_dict()
    again, _ = twin_optimisers()
    for group in again.param_groups:
        group["lr"] = 0.123
    restored = make(optim, again)
    again.load_state_dict(rates)
    restored.load_state_dict(saved)
    assert restored.get_last_lr() == schedule.get_last_lr()
    for _ in range(20):
        schedule.step()
        restored.step()
        assert restored.get_last_lr() == schedule.get_last_lr()
    assert restored.state_dict() == schedule.state_dict()


def test_settings_come_with_the_state():
    opt, _ = twin_optimisers()
    saved = optim.CosineAnnealingLR(opt, 40, 0.001).state_dict()
    restored = optim.CosineAnnealingLR(opt, 10)
    restored.load_state_dict(saved)
    assert (restored.T_max, restored.eta_min) == (40, 0.001)


def test_last_epoch_continues():
    opt, _ = twin_optimisers()
    first = optim.CosineAnnealingLR(opt, 20)
    for _ in range(6):
        first.step()
    second = optim.CosineAnnealingLR(opt, 20, last_epoch=first.last_epoch)
    first.step()
    assert second.last_epoch == first.last_epoch
    assert second.get_last_lr() == first.get_last_lr()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: optim.StepLR(o, 0), ValueError, "StepLR: step_size must be a"),
        (lambda o: optim.CosineAnnealingLR(o, 1.5), ValueError, "T_max must be a"),
        (lambda o: optim.LinearLR(o, 0.0), ValueError, "start_factor must be in"),
        (
            lambda o: optim.LambdaLR(o, [abs]),
            ValueError,
            "got 1 functions for 2 groups",
        ),
        (
            lambda o: optim.StepLR(3, 1),
            TypeError,
            "StepLR: needs an Optimizer, got int",
        ),
        (
            lambda o: optim.StepLR(o, 1, last_epoch=3),
            ValueError,
            "a group has no 'initial_lr'",
        ),
        (
            lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1)], [3]),
            ValueError,
            "one milestone fewer",
        ),
        (
            lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1)] * 3, [3, 2]),
            ValueError,
            "milestones must be positive and rise",
        ),
        (
            lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1)] * 2, [0]),
            ValueError,
            r"milestones must be positive and rise, got \[0\]",
        ),
        (
            lambda o: optim.SequentialLR(
                o, [optim.StepLR(o, 1), optim.StepLR(twin_optimisers()[0], 1)], [3]
            ),
            ValueError,
            "all schedules must belong to the optimiser",
        ),
    ],
)
def test_wrong_schedules_are_explained(make, error, message):
    with pytest.raises(error, match=message):
        make(twin_optimisers()[0])


def test_foreign_schedule_states_are_refused():
    opt, _ = twin_optimisers()
    schedule = optim.StepLR(opt, 3)
    good = schedule.state_dict()
    for state, message in [
        (optim.CosineAnnealingLR(opt, 3).state_dict(), "StepLR: needs a state with"),
        ({**good, "last_epoch": "3"}, "last_epoch of the state must be like"),
        ({**good, "base_lrs": [0.1]}, "1 base rates for 2 groups"),
        ({**good, "base_lrs": [0.1, "x"]}, "base_lrs of the state must be like"),
        (3, "StepLR: needs a state"),
    ]:
        with pytest.raises(ValueError, match=message):
            schedule.load_state_dict(state)
        assert schedule.state_dict() == good


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_all_kernel_sets_take_the_same_step(momentum, weight_decay, nesterov, dtype):
    """Bit by bit, in the first step and in later ones; no register divides the size."""
    rng = np.random.default_rng(3)
    p, g, v = rng.standard_normal((3, 67, 101)).astype(dtype)
    for speed in (None, v) if momentum else (None,):
        options = (p, g, speed, 0.1, momentum, 0.3, weight_decay, nesterov)
        wanted = plain.sgd_step(*options)
        with use_kernels("cpu"):
            found = kernels_for(p).sgd_step(*options)
        for ours, theirs in zip(found, wanted, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                assert ours.dtype == theirs.dtype
                assert ours.tobytes() == theirs.tobytes()
