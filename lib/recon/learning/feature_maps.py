"""What a generator's feature maps show: the input, the retina's layers, two of their borders.

Manakov 2019 found its maps by eye (section 3.4, figures 3 and A.6 to A.11). Here each channel of
each layer gets two numbers, its correlation with the input and how much of its variance the true
layers explain; the map that tracks the retina is chosen by its error on eyes kept for such choices.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from skimage.morphology import disk, skeletonize

from recon.data.oct_files import crop_back, pad_to
from recon.errors import InputError
from recon.networks.cyclegan import Generator

__all__ = [
    "Borders",
    "border_errors",
    "choose_map",
    "explained_by_layers",
    "feature_maps",
    "follows",
    "group_of",
    "input_correlation",
    "layer_labels",
    "layer_names",
    "skeleton",
    "track",
]

FEWEST = 0.5  # share of the columns in which both borders must be found, for a map to count


def layer_names(generator: Generator) -> dict[str, torch.nn.Module]:
    """The layers of table A.1 whose outputs are maps, in its order (the last draws the image)."""
    named = {"initial": generator.initial}
    for kind, layers in (("down", generator.down), ("residual", generator.residual)):
        named |= {f"{kind} {number}": layer for number, layer in enumerate(layers, 1)}
    return named | {f"up {number}": layer for number, layer in enumerate(generator.up, 1)}


def group_of(layer: str, blocks: int) -> str:
    """``shallow`` (initial and down), ``deep`` (the later half of the residual blocks), else ``-``.

    The paper contrasts its first four layers with its deeper residual blocks.
    """
    kind, _, number = layer.partition(" ")
    if kind in ("initial", "down"):
        return "shallow"
    return "deep" if kind == "residual" and int(number) > blocks / 2 else "-"


@torch.inference_mode()
def feature_maps(generator: Generator, image: np.ndarray) -> dict[str, np.ndarray]:
    """Activations of every layer for one B-scan.

    Parameters
    ----------
    generator : Generator
    image : np.ndarray
        ``(H, W)``; divided by its maximum, mirrored at its borders until the generator takes it.

    Returns
    -------
    dict
        Layer to ``(channels, H, W)`` float32: enlarged to the padded input's size, then cropped.
    """
    padded, crop = pad_to((image / image.max()).astype(np.float32), 2**generator.depth)
    found: dict[str, torch.Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: found.update({name: out}))
        for name, layer in layer_names(generator).items()
    ]
    try:
        device = next(generator.parameters()).device
        generator(torch.from_numpy(padded)[None, None].to(device))
    finally:
        for hook in hooks:
            hook.remove()
    enlarged = {
        name: torch.nn.functional.interpolate(out, size=padded.shape, mode="bilinear")
        for name, out in found.items()
    }
    return {name: crop_back(out[0].cpu().numpy(), crop) for name, out in enlarged.items()}


def input_correlation(maps: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Absolute correlation of each map ``(C, H, W)`` with the image; 0 for a constant map.

    Returns ``(C,)``.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    flat = flat - flat.mean(1, keepdims=True)
    other = (image - image.mean()).ravel().astype(np.float64)
    scale = np.linalg.norm(flat, axis=1) * np.linalg.norm(other)
    return np.abs(flat @ other) / np.where(scale > 1e-9, scale, np.inf)


def layer_labels(boundaries: np.ndarray, height: int) -> np.ndarray:
    """Number of boundaries above each pixel: the layer that it lies in.

    Parameters
    ----------
    boundaries : np.ndarray
        ``(boundaries, W)``, rows.
    height : int

    Returns
    -------
    np.ndarray
        ``(H, W)`` int.
    """
    rows = np.arange(height)[None, :, None]
    return (rows >= boundaries[:, None, :]).sum(0)


def explained_by_layers(maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    r"""Share of each map's variance between the layers, :math:`\eta^2`; 0 for a constant map.

    The root of it is the correlation of the map with the best image that is constant in each layer.

    Parameters
    ----------
    maps : np.ndarray
        ``(C, H, W)``.
    labels : np.ndarray
        ``(H, W)`` int, see `layer_labels`.

    Returns
    -------
    np.ndarray
        ``(C,)``, 0 to 1.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    flat = flat - flat.mean(1, keepdims=True)
    which = labels.ravel()
    count = np.bincount(which)
    between = np.zeros(len(flat))
    for label in np.flatnonzero(count):
        between += flat[:, which == label].sum(1) ** 2 / count[label]
    total = (flat**2).sum(1)
    return between / np.where(total > 1e-9, total, np.inf)


