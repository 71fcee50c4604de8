"""Tables and sentences about known lesions: recovered, missed, invented."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recon.results.html import Html, brackets, html_table
from recon.results.tables import NAMES, shown

__all__ = [
    "CALLED",
    "METRICS",
    "names_of",
    "of_metric",
    "outcome",
    "sentences",
    "summary",
    "tuning",
    "varied",
]

#: Names in print of what stands beside the methods.
CALLED = {
    "full": "Fully sampled",
    "repeat": "Scanned again",
    "raw": "Raw",
    "average": "Many frames",
    "truth": "Without speckle",
}
METRICS = {
    "recovery": "contrast recovered",
    "auc": "AUC of the observer",
    "cnr_gain": "CNR that the lesion adds",
    "missed": "missed by the detector",
    "lost": "lost",
    "new_spots": "invented spots a picture",
    "lost_spots": "removed spots a picture",
}


def names_of(methods: Iterable[str], more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Method to its name in print."""
    known = {**NAMES, **CALLED, **(more or {})}
    return {method: known.get(method, method) for method in methods}


def varied(one: Mapping[str, Any], metric: str) -> bool:
    """Whether a row is a value of a metric at one size and strength."""
    fits = one["metric"] == metric and one["region"] == "lesion"
    return bool(fits and "against" not in one and one.get("diameter"))


def of_metric(
    rows: Iterable[Mapping[str, Any]], metric: str, methods: Mapping[str, str], caption: str
) -> Html:
    """A metric by acceleration and method (lines) and by diameter and strength (columns)."""
    rows = [one for one in rows if varied(one, metric)]
    places = sorted({(one["strength"], one["diameter"]) for one in rows})
    known = {(o["accel"], o["method"], o["strength"], o["diameter"]): o for o in rows}
    lines = []
    for rate in sorted({one["accel"] for one in rows}):
        for method, name in methods.items():
            cells = [known.get((rate, method, *place)) for place in places]
            if any(cells):
                values = [shown(cell) if cell else "–" for cell in cells]
                lines.append([*([f"{rate:g}x"] if rate else []), name, *values])
    rated = any(one["accel"] for one in rows)
    columns = [*(["Acceleration"] if rated else []), "Method"]
    columns += [f"{d:g} px, {s:g}" for s, d in places]
    return html_table(caption, columns, lines, headers=1 + rated)


def outcome(
    rows: Sequence[Mapping[str, Any]],
    methods: Mapping[str, str],
    columns: Mapping[str, Mapping[str, Any]],
    words: Mapping[str, Mapping[tuple[float, str], str]],
    caption: str,
) -> Html:
    """Chosen values of every method at every acceleration, and words about them.

    Parameters
    ----------
    rows : sequence of rows
    methods : mapping
        To print, with their names.
    columns : mapping
        Head of a column to the fields of the value rows that it shows.
    words : mapping
        Head of a further column to words by acceleration and method.
    caption : str
    """

    def one(rate: float, method: str, wanted: Mapping[str, Any]) -> Any:
        fields = {"accel": rate, "method": method, **wanted}
        found = [
            row
            for row in rows
            if "against" not in row and all(row.get(k) == v for k, v in fields.items())
        ]
        return shown(found[0]) if found else "–"

    lines = []
    for rate in sorted({row["accel"] for row in rows}):
        for method, name in methods.items():
            cells = [one(rate, method, wanted) for wanted in columns.values()]
            said = [column.get((rate, method), "–") for column in words.values()]
            if any(cell != "–" for cell in cells):
                lines.append([*([f"{rate:g}x"] if rate else []), name, *cells, *said])
    rated = any(row["accel"] for row in rows)
    heads = [*(["Acceleration"] if rated else []), "Method", *columns, *words]
    return html_table(caption, heads, lines, headers=1 + rated)


