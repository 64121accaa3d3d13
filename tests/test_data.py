"""The bundled images, the IDX reader, standardisation, and index arrays."""

import gzip
import hashlib
import math
import re
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytl import data
from tinytl.data import (
    ImageSet,
    batches,
    channel_statistics,
    digits,
    fashion_mnist,
    few_shot,
    make_images,
    read_idx,
    split,
    standardise,
)
from tinytl.data.make_images import fashion_arrays, first_of_each, pack

IMAGES = Path(data.__file__).parent / "images"
ROW = re.compile(r"\| (\S+\.npz) \| ([\d,]+) \| `([0-9a-f]{64})` \|")
SEEDS = st.integers(0, 2**32 - 1)


# The bundled images


def test_checksums_and_sizes_are_those_of_the_readme():
    rows = ROW.findall((IMAGES / "README.md").read_text())
    assert {row[0] for row in rows} == {path.name for path in IMAGES.glob("*.npz")}
    for name, size, digest in rows:
        content = (IMAGES / name).read_bytes()
        assert len(content) == int(size.replace(",", ""))
        assert hashlib.sha256(content).hexdigest() == digest


def test_all_files_together_stay_under_three_megabytes():
    assert sum(path.stat().st_size for path in IMAGES.iterdir()) < 3_000_000


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        ("LICENSE-fashion-mnist.txt", ["MIT License", "(c) 2017 Zalando SE"]),
        (
            "LICENSE-digits.txt",
            ["Alpaydin", "Kaynak", "creativecommons.org/licenses/by/4.0", "changed"],
        ),
    ],
)
def test_licences_name_their_owners(licence, words):
    text = (IMAGES / licence).read_text()
    assert all(word in text for word in words)


@pytest.mark.parametrize(("part", "count"), [("train", 500), ("test", 100)])
def test_fashion_mnist(part, count):
    found = fashion_mnist(part)
    assert found.images.shape == (10 * count, 1, 28, 28)
    assert found.images.dtype == np.uint8
    assert (found.images.min(), found.images.max()) == (0, 255)
    assert found.labels.dtype == np.int64
    assert np.bincount(found.labels).tolist() == [count] * 10
    assert len(found.classes) == 10
    assert found.licence == "MIT"
    assert "subset" in found.name


def test_fashion_mnist_is_in_official_order():
    # The labels that open the official files, as the authors' page shows them.
    assert fashion_mnist("train").labels[:8].tolist() == [9, 0, 0, 3, 0, 2, 7, 2]
    assert fashion_mnist("test").labels[:8].tolist() == [9, 2, 1, 1, 6, 1, 4, 6]


@pytest.mark.parametrize(("part", "count"), [("train", 1000), ("test", 797)])
def test_digits(part, count):
    found = digits(part)
    assert found.images.shape == (count, 1, 8, 8)
    assert found.images.dtype == np.uint8
    assert (found.images.min(), found.images.max()) == (0, 16)
    assert found.labels.dtype == np.int64
    assert found.classes == tuple("0123456789")
    assert found.licence == "CC BY 4.0"


def test_digits_are_the_complete_set():
    labels = np.concatenate([digits("train").labels, digits("test").labels])
    # Class distribution of the test set in UCI's description.
    expected = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(labels).tolist() == expected
    assert np.bincount(digits("train").labels).min() >= 98


def test_first_digit_is_an_upright_nought():
    expected = [
        [0, 0, 5, 13, 9, 1, 0, 0],
        [0, 0, 13, 15, 10, 15, 5, 0],
        [0, 3, 15, 2, 0, 11, 8, 0],
        [0, 4, 12, 0, 0, 8, 8, 0],
        [0, 5, 8, 0, 0, 9, 8, 0],
        [0, 4, 11, 0, 1, 12, 7, 0],
        [0, 2, 14, 5, 10, 12, 0, 0],
        [0, 0, 6, 13, 10, 0, 0, 0],
    ]
    assert digits().images[0, 0].tolist() == expected
    assert digits().labels[0] == 0


