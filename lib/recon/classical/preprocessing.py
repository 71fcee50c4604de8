"""Compressing coils against mapping them: the same k-space, several programs."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recon.classical import bart
from recon.data.manifest import load_manifest
from recon.data.simulate import generate, plan_volume
from recon.physics.coils import compress, compression_matrix, enlarge, espirit_maps, rss
from recon.physics.fourier import centre_crop, crop_readout, ifft2, ifft2c, to_corner

CALIBRATION = 24
LABELS = {
    "compression": "compression, this book",
    "compression_bart": "compression, BART cc",
    "maps": "maps, BART ecalib -m1 -r26",
    "maps_sigpy": "maps, sigpy EspiritCalib",
    "maps_coarse": "coarse maps, this book",
    "fft_all": "Fourier transform, all coils",
    "fft_virtual": "Fourier transform, virtual coils",
}


def head(coils: int, size: int) -> Tensor:
    """Centred k-space ``(coils, size, size)`` of one slice of a simulated head."""
    manifest = load_manifest("simulated_brain")
    sizes = manifest.profiles["paper"]
    pixel = sizes["pixel_mm"] * sizes["crop"][0] / size
    shape = {"matrix": [2 * size, size], "crop": [size, size], "pixel_mm": pixel}
    one = {**shape, "coils": [coils, coils], "val": {"volumes": 1, "slices": 1}}
    manifest = replace(manifest, profiles={"quick": one})
    volume = generate(
        manifest, "quick", "val", plan_volume(manifest, "quick", "val", 0), "multicoil"
    )
    return crop_readout(torch.from_numpy(volume.kspace[0]), size)


def matrix_of(kspace: Tensor, virtual_coils: int) -> Tensor:
    """Compression matrix ``(coils, virtual_coils)`` from the calibration centre."""
    return compression_matrix(centre_crop(kspace, (CALIBRATION, CALIBRATION)), virtual_coils)


def coarse_maps(kspace: Tensor, grid: int = 32) -> Tensor:
    """ESPIRiT on the central ``grid`` x ``grid`` samples, enlarged as in `recon.data.maps`."""
    maps = espirit_maps(to_corner(centre_crop(kspace, (grid, grid))), CALIBRATION, crop=0)
    return enlarge(maps, tuple(kspace.shape[-2:]))


def runs(
    kspace: Tensor, virtual_coils: int, sigpy: bool = True
) -> tuple[dict[str, Callable[[], object]], list[str]]:
    """What is timed, by its name in `LABELS`, and in words what is left out.

    Parameters
    ----------
    kspace : Tensor
        ``(coils, height, width)`` complex, centred.
    virtual_coils : int
    sigpy : bool
        Whether to map the coils on the full grid by sigpy too, some 20 s a run at 320 x 320.
    """
    corner = to_corner(kspace)
    virtual = compress(corner, matrix_of(kspace, virtual_coils))
    found: dict[str, Callable[[], object]] = {
        "compression": lambda: compress(kspace, matrix_of(kspace, virtual_coils)),
        "maps_coarse": lambda: coarse_maps(kspace),
        "fft_all": lambda: ifft2(corner),
        "fft_virtual": lambda: ifft2(virtual),
    }
    left_out = []
    if bart.available():
        program = bart.Bart(kspace.numpy())
        compressing = ("cc", f"-p{virtual_coils}", f"-r{CALIBRATION}", "-S")
        found["compression_bart"] = lambda: program.run(*compressing)
        found["maps"] = lambda: program.run("ecalib", "-m1", "-r26")
    else:
        left_out.append("BART: left out, it is not installed on this machine")
    if sigpy:
        found["maps_sigpy"] = lambda: espirit_maps(corner, CALIBRATION)
    else:
        left_out.append(
            "sigpy on the full grid: left out of the quick profile, which it would fill"
        )
    return {name: found[name] for name in LABELS if name in found}, left_out


def against_bart(kspace: Tensor, virtual_coils: int) -> float:
    """Largest difference of the RSS images of our compression and BART's, over the maximum."""
    ours = rss(ifft2c(compress(kspace, matrix_of(kspace, virtual_coils))))
    program = bart.Bart(kspace.numpy())
    program.run("cc", f"-p{virtual_coils}", f"-r{CALIBRATION}", "-S")
    theirs = rss(ifft2c(torch.from_numpy(np.ascontiguousarray(program.result()))))
    return float((ours - theirs).abs().max() / ours.max())
