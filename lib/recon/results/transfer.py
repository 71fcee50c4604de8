"""Train on one set, test on another: the matrix of gains, as a table and as a picture."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from recon.results.html import Html, html_table, p_text
from recon.results.pages import columns_text
from recon.results.rows import one_head
from recon.results.statistics import bodies, interval, paired_p
from recon.results.store import Run, reference_dir, run_name
from recon.results.tables import NAMES, shown

__all__ = ["BASELINES", "gains", "heat", "matrix", "of_runs", "paired", "pictures"]

UNTRAINED = "–"  # of methods that learn nothing
BASELINES = ("cs", "bart_wavelet", "admm_start")  # that others are paired with, beside zero-filled


def gains(rows: Iterable[Mapping[str, Any]], metric: str = "psnr") -> dict[tuple, Mapping]:
    """Differences from zero-filled by (method, trained on, tested on, coils), all contrasts."""
    kept = {}
    for row in rows:
        if row.get("against") != "zero_filled" or row["metric"] != metric:
            continue
        if row["contrast"] == "all" and row["region"] == "full":
            key = (row["method"], row["trained_on"], row["data"], row["coils"])
            kept[key] = row
    return kept


def _values(rows: Iterable[Mapping[str, Any]], metric: str) -> dict[tuple, Mapping]:
    """Scores themselves over all contrasts, by the same keys."""
    kept = {}
    for row in rows:
        whole = row["contrast"] == "all" and row["region"] == "full"
        if whole and "against" not in row and row["metric"] == metric:
            kept[row["method"], row["trained_on"], row["data"], row["coils"]] = row
    return kept


def _ordered(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def matrix(
    rows: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    caption: str,
    metric: str = "psnr",
    coils: int | None = None,
    absolute: bool = False,
) -> Html:
    """A line for each method and training, a column for each test set (and number of coils).

    Columns say how many volumes or masks were scored, and the mean effective acceleration.

    Parameters
    ----------
    rows : tidy rows, with ``trained_on`` and ``coils``
    names : what stands in print for a set
    caption : what the table shows
    metric : ``psnr`` or ``ssim``
    coils : virtual coils to look at; all numbers where not given
    absolute : scores instead of gains over zero-filled
    """
    every = (_values if absolute else gains)(rows, metric)
    found = {k: row for k, row in every.items() if coils in (None, k[3])}
    sign = "" if absolute else "+"
    lines = _ordered(key[:2] for key in found)
    columns = _ordered(key[2:] for key in found)
    heads = []
    for column in columns:
        data, number = column
        row = next(row for key, row in found.items() if key[2:] == column)
        parts = [names.get(data, data), _amount(row), f"{row['effective_accel']:.2f}x"]
        parts[1:1] = [] if coils is not None else [f"{number} coils" if number else "all coils"]
        heads.append(", ".join(parts))
    cells = [
        [
            NAMES.get(method, method),
            names.get(trained, trained),
            *(
                shown(found[method, trained, *column], sign)
                if (method, trained, *column) in found
                else "–"
                for column in columns
            ),
        ]
        for method, trained in lines
    ]
    return html_table(caption, ["Method", "Trained on", *heads], cells, headers=2)


def _amount(row: Mapping[str, Any]) -> str:
    """How many volumes, or masks, a row speaks of."""
    return f"{row['n']} {row['unit']}{'s' * (row['n'] != 1)}"


def paired(
    scores: Mapping[str, pd.DataFrame],
    pairs: Iterable[tuple[tuple[str, str], tuple[str, str]]],
    names: Mapping[str, str],
    caption: str,
    metric: str = "psnr",
) -> Html:
    """Paired differences on every exam, with intervals and Wilcoxon's p.

    Parameters
    ----------
    scores : by exam, what `recon.learning.transfer.examine` returns
    pairs : pairs of (trained on, method); the first is compared with the second
    names : what stands in print for a set
    caption : what the table shows
    """
    lines = []
    pairs = list(pairs)
    for exam, table in scores.items():
        part = table[(table.metric == metric) & (table.region == "full")]
        of = bodies(part, exam)  # masks of one scan are averaged, unless there is no other scan
        several = of.nunique() > 1
        wide = part.pivot(index="volume", columns=["trained_on", "method"], values="value")
        for first, second in pairs:
            if first not in wide or second not in wide:
                continue
            difference = wide[first] - wide[second]
            difference = (difference.groupby(of).mean() if several else difference).to_numpy()
            ends = interval(difference)
            row = {"metric": metric, "value": difference.mean(), "ci95": ends}
            lines.append(
                [
                    names.get(exam, exam),
                    *(_called(one, names) for one in (first, second)),
                    shown(row, "+"),
                    p_text(paired_p(difference) if several and not one_head(exam) else None, ".2g"),
                    len(difference),
                ]
            )
    columns = ["Tested on", "First", "Second", "First minus second", "p", "n"]
    return html_table(caption, columns, lines, headers=3)


def _called(one: tuple[str, str], names: Mapping[str, str]) -> str:
    trained, method = one
    name = NAMES.get(method, method)
    return name if trained == UNTRAINED else f"{name} ({names.get(trained, trained)})"


def against_baselines(
    rows: Iterable[Mapping[str, Any]], names: Mapping[str, str], caption: str, coils: int
) -> Html:
    """Stored differences in PSNR from compressed sensing and from ADMM-Net's start; or nothing."""
    lines = [
        [
            names.get(row["data"], row["data"]),
            _called((row["trained_on"], row["method"]), names),
            NAMES[row["against"]],
            shown(row, "+"),
            p_text(row["p_value"], ".2g"),
            _amount(row),
        ]
        for row in rows
        if row.get("against") in BASELINES
        and (row["metric"], row["contrast"], row["region"]) == ("psnr", "all", "full")
        and row["coils"] == coils
    ]
    columns = ["Tested on", "First", "Second", "First minus second", "p", "n"]
    return html_table(caption, columns, lines, headers=3) if lines else Html()


