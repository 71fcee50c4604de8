"""How good a reconstruction is: the protocol of fastMRI, and the paper's mask.

Scores are per volume: PSNR and SSIM take the maximum of the whole target volume as their data
range, NMSE runs over the whole volume, and SSIM is the mean over slices (7 x 7 uniform window).
Chen 2022 (section IV-B) multiplies reconstruction and target by a mask of the body first; both
regions are reported here, ``body`` and ``full``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastmri import evaluate
from torch import Tensor
from tqdm import tqdm

from recon.data.fastmri import Volume, read_volume
from recon.data.maps import coil_maps
from recon.data.measurement import (
    Measurement,
    Sampling,
    acquired_columns,
    draw_mask,
    measure,
    seed_of,
    steady_calibration_size,
)
from recon.data.samples import collate
from recon.learning.losses import combine
from recon.learning.threads import free_threads
from recon.physics.coils import compress, compression_matrix, espirit_maps, rss
from recon.physics.fourier import centre_crop, crop_readout, to_corner
from recon.physics.sampling import effective_acceleration

METRICS = ("psnr", "ssim", "nmse", "sharpness")

# fastMRI's names of acquisitions, as tables print them.
CONTRASTS = {
    "CORPD_FBK": "PD",
    "CORPDFS_FBK": "PDFS",
    "AXT1": "T1",
    "AXT1PRE": "T1",
    "AXT1POST": "T1POST",
    "AXT2": "T2",
    "AXFLAIR": "FLAIR",
}


def score(image: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """PSNR (dB), SSIM, NMSE and relative sharpness of one volume ``(slices, height, width)``.

    Sharpness is the mean gradient magnitude over the target's: below 1 is blurred, above 1 holds
    detail (or noise, or artefact) that the target has not.
    """
    maximum = float(target.max()) or 1.0
    detail = [np.hypot(*np.gradient(volume, axis=(1, 2))).mean() for volume in (image, target)]
    return {
        "psnr": float(evaluate.psnr(target, image, maximum)),
        "ssim": float(np.squeeze(evaluate.ssim(target, image, maximum))),
        "nmse": float(evaluate.nmse(target, image)),
        "sharpness": float(detail[0] / (detail[1] or 1.0)),
    }


def body_mask(volume: Volume, index: int, size: tuple[int, int]) -> np.ndarray:
    """Where there is a body: thresholded RSS of ESPIRiT maps (section IV-B).

    The maps are as smooth as the coils, so they are computed on a grid of at most 64 x 64 from the
    centre of the fully sampled k-space (8 virtual coils) and the mask is enlarged to the target.

    Parameters
    ----------
    volume : Volume
        Fully sampled. With a single coil there is no map: the mask is all true.
    index : int
        Slice.
    size : (int, int)
        Height and width of the target.

    Returns
    -------
    np.ndarray
        ``size`` bool.
    """
    kspace = crop_readout(torch.from_numpy(volume.kspace[index]), volume.crop[0])
    coils, height, width = kspace.shape
    if coils == 1:
        return np.ones(size, dtype=bool)
    grid = (min(64, height), min(64, width))
    centre = centre_crop(kspace, grid)
    calibration = centre_crop(kspace, (min(24, height), min(24, width)))
    virtual = compress(centre, compression_matrix(calibration, min(8, coils)))
    inside = rss(espirit_maps(to_corner(virtual), min(24, *grid), crop=0.9)) > 0.5
    enlarged = torch.nn.functional.interpolate(
        inside[None, None].float(), size=(height, width), mode="bilinear"
    )
    return (centre_crop(enlarged[0, 0], size) > 0.5).numpy()


Method = Callable[[Measurement], Tensor]


def scan_of(name: str) -> tuple[str, int]:
    """Volume and number of the mask in a name like ``file1000000#2``."""
    stem, _, draw = name.rpartition("#")
    return stem, int(draw)


def draw_seed(seed: int, name: str) -> int:
    """Seed of the mask of a scan named as in `scan_of`; that of the first mask is ``seed``."""
    draw = scan_of(name)[1]
    return seed_of(seed, "draw", draw) if draw else seed


