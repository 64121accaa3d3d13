"""VGG9, the maps that L2T-ww matches, and its published source network."""

import numpy as np
import pytest
import torch
from torch.nn import functional as TF
from twins import distance

import tinytl
from tinytl import Tensor
from tinytl import functional as F
from tinytl.models import VGG9, ResNet, count_parameters, load_source, resnet32
from tinytl.nn import BatchNorm2d, Conv2d
from tinytl.persistence import save

F64 = {"dtype": np.float64}


class TorchVGG9(torch.nn.Module):
    """64 M 128 M 256 256 M 512 512 M 512 512 M, written out."""

    def __init__(self, classes=10, channels=3, plan=(64, 128, 256, 512)):
        super().__init__()
        a, b, c, d = plan
        layers, before = [], channels
        for wide in (a, "M", b, "M", c, c, "M", d, d, "M", d, d, "M"):
            if wide == "M":
                layers.append(torch.nn.MaxPool2d(2, 2))
                continue
            layers.append(torch.nn.Conv2d(before, wide, 3, padding=1))
            layers.append(torch.nn.BatchNorm2d(wide))
            layers.append(torch.nn.ReLU())
            before = wide
        self.features = torch.nn.Sequential(*layers)
        self.classifier = torch.nn.Linear(d, classes)

    def maps(self, x):
        found = []
        for layer in self.features:
            if isinstance(layer, torch.nn.MaxPool2d):
                found.append(x)
            x = layer(x)
        return found, x

    def forward(self, x):
        return self.classifier(self.maps(x)[1].mean((2, 3)))


@pytest.mark.parametrize(
    ("classes", "width", "count"),
    [(10, 64, 9_231_114), (100, 64, 9_277_284), (10, 16, 579_786)],
)
def test_parameter_counts(classes, width, count):
    assert count_parameters(VGG9(classes, width=width)) == count
    plan = (width, 2 * width, 4 * width, 8 * width)
    theirs = TorchVGG9(classes, plan=plan).parameters()
    assert sum(p.numel() for p in theirs) == count


def test_layers_have_the_stated_sizes():
    net = VGG9()
    convs = [count_parameters(m) for m in net.modules() if isinstance(m, Conv2d)]
    norms = [count_parameters(m) for m in net.modules() if isinstance(m, BatchNorm2d)]
    halves = [1_180_160, 2_359_808, 2_359_808, 2_359_808]
    assert convs == [1_792, 73_856, 295_168, 590_080, *halves]
    assert sum(norms) == 5_504
    assert count_parameters(net.classifier) == 5_130


@pytest.mark.parametrize("size", [32, (40, 65)])
def test_equal_to_the_torch_twin(size):
    height, width = (size, size) if isinstance(size, int) else size
    torch.manual_seed(0)
    ours = VGG9(7, 2, 4, **F64)
    theirs = TorchVGG9(7, 2, (4, 8, 16, 32)).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    rng = np.random.default_rng(0)
    for mode in (True, False):
        ours.train(mode)
        theirs.train(mode)
        x = rng.standard_normal((3, 2, height, width))
        ox, tx = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        oy, ty = ours(ox), theirs(tx)
        assert distance(oy.data, ty.detach().numpy()) < 1e-10
        target = rng.integers(0, 7, 3)
        TF.cross_entropy(ty, torch.tensor(target)).backward()
        loss = F.cross_entropy(oy, Tensor(target))
        gradients = tinytl.grad(loss, [ox, *ours.parameters()])
        for g, t in zip(gradients, [tx, *theirs.parameters()], strict=True):
            assert distance(g.data, t.grad.numpy()) < 1e-10
            t.grad = None
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert distance(a.data, b.numpy()) < 1e-10


def test_features_are_the_five_maps_before_each_pooling():
    ours, theirs = VGG9(width=4, **F64).eval(), TorchVGG9(plan=(4, 8, 16, 32)).double()
    theirs.load_state_dict(
        {k: torch.tensor(v.data) for k, v in ours.state_dict().items()}
    )
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32))
    maps = ours.features(Tensor(x))
    shapes = [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4), (32, 2, 2)]
    assert [m.shape[1:] for m in maps] == shapes
    with torch.no_grad():
        expected, _ = theirs.eval().maps(torch.tensor(x))
    for ours_map, their_map in zip(maps, expected, strict=True):
        assert ours_map.data.min() == 0  # after the ReLU
        assert distance(ours_map.data, their_map.numpy()) < 1e-10
    scores, again = ours.forward_with_features(Tensor(x))
    assert np.array_equal(scores.data, ours(Tensor(x)).data)
    assert all(np.array_equal(a.data, b.data) for a, b in zip(maps, again, strict=True))


