"""Apply a network piece by piece: read, compute, write; in one process or in several."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from tqdm import tqdm

from recon.errors import InputError
from recon.learning.tiling.fields import AxisField, ReceptiveField, receptive_field
from recon.learning.tiling.files import Array, Output
from recon.learning.tiling.lines import CONVOLUTIONS, TRANSPOSED, NotTileable, trace
from recon.learning.tiling.plan import Plan, Span, plan_tiles
from recon.learning.tiling.workers import Here, Pool

__all__ = ["apply_tiled"]

SPATIAL = (*CONVOLUTIONS, *TRANSPOSED)
SAVE_SECONDS = 2.0


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

    On a CPU in float32 and bfloat16 every bit is that of the whole image, whatever the tile;
    `plan_tiles` says where the last bits may differ (``Plan.inexact``).

    Parameters
    ----------
    network : nn.Module
        Convolutional, in evaluation mode, on the device that shall compute.
    image : Tensor, ndarray, HDF5 data set, or anything with shape, dtype and slices
        ``(height, width)`` or ``(depth, height, width)``, as the network's convolutions have axes.
        One more axis in front holds the channels if the network takes several, else slices that
        are images of their own; two more are ``(batch, channels)``.
    tile : int or tuple of int, optional
        Output pixels of a tile; None: the largest that the memory holds.
    memory_mb : float, optional
        How much the process may grow meanwhile, a result that is kept in memory included; with
        several processes, all of them together beyond what an idle one takes. None: 1024 a tile.
    margin : int, optional
        Pixels that a tile brings along on each side; None: as many as exactness takes.
    out : str, Path or array-like, optional
        Where the result goes: a file to be made (``.npy``, or ``.h5`` with a data set ``data``),
        or an array of the result's shape. None: a new array, or a tensor if the image is one.
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
        Hold the receptive field against a measurement first.

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
    layout = _Layout.of(image, network, field)
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
    plan = plan_tiles(graph, field, layout.spatial, tile, share, layout.batch, not approximate)
    if isinstance(out, str | Path):
        made = f"{_fingerprint(network, image)}{plan}{layout}{kind}"
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


def analyse(
    network: nn.Module, margin: int | None, approximate: bool, check: bool
) -> tuple[fx.GraphModule | None, ReceptiveField]:
    """Graph and receptive field, with another margin where one is asked for.

    Raises
    ------
    NotTileable
        Without ``approximate``, for what cannot be exact.
    """
    ndim = next((len(m.kernel_size) for m in network.modules() if isinstance(m, SPATIAL)), 2)
    try:
        graph, field = trace(network), receptive_field(network, ndim, check)
    except NotTileable as error:
        if not approximate:
            raise
        if margin is None:
            raise InputError(f"approximate tiles need a margin, for {error}") from error
        axis = AxisField(2 * margin + 1, Fraction(1), margin, 0, 1, margin, margin)
        return None, ReceptiveField(axis.size, 1, margin, (axis,) * ndim)
    if margin is None or margin == field.margin:
        return graph, field
    if any(axis.pad for axis in field.axes):
        raise InputError(
            f"margin is {margin}, but a network of valid convolutions takes {field.margin}, no "
            "more and no less."
        )
    if margin < field.margin and not approximate:
        raise NotTileable(
            f"margin is {margin}, but tiles are exact from {field.margin} on; pass "
            "approximate=True to have seams."
        )
    if margin < 0:
        raise InputError(f"margin is {margin}; a margin is zero or more pixels.")
    axes = tuple(replace(a, margin=margin, before=margin, after=margin) for a in field.axes)
    return graph, replace(field, margin=margin, axes=axes)


@dataclass(frozen=True)
class Job:
    """One window of one image: where it is read from, and where its output goes."""

    number: int
    front: tuple[int | slice, ...]
    place: tuple[slice, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class _Layout:
    """What the axes of an image mean to a network: `spatial` ones, and `lead` in front of them."""

    lead: tuple[int, ...]
    spatial: tuple[int, ...]
    channels: tuple[int, int]
    output: tuple[int, ...]
    last: bool

    @classmethod
    def of(cls, image: Any, network: nn.Module, field: ReceptiveField) -> "_Layout":
        """Read the image's shape.

        Raises
        ------
        InputError
            If it does not go with the network.
        """
        shape, ndim = tuple(image.shape), len(field.axes)
        lead, spatial = shape[:-ndim], shape[-ndim:]
        convs = [m for m in network.modules() if isinstance(m, SPATIAL)]
        inputs = convs[0].in_channels if convs else 1
        tail = [convs[-1].out_channels] if convs else [inputs]
        if any(isinstance(m, nn.PixelShuffle) for m in network.modules()):
            with torch.no_grad():  # channels may have become pixels
                size = tuple(a.size + 2 * a.pad + 2 * a.grid for a in field.axes)
                size = tuple(
                    -(-n // a.grid) * a.grid for n, a in zip(size, field.axes, strict=True)
                )
                like = next(network.parameters())
                tail = [network(like.new_zeros(1, inputs, *size)).shape[1]]
        outputs = tail[0]
        slices = len(lead) == 1 and inputs == 1
        fits = lead[-1:] == (inputs,) if len(lead) == 2 or (lead and not slices) else inputs == 1
        if len(spatial) < ndim or len(lead) > 2 or not fits or (slices and outputs != 1):
            raise InputError(
                f"the image has shape {shape}, but the network takes {inputs} and gives {outputs} "
                f"channels of {ndim} axes; give it as (batch, channels, ...)."
            )
        scaled = tuple(int(n / a.stride) for n, a in zip(spatial, field.axes, strict=True))
        if len(lead) == 2:
            front = (lead[0], outputs)
        elif slices:
            front = lead
        else:
            front = (outputs,) if lead or outputs > 1 else ()
        dense = isinstance(image, Tensor) and len(shape) == 4 and not image.is_contiguous()
        last = dense and image.is_contiguous(memory_format=torch.channels_last)
        return cls(lead, spatial, (inputs, outputs), (*front, *scaled), last)

    @property
    def batch(self) -> int:
        """Images that the network would be given at once."""
        return self.lead[0] if len(self.lead) == 2 else 1

    def jobs(self, plan: Plan) -> list[Job]:
        """All windows of all images."""
        whole = slice(None)
        every = slice(0, self.channels[1])
        if len(self.lead) == 2:
            fronts = [((b, whole), (slice(b, b + 1), every)) for b in range(self.lead[0])]
        elif self.lead and self.channels[0] == 1:
            fronts = [((i,), (slice(i, i + 1),)) for i in range(self.lead[0])]
        else:
            given = (whole,) if self.lead else ()
            fronts = [(given, (every,) if len(self.output) > len(self.spatial) else ())]
        pairs = product(fronts, plan.pieces())
        return [Job(n, front, place, spans) for n, ((front, place), spans) in enumerate(pairs)]

    def read(self, image: Any, job: Job, plan: Plan) -> np.ndarray:
        """A window ``(1, channels, ...)`` of the image with zeros around it.

        Raises
        ------
        InputError
            If it holds what is not finite.
        """
        ranges, beyond = [], []
        for span, pad, n in zip(job.spans, plan.pad, self.spatial, strict=True):
            start, stop = span.start - pad, span.stop - pad
            ranges.append(slice(max(start, 0), min(stop, n)))
            beyond.append((max(-start, 0), max(stop - n, 0)))
        piece = image[(*job.front, *ranges)]
        if isinstance(piece, Tensor):
            piece = (piece.detach().double() if piece.dtype == torch.float64 else
                     piece.detach().float()).cpu().numpy()  # fmt: skip
        piece = np.asarray(piece)
        if piece.dtype.kind not in "fiub":
            raise InputError(
                f"the image is of type {piece.dtype}; its voxels must be real numbers."
            )
        bad = ~np.isfinite(piece)
        if bad.any():
            here = np.argwhere(bad)[0][-len(ranges) :]
            at = tuple(int(r.start + i) for r, i in zip(ranges, here, strict=True))
            raise InputError(
                f"the image holds {piece[bad][0]} at {at}, which would spread over a whole "
                "receptive field; replace what is not finite first."
            )
        kind = np.float64 if piece.dtype.itemsize == 8 else np.float32
        piece = piece.astype(kind, copy=False).reshape(
            1, self.channels[0], *piece.shape[-len(ranges) :]
        )
        return np.pad(piece, ((0, 0), (0, 0), *beyond)) if np.any(beyond) else piece


def _fingerprint(network: nn.Module, image: Any) -> str:
    """Of the weights, and of the image's form and its middle row."""
    digest = hashlib.sha256(f"{network}{tuple(image.shape)}{image.dtype}".encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    row = image[tuple(n // 2 for n in image.shape[:-1])]
    row = row.double().cpu().numpy() if isinstance(row, Tensor) else np.asarray(row)
    digest.update(np.ascontiguousarray(row).tobytes())
    return digest.hexdigest()
