"""Which pixels of the input each pixel of an array sees, along one axis.

A `Line` holds, for every position of an array, the first and the last input pixel that can reach
it, and whether padding does. Convolutions widen the interval, strides thin the line out, a crop
shortens it, a sum takes the hull of both sides. `recon.learning.tiling.layers` says which layer
does what.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from recon.errors import InputError

__all__ = ["Line", "Mismatch", "NotTileable", "TooSmall", "join"]

NEVER = np.iinfo(np.int64).max // 4


class NotTileable(InputError):
    """The network cannot be tiled exactly; the sentence says which layer, and why."""


class TooSmall(NotTileable):
    """Not at this size: there are fewer pixels than a layer takes."""


class Mismatch(NotTileable):
    """Not at this size: it does not divide."""


@dataclass(frozen=True)
class Line:
    """Dependence of an array's positions along one axis.

    Attributes
    ----------
    first, last : (length,) int
        Input pixels that each position sees, both ends included.
    edge : (length,) bool
        Whether padding reaches it.
    step : Fraction
        Input pixels from one position to the next.
    over : bool
        Whether a stride has left positions over.
    """

    first: np.ndarray
    last: np.ndarray
    edge: np.ndarray
    step: Fraction
    over: bool = False

    def __len__(self) -> int:
        return len(self.first)

    def take(self, index: Any, step: Fraction | None = None) -> "Line":
        """The positions that an index or a slice picks."""
        step = self.step if step is None else step
        return Line(self.first[index], self.last[index], self.edge[index], step, self.over)

    def padded(self, before: int, after: int, mode: str = "zeros") -> "Line":
        """With ``before`` and ``after`` positions of padding, or fewer positions if negative."""
        cut = self.take(slice(max(-before, 0), len(self) - max(-after, 0)))
        width = (max(before, 0), max(after, 0))
        if mode == "zeros":
            first = np.pad(cut.first, width, constant_values=NEVER)
            last = np.pad(cut.last, width, constant_values=-NEVER)
        else:
            most = {"reflect": len(cut) - 1, "circular": len(cut), "replicate": NEVER}[mode]
            if max(width) > most or not len(cut):
                raise TooSmall(f"padding ({mode}) takes more than the {len(cut)} pixels there are.")
            how = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
            first, last = np.pad(cut.first, width, how), np.pad(cut.last, width, how)
        edge = np.pad(cut.edge, width, constant_values=True)
        return Line(first, last, edge, cut.step, self.over)

    def slide(self, kernel: int, stride: int, dilation: int, where: str) -> "Line":
        """What a window of ``kernel`` taps sees."""
        count, rest = divmod(len(self) - dilation * (kernel - 1) - 1, stride)
        count += 1
        if count < 1:
            raise TooSmall(f"{where} finds {len(self)} pixels, fewer than its kernel covers.")
        taps = [slice(j * dilation, j * dilation + (count - 1) * stride + 1, stride)
                for j in range(kernel)]  # fmt: skip
        return Line(
            np.minimum.reduce([self.first[tap] for tap in taps]),
            np.maximum.reduce([self.last[tap] for tap in taps]),
            np.logical_or.reduce([self.edge[tap] for tap in taps]),
            self.step * stride,
            self.over or rest > 0,
        )

    def spread(self, kernel: int, stride: int, dilation: int, crop: int, extra: int) -> "Line":
        """What a transposed convolution makes of it."""
        reach = dilation * (kernel - 1)
        beyond = reach // stride + 1  # the neighbours that an endless line would have had
        wide = self.padded(beyond, beyond)
        length = (len(wide) - 1) * stride + reach + 1
        first, last = np.full(length, NEVER), np.full(length, -NEVER)
        edge = np.zeros(length, bool)
        for j in range(kernel):
            at = slice(j * dilation, j * dilation + (len(wide) - 1) * stride + 1, stride)
            first[at], last[at] = np.minimum(first[at], wide.first), np.maximum(last[at], wide.last)
            edge[at] |= wide.edge
        start = beyond * stride + crop
        stop = start + (len(self) - 1) * stride - 2 * crop + reach + extra + 1
        return Line(first, last, edge, self.step / stride, self.over).take(slice(start, stop))


def join(lines: list[Line], where: str) -> Line:
    """The hull of several lines of one length."""
    if len({(len(line), line.step) for line in lines}) != 1:
        sizes = ", ".join(str(len(line)) for line in lines)
        raise Mismatch(f"{where} joins arrays of different sizes ({sizes}) or scales.")
    return Line(
        np.minimum.reduce([line.first for line in lines]),
        np.maximum.reduce([line.last for line in lines]),
        np.logical_or.reduce([line.edge for line in lines]),
        lines[0].step,
        any(line.over for line in lines),
    )
