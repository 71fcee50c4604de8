"""What a generator's feature maps show: the input, and the retina's layers.

Manakov 2019 found its maps by eye (section 3.4, figures 3 and A.6 to A.11). Here each channel of
each layer gets two numbers, its correlation with the input and how much of its variance the true
layers explain. `recon.learning.borders` follows two borders of the retina in a map.
"""

from collections.abc import Sequence

import numpy as np
import torch

from recon.data.oct_files import crop_back, pad_to
from recon.networks.cyclegan import Generator

__all__ = [
    "best_of_band",
    "correlation",
    "explained_by_layers",
    "feature_maps",
    "follows",
    "group_of",
    "input_correlation",
    "layer_labels",
    "layer_names",
]


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


def correlation(maps: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Correlation of each map ``(C, H, W)`` with the image ``(H, W)``; 0 for a constant map.

    Returns ``(C,)``.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    flat = flat - flat.mean(1, keepdims=True)
    other = (image - image.mean()).ravel().astype(np.float64)
    scale = np.linalg.norm(flat, axis=1) * np.linalg.norm(other)
    return (flat @ other) / np.where(scale > 1e-9, scale, np.inf)


def input_correlation(maps: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Absolute `correlation` of each map with the image, ``(C,)``."""
    return np.abs(correlation(maps, image))


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


def best_of_band(maps: dict[str, np.ndarray], band: np.ndarray) -> tuple[str, int, float]:
    """Layer and channel whose map correlates most with a band of tissue, and the correlation.

    Parameters
    ----------
    maps : dict
        Of `feature_maps`.
    band : np.ndarray
        ``(H, W)`` bool: where the map should be bright.
    """
    found = []
    for layer, channels in maps.items():
        for channel, r in enumerate(correlation(channels, band)):
            found.append((float(r), layer, channel))
    r, layer, channel = max(found)
    return layer, channel, r


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
