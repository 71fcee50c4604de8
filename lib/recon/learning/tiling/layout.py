"""What the axes of an image mean to a network, and how its windows are read."""

import hashlib
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from recon.errors import InputError
from recon.learning.tiling.fields import ReceptiveField
from recon.learning.tiling.plan import Plan, Span
from recon.learning.tiling.tracing import described

__all__ = ["Job", "Layout", "fingerprint"]


@dataclass(frozen=True)
class Job:
    """One window of one image: where it is read from, and where its output goes."""

    number: int
    front: tuple[int | slice, ...]
    place: tuple[slice, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Layout:
    """What the axes of an image mean to a network: `spatial` ones, and `lead` in front of them."""

    lead: tuple[int, ...]
    spatial: tuple[int, ...]
    channels: tuple[int, int]
    output: tuple[int, ...]
    last: bool

    @classmethod
    def of(cls, image: Any, channels: tuple[int, int], field: ReceptiveField) -> "Layout":
        """Read the image's shape.

        Raises
        ------
        InputError
            If it does not go with the network.
        """
        shape, ndim, (inputs, outputs) = tuple(image.shape), len(field.axes), channels
        lead, spatial = shape[:-ndim], shape[-ndim:]
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

    @property
    def images(self) -> int:
        """Images that are cut one by one."""
        slices = len(self.lead) == 1 and self.channels[0] == 1
        return self.lead[0] if len(self.lead) == 2 or slices else 1

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
        # A copy, in this machine's own order: a layer may work in place.
        kind = np.float64 if piece.dtype.itemsize >= 8 else np.float32
        size = piece.shape[-len(ranges) :]
        window = np.zeros((1, self.channels[0], *np.add(size, np.sum(beyond, 1))), kind)
        inner = tuple(slice(a, a + n) for (a, _), n in zip(beyond, size, strict=True))
        window[(..., *inner)] = piece.reshape(1, self.channels[0], *size)
        return window


def fingerprint(network: nn.Module, graph: fx.GraphModule | None, image: Any) -> str:
    """Of the network's code and weights, and of the image's form and some of its rows."""
    text = f"{network}{described(network, graph)}{tuple(image.shape)}{image.dtype}"
    digest = hashlib.sha256(text.encode())
    for name, value in {
        **network.state_dict(),
        **dict(graph.named_buffers() if graph else ()),
    }.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    for part in range(1, 4):
        row = image[tuple(part * n // 4 for n in image.shape[:-1])]
        row = row.double().cpu().numpy() if isinstance(row, Tensor) else np.asarray(row)
        digest.update(np.ascontiguousarray(row).tobytes())
    return digest.hexdigest()
