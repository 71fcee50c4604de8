"""The same numbers in several runs of a chapter, side by side: other seeds, longer training.

An interval over volumes says nothing of the luck of a training, nor of how long it was. Where a
chapter was run from several seeds and in several profiles, its numbers can be laid beside each
other, and the order of the lines in each run held against that in the first.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recon.results.claims import Paper
from recon.results.html import Html, html_table
from recon.results.order import same_order
from recon.results.store import Run, frame, run_name
from recon.results.tables import NAMES, beside_paper, shown
from recon.results.verdict_tables import verdicts

__all__ = ["alike", "chosen_rows", "further", "paper_tables", "repeats", "verdicts_of_each"]

Row = Mapping[str, Any]
# Parameters that say how long, how often and beside what, but not which question a run asks.
HOW = ("profile", "seed", "device", "methods", "compressed_sensing", "bart")


def alike(run: Run, others: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Runs that ask the same as ``run``, and those that ask something else.

    The same: all parameters are equal but for those of `HOW` and the reader's own folders.
    """

    def asked(one: Run) -> dict[str, Any]:
        parameters = one.parameters.items()
        return {k: v for k, v in parameters if k not in HOW and not k.endswith("_root")}

    same = [one for one in others if asked(one) == asked(run)]
    return same, [one for one in others if asked(one) != asked(run)]


def further(run: Run, others: Sequence[Run]) -> list[Run]:
    """Runs that can say something new beside ``run``: another parameter than the device differs.

    A stored run of a page's own parameters is the page once more.
    """

    def asked(one: Run) -> tuple[str, str]:
        parameters = {k: v for k, v in one.parameters.items() if k != "device"}
        return one.profile, run_name(one.chapter, parameters)  # a name hides folders

    return [one for one in others if asked(one) != asked(run)]


def verdicts_of_each(runs: Sequence[Run], paper: Paper) -> Html:
    """What every run alone says of a paper's claims; a line that says so where there is none."""
    parts = [verdicts(paper, frame([run]), _title(run)) for run in runs]
    return Html("".join(parts) or "<p>No such run is stored yet.</p>")


def paper_tables(runs: Sequence[Run], paper: Paper, number: Callable[[Run], str]) -> Html:
    """For each run the published table beside it, and the two orders of the methods.

    Parameters
    ----------
    runs : sequence of Run
        Empty: a line that says so.
    paper : Paper
    number : callable
        The paper's number of the table that a run redoes.
    """
    parts = []
    for run in runs:
        accel = run.parameters["accel"]
        pyramids = {row["method"] for row in run.rows} & {"pcrnn_xs", "pcrnn_s"}
        stand_in = dict.fromkeys(pyramids, "pcrnn_s")
        parts.append(Html(f"<p><strong>{_title(run)}</strong></p>"))
        parts.append(beside_paper(run.rows, paper, number(run), accel))
        parts.append(same_order(run.rows, paper, number(run), accel, stand_in))
    return Html("".join(parts) or "<p>No such run is stored yet.</p>")


def chosen_rows(
    metric: str, line: Callable[[Row], str | None], **fixed: Any
) -> Callable[[Row], str | None]:
    """The line that a row belongs to, for `repeats`: rows of one metric over all contrasts.

    Parameters
    ----------
    metric : str
    line : callable
        Of a row: the key of its line, or None to leave it out.
    fixed
        Fields that a row must have at these values; None: that it must not have.
    """
    wanted = {"metric": metric, "contrast": "all", **fixed}

    def of(row: Row) -> str | None:
        fits = all(row.get(name) == value for name, value in wanted.items())
        return line(row) if fits else None

    return of


def repeats(
    runs: Sequence[Run],
    of: Callable[[Row], str | None],
    caption: str,
    names: Mapping[str, str] = NAMES,
    sign: str = "+",
) -> Html:
    """Lines by runs: every run's value with its interval, and how alike the orders of lines are.

    Parameters
    ----------
    runs : sequence of Run
        The first is the one that the others are held against; one of its own parameters is left
        out, see `further`.
    of : callable
        Key of the line that a row belongs to, or None: see `chosen_rows`. Of several rows of a
        line in a run the one of the run's own training seed counts, else the first.
    caption : str
    names : mapping
        Names in print by key.
    sign : str
        ``+`` for differences, empty for values. Differences in PSNR have two digits.

    Returns
    -------
    Html
        Its last line is Kendall's tau between the order of the lines in each run and in the first,
        over the lines that both have; empty below three.
    """
    runs = [runs[0], *further(runs[0], runs[1:])]
    columns = [_lines(run, of) for run in runs]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    keys = [key for key in names if key in keys] + [key for key in keys if key not in names]
    body: list[list[Any]] = [
        [names.get(key, key), *(_cell(c[key], sign) if key in c else "–" for c in columns)]
        for key in keys
    ]
    body.append(["Kendall's tau with the first", "–", *(_tau(columns[0], c) for c in columns[1:])])
    return html_table(caption, ["", *(_title(run, runs[0]) for run in runs)], body)


def _cell(row: Row, sign: str) -> Html:
    fine = bool(sign) and row["metric"] == "psnr"  # differences in PSNR are often below 0.1 dB
    return shown(row, sign, 2 if fine else None)


def _lines(run: Run, of: Callable[[Row], str | None]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in run.rows:
        key = of(row)
        own = row.get("training_seed") == run.parameters.get("seed")
        if key is not None and (key not in found or own):
            found[key] = row
    return found


def _title(run: Run, first: Run | None = None) -> str:
    """Profile and seed, then the parameters that differ from the first run's, or what was asked."""
    shown_already = ("profile", "seed", "device")
    words = [run.profile, f"seed {run.parameters.get('seed', 0)}"]
    for name, value in sorted(run.parameters.items()):
        if name in shown_already or name.endswith("_root"):
            continue
        if first is None:
            told = name in ("accel", "data", "task", "test_data") and value != ""
        else:
            told = first.parameters.get(name, value) != value
        if told:
            words.append(_in_words(name, value))
    return ", ".join(words)


def _in_words(name: str, value: Any) -> str:
    if name == "accel":
        return f"{value:g}x"
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {name.replace('_', ' ')}"
    return str(value).replace("_", " ")


def _tau(first: Mapping[str, Row], other: Mapping[str, Row]) -> str:
    from scipy.stats import kendalltau  # half a second

    both = [key for key in first if key in other]
    if len(both) < 3:
        return "–"
    values = [[lines[key]["value"] for key in both] for lines in (first, other)]
    return f"{kendalltau(*values).statistic:+.2f}"
