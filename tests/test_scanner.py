"""Laws of the simulated scanner: what it does to a known object, and how widely it varies."""

from dataclasses import replace

import numpy as np
import pytest

from recon.phantoms import coil_array, scanner

AXES = (-2, -1)


def ifft2c(kspace):
    images = np.fft.ifft2(np.fft.ifftshift(kspace, axes=AXES), norm="ortho")
    return np.fft.fftshift(images, axes=AXES)


def fft2c(image):
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes=AXES), norm="ortho"), axes=AXES)


def body(slices=2, rows=64, columns=64):
    """An ellipse with an off-centre hole: sharp edges and air around it."""
    y, x = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, columns)
    picture = ((y / 0.8) ** 2 + (x / 0.6) ** 2 < 1) * 1.0
    picture[(y - 0.2) ** 2 + (x - 0.1) ** 2 < 0.03] = 0
    return np.repeat(picture[None], slices, 0)


def plain(scan):
    """The same coils, and nothing else that a scan adds."""
    return replace(
        scan,
        polynomial=np.zeros(6),
        ripple=0.0,
        susceptibility=0.0,
        decay=0.0,
        noise=0.0,
        taper=0.0,
        padding=(0, 0),
        scale=1.0,
    )


@pytest.mark.parametrize("matrix", [(64, 32), (66, 33), (61, 29)])
def test_kspace_is_the_centre_of_the_fine_one(matrix):
    """Crop law: against one full transform of the whole oversampled picture, odd sizes too."""
    height, width = matrix
    picture = body(1, height, 2 * width)
    scan = plain(scanner.draw_scan(matrix, 3, seed=4, contrast="PD"))
    measured = scanner.measure(picture, scan)
    assert measured.shape == (1, 3, *matrix) and measured.dtype == np.complex64

    padded = np.zeros((3, 2 * height, 2 * width), complex)
    top = (2 * height - height) // 2
    padded[:, top : top + height] = picture[0] * coil_array.sensitivities(picture, scan.array)(0)
    fine = fft2c(padded)[:, height - height // 2 :, width - width // 2 :][:, :height, :width]
    np.testing.assert_allclose(measured[0], fine / 2, atol=2e-6 * np.abs(fine).max())


def test_magnitude_survives_and_ringing_appears():
    """One coil of flat sensitivity: the middle keeps its value, the edge overshoots (Gibbs)."""
    scan = plain(scanner.draw_scan((128, 64), 6, seed=1, contrast="PD"))
    picture = body(1, 128, 128)
    images = ifft2c(scanner.measure(picture, scan))[0][:, 32:96]
    maps = coil_array.sensitivities(picture, scan.array)(0)[:, ::2, ::2]
    combined = np.abs((maps.conj() * images).sum(0)) / (np.abs(maps) ** 2).sum(0)
    assert combined[24:30, 20:26] == pytest.approx(1, abs=0.03)
    assert combined.max() > 1.05


def test_noise_has_the_variance_and_covariance_asked_for():
    matrix, coils = (128, 64), 5
    drawn = scanner.draw_scan(matrix, coils, seed=7, contrast="PD", noise=0.05)
    noisy = replace(plain(drawn), noise=0.05)
    difference = scanner.measure(body(4, 128, 128), noisy) - scanner.measure(
        body(4, 128, 128), plain(drawn)
    )
    samples = np.moveaxis(difference, 1, 0).reshape(coils, -1)
    covariance = samples @ samples.conj().T / samples.shape[1]
    wanted = 2 * 0.05**2 * drawn.coupling @ drawn.coupling.conj().T  # real and imaginary part
    np.testing.assert_allclose(covariance, wanted, atol=0.03 * wanted.real.max())
    assert np.trace(wanted).real / coils == pytest.approx(2 * 0.05**2)
    assert np.abs(wanted - np.diag(np.diag(wanted))).max() > 0.01 * wanted.real.max()
    # White: as strong in the rows outside the field of view of the picture as in all of k-space.
    corners = ifft2c(scanner.measure(body(4, 128, 128), noisy))[..., :16, :]
    assert corners.real.std() == pytest.approx(0.05, rel=0.05)
    assert corners.imag.std() == pytest.approx(0.05, rel=0.05)


def test_noise_follows_the_contrast():
    def level(contrast):
        return np.median([scanner.draw_scan((64, 32), 4, s, contrast).noise for s in range(40)])

    assert level("PDFS") > 2 * level("PD")
    assert level("FLAIR") > 1.5 * level("T1")


def test_field_of_a_loop_on_its_axis():
    """B = 2 pi R^2 / (R^2 + z^2)^(3/2), the wire's thickness added in quadrature."""
    turn = 2 * np.pi * np.arange(64) / 64
    wire = 0.5 * np.stack([0 * turn, np.cos(turn), np.sin(turn)], axis=1)  # normal along u
    pieces = 0.5 * (2 * np.pi / 64) * np.stack([0 * turn, -np.sin(turn), np.cos(turn)], axis=1)
    z = np.array([0.0, 0.3, 1.0, 2.0])
    space = np.stack([z, 0 * z, 0 * z], axis=1).astype(np.float32)
    field = coil_array._biot_savart(space, wire, pieces)
    expected = 2 * np.pi * 0.25 / (0.25 + z**2 + coil_array.WIRE**2) ** 1.5
    np.testing.assert_allclose(field.real, expected, rtol=1e-3)
    np.testing.assert_allclose(field.imag, 0, atol=1e-4)


def maps_of(seed, coils=8, bore="through"):
    picture = body(1, 64, 64)
    array = scanner.draw_scan((64, 32), coils, seed, "PD", bore=bore).array
    return coil_array.sensitivities(picture, array)(0), picture[0] > 0


@pytest.mark.parametrize("seed", range(6))
def test_sensitivities_are_smooth_and_normalised(seed):
    maps, inside = maps_of(seed)
    power = np.abs(np.fft.fft2(maps * np.hanning(64)[:, None] * np.hanning(64))) ** 2
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))
    assert power[:, frequency > 0.15].sum() < 1e-3 * power.sum()
    assert np.sqrt((np.abs(maps) ** 2).sum(0))[inside].mean() == pytest.approx(1, abs=0.05)


