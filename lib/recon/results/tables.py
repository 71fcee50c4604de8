"""Tables of the book: measured values beside published ones, verdicts, reference runs.

Plain HTML with a caption and header cells that name their rows and columns, so that it can be
read aloud; a table that is wider than a phone scrolls inside its own frame. Published numbers come
from ``book/claims``, measured ones from rows: none is typed here or in a chapter.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from recon.results.claims import Paper, Table
from recon.results.html import Html, estimate, html_table
from recon.results.names import ABLATIONS, OTHERS, data_name, lesson_and_exam
from recon.results.store import Run, run_name
from recon.results.verdict_tables import scoreboard, verdicts
from recon.results.verdicts import METRICS

__all__ = [
    "beside_paper",
    "differences",
    "reference_scores",
    "references",
    "scoreboard",
    "verdicts",
]

DIGITS = {"psnr": 1, "ssim": 3, "nmse": 4}
DIGITS |= {"memory_train": 2, "memory_test": 2, "seconds_train": 2, "seconds_test": 2}
# In the order of the papers' tables, with the methods that are ours among them.
NAMES = {
    "zero_filled": "Zero-filled",
    "cs": "CS",
    "unet": "U-Net",
    "vn": "VN",
    "vsnet": "VS-Net",
    "kikinet": "KIKI-Net",
    "d5c5": "D5C5",
    "complexmri": "ComplexMRI",
    "convrnn1": "ConvRNN1-4x",
    "convrnn2": "ConvRNN2-2x",
    "convrnn3": "ConvRNN3-1x",
    "pcrnn_xs": "PC-RNN-XS",
    "pcrnn_s": "PC-RNN-S",
    "pcrnn_b": "PC-RNN-B",
    **OTHERS,
    **ABLATIONS,
}
STAGES = ("convrnn1", "convrnn2", "convrnn3")


def shown(row: Mapping[str, Any], sign: str = "", digits: int | None = None) -> Html:
    """A value with its 95 % interval, digits as the paper prints them; `sign` may be ``+``."""
    digits = DIGITS.get(row["metric"], 3) if digits is None else digits
    form = f"{sign}.{digits}f"
    return estimate(f"{row['value']:{form}}", row["ci95"], form)


def _name(method: str, paper: Paper | None = None) -> str:
    names = NAMES if paper is None else {**NAMES, **paper.methods}
    return names.get(method, method)


def _metric(metric: str) -> str:
    return METRICS.get(metric, metric.capitalize())


def _scored(rows: Iterable[Mapping[str, Any]], accel: float) -> list[Mapping[str, Any]]:
    """Value rows at `accel`, of the body where a metric has both regions."""
    rows = [row for row in rows if row["accel"] == accel and "against" not in row]
    body = {(row["method"], row["metric"]) for row in rows if row["region"] == "body"}
    return [
        row for row in rows if row["region"] == "body" or (row["method"], row["metric"]) not in body
    ]


def beside_paper(rows: Sequence[Mapping[str, Any]], paper: Paper, table: str, accel: float) -> Html:
    """Measured values with their intervals beside the values of a published table.

    Parameters
    ----------
    rows : rows of one run
    paper : from `recon.results.claims.load`
    table : the paper's number of it, ``"I"``, ``"II"`` or ``"VI"``
    accel : nominal acceleration; one that the paper lacks leaves its columns empty
    """
    published = paper.tables[table]
    # A table of stages compares them with the whole network alone, and has fewer contrasts.
    stages = any(row[2] in STAGES for row in published.rows)
    contrasts = {row[1] for row in published.rows}
    measured: dict[tuple[str, str], dict[str, Any]] = {}
    for row in _scored(rows, accel):
        method, contrast = row["method"], row["contrast"]
        fits = method in STAGES or method.startswith("pcrnn") if stages else method not in STAGES
        if fits and (not stages or contrast in contrasts):
            measured.setdefault((contrast, method), {})[row["metric"]] = row
    metrics = list(dict.fromkeys(metric for metric, _ in published.columns))
    columns = ["Contrast", "Method"]
    for metric in metrics:
        columns += [f"{_metric(metric)}, paper", f"{_metric(metric)}, here [95 %]"]
    # Where a table covers several experiments, the one whose data the rows come from is shown.
    body = []
    for contrast, method, values in _lines(published, paper, rows, measured, accel):
        cells: list[Any] = [contrast if contrast != "all" else "All", _name(method, paper)]
        ours = measured.get((contrast, method), {})
        for metric in metrics:
            cells.append(_published(values.get(metric), metric))
            cells.append(shown(ours[metric]) if metric in ours else "–")
        body.append(cells)
    scored = _scored(rows, accel)
    origin = ", ".join(sorted({row["data"] for row in scored})) or "no data"
    volumes = max((row["n"] for row in scored), default=0)
    caption = (
        f"Table {table} of the paper at {accel:g}x ({published.caption}), beside this run on "
        f"{origin} ({volumes} {units_of(scored)}). Absolute values compare on the same data only."
    )
    return html_table(caption, columns, body, headers=2)


def _published(value: float | None, metric: str) -> str:
    return "–" if value is None else f"{value:.{DIGITS[metric]}f}"


def fitting_experiments(paper: Paper, rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Names of the experiments that the data of `rows` belong to or stand in for."""
    data = {row["data"] for row in rows}
    return {n for n, e in paper.experiments.items() if data & {*e.published, *e.stand_in}}


