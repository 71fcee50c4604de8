"""PC-RNN as Devoto's replication (2020) describes it, one deviation at a time.

The report prints its data loader (listing 1), a module (listing 2), its residual block (listing 3)
and its data consistency (listing 4). Where they differ from Chen 2022, one field of `Deviations`
says how, and `Replication` does it. With none of them it computes exactly what `PCRNN` does.
Nothing of the report's code is used: its deviations are written anew, for the corner layout.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.networks.identity import connect
from recon.networks.pcrnn import PCRNN, ConvRNN
from recon.physics.encoding import data_consistency
from recon.physics.fourier import centre_crop, ifft2, ifft2c, to_centred, to_corner

WIDTHS = (384, 192, 96)  # the report's figure 6


@dataclass(frozen=True)
class Deviations:
    """What the report does otherwise than the paper; by default nothing.

    Attributes
    ----------
    consistency_lost : bool
        Listing 4 computes data consistency and returns the image that it was given.
    relu_at_end : bool
        Listing 2 closes every decoder by a ReLU: real and imaginary parts cannot be negative.
    normalised_apart : bool
        Listing 1 shifts and scales k-space and image by means and deviations of their own.
    zero_mean_target : bool
        Listing 1 gives the target zero mean; section 4.2 makes the output a magnitude.
    columns : int
        Section 3 crops the image; listing 4 pads it with zeros for data consistency. 0: no crop.
        Rows do not mix in data consistency, so only columns are cut here.
    listed_resblock : bool
        Listing 3: a residual block of two convolutions, not four, closed by batch normalisation.
    """

    consistency_lost: bool = False
    relu_at_end: bool = False
    normalised_apart: bool = False
    zero_mean_target: bool = False
    columns: int = 0
    listed_resblock: bool = False


def narrowed(width: int) -> int:
    """Three quarters of a width, as 240 is of 320; what is cut is the same on both sides."""
    return width - 2 * round(width / 8)


def cut(image: Tensor, columns: int) -> Tensor:
    """The middle ``columns`` of ``(..., height, width)``; all of them for 0 or too many."""
    if not 0 < columns < image.shape[-1]:
        return image
    return centre_crop(image, (image.shape[-2], columns))


def widen(image: Tensor, width: int) -> Tensor:
    """The inverse of `cut`, with zeros where columns are missing."""
    missing = width - image.shape[-1]
    return F.pad(image, (missing // 2, missing - missing // 2)) if missing else image


def normalise(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Zero mean and unit deviation over the real and imaginary parts of each sample, pooled.

    Parameters
    ----------
    values : Tensor
        ``(batch, coils, height, width)`` complex.

    Returns
    -------
    normalised : Tensor
        Complex, same shape.
    mean : Tensor
        ``(batch, 1, 1, 1)`` complex, the same number in the real and the imaginary part.
    deviation : Tensor
        ``(batch, 1, 1, 1)``, at least 1e-6.
    """
    parts = torch.view_as_real(values).flatten(1)
    shift = parts.mean(1).reshape(-1, 1, 1, 1)
    deviation = parts.std(1).clamp_min(1e-6).reshape(-1, 1, 1, 1)
    mean = torch.complex(shift, shift)
    return (values - mean) / deviation, mean, deviation


def positive_part(image: Tensor) -> Tensor:
    """ReLU of the real and of the imaginary part."""
    return torch.complex(F.relu(image.real), F.relu(image.imag))


