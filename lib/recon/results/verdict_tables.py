"""Tables of verdicts: a paper's claims, what became of each, and why."""

from collections.abc import Iterable
from html import escape
from typing import Any

from recon.results.claims import Paper
from recon.results.html import Html, html_table
from recon.results.verdicts import NOT_TESTABLE, Verdict, count, judge_all

__all__ = ["badge", "scoreboard", "verdicts"]


def verdicts(paper: Paper, rows: Any, title: str = "") -> Html:
    """The claims about numbers that `rows` (a frame) can test, with their verdicts.

    `title` says in the caption whose rows they are.
    """
    judged = [verdict for verdict in judge_all(paper, rows) if not verdict.claim.cell]
    tested = [verdict for verdict in judged if verdict.verdict != NOT_TESTABLE]
    said = f"What these rows say of {len(tested)} of the paper's {len(judged)} claims"
    return _verdict_table(f"{title}. {said}" if title else said, tested)


def _verdict_table(caption: str, judged: Iterable[Verdict]) -> Html:
    lines = [
        [
            Html(
                f'{escape(one.claim.statement)} <span class="recon-place">'
                f"{escape(one.claim.place)}</span>"
            ),
            badge(one.verdict),
            one.reason,
            ", ".join(one.data).replace("_", " ") or "–",
        ]
        for one in judged
    ]
    columns = ["Claim", "Verdict", "Why", "Tested on"]
    return html_table(caption, columns, lines, kind="recon-claims")


def badge(verdict: str) -> Html:
    """A verdict as a word with a colour; the word alone says all."""
    kind = verdict.split(" on ")[0].replace(" ", "-")
    return Html(f'<span class="recon-verdict recon-{kind}">{escape(verdict)}</span>')


def scoreboard(paper: Paper, rows: Any) -> Html:
    """Every claim of a paper with its verdict; the numbers of tables are counted by table."""
    judged = judge_all(paper, rows)
    spoken = [verdict for verdict in judged if not verdict.claim.cell]
    tally = ", ".join(f"{number} {word}" for word, number in count(spoken).items())
    parts = [_verdict_table(f"{paper.title}: {len(spoken)} claims, of them {tally}", spoken)]
    lines = []
    for table in paper.tables.values():
        cells = [v for v in judged if v.claim.cell and v.claim.id.startswith(f"{table.id}-")]
        lines.append([f"Table {table.id}", len(cells), *count(cells).values()])
    columns = ["Table", "Values", *(word.capitalize() for word in count([]))]
    caption = "Single values of the tables: a measured interval meets the published value or not"
    parts.append(html_table(caption, columns, lines))
    return Html("".join(parts))