def test_clothes_are_upright():
    # Trousers part below: the middle column is darker at the hem than at the waist.
    found = fashion_mnist("train")
    trousers = found.images[found.labels == 1, 0].mean(axis=0)
    assert trousers[26, 13:15].mean() < 0.5 * trousers[4, 13:15].mean()
    # Sneakers point left, with the sole at the bottom.
    sneakers = found.images[found.labels == 7, 0].mean(axis=0)
    assert sneakers[18:].sum() > 2 * sneakers[:10].sum()
    assert sneakers[8:14, 14:].sum() > 2 * sneakers[8:14, :14].sum()


@pytest.mark.parametrize("load", [fashion_mnist, digits])
def test_unknown_split(load):
    with pytest.raises(ValueError, match=rf"{load.__name__}: split = 'val'.*'test'"):
        load("val")


def test_each_call_returns_its_own_arrays():
    digits().images[:] = 0
    assert digits().images.any()


def test_import_reads_no_file():
    code = (
        "import sys; import tinytl; seen = []\n"
        "sys.addaudithook(lambda name, a: seen.append(str(a)) if name == 'open' else 0)"
        "\nimport tinytl.data\n"
        "assert not any('.npz' in name for name in seen), seen\n"
        "tinytl.data.digits()\n"
        "assert any('digits.npz' in name for name in seen), seen"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_image_set_checks_its_parts():
    images = np.zeros((3, 1, 2, 2), np.uint8)
    labels = np.array([0, 1, 1])
    found = ImageSet(images, labels, ("a", "b"), "name", "licence")
    assert len(found) == 3
    assert found.take(np.array([2, 0])).labels.tolist() == [1, 0]
    assert len(found.take(np.array([], np.int64))) == 0
    with pytest.raises(ValueError, match=r"\(3, 2, 2\) and labels \(3,\) need"):
        ImageSet(images[:, 0], labels, ("a", "b"), "name", "licence")
    with pytest.raises(ValueError, match=r"\(2,\) need shapes"):
        ImageSet(images, labels[:2], ("a", "b"), "name", "licence")
    with pytest.raises(ValueError, match="labels from 0 to 1; 1 classes need 0 to 0"):
        ImageSet(images, labels, ("a",), "name", "licence")


# Making them


def test_first_of_each():
    labels = np.array([2, 0, 2, 1, 0, 2, 1, 0])
    assert first_of_each(labels, 2).tolist() == [0, 1, 2, 3, 4, 6]
    with pytest.raises(ValueError, match="fewer than 3"):
        first_of_each(labels, 3)


def test_pack_gives_the_same_arrays_and_the_same_bytes(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.uint8).reshape(2, 3), "b": np.ones(2)}
    content = pack(arrays)
    assert content == pack(arrays)
    (tmp_path / "packed.npz").write_bytes(content)
    with np.load(tmp_path / "packed.npz", allow_pickle=False) as found:
        assert list(found) == ["a", "b"]
        np.testing.assert_array_equal(found["a"], arrays["a"])


@pytest.mark.parametrize("name", ["fashion-mnist.npz", "digits.npz"])
def test_shipped_files_are_what_pack_makes(name, tmp_path):
    with np.load(IMAGES / name, allow_pickle=False) as file:
        arrays = dict(file)
    (tmp_path / name).write_bytes(pack(arrays))
    with np.load(tmp_path / name, allow_pickle=False) as again:
        assert list(again) == list(arrays)
        assert all((again[key] == arrays[key]).all() for key in arrays)


def test_main_writes_both_files_and_prints_the_table(tmp_path, monkeypatch, capsys):
    arrays = {"images": np.zeros((2, 8, 8), np.uint8)}
    monkeypatch.setattr(make_images, "fashion_arrays", lambda folder: arrays)
    monkeypatch.setattr(make_images, "digits_arrays", lambda: arrays)
    make_images.main(["--fashion-mnist", "unused", "--out", str(tmp_path / "new")])
    rows = ROW.findall(capsys.readouterr().out)
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert (
        names == sorted(row[0] for row in rows) == ["digits.npz", "fashion-mnist.npz"]
    )
    for name, size, digest in rows:
        content = (tmp_path / "new" / name).read_bytes()
        assert content == pack(arrays)
        assert len(content) == int(size)
        assert hashlib.sha256(content).hexdigest() == digest


