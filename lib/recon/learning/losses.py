"""The training loss of Chen 2022, equation 14, on coil-combined images."""

from fastmri.losses import SSIMLoss
from torch import Tensor, nn

from recon.data.measurement import Measurement
from recon.physics.coils import rss
from recon.physics.fourier import centre_crop


def combine(images: Tensor, crop: tuple[int, int]) -> Tensor:
    """RSS over the coils (equation 13), cut to the size of the target.

    Parameters
    ----------
    images : Tensor
        ``(batch, coils, height, width)`` complex.
    crop : (int, int)
        Height and width of the target.
    """
    return centre_crop(rss(images), crop)


def nmse(image: Tensor, target: Tensor) -> Tensor:
    """Normalised mean square error of each image in a batch ``(batch, height, width)``, averaged.

    ``|x^ - x|^2 / |x|^2``.
    """
    error = (image - target).square().sum((-2, -1))
    return (error / target.square().sum((-2, -1)).clamp_min(1e-12)).mean()


class ReconstructionLoss(nn.Module):
    """``L = L_NMSE + beta L_SSIM`` with ``L_SSIM = 1 - SSIM`` (equation 14; beta = 0.5).

    SSIM is fastMRI's, with its 7 x 7 uniform window and the maximum of each target as data range.
    """

    def __init__(self, beta: float = 0.5):
        super().__init__()
        self.beta = beta
        self.ssim = SSIMLoss()

    def forward(self, images: Tensor, measurement: Measurement) -> Tensor:
        """Loss of coil images ``(batch, coils, height, width)`` complex."""
        target = measurement.target
        image = combine(images, target.shape[-2:])
        data_range = target.amax((-2, -1)).clamp_min(1e-6)
        # torch keeps this module's window where the loss was built: follow the data.
        self.ssim.to(image.device)
        structure = self.ssim(image.unsqueeze(1), target.unsqueeze(1), data_range)
        return nmse(image, target) + self.beta * structure
