"""Files: what is written comes back, damage is refused, and a resumed run goes on."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from training import Training, adam_and_warm_up, sgd_and_cosine

from tinytl import Tensor, nn, optim, persistence
from tinytl.persistence import (
    load,
    load_checkpoint,
    load_metadata,
    save,
    save_checkpoint,
    weights,
)


def bits(value):
    """Bytes of an array, to compare NaN and -0.0 too."""
    array = value.data if isinstance(value, Tensor) else value
    return array.dtype, array.shape, array.tobytes()


VALUES = {
    "float32": np.array([[1.5, -0.0], [np.nan, np.inf]], np.float32),
    "float64": np.array([1 / 3, 1e-320, -np.inf]),
    "single": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "strided": np.arange(24.0).reshape(4, 6)[::-2, 1::2],
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "swapped": np.arange(3.0).astype(">f8"),
    "bools": np.array([True, False, True]),
    "bytes": np.arange(5, dtype=np.uint8),
    "name with.dots/and é": np.ones(1, np.float32),
}


def test_values_come_back_bit_by_bit(tmp_path):
    path = tmp_path / "w.safetensors"
    state = {**VALUES, "tensor": Tensor([1.0, 2.0], requires_grad=True)}
    save(state, path, {"from": "here", "schön": "ja"})
    found = load(path)
    assert set(found) == set(state)
    for name, value in state.items():
        array = value.data if isinstance(value, Tensor) else value
        native = array.astype(array.dtype.newbyteorder("="))
        assert bits(found[name]) == bits(native), name
        assert found[name].data.flags.writeable
        assert not found[name].requires_grad
    assert load_metadata(path) == {"from": "here", "schön": "ja"}


def test_a_model_comes_back(tmp_path):
    path = str(tmp_path / "w.safetensors")
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)]
    net, other = nn.Sequential(*layers), nn.Sequential(nn.Conv2d(2, 3, 3), layers[1])
    save(net.state_dict(), path)
    assert other.load_state_dict(load(path)).complete
    x = Tensor(np.ones((2, 2, 5, 5), np.float32))
    assert np.array_equal(net.eval()(x).data, other.eval()(x).data)
    assert load_metadata(path) == {}


def test_torch_reads_ours_and_we_read_torchs(tmp_path):
    path = tmp_path / "w.safetensors"
    layer = torch.nn.Conv2d(2, 3, 3)
    save({k: v.numpy() for k, v in layer.state_dict().items()}, path)
    again = safetensors.torch.load_file(path)
    assert torch.equal(again["weight"], layer.weight)
    safetensors.torch.save_file(layer.state_dict(), path, {"format": "pt"})
    assert np.array_equal(load(path)["bias"].data, layer.bias.detach().numpy())
    assert load_metadata(path) == {"format": "pt"}
    safetensors.torch.save_file({"half": torch.tensor([1.5]).half()}, path)
    assert bits(load(path)["half"]) == bits(np.array([1.5], np.float32))
    safetensors.torch.save_file({"brain": torch.tensor([1.5]).bfloat16()}, path)
    with pytest.raises(ValueError, match="w.safetensors"):
        load(path)
    safetensors.torch.save_file({"c": torch.ones(1, dtype=torch.complex64)}, path)
    with pytest.raises(ValueError, match="'c' holds complex64"):
        load(path)


@pytest.mark.parametrize(
    ("state", "metadata", "message"),
    [
        ({"x": [1.0]}, None, "'x' must be a Tensor or an array .* got list"),
        ({"x": np.array(["a"])}, None, "'x' must be .* got <U1"),
        ({3: np.ones(1)}, None, "names must be text, got 3"),
        ({}, {"a": 1}, "metadata must be text, got 'a': 1"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, state, metadata, message):
    with pytest.raises(TypeError, match=message):
        save(state, tmp_path / "w.safetensors", metadata)
    assert os.listdir(tmp_path) == []


def test_reserved_names_and_missing_folders_are_explained(tmp_path):
    with pytest.raises(ValueError, match="'tinytl.sha256' is reserved"):
        save({}, tmp_path / "w", {"tinytl.sha256": "0"})
    with pytest.raises(FileNotFoundError, match="make the folder .*deep first"):
        save({}, tmp_path / "deep" / "w")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent")


def test_without_the_library_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (lambda: save({}, tmp_path / "w"), lambda: load(tmp_path / "w")):
        with pytest.raises(ImportError, match=r"pip install 'tinytl\[io\]'"):
            call()


# -- atomic ----------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, broken
):
    path = tmp_path / "w"
    save({"x": np.ones(3)}, path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(weights.os, broken, fail)
    with pytest.raises(OSError, match="disk full"):
        save({"x": np.zeros(3)}, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["w"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real" / "w")
    save({"x": np.ones(3)}, link)
    assert link.is_symlink()
    assert load(tmp_path / "real" / "w")["x"].tolist() == [1.0, 1.0, 1.0]


WRITER = """
import sys, numpy as np
from tinytl import nn, persistence
model = nn.Linear(700, 700)
print("ready", flush=True)
for k in range(1, 10**6):
    model.weight.data = np.full((700, 700), k, np.float32)
    model.bias.data = np.full(700, k, np.float32)
    persistence.save_checkpoint(sys.argv[1], model=model, extra=k)
