"""From a slice in a file to the measurement that a network sees.

The order is the scanner's: readout oversampling is removed (that direction is fully sampled),
columns are left out, virtual coils are formed from the centre that was measured, and the result is
scaled by the mean of the zero-filled image. Nothing of what was left out leaks into the input.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from recon.data.fastmri import Volume, read_volume, volume_shape
from recon.errors import InputError
from recon.physics import coils as coil
from recon.physics import sampling
from recon.physics.fourier import centre_crop, crop_readout, fft2, ifft2, ifft2c, to_corner

TENSORS = ("kspace", "mask", "target", "scale")


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
    """

    kspace: Tensor
    mask: Tensor
    target: Tensor
    scale: Tensor
    name: str | list[str]

    @property
    def image(self) -> Tensor:
        """The zero-filled coil images ``(..., coils, height, width)`` complex."""
        return ifft2(self.kspace)

    def to(self, device: torch.device) -> "Measurement":
        """The same measurement on another device."""
        moved = {
            key: getattr(self, key).to(device) for key in ("kspace", "mask", "target", "scale")
        }
        return replace(self, **moved)


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


def calibration_region(kspace: Tensor, size: int) -> Tensor:
    """The central ``size`` x ``size`` samples of centred k-space ``(..., H, W)``."""
    return centre_crop(kspace, (min(size, kspace.shape[-2]), size))


def measure(volume: Volume, index: int, mask: Tensor, virtual_coils: int = 0) -> Measurement:
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
        size = max(1, calibration_size(mask, kspace.shape[-2]))
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
    kspace = fft2(item.image[..., top : top + rows, :])
    return replace(
        item,
        kspace=torch.where(item.mask, kspace, 0),
        target=item.target[..., top : top + rows, :],
    )


class Slices(Dataset):
    """Every slice of a list of files, as measurements.

    Parameters
    ----------
    paths : sequence of Path
        fastMRI-format files.
    plan : Sampling
        Masks to draw where a file has none of its own.
    virtual_coils : int
        See `measure`.
    seed : int
        Seed of the masks. An item ``(index, epoch)`` has a mask of its own in every epoch; a plain
        index has its volume's mask, the same for all its slices, as in validation.
    rows : int
        Items with an epoch are cut to a random band of this many rows (`cut_band`); 0 keeps all.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        plan: Sampling,
        virtual_coils: int,
        seed: int = 0,
        rows: int = 0,
    ):
        self.plan, self.virtual_coils, self.seed, self.rows = plan, virtual_coils, seed, rows
        self.items: list[tuple[Path, int]] = []
        self.shapes: list[tuple[int, ...]] = []
        for path in paths:
            slices, coils, height, width = volume_shape(path)
            crop = read_volume(path, slice(0, 1)).crop
            self.items += [(path, i) for i in range(slices)]
            self.shapes += [(virtual_coils or coils, min(height, crop[0]), width, *crop)] * slices

    def __len__(self) -> int:
        return len(self.items)

    def channels(self) -> int:
        """Coils of every measurement.

        Raises
        ------
        InputError
            When the files have different numbers of coils and none was asked for.
        """
        counts = sorted({shape[0] for shape in self.shapes})
        if len(counts) != 1:
            raise InputError(
                f"the volumes have {', '.join(map(str, counts))} coils, and a network takes one "
                "number; pass coils (4, say) to compress them all to that many"
            )
        return counts[0]

    def __getitem__(self, key: int | tuple[int, int]) -> Measurement:
        index, epoch = key if isinstance(key, tuple) else (key, None)
        path, number = self.items[index]
        volume = read_volume(path, slice(number, number + 1))
        parts = (path.stem,) if epoch is None else (path.stem, number, epoch)
        mask = draw_mask(volume, self.plan, seed_of(self.seed, *parts))
        item = measure(volume, 0, mask, self.virtual_coils)
        return item if epoch is None else cut_band(item, self.rows, seed_of(self.seed, *parts))


class Batches(Sampler[list[tuple[int, int]]]):
    """Shuffled batches of slices that share one shape, endless, a pure function of the seed.

    Skipping the first ``start`` batches gives exactly what an interrupted run would have seen next.
    """

    def __init__(self, slices: Slices, batch_size: int, seed: int, start: int = 0, stop: int = 0):
        self.batch_size, self.seed, self.start, self.stop = batch_size, seed, start, stop
        self.groups: dict[tuple[int, ...], list[int]] = {}
        for index, shape in enumerate(slices.shapes):
            self.groups.setdefault(shape, []).append(index)

    def epoch(self, number: int) -> list[list[tuple[int, int]]]:
        """All batches of one epoch, each slice at most once."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, "order", number))
        batches = []
        for indices in self.groups.values():
            order = torch.randperm(len(indices), generator=generator).tolist()
            keys = [(indices[i], number) for i in order]
            size = min(self.batch_size, len(keys))
            batches += [keys[i : i + size] for i in range(0, len(keys) - size + 1, size)]
        order = torch.randperm(len(batches), generator=generator).tolist()
        return [batches[i] for i in order]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        number = given = 0
        while True:
            for batch in self.epoch(number):
                if given >= self.stop:
                    return
                if given >= self.start:
                    yield batch
                given += 1
            number += 1

    def __len__(self) -> int:
        return self.stop - self.start


def collate(samples: Sequence[Measurement]) -> Measurement:
    """Stack measurements of one shape into a batch."""
    return Measurement(
        **{key: torch.stack([getattr(sample, key) for sample in samples]) for key in TENSORS},
        name=[sample.name for sample in samples],
    )
