"""How far a reconstruction contradicts what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from recon.data.fastmri import read_volume
from recon.data.measurement import Sampling, acquired_columns, draw_mask, measure, seed_of
from recon.data.samples import collate
from recon.learning.metrics import CONTRASTS, Method
from recon.physics.fourier import fft2
from recon.physics.sampling import effective_acceleration

__all__ = ["residuals"]


@torch.inference_mode()
def residuals(
    methods: Mapping[str, Method],
    paths: Sequence[Path],
    plan: Sampling,
    virtual_coils: int,
    seed: int = 0,
    device: str = "cpu",
) -> pd.DataFrame:
    """Relative error of each method on the measured samples, ``|D F x - y| / |y|``, by volume.

    Parameters
    ----------
    methods, paths, plan, virtual_coils, seed, device
        As for `recon.learning.metrics.evaluate_methods`, and with the same masks; virtual coils
        are calibrated on all of the centre, columns that joined it by chance among them.

    Returns
    -------
    pd.DataFrame
        One row per volume and method, in the form of `evaluate_methods`; metric ``residual``.
    """
    rows = []
    for path in tqdm(paths, desc="residuals", mininterval=2):
        volume = read_volume(path)
        mask = draw_mask(volume, plan, seed_of(seed, volume.name))
        slices = [measure(volume, i, mask, virtual_coils) for i in range(len(volume.kspace))]
        error, energy = dict.fromkeys(methods, 0.0), 0.0
        for item in slices:
            batch = collate([item]).to(torch.device(device))
            weight = float(item.scale) ** 2
            energy += weight * float(batch.kspace.abs().square().sum())
            for name, method in methods.items():
                wrong = torch.where(batch.mask, fft2(method(batch)) - batch.kspace, 0)
                error[name] += weight * float(wrong.abs().square().sum())
        for name in methods:
            rows.append(
                {
                    "volume": f"{volume.name}#0",
                    "contrast": CONTRASTS.get(volume.contrast, volume.contrast),
                    "effective_accel": effective_acceleration(mask, acquired_columns(volume)),
                    "method": name,
                    "metric": "residual",
                    "region": "full",
                    "value": (error[name] / energy) ** 0.5 if energy else 0.0,
                }
            )
    return pd.DataFrame(rows)
