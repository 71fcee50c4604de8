"""Slices of files as measurements, shuffled and stacked into batches."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.utils.data import Dataset, Sampler

from recon.data.fastmri import read_volume, volume_shape
from recon.data.maps import coil_maps
from recon.data.measurement import (
    Measurement,
    Sampling,
    cut_band,
    draw_mask,
    measure,
    seed_of,
    steady_calibration_size,
)
from recon.errors import InputError


def measure_slice(
    path: Path, number: int, plan: Sampling, virtual_coils: int, seed: int, maps: bool = False
) -> Measurement:
    """One slice of a file under a mask drawn from ``seed``, with maps of its coils if asked for."""
    volume = read_volume(path, slice(number, number + 1))
    mask = draw_mask(volume, plan, seed)
    size = steady_calibration_size(volume, plan, mask)
    found = coil_maps(path, number, virtual_coils, size) if maps else None
    return measure(volume, 0, mask, virtual_coils, size, found)


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
    maps : bool
        Attach sensitivity maps (`recon.data.maps.coil_maps`).
    """

    def __init__(
        self,
        paths: Sequence[Path],
        plan: Sampling,
        virtual_coils: int,
        seed: int = 0,
        rows: int = 0,
        maps: bool = False,
    ):
        self.plan, self.virtual_coils, self.seed = plan, virtual_coils, seed
        self.rows, self.maps = rows, maps
        self.items: list[tuple[Path, int]] = []
        self.shapes: list[tuple[int, ...]] = []
        for path in paths:
            slices, coils, height, width = volume_shape(path)
            crop = read_volume(path, slice(0, 0)).crop  # the header alone, no sample
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
        parts = (path.stem,) if epoch is None else (path.stem, number, epoch)
        own = seed_of(self.seed, *parts)
        item = measure_slice(path, number, self.plan, self.virtual_coils, own, self.maps)
        return item if epoch is None else cut_band(item, self.rows, own)


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
    stacked = {
        key: torch.stack([getattr(sample, key) for sample in samples])
        for key in samples[0].tensors()
    }
    return Measurement(**stacked, name=[sample.name for sample in samples])
