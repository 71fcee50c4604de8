"""Verdicts: a paper's claims held against the rows of runs. Computed, never typed.

For each part of a claim the rows are taken from the best data that any run has: the published
data before a stand-in, and of those the `paper` profile before `standard` before `quick`. Where
several such runs exist (other seeds, say), the part holds only if it holds in each.

Rules, each with three outcomes (holds, partly, fails):

- ``greater``: the difference row's 95 % interval lies above zero, and its p-value below the
  published level if the paper names one (interval above zero with a larger p: partly);
- ``ordering``: the same for each neighbour in a ranking; without a difference row, the two
  intervals must not overlap (right order, overlapping: partly);
- ``similar``: the difference row's interval lies within a stated tolerance of zero (partly outside:
  partly, for then too little was measured to tell);
- ``within``: the interval meets the published value, give or take a stated tolerance. Absolute
  values depend on the data, so this is testable on the published data only;
- ``exceeds``: one difference's interval lies above another's (right order, overlapping: partly).

A claim is reproduced if every part holds, not reproduced if every tested part fails, and partly
reproduced otherwise; with no part tested it is not testable on this data, and says why.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from recon.results.claims import Claim, Experiment, Paper, Part

__all__ = ["Outcome", "Verdict", "count", "judge", "judge_all"]

REPRODUCED = "reproduced"
PARTLY = "partly"
NOT_REPRODUCED = "not reproduced"
NOT_TESTABLE = "not testable on this data"
VERDICTS = (REPRODUCED, PARTLY, NOT_REPRODUCED, NOT_TESTABLE)
PROFILES = ("paper", "standard", "quick")
METRICS = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "nmse": "NMSE",
    "cnr": "CNR",
    "msr": "MSR",
    "memory_train": "training memory, GB",
    "memory_test": "test memory, GB",
    "seconds_train": "training step, s",
    "seconds_test": "test run, s",
}


@dataclass(frozen=True)
class Outcome:
    """What became of one part: ``holds``, ``partly``, ``fails`` or ``untested``, and why.

    `rows` are the rows that decided it, the claimed method's first; `absent` the methods (names in
    print) that no run has.
    """

    part: Part
    outcome: str
    reason: str
    rows: tuple[dict[str, Any], ...] = ()
    absent: tuple[str, ...] = ()


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
    outcomes = tuple(_outcome(claim, part, records) for part in claim.parts)
    tested = [one for one in outcomes if one.outcome != "untested"]
    words = {one.outcome for one in tested}
    if not tested:
        verdict, deciding = NOT_TESTABLE, outcomes
    elif words == {"holds"} and len(tested) == len(outcomes):
        return Verdict(claim, REPRODUCED, _tally(outcomes), outcomes)
    elif words == {"fails"}:
        verdict, deciding = NOT_REPRODUCED, tested
    else:
        verdict, deciding = PARTLY, [one for one in outcomes if one.outcome != "holds"]
    detail = _summary(claim, deciding)
    reason = f"{_tally(outcomes)}: {detail}" if tested else detail
    return Verdict(claim, verdict, reason, outcomes)


def _summary(claim: Claim, outcomes: Iterable[Outcome]) -> str:
    """Distinct reasons, at most four; what has no run is gathered into one list of names."""
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
        shown.append(" ".join(f"no run yet {at} of {', '.join(names)}".split()))
    return "; ".join(shown)


def _tally(outcomes: Iterable[Outcome]) -> str:
    outcomes = list(outcomes)
    holding = sum(one.outcome == "holds" for one in outcomes)
    return f"{holding} of {len(outcomes)} comparisons hold"


def _outcome(claim: Claim, part: Part, records: list[dict[str, Any]]) -> Outcome:
    """Apply the claim's rule to one part, in the worst of the best runs."""
    rule = {"greater": _differs, "similar": _differs, "ordering": _ordering}
    rule |= {"within": _within, "exceeds": _exceeds}
    return rule[claim.rule](claim, part, records)


def _rows(
    experiment: Experiment, part: Part, method: str, against: str | None, records: list[dict]
) -> list[dict]:
    """Rows of `method` (minus `against`) on the best data and profile that there are."""
    fits = [
        row
        for row in records
        if row["task"] == experiment.task
        and row["contrast"] == part.contrast
        and row["metric"] == part.metric
        and row["accel"] == part.accel
        and row["method"] == method
        and row.get("against") == against
        and row["data"] in experiment.published + experiment.stand_in
    ]
    if any(row["region"] == "body" for row in fits):  # as the paper masks; else the full image
        fits = [row for row in fits if row["region"] == "body"]
    best = min((_rank(experiment, row) for row in fits), default=None)
    return [row for row in fits if _rank(experiment, row) == best]


def _rank(experiment: Experiment, row: dict) -> tuple[bool, int]:
    profile = row["profile"]
    place = PROFILES.index(profile) if profile in PROFILES else len(PROFILES)
    return row["data"] not in experiment.published, place


def _worst(outcomes: list[Outcome]) -> Outcome:
    """The least favourable of several runs' outcomes."""
    order = {"fails": 0, "partly": 1, "holds": 2}
    return min(outcomes, key=lambda one: order[one.outcome])


