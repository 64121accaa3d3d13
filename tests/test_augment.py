"""Crops, flips and sizes: beside literal loops, and beside Pillow bit by bit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytl.data import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    imagenet_scale,
    random_crop_flip,
    resize,
)

SIDE = st.integers(1, 70)


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


# -- crops and flips -------------------------------------------------------------------


def crop_flip_loops(images, generator, padding, flip):
    n, channels, height, width = images.shape
    rows, columns = generator.integers(0, 2 * padding + 1, (2, n))
    coins = generator.random(n)
    result = np.zeros_like(images)
    for k in range(n):
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    row = i + int(rows[k]) - padding
                    column = j + int(columns[k]) - padding
                    if 0 <= row < height and 0 <= column < width:
                        place = width - 1 - j if coins[k] < flip else j
                        result[k, c, i, place] = images[k, c, row, column]
    return result


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("shape", "padding", "flip"),
    [((6, 3, 8, 8), 4, 0.5), ((5, 1, 5, 7), 2, 0.3), ((3, 2, 4, 3), 0, 1.0)],
)
def test_crop_and_flip_equal_their_loops(shape, padding, flip, dtype):
    images = noise(shape).astype(dtype)
    before = images.copy()
    found = random_crop_flip(images, np.random.default_rng(1), padding, flip)
    expected = crop_flip_loops(images, np.random.default_rng(1), padding, flip)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(images, before)
    found[:] = 0  # a copy, even without padding
    np.testing.assert_array_equal(images, before)


def test_all_places_and_both_directions_occur_equally_often():
    # One bright pixel in the middle tells where the image went; a second one, beside
    # it, tells the direction.
    images = np.zeros((9000, 1, 11, 12), np.uint8)
    images[:, 0, 5, 5], images[:, 0, 5, 6] = 200, 100
    moved = random_crop_flip(images, np.random.default_rng(0))
    bright = moved[:, 0].reshape(len(moved), -1).argmax(axis=1)
    rows, columns = bright // 12, bright % 12
    second = moved[np.arange(len(moved)), 0, rows, np.minimum(columns + 1, 11)]
    straight = second == 100
    assert abs(straight.mean() - 0.5) < 0.03
    places = rows[straight] * 12 + columns[straight]
    found, counts = np.unique(places, return_counts=True)
    assert len(found) == 81
    assert sorted(set(rows)) == list(range(1, 10))
    expected = straight.sum() / 81  # about 55: five standard deviations
    assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)


def test_the_border_is_black_before_standardising_and_not_after():
    images = np.full((50, 3, 32, 32), 255, np.uint8)
    moved = random_crop_flip(images, np.random.default_rng(0))
    assert set(np.unique(moved)) == {0, 255}
    lowest = imagenet_scale(moved).min(axis=(0, 2, 3))
    black = [-m / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    np.testing.assert_allclose(lowest, black, rtol=1e-6)


def test_one_seed_one_result():
    images = noise((20, 3, 8, 8))
    first, again = (random_crop_flip(images, np.random.default_rng(3)) for _ in "ab")
    other = random_crop_flip(images, np.random.default_rng(4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert random_crop_flip(images[:0], np.random.default_rng(0)).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((noise((3, 8, 8)),), ValueError, r"shape \(3, 8, 8\).*needs \(N, C, H, W\)"),
        ((noise((1, 3, 8, 8)), None, -1), ValueError, "padding -1"),
        ((noise((1, 3, 8, 8)), None, 4, 1.5), ValueError, r"flip 1\.5"),
        ((noise((1, 3, 8, 8)), 7), TypeError, "generator is a int"),
    ],
)
def test_wrong_arguments_of_crops(arguments, error, message):
    images, *rest = arguments
    rest = [np.random.default_rng(0) if r is None else r for r in rest]
    rest = rest or [np.random.default_rng(0)]
    with pytest.raises(error, match=message):
        random_crop_flip(images, *rest)


# -- scale -----------------------------------------------------------------------------


def test_imagenet_scale_is_its_formula():
    images = noise((4, 3, 5, 6))
    found = imagenet_scale(images)
    assert found.dtype == np.float32
    for c in range(3):
        expected = (images[:, c] / 255 - IMAGENET_MEAN[c]) / IMAGENET_STD[c]
        np.testing.assert_allclose(found[:, c], expected, rtol=1e-5, atol=1e-6)
    assert imagenet_scale(images, np.float64).dtype == np.float64
    with pytest.raises(TypeError, match="imagenet_scale: images are float32"):
        imagenet_scale(found)
    with pytest.raises(ValueError, match=r"imagenet_scale.*\(N, C, H, W\)"):
        imagenet_scale(images[0])


# -- sizes -----------------------------------------------------------------------------


def taps_by_hand(n, m, taps):
    """Filter and renormalise at the borders, as (m, n) weights."""
    factor = n // m
    weights = np.zeros((m, n))
    for o in range(m):
        first = o * factor + (factor - len(taps)) // 2
        for k, tap in enumerate(taps):
            if 0 <= first + k < n:
                weights[o, first + k] = tap
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "taps"), [(96, [1, 2, 3, 2, 1]), (64, [1, 3, 3, 1])])
def test_shrinking_to_32_has_the_stated_taps(n, taps):
    images = noise((2, 3, n, n))
    weights = taps_by_hand(n, 32, taps)
    across = np.floor(images.astype(float) @ weights.T + 0.5 + 1e-4)
    expected = np.floor(weights @ across + 0.5 + 1e-4)
    difference = np.abs(resize(images, 32) - expected)
    assert difference.max() <= 1  # Pillow's weights are rounded: ties may fall
    assert (difference > 0).mean() < 0.1
    corner = weights[0, :4]
    assert corner[0] > 0
    assert abs(corner.sum() - 1) < 1e-12


def test_a_white_pixel_spreads_by_the_taps_and_is_rounded_after_each_pass():
    # Pixel 48 has weight 1/9 in output 15 (the pixels 44 .. 48) and 2/9 in output 16
    # (47 .. 51). 255/9 = 28.3 and 2 * 255/9 = 56.7 become 28 and 57 in the first pass;
    # in the second 28/9 = 3.1, 2 * 28/9 = 6.2, 57/9 = 6.3, 2 * 57/9 = 12.7.
    images = np.zeros((1, 1, 96, 96), np.uint8)
    images[0, 0, 48, 48] = 255
    found = resize(images, 32)[0, 0]
    assert found[15:18, 15:18].tolist() == [[3, 6, 0], [6, 13, 0], [0, 0, 0]]
    assert found.sum() == 3 + 6 + 6 + 13


@given(SIDE, SIDE, SIDE, SIDE, st.integers(0, 2**31), st.booleans())
def test_resize_equals_pillow_bit_by_bit(height, width, rows, columns, seed, hard):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    pixels = noise((height, width, 3), seed)
    if hard:
        pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
    picture = image.fromarray(pixels)
    # One axis, then the other: where both change, Pillow 13 may begin with the height.
    halfway = picture.resize((columns, height), image.Resampling.BILINEAR)
    expected = halfway.resize((columns, rows), image.Resampling.BILINEAR)
    found = resize(pixels.transpose(2, 0, 1)[None], (rows, columns))
    np.testing.assert_array_equal(found[0].transpose(1, 2, 0), np.asarray(expected))


@pytest.mark.parametrize("side", [96, 64, 48, 31, 32])
def test_squares_equal_pillow_in_one_call(side):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    for seed in range(5):
        pixels = noise((side, side, 3), seed)
        picture = image.fromarray(pixels).resize((32, 32), image.Resampling.BILINEAR)
        found = resize(pixels.transpose(2, 0, 1)[None], 32)[0].transpose(1, 2, 0)
        np.testing.assert_array_equal(found, np.asarray(picture))


def test_large_sets_are_resized_in_blocks(monkeypatch):
    images = noise((7, 3, 12, 10))
    whole = resize(images, (5, 4))
    monkeypatch.setattr("tinytl.data.augment.BLOCK", 1000)
    assert np.array_equal(resize(images, (5, 4)), whole)
    assert resize(images[:0], 4).shape == (0, 3, 4, 4)
    same = resize(images, (12, 10))
    assert np.array_equal(same, images)
    assert same is not images


@pytest.mark.parametrize(
    ("images", "size", "error", "message"),
    [
        (noise((3, 8, 8)), 4, ValueError, r"need \(N, C, H, W\)"),
        (np.zeros((1, 3, 8, 8)), 4, TypeError, "images are float64; they need uint8"),
        (noise((1, 3, 8, 8)), 0, ValueError, "size 0 .* need to be 1 or more"),
        (noise((1, 3, 8, 8)), (4, -1), ValueError, "need to be 1 or more"),
        (noise((1, 3, 0, 8)), 4, ValueError, "need to be 1 or more"),
    ],
)
def test_wrong_arguments_of_resize(images, size, error, message):
    with pytest.raises(error, match=message):
        resize(images, size)
