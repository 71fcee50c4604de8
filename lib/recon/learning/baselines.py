"""Compressed sensing beside networks: tuned on their training volumes, with no maps on file."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from recon.classical import compressed_sensing
from recon.data.measurement import Measurement, Sampling
from recon.data.samples import Slices
from recon.errors import InputError

__all__ = ["tuned_compressed_sensing"]


def tuned_compressed_sensing(
    files: Sequence[Path], plan: Sampling, virtual_coils: int, seed: int = 0
) -> tuple[Callable[[Measurement], Tensor], dict[float, float]]:
    """Compressed sensing at the strength that is best on training slices, without maps on file.

    A single coil has the map 1; the maps of several are found in the centre of each measurement.

    Returns
    -------
    method : callable
        Batch, with maps or without, to coil images.
    errors : dict
        Mean normalised squared error of every strength tried.

    Raises
    ------
    InputError
        When the centre of the measurements is too small to find several coils.
    """
    try:
        return compressed_sensing.tuned(Slices(files, plan, virtual_coils, seed))
    except ValueError as error:
        raise InputError(f"compressed sensing: {error}") from None
