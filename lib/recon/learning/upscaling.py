"""Train and score networks that enlarge images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn

import recon.data.super_resolution as pairs_of
from recon.classical import interpolation
from recon.classical.interpolation import reduce, whole_crop
from recon.data.measurement import Measurement
from recon.data.super_resolution import Pairs, grey, read_contrast, read_images
from recon.learning.budget import reached
from recon.learning.metrics import CONTRASTS
from recon.learning.training import Schedule, fit, training_folder
from recon.results.fingerprints import code_sha256

__all__ = [
    "Upscaling",
    "pixel_error",
    "score_files",
    "score_images",
    "score_stacks",
    "similarity",
    "train",
]

BATCH = 4  # slices enlarged at a time


class Upscaling(nn.Module):
    """A network of small images in the form that `fit` calls: with a mask, which it ignores.

    Weights that no gradient reaches are kept from the optimiser: they would never move, and
    `LookaheadAdam` cannot restore a state that holds no step of theirs.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.live = {f"network.{name}" for name in reached(network)}

    def named_parameters(self, *args, **options) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights that learn."""
        every = super().named_parameters(*args, **options)
        return ((name, weight) for name, weight in every if name in self.live)

    def forward(self, low: Tensor, mask: Tensor) -> Tensor:
        """``(batch, 1, h, w)`` to ``(batch, 1, scale h, scale w)``."""
        return self.network(low)


def pixel_error(images: Tensor, pair: Measurement) -> Tensor:
    """Mean square error over all pixels, the loss of Stoian (2020, section 2)."""
    return (images.float() - pair.target).square().mean()


def train(
    network: nn.Module,
    files: Sequence[Path],
    settings: Mapping[str, object],
    schedule: Schedule,
    crop: int,
    label: str,
) -> list[dict]:
    """Train a network in place, or fetch its finished training; the history of `fit`.

    Parameters
    ----------
    network : nn.Module
        ``(batch, 1, h, w)`` to ``(batch, 1, scale h, scale w)``.
    files : sequence of Path
        fastMRI-format files to learn from.
    settings : mapping
        Of these, ``data``, ``task``, ``scale``, ``seed`` and ``device`` bear on the training.
    schedule : Schedule
    crop : int
        Side of the large crops.
    label : str
        Text of the progress bar.
    """
    # Only what bears on the weights: another folder of test data must not train anew. The folder's
    # name knows the network's code; what makes the pairs, and the loss here, it has to be told.
    told = {name: settings[name] for name in ("data", "task", "scale", "seed", "device")}
    sources = (__file__, pairs_of.__file__, interpolation.__file__)
    told |= {"crop": crop, "code": code_sha256(*map(Path, sources))}
    folder = training_folder(network, told, schedule, files, pixel_error)
    scale, seed = int(settings["scale"]), int(settings["seed"])
    pairs = Pairs(files, scale, crop, seed)
    device = str(settings["device"])
    return fit(Upscaling(network), pairs, pixel_error, schedule, folder, seed, device, label)


def similarity(image: np.ndarray, target: np.ndarray) -> float:
    """SSIM of grey images from 0 to 1 with a Gaussian window (Wang et al. 2004).

    11 x 11 pixels, standard deviation 1.5, windows that reach over the border left out: what
    TensorFlow's ``tf.image.ssim`` computes with its defaults and a range of 1.
    """
    return float(
        structural_similarity(
            image,
            target,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


@torch.inference_mode()
def score_images(
    methods: Mapping[str, Callable[[Tensor], Tensor]],
    images: np.ndarray,
    scale: int,
    device: torch.device | str = "cpu",
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """PSNR and SSIM of every slice under every method.

    Slices are made grey images from 0 to 1, cut to a multiple of the scale, and reduced; results
    are cut off at 0 and 1, as a stored image would be. Slices without a signal are left out.

    Parameters
    ----------
    methods : mapping
        Small images ``(batch, 1, h, w)`` to large ones.
    images : np.ndarray
        ``(slices, H, W)``, fully sampled.
    scale : int
    device : str

    Returns
    -------
    scores : dict
        Method to ``psnr`` (dB, range 1) and ``ssim``, each an array over slices.
    middle : dict
        The middle slice under every method, and ``target``, ``(H, W)``.
    """
    target = whole_crop(grey(images), scale)
    target = target[target.amax(dim=(-3, -2, -1)) > 0].to(device)
    low = reduce(target, scale)
    truth = target[:, 0].cpu().numpy()
    middle = {"target": truth[len(truth) // 2]}
    scores = {}
    for name, method in methods.items():
        parts = [method(part).float() for part in low.split(BATCH)]
        drawn = torch.cat(parts).clamp(0, 1)[:, 0].cpu().numpy()
        error = np.square(drawn - truth, dtype=np.float64).mean(axis=(1, 2))
        scores[name] = {
            "psnr": -10 * np.log10(np.maximum(error, 1e-12)),
            "ssim": np.array([similarity(a, b) for a, b in zip(drawn, truth, strict=True)]),
        }
        middle[name] = drawn[len(drawn) // 2]
    return scores, middle


def score_files(
    methods: Mapping[str, Callable[[Tensor], Tensor]],
    files: Sequence[Path],
    scale: int,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Scores of every volume, the means over its slices, for `summarise`."""
    lines = []
    for path in files:
        contrast = read_contrast(path)
        found, _ = score_images(methods, read_images(path), scale, device)
        means = {m: {k: [v.mean()] for k, v in values.items()} for m, values in found.items()}
        lines += _lines(means, [path.stem], CONTRASTS.get(contrast, contrast), scale)
    return pd.DataFrame(lines)


def score_stacks(
    methods: Mapping[str, Callable[[Tensor], Tensor]],
    stacks: Mapping[str, np.ndarray],
    scale: int,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Scores of every slice of named stacks ``(slices, H, W)``, for `summarise`.

    The name stands where the contrast of a volume stands.
    """
    lines = []
    for stack, images in stacks.items():
        found, _ = score_images(methods, images, scale, device)
        count = len(next(iter(found.values()))["psnr"])
        lines += _lines(found, [f"{stack} {i}" for i in range(count)], stack, scale)
    return pd.DataFrame(lines)


def _lines(
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    units: Sequence[str],
    contrast: str,
    scale: int,
) -> list[dict]:
    """A line for every method, metric and unit."""
    fields = {"contrast": contrast, "effective_accel": float(scale), "region": "full"}
    return [
        {**fields, "volume": unit, "method": method, "metric": metric, "value": float(value)}
        for method, metrics in scores.items()
        for metric, values in metrics.items()
        for unit, value in zip(units, values, strict=True)
    ]