def sentences(
    rows: Sequence[Mapping[str, Any]],
    methods: Mapping[str, str],
    answers: Mapping[str, Mapping[tuple[float, str], str]],
    diameter: float,
    region: str = "body",
) -> str:
    """A list in Markdown: what each method missed, lost and invented, at every acceleration."""

    def value(rate: float, method: str, metric: str, size: float) -> Mapping[str, Any] | None:
        for one in rows:
            fields = (one["accel"], one["method"], one["metric"], one.get("diameter"))
            here = one["region"] in ("lesion", region) and "against" not in one
            if fields == (rate, method, metric, size) and here:
                return one
        return None

    def share(one: Mapping[str, Any] | None) -> str:
        if one is None:
            return "none could be counted"
        return f"{one['value']:.0%} {brackets(one['ci95'], '.0%')}"

    lines = []
    for rate in sorted({one["accel"] for one in rows}):
        for method, name in methods.items():
            new = value(rate, method, "new_spots", diameter)
            said = "; ".join(
                f"{question} {words[rate, method]}"
                for question, words in answers.items()
                if (rate, method) in words
            )
            kept = value(rate, method, "recovery", 0.0)
            lines.append(
                f"- **{name}{f' at {rate:g}x' if rate else ''}** recovers {share(kept)} of the "
                f"contrast, misses {share(value(rate, method, 'missed', 0.0))} of the lesions and "
                f"loses {share(value(rate, method, 'lost', 0.0))} of those shown; it invents "
                f"{new['value']:.1f} spots a picture. {said}."
            )
    return "\n".join(lines)


#: What methods are read beside, which is no choice between methods: no winner of a `summary`.
BESIDE = ("full", "repeat", "raw", "average")


def summary(rows: Sequence[Mapping[str, Any]], methods: Mapping[str, str], diameter: float) -> str:
    """For each data set and acceleration, in Markdown: who misses and invents least and most.

    Methods alone, without what they are read beside; all that share a place, as it is printed, are
    named. The order is of the means: differences are not tested here.
    """
    lines = []
    wanted = (("missed", "missed", "lesion", 0.0), ("new_spots", "invented", None, diameter))
    for data in dict.fromkeys(one["data"] for one in rows):
        for rate in sorted({one["accel"] for one in rows if one["data"] == data}):
            found = []
            for metric, done, region, size in wanted:
                share = metric == "missed"
                at = {
                    methods[one["method"]]: one["value"]
                    for one in rows
                    if (one["data"], one["accel"], one["metric"]) == (data, rate, metric)
                    and one.get("diameter") == size
                    and one["method"] in methods
                    and one["method"] not in BESIDE
                    and "against" not in one
                    and one["region"] == (region or ("retina" if not rate else "body"))
                }
                if not at:
                    continue
                printed = {n: f"{v:.0%}" if share else f"{v:.1f}" for n, v in at.items()}
                low, high = (printed[pick(at, key=at.get)] for pick in (min, max))
                unit = "of the lesions" if share else "spots a picture"
                least, most = (
                    ", ".join(n for n, text in printed.items() if text == end)
                    for end in (low, high)
                )
                found.append(f"{done} least by {least} ({low} {unit}), most by {most} ({high})")
            if found:
                lines.append(f"- {data}{f' at {rate:g}x' if rate else ''}: {'; '.join(found)}.")
    return "\n".join(lines)


def tuning(tried: Mapping[float, Mapping[Any, float]], caption: str) -> Html:
    """Errors of every strength that was tried, beside that of zero filling, best in bold.

    Parameters
    ----------
    tried : mapping
        Acceleration to error by strength; the strength 0 is zero filling.
    caption : str
    """
    strengths = sorted({strength for errors in tried.values() for strength in errors})
    lines = []
    for rate, errors in tried.items():
        chosen = min((s for s in errors if s), key=errors.get)
        cells = []
        for strength in strengths:
            text = f"{errors[strength]:.3f}" if strength in errors else "–"
            cells.append(Html(f"<b>{text}</b>") if strength == chosen else text)
        beats = "yes" if errors[chosen] < errors[0] else "no"
        lines.append([f"{rate:g}x", *cells, beats])
    heads = ["Acceleration", *(f"{s:g}" if s else "Zero-filled" for s in strengths)]
    return html_table(caption, [*heads, "Best below zero-filled?"], lines)
