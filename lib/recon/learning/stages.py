"""What the modules of a pyramid do to k-space: energies of their outputs by rings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from recon.data.fastmri import Volume, read_volume
from recon.data.measurement import (
    Sampling,
    acquired_columns,
    calibration_size,
    draw_mask,
    measure,
    seed_of,
)
from recon.errors import InputError
from recon.learning.metrics import CONTRASTS
from recon.networks.pcrnn import PCRNN
from recon.physics.fourier import fft2
from recon.physics.sampling import effective_acceleration, restrict
from recon.results.spectra import ring_centres, ring_sums

__all__ = ["missing_kspace", "stage_spectra"]

ENERGIES = ("target", "error", "change", "power", "cross", "before_power", "before_cross")


def missing_kspace(
    volume: Volume, index: int, mask: Tensor, virtual_coils: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """One slice as measured, beside its fully sampled k-space in the same coils and units.

    Returns
    -------
    kspace : Tensor
        ``(coils, height, width)`` complex, zero where it was not measured, corner layout.
    mask : Tensor
        ``(1, 1, width)`` bool.
    full : Tensor
        ``(coils, height, width)`` complex: what the scan held before columns were left out.
    missing : Tensor
        ``(1, 1, width)`` bool: columns that the full scan acquired and the mask left out.
    scale : float
        Factor to the file's units.
    """
    acquired = restrict(torch.ones_like(mask), volume.padding)
    # One region for both gives the same virtual coils: all of the centre, as in `residuals`.
    size = max(1, calibration_size(mask, min(volume.kspace.shape[-2], volume.crop[0])))
    part = measure(volume, index, mask, virtual_coils, size)
    whole = measure(volume, index, acquired, virtual_coils, size)
    full = whole.kspace * (whole.scale / part.scale)
    return part.kspace, part.mask, full, whole.mask & ~part.mask, float(part.scale)


@torch.inference_mode()
def stage_spectra(
    networks: Mapping[str, PCRNN],
    paths: Sequence[Path],
    plan: Sampling,
    virtual_coils: int,
    seed: int = 0,
    device: str = "cpu",
    rings: int = 16,
) -> pd.DataFrame:
    """Energies, by rings, of what every stage of every network holds where nothing was measured.

    Data consistency makes the measured samples exact in every stage, so only missing samples tell
    stages apart. A module's change is its output minus its own input: the module before it, or the
    zero-filled image for the first and for all that work in parallel.

    Parameters
    ----------
    networks : mapping
        Trained networks by name.
    paths : sequence of Path
        Fully sampled volumes; masks are those of `recon.learning.metrics.evaluate_methods`.
    plan, virtual_coils, seed, device
        As there.
    rings : int
        See `recon.results.spectra.rings_of`; the corners are left out.

    Returns
    -------
    pd.DataFrame
        A line for each volume, network, stage (1, 2, ...; 0 for the final image) and ring that has
        missing samples: ``volume, contrast, effective_accel, network, stage, ring, frequency,
        target, error, change, power, cross, before_power, before_cross``, the last seven in squared
        units of the file: energies of the missing samples, of the stage's error and of its change;
        energy of its output and real inner product with the missing samples; both of its input.

    Raises
    ------
    InputError
        When a file is undersampled itself.
    """
    lines = []
    for path in tqdm(paths, desc="spectra", mininterval=2):
        volume = read_volume(path)
        if volume.mask is not None:
            raise InputError(f"{path.name} is undersampled itself: its missing columns are unknown")
        mask = draw_mask(volume, plan, seed_of(seed, volume.name))
        sums: dict[tuple[str, int], torch.Tensor] = {}
        target = 0
        for index in range(len(volume.kspace)):
            kspace, known, full, missing, scale = missing_kspace(volume, index, mask, virtual_coils)
            target = target + scale**2 * _rings(_energy(full), missing, rings)
            inputs = [tensor[None].to(device) for tensor in (kspace, known)]
            for name, network in networks.items():
                for stage, parts in _stages(network, *inputs, full).items():
                    found = [scale**2 * _rings(part, missing, rings) for part in parts]
                    sums[name, stage] = sums.get((name, stage), 0) + torch.stack(found)
        about = {
            "volume": f"{volume.name}#0",
            "contrast": CONTRASTS.get(volume.contrast, volume.contrast),
            "effective_accel": effective_acceleration(mask, acquired_columns(volume)),
        }
        for (name, stage), energies in sums.items():
            for ring, frequency in enumerate(ring_centres(rings)):
                if target[ring] > 0:
                    place = {"network": name, "stage": stage, "ring": ring, "frequency": frequency}
                    values = [float(energy[ring]) for energy in (target, *energies)]
                    lines.append({**about, **place, **dict(zip(ENERGIES, values, strict=True))})
    return pd.DataFrame(lines)


def _rings(values: Tensor, missing: Tensor, rings: int) -> Tensor:
    """Sums of ``(coils, height, width)`` real values on the missing samples, by ring."""
    return torch.from_numpy(ring_sums(values.double().numpy(), rings, missing.numpy()))


def _energy(kspace: Tensor) -> Tensor:
    return kspace.abs().square()


def _stages(network: PCRNN, kspace: Tensor, mask: Tensor, full: Tensor) -> dict:
    """What `ENERGIES` names after the target, for every sample and stage, the final image last."""
    *modules, final = (fft2(output)[0].cpu() for output in network.stages(kspace, mask))
    start = kspace[0].cpu()
    sequential = network.connection == "sequential"
    befores = [start, *modules[:-1]] if sequential else [start] * len(modules)
    pairs = [*enumerate(zip(modules, befores, strict=True), start=1), (0, (final, modules[-1]))]
    found = {}
    for stage, (output, before) in pairs:
        found[stage] = [_energy(output - full), _energy(output - before)]
        for image in (output, before):
            found[stage] += [_energy(image), (image * full.conj()).real]
    return found
