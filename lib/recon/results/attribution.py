"""Which deviation costs what: a shortfall shared out among suspects.

A suspect is a method that differs from a reference in one thing. It is found to cost something when
three things hold: the 95 % interval of its paired loss lies above zero; Wilcoxon's signed-rank test
stays below 5 % after Holm's correction for the number of suspects; and the loss is larger than
what two trainings of the reference differ by that differ in nothing but their random numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from recon.results.figures import COLOURS
from recon.results.html import Html, brackets, html_table, p_text
from recon.results.rows import evidence
from recon.results.tables import shown

__all__ = [
    "COSTS",
    "HELPS",
    "OPEN",
    "attribution",
    "findings",
    "forest",
    "holm",
    "losses",
    "summary",
]

COSTS, HELPS, OPEN = "costs", "helps", "no difference shown"


def holm(p_values: Sequence[float | None]) -> list[float]:
    """Holm's step-down correction: p-values valid for all tests together, in the given order."""
    p_values = [1.0 if p is None else p for p in p_values]  # not tested: nothing found
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def losses(
    rows: Iterable[Mapping[str, Any]], reference: str, suspects: Iterable[str], metric: str
) -> dict[str, Mapping[str, Any]]:
    """The row ``reference - suspect`` of every suspect that has one, over all contrasts."""
    wanted = [*suspects]
    found = {
        row["against"]: row
        for row in rows
        if (row["method"], row["metric"], row["contrast"]) == (reference, metric, "all")
        and "against" in row
    }
    return {name: found[name] for name in wanted if name in found}


def chance(twin: Mapping[str, Any]) -> float:
    """How far two trainings may differ by chance: the larger bound of the twin's interval."""
    return max(abs(bound) for bound in twin["ci95"])


def findings(
    rows: Sequence[Mapping[str, Any]],
    reference: str,
    suspects: Iterable[str],
    twin: str,
    metric: str = "psnr",
    level: float = 0.05,
) -> dict[str, str]:
    """`COSTS`, `HELPS` or `OPEN` for every suspect, by the rule at the top of this file.

    Parameters
    ----------
    rows : rows of one run at one acceleration
    reference : the method that lacks nothing
    suspects : methods that differ from it in one thing
    twin : the reference trained again with other random numbers
    metric : by which they are judged
    level : of the corrected test
    """
    rows = [*rows]
    found = losses(rows, reference, suspects, metric)
    noise = chance(losses(rows, reference, [twin], metric)[twin])
    corrected = holm([row["p_value"] for row in found.values()])
    result = {}
    for (name, row), p in zip(found.items(), corrected, strict=True):
        sure = p < level and abs(row["value"]) > noise
        low, high = evidence(row)
        result[name] = COSTS if sure and low > 0 else HELPS if sure and high < 0 else OPEN
    return result


def attribution(
    rows: Sequence[Mapping[str, Any]],
    reference: str,
    suspects: Sequence[str],
    twin: str,
    beside: Sequence[str],
    names: Mapping[str, str],
) -> Html:
    """Losses of every suspect, worst first; the twin and the methods `beside` below them."""
    rows = [*rows]
    wanted = [*suspects, twin, *beside]
    psnr, ssim = (losses(rows, reference, wanted, metric) for metric in ("psnr", "ssim"))
    found = findings(rows, reference, suspects, twin)
    corrected = dict(zip(found, holm([psnr[name]["p_value"] for name in found]), strict=True))
    order = sorted(found, key=lambda name: -psnr[name]["value"])
    lines = [
        [names[name], shown(psnr[name], "+"), shown(ssim[name], "+")]
        + [p_text(corrected.get(name, psnr[name]["p_value"])), found.get(name, "–")]
        for name in [*order, twin, *beside]
    ]
    any_row = psnr[twin]
    caption = (
        f"What is lost against {names[reference]} at {any_row['accel']:g}x: mean over "
        f"{any_row['n']} volumes, 95 % interval, Wilcoxon's p (Holm's correction for suspects)"
    )
    columns = ["Deviation", "PSNR lost, dB", "SSIM lost", "p", "Finding"]
    return html_table(caption, columns, lines)