"""


def test_a_killed_program_leaves_a_complete_file_or_none(tmp_path):
    dice = random.Random(0)
    seen = set()
    for run in range(8):
        path = tmp_path / f"{run % 4}.safetensors"
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout.readline() == "ready\n"
            while run % 2 and not path.exists():
                time.sleep(0.001)
            time.sleep(dice.uniform(0, 0.1))
            os.kill(process.pid, signal.SIGKILL)
        if not path.exists():
            continue
        model = nn.Linear(700, 700)
        number = load_checkpoint(path, model=model)
        assert set(np.unique(model.weight.data)) == {number}
        assert set(np.unique(model.bias.data)) == {number}
        seen.add(number)
    assert seen


# -- damaged ---------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    """A small checkpoint with everything in it, and what it was made of."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(2, 2, generator=rng), nn.Dropout(generator=rng))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer.step([Tensor(np.ones((2, 2), np.float32)), Tensor([1.0, 1.0])])
    scheduler = optim.CosineAnnealingLR(optimizer, 10)
    path = tmp_path / "c.safetensors"
    parts = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "generator": rng,
    }
    save_checkpoint(path, **parts, extra={"epoch": 3})
    return path, parts


def snapshot(parts):
    """Everything that loading could change, as comparable values."""
    optimizer = parts["optimizer"].state_dict()
    arrays = [
        (k, name, bits(v) if isinstance(v, np.ndarray) else v)
        for k, state in optimizer["state"].items()
        for name, v in state.items()
    ]
    return (
        [(name, bits(t)) for name, t in parts["model"].state_dict().items()],
        arrays,
        optimizer["param_groups"],
        parts["scheduler"].state_dict(),
        str(parts["generator"].bit_generator.state),
    )


def fresh_parts(seed=99):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(2, 2, generator=rng), nn.Dropout(generator=rng))
    optimizer = optim.SGD(model.parameters(), lr=0.7, momentum=0.1)
    scheduler = optim.CosineAnnealingLR(optimizer, 33)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "generator": rng,
    }


def assert_refused(path, parts):
    """Both readers raise ValueError with the path, and nothing has changed."""
    before = snapshot(parts)
    with pytest.raises(ValueError, match=path.name):
        load(path)
    with pytest.raises(ValueError, match=path.name):
        load_checkpoint(path, **parts)
    assert snapshot(parts) == before


def test_a_file_cut_short_anywhere_is_refused(checkpoint, tmp_path):
    path, _ = checkpoint
    content, cut = path.read_bytes(), tmp_path / "cut"
    parts = fresh_parts()
    for length in [*range(0, 40), *range(40, len(content), 37), len(content) - 1]:
        cut.write_bytes(content[:length])
        assert_refused(cut, parts)
    cut.write_bytes(content + b"more")
    assert_refused(cut, parts)
    cut.write_bytes(content)
    assert load_checkpoint(cut, **parts) == {"epoch": 3}


