"""Which spatial frequencies an image holds, misses or gains: energy by rings of k-space.

k-space lies in the corner layout, as everywhere in the book: frequency zero at ``[0, 0]``, as
``fft2`` gives it. Frequencies are in cycles per pixel; 0.5 is the finest that a grid can hold along
one axis. The corners of k-space beyond 0.5 form one last ring of their own, so that no energy is
lost: the sum over all rings is the energy of the image (Parseval).
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recon.results.figures import COLOURS

__all__ = [
    "BANDS",
    "band_gains",
    "change_curves",
    "recovered",
    "ring_centres",
    "ring_correlation",
    "ring_sums",
    "rings_of",
    "stage_curves",
]

# Cycles per pixel. Features on a grid s times coarser than the image can hold up to 1 / (2 s): a
# module of scale 4 the low band, one of scale 2 the middle one too, one of scale 1 all three.
BANDS = {"low": (0.0, 0.125), "middle": (0.125, 0.25), "high": (0.25, 0.5)}


def rings_of(shape: tuple[int, int], rings: int) -> np.ndarray:
    """The ring of every sample of k-space, corner layout.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    rings : int
        Rings of equal width from 0 to 0.5 cycles per pixel.

    Returns
    -------
    np.ndarray
        ``shape`` int: 0 to ``rings - 1``, and ``rings`` for the corners from 0.5 on.
    """
    radius = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij"))
    return np.minimum((radius * 2 * rings).astype(int), rings)


def ring_centres(rings: int) -> np.ndarray:
    """Frequencies ``(rings,)`` in the middle of the rings, in cycles per pixel."""
    return (np.arange(rings) + 0.5) / (2 * rings)


def ring_sums(values: np.ndarray, rings: int, where: np.ndarray | None = None) -> np.ndarray:
    """Sums of real values over rings of k-space.

    Parameters
    ----------
    values : np.ndarray
        ``(..., height, width)`` real, corner layout: ``abs(kspace) ** 2`` for energies.
    rings : int
        See `rings_of`.
    where : np.ndarray, optional
        Bool, broadcastable: the samples that count.

    Returns
    -------
    np.ndarray
        ``(rings + 1,)``: all leading axes and each ring summed up, the corners last.
    """
    if where is not None:
        values = np.where(where, values, 0)
    total = values.reshape(-1, *values.shape[-2:]).sum(axis=0)
    ring = rings_of(total.shape, rings)
    return np.bincount(ring.ravel(), weights=total.ravel(), minlength=rings + 1)


def recovered(spectra: pd.DataFrame) -> pd.Series:
    """Share of the missing energy that a stage has recovered: 1 - error / target.

    0 is the zero-filled image, 1 the truth; below 0 the stage drew something worse than nothing.

    Parameters
    ----------
    spectra : pd.DataFrame
        Columns ``error`` and ``target``: energies of a ring.
    """
    return 1 - spectra["error"] / spectra["target"]


def ring_correlation(spectra: pd.DataFrame) -> pd.Series:
    """Correlation of a stage's k-space with the missing samples: blind to the stage's scale.

    Its square is the share of a ring's energy that the best single factor would recover.

    Parameters
    ----------
    spectra : pd.DataFrame
        Columns ``cross, power, target`` of a ring. A stage with no energy but rounding has NaN.
    """
    drew = spectra["power"] > 1e-10 * spectra["target"]
    return spectra["cross"] / np.sqrt(spectra["power"] * spectra["target"]).where(drew)


def band_gains(spectra: pd.DataFrame) -> pd.DataFrame:
    """What each stage adds, by band, to the share of the missing energy that is within reach.

    Within reach is what one factor a ring would recover, the squared `ring_correlation`: a module
    need not draw to scale, since the joining CNN may rescale it. The stage's share minus that of
    its input, rings weighted by their missing energy.

    Parameters
    ----------
    spectra : pd.DataFrame
        ``volume, network, stage, frequency, target, power, cross, before_power, before_cross``, one
        line a ring.

    Returns
    -------
    pd.DataFrame
        ``network, stage, band, volume, value``; bands without missing energy are left out.
    """
    edges = [low for low, _ in BANDS.values()] + [0.5]
    band = pd.cut(spectra["frequency"], edges, labels=list(BANDS), right=False).astype(str)
    before = spectra[["target"]].assign(power=spectra.before_power, cross=spectra.before_cross)
    shares = [ring_correlation(part).fillna(0) ** 2 for part in (spectra, before)]
    gained = (shares[0] - shares[1]) * spectra["target"]
    keys = ["network", "stage", "band", "volume"]
    found = spectra.assign(band=band, gained=gained).groupby(keys, sort=False)
    sums = found[["gained", "target"]].sum()
    return (sums.gained / sums.target).rename("value").reset_index()


def stage_curves(spectra: pd.DataFrame, names: Mapping[object, str]) -> Figure:
    """Missing energy, the share of it that each stage recovers, and the stage's ring correlation.

    Parameters
    ----------
    spectra : pd.DataFrame
        ``stage, frequency, target, error, power, cross`` of one network, one line a volume, stage
        and ring.
    names : mapping
        Labels of the stages, in the order in which they are drawn.
    """
    figure, axes = plt.subplots(1, 3, figsize=(8.6, 2.8), layout="constrained")
    keys = ["error", "target", "power", "cross"]
    for colour, (stage, name) in zip(COLOURS, names.items(), strict=False):
        sums = spectra[spectra.stage == stage].groupby("frequency")[keys].sum()
        axes[1].plot(sums.index, recovered(sums), color=colour, label=name)
        axes[2].plot(sums.index, ring_correlation(sums), color=colour)
    axes[0].semilogy(sums.index, sums.target / sums.target.max(), color="black")
    axes[1].axhline(0, color="grey", linewidth=0.7)
    figure.legend(
        *axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    titles = ("missing energy (largest = 1)", "share recovered", "ring correlation")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
        axis.set_xlabel("frequency (cycles per pixel)")
    return figure


def change_curves(
    spectra: pd.DataFrame, networks: Mapping[str, Sequence[str]], titles: Mapping[str, str]
) -> Figure:
    """What each module of several networks changes, relative to the missing energy, by frequency.

    Parameters
    ----------
    spectra : pd.DataFrame
        ``network, stage, frequency, target, change``.
    networks : mapping
        Networks, each with the labels of its modules (stages 1, 2, ...); a label has one colour.
    titles : mapping
        Titles of the panels by network.
    """
    figure, axes = plt.subplots(
        1, len(networks), figsize=(8.6, 2.8), layout="constrained", sharey=True, squeeze=False
    )
    every = dict.fromkeys(label for labels in networks.values() for label in labels)
    colours = dict(zip(every, COLOURS, strict=False))
    drawn = {}
    for axis, (network, labels) in zip(axes[0], networks.items(), strict=True):
        for number, name in enumerate(labels, start=1):
            part = spectra[(spectra.network == network) & (spectra.stage == number)]
            sums = part.groupby("frequency")[["change", "target"]].sum()
            line = axis.plot(sums.index, sums.change / sums.target, color=colours[name])
            drawn.setdefault(name, line[0])
        axis.set_title(titles[network])
        axis.set_xlabel("frequency (cycles per pixel)")
    axes[0][0].set_ylabel("change / missing energy")
    axes[0][0].set_yscale("log")
    figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=4, frameon=False)
    return figure
