"""Tables and sentences of the rows that `recon.results.flattery` makes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recon.results.flattery import verdict
from recon.results.html import Html, estimate, html_table, p_text
from recon.results.rows import evidence
from recon.results.tables import NAMES, shown

__all__ = ["LABELS", "crime_table", "marks_table", "quality_table", "reference_table", "summary"]

LABELS = {"zero_filled": NAMES["zero_filled"], "mirrored": "Mirrored", **NAMES}
METRICS = ("nrmse", "psnr", "ssim")
UNPUBLISHED = ("zero_filled", "mirrored")  # of no kind that Shimron et al. (2022) test


def _percent(one: Mapping[str, Any] | None) -> Html | str:
    if one is None:
        return "–"
    return estimate(f"{one['value']:+.1f}", one["ci95"], "+.1f")


def crime_table(
    rows: Sequence[Mapping[str, Any]],
    crimes: Mapping[str, str],
    compared: Iterable[str],
    published: tuple[float, float],
) -> Html:
    """Errors of each crime and method three ways, and the flattery beside the published range.

    Parameters
    ----------
    rows : sequence
        Of `score_rows` and `flattery_rows`.
    crimes : mapping
        Data set to its label, in the order of the table.
    compared : iterable of str
        Crimes whose comparison with the set before them was published.
    published : (float, float)
        Range in percent. Methods of `UNPUBLISHED` are not held against it.
    """
    compared = set(compared)
    error = {
        (r["method"], r["trained"], r["tested"]): r["value"] for r in rows if r["metric"] == "nrmse"
    }
    found = {
        (r["comparison"], r["tested" if r["comparison"] != "use" else "trained"], r["method"]): r
        for r in rows
        if r["metric"] == "flattery"
    }
    lines = []
    for (comparison, crime, method), against in found.items():
        if comparison != "honest" or crime not in crimes:
            continue
        step = found.get(("before", crime, method))
        use = found.get(("use", crime, method))
        honest = (method, against["against_trained"], against["against_tested"])
        shared = crime in compared and method not in UNPUBLISHED
        known = published if shared else None
        used = error.get((method, crime, against["against_tested"]))
        lines.append(
            [
                crimes[crime],
                LABELS.get(method, method),
                f"{100 * error[honest]:.2f}",
                f"{100 * error[method, crime, crime]:.2f}",
                "–" if used is None else f"{100 * used:.2f}",
                _percent(against),
                _percent(step),
                _percent(use),
                "–" if step is None else p_text(step["p_value"]),
                "–" if step is None else verdict(evidence(step), known),
            ]
        )
    order = list(crimes.values())
    methods = list(LABELS.values())
    lines.sort(key=lambda line: (order.index(line[0]), methods.index(line[1])))
    columns = ["Data", "Method", "Honest", "Reported", "In use", "Flattery, %"]
    columns += ["By this step, %", "Gain in use, %", "p", "This step"]
    n = next((r["n"] for r in rows if r["metric"] == "flattery"), 0)
    return html_table(
        f"NRMSE in percent and its fall, means over {n} volumes, 95 % intervals; p of this step "
        "(Wilcoxon, not corrected for the number of tests); published range "
        f"{published[0]:g} to {published[1]:g} %",
        columns,
        lines,
        headers=2,
    )


def marks_table(marks: Mapping[str, Mapping[str, float]]) -> Html:
    """What gives processed k-space away, by the label of the data set."""
    lines = [
        [label, f"{m['asymmetry']:.3f}", f"{m['outer']:.1e}", f"{m['grid']:.2f}"]
        + [f"{m['acquired']:.2f}"]
        for label, m in marks.items()
    ]
    columns = ["Data", "Asymmetry", "Outer energy", "R, grid", "R, acquired"]
    return html_table("Marks of processed k-space, means over the test scans", columns, lines)


def reference_table(rows: Sequence[Mapping[str, Any]], references: Mapping[str, str]) -> Html:
    """Scores of the honest sets, every method trained or tuned on the set that tests it."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in rows:
        if one["metric"] in METRICS and one["tested"] == one["trained"] in references:
            found.setdefault((one["tested"], one["method"]), {})[one["metric"]] = one
    order = list(references)
    lines = [
        [
            references[tested],
            LABELS.get(method, method),
            f"{scores['psnr']['effective_accel']:.2f}",
            f"{100 * scores['nrmse']['value']:.2f}",
            shown(scores["psnr"]),
            shown(scores["ssim"]),
        ]
        for (tested, method), scores in sorted(
            found.items(), key=lambda one: order.index(one[0][0])
        )
    ]
    columns = ["Data", "Method", "R, acquired", "NRMSE, %", "PSNR, dB", "SSIM"]
    caption = "Honest scores of the full picture, mean and 95 % interval"
    return html_table(caption, columns, lines, headers=2)


