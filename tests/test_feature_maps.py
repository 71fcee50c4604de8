"""Feature maps: what the two measures say of maps that are known, and borders that are known."""

import numpy as np
import pytest
import torch

from recon.errors import InputError
from recon.learning import borders
from recon.learning import feature_maps as fm
from recon.networks.cyclegan import Generator

HEIGHT, WIDTH = 60, 72
INNER = 18 + 4 * np.sin(np.arange(WIDTH) / 9)
OUTER = 40 + 2 * np.cos(np.arange(WIDTH) / 11)
BOUNDARIES = np.stack([INNER, OUTER])


def retina(noise=0.0, seed=0):
    """Grey tissue between two bright lines, each 3 pixels thick around its border."""
    rows = np.arange(HEIGHT)[:, None]
    image = np.where((rows > INNER) & (rows < OUTER), 0.3, 0.05)
    for border in (INNER, OUTER):
        image = np.where(np.abs(rows - border) <= 1.5, 0.9, image)
    noise = noise * np.random.default_rng(seed).standard_normal(image.shape)
    return (image + noise).clip(0, 1).astype(np.float32)


def test_the_layers_explain_a_map_of_layers_and_nothing_of_noise():
    labels = fm.layer_labels(BOUNDARIES, HEIGHT)
    assert set(np.unique(labels)) == {0, 1, 2}
    noise = np.random.default_rng(0).standard_normal((HEIGHT, WIDTH))
    maps = np.stack([labels == 1, 3.0 * labels, noise, np.full_like(noise, 2)])
    explained = fm.explained_by_layers(maps, labels)
    assert explained[:2] == pytest.approx([1, 1])
    assert explained[2] < 0.01 and explained[3] == 0


def test_a_map_correlates_with_itself_upside_down_too():
    image = retina(0.1)
    noise = np.random.default_rng(1).standard_normal(image.shape)
    found = fm.input_correlation(np.stack([image, 1 - image, noise, 0 * noise]), image)
    assert found[:2] == pytest.approx([1, 1]) and found[2] < 0.05 and found[3] == 0


def test_borders_of_a_clean_retina_are_found_to_a_pixel():
    found = borders.track(retina(), retina())  # the square: tissue falls below the mean
    errors = borders.border_errors(found, INNER, OUTER)
    assert errors["found"] > 0.95
    assert max(errors["ilm"], errors["rpe"], errors["thickness"]) < 1.5


def test_errors_by_hand():
    found = borders.Borders(np.array([1, 2, np.nan, 5]), np.array([9, 12, np.nan, 5]))
    errors = borders.border_errors(found, np.array([0, 4, 0, 0.0]), np.array([9, 10, 0, 0.0]))
    assert errors["found"] == 0.5
    assert errors["ilm"] == 1.5 and errors["ilm_bias"] == -0.5
    assert errors["rpe"] == 1 and errors["thickness"] == pytest.approx(2.5)
    nothing = borders.Borders(np.full(4, np.nan), np.full(4, np.nan))
    assert np.isnan(borders.border_errors(nothing, np.zeros(4), np.zeros(4))["ilm"])


@pytest.mark.parametrize("skips", [True, False])
def test_maps_have_the_size_of_the_image_and_the_layers_of_the_table(skips):
    generator = Generator(4, depth=2, blocks=2, skips=skips).eval()
    maps = fm.feature_maps(generator, retina(0.1)[:58, :70])
    names = ["initial", "down 1", "down 2", "residual 1", "residual 2", "up 1", "up 2"]
    assert [*maps] == names
    assert [len(m) for m in maps.values()] == [4, 8, 16, 16, 16, 8, 4]
    assert {m.shape[1:] for m in maps.values()} == {(58, 70)}
    assert [fm.group_of(n, 2) for n in names] == ["shallow"] * 3 + ["-", "deep", "-", "-"]
    assert not generator.initial._forward_hooks


def test_the_choice_finds_the_channel_that_was_made_to_track():
    """The first convolution passes the image in one channel, and in another upside down."""
    generator = Generator(2, depth=2, blocks=1).eval()
    with torch.no_grad():
        weight = generator.initial[0].weight
        weight.zero_()
        weight[1, 0, 3, 3], weight[0, 0, 3, 3] = 1, -1
    images = [retina(0.03, seed) for seed in (1, 2)]
    best, tried = borders.choose_map(generator, images, [(INNER, OUTER)] * 2, ["initial"])
    assert best == ("initial", 1) and tried[best] < 4
    measured = fm.follows(generator, images, [BOUNDARIES] * 2)
    assert measured["initial"]["input_correlation"].min() > 0.3
    assert measured["initial"]["layer_correlation"].shape == (2,)
    with pytest.raises(InputError, match="without B-scans"):
        borders.choose_map(generator, [], [])


def test_the_channel_of_a_band_is_found():
    rng = np.random.default_rng(0)
    band = fm.layer_labels(BOUNDARIES, HEIGHT) == 1
    noise = rng.standard_normal((2, 3, HEIGHT, WIDTH))
    noise[1, 2] += 5 * band
    noise[0, 1] -= 9 * band  # dark where the band is
    layer, channel, r = fm.best_of_band({"initial": noise[0], "down 1": noise[1]}, band)
    assert (layer, channel) == ("down 1", 2) and 0.8 < r < 1