def of_runs(runs: Iterable[Run]) -> Html:
    """Tables of stored runs: gains, differences from compressed sensing, PSNR by number of coils.

    The last of them is left out where an earlier run's says the same.
    """
    parts: list[str] = []
    told: dict[tuple, float] = {}
    for run in runs:
        name, coils = run_name(run.chapter, run.parameters), run.parameters["coils"]
        sets = {row[field] for row in run.rows for field in ("data", "trained_on")}
        names = {one: one.removeprefix("simulated_").replace(" without ", ", no ") for one in sets}
        what = f"PSNR (dB) at {run.parameters['accel']:g}x"
        caption = f"Gain over zero-filled, {what}, {coils} virtual coils; run {name}"
        parts.append(matrix(run.rows, names, caption, coils=coils))
        caption = f"Differences in {what}, {coils} virtual coils; run {name}"
        parts.append(against_baselines(run.rows, names, caption, coils))
        other = {_learner(row) for row in run.rows if row["coils"] != coils}
        both = [row for row in run.rows if _learner(row) in other]
        values = {key: round(row["value"], 3) for key, row in _values(both, "psnr").items()}
        if not values.items() <= told.items():
            caption = f"{what} by number of coils; run {name}"
            parts.append(matrix(both, names, caption, absolute=True))
        told |= values
    return Html("".join(parts))


def _learner(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["method"], row["trained_on"], row["data"]


def pictures(runs: Iterable[Run]) -> Markdown:
    """The stored figures of reference runs, with what their networks were trained on."""
    parts = []
    for run in runs:
        name = run_name(run.chapter, run.parameters)
        path = reference_dir() / f"{name}_example.png"
        if path.is_file():
            first = run.parameters["lessons"].replace("all", "simulated_brain").split(",")[0]
            columns = columns_text(row["method"] for row in run.rows)
            parts += [f"**{name}**: networks trained on {first}"]
            parts += [f"![{columns}](results/{path.name})"]
    return Markdown("\n\n".join(parts) or "No reference run with a figure is committed yet.")


def heat(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], coils: int) -> Figure:
    """The matrix as a picture: a panel a network, all on one scale of gain in PSNR (dB)."""
    found = {k: row["value"] for k, row in gains(rows).items() if k[3] == coils}
    learned = {key: value for key, value in found.items() if key[1] != UNTRAINED}
    methods = _ordered(key[0] for key in learned)
    trained, tested = _ordered(k[1] for k in learned), _ordered(k[2] for k in found)
    limit = max(abs(value) for value in found.values())
    figure, axes = plt.subplots(
        1,
        len(methods),
        figsize=(1.5 + 2.6 * len(methods), 1.3 + 0.42 * len(trained)),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for axis, method in zip(axes[0], methods, strict=True):
        values = np.array(
            [[learned.get((method, a, b, coils), np.nan) for b in tested] for a in trained]
        )
        picture = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        for (line, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = "white" if abs(value) > 0.6 * limit else "black"
                axis.text(column, line, f"{value:+.1f}", ha="center", va="center", color=colour)
        axis.set_title(NAMES.get(method, method), fontsize=10)
        axis.set_xticks(range(len(tested)), [names.get(n, n) for n in tested], rotation=20)
        axis.set_yticks(range(len(trained)), [names.get(n, n) for n in trained])
        axis.tick_params(length=0)
    axes[0, 0].set_ylabel("trained on")
    figure.supxlabel("tested on", fontsize=10)
    figure.colorbar(picture, ax=axes[0].tolist(), label="gain over zero-filled, dB")
    return figure