class ListedResBlock(nn.Module):
    """Listing 3: ``h <- relu(h + conv(h))`` twice, then batch normalisation.

    The listing does not show which activation it is; ReLU stands everywhere else.

    Parameters
    ----------
    width : int
        Feature maps.
    """

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(batch, width, height, width)`` to the same shape."""
        hidden = F.relu(hidden + self.first(hidden))
        hidden = F.relu(hidden + self.second(hidden))
        return self.norm(hidden)


class Replication(nn.Module):
    """PC-RNN with any of the report's deviations.

    Parameters
    ----------
    coils : int
        Coils of the data; 1 in the report.
    widths : sequence of int
        Feature maps of each module, coarse to fine.
    deviations : Deviations
        By default none: this is PC-RNN itself.
    start, iterations
        Passed to `PCRNN`.
    """

    def __init__(
        self,
        coils: int = 1,
        widths: Sequence[int] = WIDTHS,
        deviations: Deviations | None = None,
        start: str = "identity",
        iterations: int = 5,
    ):
        super().__init__()
        self.deviations = deviations or Deviations()
        self.pyramid = PCRNN(coils, widths, start=start, iterations=iterations)
        if self.deviations.listed_resblock:
            carried = 4 * coils if start == "identity" else 0
            for module, width in zip(self.pyramid.modules_by_scale, widths, strict=True):
                module.resblock = ListedResBlock(width)
                if 0 < carried <= width:  # as the other residual blocks start: adding nothing
                    for conv in (module.resblock.first, module.resblock.second):
                        connect(conv, torch.zeros(carried, carried))

    def extra_repr(self) -> str:
        """Names the deviations, so that no two trainings share a folder."""
        return str(self.deviations)

    def consistency(self, image: Tensor, kspace: Tensor, mask: Tensor) -> Tensor:
        """Data consistency as listing 4 has it, for an image that may be narrower than k-space."""
        if self.deviations.consistency_lost:
            return image
        whole = data_consistency(widen(image, kspace.shape[-1]), kspace, mask)
        return cut(whole, image.shape[-1])

    def turns(self, module: ConvRNN, image: Tensor, kspace: Tensor, mask: Tensor) -> Tensor:
        """All turns of one module, listing 2."""
        hidden = None
        for _ in range(module.iterations):
            image, hidden = module.step(image, hidden)
            if self.deviations.relu_at_end:
                image = positive_part(image)
            image = self.consistency(image, kspace, mask)
        return image

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Coil images ``(batch, coils, height, width)`` complex, zero where columns were cut.

        Parameters
        ----------
        kspace : Tensor
            ``(batch, coils, height, width)`` complex, masked, corner layout.
        mask : Tensor
            Bool, broadcastable, corner layout.
        """
        width, apart = kspace.shape[-1], self.deviations.normalised_apart
        kspace = torch.where(mask, kspace, 0)
        image = cut(ifft2(kspace), self.deviations.columns)
        if apart:
            image, kspace, units = part(image, kspace)
        outputs = []
        for module in self.pyramid.modules_by_scale:
            image = self.turns(module, image, kspace, mask)
            outputs.append(image)
        joined = self.pyramid.final(torch.cat([to_channels(output) for output in outputs], dim=1))
        image = self.consistency(to_complex(joined), kspace, mask)
        if apart:
            image = rejoin(image, units, in_kspace=not self.deviations.consistency_lost)
        return widen(image, width)


@dataclass(frozen=True)
class Units:
    """Means and deviations by which an image and its k-space were normalised apart."""

    image_mean: Tensor
    image_deviation: Tensor
    kspace_mean: Tensor
    kspace_deviation: Tensor


def part(image: Tensor, kspace: Tensor) -> tuple[Tensor, Tensor, Units]:
    """Normalise an image and its k-space apart, as listing 1 does.

    The listing takes the statistics of k-space before columns are left out; a network may not
    know those, so here the missing samples count as zero. Nearly all energy is in the centre, which
    is always measured, so the two hardly differ.

    Parameters
    ----------
    image : Tensor
        ``(batch, coils, height, columns)`` complex.
    kspace : Tensor
        ``(batch, coils, height, width)`` complex, corner layout.
    """
    image, image_mean, image_deviation = normalise(image)
    centred, kspace_mean, kspace_deviation = normalise(to_centred(kspace))
    units = Units(image_mean, image_deviation, kspace_mean, kspace_deviation)
    return image, to_corner(centred), units


def rejoin(image: Tensor, units: Units, in_kspace: bool) -> Tensor:
    """Undo the normalisation of an image, in the units of whatever touched it last.

    A constant that was taken from k-space is a bright point in the middle of the image.
    """
    if not in_kspace:
        return image * units.image_deviation + units.image_mean
    point = ifft2c(torch.ones_like(image)) * units.kspace_mean
    return image * units.kspace_deviation + point


def target_units(target: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each target ``(batch, height, width)``, as ``(batch, 1, 1)``."""
    mean = target.mean((-2, -1), keepdim=True)
    return mean, target.std((-2, -1), keepdim=True).clamp_min(1e-6)