def test_first_values_are_those_of_the_published_code():
    net = VGG9(100, generator=np.random.default_rng(0))
    for name, p in net.named_parameters():
        values = p.data
        if values.ndim == 4:  # He, fan-out: F filters, each under 9 weights
            expected = np.sqrt(2 / (values.shape[0] * 9))
        elif values.ndim == 2:
            expected = 0.01
        else:
            is_norm_weight = values.size and "weight" in name
            assert (values == (1 if is_norm_weight else 0)).all(), name
            continue
        assert abs(values.std() / expected - 1) < 6 / np.sqrt(2 * values.size), name
        assert abs(values.mean()) < 5 * expected / np.sqrt(values.size), name


def test_one_seed_one_network():
    one, two = (VGG9(width=2, generator=np.random.default_rng(5)) for _ in range(2))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert np.array_equal(a.data, b.data)
    with pytest.raises(ValueError, match="out_channels must be"):
        VGG9(width=0)


def test_features_of_a_resnet_are_the_maps_after_every_block():
    net = resnet32(10, generator=np.random.default_rng(0)).eval()
    x = Tensor(np.random.default_rng(0).random((1, 3, 32, 32), np.float32))
    maps = net.features(x)
    shapes = [(16, 32, 32)] * 5 + [(32, 16, 16)] * 5 + [(64, 8, 8)] * 5
    assert [m.shape[1:] for m in maps] == shapes
    last = net.blocks6[3](maps[13])
    assert np.array_equal(last.data, maps[14].data)


# -- the source network ----------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Files in the layouts of the published one, with random weights."""
    folder = tmp_path_factory.mktemp("source")
    net = resnet32(200, generator=np.random.default_rng(3))
    state = {k: torch.tensor(v.data) for k, v in net.state_dict().items()}
    checkpoint = {"epoch": 104, "best": 49.27, "state_dict": state, "num_classes": 200}
    torch.save(
        checkpoint, folder / "model.pth.tar", _use_new_zipfile_serialization=False
    )
    torch.save({f"module.{k}": v for k, v in state.items()}, folder / "zip.pt")
    extra = {"alphas.0": np.zeros((3, 1, 1, 1), np.float32)}
    save({**net.state_dict(), **extra}, folder / "model.safetensors")
    return folder, net


@pytest.mark.parametrize("name", ["model.pth.tar", "zip.pt", "model.safetensors"])
def test_source_loads_by_name_from_all_formats(published, name):
    folder, original = published
    net, result = load_source(folder / name)
    assert isinstance(net, ResNet)
    assert count_parameters(net) == 479_272
    assert len(result.loaded) == 201
    assert not result.missing_keys
    extra = ["alphas.0"] if "safetensors" in name else []
    assert result.unexpected_keys == extra
    assert not any(module.training for module in net.modules())
    assert not any(p.requires_grad for p in net.parameters())
    for key, value in original.state_dict().items():
        assert np.array_equal(net.state_dict()[key].data, value.data), key


def test_source_that_is_another_network(published, tmp_path):
    path = tmp_path / "other.safetensors"
    save(VGG9(width=2).state_dict(), path)
    with pytest.raises(ValueError, match=r"no weights \(K, 64\) called fc\.weight"):
        load_source(path)
    state = published[1].state_dict()
    del state["block3.conv2.weight"]
    save(state, path)
    with pytest.raises(ValueError, match=r"1 of its tensors.*block3\.conv2\.weight"):
        load_source(path)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no state"):
        load_source(tmp_path / "list.pt")
    path.write_bytes(b"\x80\x02nonsense")
    with pytest.raises(ValueError, match="load_torch"):
        load_source(path)
    with pytest.raises(FileNotFoundError):
        load_source(tmp_path / "absent.pt")


@pytest.mark.parametrize("start", [b"PK", b"\x80\x02"])
def test_a_file_is_known_by_more_than_its_first_bytes(tmp_path, start):
    """The length of a safetensors header can look like the start of another format."""
    net = resnet32(3, generator=np.random.default_rng(0))
    path = tmp_path / "source"
    save(net.state_dict(), path)
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, tensors = whole[8 : 8 + length], whole[8 + length :]
    wanted = int.from_bytes(start + b"\x01", "little")
    padded = header.ljust(wanted)
    path.write_bytes(len(padded).to_bytes(8, "little") + padded + tensors)
    assert path.read_bytes().startswith(start)
    found, _ = load_source(path)
    assert np.array_equal(found.fc.weight.data, net.fc.weight.data)
