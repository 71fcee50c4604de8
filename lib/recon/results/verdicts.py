"""Verdicts: a paper's claims held against the rows of runs. Computed, never typed.

For each part of a claim the rows are taken from the best data that any run has: the published
data before a stand-in, and of those the `paper` profile before `standard` before `quick`. Where
several such runs exist (other seeds, say), the part holds only if it holds in each.

A part holds, holds in part, stays open or fails, by one of these rules:

- ``greater``: holds if the difference row's 95 % interval lies above zero and Wilcoxon's p-value
  below 0.05, or below the level that the paper names. Above zero with a larger p: in part. An
  interval that includes zero: open. Below zero, or exactly
  zero throughout: fails;
- ``ordering``: the same for each neighbour in a ranking, and for every further pair that a run
  compares; neighbours without a difference row must have intervals that do not overlap
  (overlapping: open);
- ``similar``: the difference row's interval lies within a stated tolerance of zero (partly outside:
  open, for then too little was measured to tell);
- ``within``: the interval meets the published value, give or take a stated tolerance. Absolute
  values depend on the data, so this is testable on the published data only;
- ``exceeds``: one difference's interval lies above another's (overlapping: open).

Rows of one unit, or of units that are parts of one body (slabs of a head, masks of a scan), decide
nothing: open.

A claim is reproduced if every part holds, and partly if only some do, or in part. If none does, it
is not reproduced when at least one fails, and undecided when all stay open. With no part tested it
is not testable on this data, and the reason says why.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from recon.results.claims import Claim, Paper
from recon.results.rules import METRICS, Outcome, asked, outcome_of

__all__ = ["METRICS", "Outcome", "Verdict", "count", "judge", "judge_all"]

REPRODUCED = "reproduced"
PARTLY = "partly"
UNDECIDED = "undecided"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable on this data"
VERDICTS = (REPRODUCED, PARTLY, UNDECIDED, NOT_REPRODUCED, NOT_TESTABLE)


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim, the reason in words, and the outcome of each part."""

    claim: Claim
    verdict: str
    reason: str
    outcomes: tuple[Outcome, ...]

    @property
    def data(self) -> tuple[str, ...]:
        """Data sets and profiles that decided, as ``simulated_knee (standard)``."""
        places = {f"{row['data']} ({row['profile']})" for one in self.outcomes for row in one.rows}
        return tuple(sorted(places))


def judge_all(paper: Paper, rows: Any) -> list[Verdict]:
    """A verdict on every claim of `paper`; `rows` as `recon.results.store.frame` gives them."""
    records = [_plain(record) for record in rows.to_dict("records")]
    return [judge(claim, records) for claim in paper.claims]


def count(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How often each verdict was given, in a fixed order, zeros included."""
    found = Counter(verdict.verdict for verdict in verdicts)
    return {word: found[word] for word in VERDICTS}


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """A row of a frame without the fields that it does not have (NaN in the frame)."""
    return {
        name: value
        for name, value in record.items()
        if not (value is None or (isinstance(value, float) and math.isnan(value)))
    }


def judge(claim: Claim, records: list[dict[str, Any]]) -> Verdict:
    """The verdict on one claim, from rows as dictionaries (`lo` and `hi` for the interval)."""
    if claim.rule == "untestable":
        return Verdict(claim, NOT_TESTABLE, claim.because, ())
    named = {method for part in claim.parts for method in (*part.methods, part.against)}
    records = [row for row in records if row["method"] in named]
    parts = [part for part in claim.parts if asked(claim, part, records)]
    outcomes = tuple(outcome_of(claim, part, records) for part in parts)
    tested = [one for one in outcomes if one.outcome != "untested"]
    words = {one.outcome for one in tested}
    if not tested:
        verdict, deciding = NOT_TESTABLE, outcomes
    elif words == {"holds"} and len(tested) == len(outcomes):
        return Verdict(claim, REPRODUCED, _tally(outcomes), outcomes)
    elif words & {"holds", "partly"}:
        verdict, deciding = PARTLY, [one for one in outcomes if one.outcome != "holds"]
    else:
        verdict = NOT_REPRODUCED if "fails" in words else UNDECIDED
        deciding = [one for one in tested if one.outcome == "fails"] or tested
    detail = _summary(claim, deciding)
    reason = f"{_tally(outcomes)}: {detail}" if tested else detail
    return Verdict(claim, verdict, reason, outcomes)


def _summary(claim: Claim, outcomes: Iterable[Outcome]) -> str:
    """Distinct reasons, at most four; what has no row is gathered into one list of names."""
    absent: dict[str, list[float]] = {}
    others = []
    for one in outcomes:
        for name in one.absent:
            absent.setdefault(name, []).append(one.part.accel)
        if not one.absent:
            others.append(one.reason)
    others = list(dict.fromkeys(others))
    shown = others[:3] + ([f"and {len(others) - 3} more"] if len(others) > 3 else [])
    wanted = {part.accel for part in claim.parts}
    by_accel: dict[str, list[str]] = {}
    for name, accels in absent.items():
        missing = sorted(set(accels))
        at = "" if set(missing) == wanted else "at " + " and ".join(f"{a:g}x" for a in missing)
        by_accel.setdefault(at, []).append(name)
    for at, names in by_accel.items():
        shown.append(" ".join(f"no row here {at} of {', '.join(names)}".split()))
    return "; ".join(shown)


def _tally(outcomes: Iterable[Outcome]) -> str:
    words = Counter(one.outcome for one in outcomes)
    in_part = f", {words['partly']} in part" if words["partly"] else ""
    return f"{words['holds']} of {words.total()} comparisons hold{in_part}"