def official_folder(folder: Path, suffix: str = ".gz") -> Path:
    """Twenty images a split, 2 x 2, image n filled with n; labels 0 .. 9, 0 .. 9."""
    write = gzip.compress if suffix else bytes
    for stem in ("train", "t10k"):
        images = b"\0\0\x08\x03" + struct.pack(">3I", 20, 2, 2)
        images += b"".join(bytes([n]) * 4 for n in range(20))
        labels = b"\0\0\x08\x01" + struct.pack(">I", 20) + bytes(range(10)) * 2
        (folder / f"{stem}-images-idx3-ubyte{suffix}").write_bytes(write(images))
        (folder / f"{stem}-labels-idx1-ubyte{suffix}").write_bytes(write(labels))
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_fashion_mnist_from_official_files(tmp_path, suffix):
    found = fashion_mnist("test", official_folder(tmp_path, suffix))
    assert found.images.shape == (20, 1, 2, 2)
    assert found.images[:, 0, 1, 1].tolist() == list(range(20))
    assert found.labels.tolist() == [*range(10), *range(10)]
    assert "subset" not in found.name
    arrays = fashion_arrays(tmp_path, {"train": 2, "test": 1})
    assert arrays["train_images"].shape == (20, 2, 2)
    assert arrays["test_images"][:, 0, 0].tolist() == list(range(10))
    assert arrays["test_labels"].dtype == np.uint8