def test_arrays_differ_between_seeds():
    """Maps of one seed explain those of another badly: the geometry differs, not just the gains."""
    unexplained = []
    for seed in range(6):
        first, inside = maps_of(seed, coils=5)
        second, _ = maps_of(seed + 100, coils=5)
        a, b = first[:, inside].T, second[:, inside].T
        residual = b - a @ np.linalg.lstsq(a, b, rcond=None)[0]
        unexplained.append((np.abs(residual) ** 2).sum() / (np.abs(b) ** 2).sum())
    assert np.median(unexplained) > 0.02
    bores = {scanner.draw_scan((64, 32), 4, s, "PD").array.bore for s in range(30)}
    assert bores == {"through", "rows", "columns"}


def test_scan_is_a_function_of_its_seed():
    picture = body()
    first = scanner.acquire(picture, (64, 32), 4, 3, "PD")
    np.testing.assert_array_equal(first, scanner.acquire(picture, (64, 32), 4, 3, "PD"))
    other = scanner.acquire(picture, (64, 32), 4, 4, "PD")
    assert not np.allclose(first / np.abs(first).max(), other / np.abs(other).max(), atol=0.05)


def test_scans_vary_in_scale_padding_filter_and_phase():
    scans = [scanner.draw_scan((64, 320), 4, s, "PD") for s in range(60)]
    scales = np.log10([s.scale for s in scans])
    assert scales.min() < -4.7 and scales.max() > -3.8
    assert {any(s.padding) for s in scans} == {True, False}
    assert {s.taper > 0 for s in scans} == {True, False}
    assert len({s.ripple for s in scans}) == 3


def test_padding_is_exactly_zero_and_nothing_else_is():
    scan = replace(scanner.draw_scan((64, 32), 3, 0, "PD"), padding=(2, 3))
    empty = (scanner.measure(body(), scan) == 0).all(axis=(0, 1, 2))
    np.testing.assert_array_equal(np.flatnonzero(empty), [0, 1, 29, 30, 31])


def test_echo_train_decays_to_the_edge_of_kspace():
    scan = plain(scanner.draw_scan((64, 32), 3, 0, "PD"))
    kept = scanner.measure(body(), scan)
    decayed = scanner.measure(body(), replace(scan, decay=0.5))
    np.testing.assert_allclose(decayed[..., 16], kept[..., 16], rtol=1e-5)
    np.testing.assert_allclose(decayed[..., 0], kept[..., 0] * np.exp(-0.5), rtol=1e-4)


def test_susceptibility_bends_the_phase_most_at_edges():
    scan = replace(plain(scanner.draw_scan((128, 64), 3, 0, "PD")), susceptibility=1.0)
    picture = body(1, 128, 128)[0]
    phase = scanner.object_phase(picture, scan, 0)
    slope = np.hypot(*np.gradient(phase))
    border = np.hypot(*np.gradient(picture)) > 0
    assert slope[border].mean() > 3 * slope[picture > 0].mean() / 2
    assert np.isfinite(scanner.object_phase(np.zeros((64, 64)), scan, 0)).all()


def test_emulated_single_coil_is_the_best_combination():
    kspace = scanner.acquire(body(), (64, 32), 6, 2, "PD", noise=0.0)
    single = scanner.emulate_single_coil(kspace)
    assert single.shape == (2, 64, 32)
    stacked = np.moveaxis(kspace, 1, 0).reshape(6, -1).T
    weights, *_ = np.linalg.lstsq(stacked, single.ravel(), rcond=None)
    np.testing.assert_allclose(stacked @ weights, single.ravel(), atol=1e-4 * np.abs(single).max())
    images = np.moveaxis(ifft2c(kspace), 1, 0).reshape(6, -1).T
    root = np.sqrt((np.abs(images) ** 2).sum(1))
    best = np.linalg.norm(ifft2c(single).ravel() - root)
    rng = np.random.default_rng(0)
    for _ in range(5):
        nudge = 0.05 * np.abs(weights).mean() * (rng.normal(size=6) + 1j * rng.normal(size=6))
        assert np.linalg.norm(images @ (weights + nudge) - root) > best


def test_empty_picture_and_one_coil():
    kspace = scanner.acquire(np.zeros((1, 64, 64)), (64, 32), 1, 0, "PD")
    assert np.isfinite(kspace).all() and kspace.shape == (1, 1, 64, 32)


def test_object_must_fit_the_matrix():
    with pytest.raises(ValueError, match="64 wide"):
        scanner.acquire(body(1, 64, 60), (64, 32), 2, 0, "PD")
