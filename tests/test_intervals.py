"""What an interval covers, and which rows have none, or decide nothing."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from recon.errors import InputError
from recon.learning import detectability, lesion_rows
from recon.results import (
    claims,
    crime_tables,
    curves,
    denoising,
    equivalence,
    flattery,
    grids,
    rows,
    rules,
    statistics,
    store,
    tables,
    transfer,
    trends,
)

NONE = (-math.inf, math.inf)


def share(pairs, truth):
    """How many of the intervals hold the truth."""
    return np.mean([low <= truth <= high for low, high in pairs])


# --- coverage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 5, 8, 12])
@pytest.mark.parametrize(
    ("draw", "truth", "least"),
    [
        (lambda rng, shape: rng.normal(0, 1, shape), 0.0, 0.93),
        (lambda rng, shape: rng.gamma(4, 1, shape), 4.0, 0.90),  # skewness 1
    ],
)
def test_an_interval_of_a_mean_covers_it_in_95_of_100_cases(n, draw, truth, least):
    samples = draw(np.random.default_rng(n), (4000, n))
    assert least <= share(map(statistics.interval, samples), truth) <= 0.97


@pytest.mark.parametrize("n", [3, 5, 8, 12])
def test_an_interval_of_a_ratio_covers_it(n):
    rng = np.random.default_rng(n)
    size = np.exp(rng.normal(0, 0.4, (1500, n)))  # scans differ more than the two methods do
    better = 0.7 * size * np.exp(rng.normal(-0.02, 0.2, (1500, n)))
    found = [flattery.fall(a, b)[1] for a, b in zip(better, size, strict=True)]
    assert 0.92 <= share(found, 30.0) <= 0.97


@pytest.mark.parametrize("n", [3, 5, 8, 12])
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_an_interval_of_an_area_under_the_curve_covers_it(n, strength):
    rng, runs, here, there = np.random.default_rng(n), 500, 3, 6
    body = rng.normal(0, 0.4, (runs, n, 1))
    yes = strength + body + rng.normal(0, 1, (runs, n, here))
    no = body + rng.normal(0, 1, (runs, n, there))
    volume, ground = np.repeat(np.arange(n), here), np.repeat(np.arange(n), there)
    found = [
        detectability.auc_interval(a.ravel(), b.ravel(), volume, ground)
        for a, b in zip(yes, no, strict=True)
    ]
    within, between = (norm.cdf(strength / math.sqrt(2 + x)) for x in (0, 2 * 0.4**2))
    assert 0.92 <= share(found, (within + (n - 1) * between) / n) <= 0.99


@pytest.mark.parametrize("n", [5, 8, 12])
def test_an_interval_of_a_rank_correlation_covers_it(n):
    rng = np.random.default_rng(n)
    x, noise = rng.normal(size=(2, 400, n))
    found = [trends.rank_trend(a, 0.6 * a + 0.8 * b)[1] for a, b in zip(x, noise, strict=True)]
    assert 0.93 <= share(found, 6 / math.pi * math.asin(0.3)) <= 1


@pytest.mark.parametrize("n", [3, 5, 8, 12])
def test_an_interval_of_a_deviation_covers_it(n):
    samples = np.random.default_rng(n).normal(0, 2, (500, n))
    about = {"data": "d", "task": "t", "accel": 1}
    table = pd.DataFrame({"method": "a", "metric": np.repeat(np.arange(500), n).astype(str)})
    made = denoising.deviations(table.assign(value=samples.ravel()), **about)
    assert 0.92 <= share([row["ci95"] for row in made], 2.0) <= 1


def test_shares_that_never_vary_keep_an_interval_within_their_range():
    fields = {**COMMON, "metric": "missed", "method": "a", "n": 8}
    never = store.row(**fields, value=0.0, ci95=(0.0, 0.0))
    assert never["ci95"] == [0.0, pytest.approx(1 - 0.025 ** (1 / 8))]
    always = store.row(**{**fields, "metric": "auc"}, value=1.0, ci95=(1.0, 1.0))
    assert always["ci95"] == [pytest.approx(0.025 ** (1 / 8)), 1.0]
    alike = store.row(**fields, value=0.0, ci95=(0, 0), against="b", p_value=1.0)
    assert alike["ci95"][0] < 0 < alike["ci95"][1]
    wide = store.row(**fields, value=0.1, ci95=(-0.1, 0.3))
    assert wide["ci95"] == [0.0, 0.3] == rows.settled(wide)["ci95"]


# --- one unit ----------------------------------------------------------------------------------

COMMON = {
    "data": "simulated_knee",
    "task": "multicoil",
    "contrast": "all",
    "accel": 4,
    "effective_accel": 3.9,
    "metric": "psnr",
    "region": "body",
}


def scores(volumes, gain=1.0, **fields):
    """Scores of two methods, b ahead of a by a bit more in every volume."""
    common = {"contrast": "PD", "effective_accel": 4.0, "metric": "psnr", "region": "full"}
    lines = [
        {**common, **fields, "volume": name, "method": method, "value": 30.0 + i + extra}
        for i, name in enumerate(volumes)
        for method, extra in (("a", 0.0), ("b", gain + 0.1 * i))
    ]
    return pd.DataFrame(lines)


def test_one_volume_has_no_interval_and_no_answer_anywhere():
    assert statistics.interval(np.array([3.0])) == NONE
    assert statistics.paired_p(np.array([3.0])) is None
    value, bounds = flattery.fall(np.array([1.0]), np.array([2.0]))
    assert value == 50 and tuple(bounds) == NONE
    assert flattery.verdict(bounds, None) == "none shown" == flattery.verdict(bounds, (25, 48))
    one = np.zeros(3, int)
    assert detectability.auc_interval(np.ones(3), np.zeros(3), one, one) == NONE
    missed = pd.DataFrame({"a": [0.9], "b": [0.1]})
    made = lesion_rows._compared(
        missed, "missed", ["b"], {k: v for k, v in COMMON.items() if k != "metric"}
    )
    assert lesion_rows.verdicts(made, "missed", "b") == {"a": "not shown"}
    assert all(tuple(row["ci95"]) == NONE for row in made)
    assert [row["p_value"] for row in made if "against" in row] == [None]
    found = statistics.summarise(scores(["x"]), [("b", "a")], **KNEE)
    assert {tuple(row["ci95"]) for row in found} == {NONE}
    shown = tables.differences(found)
    assert "[no interval]" in shown and "inf" not in shown and "1.000" not in shown
    curves.interval_curves({"a": {1: [2.0], 2: [3.0]}}, "x", "y").canvas.draw()
    assert "step" in crime_tables.summary([], {}, [], (25, 48))


KNEE = {"data": "simulated_knee", "task": "multicoil", "accel": 4}


def test_what_has_no_interval_is_none_in_a_file(tmp_path):
    made = statistics.summarise(scores(["x"]), [("b", "a")], **KNEE)
    run = store.Run("no_such_chapter", "quick", {}, made, {})
    path = store.save(run, tmp_path / "run.json")
    assert {row["ci95"] for row in json.loads(path.read_text())["rows"]} == {None}
    assert store.load(path) == run
    assert store.frame([run]).hi.eq(math.inf).all()
    many = statistics.summarise(scores("xyz"), [("b", "a")], **KNEE)
    bare = next(row for row in many if "against" in row) | {"p_value": None}
    with pytest.raises(InputError, match="3 units can be tested"):
        store.save(store.Run("no_such_chapter", "quick", {}, [bare], {}), path)
    assert store.load(path) == run


# --- parts of one body -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "fields", "unit", "data", "n", "why"),
    [
        ("abcd", {}, "volume", "simulated_knee", 4, ""),
        (["s#0", "s#1", "s#2"], {}, "mask", "measured", 3, "the 3 masks are of one scan"),
        (["s#0", "s#1", "u#0", "u#1"], {}, "mask", "measured", 2, ""),
        (["h#0", "h#1", "h#2"], {}, "block", "simulated_head", 3, "the 3 blocks are of one head"),
        ("abc", {}, "slice", "real_slices", 3, "the 3 slices are of one head"),
        ("abc", {}, "volume", "studyforrest_t1", 3, "the 3 slabs are of one head"),
        (["P1_OD", "P1_OS"], {}, "volume", "oct_folders", 2, "the 2 volumes are of one patient"),
        (["P1_OD", "P1_OS", "P2_OD"], {}, "volume", "oct_folders", 2, ""),
        (["0001_1", "0001_2"], {}, "volume", "pku37", 2, "the 2 volumes are of one patient"),
        (["CNV-12-1", "CNV-12-2", "DME-7-1"], {}, "volume", "kermany_2018", 2, ""),
        ("abc", {"patient": "p"}, "volume", "fastmri_folder", 3, "3 volumes are of one patient"),
    ],
)
def test_parts_of_one_body_carry_no_p_and_decide_nothing(names, fields, unit, data, n, why):
    about = {**KNEE, "data": data}
    made = statistics.summarise(scores(names, **fields), [("b", "a")], unit, **about)
    (gain,) = (row for row in made if row["contrast"] == "all" and "against" in row)
    assert gain["n"] == n and (gain["p_value"] is None) == bool(why)
    assert why in rows.undecidable(gain) and bool(rows.undecidable(gain)) == bool(why)
    assert rows.evidence(gain) == (NONE if why else tuple(gain["ci95"]))
    shown = grids.by_contrast(made, "psnr")
    assert ("p –" in shown) == bool(why) and f"{gain['unit']}s" in shown
    # The rule is asked of the same row, as if the paper had claimed it of these data.
    paper = claims.load("chen-2022")
    claim = next(c for c in paper.claims if c.id == "II-s-over-unet")
    row = {**gain, "lo": gain["ci95"][0], "hi": gain["ci95"][1], "method": "pcrnn_s"}
    outcome = rules._above_zero(claim, claim.parts[0], row)
    assert ("not decided" in outcome.reason) == bool(why) and why in outcome.reason
    assert outcome.outcome == "open" or not why
    wide = {name: scores(names, **fields).assign(trained_on="–") for name in (data,)}
    pairs = [(("–", "b"), ("–", "a"))]
    table = transfer.paired(wide, pairs, {}, "caption")
    assert (">–</td>" in table) == (bool(why) and unit != "slice") and f">{n}</td>" in table


def test_blocks_of_one_head_are_not_equivalent():
    same = [0.01, -0.02, 0.0, 0.01, -0.01]
    assert equivalence.compare(same, 0.2).verdict == "equivalent"
    parts = equivalence.compare(same, 0.2, independent=False)
    assert "not decided" in parts.verdict
    table = equivalence.equivalence_table("c", ["f"], {("2x",): parts}, {("2x",): 1.0})
    assert table.count("<td>–</td>") == 2


# --- rows of old -------------------------------------------------------------------------------


def old_run(path, made):
    """A file as it was written before files said how their intervals were made."""
    content = {"chapter": "comparison", "profile": "quick", "parameters": {"accel": 4}}
    path.write_text(json.dumps({**content, "rows": made, "provenance": {"seconds": 1}}))
    return store.load(path)


def old_row(**fields):
    usual = {**COMMON, "method": "b", "value": 2.0, "ci95": [1.0, 4.0], "n": 5, "unit": "volume"}
    return {**usual, **fields}


def test_percentile_intervals_of_old_are_widened_once(tmp_path):
    rng = np.random.default_rng(0)
    found = []
    for values in rng.normal(size=(2000, 5)):  # what a percentile bootstrap's width tends to
        half = 1.96 * values.std() / math.sqrt(5)
        found.append(
            old_row(value=values.mean(), ci95=[values.mean() - half, values.mean() + half])
        )
    assert share([row["ci95"] for row in found], 0) < 0.87
    run = old_run(tmp_path / "old.json", found)
    assert share([row["ci95"] for row in run.rows], 0) == pytest.approx(0.95, abs=0.015)
    (row,) = old_run(tmp_path / "old.json", [old_row()]).rows
    factor = 2.776445 / (1.959964 * math.sqrt(4 / 5))
    assert row["ci95"] == pytest.approx([2 - factor, 2 + 2 * factor])
    run = old_run(tmp_path / "old.json", [old_row()])
    again = store.load(store.save(run, tmp_path / "new.json"))
    assert again.rows[0]["ci95"] == pytest.approx(run.rows[0]["ci95"], rel=1e-6)
    assert "width of t intervals" in tables.references([again])
    fresh = store.Run("comparison", "quick", {}, [old_row()], {})
    fresh = store.load(store.save(fresh, tmp_path / "fresh.json"))
    assert fresh.rows[0]["ci95"] == [1.0, 4.0] and fresh.intervals == "t"
    assert "width of t" not in tables.references([fresh])


@pytest.mark.parametrize(
    ("fields", "bounds", "why"),
    [
        ({"unit": "network", "n": 1, "ci95": [2.0, 2.0]}, (2, 2), ""),  # counted
        ({"task": "cost", "unit": "round"}, (1, 4), ""),  # from the fastest to the slowest
        ({"n": 1}, NONE, "one volume has no interval"),
        ({"unit": "mask", "n": 13}, None, "the 13 masks are of one scan"),
        ({"unit": "slice", "n": 8}, None, "the 8 slices are of one head"),
        ({"data": "studyforrest_t1", "n": 8}, None, "the 8 slabs are of one head"),
        ({"metric": "auc", "value": 0.9, "ci95": [0.8, 1.0]}, None, ""),
    ],
)
def test_rows_of_old_are_known_by_their_unit_data_and_task(tmp_path, fields, bounds, why):
    (row,) = old_run(tmp_path / "old.json", [old_row(**fields, against="a", p_value=0.01)]).rows
    assert bounds is None or tuple(row["ci95"]) == bounds
    assert rows.undecidable(row) == why and (row["p_value"] is None) == bool(why)
    assert row["metric"] != "auc" or row["ci95"][1] == 1


def test_no_committed_run_takes_slabs_or_masks_for_people():
    for run in store.reference_runs("pcrnn"):
        for row in run.rows:
            parts = row["unit"] == "mask" or row["data"] == "studyforrest_t1"
            assert bool(rows.undecidable(row)) == parts
            assert not parts or row.get("p_value") is None