def test_official_files_missing_or_unlike(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither train-images-idx3-ubyte\.gz"):
        fashion_mnist("train", tmp_path)
    official_folder(tmp_path)
    name = "train-labels-idx1-ubyte.gz"
    (tmp_path / name).write_bytes(b"\0\0\x08\x01\0\0\0\x02\1\2")
    with pytest.raises(ValueError, match=r"images \(20, 2, 2\).*labels \(2,\)"):
        fashion_mnist("train", tmp_path)


# IDX files

SMALL = (
    b"\x00\x00\x08\x02"
    + b"\x00\x00\x00\x02\x00\x00\x00\x03"
    + b"\x01\x02\x03\xfd\xfe\xff"
)


def idx_file(folder: Path, content: bytes) -> Path:
    path = folder / "values-idx"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_idx_literal_bytes(tmp_path, wrap):
    found = read_idx(idx_file(tmp_path, wrap(SMALL)))
    assert found.dtype == np.uint8
    assert found.tolist() == [[1, 2, 3], [253, 254, 255]]
    found += 1  # ours to write to


@pytest.mark.parametrize(
    ("code", "values", "dtype", "expected"),
    [
        (b"\x09", b"\xff\x7f", np.int8, [-1, 127]),
        (b"\x0b", b"\x01\x02\xff\xfe", np.int16, [258, -2]),
        (b"\x0c", b"\0\0\1\0\xff\xff\xff\xff", np.int32, [256, -1]),
        (b"\x0d", b"\x3f\x80\0\0\xc0\0\0\0", np.float32, [1, -2]),
        (b"\x0e", b"\x3f\xf8\0\0\0\0\0\0" + bytes(8), np.float64, [1.5, 0]),
    ],
)
def test_idx_dtypes(tmp_path, code, values, dtype, expected):
    content = b"\0\0" + code + b"\x01\0\0\0\x02" + values
    found = read_idx(idx_file(tmp_path, content))
    assert found.dtype == dtype
    assert found.dtype.isnative
    assert found.tolist() == expected


@given(shape=st.lists(st.integers(0, 4), min_size=1, max_size=5), packed=st.booleans())
def test_idx_any_shape(tmp_path_factory, shape, packed):
    size = math.prod(shape)
    values = bytes(k % 256 for k in range(size))
    content = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + values
    folder = tmp_path_factory.mktemp("idx")
    found = read_idx(idx_file(folder, gzip.compress(content) if packed else content))
    assert found.shape == tuple(shape)
    assert found.tobytes() == values


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
@pytest.mark.parametrize("length", range(len(SMALL)))
def test_idx_cut_short_anywhere(tmp_path, wrap, length):
    with pytest.raises(ValueError, match=r"values-idx.*(not an IDX file|cut short)"):
        read_idx(idx_file(tmp_path, wrap(SMALL[:length])))


@pytest.mark.parametrize("length", range(2, len(gzip.compress(SMALL))))
def test_gzip_cut_short_anywhere(tmp_path, length):
    with pytest.raises(ValueError, match=r"values-idx is (damaged gzip|cut short)"):
        read_idx(idx_file(tmp_path, gzip.compress(SMALL)[:length]))


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_idx_goes_on(tmp_path, wrap):
    with pytest.raises(ValueError, match=r"goes on after the 6 bytes.*\(2, 3\)"):
        read_idx(idx_file(tmp_path, wrap(SMALL + b"\0")))


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
@given(bit=st.integers(0, 12 * 8 - 1))
def test_idx_header_with_one_bit_flipped(tmp_path_factory, wrap, bit):
    content = bytearray(SMALL)
    content[bit // 8] ^= 1 << bit % 8
    path = idx_file(tmp_path_factory.mktemp("idx"), wrap(content))
    if bit == 2 * 8:  # 08 -> 09: signed bytes, as good a file as before
        assert read_idx(path).dtype == np.int8
    else:
        with pytest.raises(ValueError, match="read_idx: .*values-idx"):
            read_idx(path)


@given(bit=st.integers(0, len(gzip.compress(SMALL, mtime=0)) * 8 - 1))
def test_gzip_with_one_bit_flipped(tmp_path_factory, bit):
    """Refused, or, where the bit says nothing of the values, read unchanged."""
    content = bytearray(gzip.compress(SMALL, mtime=0))
    content[bit // 8] ^= 1 << bit % 8
    path = idx_file(tmp_path_factory.mktemp("idx"), content)
    try:
        found = read_idx(path)
    except ValueError as error:
        assert "values-idx" in str(error)  # noqa: PT017
    else:
        assert found.tobytes() == SMALL[12:]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04",
        b"\x80\x04\x95pickle",
        b"\0\0\x08\0\x07",  # no dimension
        b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\7",
        b"\0\0\x0a\x01\0\0\0\0",  # no such dtype code
        b"\1\0\x08\x01\0\0\0\0",
    ],
)
def test_idx_foreign(tmp_path, content):
    with pytest.raises(ValueError, match=r"values-idx (is not|declares \d+ dim)"):
        read_idx(idx_file(tmp_path, content))


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_header_is_not_believed(tmp_path, wrap):
    """A gigabyte promised by a few bytes costs no memory."""
    content = wrap(b"\0\0\x08\x01" + struct.pack(">I", 1 << 30) + bytes(100))
    path = idx_file(tmp_path, content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"cut short.*needs 1073741824 bytes"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_decompression_is_bounded(tmp_path):
    """Ten megabytes of zeros after a header that wants one byte are not unpacked."""
    content = b"\0\0\x08\x01\0\0\0\x01" + bytes(10_000_000)
    path = idx_file(tmp_path, gzip.compress(content))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="goes on after the 1 bytes"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "extents", [(7,), (2, 2, 2), (2**32 - 1,) * 8, (0, 2**32 - 1, 2**32 - 1)]
)
def test_idx_limit(tmp_path, extents):
    header = struct.pack(f">HBB{len(extents)}I", 0, 8, len(extents), *extents)
    with pytest.raises(ValueError, match=r"over the limit of 6 bytes"):
        read_idx(idx_file(tmp_path, header + bytes(8)), limit=6)
    assert read_idx(idx_file(tmp_path, SMALL), limit=6).size == 6


# Index arrays


@given(
    counts=st.lists(st.integers(3, 8), min_size=1, max_size=5),
    per_class=st.integers(1, 3),
    seed=SEEDS,
)
def test_few_shot_counts(counts, per_class, seed):
    names = [7, -2, 0, 30, 4][: len(counts)]
    labels = np.random.default_rng(seed).permutation(np.repeat(names, counts))
    found = few_shot(labels, per_class, np.random.default_rng(seed))
    assert found.dtype == np.int64
    assert len(set(found.tolist())) == len(found)
    assert labels[found].tolist() == np.repeat(sorted(names), per_class).tolist()


@given(seed=SEEDS)
def test_few_shot_seeds(seed):
    labels = digits("train").labels

    def draw(per_class, seed):
        return few_shot(labels, per_class, np.random.default_rng(seed))

    assert (draw(10, seed) == draw(10, seed)).all()
    assert (draw(10, seed) != draw(10, seed + 1)).any()
    # One seed, nested subsets: the head of each class.
    nested = draw(10, seed).reshape(10, 10)[:, :5]
    assert (draw(5, seed).reshape(10, 5) == nested).all()


def test_few_shot_draws_each_example_equally_often():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [5, 3])
    times = np.zeros(8)
    for _ in range(2000):
        times[few_shot(labels, 2, generator)] += 1
    # Binomial, 2000 draws: standard deviations of 21.9 and 21.1.
    np.testing.assert_allclose(times[:5], 800, atol=5 * 21.9)
    np.testing.assert_allclose(times[5:], 4000 / 3, atol=5 * 21.1)