def distinct_draws(volume: Volume, plan: Sampling, seed: int, draws: int) -> list[int]:
    """Numbers of those of the first ``draws`` masks of a volume that repeat no earlier one.

    An equispaced mask of few columns has only a handful of offsets; scored twice, one of them would
    count as two observations.
    """
    numbers: dict[bytes, int] = {}
    for number in range(draws):
        own = seed_of(draw_seed(seed, f"{volume.name}#{number}"), volume.name)
        numbers.setdefault(draw_mask(volume, plan, own).numpy().tobytes(), number)
    return list(numbers.values())


def mask_and_calibration(volume: Volume, plan: Sampling, seed: int) -> tuple[Tensor, int]:
    """A volume's mask ``(width,)``, centred, and the side of the centre that calibrates its coils.

    Columns that joined the centre by chance do not calibrate here, whatever the methods are, so a
    method's score does not depend on which others take part, and networks learn from measurements
    calibrated alike (`recon.data.samples.measure_slice`).
    """
    mask = draw_mask(volume, plan, seed_of(seed, volume.name))
    return mask, steady_calibration_size(volume, plan, mask)


@torch.inference_mode()
def reconstruct(
    methods: dict[str, Method],
    volume: Volume,
    plan: Sampling,
    virtual_coils: int,
    seed: int = 0,
    device: str = "cpu",
    batch_size: int = 4,
    maps_of: Path | None = None,
) -> tuple[dict[str, np.ndarray], np.ndarray, float]:
    """Reconstruct one volume with several methods, all from the same measurement.

    With ``maps_of``, the volume's file, every measurement holds sensitivity maps.

    Returns
    -------
    images : dict
        Method name to ``(slices, h, w)`` float32, in the file's units.
    target : np.ndarray
        ``(slices, h, w)`` float32.
    effective : float
        Acceleration over acquired columns.
    """
    mask, size = mask_and_calibration(volume, plan, seed)
    slices = []
    for i in range(len(volume.kspace)):
        maps = coil_maps(maps_of, i, virtual_coils, size) if maps_of else None
        slices.append(measure(volume, i, mask, virtual_coils, size, maps))
    images: dict[str, list[Tensor]] = {name: [] for name in methods}
    for first in range(0, len(slices), batch_size):
        batch = collate(slices[first : first + batch_size]).to(torch.device(device))
        scale = batch.scale.reshape(-1, 1, 1)
        for name, method in methods.items():
            output = combine(method(batch), batch.target.shape[-2:])
            images[name].append((output * scale).float().cpu())
    target = torch.stack([item.target * item.scale for item in slices])
    effective = effective_acceleration(mask, acquired_columns(volume))
    return {k: torch.cat(v).numpy() for k, v in images.items()}, target.numpy(), effective


@free_threads()
def evaluate_methods(
    methods: dict[str, Method],
    paths: Sequence[Path],
    plan: Sampling,
    virtual_coils: int,
    seed: int = 0,
    device: str = "cpu",
    draws: int = 1,
    maps: bool = False,
) -> pd.DataFrame:
    """Score every method on every volume; with ``maps`` measurements hold sensitivity maps.

    With ``draws`` above 1 every volume is undersampled that many times, with masks of their own
    (those that repeat an earlier one are left out): what varies is then the mask, not the body, and
    intervals say no more than that.

    Returns
    -------
    pd.DataFrame
        One row per volume, method, metric and region: ``volume, patient, contrast,
        effective_accel, method, metric, region, value``.
    """
    rows = []
    by_name = {path.stem: path for path in paths}
    names = []
    for path in paths:
        numbers = distinct_draws(read_volume(path, slice(0, 1)), plan, seed, draws)
        names += [f"{path.stem}#{number}" for number in numbers]
    for name in tqdm(names, desc="evaluating", mininterval=2):
        path = by_name[scan_of(name)[0]]
        volume, masks = read_volume(path), draw_seed(seed, name)
        images, target, effective = reconstruct(
            methods, volume, plan, virtual_coils, masks, device, maps_of=path if maps else None
        )
        body = np.stack([body_mask(volume, i, target.shape[1:]) for i in range(len(target))])
        for region, mask in (("body", body), ("full", np.ones_like(body))):
            for method, image in images.items():
                for metric, value in score(image * mask, target * mask).items():
                    rows.append(
                        {
                            "volume": name,
                            "patient": str(volume.attributes.get("patient_id") or path.stem),
                            "contrast": CONTRASTS.get(volume.contrast, volume.contrast),
                            "effective_accel": effective,
                            "method": method,
                            "metric": metric,
                            "region": region,
                            "value": value,
                        }
                    )
    return pd.DataFrame(rows)