def _lines(
    published: Table,
    paper: Paper,
    rows: Sequence[Mapping[str, Any]],
    measured: Mapping[tuple[str, str], Any],
    accel: float,
) -> list[tuple[str, str, dict[str, float]]]:
    """Contrast, method and published values of each line, the run's own methods first."""
    fitting = fitting_experiments(paper, rows)
    values: dict[tuple[str, str], dict[str, float]] = {}
    for experiment, contrast, method, numbers in published.rows:
        if experiment in fitting or not fitting:
            at = zip(published.columns, numbers, strict=True)
            line = {metric: number for (metric, column), number in at if column == accel}
            values.setdefault((contrast, method), line)
    contrasts = list(dict.fromkeys(contrast for contrast, _ in [*values, *measured]))
    lines = []
    for contrast in contrasts:
        ours = [method for kind, method in measured if kind == contrast]
        theirs = [method for kind, method in values if kind == contrast]
        known = [method for method in [*NAMES, *paper.methods] if method in {*ours, *theirs}]
        for method in dict.fromkeys([*known, *ours]):
            lines.append((contrast, method, values.get((contrast, method), {})))
    return lines


def differences(
    rows: Iterable[Mapping[str, Any]], title: str = "", digits: int | None = None
) -> Html:
    """Paired differences with intervals and p-values, one line each.

    Parameters
    ----------
    rows : rows of one run
    title : what differs, before the rest of the caption
    digits : of the differences, if not those of the paper
    """
    rows = [row for row in rows if "against" in row]
    body = {
        (row["method"], row["against"], row["metric"]) for row in rows if row["region"] == "body"
    }
    lines = [
        [
            f"{_name(row['method'])} – {_name(row['against'])}",
            _metric(row["metric"]),
            "All" if row["contrast"] == "all" else row["contrast"],
            f"{row['accel']:g}x",
            shown(row, "+", digits),
            _p(row["p_value"]),
            row["n"],
        ]
        for row in rows
        if row["region"] == "body" or (row["method"], row["against"], row["metric"]) not in body
    ]
    tested = f"Paired differences over {units_of(rows)}: mean, 95 % t interval, "
    tested += "Wilcoxon signed-rank test"
    return html_table(
        f"{title}. {tested}" if title else tested,
        ["Difference", "Metric", "Contrast", "Acceleration", "Mean [95 %]", "p", "n"],
        lines,
    )


def units_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """What rows count, for a caption: ``volumes``, or ``masks, volumes``."""
    return ", ".join(sorted({f"{row.get('unit', 'volume')}s" for row in rows})) or "volumes"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    if value >= 0.001:
        return f"{value:.3f}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def references(runs: Sequence[Run]) -> Html:
    """Committed runs: on what data, from which commit, and the command that repeats each."""
    lines = []
    for run in runs:
        made = run.provenance
        commit = (made.get("git_commit") or "unknown")[:10]
        dirty = " with changes" if made.get("git_dirty") else ""
        lines.append(
            [
                run_name(run.chapter, run.parameters),
                ", ".join(sorted({data_name(row["data"], run.parameters) for row in run.rows})),
                f"{made.get('seconds', 0) / 60:.0f} min",
                made.get("device", "–"),
                f"{commit}{dirty}",
                Html(f"<code>{escape(command(run))}</code>"),
            ]
        )
    columns = ["Run", "Evaluated on", "Took", "Device", "Commit", "Repeat it with"]
    caption = "Reference runs, committed with the book" if lines else "No reference run yet"
    if any(run.intervals == "widened" for run in runs):
        caption += (
            ". Those of percentile bootstrap intervals, which are too narrow over few volumes, are "
            "read with the width of t intervals"
        )
    return html_table(caption, columns, lines)


def reference_scores(runs: Iterable[Run]) -> Html:
    """PSNR and SSIM of every method in every run, over all its contrasts, the modules left out."""
    lines = []
    for run in runs:
        accel = run.parameters["accel"]
        scores: dict[str, dict[str, Any]] = {}
        for row in _scored(run.rows, accel):
            if row["contrast"] == "all" and row["method"] not in STAGES:
                scores.setdefault(row["method"], {})[row["metric"]] = row
        for method in sorted(scores, key=lambda name: [*NAMES, name].index(name)):
            ours = scores[method]
            one = ours["psnr"]
            units = one["unit"] + "s" * (one["n"] != 1)
            lines.append(
                [
                    lesson_and_exam(one["data"], run.parameters),
                    f"{accel:g}x ({one['effective_accel']:.2f})",
                    f"{one['n']} {units}",
                    _name(method),
                    shown(one),
                    shown(ours["ssim"]),
                ]
            )
    heads = "Evaluated on ← trained on", "Acceleration (effective)", "n", "Method", "PSNR", "SSIM"
    return html_table("Scores of the reference runs, mean and 95 % interval", heads, lines)


def command(run: Run) -> str:
    """The command line that repeats a run, with FOLDER for folders, which are the reader's own."""
    from recon.results.store import defaults

    usual = defaults(run.chapter)
    words = [
        f"--param {name} {'FOLDER' if name.endswith('_root') else value}"
        for name, value in sorted(run.parameters.items())
        if usual.get(name) != value
    ]
    return " ".join([f"python -m recon run {run.chapter}", *words])