def test_few_shot_accepts_unsigned_labels_and_all_of_a_class():
    labels = np.array([1, 0, 1, 0], np.uint8)
    found = few_shot(labels, 2, np.random.default_rng(0))
    assert sorted(found.tolist()) == [0, 1, 2, 3]


def test_few_shot_messages():
    generator = np.random.default_rng(0)
    labels = np.repeat([4, 9], [5, 3])
    with pytest.raises(ValueError, match="few_shot: class 9 has 3 examples; per_class"):
        few_shot(labels, 4, generator)
    with pytest.raises(ValueError, match="per_class = 0; it needs 1 or more"):
        few_shot(labels, 0, generator)
    with pytest.raises(TypeError, match="per_class = 2.0; it needs an integer"):
        few_shot(labels, 2.0, generator)
    with pytest.raises(ValueError, match=r"shape \(2, 4\)"):
        few_shot(labels.reshape(2, 4), 1, generator)
    with pytest.raises(ValueError, match=r"shape \(0,\)"):
        few_shot(labels[:0], 1, generator)
    with pytest.raises(TypeError, match="labels are float64"):
        few_shot(labels / 2, 1, generator)
    with pytest.raises(TypeError, match="generator is a int.*default_rng"):
        few_shot(labels, 1, 0)


@given(
    n=st.integers(0, 40),
    size=st.integers(1, 50),
    shuffled=st.booleans(),
    drop_last=st.booleans(),
)
def test_batches(n, size, shuffled, drop_last):
    generator = np.random.default_rng(n) if shuffled else None
    parts = list(batches(n, size, generator, drop_last))
    assert len(parts) == (n // size if drop_last else math.ceil(n / size))
    assert all(part.dtype == np.int64 for part in parts)
    assert all(len(part) == size for part in parts[:-1])
    seen = [index for part in parts for index in part.tolist()]
    assert len(seen) == (n - n % size if drop_last else n)
    assert len(set(seen)) == len(seen)
    if not shuffled:
        assert seen == list(range(len(seen)))


def test_batches_shuffle_by_the_generator_alone():
    def epoch(generator):
        return np.concatenate(list(batches(100, 8, generator))).tolist()

    generator = np.random.default_rng(1)
    first, second = epoch(generator), epoch(generator)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(100))
    assert epoch(np.random.default_rng(1)) == first


def test_batches_draw_and_complain_at_the_call():
    generator, other = np.random.default_rng(1), np.random.default_rng(1)
    batches(10, 3, generator)
    other.permutation(10)
    assert generator.random() == other.random()
    with pytest.raises(ValueError, match="batches: batch_size = 0; it needs 1"):
        batches(10, 0)
    with pytest.raises(ValueError, match="batches: n = -1; it needs 0"):
        batches(-1, 3)
    with pytest.raises(TypeError, match="n = 2.5; it needs an integer"):
        batches(2.5, 3)
    with pytest.raises(TypeError, match="batches: generator is a int"):
        batches(10, 3, 7)


