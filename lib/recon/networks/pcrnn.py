"""Pyramid convolutional RNN: section III of Chen et al. 2022.

Equation numbers are those of the paper. What the paper leaves open (kernel sizes, activations, the
width of the final CNN) follows the layer table of Devoto's replication (2020), whose parameter
count this file reproduces exactly; where that table is impossible, the docstring says so.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.networks.identity import start_near_identity
from recon.physics.encoding import data_consistency
from recon.physics.fourier import ifft2

# Strides of the two encoder convolutions at each scale (Fig. 1, bottom panel).
STRIDES = {4: (2, 2), 2: (1, 2), 1: (1, 1)}


class ResConv(nn.Module):
    """``h + conv(relu(conv(h)))``, 3 x 3, width kept (Fig. 1, lower right)."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.second(F.relu(self.first(hidden)))


class Deconv(nn.Module):
    """Transposed 4 x 4 convolution that multiplies the image size by exactly its stride.

    The replication's table gives stride 1, padding 1 the output size of its input; that
    arithmetic yields one pixel more. The extra last row and column are cut off.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.stride = stride
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=stride, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        height, width = (self.stride * n for n in features.shape[-2:])
        return self.conv(features)[..., :height, :width]


class ConvRNN(nn.Module):
    """One scale of the pyramid: the recurrent module G_s of equations 6 to 9.

    Parameters
    ----------
    channels : int
        Real channels of an image: twice the number of coils.
    width : int
        Feature maps.
    scale : {4, 2, 1}
        Downsampling of the feature maps.
    iterations : int
        K, the number of turns of the recurrence (5 in the paper).
    recurrent : bool
        False drops the hidden state, so that every turn starts afresh (an ablation).
    """

    def __init__(
        self, channels: int, width: int, scale: int, iterations: int = 5, recurrent: bool = True
    ):
        super().__init__()
        if scale not in STRIDES:
            raise ValueError(f"scale is {scale}; a ConvRNN works at scale 4, 2 or 1")
        first, second = STRIDES[scale]
        self.scale, self.iterations, self.recurrent = scale, iterations, recurrent
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=first, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=second, padding=1),
            nn.ReLU(),
        )
        self.resblock = nn.Sequential(ResConv(width), ResConv(width))
        self.decoder = nn.Sequential(
            Deconv(width, width, second), nn.ReLU(), Deconv(width, channels, first)
        )

    def step(self, image: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """One turn, equation 12 before data consistency.

        ``h(k+1) = g_res(h(k)) + g_enc(x(k))`` and ``x(k+1) = g_dec(h(k+1))``; at the start the
        hidden state is zero (None).

        Parameters
        ----------
        image : Tensor
            ``(batch, coils, height, width)`` complex, any size of at least 4.
        hidden : Tensor or None
            ``(batch, width, ceil(height / scale), ceil(width / scale))``.
        """
        height, width = image.shape[-2:]
        channels = to_channels(image)
        # Reflect up to a multiple of the scale; what was added is cut off behind the decoder.
        extra = (-width % self.scale, -height % self.scale)
        if any(extra):
            channels = F.pad(channels, (0, extra[0], 0, extra[1]), mode="reflect")
        encoded = self.encoder(channels)
        if hidden is None:
            hidden = torch.zeros_like(encoded)
        hidden = self.resblock(hidden) + encoded
        return to_complex(self.decoder(hidden)[..., :height, :width]), hidden

    def forward(self, image: Tensor, kspace: Tensor, mask: Tensor) -> Tensor:
        """All K turns, each closed by data consistency (equations 11 and 12)."""
        hidden = None
        for _ in range(self.iterations):
            image, hidden = self.step(image, hidden if self.recurrent else None)
            image = data_consistency(image, kspace, mask)
        return image


class PCRNN(nn.Module):
    """The pyramid of ConvRNN modules and the CNN that joins them (equations 5 to 10).

    Parameters
    ----------
    coils : int
        Coils, or virtual coils, of the data (1 for the single-coil task).
    widths : sequence of int
        Feature maps of each module, in the order of ``scales``.
    scales : sequence of int
        Scale of each module, in the order in which they run. (4, 2, 1) is the paper's.
    iterations : int
        K of every module.
    connection : {"sequential", "parallel"}
        Sequential: each module starts from the one before (equations 7 to 9). Parallel: every
        module starts from the zero-filled image ("4x, 2x, 1x" in table VII).
    recurrent : bool
        Passed to each `ConvRNN`.
    final_width : int or None
        Feature maps of the final CNN; by default those of the last module, as the replication's
        table has it.
    start : {"identity", "random"}
        First weights: see `recon.networks.identity`. The paper does not say.
    """

    def __init__(
        self,
        coils: int = 1,
        widths: Sequence[int] = (128, 64, 32),
        scales: Sequence[int] = (4, 2, 1),
        iterations: int = 5,
        connection: str = "sequential",
        recurrent: bool = True,
        final_width: int | None = None,
        start: str = "identity",
    ):
        super().__init__()
        if len(widths) != len(scales) or not scales:
            raise ValueError(
                f"widths {tuple(widths)} and scales {tuple(scales)} must have the same length, "
                "at least 1"
            )
        if connection not in ("sequential", "parallel"):
            raise ValueError(f"connection is {connection!r}; choose sequential or parallel")
        if start not in ("identity", "random"):
            raise ValueError(f"start is {start!r}; choose identity or random")
        if iterations < 1:
            raise ValueError(f"iterations is {iterations}; a module turns at least once")
        self.connection = connection
        channels = 2 * coils
        self.modules_by_scale = nn.ModuleList(
            ConvRNN(channels, width, scale, iterations, recurrent)
            for width, scale in zip(widths, scales, strict=True)
        )
        final = final_width or widths[-1]
        self.final = nn.Sequential(
            nn.Conv2d(channels * len(scales), final, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(final, final, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(final, final, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(final, channels, 3, padding=1),
        )
        if start == "identity":
            start_near_identity(self)

    def stages(self, kspace: Tensor, mask: Tensor) -> list[Tensor]:
        """x_1, ..., x_S of equations 7 to 9, then the final reconstruction of equation 10.

        Parameters
        ----------
        kspace : Tensor
            ``(batch, coils, height, width)`` complex, masked, corner layout.
        mask : Tensor
            Bool, broadcastable, corner layout.

        Returns
        -------
        list of Tensor
            Coil images, each ``(batch, coils, height, width)`` complex.
        """
        zero_filled = ifft2(torch.where(mask, kspace, 0))
        outputs, image = [], zero_filled
        for module in self.modules_by_scale:
            image = module(image if self.connection == "sequential" else zero_filled, kspace, mask)
            outputs.append(image)
        joined = self.final(torch.cat([to_channels(output) for output in outputs], dim=1))
        return [*outputs, data_consistency(to_complex(joined), kspace, mask)]

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """The final reconstruction, coil images ``(batch, coils, height, width)`` complex."""
        return self.stages(kspace, mask)[-1]


def pcrnn_xs(coils: int, **options) -> PCRNN:
    """Half the widths of PC-RNN-S: ours, not the paper's, for runs of minutes on a CPU."""
    return PCRNN(coils, **{"widths": (64, 32, 16), **options})


def pcrnn_s(coils: int, **options) -> PCRNN:
    """PC-RNN-S, the small version (1.6 M parameters in section IV-B)."""
    return PCRNN(coils, **{"widths": (128, 64, 32), **options})


def pcrnn_b(coils: int, **options) -> PCRNN:
    """PC-RNN-B, the competition's version (23 M parameters in section IV-B)."""
    return PCRNN(coils, **{"widths": (512, 256, 128), **options})
