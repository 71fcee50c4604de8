"""Checkerboards and blur that were put in are found, and nothing where there is none."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from recon.errors import InputError
from recon.learning.artefacts import (
    blurred_courses,
    edge_blur,
    grid_frequencies,
    grid_peak,
    profiles,
    spectrum_of,
)


@pytest.fixture
def noise():
    return np.random.default_rng(0).standard_normal((12, 96, 128))


def test_noise_has_no_peak_at_the_grid(noise):
    assert abs(grid_peak(noise, 4)) < 1
    assert abs(grid_peak(gaussian_filter(noise, (0, 0.5, 0.5)), 4)) < 1


@pytest.mark.parametrize("period", [2, 4])
def test_a_pattern_shows_as_much_as_it_is_strong(noise, period):
    tile = np.random.default_rng(1).standard_normal((period, period))
    pattern = np.tile(tile - tile.mean(), (96 // period, 128 // period))
    rises = [grid_peak(noise + strength * pattern, 4) for strength in (0, 0.1, 0.3, 1.0)]
    assert np.all(np.diff(rises) > 0) and rises[-1] > 8
    shifted = grid_peak(noise + np.roll(pattern, (1, 1), (0, 1)), 4)
    assert abs(shifted - rises[-1]) < 1
    assert abs(grid_peak(3 + 7 * noise, 4) - rises[0]) < 1e-6


def test_a_period_that_is_not_of_the_grid_does_not_count(noise):
    pattern = np.tile(np.arange(5) % 2, (96, 26))[:, :128]
    assert abs(grid_peak(noise + pattern, 4) - grid_peak(noise, 4)) < 1


def test_the_grid_of_four_has_nine_frequencies():
    found = grid_frequencies((96, 128), 4)
    assert len(found) == 9 and len(set(found)) == 9 and (48, 64) in found and (0, 0) not in found
    assert spectrum_of(np.ones((1, 99, 130)), 4).shape == (96, 128)


def test_a_transposed_convolution_leaves_a_pattern_where_a_resized_one_leaves_none():
    torch.manual_seed(0)
    coarse = torch.rand(8, 4, 48, 64)
    rises = {}
    for name, layer in {
        "transposed": torch.nn.ConvTranspose2d(4, 1, 3, 2, padding=1, output_padding=1),
        "resized": torch.nn.Sequential(
            torch.nn.Upsample(scale_factor=2, mode="bilinear"), torch.nn.Conv2d(4, 1, 3, padding=1)
        ),
    }.items():
        rises[name] = grid_peak(layer(coarse)[:, 0].detach().numpy(), 2)
    assert rises["transposed"] > rises["resized"] + 10


def test_images_have_to_be_large_enough(noise):
    with pytest.raises(InputError, match="too small"):
        grid_peak(noise[:, :40], 4)


@pytest.fixture
def layers():
    """A layered image and its boundaries: ``(120, 80)`` and ``(3, 80)``."""
    x = np.arange(80)
    rows = np.stack([30 + 5 * np.sin(x / 9), 55 + 0.2 * x, 90 - 0.1 * x])
    depth = np.arange(120)[:, None]
    image = np.zeros((120, 80))
    for k, boundary in enumerate(rows):
        image += (-1) ** k * 0.4 / (1 + np.exp(-(depth - boundary) / 0.4))
    return image, rows


@pytest.mark.parametrize("blur", [0, 1.0, 2.5])
def test_blur_is_found_through_noise_and_contrast(layers, blur):
    image, rows = layers
    rng = np.random.default_rng(0)
    seen = [
        0.2 + 0.5 * gaussian_filter(image, (blur, 0)) + 0.02 * rng.standard_normal(image.shape)
        for _ in range(3)
    ]
    assert abs(edge_blur(seen, [blurred_courses(image, rows)] * 3, [rows] * 3) - blur) < 0.35


def test_a_profile_follows_its_boundary(layers):
    image, rows = layers
    course = profiles(image, rows, 6)
    assert course.shape == (3, 13)
    assert course[0, 0] < 0.01 and course[0, -1] == pytest.approx(0.4, abs=0.01)
    assert course[0, 6] == pytest.approx(0.2, abs=0.01)
    assert profiles(image, np.full((1, 80), 2.0), 6).shape == (0, 13)
