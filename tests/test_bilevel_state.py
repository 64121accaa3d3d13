"""What virtual steps must leave as it was: parameters, randomness, statistics."""

import numpy as np
import pytest
from test_bilevel import EXACT, Images, arrays, distance, image_problem, leaf

import tinytl.functional as F
from tinytl import Tensor, bilevel, grad, nn
from tinytl.bilevel import (
    Snapshot,
    VirtualStatistics,
    check_hypergradient,
    hypergradient,
    replay,
)
from tinytl.optim import SGD, Adam, MultiStepLR

# -- snapshots -------------------------------------------------------------------------


def training(seed=0, optimizer=SGD, **options):
    """A network with everything that can change, an optimiser, and a step of both."""
    rng = np.random.default_rng(seed)
    net = Images(dropout=0.3)
    sgd = optimizer(net.parameters(), **options)
    schedule = MultiStepLR(sgd, [2], gamma=0.1)
    x, labels = Tensor(rng.normal(size=(6, 3, 8, 8))), Tensor(rng.integers(0, 3, 6))

    def step():
        noise = Tensor(0.1 * rng.normal(size=x.shape))
        loss = F.cross_entropy(net(x + noise)[1], labels)
        sgd.step(grad(loss, list(net.parameters())))
        schedule.step()
        return loss.item()

    return net, sgd, rng, step


def everything(net, optimizer):
    found = [x.data for x in net.state_dict().values()]
    for state in optimizer.state.values():
        found += [np.asarray(x) for x in state.values()]
    found += [np.asarray(optimizer.param_groups[0]["lr"])]
    return [(x.dtype, x.tobytes()) for x in found]


@pytest.mark.parametrize(
    ("kind", "options"),
    [(SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}), (Adam, {"lr": 0.01})],
)
@pytest.mark.parametrize("before", [0, 2])
def test_a_snapshot_brings_everything_back_bit_by_bit(kind, options, before):
    net, optimizer, rng, step = training(optimizer=kind, **options)
    for _ in range(before):
        step()
    was = everything(net, optimizer)
    snapshot = Snapshot.take(net, optimizer=optimizer, generators=[rng])
    losses = [step() for _ in range(3)]
    assert everything(net, optimizer) != was
    for _ in range(2):
        snapshot.restore()
        assert everything(net, optimizer) == was
    if not before:
        assert not optimizer.state
    assert [step() for _ in range(2)] == losses[:2]


def add_one(p):
    p.data += 1


def fill_with_zeros(p):
    p.data[...] = 0


@pytest.mark.parametrize("write", [add_one, fill_with_zeros])
def test_a_copy_survives_writing_into_an_array(write):
    """Without one, the snapshot changes with the array: its docstring says so."""
    p = nn.Parameter(np.array([1.0, 2.0]))
    kept, shared = Snapshot.take(p, copy=True), Snapshot.take(p)
    for _ in range(2):  # what was restored is not what is kept, either
        write(p)
        shared.restore()
        assert p.data.tolist() != [1.0, 2.0]
        kept.restore()
        assert p.data.tolist() == [1.0, 2.0]


def test_a_snapshot_copies_no_values_and_nothing_writes_into_them():
    """Training, statistics and virtual steps with all arrays write-protected."""
    net, sgd, rng, step = training(lr=0.1, momentum=0.9)
    step()
    snapshot = Snapshot.take(net, optimizer=sgd, generators=[rng])
    for x, p in zip(snapshot.arrays(), net.parameters(), strict=False):
        assert x is p.data
    kept = snapshot.arrays()
    kept += [state["momentum_buffer"] for state in sgd.state.values()]
    copies = [x.copy() for x in kept]
    for x in kept:
        x.flags.writeable = False
    step()
    settings = bilevel.sgd_settings(sgd)
    problem = image_problem(net, 2) | settings
    inner = replay(problem["inner"], net)
    hypergradient(**problem | {"inner": inner})
    step()
    for x, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(x, copy)


def test_a_snapshot_as_a_block_rolls_back_after_an_error_too():
    net, sgd, rng, step = training(lr=0.1, momentum=0.9)
    was = everything(net, sgd)

    def fail():
        with Snapshot.take(net, optimizer=sgd, generators=[rng]):
            step()
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert everything(net, sgd) == was


def test_a_snapshot_of_tensors_and_of_what_an_optimiser_holds():
    x, y = leaf(np.ones(2)), leaf(np.ones(2))
    with Snapshot.take(x, optimizer=SGD([y], lr=1.0)):
        x.data, y.data = np.zeros(2), np.zeros(2)
    assert x.data.tolist() == y.data.tolist() == [1, 1]
    with pytest.raises(TypeError, match=r"Snapshot\.take: needs Modules or Tensors"):
        Snapshot.take(np.ones(2))


def test_virtual_steps_leave_everything_as_it_was():
    net, sgd, rng, step = training(lr=0.1, momentum=0.9, weight_decay=0.01)
    step()
    problem = image_problem(net, 3) | bilevel.sgd_settings(sgd)
    was, grads = everything(net, sgd), [p.grad for p in net.parameters()]
    for method in bilevel.METHODS:
        if method != "implicit":
            with Snapshot.take(net, generators=[rng]):
                inner = replay(problem["inner"], net)
                hypergradient(
                    **problem | {"inner": inner, "method": method, "steps": 2}
                )
            assert everything(net, sgd) == was
    assert [p.grad for p in net.parameters()] == grads


