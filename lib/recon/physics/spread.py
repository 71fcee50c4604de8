"""What leaving columns out does to a point: the point spread function of a mask."""

import numpy as np
import torch
from torch import Tensor

from recon.physics.fourier import ifft2c


def point_spread(mask: Tensor) -> Tensor:
    """Magnitude of the image of a point in the middle, over its own height.

    Columns that are not measured are zero, so an image is convolved along its rows with the
    transform of the mask.

    Parameters
    ----------
    mask : Tensor
        ``(width,)`` bool, centred, at least one true.

    Returns
    -------
    Tensor
        ``(width,)`` float32: 1 at ``width // 2``.
    """
    spread = ifft2c(mask[None].to(torch.complex64))[0].abs()
    return spread / spread.max()


def side_lobes(spread: Tensor, centre: int) -> dict[str, float]:
    """How a point's energy is spread over the rest of a row.

    Parameters
    ----------
    spread : Tensor
        From `point_spread`.
    centre : int
        Columns of the fully sampled centre. It alone would blur a point over ``width / centre``
        pixels on either side; side lobes are what lies further away.

    Returns
    -------
    dict
        ``highest``: the highest side lobe, over the point. ``energy``: of all side lobes, over the
        whole. ``in the ten largest``: share of the side lobes' energy in their ten largest pixels:
        near 1 where the image folds onto itself in few places, small where it is spread like noise.
    """
    width = len(spread)
    away = (torch.arange(width) - width // 2).abs() > width / max(1, centre)
    lobes = spread[away].numpy().astype(float) ** 2
    if not lobes.any():
        return {"highest": 0.0, "energy": 0.0, "in the ten largest": 0.0}
    return {
        "highest": float(np.sqrt(lobes.max())),
        "energy": float(lobes.sum() / float((spread.double() ** 2).sum())),
        "in the ten largest": float(np.sort(lobes)[-10:].sum() / lobes.sum()),
    }
