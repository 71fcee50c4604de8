"""Scores of denoised B-scans: by hand, on bands of known noise, and on what must be refused."""

import numpy as np
import pytest
from scipy import ndimage

from recon.classical import denoisers
from recon.errors import InputError
from recon.learning import bscans
from recon.learning import denoising_scores as scores
from recon.results.statistics import summarise

SHAPE = (96, 128)


def band(seed=0, noise=0.05, shift=(0, 0), shape=SHAPE):
    """A dim band (the retina) with a bright layer in it, on a dark ground, with white noise."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    rows = rows - shift[0] - 6 * np.sin((columns - shift[1]) / 20)
    clean = np.full(shape, 0.1)
    clean[(rows > 30) & (rows < 70)] = 0.4
    clean[(rows > 55) & (rows < 65)] = 0.8
    noisy = clean + noise * np.random.default_rng(seed).standard_normal(shape)
    return noisy.clip(0, 1).astype(np.float32)


def test_contours_find_the_band_and_the_layer():
    truth = band(noise=0)
    regions = bscans.find_regions(band(1))
    retina, layer = truth > 0.2, truth > 0.6
    for found, true in ((regions.retina, retina), (regions.all_signal, layer)):
        assert (found & true).sum() / (found | true).sum() > 0.8
    assert not (regions.background & regions.retina).any()
    assert (regions.background | regions.retina).all() and len(regions.signal) == 1


def test_scores_by_hand():
    """A region of mean 3 and deviation 1, a background of mean 1 and deviation 2."""
    image = np.array([[2.0, 4.0], [-1.0, 3.0]])
    signal = np.array([[True, True], [False, False]])
    regions = scores.Regions(signal, ~signal, (signal,))
    assert scores.msr(image, regions) == pytest.approx(3)
    assert scores.cnr(image, regions) == pytest.approx(2 / np.sqrt(0.5 * (1 + 4)))
    assert scores.cnr(image, regions, coded=True) == pytest.approx(2 / np.sqrt(0.5 * (1 + 2) ** 2))


def test_cnr_as_coded_depends_on_the_unit_of_grey_values():
    image, regions = band(2), bscans.find_regions(band(2))
    assert scores.cnr(7 * image, regions) == pytest.approx(scores.cnr(image, regions), rel=1e-5)
    coded = [scores.cnr(k * image, regions, coded=True) for k in (1, 7)]
    assert abs(coded[1] / coded[0] - 1) > 0.2


@pytest.mark.parametrize("factor", [0.1, 1, 5])
def test_a_window_undoes_gain_and_leaves_zero_to_one(factor):
    image = band(3)
    seen = bscans.window_of(factor * image)(factor * image)
    assert seen.min() == 0 and seen.max() == pytest.approx(1)
    assert np.allclose(seen, bscans.window_of(image)(image), atol=1e-5)


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-7, 5)])
def test_registration_finds_whole_shifts_under_independent_noise(shift):
    found = bscans.register(band(4, 0.15), band(5, 0.15, shift))
    assert found[0] == shift[0] and abs(found[1] - shift[1]) <= 1  # layers run along the columns
    pair = scores.prepare(band(4, 0.15), band(5, 0.15, shift))
    regions = bscans.find_regions(band(6, 0))
    both = (pair.regions.retina & regions.retina).sum()
    assert both / (pair.regions.retina | regions.retina).sum() > 0.9


def test_registration_to_a_part_of_a_pixel():
    moved = ndimage.shift(band(0, 0), (1.5, -0.25), order=3, mode="nearest")
    found = bscans.register(band(0, 0), moved, upsample=20)
    assert found == pytest.approx((1.5, -0.25), abs=0.15)


def test_unrelated_images_count_as_unregistered_and_lose_their_reference_scores():
    far = band(7, shift=(40, 0))
    pair = scores.prepare(band(8), far)
    assert not pair.registered and "psnr" not in scores.score(pair.noisy, pair)


def test_a_perfect_denoiser_is_limited_by_the_noise_of_the_reference():
    """Against a noisy reference the truth scores the noise of the reference, and not more."""
    noise, clean = 0.05, band(0, 0)
    pair = scores.prepare(band(9, noise), band(10, noise), clean)
    oracle, raw = scores.score(clean, pair), scores.score(pair.noisy, pair)
    assert oracle["psnr_truth"] == 100 and oracle["ssim_truth"] == pytest.approx(1)
    assert oracle["psnr_fixed"] - raw["psnr_fixed"] < 10 * np.log10(2) + 0.5
    assert oracle["psnr_fixed"] > raw["psnr_fixed"] and oracle["msr"] > raw["msr"]


def test_the_shift_between_acquisitions_is_taken_out():
    near = scores.score(band(11), scores.prepare(band(11), band(12)))
    far = scores.score(band(11), scores.prepare(band(11), band(12, shift=(6, 4))))
    assert far["psnr_fixed"] == pytest.approx(near["psnr_fixed"], abs=0.7)


def test_ssim_with_a_range_of_two_is_closer_to_one():
    one, two = band(13), band(14)
    assert scores.ssim(one, two, 2.0) > scores.ssim(one, two) + 0.05


@pytest.mark.parametrize(
    ("noisy", "reference", "words"),
    [
        (band(), band(shape=(96, 96)), "unequal"),
        (np.zeros(SHAPE, np.float32), band(), "one grey value"),
        (np.where(band() > 0.7, np.nan, band()), band(), "NaN"),
        (np.full(SHAPE, 0.5, np.float32), None, "one grey value"),
    ],
)
def test_bad_images_are_refused_in_words(noisy, reference, words):
    with pytest.raises(InputError, match=words):
        scores.prepare(noisy, reference)


def test_rows_by_volume_go_through_the_statistics():
    volumes = {}
    for eye in range(4):
        noisy = [band(20 + 2 * eye), band(50 + eye)]
        pairs = [scores.prepare(noisy[0], band(21 + 2 * eye)), scores.prepare(noisy[1])]
        images = {"raw": noisy, "median": [denoisers.median(image, 2) for image in noisy]}
        volumes[f"eye{eye}"] = ("healthy", scores.score_volume(images, pairs))
    rows = summarise(scores.frame(volumes), [("median", "raw")], data="bands", task="t", accel=5)
    gain = [r for r in rows if r.get("against") and r["metric"] == "msr" and r["contrast"] == "all"]
    assert len(gain) == 1 and gain[0]["ci95"][0] > 0 and gain[0]["n"] == 4
    assert {row["metric"] for row in rows} == {*scores.METRICS}


@pytest.mark.parametrize("name", denoisers.available())
def test_denoisers_raise_psnr_and_keep_the_shape(name):
    clean, noisy = band(0, 0), band(30, 0.08)
    drawn = denoisers.DENOISERS[name](noisy, denoisers.PAPER[name])
    assert drawn.shape == noisy.shape and drawn.dtype == np.float32
    assert scores.psnr(drawn, clean) > scores.psnr(noisy, clean) + 1
    flat = np.full(SHAPE, 0.5, np.float32)
    assert np.allclose(denoisers.DENOISERS[name](flat, denoisers.PAPER[name]), flat, atol=1e-3)


def test_tuning_takes_the_best_strength_and_refuses_nothing_to_tune_on():
    clean = band(0, 0)
    noisy = [band(seed, 0.2) for seed in (31, 32)]
    strength, tried = denoisers.tune(
        denoisers.median, noisy, lambda i, drawn: scores.psnr(drawn, clean), (1, 2, 12)
    )
    assert strength == 2 and tried[2] == max(tried.values()) and set(tried) == {1, 2, 12}
    with pytest.raises(InputError, match="without images"):
        denoisers.tune(denoisers.median, [], lambda i, drawn: 0.0, (1,))
