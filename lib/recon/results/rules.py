"""The rules that test one part of a claim: see `recon.results.verdicts`."""

from dataclasses import dataclass
from typing import Any

from recon.results.claims import Claim, Experiment, Part
from recon.results.rows import COUNTED, undecidable

__all__ = ["METRICS", "Outcome", "asked", "outcome_of"]

PROFILES = ("paper", "standard", "quick")  # best first
LEVEL = 0.05  # of significance, where the paper names none
SPOILT = {"tested", "trained", "comparison"}  # rows of data that were tampered with on purpose

METRICS = {
    "psnr": "PSNR",
    "psnr truth": "PSNR against the truth",
    "psnr decline": "loss of PSNR",
    "psnr truth decline": "loss of PSNR against the truth",
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
    """What became of one part: ``holds``, ``partly``, ``open``, ``fails``, ``untested``, and why.

    `rows` are the rows that decided it, the claimed method's first; `absent` the methods (names in
    print) that no row has.
    """

    part: Part
    outcome: str
    reason: str
    rows: tuple[dict[str, Any], ...] = ()
    absent: tuple[str, ...] = ()


def outcome_of(claim: Claim, part: Part, records: list[dict[str, Any]]) -> Outcome:
    """Apply the claim's rule to one part, in the worst of the best runs."""
    rule = {"greater": _differs, "similar": _differs, "ordering": _ordering}
    rule |= {"within": _within, "exceeds": _exceeds}
    return rule[claim.rule](claim, part, records)


def asked(claim: Claim, part: Part, records: list[dict[str, Any]]) -> bool:
    """Whether a part counts: a pair of no neighbours in a ranking only where a run compares it."""
    better, worse = part.methods[0], part.against
    return not part.further or bool(_rows(claim.experiment, part, better, worse, records))


def _rows(
    experiment: Experiment, part: Part, method: str, against: str | None, records: list[dict]
) -> list[dict]:
    """Rows of `method` (minus `against`) on the best data and profile that there are."""
    fits = _fitting(experiment, part, method, against, records)
    best = min((_rank(experiment, row) for row in fits), default=None)
    return [row for row in fits if _rank(experiment, row) == best]


def _fitting(
    experiment: Experiment, part: Part, method: str, against: str | None, records: list[dict]
) -> list[dict]:
    """Rows of `method` (minus `against`) on any data and profile of the experiment.

    A difference that a run holds the other way round is turned.
    """
    fits = [
        row
        for row in [*records, *(_turned(row) for row in records if row.get("against") == method)]
        if row["task"] == experiment.task
        and row["contrast"] == part.contrast
        and row["metric"] == part.metric
        and row["accel"] == part.accel
        and row["method"] == method
        and row.get("against") == against
        and row["data"] in experiment.published + experiment.stand_in
        and row.get("trained_on", row["data"]) in experiment.lessons
        and not row.keys() & SPOILT
    ]
    if any(row["region"] == "body" for row in fits):  # as the paper masks; else the full image
        fits = [row for row in fits if row["region"] == "body"]
    decisive = [row for row in fits if not undecidable(row)]
    return decisive or fits  # one measurement, or parts of one body, however long the run


def _turned(row: dict) -> dict:
    """The same difference with its two methods exchanged; a two-sided p stays as it is."""
    ends = {"value": -row["value"], "lo": -row["hi"], "hi": -row["lo"]}
    return {**row, **ends, "method": row["against"], "against": row["method"]}


def _rank(experiment: Experiment, row: dict) -> tuple[bool, int]:
    profile = row["profile"]
    place = PROFILES.index(profile) if profile in PROFILES else len(PROFILES)
    return row["data"] not in experiment.published, place


def _worst(outcomes: list[Outcome]) -> Outcome:
    """The least favourable of several runs' outcomes."""
    order = {"fails": 0, "open": 1, "partly": 2, "holds": 3}
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


def _open(part: Part, label: str, *rows: dict) -> Outcome | None:
    """One measurement, or parts of one body, decide nothing; a count does."""
    why = [undecidable(row) for row in rows if undecidable(row)]
    if not why:
        return None
    means = " and ".join(f"{row['value']:+.3g}" for row in rows)
    return Outcome(part, "open", f"{label}: not decided: {why[0]} (mean {means})", rows)


def _above_zero(claim: Claim, part: Part, row: dict) -> Outcome:
    label = _label(claim, part, row["method"])
    counted = row.get("unit") == COUNTED
    if undecided := _open(part, label, row):
        return undecided
    if row["lo"] == row["value"] == row["hi"] == 0:
        return Outcome(part, "fails", f"{label}: exactly zero throughout", (row,))
    if row["hi"] < 0:
        return Outcome(part, "fails", f"{label}: the interval falls below zero", (row,))
    if row["lo"] <= 0:
        return Outcome(part, "open", f"{label}: the interval includes zero", (row,))
    level = LEVEL if claim.p_below is None else claim.p_below
    if not counted and not row["p_value"] < level:
        smallest = 2.0 ** (1 - row["n"])  # of a two-sided signed-rank test on n pairs
        said = f"{level:.0e}" if level < 0.001 else f"{level:g}"
        why = f"p is {row['p_value']:.1g}, not below {said}"
        if smallest >= level:
            why += f" ({row['n']} {row['unit']}s cannot give less than {smallest:.1g})"
        return Outcome(part, "partly", f"{label}: {why}", (row,))
    return Outcome(part, "holds", f"{label} holds", (row,))


def _near_zero(claim: Claim, part: Part, row: dict) -> Outcome:
    label = _label(claim, part, row["method"])
    if undecided := _open(part, label, row):
        return undecided
    reach, near = f"[{row['lo']:+.3g}, {row['hi']:+.3g}]", part.tolerance
    if -near <= row["lo"] and row["hi"] <= near:
        return Outcome(part, "holds", f"{label} holds", (row,))
    if row["lo"] > near or row["hi"] < -near:
        return Outcome(part, "fails", f"{label}: {reach} lies beyond {near:g}", (row,))
    return Outcome(part, "open", f"{label}: {reach} reaches beyond {near:g}", (row,))


def _untested(claim: Claim, part: Part, records: list[dict]) -> Outcome:
    """No rows decide a part: because none has its methods, or none compares them."""
    absent = tuple(
        " or ".join(claim.names[method] for method in methods)
        for methods in (part.methods, (part.against,))
        if not any(_rows(claim.experiment, part, method, None, records) for method in methods)
    )
    label = _label(claim, part, part.methods[-1])
    return Outcome(part, "untested", f"no paired row here: {label}", absent=absent)


def _ordering(claim: Claim, part: Part, records: list[dict]) -> Outcome:
    better, worse = part.methods[0], part.against
    rows = _rows(claim.experiment, part, better, worse, records)
    if rows:
        return _worst([_above_zero(claim, part, row) for row in rows])
    first = _fitting(claim.experiment, part, better, None, records)
    second = _fitting(claim.experiment, part, worse, None, records)
    pairs = [(a, b) for a in first for b in second if _about(a) == _about(b)]
    if not pairs:
        return _untested(claim, part, records)
    best = min(_rank(claim.experiment, a) for a, _ in pairs)
    pairs = [(a, b) for a, b in pairs if _rank(claim.experiment, a) == best]
    return _worst([_apart(part, a, b, _label(claim, part, better)) for a, b in pairs])


def _about(row: dict) -> dict:
    """All that two rows of one experiment share: the run, its seeds, the volumes."""
    return {k: v for k, v in row.items() if k not in ("method", "value", "lo", "hi")}


def _apart(part: Part, a: dict, b: dict, label: str) -> Outcome:
    """Whether `a` lies above `b`, intervals and all."""
    if undecided := _open(part, label, a, b):
        return undecided
    if a["lo"] > b["hi"]:
        return Outcome(part, "holds", f"{label} holds", (a, b))
    if a["hi"] < b["lo"]:
        return Outcome(part, "fails", f"{label}: the order is the reverse", (a, b))
    return Outcome(part, "open", f"{label}: the intervals overlap", (a, b))


def _within(claim: Claim, part: Part, records: list[dict]) -> Outcome:
    method = part.methods[0]
    rows = _rows(claim.experiment, part, method, part.against, records)
    if not any(row["data"] in claim.experiment.published for row in rows):
        needed = " or ".join(claim.experiment.published)
        return Outcome(part, "untested", f"no row here from {needed}; a value needs the same data")
    return _worst([_meets(claim, part, row) for row in rows])


def _meets(claim: Claim, part: Part, row: dict) -> Outcome:
    label = f"{_label(claim, part, row['method'])}: {row['value']:.4g} beside {part.value:g}"
    if undecided := _open(part, label, row):
        return undecided
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
            part, "untested", f"no rows here to compare, {tasks}, on the same kind of data"
        )
    label = f"gain of {_label(claim, part, method)}"
    return _worst([_apart(part, a, b, label) for a, b in pairs])
