"""The scanner: from a picture of the body to what its receiver coils measure.

A volume of magnitudes on a fine grid becomes centred multi-coil k-space the way a scanner makes it:

1. the object gets a phase: an offset, slopes and curvature (shim, echo shift), a smooth random
   field, and the field that the body's own susceptibility bends around its edges and cavities;
2. every coil sees it through its own sensitivity (`recon.phantoms.coil_array`);
3. the readout is sampled twice as wide as the picture; only the centre of the fine k-space is
   acquired, so that Gibbs ringing and partial volume are those of a real acquisition;
4. the echo train decays towards the edges of k-space; complex noise, correlated between the coils,
   is added; a filter, and columns that were never acquired (zero), come last.

What differs between two scans is in one dataclass, `Scan`, drawn from a seed by `draw_scan`;
`measure` is a pure function of the object and the scan.

Lengths are in half the longer side of the field of view, phases in radians, magnitudes in the 95th
percentile of the object's signal, until `scale` makes them the small numbers of a fastMRI file.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter

from recon.phantoms.coil_array import (
    CoilArray,
    draw_array,
    pixel_axis,
    sensitivities,
    spline_matrix,
)

__all__ = ["NOISE", "Scan", "acquire", "draw_scan", "emulate_single_coil", "measure"]

#: Noise of one coil (standard deviation of the real part, and of the imaginary part) over the 95th
#: percentile of the object's signal. Fat suppression and inversion leave less signal to measure.
NOISE = {
    "PD": 0.010,
    "PDFS": 0.026,
    "T1": 0.010,
    "T1POST": 0.010,
    "T2": 0.013,
    "FLAIR": 0.022,
    "leaves": 0.014,
}
FIELD = 6.0  # radians at the edges of a body of unit susceptibility: some milliseconds of echo time


@dataclass(frozen=True)
class Scan:
    """What is drawn for one volume."""

    matrix: tuple[int, int]  # acquired (H, W), H with readout oversampling
    seed: int
    array: CoilArray
    polynomial: np.ndarray  # (6,) object phase, radians: 1, y, x, y^2, xy, x^2
    ripple: float  # radians, standard deviation of the smooth random field
    ripple_knots: int  # control points a side of that field
    susceptibility: float  # 0 (a spin echo) to 2 (a gradient echo)
    decay: float  # signal at the edge of k-space is exp(-decay)
    noise: float  # see NOISE
    coupling: np.ndarray  # (coils, coils) complex; noise covariance = coupling @ coupling^H
    taper: float  # outer share of k-space that a raised cosine rolls off
    padding: tuple[int, int]  # columns (left, right) never acquired
    scale: float  # magnitude of a unit object in the file


def draw_scan(
    matrix: tuple[int, int],
    coils: int,
    seed: int,
    contrast: str,
    noise: float | None = None,
    bore: str | None = None,
) -> Scan:
    """Draw one scan: coil array, phases, noise, filter, padding, scale.

    Parameters
    ----------
    matrix : (int, int)
        Acquired k-space (H, W); H holds the readout, twice oversampled.
    coils : int
        Number of receiver coils, at least 1.
    seed : int
        The same seed gives the same scan.
    contrast : str
        Key of `NOISE`; an unknown one takes the noise of ``leaves``.
    noise : float, optional
        Noise level in place of the contrast's own (it still varies between volumes); 0 for none.
    bore : {"through", "rows", "columns"}, optional
        Direction of the static field in the picture; drawn when not given.
    """
    rng = np.random.default_rng([seed, 1])
    array = draw_array(coils, rng, bore)
    mix = rng.standard_normal((coils, coils)) + 1j * rng.standard_normal((coils, coils))
    coupling = np.eye(coils) + rng.uniform(0.05, 0.3) / np.sqrt(2 * coils) * mix
    coupling /= np.sqrt(np.mean(np.sum(np.abs(coupling) ** 2, axis=1)))
    slopes = (
        np.pi * rng.uniform(-1, 1, 2) * rng.choice([0.2, 1.0])
    )  # up to one sample of echo shift
    curvature = rng.normal(0, rng.uniform(0.1, 1.0), 3)
    level = NOISE.get(contrast, NOISE["leaves"]) if noise is None else noise
    padding = rng.integers(0, round(0.05 * matrix[1]) + 1, 2) * rng.integers(0, 2)
    return Scan(
        matrix=tuple(matrix),
        seed=seed,
        array=array,
        polynomial=np.array([rng.uniform(-np.pi, np.pi), *slopes, *curvature]),
        ripple=float(rng.choice([0.1, 0.3, 0.8])),
        ripple_knots=int(rng.integers(5, 12)),
        susceptibility=float(rng.choice([0.0, 0.5, 2.0]) * rng.random()),
        decay=float(rng.uniform(0, 0.6)),
        noise=float(level * rng.lognormal(0, 0.25)),
        coupling=coupling,
        taper=float(rng.integers(0, 2) * rng.uniform(0.02, 0.2)),
        padding=(int(padding[0]), int(padding[1])),
        scale=float(10 ** rng.uniform(-5, -3.5)),
    )


def acquire(
    magnitude: np.ndarray,
    matrix: tuple[int, int],
    coils: int,
    seed: int,
    contrast: str,
    noise: float | None = None,
    bore: str | None = None,
) -> np.ndarray:
    """Draw a scan and measure with it: see `draw_scan` and `measure`."""
    return measure(magnitude, draw_scan(matrix, coils, seed, contrast, noise, bore))


def measure(magnitude: np.ndarray, scan: Scan) -> np.ndarray:
    """Centred k-space of an object under one scan.

    Parameters
    ----------
    magnitude : np.ndarray
        ``(slices, rows, 2 W)`` real, non-negative, on a grid twice as fine as the acquired voxels;
        rows at most ``2 H``, usually H: the field of view without the readout oversampling.
    scan : Scan
        For the matrix (H, W).

    Returns
    -------
    np.ndarray
        ``(slices, coils, H, W)`` complex64, orthonormal and centred, as fastMRI stores it.

    Raises
    ------
    ValueError
        When the object does not fit the matrix.
    """
    height, width = scan.matrix
    slices, rows, columns = magnitude.shape
    if columns != 2 * width or rows > 2 * height:
        raise ValueError(
            f"magnitude is {rows} x {columns}; for a matrix of {height} x {width} it must be "
            f"{2 * width} wide and at most {2 * height} high"
        )
    inside = magnitude[magnitude > 0.05 * magnitude.max()]
    if inside.size:
        magnitude = magnitude / np.percentile(inside, 95)
    rng = np.random.default_rng([scan.seed, 2])
    coils, maps = len(scan.coupling), sensitivities(magnitude, scan.array)
    decay = np.exp(-scan.decay * np.abs(np.arange(width) - width // 2) / (width / 2))
    kspace = np.empty((slices, coils, height, width), np.complex64)
    for i in range(slices):
        image = magnitude[i] * np.exp(1j * object_phase(magnitude[i], scan, i))
        images = image.astype(np.complex64) * maps(i)  # (coils, rows, 2 W)
        # One axis after the other, so that only what is kept is computed. Both grids' transforms
        # are orthonormal; the factor 1/2 = sqrt(H W / (4 H W)) keeps magnitudes between them.
        half = _crop(_fft(images, axis=-1), width, axis=-1)
        oversampled = np.zeros((coils, 2 * height, width), np.complex64)
        top = (2 * height - rows) // 2
        oversampled[:, top : top + rows] = half
        kspace[i] = _crop(_fft(oversampled, axis=-2), height, axis=-2) * (0.5 * decay)
        if scan.noise:
            white = rng.standard_normal((2, coils, height * width), np.float32)
            correlated = scan.coupling.astype(np.complex64) @ (white[0] + 1j * white[1])
            kspace[i] += scan.noise * correlated.reshape(coils, height, width)
    if scan.taper:
        kspace *= _rolloff(height, scan.taper)[:, None] * _rolloff(width, scan.taper)
    left, right = scan.padding
    kspace[..., :left] = 0
    kspace[..., width - right :] = 0
    kspace *= np.float32(scan.scale)
    return kspace


def object_phase(magnitude: np.ndarray, scan: Scan, index: int) -> np.ndarray:
    """Phase of the object in one slice, radians.

    Parameters
    ----------
    magnitude : np.ndarray
        ``(rows, columns)``, 1 at the object's 95th percentile.
    scan : Scan
    index : int
        The slice; the smooth random field is drawn anew for each, the polynomial is shared.
    """
    rows, columns = magnitude.shape
    y = pixel_axis(rows, max(rows, columns))[:, None]
    x = pixel_axis(columns, max(rows, columns))
    p = scan.polynomial
    phase = p[0] + p[1] * y + p[2] * x + p[3] * y**2 + p[4] * x * y + p[5] * x**2
    if scan.ripple:
        rng = np.random.default_rng([scan.seed, 3, index])
        knots = np.linspace(-1, 1, scan.ripple_knots)
        values = rng.normal(0, scan.ripple, (scan.ripple_knots, scan.ripple_knots))
        carry_y, carry_x = (spline_matrix(knots, np.linspace(-1, 1, n)) for n in (rows, columns))
        phase = phase + carry_y @ values @ carry_x.T
    if scan.susceptibility:
        # The field shift of a body is the dipole kernel 1/3 - cos^2 times the body, in Fourier
        # space (Marques & Bowtell 2005): sharpest where tissue meets air. Across the slices, which
        # one picture doesn't show, the body is taken to vary over a fifth of the field of view. A
        # limb that leaves the picture goes on outside it.
        body = gaussian_filter(np.minimum(magnitude / 0.15, 1).astype(np.float32), 2.0)
        top, left = rows // 2, columns // 2
        body = np.pad(body, ((top, rows - top), (left, columns - left)), mode="edge")
        ky, kx = np.fft.fftfreq(2 * rows)[:, None], np.fft.rfftfreq(2 * columns)
        kz = 5 / max(rows, columns)
        along = {"through": kz, "rows": ky, "columns": kx}[scan.array.bore]
        kernel = (1 / 3 - along**2 / (kz**2 + ky**2 + kx**2)).astype(np.float32)
        field = scipy.fft.irfft2(kernel * scipy.fft.rfft2(body), body.shape)
        field = field[top : top + rows, left : left + columns]
        phase = phase + FIELD * scan.susceptibility * field
    return phase


def emulate_single_coil(kspace: np.ndarray) -> np.ndarray:
    """Single-coil k-space out of many coils: ``(slices, coils, H, W)`` to ``(slices, H, W)``.

    One complex weight a coil and volume, fitted by least squares so that the combined image comes
    near the root of the sum of squares: how fastMRI's single-coil task was made (Tygert & Zbontar
    2020). Linear, so noise and sampling stay those of a measurement.
    """
    axes, coils = (-2, -1), kspace.shape[1]
    images = scipy.fft.ifft2(scipy.fft.ifftshift(kspace, axes=axes), norm="ortho")
    stacked = np.moveaxis(images, 1, 0).reshape(coils, -1)
    root = np.sqrt(np.sum(np.abs(stacked) ** 2, axis=0))
    gram = (stacked.conj() @ stacked.T).astype(np.complex128)
    ridge = 1e-6 * np.trace(gram).real / coils * np.eye(coils)
    weights = np.linalg.solve(gram + ridge, (stacked.conj() @ root).astype(np.complex128))
    return np.einsum("c,schw->shw", weights.astype(np.complex64), kspace)


def _rolloff(points: int, share: float) -> np.ndarray:
    """Raised cosine ``(points,)`` that falls from 1 to 0.1 over the outer share of k-space."""
    radius = np.abs(np.arange(points) - points // 2) / (points / 2)
    edge = np.clip((radius - (1 - share)) / share, 0, 1)
    return (0.55 + 0.45 * np.cos(np.pi * edge)).astype(np.float32)


def _fft(x: np.ndarray, axis: int) -> np.ndarray:
    """Centred orthonormal transform along one axis."""
    spectrum = scipy.fft.fft(scipy.fft.ifftshift(x, axes=axis), axis=axis, norm="ortho")
    return scipy.fft.fftshift(spectrum, axes=axis)


def _crop(spectrum: np.ndarray, points: int, axis: int) -> np.ndarray:
    """The middle ``points`` along an axis, the zero frequency landing at ``points // 2``."""
    first = spectrum.shape[axis] // 2 - points // 2
    return np.moveaxis(np.moveaxis(spectrum, axis, 0)[first : first + points], 0, axis)
