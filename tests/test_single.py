"""One run on official images: the file it leaves, resuming, and what it refuses."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from tinytl import persistence
from tinytl.data import ImageSet
from tinytl.experiments import single
from tinytl.experiments.single import Task
from tinytl.models import ResNet, resnet32
from tinytl.transfer import Settings


def fake(split, root):
    rng = np.random.default_rng(len(split))
    n = 12 if split == "train" else 6
    images = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    return ImageSet(images, np.arange(n) % 3, ("a", "b", "c"), f"fake {split}", "none")


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.setitem(single.DATA, "fake", fake)
    weights = tmp_path / "source.safetensors"
    source = resnet32(4, generator=np.random.default_rng(0))
    persistence.save(source.state_dict(), weights)
    return Task("fake", str(tmp_path), 2, str(weights), "vgg9", 2)


def settings(method, **more):
    return Settings(method, epochs=2, batch_size=6, options={"steps": 1}, **more)


def test_a_run_leaves_one_complete_result(task, tmp_path):
    out = tmp_path / "run.json"
    single.run(task, settings("ufm"), out, every=1, progress=False)
    document = json.loads(out.read_text())
    assert document["settings"]["method"] == "ufm"
    assert document["task"]["per_class"] == 2
    assert document["images"] == {
        "train": 6,
        "test": 6,
        "names": ["fake train", "fake test"],
    }
    assert len(document["epochs"]) == 2
    assert len(document["epochs"][0]["lambdas"]) == len(single.PAIRS["vgg9"])
    assert document["configuration"]["beta"] == 0.5
    assert document["configuration"]["pairs"] == [list(p) for p in single.PAIRS["vgg9"]]
    assert document["earlier"] == []
    assert document["accuracy"] == document["epochs"][-1]["accuracy"]
    assert {"tinytl", "numpy", "kernels"} <= set(document["versions"])
    assert [p.name for p in tmp_path.glob("run.json*")] == ["run.json"]


def test_a_finished_run_is_read_and_another_one_is_not_overwritten(task, tmp_path):
    out = tmp_path / "run.json"
    first = single.run(task, settings("scratch"), out, progress=False)
    before = out.read_bytes()
    again = single.run(task, settings("scratch"), out, progress=False)
    assert again["accuracy"] == first["accuracy"]
    with pytest.raises(ValueError, match="the result of another run"):
        single.run(task, settings("scratch", seed=1), out, progress=False)
    assert out.read_bytes() == before
    out.write_text("{")
    with pytest.raises(ValueError, match="is no result of a run"):
        single.run(task, settings("scratch"), out, progress=False)


def test_a_stopped_run_goes_on_where_it_was(task, tmp_path, monkeypatch):
    whole = single.run(task, settings("l2t-ww"), tmp_path / "a", 1, progress=False)

    class Stopping(single._Bar):
        def tick(self, epoch):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(single, "_Bar", Stopping)
        with pytest.raises(KeyboardInterrupt):
            single.run(task, settings("l2t-ww"), tmp_path / "b", 1, progress=False)
    assert (tmp_path / "b.checkpoint").exists()
    assert not (tmp_path / "b").exists()
    resumed = single.run(task, settings("l2t-ww"), tmp_path / "b", 1, progress=False)
    assert resumed["epochs"] == whole["epochs"]


def test_a_run_that_two_versions_made_says_so(task, tmp_path, monkeypatch):
    out = tmp_path / "run"

    def stop(epoch):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(single, "versions", lambda: {"tinytl": "older"})
        with pytest.raises(KeyboardInterrupt):
            single.run(task, settings("ufm"), out, 1, progress=False, tick=stop)
    document = single.run(task, settings("ufm"), out, 1, progress=False)
    assert [v["tinytl"] for v in document["earlier"]] == ["older"]
    assert document["versions"]["tinytl"] != "older"


def test_what_would_stop_a_run_later_stops_it_at_once(task, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        single.run(task, settings("scratch"), tmp_path / "nowhere" / "a")
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"pip install 'tinytl\[io\]'"):
        single.run(task, settings("scratch"), tmp_path / "a")


def test_a_result_has_no_number_that_json_does_not_have(task, tmp_path, monkeypatch):
    whole = single.asdict

    def diverged(x):
        return {**whole(x), **({"loss": np.inf} if hasattr(x, "loss") else {})}

    monkeypatch.setattr(single, "asdict", diverged)
    single.run(task, settings("scratch"), tmp_path / "a", progress=False)
    text = (tmp_path / "a").read_text()
    assert json.loads(text)["epochs"][0]["loss"] is None
    assert "Infinity" not in text


def test_each_target_is_matched_at_the_ends_of_its_stages(task, tmp_path):
    same = replace(task, target="resnet32")
    rng = np.random.default_rng(0)
    for one in (task, same):
        source, target = single._networks(one, settings("ufm"), 3, rng)
        names = {
            (source.feature_names[m], target.feature_names[n])
            for m, n in single.PAIRS[one.target]
        }
        assert {m for m, _ in names} == {"blocks2.3", "blocks4.3", "blocks6.3"}
        assert len(names) == (15 if one is task else 9)


def test_fine_tuning_starts_from_the_source_and_needs_its_kind(task, tmp_path):
    with pytest.raises(ValueError, match="--target resnet32"):
        single.run(task, settings("finetune"), tmp_path / "a", progress=False)
    same = replace(task, target="resnet32")
    rng = np.random.default_rng(0)
    source, target = single._networks(same, settings("finetune"), 3, rng)
    assert isinstance(target, ResNet)
    assert target.fc.weight.shape == (3, 64)
    for name, p in source.named_parameters():
        if not name.startswith("fc."):
            assert np.array_equal(target.get_parameter(name).data, p.data)


def test_what_is_missing_is_said(task, tmp_path):
    bare = replace(task, source_weights=None)
    with pytest.raises(ValueError, match="needs --source-weights FILE; to get"):
        single.run(bare, settings("ufm"), tmp_path / "a", progress=False)
    single.run(bare, settings("scratch"), tmp_path / "b", progress=False)


def test_the_bar_shows_loss_accuracy_and_lambda(task, tmp_path, capsys):
    single.run(task, settings("ufm"), tmp_path / "a", every=1)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "lambda 1.00 to 1.00" in shown
    assert "accuracy" in shown
