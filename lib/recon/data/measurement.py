"""From a slice in a file to the measurement that a network sees.

The order is the scanner's: readout oversampling is removed (that direction is fully sampled),
columns are left out, virtual coils are formed from the centre that was measured, and the result is
scaled by the mean of the zero-filled image. Nothing of what was left out leaks into the input.
"""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recon.data.fastmri import Volume
from recon.errors import InputError
from recon.physics import coils as coil
from recon.physics import sampling
from recon.physics.fourier import centre_crop, crop_readout, fft2, ifft2, ifft2c, to_corner

TENSORS = ("kspace", "mask", "target", "scale", "sensitivities")


@dataclass(frozen=True)
class Sampling:
    """How columns are left out: see `recon.physics.sampling.make_mask`."""

    accel: float
    center_fraction: float
    mask_type: str


@dataclass
class Measurement:
    """One undersampled slice, in the corner layout, in units of its own zero-filled mean.

    Attributes
    ----------
    kspace : Tensor
        ``(..., coils, height, width)`` complex64, zero where it was not measured.
    mask : Tensor
        ``(..., 1, 1, width)`` bool.
    target : Tensor
        ``(..., crop height, crop width)`` float32: RSS of all coils, fully sampled.
    scale : Tensor
        ``(...,)`` float32; multiply an image by it to return to the file's units.
    name : str or list of str
        Volume that the slice came from.
    sensitivities : Tensor or None
        ``(..., coils, height, width)`` complex64 maps, where they were asked for.
    """

    kspace: Tensor
    mask: Tensor
    target: Tensor
    scale: Tensor
    name: str | list[str]
    sensitivities: Tensor | None = None

    @property
    def image(self) -> Tensor:
        """The zero-filled coil images ``(..., coils, height, width)`` complex."""
        return ifft2(self.kspace)

    def to(self, device: torch.device) -> "Measurement":
        """The same measurement on another device."""
        return replace(self, **{key: value.to(device) for key, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """The attributes that are tensors, by name; maps only where there are any."""
        values = {key: getattr(self, key) for key in TENSORS}
        return {key: value for key, value in values.items() if value is not None}


def seed_of(*parts: object) -> int:
    """A 32-bit seed from any printable parts, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def draw_mask(volume: Volume, plan: Sampling, seed: int) -> Tensor:
    """The centred mask ``(width,)`` for a volume: the file's own, or one drawn from ``plan``.

    Raises
    ------
    InputError
        When the plan cannot be drawn, or leaves no column at all.
    """
    width = volume.kspace.shape[-1]
    if volume.mask is not None:
        mask = torch.as_tensor(volume.mask).bool()
    else:
        try:
            mask = sampling.make_mask(width, plan.accel, plan.center_fraction, plan.mask_type, seed)
        except ValueError as error:
            raise InputError(f"{volume.name}: {error}") from None
    mask = sampling.restrict(mask, volume.padding)
    if not mask.any():
        raise InputError(
            f"{volume.name}: the mask keeps none of the {width} columns; lower accel or raise "
            "center_fraction"
        )
    return mask


def acquired_columns(volume: Volume) -> int:
    """Columns of k-space that the full scan acquired (the padding left out)."""
    return volume.kspace.shape[-1] - sum(volume.padding)


def calibration_size(mask: Tensor, height: int) -> int:
    """Side of the square centre that calibrates coils: what is fully sampled, 24 at most."""
    return min(sampling.calibration_width(mask), height, 24)


def steady_calibration_size(volume: Volume, plan: Sampling, mask: Tensor) -> int:
    """The same, without the columns that joined the centre by chance: alike for most draws.

    Maps that were computed once then serve every mask of a volume.
    """
    size = calibration_size(mask, min(volume.kspace.shape[-2], volume.crop[0]))
    if volume.mask is not None:
        return size
    return max(1, min(size, round(volume.kspace.shape[-1] * plan.center_fraction)))


def calibration_region(kspace: Tensor, size: int) -> Tensor:
    """The central ``size`` x ``size`` samples of centred k-space ``(..., H, W)``."""
    return centre_crop(kspace, (min(size, kspace.shape[-2]), size))


def measure(
    volume: Volume,
    index: int,
    mask: Tensor,
    virtual_coils: int = 0,
    calibration: int = 0,
    sensitivities: Tensor | None = None,
) -> Measurement:
    """Undersample one slice.

    Parameters
    ----------
    volume : Volume
        From `recon.data.fastmri.read_volume`.
    index : int
        Slice within the volume.
    mask : Tensor
        ``(width,)`` bool, centred.
    virtual_coils : int
        Compress to this number (section III-E of Chen 2022); 0 keeps the coils as they are.
    calibration : int
        Side of the centre that the compression is computed from. 0 takes all that is sampled,
        with columns that joined the centre by chance; training and scores leave those out
        (`steady_calibration_size`).
    sensitivities : Tensor, optional
        Maps of the (virtual) coils, from `recon.data.maps.coil_maps`.

    Returns
    -------
    Measurement
    """
    kspace = crop_readout(torch.from_numpy(volume.kspace[index]), volume.crop[0])
    crop = (min(volume.crop[0], kspace.shape[-2]), min(volume.crop[1], kspace.shape[-1]))
    measured = kspace * mask
    if volume.mask is None:
        target = centre_crop(coil.rss(ifft2c(kspace)), crop)
    elif volume.target is not None:
        target = centre_crop(torch.from_numpy(volume.target[index]), crop)
    else:
        target = torch.zeros(crop)
    if virtual_coils:
        size = calibration or max(1, calibration_size(mask, kspace.shape[-2]))
        matrix = coil.compression_matrix(calibration_region(measured, size), virtual_coils)
        measured = coil.compress(measured, matrix)
    corner = to_corner(measured)
    scale = coil.rss(ifft2(corner)).mean()
    # An empty slice stays what it is: zero over one, not zero over zero.
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return Measurement(
        kspace=torch.where(torch.fft.ifftshift(mask), corner / scale, 0),
        mask=torch.fft.ifftshift(mask).reshape(1, 1, -1),
        target=(target / scale).float(),
        scale=scale,
        name=volume.name,
        sensitivities=sensitivities,
    )


def cut_band(item: Measurement, rows: int, seed: int) -> Measurement:
    """A band of rows of a measurement: a smaller problem of exactly the same kind.

    The readout (height) is fully sampled, so any rows of the image, transformed again, are a valid
    measurement with the same mask; columns could not be cut. Bands are drawn where there is
    signal: the row at their middle is chosen with a probability in proportion to its energy.

    Parameters
    ----------
    item : Measurement
        One slice, whose target has as many rows as its k-space.
    rows : int
        Height of the band; an item that is not higher comes back as it is.
    seed : int
        Of the band's place.
    """
    height = item.kspace.shape[-2]
    if not 0 < rows < height or item.target.shape[-2] != height:
        return item
    energy = item.target.square().sum(-1) + 1e-6
    generator = torch.Generator().manual_seed(seed)
    middle = int(torch.multinomial(energy, 1, generator=generator))
    top = min(max(middle - rows // 2, 0), height - rows)
    band = (..., slice(top, top + rows), slice(None))
    return replace(
        item,
        kspace=torch.where(item.mask, fft2(item.image[band]), 0),
        target=item.target[band],
        sensitivities=None if item.sensitivities is None else item.sensitivities[band],
    )
