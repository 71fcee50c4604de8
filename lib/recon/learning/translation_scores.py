"""What a trained translator's parts do: verdicts of its discriminators, feature maps, runtimes."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from recon.classical.denoisers import PAPER, available
from recon.data.oct import Domains, pad_to, read_bscans
from recon.learning.borders import border_errors, track
from recon.learning.cost import rounds
from recon.learning.denoising import Volume
from recon.learning.feature_maps import follows, group_of
from recon.learning.translation import denoise, translate
from recon.networks.cyclegan import DOMAINS, Generator, HDCycleGAN
from recon.phantoms.retina import BOUNDARIES, render
from recon.physics.speckle import SPECTRALIS, average_frames

__all__ = [
    "KINDS",
    "correlations",
    "discriminator_scores",
    "domain_gaps",
    "group_scores",
    "time_denoisers",
    "tracked",
    "true_borders",
]

#: What a discriminator is shown, by key.
KINDS = {
    "high": "real, high noise",
    "low": "real, low noise",
    "to_high": "generated high noise",
    "to_low": "generated low noise",
}
SIZE = (496, 512)  # of the paper's B-scans


@torch.inference_mode()
def _judged(model: HDCycleGAN, images: np.ndarray, domain: str) -> float:
    """Mean probability that B-scans ``(B, H, W)`` are real ones of a domain."""
    device = next(model.parameters()).device
    scaled = np.stack([image / max(float(image.max()), 1e-6) for image in images])
    padded, _ = pad_to(scaled.astype(np.float32), 2**model.to_low.depth)
    shown = torch.from_numpy(padded)[:, None].to(device)
    return float(model.probabilities(shown, domain)["real"].mean())


def discriminator_scores(models: Mapping[str, HDCycleGAN], domains: Domains) -> pd.DataFrame:
    """Scores of figure A.1, by volume.

    Parameters
    ----------
    models : mapping
        By name.
    domains : Domains
        Of the test split.

    Returns
    -------
    pd.DataFrame
        ``volume, method, kind`` (of `KINDS`), ``judged_as`` (high or low) and ``value``, the
        probability of being a real image of that domain.
    """
    lines = []
    for high, low in zip(domains.high, domains.low, strict=False):
        real = {"high": read_bscans(high), "low": read_bscans(low)}
        for name, model in models.items():
            shown = dict(real)
            shown["to_low"] = denoise(model, real["high"])
            shown["to_high"] = translate(model.to_high, real["low"])
            for kind, images in shown.items():
                for domain in DOMAINS:
                    value = _judged(model, images, domain)
                    lines.append((high.name, name, kind, domain, value))
    return pd.DataFrame(lines, columns=["volume", "method", "kind", "judged_as", "value"])


def domain_gaps(scores: pd.DataFrame) -> pd.DataFrame:
    """How much the verdict on a real image depends on the domain that it is judged for.

    The mean over real images of both domains of the score for their own domain minus the score for
    the other: 1 for a perfect discriminator, 0 for one that sees no difference.

    Returns
    -------
    pd.DataFrame
        As `recon.results.statistics.summarise` takes it, metric ``domain_gap``.
    """
    real = scores[scores.kind.isin(DOMAINS)]
    sign = np.where(real.kind == real.judged_as, 1.0, -1.0)
    gaps = real.assign(value=sign * real.value)
    mean = gaps.groupby(["volume", "method"], as_index=False)["value"].sum()
    mean["value"] /= len(DOMAINS)
    return _scores(mean, "domain_gap")


def _scores(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    fields = {"contrast": "any", "effective_accel": 1.0, "metric": metric, "region": "full"}
    return table.assign(**fields)


def correlations(
    generator: Generator, volumes: Sequence[Volume]
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """`recon.learning.feature_maps.follows` of every volume's first B-scan, by volume."""
    found = {}
    for volume in volumes:
        truth = [] if volume.truth is None else [volume.truth.boundaries[0]]
        found[volume.name] = follows(generator, volume.noisy[:1], truth)
    return found