def test_a_single_wrong_bit_anywhere_is_found(checkpoint, tmp_path):
    path, _ = checkpoint
    content, wrong = path.read_bytes(), tmp_path / "wrong"
    parts, dice = fresh_parts(), random.Random(0)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << dice.randrange(8)
        wrong.write_bytes(damaged)
        assert_refused(wrong, parts)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other"
    parts = fresh_parts()
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a", "b")
    torch.save({"weight": torch.ones(2)}, tmp_path / "pt")
    huge = (1 << 62).to_bytes(8, "little") + b"{}"
    deep = b"[" * 20000
    for content in (
        b"",
        b"\0" * 100,
        b"weights, honestly\n" * 50,
        pickle.dumps({"weight": [1.0, 2.0]}),
        (tmp_path / "zip").read_bytes(),
        (tmp_path / "pt").read_bytes(),
        huge,
        len(deep).to_bytes(8, "little") + deep,
        (2).to_bytes(8, "little") + b"[]",
        (8).to_bytes(8, "little") + b'{"a": 1}',
    ):
        path.write_bytes(content)
        assert_refused(path, parts)


def test_nothing_in_a_file_is_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "trap"
    path.write_bytes(pickle.dumps({"weight": Trap()}))
    assert_refused(path, fresh_parts())
    assert not (tmp_path / "sprung").exists()


# -- checkpoints -----------------------------------------------------------------------


def test_everything_is_restored_in_place(checkpoint):
    path, parts = checkpoint
    fresh = fresh_parts()
    model, before = fresh["model"], fresh["model"][0].weight
    assert load_checkpoint(path, **fresh) == {"epoch": 3}
    assert fresh["model"] is model
    assert fresh["model"][0].weight is before
    assert snapshot(fresh) == snapshot(parts)


def test_parts_are_restored_alone(checkpoint):
    path, parts = checkpoint
    fresh = fresh_parts()
    load_checkpoint(path, model=fresh["model"])
    mixed = {**fresh_parts(), "model": fresh["model"]}
    assert snapshot(mixed)[0] == snapshot(parts)[0]
    assert snapshot(mixed)[1:4] == snapshot(fresh_parts())[1:4]
    assert load_checkpoint(path) == {"epoch": 3}


def other_model():
    return nn.Sequential(nn.Linear(2, 3), nn.Dropout())


def with_other(**others):
    return {**fresh_parts(), **others}


def optimiser(kind, **options):
    return getattr(optim, kind)(
        [Tensor(np.ones((2, 2))), Tensor([1.0, 1.0])], **options
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"model": other_model()}, r"0.weight has shape \(2, 2\) in the state"),
        (lambda: {"optimizer": optimiser("Adam")}, "its optimizer is SGD, not Adam"),
        (
            lambda: {"optimizer": optim.SGD([Tensor([1.0, 2.0])])},
            r"groups of \[2\] parameters, this optimiser has groups of \[1\]",
        ),
        (
            lambda: {"scheduler": optim.StepLR(optimiser("SGD"), 3)},
            "its scheduler is CosineAnnealingLR, not StepLR",
        ),
        (
            lambda: {"generator": np.random.Generator(np.random.MT19937(0))},
            "state must be for a MT19937",
        ),
        (
            lambda: {"generator": {"shuffle": np.random.default_rng(0)}},
            "no generator 'generator.shuffle', but",
        ),
    ],
)
def test_what_does_not_fit_changes_nothing(checkpoint, make, message):
    path, _ = checkpoint
    parts = fresh_parts()
    before = snapshot(parts)
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(path, **{**parts, **make()})
    assert str(path) in str(caught.value)
    assert snapshot(parts) == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "3",
        "{}",
        '{"extra": 1}',
        '{"extra": 1, "model": "Sequential", "generators": 3}',
        "[" * 100_000,
    ],
)
def test_signed_nonsense_is_refused(tmp_path, text):
    path, parts = tmp_path / "c", fresh_parts()
    before = snapshot(parts)
    weights.write({}, path, {weights.CHECKPOINT: text})
    with pytest.raises(ValueError, match=str(path)):
        load_checkpoint(path, **parts)
    assert snapshot(parts) == before