def two_ways(
    rows: Sequence[Mapping[str, Any]],
    reference: str,
    ways: Mapping[str, str],
    together: str,
    repaired: str,
    names: Mapping[str, str],
) -> Html:
    """PSNR lost, and gained by the repair, under two ways of scoring.

    Parameters
    ----------
    rows : rows of one run at one acceleration
    reference : the method that lacks nothing
    ways : a method under its first name to the same under the second
    together, repaired : all suspects, and the same with one fault mended (first names)
    names : names in print
    """
    rows = [*rows]
    lost = losses(rows, reference, [*ways, *ways.values()], "psnr")
    lines = [
        [f"{names[one]}: lost", shown(lost[one], "+"), shown(lost[other], "+")]
        for one, other in ways.items()
    ]
    gains = [
        losses(rows, better, [worse], "psnr")[worse]
        for better, worse in ((repaired, together), (ways[repaired], ways[together]))
    ]
    lines.append(["the repair: gained", *(shown(gain, "+") for gain in gains)])
    caption = "PSNR in dB, mean and 95 % interval, by the way back from a target of zero mean"
    return html_table(caption, ["", "Best factor and offset", "Its deviation and mean"], lines)


def forest(
    rows: Sequence[Mapping[str, Any]],
    reference: str,
    suspects: Sequence[str],
    twin: str,
    together: str,
    names: Mapping[str, str],
) -> Figure:
    """Losses in dB with their intervals, worst on top; the grey band is the twin's (`chance`)."""
    found = losses(rows, reference, [*suspects, together], "psnr")
    noise = chance(losses(rows, reference, [twin], "psnr")[twin])
    order = sorted((n for n in found if n != together), key=lambda n: found[n]["value"])
    order = [together, *order]
    figure, axis = plt.subplots(figsize=(7.2, 0.32 * len(order) + 0.9), layout="constrained")
    if isfinite(noise):
        axis.axvspan(-noise, noise, color=COLOURS[7], alpha=0.3, linewidth=0)
    axis.axvline(0, color="black", linewidth=0.8)
    for place, name in enumerate(order):
        low, high = found[name]["ci95"]
        colour = COLOURS[1] if name == together else COLOURS[0]
        axis.plot([low, high], [place, place], color=colour, linewidth=2)
        axis.plot(found[name]["value"], place, "o", color=colour, markersize=5)
    axis.set_yticks(range(len(order)), [names[name] for name in order])
    axis.set_xlabel("PSNR lost (dB)")
    return figure


def summary(
    rows: Sequence[Mapping[str, Any]],
    reference: str,
    suspects: Sequence[str],
    twin: str,
    together: str,
    repaired: str,
    names: Mapping[str, str],
) -> str:
    """The findings in sentences, Markdown; `repaired` is `together` with one fault mended."""
    found = findings(rows, reference, suspects, twin)
    lost = losses(rows, reference, [*suspects, together], "psnr")
    lines = []
    for finding, words in (
        (COSTS, "Found to cost something"),
        (HELPS, "Found to help"),
        (OPEN, "No difference shown"),
    ):
        named = sorted((n for n in found if found[n] == finding), key=lambda n: -lost[n]["value"])
        listed = ", ".join(f"{names[n]} ({lost[n]['value']:+.2f} dB)" for n in named) or "nothing"
        lines.append(f"- **{words}** (dB lost alone): {listed}.")
    alone = sum(lost[n]["value"] for n in found if found[n] == COSTS)
    ends = brackets(lost[together]["ci95"], ".2f")
    lines.append(
        f"- The costly ones, added up one by one, lose {alone:.2f} dB; everything together loses "
        f"{lost[together]['value']:.2f} dB {ends}."
    )
    change = losses(rows, repaired, [together], "psnr")[together]
    low, high = evidence(change)
    word = "gains" if low > 0 else "loses" if high < 0 else "changes by"
    value = change["value"] if word == "changes by" else abs(change["value"])
    lines.append(
        f"- Mending only the line that drops data consistency, and nothing else of the "
        f"replication, {word} {value:.2f} dB (interval of the gain "
        f"{brackets(change['ci95'], '+.2f')}, p = {p_text(change['p_value'], '.2g')})."
    )
    return "\n".join(lines)
