"""Apply a network piece by piece: read, compute, write; in one process or in several."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from recon.errors import InputError
from recon.learning.tiling.analysis import analyse, measure, once
from recon.learning.tiling.files import Array, Output
from recon.learning.tiling.layout import Layout, fingerprint
from recon.learning.tiling.plan import plan_tiles
from recon.learning.tiling.workers import Here, Pool

__all__ = ["Inexact", "apply_tiled"]

SAVE_SECONDS = 2.0


class Inexact(UserWarning):
    """Tiles differ from the whole image in the last bits; the sentence says why."""


def apply_tiled(
    network: nn.Module,
    image: Any,
    tile: int | tuple[int, ...] | None = None,
    memory_mb: float | None = None,
    margin: int | None = None,
    out: Any = None,
    *,
    resume: bool = False,
    approximate: bool = False,
    progress: bool = False,
    processes: int = 1,
    devices: Sequence[str] = (),
    check: bool = True,
) -> Any:
    """``network(image)``, computed in tiles; for valid convolutions ``network(pad(image))``.

    On a CPU in float32 and bfloat16 every bit is that of the whole image, whatever the tile; where
    the last bits may differ, a warning (`Inexact`) says so and why, as does ``Plan.inexact``.
    Before anything is computed, the network's own output on noise is compared with what its layers
    were found to do.

    Parameters
    ----------
    network : nn.Module
        Convolutional, in evaluation mode, on the device that shall compute.
    image : Tensor, ndarray, HDF5 data set, Zarr array, or anything with shape, dtype and slices
        ``(height, width)`` or ``(depth, height, width)``, as the network's convolutions have axes.
        One more axis in front holds the channels if the network takes several, else slices that
        are images of their own; two more are ``(batch, channels)``.
    tile : int or tuple of int, optional
        Output pixels of a tile; None: those that take least time within the memory.
    memory_mb : float, optional
        How much the process may grow meanwhile, a result that is kept in memory included; with
        several processes, all of them together beyond what an idle one takes. None: 1024 a tile.
    margin : int, optional
        Pixels that a tile brings along on each side; None: as many as exactness takes.
    out : str, Path or array-like, optional
        Where the result goes: a file to be made (``.npy``, or ``.h5`` with a data set ``data``),
        or an array of the result's shape that takes slices, as Zarr's do. None: a new array, or
        a tensor if the image is one.
    resume : bool
        Go on with a file that an interrupted run left.
    approximate : bool
        Tile a network that cannot be tiled exactly, or by less than the exact margin.
    progress : bool
        Show a progress bar.
    processes : int
        Worker processes; with ``devices``, one for each of them.
    devices : sequence of str
        ``cuda:0``, ``cuda:1``; empty: where the network is.
    check : bool
        Hold the receptive field, and tiles of noise, against a measurement first.

    Returns
    -------
    Tensor, ndarray, Path or array-like
        The result, or where it went: `out`.

    Raises
    ------
    NotTileable
        When tiles cannot be exact, with the reason.
    InputError
        For voxels that are not finite, a budget below one tile, an output that exists or does not
        fit, a full disk.
    """
    graph, field = analyse(network, margin, approximate, check)
    like = next(network.parameters(), torch.zeros(1))
    kind = np.dtype(np.float64 if like.dtype == torch.float64 else np.float32)
    if len(getattr(image, "shape", ())) < len(field.axes) or not hasattr(image, "dtype"):
        raise InputError(
            f"the image is a {type(image).__name__} of shape {getattr(image, 'shape', None)}; give "
            f"an array of {len(field.axes)} spatial axes or more."
        )
    spatial = tuple(image.shape)[-len(field.axes) :]
    channels, inexact = once(
        network, graph, ("measured", field, check),
        lambda: measure(network, graph, field, check and not approximate, spatial),
    )  # fmt: skip
    layout = Layout.of(image, channels, field)
    if out is image or _shared(out, image):
        raise InputError("out lies in the image's memory, which is read while out is written.")
    workers = max(processes, len(devices), 1)
    left = memory_mb
    if memory_mb is not None and out is None:
        left = memory_mb - prod(layout.output) * kind.itemsize / 1e6
        if left <= 0:
            raise InputError(
                f"memory_mb is {memory_mb:g}, less than the result itself takes; pass "
                "out='result.npy' to write it to disk."
            )
    share = None if left is None else left / workers
    tile = tuple(tile) if isinstance(tile, list) else tile
    asked = (field, layout.spatial, tile, share, layout.batch, not approximate, not layout.last)
    asked += (layout.images, workers)
    plan = once(network, graph, ("plan", *asked), lambda: plan_tiles(graph, *asked))
    plan = replace(plan, inexact=plan.inexact or inexact)
    if plan.inexact and not approximate:
        warnings.warn(
            f"the last bits of the result may differ from those of the whole image: {plan.inexact}",
            Inexact, stacklevel=2,
        )  # fmt: skip
    if isinstance(out, str | Path):
        made = f"{fingerprint(network, graph, image)}{plan}{layout}{kind}"
        target = Output(Path(out), layout.output, kind, made, resume)
    else:
        target = Array(out, layout.output, kind)
    jobs = [job for job in layout.jobs(plan) if job.number not in target.done]
    total = len(jobs) + len(target.done)
    places = list(devices) or [str(like.device)] * workers
    alone = workers == 1 and not devices
    engine = Here(network, graph, plan) if alone else Pool(network, graph, plan, places)
    saved = time.monotonic()
    bar = tqdm(total=total, initial=len(target.done), desc="tiles", disable=not progress)
    with bar, engine:
        windows = ((job, layout.read(image, job, plan)) for job in jobs)
        for job, piece in engine.run(windows, layout.last):
            where = (*job.place, *(slice(s.first, s.last) for s in job.spans))
            target.write(job.number, where, piece.reshape([s.stop - s.start for s in where]))
            if time.monotonic() - saved > SAVE_SECONDS:
                target.save()
                saved = time.monotonic()
            bar.update()
    target.finish()
    if out is not None:
        return out
    result = target.data
    return torch.from_numpy(result).to(like.dtype) if isinstance(image, Tensor) else result


def _shared(out: Any, image: Any) -> bool:
    """Whether two arrays in memory, or two data sets of a file, are the same at some place."""

    def plain(a: Any) -> Any:
        held = isinstance(a, Tensor) and a.device.type == "cpu"
        kind = torch.int16 if held and a.dtype == torch.bfloat16 else None
        return a.detach().view(kind or a.dtype).numpy() if held else a

    one, other = plain(out), plain(image)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.shares_memory(one, other)
    return isinstance(one, h5py.Dataset) and isinstance(other, h5py.Dataset) and one == other
