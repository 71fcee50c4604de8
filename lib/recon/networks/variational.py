"""VN: the variational network (Hammernik et al. 2018).

Ten gradient steps on a learned energy,

    u <- u - sum_i K_i^T phi_i(K_i u) - lambda A^H (A u - y),

with kernels K_i of 11 x 11 and activations phi_i that are sums of 31 Gaussians, all of them learned
and different in every step. The kernels have zero mean and unit norm, and lambda is not negative.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recon.networks.channels import to_channels, to_complex
from recon.physics.encoding import adjoint, encode


class GaussianMixture(torch.autograd.Function):
    """``phi_i(x) = sum_j w_ij exp(-(x - c_j)^2 / 2 s^2)`` for each channel i, its derivatives too.

    The centres are ``s`` apart, so with ``z = (x - c_middle) / s`` and whole numbers j the sum is
    ``exp(-z^2 / 2)`` times a polynomial in ``exp(z)`` with coefficients ``w_ij exp(-j^2 / 2)``:
    one exponential instead of one a centre. Its powers need the range of float64. Beyond 22
    spacings from the middle, where the outermost of 31 Gaussians is below 1e-10, x is clamped.
    """

    @staticmethod
    def forward(ctx, responses: Tensor, weights: Tensor, centres: Tensor) -> Tensor:
        ctx.save_for_backward(responses, weights, centres)
        position, steps, base, ratio = _geometric(responses, centres)
        shape = (1, -1, *[1] * (responses.dim() - 2))
        output = torch.zeros_like(position)
        for column in (weights * torch.exp(-0.5 * steps**2)).unbind(1)[::-1]:
            output.mul_(ratio).add_(column.view(shape))
        return output.mul_(base).to(responses.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        responses, weights, centres = ctx.saved_tensors
        position, steps, base, ratio = _geometric(responses, centres)
        shape = (1, -1, *[1] * (responses.dim() - 2))
        height = torch.exp(-0.5 * steps**2)
        value, moment = torch.zeros_like(position), torch.zeros_like(position)
        for column, step in zip((weights * height).unbind(1)[::-1], steps.flip(0), strict=True):
            value.mul_(ratio).add_(column.view(shape))
            moment.mul_(ratio).add_((step * column).view(shape))
        # d/dz exp(-(z - j)^2 / 2) = (j - z) exp(...)
        slope = moment.addcmul_(value, position, value=-1).mul_(base)
        term, sums = base.mul_(gradient), []
        for _ in steps:
            sums.append(term.sum((0, *range(2, term.dim()))))
            term.mul_(ratio)
        by_weight = (torch.stack(sums, 1) * height).to(weights.dtype)
        spread = centres[1] - centres[0]
        return (gradient * slope / spread).to(gradient.dtype), by_weight, None


def _geometric(responses: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Position z, whole numbers j, ``exp(-z^2 / 2) exp(z)^(first j)`` and ``exp(z)``, float64."""
    spread, middle = centres[1] - centres[0], centres.mean()
    steps = torch.round((centres - middle) / spread * 2).double() / 2
    position = ((responses.contiguous() - middle) / spread).double().clamp_(-22, 22)
    base = torch.exp(position * (steps[0] - 0.5 * position))
    return position, steps, base, torch.exp(position)


class VariationalStep(nn.Module):
    """One gradient step; kernels are normalised where they are used, not after each update."""

    def __init__(self, filters: int, size: int, bumps: int):
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(filters, 2, size, size) / size)
        centres = torch.linspace(-1, 1, bumps)
        self.register_buffer("centres", centres)
        # Gaussians as wide as their distance add up to sqrt(2 pi): at first, phi(x) is about x / 5.
        self.weights = nn.Parameter((0.2 * centres / (2 * torch.pi) ** 0.5).repeat(filters, 1))
        self.weight_of_data = nn.Parameter(torch.tensor(0.1))

    def normalised(self) -> Tensor:
        """Kernels of zero mean (each part) and unit norm (both parts together)."""
        kernels = self.kernels - self.kernels.mean((-2, -1), keepdim=True)
        return kernels / kernels.square().sum((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-8)

    def forward(self, image: Tensor, kspace: Tensor, mask: Tensor, sensitivities: Tensor) -> Tensor:
        kernels = self.normalised()
        channels, edge = to_channels(image.unsqueeze(1)), kernels.shape[-1] // 2
        responses = F.conv2d(channels, kernels, padding=edge).float()
        activated = GaussianMixture.apply(responses, self.weights, self.centres)
        # The mean over kernels, not the sum: a step is then as long with 480 kernels as with 48.
        activated = activated / len(kernels)
        prior = to_complex(F.conv_transpose2d(activated, kernels, padding=edge))[:, 0]
        residual = encode(image, sensitivities, mask) - kspace
        data = adjoint(residual, sensitivities, mask)
        return image - prior - F.relu(self.weight_of_data) * data


class VariationalNetwork(nn.Module):
    """VN between measured k-space and the image.

    Parameters
    ----------
    filters : int
        Kernels in each step: 48 in the original (0.13 M parameters); 480 gives the 1.3 M of
        Chen 2022.
    steps, size, bumps : int
        Gradient steps, side of a kernel, Gaussians in an activation.
    """

    def __init__(self, filters: int = 48, steps: int = 10, size: int = 11, bumps: int = 31):
        super().__init__()
        self.steps = nn.ModuleList(VariationalStep(filters, size, bumps) for _ in range(steps))

    def forward(self, kspace: Tensor, mask: Tensor, sensitivities: Tensor) -> Tensor:
        """The image ``(batch, 1, height, width)`` complex; arguments as for `VSNet`."""
        image = adjoint(kspace, sensitivities, mask)
        # The activations live on [-1, 1]: work in units of the largest pixel, and go back.
        unit = image.abs().amax((-2, -1), keepdim=True).clamp_min(1e-8)
        image, kspace = image / unit, torch.where(mask, kspace / unit.unsqueeze(1), 0)
        for step in self.steps:
            image = step(image, kspace, mask, sensitivities)
        return (image * unit).unsqueeze(1)
