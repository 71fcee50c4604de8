"""The brain chapter on small files, and what it adds to the library."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from recon.data.fastmri import write_volume
from recon.data.measurement import Sampling
from recon.errors import InputError
from recon.learning import contest_report as report
from recon.learning.metrics import evaluate_methods, score
from recon.physics import spread
from recon.physics.fourier import fft2c, ifft2c
from recon.physics.sampling import make_mask
from recon.results import claims, contrasts, store, trends
from test_chapter import run_chapter
from test_learning import volume

PLAN = Sampling(3, 0.2, "equispaced_fraction")


@pytest.fixture
def heads(workspace):
    """Eight scans of two contrasts, behind 2 to 5 coils."""
    for i in range(8):
        scan = volume(f"head{i}", 1, 2 + i % 4, 64, 40, seed=i)
        scan.contrast = ("AXT2", "AXFLAIR")[i // 4]
        write_volume(workspace / f"head{i}.h5", scan)
    return workspace


def test_the_chapter_scores_every_contrast_and_every_method(heads):
    given = {"data": "fastmri_folder", "data_root": str(heads), "test_data": "", "accel": 3}
    names = run_chapter("pcrnn_brain", **given, center_fraction=0.25, coils=3)
    run = store.load(next((heads.parent / "runs").glob("pcrnn_brain*.json")))
    methods = {"zero_filled", "cs", "unet", "vn", "vsnet", "kikinet", "d5c5", "complexmri"}
    assert {row["method"] for row in run.rows} == {*methods, "pcrnn_xs"}
    assert {row["contrast"] for row in run.rows} >= {"all"}
    assert "task" not in run.parameters
    assert np.isfinite([row["value"] for row in run.rows]).all()
    assert list(names["empty"].columns) == names["order"]


def test_the_chapter_tests_on_other_arrays_than_it_trains_on(heads, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for i, coils in enumerate((2, 3, 6)):
        scan = volume(f"other{i}", 1, coils, 64, 48, seed=20 + i)
        scan.contrast = "AXT1"
        write_volume(other / f"other{i}.h5", scan)
    names = run_chapter(
        "pcrnn_brain",
        data="fastmri_folder",
        data_root=str(heads),
        test_data="fastmri_folder",
        test_root=str(other),
        methods="d5c5,vsnet",
        compressed_sensing=False,
        mask_type="random",
        accel=3.5,
        center_fraction=0.2,
    )
    assert names["order"] == ["zero_filled", "vsnet", "d5c5"]
    assert len(names["empty"]) == 2
    assert set(names["targets"]) == {"T1"}
    assert "equispaced" not in names["kinds"]
    assert {row["n"] for row in names["rows"]} == {3}


def test_one_virtual_coil_is_refused():
    with pytest.raises(InputError, match="coils"):
        run_chapter("pcrnn_brain", coils=1)


def test_the_spread_is_what_becomes_of_a_point():
    mask = make_mask(48, 4, 0.1, "random", 3)
    point = torch.zeros(1, 48, dtype=torch.complex64)
    point[0, 20] = 1
    smeared = ifft2c(fft2c(point) * mask)[0].abs()
    own = spread.point_spread(mask)
    assert own[24] == own.max() == 1
    torch.testing.assert_close(smeared / smeared.max(), own.roll(-4), atol=1e-5, rtol=0)


def test_side_lobes_of_all_columns_of_a_comb_and_of_chance():
    full = torch.ones(64, dtype=torch.bool)
    assert spread.side_lobes(spread.point_spread(full), 8)["highest"] < 1e-5
    comb = torch.arange(64) % 4 == 0
    lobes = spread.side_lobes(spread.point_spread(comb), 8)
    # A comb of every fourth column: three copies as high as the point itself.
    assert lobes["highest"] == pytest.approx(1, abs=1e-5)
    assert lobes["energy"] == pytest.approx(3 / 4, abs=1e-4)
    assert lobes["in the ten largest"] == pytest.approx(1, abs=1e-4)
    random = torch.zeros(64, dtype=torch.bool)
    random[torch.randperm(64, generator=torch.Generator().manual_seed(0))[:16]] = True
    assert spread.side_lobes(spread.point_spread(random), 8)["in the ten largest"] < 0.8


def test_rank_trends():
    rng = np.random.default_rng(1)
    x = rng.normal(size=40)
    rising = np.exp(x)
    value, (low, high), p = trends.rank_trend(x, rising)
    assert value == high == 1 and 0.99 < low < 1 and p == pytest.approx(0, abs=1e-12)
    y = x + 2 * rng.normal(size=40)
    value, (low, high), p = trends.rank_trend(x, y)
    assert value == pytest.approx(spearmanr(x, y).statistic) and low < value < high
    assert p == pytest.approx(spearmanr(x, y).pvalue)
    assert np.isnan(trends.rank_trend(x, np.ones(40))[0])
    table = trends.trend_table(pd.DataFrame({"coils": x, "a": rising, "b": -x}), "coils")
    assert table.rho.to_dict() == {"a": 1.0, "b": -1.0}


def test_a_trend_between_groups_is_none_within_them():
    x = [1, 2, 3, 11, 12, 13]
    table = pd.DataFrame({"coils": x, "between": [0, 1, 0, 5, 6, 5], "inside": [9, 8, 7, 3, 2, 1]})
    groups = list("aaabbb")
    pooled, own = (
        trends.trend_table(t, "coils").rho for t in (table, trends.within(table, groups))
    )
    assert pooled["between"] > 0.7 and own["between"] == pytest.approx(0, abs=1e-9)
    assert own["inside"] == pytest.approx(-1)


def test_the_interval_of_a_trend_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(100):
        x, y = rng.normal(size=(2, 32))
        _, (low, high), _ = trends.rank_trend(x, y)
        hits += low <= 0 <= high
    assert 86 <= hits <= 100


def scored(method, contrast, value, **more):
    row = {"method": method, "contrast": contrast, "value": value, "metric": "psnr", "n": 8}
    row |= {"region": "body", "accel": 4, "ci95": (value, value), "data": "simulated_brain"}
    return {**row, **more}


def test_the_hardest_contrast_comes_first():
    values = {"T1": 30.0, "T2": 28.0, "FLAIR": 29.0, "T1POST": 30.0}
    rows = [scored("d5c5", name, value) for name, value in values.items()]
    rows.append(scored("d5c5", "all", 29.0))
    text = contrasts.hardest(rows, claims.load("chen-2022"), "V", 4, {})
    assert "T2 &lt; FLAIR &lt; T1 = T1POST" in text
    assert "T2 &lt; FLAIR &lt; T1 &lt; T1POST" in text  # the paper's, of D5C5


def test_leads_name_the_number_of_scans_and_keep_the_contrasts_apart():
    common = {"against": "unet", "p_value": 0.0078}
    rows = [scored("pcrnn_s", "T1", 1.5, **common), scored("pcrnn_s", "all", 0.7, **common, n=32)]
    text = contrasts.leads(rows, "pcrnn_s", "psnr")
    assert "T1 (n = 8)" in text and "All (n = 32)" in text
    assert text.index("+1.5") < text.index("+0.7")


def test_empty_channels_are_those_that_the_array_lacks(workspace):
    for coils in (2, 4):
        write_volume(workspace / f"c{coils}.h5", volume(f"c{coils}", 1, coils, 32, 40))
    files = sorted(workspace.glob("*.h5"))
    methods = {
        "zero_filled": lambda batch: batch.image,
        "fills": lambda batch: torch.ones_like(batch.image),
        "one": lambda batch: batch.image[:, :1],
    }
    table = report.empty_channels(methods, files, PLAN, 4)
    assert list(table.index) == [("c2", 2)]
    shares = table.loc[("c2", 2)].to_dict()
    assert shares["zero_filled"] == 0 and shares["fills"] == pytest.approx(0.5)
    assert np.isnan(shares["one"])
    assert report.empty_channels(methods, files[1:], PLAN, 4).empty


def test_the_middle_slice_is_the_one_that_was_scored(workspace):
    write_volume(workspace / "a.h5", volume("a", 1, 4, 32, 40))
    write_volume(workspace / "b.h5", volume("b", 3, 4, 32, 40, seed=1))
    files = sorted(workspace.glob("*.h5"))
    methods = {"zero_filled": lambda batch: batch.image}
    frame = evaluate_methods(methods, files, PLAN, 4, 5, draws=2)
    for name in ("a#0", "a#1"):
        images, target = report.middle_slice(methods, files, name, PLAN, 4, 5)
        own = frame[(frame.volume == name) & (frame.region == "full")].set_index("metric").value
        found = score(images["zero_filled"][None], target[None])
        assert found["psnr"] == pytest.approx(own["psnr"])
    assert report.scan_table(files).loc["b"].to_dict() == {
        "contrast": "PD",
        "slices": 3,
        "coils": 4,
    }


def test_pairs_hold_the_favourite_against_all_and_all_against_their_input():
    pairs = report.all_pairs(["zero_filled", "cs", "unet", "pcrnn_xs"], "pcrnn_xs")
    assert pairs[:3] == [("pcrnn_xs", other) for other in ("zero_filled", "cs", "unet")]
    assert pairs[3:] == [("cs", "zero_filled"), ("unet", "zero_filled")]
    assert report.all_pairs(["zero_filled", "cs"], "pcrnn_xs") == [("cs", "zero_filled")]


def test_pairs_that_claims_compare_are_those_of_the_task_and_the_methods_at_hand():
    paper = claims.load("chen-2022")
    many = report.claimed_pairs(paper, "multicoil", ["zero_filled", "vn", "vsnet", "unet"])
    assert ("vsnet", "vn") in many and ("unet", "vn") in many
    assert len(set(many)) == len(many) and not any("zero_filled" in pair for pair in many)
    # Table I ranks D5C5 above KIKI-Net, and knows no VN.
    one = report.claimed_pairs(paper, "singlecoil", ["d5c5", "kikinet", "vn"])
    assert one == [("d5c5", "kikinet")]