# -- randomness ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bits", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64]
)
def test_replay_draws_once_a_step(bits):
    generator, twin = (np.random.Generator(bits(3)) for _ in range(2))
    drawn = []

    def inner(p, h, t):
        drawn.append((t, generator.random()))
        return Tensor(0.0)

    again = replay(inner, generator)
    for t in (0, 1, 2, 1, 0, 1):
        again([], [], t)
    first = dict(drawn[:3])
    assert drawn[3:] == [(t, first[t]) for t in (1, 0, 1)]
    assert [first[t] for t in range(3)] == twin.random(3).tolist()
    assert generator.random() == twin.random()  # as if each step had been drawn once
    fresh = replay(inner, generator)
    fresh([], [], 0)
    assert drawn[-1][1] not in first.values()


def test_replay_keeps_generators_in_order_after_an_error():
    generator = np.random.default_rng(0)

    def outer(p, h):
        if generator.random() and p:
            raise RuntimeError("on purpose")
        return Tensor(0.0)

    again = replay(outer, generator)
    again([], [])
    expected = generator.bit_generator.state
    with pytest.raises(RuntimeError, match="on purpose"):
        again([1], [])
    assert generator.bit_generator.state == expected


def test_replay_needs_a_generator():
    with pytest.raises(ValueError, match="found no"):
        replay(lambda p, h: None, nn.Dropout(0.5))
    with pytest.raises(TypeError, match=r"numpy\.random\.Generators or Modules"):
        replay(lambda p, h: None, 3)


# -- running statistics ----------------------------------------------------------------


def statistics(net):
    return [x.data.copy() for x in net.buffers()]


@pytest.mark.parametrize("bn_virtual", ["official", "restore", "freeze"])
@pytest.mark.parametrize(
    ("method", "options"),
    [*((m, {}) for m in EXACT), ("reverse", {"keep": "sqrt"}), ("finite", {})],
)
def test_what_is_left_of_virtual_steps(bn_virtual, method, options):
    """official: one update, by the pass at t = 0; restore and freeze: none."""
    net = Images()
    problem = image_problem(net, 4)
    problem["inner"](problem["parameters"], problem["hyper"], 0)  # a pass of training
    before = statistics(net)
    with VirtualStatistics(net, bn_virtual=bn_virtual) as virtual:
        found = hypergradient(
            **problem
            | {"inner": virtual(problem["inner"]), "outer": virtual(problem["outer"])},
            method=method,
            **options,
        )
        during = statistics(net)
    after = statistics(net)
    if bn_virtual == "official":
        for x, array in zip(net.buffers(), before, strict=True):
            x.data = array
        problem["inner"](problem["parameters"], problem["hyper"], 0)
        expected = statistics(net)
        assert after[2] == before[2] + 1
    else:
        expected = before
    for x, y in zip(after, expected, strict=True):
        np.testing.assert_array_equal(x, y)
    passes = 0 if bn_virtual == "freeze" else 5  # four steps and the outer loss
    assert during[2] == before[2] + passes
    plain = hypergradient(**problem, method=method, **options)
    assert distance(arrays(found), arrays(plain)) == 0  # the batch's statistics count


def in_evaluation_mode(net, outer):
    def changed(p, h):
        net.eval()
        try:
            return outer(p, h)
        finally:
            net.train()

    return changed


@pytest.mark.parametrize("bn_virtual", ["official", "restore", "freeze"])
def test_an_outer_loss_in_evaluation_mode_is_repeatable(bn_virtual):
    net = Images()
    problem = image_problem(net, 3)
    outer = in_evaluation_mode(net, problem["outer"])
    with VirtualStatistics(net, bn_virtual=bn_virtual) as virtual:
        inner = virtual(problem["inner"])
        check_hypergradient(
            **problem | {"inner": inner, "outer": virtual(outer)}, tolerance=1e-5
        )


def test_statistics_that_move_on_from_call_to_call_are_reported():
    net = Images()
    problem = image_problem(net, 3)
    outer = in_evaluation_mode(net, problem["outer"])
    with pytest.raises(ValueError, match="VirtualStatistics"):
        check_hypergradient(**problem | {"outer": outer})


def test_an_error_undoes_the_virtual_steps():
    net = Images()
    before = statistics(net)

    def fail():
        with VirtualStatistics(net) as virtual:
            problem = image_problem(net, 2)
            inner = virtual(problem["inner"])
            hypergradient(**problem | {"inner": inner, "outer": lambda p, h: 1.0})

    with pytest.raises(ValueError, match="must return"):
        fail()
    for x, y in zip(net.buffers(), before, strict=True):
        np.testing.assert_array_equal(x.data, y)


def test_policies_are_named():
    with pytest.raises(ValueError, match="bn_virtual must be one of"):
        VirtualStatistics(Images(), bn_virtual="none")
    virtual = VirtualStatistics(Images())
    with pytest.raises(ValueError, match="inside its with block"):
        virtual(lambda p, h: Tensor(0.0))([], [])


def test_settings_of_an_optimiser_that_virtual_steps_cannot_follow():
    p = leaf(np.ones(2))
    with pytest.raises(ValueError, match="nesterov"):
        bilevel.sgd_settings(SGD([p], lr=0.1, momentum=0.9, nesterov=True))
    with pytest.raises(ValueError, match="one group"):
        bilevel.sgd_settings(SGD([{"params": p}, {"params": leaf(np.ones(1))}], lr=1))
    with pytest.raises(TypeError, match="needs SGD, got Adam"):
        bilevel.sgd_settings(Adam([p]))
