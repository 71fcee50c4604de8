"""Compressed sensing by BART's ``pics``, which Chen 2022 compares with, where BART is installed.

The paper's command is ``pics -i 200 -R T:7:0:0.05``: total variation, 200 iterations of ADMM.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.classical.bart import read_cfl, write_cfl
from recon.data.measurement import Measurement
from recon.physics.fourier import to_centred

PRIORS = {"tv": "T:7:0:{}", "wavelet": "W:3:0:{}"}


def pics(
    measurement: Measurement, regularisation: float, prior: str = "tv", iterations: int = 200
) -> Tensor:
    """Reconstruct one slice.

    Parameters
    ----------
    measurement : Measurement
        One slice, with maps of its coils.
    regularisation : float
        Relative to the mean of the zero-filled image; BART's own scaling is switched off.
    prior : {"tv", "wavelet"}
        Total variation (ADMM), or wavelets at a random shift in each iteration (FISTA).
    iterations : int
        Of the solver.

    Returns
    -------
    Tensor
        ``(1, height, width)`` complex: the image.

    Raises
    ------
    ValueError
        For an unknown prior, and a measurement without maps.
    RuntimeError
        With BART's own words, when it fails.
    """
    import subprocess

    if prior not in PRIORS:
        raise ValueError(f"prior is {prior!r}; choose {' or '.join(PRIORS)}")
    if measurement.sensitivities is None:
        raise ValueError(f"{measurement.name}: pics needs maps of the coils")
    with tempfile.TemporaryDirectory(prefix="recon-bart-") as folder:
        # BART takes for measured what is not exactly zero, so rounding must not fill the gaps.
        mask = torch.fft.fftshift(measurement.mask.flatten())
        centred = {
            "kspace": torch.where(mask, to_centred(measurement.kspace), 0),
            "sensitivities": measurement.sensitivities,
        }
        for name, array in centred.items():
            write_cfl(Path(folder) / name, np.moveaxis(array.numpy(), 0, -1)[:, :, None, :])
        regulariser = PRIORS[prior].format(regularisation)
        command = ["bart", "pics", "-w", "1", "-i", str(iterations), "-R", regulariser]
        command += [str(Path(folder) / name) for name in ("kspace", "sensitivities", "out")]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:7])}: {done.stderr.strip() or done.stdout}")
        image = read_cfl(Path(folder) / "out").squeeze()
    return torch.from_numpy(image)[None]