@given(
    n=st.integers(0, 60),
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    seed=SEEDS,
)
def test_split(n, weights, seed):
    fractions = [weight / sum(weights) for weight in weights]
    parts = split(n, fractions, np.random.default_rng(seed))
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    for part, fraction in zip(parts, fractions, strict=True):
        assert part.dtype == np.int64
        assert abs(len(part) - fraction * n) < 1 + 1e-9
    again = split(n, fractions, np.random.default_rng(seed))
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))


@pytest.mark.parametrize("fractions", [[], [0.5], [0.5, 0.6], [1.5, -0.5], [1, 0]])
def test_split_messages(fractions):
    with pytest.raises(ValueError, match="split: fractions are .*sum to 1"):
        split(10, fractions, np.random.default_rng(0))


# Standardisation


def loops_statistics(images):
    mean, std = [], []
    for c in range(images.shape[1]):
        values = [float(v) for image in images for row in image[c] for v in row]
        mean.append(math.fsum(values) / len(values))
        squares = math.fsum((v - mean[-1]) ** 2 for v in values)
        std.append(math.sqrt(squares / len(values)))
    return mean, std


def some_images(seed, n=3, channels=2, dtype=np.uint8):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, channels, 5, 4)).astype(dtype)


@given(seed=SEEDS, dtype=st.sampled_from([np.uint8, np.int16, np.float32, np.float64]))
def test_channel_statistics_against_loops(seed, dtype):
    images = some_images(seed, dtype=dtype)
    mean, std = channel_statistics(images)
    assert mean.dtype == std.dtype == np.float64
    expected_mean, expected_std = loops_statistics(images)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-13)
    np.testing.assert_allclose(std, expected_std, rtol=1e-12)


@given(seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_standardise_against_loops(seed, dtype):
    images = some_images(seed)
    mean, std = [120.5, 64.25], [3.0, 71.5]
    precision = 4 * float(np.finfo(dtype).eps)
    found = standardise(images, mean, std, dtype)
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    for n, c, h, w in np.ndindex(images.shape):
        expected = (float(images[n, c, h, w]) - mean[c]) / std[c]
        assert found[n, c, h, w] == pytest.approx(expected, rel=precision)


def test_standardised_images_have_mean_0_and_variance_1():
    images = fashion_mnist("test").images
    found = standardise(images, *channel_statistics(images))
    assert found.dtype == np.float32
    mean, std = channel_statistics(found)
    np.testing.assert_allclose(mean, 0, atol=1e-6)
    np.testing.assert_allclose(std, 1, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_standardise_copies_and_takes_any_strides(dtype):
    images = some_images(0, dtype=dtype)
    before = images.copy()
    straight = standardise(images, 0, 1)
    turned = standardise(images.transpose(0, 1, 3, 2), [0.0], [1.0])
    assert (turned == straight.transpose(0, 1, 3, 2)).all()
    straight += 1
    assert (images == before).all()
    assert standardise(images[:0], 0, 1).shape == (0, 2, 5, 4)


def test_transform_messages():
    images = some_images(0)
    with pytest.raises(ValueError, match=r"shape \(2, 5, 4\); they need \(N, C, H, W"):
        standardise(images[0], 0, 1)
    with pytest.raises(ValueError, match=r"std has shape \(3,\); images of 2 channels"):
        standardise(images, 0, [1, 1, 1])
    with pytest.raises(ValueError, match="std is .*0.*one value throughout"):
        standardise(images, 0, [1, 0])
    with pytest.raises(ValueError, match="mean is .*nan.*finite"):
        standardise(images, [math.nan, 0], 1)
    with pytest.raises(ValueError, match="mean is .*inf.*finite"):
        standardise(images, 1e9, 1, np.float16)
    with pytest.raises(TypeError, match="dtype is uint8; it needs a float"):
        standardise(images, 0, 1, np.uint8)
    with pytest.raises(TypeError, match="images are complex128"):
        standardise(images * 1j, 0, 1)
    with pytest.raises(ValueError, match=r"channel_statistics.*\(0, 2, 5, 4\).*one"):
        channel_statistics(images[:0])