def quality_table(
    rows: Sequence[Mapping[str, Any]], crimes: Mapping[str, str], metric: str
) -> Html:
    """PSNR or SSIM three ways, and what the reported one gains over the honest one."""
    values = {
        (r["method"], r["trained"], r["tested"]): r["value"] for r in rows if r["metric"] == metric
    }
    digits = {"psnr": 1, "ssim": 3}[metric]
    lines = []
    for one in rows:
        if (one["metric"], one.get("comparison")) != (f"flattery_{metric}", "honest"):
            continue
        method, crime, honest = one["method"], one["tested"], one["against_tested"]
        if crime not in crimes:
            continue
        used = values.get((method, crime, honest))
        lines.append(
            [
                crimes[crime],
                LABELS.get(method, method),
                f"{values[method, one['against_trained'], honest]:.{digits}f}",
                f"{values[method, crime, crime]:.{digits}f}",
                "–" if used is None else f"{used:.{digits}f}",
                shown({**one, "metric": metric}, "+"),
                p_text(one["p_value"]),
            ]
        )
    order = list(crimes.values())
    methods = list(LABELS.values())
    lines.sort(key=lambda line: (order.index(line[0]), methods.index(line[1])))
    name = {"psnr": "PSNR in dB", "ssim": "SSIM"}[metric]
    columns = ["Data", "Method", "Honest", "Reported", "In use", "Reported - honest", "p"]
    caption = f"{name}, means over volumes; difference with 95 % interval and Wilcoxon's p"
    return html_table(caption, columns, lines, headers=2)


def summary(
    rows: Sequence[Mapping[str, Any]],
    crimes: Mapping[str, str],
    compared: Iterable[str],
    published: tuple[float, float],
) -> str:
    """The findings in sentences, Markdown."""
    compared = set(compared)
    made = [r for r in rows if r["metric"] == "flattery" and r["tested"] in crimes]
    steps = [r for r in made if r["comparison"] == "before"]
    theirs = [r for r in steps if r["tested"] in compared and r["method"] not in UNPUBLISHED]
    sure = [r for r in steps if evidence(r)[0] > 0]
    meets = [r for r in theirs if "meets" in verdict(evidence(r), published)]
    more = [r for r in theirs if "more than" in verdict(evidence(r), published)]

    def say(one: Mapping[str, Any]) -> str:
        name = crimes[one["tested"]].removeprefix("… ")
        return f"{LABELS.get(one['method'], one['method'])} on {name} ({one['value']:+.0f} %)"

    lines = [
        f"- {len(sure)} of {len(steps)} steps flatter their method (interval above 0; were there "
        f"no effect at all, about {0.025 * len(steps):.0f} would)."
    ]
    if theirs:
        top = max(theirs, key=lambda r: r["value"])
        lines.append(
            f"- Of the {len(theirs)} steps that are crimes of the paper (padding, JPEG), for "
            f"compressed sensing and networks, {len(meets)} meet its range and {len(more)} lie "
            f"above it; the largest is {say(top)}."
        )
    against = [r for r in made if r["comparison"] == "honest"]
    if against:
        top = max(against, key=lambda r: r["value"])
        lines.append(f"- Against honest single-coil data the largest flattery is {say(top)}.")
    used = [r for r in rows if r["metric"] == "flattery" and r["comparison"] == "use"]
    better = [r for r in used if evidence(r)[0] > 0]
    worse = [r for r in used if evidence(r)[1] < 0]
    if used:
        lines.append(
            f"- On honest data, {len(worse)} of {len(used)} methods trained or tuned on processed "
            f"data do worse than the same method trained honestly, {len(better)} better, and the "
            "others cannot be told apart."
        )
    return "\n".join(lines)
