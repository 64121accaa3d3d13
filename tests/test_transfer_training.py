"""Whole runs of the transfer methods: schedules, resuming, what a seed decides."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tinytl.models import VGG9, ResNet
from tinytl.transfer import METHODS, Run, Settings, generators

PAIRS = ((0, 1), (2, 3))


def images(n, seed=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), rng.integers(0, 3, n)


def run(method="l2t-www", epochs=4, pairs=PAIRS, first=0, data=3, **more):
    settings = Settings(method, epochs=epochs, batch_size=4, **more)
    random = generators(settings.seed)
    rng = np.random.default_rng(first)
    source = ResNet(5, widths=(3, 4, 5), blocks=1, generator=rng)
    target = VGG9(3, width=2, generator=random["target"])
    return Run(settings, source, target, pairs, *images(6, data), random)


def bits(r):
    state = r._everything().state_dict()
    return {name: value.data.tobytes() for name, value in state.items()}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_reports(method):
    r = run(method, epochs=2)
    before = bits(r)
    epochs = r.train(images(5, seed=4), every=2)
    assert bits(r) != before
    assert [e.number for e in epochs] == [0, 1]
    assert epochs[0].accuracy is None
    assert 0 <= epochs[1].accuracy <= 1
    assert (epochs[0].outer is not None) == method.startswith("l2t")
    assert len(epochs[0].lambdas) == (0 if METHODS[method].get("beta") == 0 else 2)


def test_methods_share_target_order_and_images_of_a_seed():
    runs = [run(method) for method in ("scratch", "ufm", "l2t-ww", "l2t-www")]
    first = [r.l2t.student.target.state_dict() for r in runs]
    for state in first[1:]:
        for name, value in state.items():
            assert np.array_equal(value.data, first[0][name].data)
    draws = [r.random["order"].random() for r in runs]
    assert len(set(draws)) == 1
    assert generators(0)["order"].random() != generators(1)["order"].random()


def test_the_two_readings_of_the_cosine():
    start, end = run(cosine="start"), run(cosine="end")
    assert start.rate(0) == 0.1
    assert end.rate(0) < 0.1
    assert end.rate(3) == 0
    assert start.rate(3) == end.rate(2) > 0
    by_hand = [0.1, 0.05 * (1 + 2**-0.5), 0.05, 0.05 * (1 - 2**-0.5)]
    assert [start.rate(e) for e in range(4)] == pytest.approx(by_hand)


@pytest.mark.parametrize("method", ["scratch", "l2t-ww", "l2t-www"])
def test_a_resumed_run_is_bit_equal(method, tmp_path):
    whole = run(method)
    whole.train(images(5), every=1)
    path = tmp_path / "run"
    part = run(method)
    part.settings = Settings(method, epochs=4, batch_size=4)

    class Stop(Exception):
        pass

    def tick(epoch):
        if epoch.number == 1:
            raise Stop

    with pytest.raises(Stop):
        part.train(images(5), every=1, checkpoint=path, tick=tick)
    again = run(method)
    again.train(images(5), every=1, checkpoint=path)
    assert bits(again) == bits(whole)
    assert again.epochs == whole.epochs


@pytest.mark.parametrize(
    ("error", "stopped_at"),
    [(KeyboardInterrupt, 1), (KeyboardInterrupt, 2), (MemoryError, 2)],
)
def test_an_epoch_that_was_stopped_leaves_nothing(error, stopped_at, tmp_path):
    """Neither in the networks nor in the optimisers nor in what is drawn next."""
    whole = run()
    whole.train(images(5), every=3)
    part = run()
    usual, calls = part.l2t.step, []

    def step(x, y):
        calls.append(1)
        if len(calls) == 2 * stopped_at:  # in the middle of an epoch of two steps
            usual(x, y)
            raise error
        return usual(x, y)

    part.l2t.step = step
    path = tmp_path / "run"
    with pytest.raises(error):
        part.train(images(5), every=3, checkpoint=path)
    assert len(part.epochs) == stopped_at - 1
    assert path.exists() == (error is KeyboardInterrupt and stopped_at == 2)
    if path.exists():
        other = run()
        assert other.train(images(5), every=3, checkpoint=path) == whole.epochs
        assert bits(other) == bits(whole)
    part.l2t.step = usual
    assert part.train(images(5), every=3) == whole.epochs
    assert bits(part) == bits(whole)


def test_a_run_that_has_epochs_does_not_go_back_to_its_file(tmp_path):
    r = run(epochs=2)
    r.train(every=1, checkpoint=tmp_path / "c")
    before = bits(r)
    (tmp_path / "c").write_bytes(b"damaged")
    assert len(r.train(every=1, checkpoint=tmp_path / "c")) == 2
    assert bits(r) == before


def test_epochs_tell_how_the_meta_networks_are_moved():
    """Norms by hand, from a run of one step an epoch; a dead pair is counted."""
    r = run("l2t-ww", epochs=1)
    r.settings = Settings("l2t-ww", epochs=1, batch_size=6)
    where = r.l2t.meta.where[1]
    for p in where.parameters():
        p.data = 0 * p.data - 5  # relu6 of what is far below 0
    usual, seen = r.l2t.step, []

    def step(x, y):
        report = usual(x, y)
        phi = [p.data for p in r.l2t.meta.parameters()]
        seen.append((report, phi))
        return report

    r.l2t.step = step
    (epoch,) = r.train()
    ((report, phi),) = seen

    def norm(arrays):
        return np.linalg.norm(np.concatenate([np.ravel(x) for x in arrays]))

    gradients = [g.data for g in report.hypergradient]
    assert epoch.hypergradient == pytest.approx(norm(gradients), rel=1e-6)
    assert epoch.decay == pytest.approx(1e-4 * norm(phi), rel=1e-6)
    assert epoch.dead == 0.5
    assert run("ufm", epochs=1).train()[0].dead is None


def test_a_killed_run_is_resumed_bit_for_bit(tmp_path):
    """SIGKILL in the middle of an epoch; the next start carries on where it can."""
    code = textwrap.dedent("""
        import sys, json, time
        sys.path.insert(0, sys.argv[2])
        from test_transfer_training import run, images, bits
        from pathlib import Path
        r = run(epochs=6)
        def tick(epoch):
            print(epoch.number, flush=True)
            if epoch.number == int(sys.argv[3]):
                time.sleep(60)
        r.train(images(5), every=1, checkpoint=Path(sys.argv[1]), tick=tick)
        print(json.dumps([vars(e) for e in r.epochs]))
    """)
    command = [
        sys.executable,
        "-c",
        code,
        str(tmp_path / "run"),
        os.path.dirname(__file__),
    ]
    first = subprocess.Popen([*command, "3"], stdout=subprocess.PIPE, text=True)
    for line in first.stdout:
        if line.strip() == "2":
            first.send_signal(signal.SIGKILL)
            break
    first.wait()
    first.stdout.close()
    done = subprocess.run([*command, "-1"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert int(lines[0]) in (3, 4)
    whole = run(epochs=6)
    whole.train(images(5), every=1)
    assert json.loads(lines[-1]) == [vars(e) for e in whole.epochs]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    run("l2t-ww", epochs=1).train(every=1, checkpoint=tmp_path / "c")
    for other in (run("l2t-www", epochs=1), run("l2t-ww", epochs=1, seed=1)):
        before = bits(other)
        with pytest.raises(ValueError, match="is of a run with other settings"):
            other.train(checkpoint=tmp_path / "c")
        assert bits(other) == before


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"data": 4}, "images, labels"),
        ({"first": 1}, "source network"),
        ({"pairs": ((0, 1), (2, 4))}, "pairs"),
    ],
)
def test_a_checkpoint_of_other_images_or_networks_is_refused(other, what, tmp_path):
    run(epochs=1).train(every=1, checkpoint=tmp_path / "c")
    another = run(epochs=1, **other)
    before = bits(another)
    with pytest.raises(ValueError, match=f"is of a run with other {what};"):
        another.train(checkpoint=tmp_path / "c")
    assert bits(another) == before
    same = run(epochs=1)
    assert len(same.train(checkpoint=tmp_path / "c")) == 1


def test_what_a_method_does_not_use_does_not_matter(tmp_path):
    run("scratch", epochs=1).train(every=1, checkpoint=tmp_path / "c")
    assert run("scratch", epochs=1, first=1).train(checkpoint=tmp_path / "c")


def test_the_configuration_names_every_option():
    found = run("l2t-www", options={"steps": 3}).configuration
    assert found["steps"] == 3
    assert found["which"] == "map"
    assert found["meta_lr"] == 1e-4
    assert found["pairs"] == [[0, 1], [2, 3]]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "magic"}, "method must be in"),
        ({"method": "ufm", "cosine": "tangent"}, "cosine must be in"),
        ({"method": "ufm", "epochs": 0}, "must be positive"),
    ],
)
def test_settings_that_do_not_exist(wrong, message):
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)