def follows(
    generator: Generator, images: Sequence[np.ndarray], boundaries: Sequence[np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Both measures for every channel, averaged over B-scans.

    Parameters
    ----------
    generator : Generator
    images : sequence of np.ndarray
        ``(H, W)``.
    boundaries : sequence of np.ndarray
        ``(boundaries, W)`` of each; may be empty where they are not known.

    Returns
    -------
    dict
        Layer to ``input_correlation`` and, with boundaries, ``layer_correlation`` (the root of
        `explained_by_layers`), each ``(channels,)``.
    """
    sums: dict[str, dict[str, list[np.ndarray]]] = {}
    for index, image in enumerate(images):
        for name, maps in feature_maps(generator, image).items():
            own = sums.setdefault(name, {})
            own.setdefault("input_correlation", []).append(input_correlation(maps, image))
            if len(boundaries):
                labels = layer_labels(boundaries[index], image.shape[0])
                root = np.sqrt(explained_by_layers(maps, labels))
                own.setdefault("layer_correlation", []).append(root)
    return {
        name: {metric: np.mean(values, axis=0) for metric, values in own.items()}
        for name, own in sums.items()
    }


def skeleton(image: np.ndarray, feature: np.ndarray | None = None) -> np.ndarray:
    """Lines of figure A.11: B-scan times map, threshold at its mean, median filter, skeleton.

    Parameters
    ----------
    image : np.ndarray
        ``(H, W)``.
    feature : np.ndarray, optional
        ``(H, W)``, not negative; without it the B-scan stands alone.

    Returns
    -------
    np.ndarray
        ``(H, W)`` bool.
    """
    product = image if feature is None else image * feature
    above = (product > product.mean()).astype(np.uint8)
    return skeletonize(ndimage.median_filter(above, footprint=disk(2)) > 0)


@dataclass(frozen=True)
class Borders:
    """Rows ``(W,)`` of the inner and the outer line, NaN in columns without a line."""

    inner: np.ndarray
    outer: np.ndarray

    @property
    def found(self) -> float:
        """Share of the columns that have both lines apart from each other."""
        return float(np.mean(self.outer > self.inner))


def track(image: np.ndarray, feature: np.ndarray | None = None) -> Borders:
    """First and last line of the `skeleton` in each column: ILM and RPE, if the map has them."""
    lines = skeleton(image, feature)
    height = len(lines)
    any_line = lines.any(0)
    inner = np.where(any_line, lines.argmax(0), np.nan)
    outer = np.where(any_line, height - 1 - lines[::-1].argmax(0), np.nan)
    return Borders(inner, outer)


def border_errors(borders: Borders, inner: np.ndarray, outer: np.ndarray) -> dict[str, float]:
    """Errors of tracked borders, in pixels, over the columns in which both were found.

    Parameters
    ----------
    borders : Borders
    inner, outer : np.ndarray
        True rows ``(W,)`` of ILM and RPE.

    Returns
    -------
    dict
        Mean absolute errors ``ilm``, ``rpe`` and ``thickness``, mean signed errors with ``_bias``,
        and ``found``, the share of the columns; errors are NaN where none was found.
    """
    both = borders.outer > borders.inner
    misses = {"ilm": borders.inner - inner, "rpe": borders.outer - outer}
    misses["thickness"] = misses["rpe"] - misses["ilm"]
    found = {"found": borders.found}
    for name, miss in misses.items():
        kept = miss[both]
        found[name] = float(np.abs(kept).mean()) if kept.size else float("nan")
        found[f"{name}_bias"] = float(kept.mean()) if kept.size else float("nan")
    return found


def choose_map(
    generator: Generator,
    images: Sequence[np.ndarray],
    truths: Sequence[tuple[np.ndarray, np.ndarray]],
    layers: Iterable[str] | None = None,
) -> tuple[tuple[str, int], Mapping[tuple[str, int], float]]:
    """The layer and channel that track ILM and RPE best, on B-scans kept for the choice.

    Parameters
    ----------
    generator : Generator
    images : sequence of np.ndarray
        ``(H, W)``.
    truths : sequence of (np.ndarray, np.ndarray)
        True rows ``(W,)`` of ILM and RPE in each.
    layers : iterable of str, optional
        Of `layer_names`; all by default.

    Returns
    -------
    (layer, channel), mapping
        And the mean error (of ILM and RPE together, pixels) of every candidate that finds both in
        more than half of the columns.

    Raises
    ------
    InputError
        When there is no B-scan, or no map finds two lines.
    """
    if not len(images):
        raise InputError("a feature map cannot be chosen without B-scans to choose on")
    wanted = [*layer_names(generator)] if layers is None else [*layers]
    errors: dict[tuple[str, int], list[float]] = {}
    for image, (inner, outer) in zip(images, truths, strict=True):
        for name, maps in feature_maps(generator, image).items():
            for channel, feature in enumerate(maps if name in wanted else []):
                borders = track(image, feature)
                miss = border_errors(borders, inner, outer)
                enough = borders.found > FEWEST
                value = miss["ilm"] + miss["rpe"] if enough else np.inf
                errors.setdefault((name, channel), []).append(value)
    means = {key: float(np.mean(values)) for key, values in errors.items()}
    kept = {key: value for key, value in means.items() if np.isfinite(value)}
    if not kept:
        raise InputError("no feature map tracks two borders: the generator is not trained enough")
    return min(kept, key=lambda key: kept[key]), kept