def _label(claim: Claim, part: Part, method: str) -> str:
    """In words: which method over which other, in what, on what."""
    against = f" over {claim.names[part.against]}" if part.against else ""
    metric = METRICS.get(part.metric, part.metric)
    contrast = "" if part.contrast == "all" else f", {part.contrast}"
    return f"{claim.names[method]}{against}, {metric}{contrast}, {part.accel:g}x"


def _differs(claim: Claim, part: Part, records: list[dict]) -> Outcome:
    test = _near_zero if claim.rule == "similar" else _above_zero
    for method in part.methods:
        rows = _rows(claim.experiment, part, method, part.against, records)
        if rows:
            return _worst([test(claim, part, row) for row in rows])
    return _untested(claim, part, records)


def _above_zero(claim: Claim, part: Part, row: dict) -> Outcome:
    label = _label(claim, part, row["method"])
    if row["lo"] <= 0:
        why = "falls below" if row["hi"] < 0 else "includes"
        return Outcome(part, "fails", f"{label}: the interval {why} zero", (row,))
    if claim.p_below is not None and not row["p_value"] < claim.p_below:
        smallest = 2.0 ** (1 - row["n"])  # of a two-sided signed-rank test on n pairs
        why = f"p is {row['p_value']:.1g}, not below {claim.p_below:.0e}"
        if smallest >= claim.p_below:
            why += f" ({row['n']} volumes cannot give less than {smallest:.1g})"
        return Outcome(part, "partly", f"{label}: {why}", (row,))
    return Outcome(part, "holds", f"{label} holds", (row,))


def _near_zero(claim: Claim, part: Part, row: dict) -> Outcome:
    label = _label(claim, part, row["method"])
    reach, near = f"[{row['lo']:+.3g}, {row['hi']:+.3g}]", part.tolerance
    if -near <= row["lo"] and row["hi"] <= near:
        return Outcome(part, "holds", f"{label} holds", (row,))
    if row["lo"] > near or row["hi"] < -near:
        return Outcome(part, "fails", f"{label}: {reach} lies beyond {near:g}", (row,))
    return Outcome(part, "partly", f"{label}: {reach} reaches beyond {near:g}", (row,))


def _untested(claim: Claim, part: Part, records: list[dict]) -> Outcome:
    """No rows decide a part: because no run has its methods, or none compares them."""
    absent = tuple(
        " or ".join(claim.names[method] for method in methods)
        for methods in (part.methods, (part.against,))
        if not any(_rows(claim.experiment, part, method, None, records) for method in methods)
    )
    label = _label(claim, part, part.methods[-1])
    return Outcome(part, "untested", f"no run has a paired difference of {label}", absent=absent)


def _ordering(claim: Claim, part: Part, records: list[dict]) -> Outcome:
    better, worse = part.methods[0], part.against
    rows = _rows(claim.experiment, part, better, worse, records)
    if rows:
        return _worst([_above_zero(claim, part, row) for row in rows])
    first = _rows(claim.experiment, part, better, None, records)
    second = _rows(claim.experiment, part, worse, None, records)
    pairs = [(a, b) for a in first for b in second if a["run"] == b["run"]]
    if not pairs:
        return _untested(claim, part, records)
    return _worst([_apart(part, a, b, _label(claim, part, better)) for a, b in pairs])


def _apart(part: Part, a: dict, b: dict, label: str) -> Outcome:
    """Whether `a` lies above `b`, intervals and all."""
    if a["value"] <= b["value"]:
        return Outcome(part, "fails", f"{label}: the order is the reverse", (a, b))
    if a["lo"] <= b["hi"]:
        return Outcome(part, "partly", f"{label}: the intervals overlap", (a, b))
    return Outcome(part, "holds", f"{label} holds", (a, b))


def _within(claim: Claim, part: Part, records: list[dict]) -> Outcome:
    method = part.methods[0]
    rows = _rows(claim.experiment, part, method, part.against, records)
    if not any(row["data"] in claim.experiment.published for row in rows):
        needed = " or ".join(claim.experiment.published)
        return Outcome(part, "untested", f"no run yet on {needed}; a value needs the same data")
    return _worst([_meets(claim, part, row) for row in rows])


def _meets(claim: Claim, part: Part, row: dict) -> Outcome:
    label = f"{_label(claim, part, row['method'])}: {row['value']:.4g} beside {part.value:g}"
    near = row["lo"] - part.tolerance <= part.value <= row["hi"] + part.tolerance
    return Outcome(part, "holds" if near else "fails", label, (row,))


def _exceeds(claim: Claim, part: Part, records: list[dict]) -> Outcome:
    method = part.methods[0]
    first = _rows(claim.experiment, part, method, part.against, records)
    second = _rows(claim.other_experiment, part, method, part.against, records)
    pairs = [(a, b) for a in first for b in second if a["data"] == b["data"]]
    pairs = pairs or [
        (a, b)
        for a in first
        for b in second
        if a["data"] in claim.experiment.published and b["data"] in claim.other_experiment.published
    ]
    if not pairs:
        tasks = f"{claim.experiment.task} and {claim.other_experiment.task}"
        return Outcome(
            part, "untested", f"no runs yet to compare, {tasks}, on the same kind of data"
        )
    label = f"gain of {_label(claim, part, method)}"
    return _worst([_apart(part, a, b, label) for a, b in pairs])
