"""What compressing the coils costs in image quality, and how alike virtual coils are.

Section V-B of Chen 2022: table III compares fully sampled images of compressed coils with those of
all coils; figure 5 shows that virtual coils look alike whatever the array was.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import binary_erosion, binary_fill_holes
from torch import Tensor
from tqdm import tqdm

from recon.data.fastmri import Volume, read_volume
from recon.data.measurement import Sampling, calibration_region
from recon.learning.metrics import CONTRASTS, body_mask, mask_and_calibration, score
from recon.paths import project_root
from recon.physics.coils import compress, compression_matrix, enlarge, rss
from recon.physics.fourier import centre_crop, crop_readout, ifft2c

CALIBRATION = 24  # side of the calibration centre
ALIKE = 0.5  # correlation above which this book calls coils alike: half of the way to the same
LOSSLESS = 150.0  # dB: what differs by less differs by the rounding of 32-bit numbers alone
GRID = 32  # coils are smooth: their likeness is measured on this many points a side


def virtual_images(kspace: Tensor, calibration: int = CALIBRATION) -> Tensor:
    """Images of all virtual coils, the strongest first.

    Virtual coil k does not depend on how many others are kept (`compression_matrix` keeps the first
    columns of one matrix), so compressing to n coils means taking the first n images.

    Parameters
    ----------
    kspace : Tensor
        ``(coils, height, width)`` complex, centred.
    calibration : int
        Side of the centre that the matrix is computed from.

    Returns
    -------
    Tensor
        ``(coils, height, width)`` complex.
    """
    centre = calibration_region(kspace, min(calibration, kspace.shape[-1]))
    return ifft2c(compress(kspace, compression_matrix(centre, len(kspace))))


def compressed(
    kspace: Tensor, counts: Sequence[int], calibration: int = CALIBRATION
) -> dict[int, Tensor]:
    """Root sum of squares ``(height, width)`` after compression to each of ``counts`` coils."""
    images = virtual_images(kspace, calibration)
    return {count: rss(images[:count]) for count in counts}


def compressed_volume(
    volume: Volume, counts: Sequence[int], calibration: int = CALIBRATION
) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """All slices ``(slices, height, width)`` compressed to each count, and of all coils."""
    images: dict[int, list[Tensor]] = {count: [] for count in counts}
    targets = []
    for one in torch.from_numpy(volume.kspace):
        kspace = crop_readout(one, volume.crop[0])
        size = tuple(min(a, b) for a, b in zip(volume.crop, kspace.shape[-2:], strict=True))
        targets.append(centre_crop(rss(ifft2c(kspace)), size))
        for count, image in compressed(kspace, counts, calibration).items():
            images[count].append(centre_crop(image, size))
    return {k: torch.stack(v).numpy() for k, v in images.items()}, torch.stack(targets).numpy()


def interior(body: np.ndarray) -> np.ndarray:
    """A body mask ``(slices, height, width)`` without its rim, a twentieth of the width thick."""
    rim = max(1, body.shape[-1] // 20)
    return np.stack([binary_erosion(one, iterations=rim, border_value=1) for one in body])


def error_by_place(
    image: np.ndarray, target: np.ndarray, inside: np.ndarray
) -> dict[str, float] | None:
    """Mean absolute error in the ``interior`` and outside it (``rim``), over the interior's mean.

    None where one of the two has no pixel. How much of the loss lies where: `share_outside`.
    """
    if inside.all() or not inside.any():
        return None
    error, signal = np.abs(image - target), target[inside].mean()
    return {
        "rim": float(error[~inside].mean() / signal),
        "interior": float(error[inside].mean() / signal),
    }


def share_outside(image: np.ndarray, target: np.ndarray, inside: np.ndarray) -> float | None:
    """Share of the summed absolute error that lies outside ``inside``; None without any error."""
    error = np.abs(image - target)
    return float(error[~inside].sum() / error.sum()) if error.any() else None


def score_compression(
    paths: Sequence[Path], counts: Sequence[int], plan: Sampling | None = None, seed: int = 0
) -> pd.DataFrame:
    """Table III: compressed coils against all coils, nothing left out of k-space.

    Parameters
    ----------
    paths : sequence of Path
        Fully sampled fastMRI-format files.
    counts : sequence of int
        Numbers of virtual coils.
    plan : Sampling, optional
        Calibrate on the centre that its masks leave, as `recon.learning.metrics.reconstruct` does;
        without it on `CALIBRATION` columns.
    seed : int
        Of those masks.

    Returns
    -------
    pd.DataFrame
        As `recon.learning.metrics.evaluate_methods` gives it, with the methods ``coils_<n>`` and a
        column ``coils``, what the array had. PSNR is at most `LOSSLESS`. The metric ``loss`` of the
        methods ``rim`` and ``interior`` is `error_by_place` at the smallest count; ``share of the
        loss`` is `share_outside` there (method ``rim``), of volumes that had more coils, beside one
        half (method ``half``) to hold it against.
    """
    rows = []
    for path in tqdm(paths, desc="compressing", mininterval=2):
        volume = read_volume(path)
        about = {
            "volume": volume.name,
            "contrast": CONTRASTS.get(volume.contrast, volume.contrast),
            "effective_accel": 1.0,
            "coils": volume.kspace.shape[1],
        }
        size = mask_and_calibration(volume, plan, seed)[1] if plan else CALIBRATION
        images, target = compressed_volume(volume, counts, size)
        body = np.stack([body_mask(volume, i, target.shape[1:]) for i in range(len(target))])
        for region, mask in (("body", body), ("full", np.ones_like(body))):
            for count, image in images.items():
                found = score(image * mask, target * mask)
                found["psnr"] = min(found["psnr"], LOSSLESS)
                rows += [
                    {**about, "method": f"coils_{count}", "metric": m, "region": region, "value": v}
                    for m, v in found.items()
                ]
        fewest, inside = images[min(counts)], interior(body)
        found = [("loss", *item) for item in (error_by_place(fewest, target, inside) or {}).items()]
        share = share_outside(fewest, target, inside) if about["coils"] > min(counts) else None
        if share is not None:
            found += [("share of the loss", "rim", share), ("share of the loss", "half", 0.5)]
        rows += [
            {**about, "method": place, "metric": metric, "region": "full", "value": value}
            for metric, place, value in found
        ]
    return pd.DataFrame(rows)


def relative_sensitivities(images: Tensor) -> Tensor:
    """Magnitude of every coil's image over the root sum of squares: ``(coils, height, width)``."""
    return images.abs() / rss(images).clamp_min(1e-12)