def group_scores(
    measured: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], blocks: int, suffix: str = ""
) -> pd.DataFrame:
    """Means over the channels of shallow and of deep layers, as scores by volume.

    Parameters
    ----------
    measured : mapping
        What `correlations` gives.
    blocks : int
        Residual blocks of the generator.
    suffix : str
        Of the names ``shallow`` and ``deep``.
    """
    parts = []
    for volume, layers in measured.items():
        grouped: dict[tuple[str, str], list[np.ndarray]] = {}
        for layer, metrics in layers.items():
            for metric, values in metrics.items():
                grouped.setdefault((group_of(layer, blocks), metric), []).append(values)
        for (group, metric), values in grouped.items():
            if group != "-":
                line = {"volume": volume, "method": group + suffix}
                line["value"] = float(np.concatenate(values).mean())
                parts.append(_scores(pd.DataFrame([line]), metric))
    return pd.concat(parts, ignore_index=True)


def true_borders(volume: Volume, index: int = 0) -> np.ndarray:
    """Rows of the ILM and of the RPE in a B-scan, ``(2, W)``."""
    lines = volume.truth.boundaries[index]
    return lines[[BOUNDARIES.index("ILM"), BOUNDARIES.index("RPE")]]


def tracked(
    features: Mapping[str, Sequence[np.ndarray | None]],
    volumes: Sequence[Volume],
    typical: float | None = None,
) -> pd.DataFrame:
    """Errors of the borders tracked in the first B-scan of every volume.

    Parameters
    ----------
    features : mapping
        Name to a map ``(H, W)`` a volume; None stands for the B-scan alone.
    volumes : sequence of Volume
        Simulated.
    typical : float, optional
        The thickness of other eyes, pixels: the method ``guess`` then says it of every column.

    Returns
    -------
    pd.DataFrame
        ``volume, contrast, method``, what `recon.learning.borders.border_errors` gives in
        pixels (of ``guess`` that of the thickness alone), and ``true_thickness``,
        ``measured_thickness`` (means over the columns found).
    """
    lines = []
    for name, maps in features.items():
        for volume, feature in zip(volumes, maps, strict=True):
            inner, outer = true_borders(volume)
            found = track(volume.noisy[0], feature)
            errors = border_errors(found, inner, outer)
            both = found.outer > found.inner
            thickness = {
                "true_thickness": float(np.mean((outer - inner)[both])) if both.any() else np.nan,
                "measured_thickness": float(np.mean((found.outer - found.inner)[both]))
                if both.any()
                else np.nan,
            }
            about = {"volume": volume.name, "contrast": volume.contrast, "method": name}
            lines.append({**about, **errors, **thickness})
    for volume in volumes if typical is not None else ():
        inner, outer = true_borders(volume)
        misses = typical - (outer - inner)
        lines.append(
            {
                "volume": volume.name,
                "contrast": volume.contrast,
                "method": "guess",
                "found": 1.0,
                "thickness": float(np.abs(misses).mean()),
                "thickness_bias": float(misses.mean()),
                "true_thickness": float((outer - inner).mean()),
                "measured_thickness": typical,
            }
        )
    return pd.DataFrame(lines)


def time_denoisers(
    generator: Generator, repeats: int = 2, size: tuple[int, int] = SIZE, seed: int = 0
) -> dict[str, list[float]]:
    """Seconds for one B-scan, every method in one run, one thread, in alternating rounds.

    Parameters
    ----------
    generator : Generator
        Under the name ``hdcyclegan``: its time does not depend on its weights.
    repeats : int
    size : (int, int)
    seed : int
        Of the B-scan of 12 frames that is simulated and denoised: estimates of the noise, and the
        time of some methods with them, depend on what is shown.
    """
    eye, rng = render((1, *size), seed), np.random.default_rng(seed)
    image = average_frames(eye.reflectivity[0], 12, SPECTRALIS, rng)
    runs = {
        name: lambda denoiser=denoiser, name=name: denoiser(image, PAPER[name])
        for name, denoiser in available().items()
    }
    runs["hdcyclegan"] = lambda: translate(generator, image[None])
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return rounds(runs, repeats)
    finally:
        torch.set_num_threads(before)
