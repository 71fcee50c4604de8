"""Tables and figures of an ablation whose models were each trained from several seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recon.results.figures import COLOURS
from recon.results.html import Html, html_table
from recon.results.seeds import least_difference

__all__ = ["Effect", "chances", "effect_table", "effects", "judged", "seed_dots", "spectra"]


@dataclass(frozen=True)
class Effect:
    """What a change does to one score, beside what seeds alone do.

    Attributes
    ----------
    difference : float
        Mean over seeds and volumes, minus the reference's.
    limit : float
        What the luck of the seed exceeds in one case of twenty; NaN if nothing was trained twice.
    """

    difference: float
    limit: float

    @property
    def beyond(self) -> bool:
        return abs(self.difference) > self.limit


def _means(scores: pd.DataFrame, metric: str) -> dict[str, np.ndarray]:
    """Mean over volumes of every training, by variant."""
    part = scores[scores.metric == metric]
    by_seed = part.groupby(["variant", "seed"], sort=False)["value"].mean()
    return {name: by_seed[name].to_numpy() for name in part.variant.unique()}


def effects(
    scores: pd.DataFrame, reference: str, metrics: Sequence[str]
) -> dict[str, dict[str, Effect]]:
    """The effect of every change, ``{variant: {metric: Effect}}``.

    Parameters
    ----------
    scores : pd.DataFrame
        ``variant, seed, volume, metric, value``.
    reference : str
        The variant that the others are compared with.
    metrics : sequence of str
        Those that were not measured are left out.
    """
    found: dict[str, dict[str, Effect]] = {}
    for metric in metrics:
        means = _means(scores, metric)
        if reference not in means:
            continue
        groups = list(means.values())
        known = any(len(group) > 1 for group in groups)
        for name, values in means.items():
            if name == reference:
                continue
            least = np.nan
            if known:
                least = least_difference(groups, len(values), len(means[reference]))
            difference = float(values.mean() - means[reference].mean())
            found.setdefault(name, {})[metric] = Effect(difference, float(least))
    return found


def effect_table(
    found: Mapping[str, Mapping[str, Effect]],
    variants: Mapping[str, str],
    metrics: Mapping[str, tuple[str, int]],
    reference: str,
) -> Html:
    """Every effect with its limit; beyond it in bold.

    Parameters
    ----------
    found : as `effects` gives it
    variants : mapping
        Names in print.
    metrics : mapping
        Metric to its name in print and digits.
    reference : str
        The reference's name in print.
    """
    lines = []
    for name, own in found.items():
        cells: list[str | Html] = [variants[name]]
        for metric, (_, digits) in metrics.items():
            if metric not in own:
                cells.append("–")
                continue
            effect = own[metric]
            text = f"{effect.difference:+.{digits}f}"
            text = f"<b>{text}</b>" if effect.beyond else text
            cells.append(Html(f"{text} ± {effect.limit:.{digits}f}"))
        lines.append(cells)
    caption = f"Difference from {reference} ± what seeds alone explain; beyond it in bold"
    return html_table(caption, ["Instead", *(title for title, _ in metrics.values())], lines)


def seed_dots(
    scores: pd.DataFrame,
    variants: Mapping[str, str],
    metrics: Mapping[str, tuple[str, int]],
    reference: str,
    noisy: Mapping[str, float],
) -> Figure:
    """Every training as a dot, a panel a metric; a band of what seeds explain about the reference.

    Parameters
    ----------
    scores, variants, metrics, reference
        As for `effects` and `effect_table`.
    noisy : mapping
        Metric to the value of the noisy images, a dashed line.
    """
    shown = {m: title for m, (title, _) in metrics.items() if (scores.metric == m).any()}
    across = min(2, len(shown))
    down = -(-len(shown) // across)
    figure, axes = plt.subplots(
        down,
        across,
        figsize=(7.2, down * (0.75 + 0.24 * len(variants))),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, (metric, title) in zip(axes.flat, shown.items(), strict=False):
        means = _means(scores, metric)
        for place, name in enumerate(variants):
            values = means.get(name, np.array([]))
            colour = COLOURS[1] if name == reference else COLOURS[0]
            axis.plot(values, [place] * len(values), "o", color=colour, alpha=0.7, markersize=5)
            if len(values):
                axis.plot(values.mean(), place, "|", color="black", markersize=13)
        if reference in means and any(len(group) > 1 for group in means.values()):
            count = len(means[reference])
            half = least_difference(list(means.values()), count, count)
            centre = means[reference].mean()
            axis.axvspan(centre - half, centre + half, color=COLOURS[1], alpha=0.13, linewidth=0)
        if metric in noisy:
            axis.axvline(noisy[metric], color="#666666", linestyle="--")
        axis.set_xlabel(title)
        axis.margins(x=0.12)
    for axis in list(axes.flat)[len(shown) :]:
        axis.axis("off")
    axes[0, 0].set_yticks(range(len(variants)), list(variants.values()))
    axes[0, 0].invert_yaxis()
    return figure


def spectra(
    maps: Mapping[str, np.ndarray], marks: Sequence[tuple[int, int]], meaning: str
) -> Figure:
    """Power spectra on one logarithmic scale, zero frequency in the middle, some bins circled.

    Parameters
    ----------
    maps : mapping
        Title to power ``(H, W)``, zero frequency first.
    marks : sequence of (int, int)
        Bins to circle; their mirror images are circled too.
    meaning : str
        What the circles are, below the panels.
    """
    across = min(2, len(maps))
    down = -(-len(maps) // across)
    figure, axes = plt.subplots(
        down, across, figsize=(7.2, 3.1 * down), squeeze=False, layout="constrained"
    )
    logs = {title: 10 * np.log10(np.fft.fftshift(power)) for title, power in maps.items()}
    low, high = np.quantile(next(iter(logs.values())), (0.02, 0.999))
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, power) in zip(axes.flat, logs.items(), strict=False):
        axis.axis("on")
        drawn = axis.imshow(
            power, extent=(-0.5, 0.5, 0.5, -0.5), vmin=low - 10, vmax=high, cmap="magma", aspect=1
        )
        height, width = power.shape
        bins = [*marks, *((-row % height, -column % width) for row, column in marks)]
        y, x = ((np.array(bins) / power.shape + 0.5) % 1 - 0.5).T
        circles = axis.plot(
            x, y, "o", color="#56B4E9", markersize=9, fillstyle="none", clip_on=False
        )
        axis.set_title(title, pad=9)  # room for the circles on the edge
        axis.set_xticks([-0.5, 0, 0.5])
        axis.set_yticks([-0.5, 0, 0.5])
        axis.tick_params(pad=7)
        axis.set_xlabel("cycles per pixel")
        axis.set_ylabel("cycles per pixel")
    figure.colorbar(drawn, ax=axes, label="power (dB)", shrink=0.8)
    figure.legend(circles, [meaning], loc="outside lower center", frameon=False)
    return figure


def judged(said: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Mean scores of real and generated images for either domain, every seed a dot (figure A.1).

    Parameters
    ----------
    said : pd.DataFrame
        ``variant, seed, image, high, low`` and ``fake``.
    titles : mapping
        Variant to the title of its panel.
    """
    kinds = ("real high", "real low", "generated high", "generated low")
    figure, axes = plt.subplots(
        1, len(titles), figsize=(9.2, 2.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (variant, title) in zip(axes[0], titles.items(), strict=True):
        own = said[said.variant == variant]
        means = own.groupby(["image", "seed"])[["high", "low", "fake"]].mean()
        for shift, (score, label) in enumerate(
            {"high": "as high noise", "low": "as low noise", "fake": "as generated"}.items()
        ):
            by_kind = means[score]
            for place, kind in enumerate(kinds):
                if kind not in by_kind.index.get_level_values(0):
                    continue
                values = by_kind[kind].to_numpy()
                x = place + 0.25 * (shift - 1)
                colour = (COLOURS[1], COLOURS[0], COLOURS[7])[shift]
                axis.bar(
                    x,
                    values.mean(),
                    0.23,
                    color=colour,
                    alpha=0.55,
                    label=label if not place else None,
                )
                axis.plot([x] * len(values), values, ".", color="black", markersize=4)
        axis.set_title(title)
        axis.set_xticks(
            range(4), [kind.replace("generated ", "made ").replace(" ", "\n") for kind in kinds]
        )
        axis.set_ylim(0, 1)
    axes[0, 0].set_ylabel("mean probability")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    return figure


def chances(
    histories: Mapping[str, Sequence[Sequence[dict]]],
    levels: Mapping[str, Mapping[str, float]],
    smooth: int = 10,
) -> Figure:
    """How discriminators take fresh generated images, step by step, mean over seeds.

    Parameters
    ----------
    histories : mapping
        Title to the histories of its trainings; steps without the probabilities are left out.
    levels : mapping
        Title to what guessing gives, ``real`` and ``fake``: dashed lines.
    smooth : int
        Steps of a running mean.
    """
    names = {"fake_as_real": "as real, of the target domain", "fake_as_fake": "as generated"}
    figure, axes = plt.subplots(
        1, len(histories), figsize=(9.2, 2.4), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (title, trainings) in zip(axes[0], histories.items(), strict=True):
        for colour, (name, label) in zip(COLOURS, names.items(), strict=False):
            rows = [[entry[name] for entry in history if name in entry] for history in trainings]
            curve = pd.DataFrame(rows).T.rolling(smooth, min_periods=1).mean()
            axis.plot(curve, color=colour, alpha=0.25, linewidth=0.8)
            axis.plot(curve.mean(axis=1), color=colour, label=label)
            guess = levels[title][name.removeprefix("fake_as_")]
            axis.axhline(guess, color=colour, linestyle="--", linewidth=0.8)
        axis.axhline(0.5, color="#666666", linestyle=":")
        axis.set_title(title)
        axis.set_xlabel("step")
        axis.set_ylim(0, 1)
    axes[0, 0].set_ylabel("mean probability")
    axes[0, -1].legend(frameon=False)
    return figure
