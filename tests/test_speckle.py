"""Speckle: contrast, spectrum and ceilings against their formulas, independence, the display."""

import dataclasses
import math

import numpy as np
import pytest

from recon.physics.speckle import (
    RANGES,
    SPECTRALIS,
    Device,
    average_frames,
    average_intensity,
    draw_device,
    effective_frames,
    expected_intensity,
    gain_ceiling,
    intensity_correlation,
    kernel,
    show_intensity,
    speckle_variance,
)

FLAT = np.full((192, 192), 0.1, np.float32)
PLAIN = Device(axial=1.5, lateral=1.0, correlation=0.4, noise=0.0, falloff=0.0)


def averaged(frames, device=PLAIN, seed=0, reflectivity=FLAT):
    return average_intensity(reflectivity, frames, device, np.random.default_rng(seed))


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.7])
@pytest.mark.parametrize("frames", [1, 4, 12, 60])
def test_contrast_follows_the_effective_number_of_frames(frames, rho):
    image = averaged(frames, dataclasses.replace(PLAIN, correlation=rho))
    assert image.mean() == pytest.approx(0.1, rel=0.03)
    variance = image.var() / image.mean() ** 2
    assert variance == pytest.approx(speckle_variance(frames, rho), rel=0.06)
    assert effective_frames(frames, rho) * speckle_variance(frames, rho) == pytest.approx(1)


def test_one_frame_is_fully_developed_speckle():
    """Exponential intensity: moments n!."""
    image = averaged(1) / averaged(1).mean()
    assert np.mean(image**2) == pytest.approx(2, rel=0.03)
    assert np.mean(image**3) == pytest.approx(6, rel=0.12)
    assert np.mean(image > 2) == pytest.approx(math.exp(-2), rel=0.05)


@pytest.mark.parametrize(("axial", "lateral"), [(1.5, 1.0), (3.0, 2.0)])
def test_the_speckle_is_as_large_as_the_point_spread(axial, lateral):
    image = averaged(6, dataclasses.replace(PLAIN, axial=axial, lateral=lateral))
    image = image - image.mean()
    for axis, width in ((0, axial), (1, lateral)):
        for lag in (1, 2, 3):
            a = np.take(image, range(lag, image.shape[axis]), axis)
            b = np.take(image, range(image.shape[axis] - lag), axis)
            found = np.mean(a * b) / image.var()
            assert found == pytest.approx(intensity_correlation(width, lag), abs=0.03)


def test_the_noise_spectrum_is_that_of_the_point_spread():
    """Power over axial frequency: the transform of the squared autocorrelation."""
    image = averaged(2, dataclasses.replace(PLAIN, axial=3.0, lateral=2.0))
    power = np.mean(np.abs(np.fft.fft(image - image.mean(), axis=0)) ** 2, axis=1)
    lags = np.fft.fftfreq(len(image), 1 / len(image))
    model = np.array([intensity_correlation(3.0, abs(int(lag))) for lag in lags])
    expected = np.fft.fft(model).real
    found = power / power.mean()
    np.testing.assert_allclose(
        found[1:61].reshape(6, 10).mean(1),
        expected[1:61].reshape(6, 10).mean(1),
        rtol=0.25,
        atol=0.02,
    )


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.6])
def test_an_oracle_gains_no_more_than_the_ceiling(rho):
    device = dataclasses.replace(PLAIN, correlation=rho)
    raw, reference = averaged(12, device, 1), averaged(60, device, 2)
    oracle = expected_intensity(FLAT, device)
    error = [np.mean((image - reference) ** 2) for image in (raw, oracle)]
    assert 10 * math.log10(error[0] / error[1]) == pytest.approx(
        gain_ceiling(12, 60, rho), abs=0.25
    )
    # The display of a Spectralis changes both errors alike: the ceiling holds within 0.5 dB.
    raw, reference, oracle = (show_intensity(x, device) for x in (raw, reference, oracle))
    error = [np.mean((image - reference) ** 2) for image in (raw, oracle)]
    assert 10 * math.log10(error[0] / error[1]) == pytest.approx(gain_ceiling(12, 60, rho), abs=0.5)


def test_ceilings_of_the_notes():
    assert [round(gain_ceiling(12, 60, rho), 2) for rho in (0, 0.4, 0.6)] == [7.78, 3.66, 3.25]


def test_two_acquisitions_share_nothing_but_the_eye():
    a, b = (averaged(12, seed=seed) for seed in (3, 4))
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02
    assert np.array_equal(a, averaged(12, seed=3))


def test_frames_of_one_acquisition_correlate_by_rho_squared():
    """var of a mean of two = (1 + rho^2) / 2; the rest of the law is the contrast's."""
    two, one = averaged(2).var(), averaged(1).var()
    assert two / one == pytest.approx((1 + 0.4**2) / 2, rel=0.05)


def test_the_expectation_is_what_many_acquisitions_tend_to():
    rng = np.random.default_rng(0)
    reflectivity = np.repeat(rng.random((12, 1)).astype(np.float32) * 0.2, 24, axis=1)
    reflectivity[:, 12:] *= 3
    device = Device(axial=2.5, lateral=2.0, correlation=0.3, noise=0.01, falloff=1.5)
    mean = np.mean([averaged(20, device, k, reflectivity) for k in range(150)], axis=0)
    np.testing.assert_allclose(mean, expected_intensity(reflectivity, device), rtol=0.12)
    assert np.mean(mean / expected_intensity(reflectivity, device)) == pytest.approx(1, rel=0.01)


def test_the_floor_averages_like_independent_frames():
    """In the dark there is no common field: variance 1/N whatever rho is."""
    dark = averaged(12, dataclasses.replace(PLAIN, noise=0.01), reflectivity=0 * FLAT)
    assert dark.mean() == pytest.approx(0.01, rel=0.03)
    assert dark.var() / dark.mean() ** 2 == pytest.approx(1 / 12, rel=0.06)


def test_the_signal_fades_with_depth():
    image = expected_intensity(FLAT, dataclasses.replace(PLAIN, falloff=1.0))
    assert image[-1].mean() / image[0].mean() == pytest.approx(math.exp(-1), rel=0.02)


def test_the_display_is_eight_bit():
    image = average_frames(FLAT, 12, SPECTRALIS, np.random.default_rng(0))
    assert image.dtype == np.float32 and image.shape == FLAT.shape
    assert image.min() >= 0 and image.max() <= 1
    np.testing.assert_allclose(image * 255, np.round(image * 255), atol=1e-4)
    bright = show_intensity(np.array([0.0, 1 / 16, 1.0, 7.0]), SPECTRALIS)
    np.testing.assert_allclose(bright, [0, 0.5, 1, 1], atol=1 / 255)


def test_kernels_keep_the_energy_and_have_the_width_they_say():
    for width in (1.0, 2.5, 4.0):
        taps = kernel(width)
        assert np.sum(taps**2) == pytest.approx(1, rel=1e-5) and taps.size % 2 == 1
    taps = kernel(8.0)
    middle = taps.size // 2
    assert taps[middle + 4] / taps[middle] == pytest.approx(0.5, rel=1e-4)


def test_drawn_devices_stay_in_their_ranges_and_differ():
    drawn = [draw_device(np.random.default_rng(seed)) for seed in range(40)]
    assert len(set(drawn)) == 40
    for name, (low, high) in RANGES.items():
        values = [getattr(device, name) for device in drawn]
        assert low <= min(values) and max(values) <= high
        assert max(values) - min(values) > 0.5 * (high - low)
        assert low <= getattr(SPECTRALIS, name) <= high
    assert draw_device(np.random.default_rng(5)) == drawn[5]