SAVED = ("optimizers", "optimizer")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ([*SAVED, "param_groups", 0, "lr"], "fast"),
        ([*SAVED, "param_groups", 0, "lr"], float("nan")),
        ([*SAVED, "param_groups"], {"a": 1}),
        ([*SAVED, "state"], [1]),
        ([*SAVED, "state"], {"7": {"x": 1}}),
        (["optimizers"], None),
        (["optimizers"], {"optimizer": None}),
        (["schedule", "base_lrs"], [None]),
        (["schedule", "T_max"], "x"),
        (["schedule"], None),
        (["generators", "generator"], {}),
        (["generators", "generator", "state", "state"], -1),
        (["generators", "model.1"], {"bit_generator": "PCG64"}),
        (["generators"], None),
    ],
)
def test_signed_checkpoints_with_one_wrong_value_are_refused(checkpoint, keys, value):
    path, _ = checkpoint
    arrays, text = weights.read(path)
    document = json.loads(text[weights.CHECKPOINT])
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    weights.write(arrays, path, {weights.CHECKPOINT: json.dumps(document)})
    parts = fresh_parts()
    before = snapshot(parts)
    with pytest.raises(ValueError, match=str(path)):
        load_checkpoint(path, **parts)
    assert snapshot(parts) == before


def test_weights_are_no_checkpoint_but_a_checkpoint_has_weights(checkpoint, tmp_path):
    path, parts = checkpoint
    assert "model.0.weight" in load(path)
    assert load_metadata(path) == {}
    plain = tmp_path / "plain"
    save(parts["model"].state_dict(), plain)
    with pytest.raises(ValueError, match="holds weights, but no checkpoint"):
        load_checkpoint(plain, model=parts["model"])


