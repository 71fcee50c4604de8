"""PC-RNN with its recurrence taken apart: data consistency, turns, shared weights, memory.

The modules and the joining CNN are those of `recon.networks.pcrnn`; this file only decides how a
module's turns hang together. With the options of the paper (hard, five turns, shared weights, a
hidden state) it computes what `PCRNN` computes.
"""

import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.networks.identity import start_near_identity
from recon.networks.pcrnn import PCRNN
from recon.physics.encoding import data_consistency
from recon.physics.fourier import fft2, ifft2

__all__ = ["VARIANTS", "ConsistencyPCRNN", "neutral_gain", "soft_consistency"]

CONSISTENCIES = ("hard", "soft", "none")
MEMORIES = ("hidden", "none", "feedforward")

# One thing changed at a time; the first is the paper's network.
VARIANTS: dict[str, dict[str, object]] = {
    "dc_hard": {},
    "dc_soft": {"consistency": "soft"},
    "dc_none": {"consistency": "none"},
    **{f"dc_turns_{turns}": {"iterations": turns} for turns in (1, 2, 3, 4, 6, 7, 8)},
    "dc_unshared": {"shared": False},
    "dc_no_memory": {"memory": "none"},
    "dc_feedforward": {"memory": "feedforward"},
}


def soft_consistency(image: Tensor, kspace: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Average the image's k-space with the measured one, where it was measured.

    ``(F x + lambda y) / (1 + lambda)``: what Schlemper et al. (2018, equation 6) derive for noisy
    data. A weight of 0 leaves the image alone; a large one restores the measured samples.

    Parameters
    ----------
    image, kspace : Tensor
        ``(batch, coils, height, width)`` complex, corner layout.
    mask : Tensor
        Bool, broadcastable.
    weight : Tensor
        lambda, a scalar of at least 0.
    """
    spectrum = fft2(image)
    mixed = spectrum + weight / (1 + weight) * (kspace - spectrum)
    return ifft2(torch.where(mask, mixed, spectrum))


def neutral_gain(turns: int) -> float:
    """The decoders' gain with which so many turns pass an image on unchanged at the start.

    A hidden state adds up the images of all earlier turns, so with a gain g the image after K turns
    is ``g (1 + g)**(K - 1)`` times the first, where no data consistency interferes; this returns
    the g for which that is 1.
    """
    return float(brentq(lambda gain: gain * (1 + gain) ** (turns - 1) - 1, 0, 1.5))


class ConsistencyPCRNN(nn.Module):
    """A `PCRNN` whose turns can be joined in other ways.

    Parameters
    ----------
    coils : int
        Coils, or virtual coils, of the data.
    widths : sequence of int
        Feature maps of the modules at scales 4, 2 and 1.
    iterations : int
        Turns K of every module (5 in the paper).
    consistency : {"hard", "soft", "none"}
        After every turn and after the joining CNN: measured samples are put back (equation 11),
        averaged with the network's (`soft_consistency`, one learned weight for each module and for
        the CNN), or left alone.
    shared : bool
        False gives every turn weights of its own.
    memory : {"hidden", "none", "feedforward"}
        Hidden: ``h(k+1) = g_res(h(k)) + g_enc(x(k))`` (equation 12). None: ``g_enc(x(k))`` alone,
        without the residual block, whose input would be zero. Feedforward: ``g_res(g_enc(x(k)))``,
        the same layers, but nothing kept from turn to turn.
    weight : float
        First value of the soft weights.
    start : {"identity", "random"}
        First weights: see `recon.networks.identity`; decoders start with `neutral_gain`.

    Raises
    ------
    ValueError
        For an option that there is not.
    """

    def __init__(
        self,
        coils: int,
        widths: tuple[int, int, int] = (128, 64, 32),
        iterations: int = 5,
        consistency: str = "hard",
        shared: bool = True,
        memory: str = "hidden",
        weight: float = 1.0,
        start: str = "identity",
    ):
        super().__init__()
        if consistency not in CONSISTENCIES:
            raise ValueError(f"consistency is {consistency!r}; choose {', '.join(CONSISTENCIES)}")
        if memory not in MEMORIES:
            raise ValueError(f"memory is {memory!r}; choose {', '.join(MEMORIES)}")
        if not weight > 0:
            raise ValueError(f"weight is {weight}; it must be above 0")
        self.iterations, self.consistency = iterations, consistency
        self.shared, self.memory, self.start, self.weight = shared, memory, start, weight
        donors = []
        for _ in range(1 if shared else iterations):
            donor = PCRNN(coils, widths, iterations=iterations, start="random")
            if start == "identity":
                start_near_identity(donor, neutral_gain(iterations) if memory == "hidden" else 1.0)
            donors.append(donor)
        # cells[s][k]: the module of scale s in turn k, one for all turns where weights are shared.
        self.cells = nn.ModuleList(
            nn.ModuleList(cells)
            for cells in zip(*(donor.modules_by_scale for donor in donors), strict=True)
        )
        self.final = donors[0].final
        for cells in self.cells:
            for turn, cell in enumerate(cells):
                if memory == "feedforward":
                    cell.encoder = nn.Sequential(*cell.encoder, *cell.resblock)
                # Where a residual block would only see zeros, nothing could teach its weights.
                once = iterations == 1 or not shared  # the first turn's cell serves no other
                if memory != "hidden" or (once and turn == 0):
                    cell.resblock = nn.Identity()
        if consistency == "soft":
            # Logarithms keep weights above zero; a tenth of them, because Adam moves all parameters
            # by about the same step, and a weight has further to go than a convolution's taps.
            first = torch.tensor(float(weight)).log() / 10
            self.tenth_log_weights = nn.Parameter(first.repeat(len(self.cells) + 1))

    def extra_repr(self) -> str:
        """Every option, so that trainings are stored apart."""
        options = ("iterations", "consistency", "shared", "memory", "weight", "start")
        return ", ".join(f"{name}={getattr(self, name)}" for name in options)

    def weights(self) -> Tensor:
        """The soft weights of the three modules and of the joining CNN."""
        return (10 * self.tenth_log_weights.detach()).exp()

    def consistent(self, image: Tensor, kspace: Tensor, mask: Tensor, place: int) -> Tensor:
        """The chosen kind of data consistency behind module ``place`` (3: the joining CNN)."""
        if self.consistency == "hard":
            return data_consistency(image, kspace, mask)
        if self.consistency == "soft":
            weight = (10 * self.tenth_log_weights[place]).exp()
            return soft_consistency(image, kspace, mask, weight)
        return image

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """The reconstruction: coil images ``(batch, coils, height, width)`` complex.

        Parameters
        ----------
        kspace : Tensor
            ``(batch, coils, height, width)`` complex, masked, corner layout.
        mask : Tensor
            Bool, broadcastable.
        """
        image = ifft2(torch.where(mask, kspace, 0))
        outputs = []
        for place, cells in enumerate(self.cells):
            hidden = None
            for number in range(self.iterations):
                cell = cells[0 if self.shared else number]
                image, hidden = cell.step(image, hidden if self.memory == "hidden" else None)
                image = self.consistent(image, kspace, mask, place)
            outputs.append(to_channels(image))
        joined = to_complex(self.final(torch.cat(outputs, dim=1)))
        return self.consistent(joined, kspace, mask, len(self.cells))
