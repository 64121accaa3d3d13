"""Official layouts, made in miniature; and archives that are damaged or hostile."""

import gzip
import io
import os
import re
import shutil
import stat
import struct
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytl.data import (
    archive,
    cifar10,
    cifar100,
    fashion_mnist,
    mnist,
    resize,
    stl10,
    tiny_imagenet,
    unpack,
)
from tinytl.data.archive import read_members
from tinytl.data.official import OFFICIAL

# -- making archives -------------------------------------------------------------------


def tar_bytes(files, packed=True):
    """A tar archive of (name or TarInfo, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if info.isreg():
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0) if packed else buffer.getvalue()


def zip_bytes(files, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def write_folder(root, files):
    for name, content in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def cifar10_files():
    """Three records a batch; labels count upwards, so that the order shows."""
    files, label = [], 0
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        records = []
        for _ in range(3):
            pixels = noise((3, 32, 32), label)
            records.append(bytes([label % 10]) + pixels.tobytes())
            label += 1
        files.append((f"cifar-10-batches-bin/{name}.bin", b"".join(records)))
    files.append(("cifar-10-batches-bin/batches.meta.txt", b"airplane\n"))
    return files


def cifar100_files():
    fine = "".join(f"fine{k}\n" for k in range(100)).encode() + b"\n"
    coarse = "".join(f"coarse{k}\n" for k in range(20)).encode()
    records = {
        split: b"".join(
            bytes([k % 20, 99 - k]) + noise((3, 32, 32), k + seed).tobytes()
            for k in range(4)
        )
        for split, seed in (("train", 0), ("test", 50))
    }
    return [
        ("cifar-100-binary/fine_label_names.txt", fine),
        ("cifar-100-binary/coarse_label_names.txt", coarse),
        *((f"cifar-100-binary/{s}.bin", content) for s, content in records.items()),
    ]


STL10_TEXT = b"airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n"


def stl10_files(count=300):
    """Image k has k % 256 in its first row, by the official column-major order."""
    images = np.zeros((count, 3, 96, 96), np.uint8)
    for k in range(count):
        images[k, :, 0, :] = k % 256  # the first row, all columns
        images[k, 1, :, 0] = 7  # the first column of green
    pixels = b"".join(
        images[k, c, :, column].tobytes()  # a column, from top to bottom
        for k in range(count)
        for c in range(3)
        for column in range(96)
    )
    labels = bytes(1 + k % 10 for k in range(count))
    folds = "".join(f"{k} {k + 290} 256 255 \n" for k in range(10))
    return [
        ("stl10_binary/train_X.bin", pixels),
        ("stl10_binary/train_y.bin", labels),
        ("stl10_binary/test_X.bin", pixels[: 2 * 27648]),
        ("stl10_binary/test_y.bin", b"\x0a\x01"),
        ("stl10_binary/class_names.txt", STL10_TEXT),
        ("stl10_binary/fold_indices.txt", folds.encode()),
    ]


WNIDS = ["n03", "n01", "n02"]  # not sorted, as in the official file


def jpeg(color, mode="RGB", size=(64, 64)):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    buffer = io.BytesIO()
    image.new(mode, size, color).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def tiny_imagenet_files():
    files = [
        ("tiny-imagenet-200/wnids.txt", "\n".join(WNIDS).encode()),
        (
            "tiny-imagenet-200/words.txt",
            b"n00\tentity\nn01\tgoldfish, Carassius auratus\n"
            b"n02\tnewt\nn03\tbullfrog\n",
        ),
        (
            "tiny-imagenet-200/val/val_annotations.txt",
            b"val_1.JPEG\tn03\t0\t0\t9\t9\nval_10.JPEG\tn02\t0\t0\t9\t9\n"
            b"val_0.JPEG\tn01\t0\t0\t9\t9\nval_2.JPEG\tn03\t0\t0\t9\t9\n",
        ),
        ("tiny-imagenet-200/test/images/test_0.JPEG", b"not read"),
    ]
    for k, wnid in enumerate(WNIDS):
        files.append((f"tiny-imagenet-200/train/{wnid}/{wnid}_boxes.txt", b"boxes"))
        for number in (10, 2):  # as text "10" comes before "2"
            name = f"tiny-imagenet-200/train/{wnid}/images/{wnid}_{number}.JPEG"
            files.append((name, jpeg((40 * k, 10 * number, 200))))
    for number, gray in ((0, 0), (1, 60), (2, 120), (10, 250)):
        name = f"tiny-imagenet-200/val/images/val_{number}.JPEG"
        files.append((name, jpeg(gray, "L")))
    return files


def idx_files():
    files = []
    for stem, count in (("train", 20), ("t10k", 10)):
        images = b"\0\0\x08\x03" + struct.pack(">3I", count, 28, 28)
        images += noise((count, 28, 28)).tobytes()
        labels = b"\0\0\x08\x01" + struct.pack(">I", count)
        labels += bytes(k % 10 for k in range(count))
        files.append((f"{stem}-images-idx3-ubyte.gz", gzip.compress(images, mtime=0)))
        files.append((f"{stem}-labels-idx1-ubyte.gz", gzip.compress(labels, mtime=0)))
    return files


LAYOUTS = {
    "cifar-10": (cifar10, cifar10_files, tar_bytes),
    "cifar-100": (cifar100, cifar100_files, tar_bytes),
    "stl-10": (stl10, stl10_files, tar_bytes),
    "tiny-imagenet": (tiny_imagenet, tiny_imagenet_files, zip_bytes),
}


@pytest.fixture(params=["archive", "beside", "folder", "inside"])
def place(request, tmp_path):
    """Puts a layout on the disk in one of the ways that readers find it."""

    def put(dataset):
        _, files, pack = LAYOUTS[dataset]
        files = files()
        if request.param in ("archive", "beside"):
            path = tmp_path / OFFICIAL[dataset][0].name
            path.write_bytes(pack(files))
            return path if request.param == "archive" else tmp_path
        write_folder(tmp_path, files)
        inside = files[0][0].split("/")[0]
        return tmp_path if request.param == "folder" else tmp_path / inside

    return put


# -- readers ---------------------------------------------------------------------------


def test_cifar10(place):
    folder = place("cifar-10")
    train, test = cifar10("train", folder), cifar10("test", folder)
    assert train.images.shape == (15, 3, 32, 32)
    assert train.images.dtype == np.uint8
    assert train.labels.tolist() == [k % 10 for k in range(15)]
    assert test.labels.tolist() == [5, 6, 7]
    for k in range(15):
        assert np.array_equal(train.images[k], noise((3, 32, 32), k))
    assert np.array_equal(test.images[2], noise((3, 32, 32), 17))
    assert train.classes[:3] == ("airplane", "automobile", "bird")
    assert train.name == "CIFAR-10, train, 15 of 50,000 images"


def test_cifar100(place):
    folder = place("cifar-100")
    fine, coarse = cifar100("train", folder), cifar100("train", folder, coarse=True)
    assert fine.labels.tolist() == [99, 98, 97, 96]  # the second byte
    assert coarse.labels.tolist() == [0, 1, 2, 3]  # the first one
    assert (len(fine.classes), len(coarse.classes)) == (100, 20)
    assert fine.classes[99] == "fine99"
    assert np.array_equal(fine.images, coarse.images)
    assert np.array_equal(fine.images[3], noise((3, 32, 32), 3))
    test = cifar100("test", folder)
    assert np.array_equal(test.images[0], noise((3, 32, 32), 50))
    assert test.name == "CIFAR-100, fine, test, 4 of 10,000 images"


def test_stl10_is_column_major_and_its_labels_start_at_1(place):
    folder = place("stl-10")
    train = stl10("train", folder)
    assert train.images.shape == (300, 3, 96, 96)
    assert train.images[200, 0, 0].tolist() == [200] * 96  # a row, not a column
    assert train.images[200, 1, :, 0].tolist() == [7] * 96
    assert not train.images[:, 0, 1:].any()
    assert train.labels[:11].tolist() == [*range(10), 0]
    assert train.images.flags.c_contiguous
    test = stl10("test", folder)
    assert test.labels.tolist() == [9, 0]
    assert test.name == "STL-10, test, 2 of 8,000 images"


def test_stl10_has_other_classes_at_the_labels_than_cifar10(tmp_path):
    ours = stl10("train", write_folder(tmp_path, stl10_files(10)))
    other = cifar10("train", write_folder(tmp_path, cifar10_files()))
    assert ours.classes == tuple(STL10_TEXT.decode().split())
    assert (ours.classes[1], other.classes[1]) == ("bird", "automobile")
    assert set(ours.classes) - set(other.classes) == {"car", "monkey"}


def test_stl10_folds_are_text_and_exceed_a_byte(place):
    folder = place("stl-10")
    fold = stl10("train", folder, fold=3)
    assert fold.labels.tolist() == [3 % 10, 293 % 10, 256 % 10, 255 % 10]
    whole = stl10("train", folder)
    assert np.array_equal(fold.images[1], whole.images[293])
    assert fold.name.endswith("fold 3")
    for split, wrong in (("train", 10), ("train", -1), ("test", 0)):
        with pytest.raises(ValueError, match=rf"fold = {wrong} of split '{split}'"):
            stl10(split, folder, fold=wrong)


def test_tiny_imagenet(place):
    folder = place("tiny-imagenet")
    train = tiny_imagenet("train", folder)
    assert train.images.shape == (6, 3, 64, 64)
    # Label k is the k-th of the sorted identifiers, whatever wnids.txt says.
    assert train.classes == ("goldfish, Carassius auratus", "newt", "bullfrog")
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    means = train.images.mean(axis=(2, 3))
    reds, greens = means[:, 0], means[:, 1]
    expected = [40 * WNIDS.index(wnid) for wnid in sorted(WNIDS) for _ in "ab"]
    assert np.abs(reds - expected).max() < 3
    assert np.abs(greens - [20, 100] * 3).max() < 3  # 2 before 10


def test_tiny_imagenets_validation_labels_stand_in_a_text(place):
    val = tiny_imagenet("val", place("tiny-imagenet"))
    assert val.labels.tolist() == [0, 2, 2, 1]  # of val_0, 1, 2, 10
    means = val.images.mean(axis=(2, 3))
    assert np.abs(means - np.array([[0], [60], [120], [250]])).max() < 3  # gray as RGB
    assert val.name == "Tiny ImageNet, val, 4 of 10,000 images"


def test_tiny_imagenet_shrinks_while_reading(place):
    folder = place("tiny-imagenet")
    small = tiny_imagenet("train", folder, size=32)
    large = tiny_imagenet("train", folder)
    assert np.array_equal(small.images, resize(large.images, 32))


@pytest.mark.parametrize("reader", [mnist, fashion_mnist])
def test_mnist(tmp_path, reader):
    write_folder(tmp_path, idx_files())
    train, test = reader("train", tmp_path), reader("test", tmp_path)
    assert train.images.shape == (20, 1, 28, 28)
    assert np.array_equal(train.images[:, 0], noise((20, 28, 28)))
    assert train.labels.dtype == np.int64
    assert test.labels.tolist() == list(range(10))
    with pytest.raises(FileNotFoundError, match=r"(?s)neither train-images.*python -m"):
        reader("train", tmp_path / "empty")


@pytest.mark.parametrize("dataset", LAYOUTS)
def test_what_is_missing_is_explained(tmp_path, dataset):
    reader = LAYOUTS[dataset][0]
    file = OFFICIAL[dataset][0]
    with pytest.raises(FileNotFoundError) as caught:
        reader("train", tmp_path)
    text = str(caught.value)
    assert file.url in text
    assert f"{file.size:,} bytes" in text
    assert f"python -m tinytl.data {dataset} {tmp_path}" in text
    assert "download=True" in text
    with pytest.raises(ValueError, match=r"split = 'dev'; it needs 'train' or"):
        reader("dev", tmp_path)
    inside = LAYOUTS[dataset][1]()[0][0].split("/")[0]
    with pytest.raises(FileNotFoundError, match="there is no"):
        reader("train", tmp_path / inside)


@pytest.mark.parametrize("dataset", LAYOUTS)
def test_download_is_asked_for(tmp_path, dataset, monkeypatch):
    reader, files, pack = LAYOUTS[dataset]
    asked = []

    def fetch(name, folder):
        asked.append(name)
        path = folder / OFFICIAL[name][0].name
        path.write_bytes(pack(files()))
        return [path]

    monkeypatch.setattr("tinytl.data.locate.fetch", fetch)
    with pytest.raises(FileNotFoundError):
        reader("train", tmp_path)
    assert asked == []
    assert len(reader("train", tmp_path, download=True)) > 0
    assert len(reader("train", tmp_path, download=True)) > 0
    assert asked == [dataset]


@pytest.mark.parametrize("reader", [mnist, fashion_mnist])
def test_mnist_is_downloaded_if_a_file_is_missing(tmp_path, reader, monkeypatch):
    asked = []

    def fetch(name, folder):
        asked.append(name)
        write_folder(folder, idx_files())

    monkeypatch.setattr("tinytl.data.bundled.fetch", fetch)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"")
    assert len(reader("train", tmp_path, download=True)) == 20
    assert asked == [reader.__name__.replace("_", "-")]


def changed(files, name, content):
    """The same files with another content of one of them, or without it."""
    found = [(n, content if n.endswith(name) else c) for n, c in files]
    return [(n, c) for n, c in found if c is not None]


@pytest.mark.parametrize(
    ("dataset", "name", "content", "message"),
    [
        ("cifar-10", "data_batch_3.bin", None, r"lacks .*data_batch_3\.bin"),
        ("cifar-10", "data_batch_3.bin", b"12", "no multiple of 3073"),
        ("cifar-10", "data_batch_3.bin", b"", "has 0 bytes"),
        ("cifar-10", "data_batch_3.bin", b"\x0a" + bytes(3072), "a label is 10"),
        ("cifar-100", "fine_label_names.txt", b"one\n", "has 1 classes"),
        ("cifar-100", "fine_label_names.txt", b"\xff\xfe\x80", "is no text"),
        ("cifar-100", "train.bin", bytes(3073), "no multiple of 3074"),
        ("cifar-100", "train.bin", b"\0\x64" + bytes(3072), "a label is 100"),
        ("stl-10", "train_X.bin", bytes(27_647), "no multiple of 27,648"),
        ("stl-10", "train_y.bin", bytes(300), "need to be from 1 to 10"),
        ("stl-10", "train_y.bin", b"\x0b" * 300, "need to be from 1 to 10"),
        ("stl-10", "train_y.bin", b"\x01" * 299, "299 labels for 300 images"),
        ("stl-10", "class_names.txt", None, r"lacks .*class_names\.txt"),
        ("tiny-imagenet", "wnids.txt", None, r"wnids\.txt is missing"),
        ("tiny-imagenet", "wnids.txt", b"n01\nn02", "lacks n03"),
        ("tiny-imagenet", "words.txt", b"n01 goldfish", "a line without a tab"),
        ("tiny-imagenet", "n03_2.JPEG", b"\xff\xd8 no image", "n03_2.JPEG is damaged"),
    ],
)
def test_files_that_are_damaged_or_missing(tmp_path, dataset, name, content, message):
    reader, files, pack = LAYOUTS[dataset]
    files = changed(files(), name, content)
    path = tmp_path / OFFICIAL[dataset][0].name
    path.write_bytes(pack(files))
    for place in (path, write_folder(tmp_path / "folder", files)):
        with pytest.raises(ValueError, match=message) as caught:
            reader("train", place)
        assert "again" in str(caught.value)  # it says what to do


@pytest.mark.parametrize("content", [b"0 1 300", b"0 -1 2", b"a b", b"", b"9" * 40])
def test_damaged_folds(tmp_path, content):
    files = changed(stl10_files(), "fold_indices.txt", content)
    with pytest.raises(ValueError, match="line 1 of fold_indices"):
        stl10("train", write_folder(tmp_path, files), fold=0)


def test_pictures_of_another_size_or_kind(tmp_path):
    for content in (jpeg((0, 0, 0), size=(32, 64)), jpeg(0)[:300], zip_bytes([])):
        files = changed(tiny_imagenet_files(), "n03_2.JPEG", content)
        shutil.rmtree(tmp_path / "x", ignore_errors=True)
        with pytest.raises(ValueError, match="n03_2.JPEG is damaged"):
            tiny_imagenet("train", write_folder(tmp_path / "x", files))
    files = changed(tiny_imagenet_files(), "val_2.JPEG", None)
    with pytest.raises(ValueError, match="lacks val/images/val_2.JPEG"):
        tiny_imagenet("val", write_folder(tmp_path / "y", files))


# -- archives cut short or changed -----------------------------------------------------


@pytest.fixture(scope="module")
def small():
    """A tar.gz, a tar and a zip, each with the same two files."""
    files = [("a/one.bin", noise(3000).tobytes()), ("a/two.txt", b"two" * 700)]
    archives = [tar_bytes(files), tar_bytes(files, False), zip_bytes(files)]
    return dict(zip(("tar.gz", "tar", "zip"), archives, strict=True)), files


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip"])
def test_intact_archives(small, tmp_path, kind):
    archives, files = small
    path = tmp_path / "some.archive"  # the first bytes tell, not the name
    path.write_bytes(archives[kind])
    wanted = {"a/one.bin": 3000, "a/two.txt": 2100, "a/absent": 1}
    assert read_members(path, wanted) == dict(files)
    folder = unpack(path, tmp_path / "new" / "folder")
    for name, content in files:
        assert (folder / name).read_bytes() == content
        assert not (folder / name).stat().st_mode & stat.S_IXUSR
    assert os.listdir(folder.parent) == ["folder"]
    assert read_members(folder, wanted) == dict(files)
    with pytest.raises(FileExistsError, match="exists already"):
        unpack(path, folder)


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip"])
def test_archives_cut_short_anywhere(small, tmp_path, kind):
    archives, files = small
    content = archives[kind]
    path = tmp_path / "cut"
    last = len(content) if kind != "tar" else content.rindex(b"two") + 512
    for end in [*range(0, last - 1, 97), last - 9, last - 1]:
        path.write_bytes(content[:end])
        for attempt in (
            lambda: read_members(path, {name: 10_000 for name, _ in files}),
            lambda: unpack(path, tmp_path / "out"),
        ):
            with pytest.raises(ValueError, match="delete it and get it again"):
                attempt()
    assert os.listdir(tmp_path) == ["cut"]


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_archives_with_a_changed_byte(small, tmp_path, kind):
    """Either nothing that matters was hit, or a ValueError; never other contents."""
    archives, files = small
    content = archives[kind]
    path = tmp_path / "flipped"
    refused = 0
    for place in range(0, len(content), 13):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = read_members(path, {name: 10_000 for name, _ in files})
        except ValueError:
            refused += 1
        else:
            assert all(dict(files)[name] == found[name] for name in found)
        try:
            folder = unpack(path, tmp_path / "out")
        except ValueError:
            assert os.listdir(tmp_path) == ["flipped"]
        else:
            shutil.rmtree(folder)
    assert refused > 0.9 * len(content) / 13


@given(st.binary(max_size=600), st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08"]))
def test_arbitrary_bytes_are_no_archive(tmp_path_factory, content, magic):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(magic + content)
    with pytest.raises(ValueError, match="damaged, cut short or no archive"):
        read_members(path, {"a": 10})


@pytest.mark.parametrize("dataset", LAYOUTS)
def test_readers_of_archives_cut_short(tmp_path, dataset):
    reader, files, pack = LAYOUTS[dataset]
    content = pack(files())
    path = tmp_path / OFFICIAL[dataset][0].name
    for share in (0, 0.01, 0.5, 0.99):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match="get it again"):
            reader("train", tmp_path)
    assert os.listdir(tmp_path) == [path.name]


# -- hostile archives ------------------------------------------------------------------


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


NAMES = [
    "../outside",
    "a/../../outside",
    "a/..",
    "/absolute",
    "//server/share",
    "..",
    "C:\\windows",
    "a\\..\\..\\b",
    "c:file",
    "x" * 300,
    "a/" + "y" * 256,
    "/".join(["z" * 99] * 50),
]
SPECIALS = {
    "symbolic link": special("link", tarfile.SYMTYPE, "/etc"),
    "link to outside": special("link", tarfile.SYMTYPE, "../.."),
    "hard link": special("link", tarfile.LNKTYPE, "/etc/passwd"),
    "character device": special("null", tarfile.CHRTYPE),
    "block device": special("disk", tarfile.BLKTYPE),
    "pipe": special("pipe", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_outside(tmp_path, name, pack):
    path = tmp_path / "archive"
    path.write_bytes(pack([("fine", b"1"), (name, b"2")]))
    for attempt in (
        lambda: unpack(path, tmp_path / "in" / "out"),
        lambda: read_members(path, {"fine": 5, "outside": 5}),
    ):
        with pytest.raises(ValueError, match="would be outside of the folder"):
            attempt()
    assert sorted(os.listdir(tmp_path)) == ["archive", "in"]
    assert os.listdir(tmp_path / "in") == []


@pytest.mark.parametrize("kind", SPECIALS)
def test_links_and_devices(tmp_path, kind):
    path = tmp_path / "archive"
    path.write_bytes(tar_bytes([("fine", b"1"), (SPECIALS[kind], b"")]))
    with pytest.raises(ValueError, match="is a link, a device"):
        unpack(path, tmp_path / "out")
    with pytest.raises(ValueError, match="is a link, a device"):
        read_members(path, {"link": 5})
    assert os.listdir(tmp_path) == ["archive"]


def test_a_link_in_a_zip(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "archive"
    path.write_bytes(zip_bytes([(info, b"/etc/passwd")]))
    with pytest.raises(ValueError, match="is a link or a device"):
        unpack(path, tmp_path / "out")
    assert os.listdir(tmp_path) == ["archive"]


def test_a_file_through_a_link(tmp_path):
    # The classical attack: a link to a folder outside, and then a file "in" it.
    outside = tmp_path / "outside"
    outside.mkdir()
    link = special("d", tarfile.SYMTYPE, str(outside))
    path = tmp_path / "archive"
    path.write_bytes(tar_bytes([(link, b""), ("d/evil", b"x")]))
    with pytest.raises(ValueError, match="is a link"):
        unpack(path, tmp_path / "out")
    assert os.listdir(outside) == []


def test_permissions_are_ignored(tmp_path):
    info = tarfile.TarInfo("run.sh")
    info.mode = 0o4777
    path = tmp_path / "archive"
    path.write_bytes(tar_bytes([(info, b"#!/bin/sh\n")]))
    mode = (unpack(path, tmp_path / "out") / "run.sh").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path, pack):
    path = tmp_path / "archive"
    for files in ([("a", b"1"), ("a", b"2")], [("a", b"1"), ("a/b", b"2")]):
        path.write_bytes(pack(files))
        with pytest.raises(ValueError, match="twice"):
            unpack(path, tmp_path / "out")
    assert os.listdir(tmp_path) == ["archive"]


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_bombs(tmp_path, pack, monkeypatch):
    path = tmp_path / "archive"
    path.write_bytes(pack([("zeros", bytes(50_000_000))]))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        read_members(path, {"zeros": 1000})
    with pytest.raises(ValueError, match="more than is allowed"):
        unpack(path, tmp_path / "out", most=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert os.listdir(tmp_path) == ["archive"]
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    path.write_bytes(pack([(str(k), b"") for k in range(4)]))
    with pytest.raises(ValueError, match="more than 3 members"):
        unpack(path, tmp_path / "out")


def test_a_tar_header_that_would_fill_the_memory(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 200_000_000
    path = tmp_path / "archive"
    path.write_bytes(gzip.compress(info.tobuf() + bytes(200_000_000), 1))
    tracemalloc.start()
    with pytest.raises(ValueError, match="header of 200,000,000 bytes"):
        read_members(path, {"a": 1})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_zip_that_is_encrypted_or_lies_about_its_sizes(tmp_path):
    content = bytearray(zip_bytes([("a", b"content")], zipfile.ZIP_STORED))
    path = tmp_path / "archive"
    central = content.index(b"PK\x01\x02")
    encrypted = content.copy()
    encrypted[6] |= 1
    encrypted[central + 8] |= 1
    path.write_bytes(encrypted)
    with pytest.raises(ValueError, match="encrypted"):
        unpack(path, tmp_path / "out")
    lying = content.copy()
    lying[central + 24 : central + 28] = struct.pack("<I", 1 << 31)
    path.write_bytes(lying)
    with pytest.raises(ValueError, match="get it again"):
        unpack(path, tmp_path / "out")
    assert os.listdir(tmp_path) == ["archive"]


def test_every_pitfall_on_the_page_names_a_test_that_exists():
    root = Path(__file__).parents[1]
    page = (root / "docs" / "data.md").read_text()
    tests = "".join(path.read_text() for path in root.glob("tests/test_*.py"))
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 10
    for name in named:
        assert f"def {name}(" in tests, name
    for dataset, files in OFFICIAL.items():
        assert dataset in page
        for file in files:
            assert file.size is None or f"{file.size:,}" in page


def test_folders_and_dots_in_names(tmp_path):
    folder = tarfile.TarInfo("./a/b")
    folder.type = tarfile.DIRTYPE
    root = tarfile.TarInfo("./")
    root.type = tarfile.DIRTYPE
    path = tmp_path / "archive"
    path.write_bytes(tar_bytes([(root, b""), (folder, b""), ("./a//c.txt", b"c")]))
    assert read_members(path, {"a/c.txt": 1, "a/b": 1}) == {"a/c.txt": b"c"}
    found = unpack(path, tmp_path / "one")
    assert sorted(p.relative_to(found).as_posix() for p in found.rglob("*")) == [
        "a",
        "a/b",
        "a/c.txt",
    ]
    path.write_bytes(zip_bytes([("a/", b""), ("a/c.txt", b"c")]))
    assert (unpack(path, tmp_path / "two") / "a" / "c.txt").read_bytes() == b"c"


def test_a_picture_that_is_a_bomb(tmp_path):
    files = changed(tiny_imagenet_files(), "n03_2.JPEG", bytes(5_000_000))
    path = tmp_path / "tiny-imagenet-200.zip"
    path.write_bytes(zip_bytes(files))
    with pytest.raises(ValueError, match=r"n03_2\.JPEG is too large"):
        tiny_imagenet("train", path)


def test_pictures_need_pillow(tmp_path, monkeypatch):
    write_folder(tmp_path, tiny_imagenet_files())
    monkeypatch.setitem(sys.modules, "PIL", None)  # as if it weren't installed
    with pytest.raises(ImportError, match="needs Pillow: pip install pillow"):
        tiny_imagenet("train", tmp_path)