def test_a_checkpoint_without_a_part_says_so(tmp_path):
    path, parts = tmp_path / "c", fresh_parts()
    save_checkpoint(path, extra=[1, 2.5, None, "x"])
    assert load_checkpoint(path) == [1, 2.5, None, "x"]
    for name, message in [
        ("model", "it holds no model"),
        ("optimizer", "its optimizer is None, not SGD"),
        ("scheduler", "its scheduler is None, not Cos"),
        ("generator", "it has no generator 'generator'"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_checkpoint(path, **{name: parts[name]})


def test_extra_must_be_plain(tmp_path):
    with pytest.raises(TypeError, match="extra must be made of dicts.*set is none of"):
        save_checkpoint(tmp_path / "c", extra={1, 2})
    assert os.listdir(tmp_path) == []


def test_dropout_of_an_unknown_generator_needs_a_loose_load(tmp_path):
    path = tmp_path / "c"
    save_checkpoint(path, model=nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    model = fresh_parts()["model"]
    with pytest.raises(ValueError, match="no generator 'model.1'"):
        load_checkpoint(path, model=model)
    load_checkpoint(path, model=model, strict=False)
    assert np.array_equal(model[0].weight.data, load(path)["model.0.weight"].data)


@pytest.mark.parametrize("kind", ["MT19937", "Philox", "SFC64", "PCG64DXSM"])
def test_generators_of_every_kind_go_on(tmp_path, kind):
    first = np.random.Generator(getattr(np.random, kind)(1))
    second = np.random.Generator(getattr(np.random, kind)(2))
    first.random(3, dtype=np.float32)  # leaves half a number over
    save_checkpoint(tmp_path / "c", generator={"a": first, "b": second})
    expected = first.random(5, dtype=np.float32), second.random(5)
    again = [np.random.Generator(getattr(np.random, kind)(k)) for k in (8, 9)]
    load_checkpoint(tmp_path / "c", generator=dict(zip("ab", again, strict=True)))
    assert np.array_equal(again[0].random(5, dtype=np.float32), expected[0])
    assert np.array_equal(again[1].random(5), expected[1])


# -- resuming --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [sgd_and_cosine, adam_and_warm_up])
@pytest.mark.parametrize("stop", [0, 1, 3])
def test_resumed_training_equals_training_never_stopped(
    tmp_path, make, stop, dtype, kernel_set
):
    path = tmp_path / "c.safetensors"
    straight = Training(make, 1, dtype)
    straight.epochs(5)

    before = Training(make, 1, dtype)
    before.epochs(stop)
    save_checkpoint(path, **before.parts(), extra={"losses": before.losses})
    after = Training(make, 77, dtype)
    after.epochs(1)  # whatever it did, all of it is replaced
    after.losses = load_checkpoint(path, **after.parts())["losses"]
    after.epochs(5 - stop)

    assert after.losses == straight.losses
    assert snapshot(after.parts()) == snapshot(straight.parts())
    before.epochs(5 - stop)  # and saving did not disturb the run that was saved
    assert snapshot(before.parts()) == snapshot(straight.parts())


def test_a_run_resumed_in_another_process_is_the_same(tmp_path):
    straight = Training(sgd_and_cosine, 1, np.float32)
    straight.epochs(4)
    code = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "from training import Training, np, sgd_and_cosine\n"
        "from tinytl.persistence import load_checkpoint, save_checkpoint\n"
        "run = Training(sgd_and_cosine, 1, np.float32)\n"
        "path = pathlib.Path(sys.argv[2])\n"
        "if path.exists(): load_checkpoint(path, **run.parts())\n"
        "run.epochs(2)\n"
        "save_checkpoint(path, **run.parts())\n"
    )
    path = tmp_path / "c"
    here = os.path.dirname(__file__)
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, here, str(path)], check=True)
    resumed = Training(sgd_and_cosine, 5, np.float32)
    load_checkpoint(path, **resumed.parts())
    assert snapshot(resumed.parts()) == snapshot(straight.parts())


def test_the_package_offers_its_names():
    assert set(persistence.__all__) <= set(vars(persistence))


def test_several_optimisers_by_name(tmp_path):
    """As a bilevel method needs: SGD for a network, Adam for what steers it."""
    a, b = (Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    both = {"theta": optim.SGD([a], 0.1, momentum=0.9), "phi": optim.Adam([b], 0.1)}
    for each in both.values():
        each.step([Tensor(np.ones(2))])
    save_checkpoint(tmp_path / "c", optimizer=both)
    again = {"phi": optim.Adam([b]), "theta": optim.SGD([a], momentum=0.9)}
    load_checkpoint(tmp_path / "c", optimizer=again)
    for name, each in both.items():
        assert again[name].state[0].keys() == each.state[0].keys()
        for key, value in each.state[0].items():
            assert np.array_equal(again[name].state[0][key], value)
    with pytest.raises(ValueError, match="its optimizer.phi is Adam, not SGD"):
        load_checkpoint(tmp_path / "c", optimizer={"phi": optim.SGD([b])})
    with pytest.raises(ValueError, match="its optimizer is None, not SGD"):
        load_checkpoint(tmp_path / "c", optimizer=optim.SGD([a]))


def test_equal_contents_are_equal_bytes(tmp_path):
    """Whatever order the library gives the metadata in, and still its own format."""
    state = {"b": np.arange(3.0), "a": np.ones((2, 2), np.float32)}
    metadata = {f"name {k}": str(k) for k in range(12)}
    for k in range(5):
        save(state, tmp_path / str(k), metadata)
    files = {(tmp_path / str(k)).read_bytes() for k in range(5)}
    assert len(files) == 1
    again = safetensors.numpy.load(files.pop())
    assert {k: v.tolist() for k, v in again.items()} == {
        k: v.tolist() for k, v in state.items()
    }
    assert load_metadata(tmp_path / "0") == metadata