def profiles_of(volume: Volume, count: int) -> tuple[dict[str, Tensor], Tensor]:
    """Coarse sensitivities of a volume's middle slice, raw and virtual, and where there is signal.

    Returns
    -------
    profiles : dict
        ``raw`` (the file's first ``count`` coils), ``sorted`` (the ``count`` strongest, the
        strongest first) and ``virtual``, each ``(count, GRID, GRID)``.
    inside : Tensor
        ``(GRID, GRID)`` bool.
    """
    kspace = crop_readout(torch.from_numpy(volume.kspace[len(volume.kspace) // 2]), volume.crop[0])
    centre = centre_crop(kspace, (min(GRID, kspace.shape[-2]), min(GRID, kspace.shape[-1])))
    images, virtual = ifft2c(centre), virtual_images(centre)
    whole = rss(images)
    raw = relative_sensitivities(images)
    order = images.abs().square().sum((-2, -1)).argsort(descending=True)
    profiles = {
        "raw": raw[:count],
        "sorted": raw[order[:count]],
        "virtual": relative_sensitivities(virtual)[:count],
    }
    return profiles, whole > 0.15 * whole.max()


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson correlation of two sets of values; 0 where one of them does not vary."""
    a, b = a - a.mean(), b - b.mean()
    norm = (a.norm() * b.norm()).item()
    return float((a * b).sum() / norm) if norm > 0 else 0.0


def likeness(paths: Sequence[Path], count: int = 4) -> pd.DataFrame:
    """How alike the k-th coils of different scans are: figure 5 of Chen 2022 as a number.

    The sensitivities of coil k in two scans are correlated over the points where both have signal;
    a scan's value is the mean over all scans whose array has another number of coils (over all
    others, if every array has the same). Scans of fewer than ``count`` coils are left out.

    Returns
    -------
    pd.DataFrame
        Columns as for `score_compression`; metrics ``likeness_1`` to ``likeness_<count>`` and their
        mean, ``likeness``, of the methods ``raw``, ``sorted`` and ``virtual``, and of ``half``,
        the level `ALIKE` to hold them against. Empty with fewer than two scans.
    """
    scans = []
    for path in paths:
        volume = read_volume(path)
        if volume.kspace.shape[1] >= count:
            scans.append((volume.name, volume.contrast, volume.kspace.shape[1]))
            scans[-1] += profiles_of(volume, count)
    rows = []
    for name, contrast, coils, mine, inside in scans:
        others = [scan for scan in scans if scan[2] != coils]
        others = others or [scan for scan in scans if scan[0] != name]
        for method, maps in mine.items():
            found = {}
            for k in range(count if others else 0):
                pairs = [(scan[3][method][k], inside & scan[4]) for scan in others]
                found[f"likeness_{k + 1}"] = float(
                    np.mean([correlation(maps[k][both], other[both]) for other, both in pairs])
                )
            if found:
                found["likeness"] = float(np.mean(list(found.values())))
            about = {"volume": name, "contrast": CONTRASTS.get(contrast, contrast), "coils": coils}
            about |= {"effective_accel": 1.0, "method": method, "region": "body"}
            rows += [{**about, "metric": m, "value": v} for m, v in found.items()]
        if others:
            rows.append({**about, "method": "half", "metric": "likeness", "value": ALIKE})
    return pd.DataFrame(rows)


def virtual_maps(volume: Volume, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes of the first virtual coils of the middle slice, and their sensitivities.

    Returns
    -------
    images, maps : np.ndarray
        ``(count, height, width)``; the maps are those of `profiles_of`, enlarged, and 0 outside
        the body (`body_mask`, its holes filled: coils see anatomy that gives no signal too).
    """
    middle = len(volume.kspace) // 2
    kspace = crop_readout(torch.from_numpy(volume.kspace[middle]), volume.crop[0])
    images = virtual_images(kspace)[:count].abs()
    size = tuple(min(a, b) for a, b in zip(volume.crop, kspace.shape[-2:], strict=True))
    maps = enlarge(profiles_of(volume, count)[0]["virtual"], tuple(kspace.shape[-2:]))
    body = binary_fill_holes(body_mask(volume, middle, size))
    return centre_crop(images, size).numpy(), centre_crop(maps, size).numpy() * body


def score_measured(
    folder: Path | str, files: Mapping[str, str], counts: Sequence[int]
) -> pd.DataFrame:
    """Scores of compression on measured k-space in ``.npz`` files; a missing file is said aloud.

    Parameters
    ----------
    folder : Path
        Seen from the checkout where it is relative.
    files : mapping
        By label, the name of a file that holds ``kspace``, ``(coils, height, width)``, centred; it
        may be undersampled, the missing samples zero.
    counts : sequence of int
        Of virtual coils; beside those below a file's own number of coils, that number itself.

    Returns
    -------
    pd.DataFrame
        PSNR, SSIM and NMSE by file and number of coils.
    """
    lines = {}
    for label, name in files.items():
        path = project_root() / Path(folder).expanduser() / name
        if not path.is_file():
            print(f"skipped: {name} is not at hand")
            continue
        with np.load(path) as stored:
            kspace = torch.from_numpy(stored["kspace"].astype(np.complex64))
        target = rss(ifft2c(kspace)).numpy()[None]
        useful = [count for count in counts if count < len(kspace)]
        for count, image in compressed(kspace, [*useful, len(kspace)]).items():
            found = score(image.numpy()[None], target)
            found["psnr"] = min(found["psnr"], LOSSLESS)
            lines[label, count] = {metric: found[metric] for metric in ("psnr", "ssim", "nmse")}
    return pd.DataFrame(lines, index=["psnr", "ssim", "nmse"]).T
