"""Compressed coils: laws of the measures, and the chapter cell by cell on small files."""

import re
import time
from functools import partial

import numpy as np
import pytest
import torch

from laws import random_complex
from recon.classical import bart, preprocessing
from recon.data.fastmri import read_volume, write_volume
from recon.data.manifest import load_manifest
from recon.data.measurement import Sampling
from recon.errors import InputError
from recon.learning import compression, cost
from recon.learning.metrics import mask_and_calibration, score
from recon.networks.pcrnn import PCRNN
from recon.physics.coils import compress, compression_matrix, rss
from recon.physics.fourier import fft2c, ifft2c
from recon.results import claims, coil_figures, store, verdicts
from recon.results.statistics import summarise
from test_chapter import run_chapter
from test_learning import volume


@pytest.mark.parametrize("name", ["simulated_brain_arrays", "simulated_knee_arrays"])
def test_arrays_are_those_of_the_brain_set_and_keep_the_promised_sizes(name):
    for profile, bound in (("quick", 300e6), ("standard", 4e9)):
        sizes = load_manifest(name).profiles[profile]
        assert sizes["coils"] == [2, 28]
        slices = sum(sizes[split]["volumes"] * sizes[split]["slices"] for split in ("train", "val"))
        assert slices * np.prod(sizes["matrix"]) * 8 * 15 < bound


def test_more_coils_lose_less_and_all_of_them_nothing():
    kspace = random_complex(9, 40, 36) * torch.arange(1, 10).reshape(9, 1, 1)
    images, whole = compression.compressed(kspace, (2, 4, 8, 9, 12)), rss(ifft2c(kspace))
    errors = [float((images[count] - whole).abs().mean()) for count in (2, 4, 8, 9)]
    assert errors == sorted(errors, reverse=True)
    torch.testing.assert_close(images[9], whole, rtol=1e-4, atol=1e-4)
    assert torch.equal(images[12], images[9])  # no coil that is not there
    one = rss(ifft2c(compress(kspace, compression_matrix(kspace[:, 8:32, 6:30], 4))))
    torch.testing.assert_close(images[4], one, rtol=1e-4, atol=1e-4)


def test_scores_fall_with_compression_and_lossless_volumes_are_capped(tmp_path):
    for coils in (3, 12):
        write_volume(tmp_path / f"{coils}.h5", volume(f"{coils}", coils=coils, seed=coils))
    scores = compression.score_compression(sorted(tmp_path.glob("*.h5")), (4, 8))
    psnr = scores[(scores.metric == "psnr") & (scores.region == "full")]
    psnr = psnr.pivot(index="coils", columns="method", values="value")
    assert psnr.loc[3].min() > 100 and psnr.loc[3].max() <= compression.LOSSLESS
    assert psnr.loc[12, "coils_4"] < psnr.loc[12, "coils_8"] < psnr.loc[3, "coils_8"]
    assert set(scores[scores.metric == "loss"].method) == {"rim", "interior"}
    share = scores[scores.metric == "share of the loss"]
    assert set(share.method) == {"rim", "half"} and set(share.coils) == {12}  # 3 coils lose nothing


def test_the_centre_of_a_plan_calibrates_as_the_methods_do(tmp_path):
    write_volume(tmp_path / "a.h5", volume("a", coils=12, seed=1))
    files, plan = [tmp_path / "a.h5"], Sampling(3, 0.15, "equispaced")
    whole = compression.score_compression(files, (4,))
    few = compression.score_compression(files, (4,), plan, seed=2)
    assert not np.allclose(few.value, whole.value)
    scan = read_volume(files[0])
    size = mask_and_calibration(scan, plan, 2)[1]
    image, target = compression.compressed_volume(scan, (4,), size)
    own = few[(few.region == "full") & (few.metric == "nmse")].value.item()
    assert own == pytest.approx(score(image[4], target)["nmse"])


def test_errors_are_told_apart_by_place():
    target, inside = np.ones((1, 8, 8)), np.zeros((1, 8, 8), bool)
    inside[:, 2:6, 2:6] = True
    found = compression.error_by_place(target + 0.3 * ~inside, target, inside)
    assert found == pytest.approx({"rim": 0.3, "interior": 0.0})
    assert compression.error_by_place(target, target, np.ones_like(inside)) is None


def test_most_pixels_outside_may_lose_most_though_each_loses_less():
    target, inside = np.ones((1, 10, 10)), np.zeros((1, 10, 10), bool)
    inside[:, :2, :5] = True
    image = target + np.where(inside, 0.3, 0.1)
    found = compression.error_by_place(image, target, inside)
    assert found["rim"] < found["interior"]
    assert compression.share_outside(image, target, inside) == pytest.approx(9 / 12)
    assert compression.share_outside(target, target, inside) is None


def test_likeness_is_one_for_the_same_array_and_sees_a_shuffled_one(tmp_path):
    base = volume("a", coils=6, seed=1)
    write_volume(tmp_path / "a.h5", base)
    base.kspace = base.kspace[:, [3, 4, 5, 0, 1, 2]] * np.exp(0.7j)
    write_volume(tmp_path / "b.h5", base)
    scores = compression.likeness(sorted(tmp_path.glob("*.h5")), 4)
    mean = scores[scores.metric == "likeness"].groupby("method").value.mean()
    assert mean["virtual"] == pytest.approx(1, abs=1e-3) and mean["raw"] < 0.9
    level = scores[scores.method == "half"]
    assert set(level.metric) == {"likeness"} and set(level.value) == {compression.ALIKE}
    few = [tmp_path / "a.h5"]
    assert compression.likeness(few, 4).empty and compression.likeness(few, 7).empty


def test_correlation_ignores_scale_and_offset():
    x = torch.rand(50, generator=torch.Generator().manual_seed(0))
    assert compression.correlation(x, 3 * x + 2) == pytest.approx(1, abs=1e-5)
    assert compression.correlation(x, -x) == pytest.approx(-1, abs=1e-5)
    assert compression.correlation(x, torch.ones(50)) == 0


def test_measured_files_are_scored_or_skipped_aloud(tmp_path, capsys):
    kspace = volume(coils=6, slices=1).kspace[0]
    np.savez(tmp_path / "six.npz", kspace=kspace)
    files = {"six": "six.npz", "gone": "gone.npz"}
    table = compression.score_measured(tmp_path, files, (2, 4, 8))
    assert list(table.loc["six"].index) == [2, 4, 6]
    assert table.loc[("six", 6), "psnr"] > 100 > table.loc[("six", 2), "psnr"]
    assert capsys.readouterr().out == "skipped: gone.npz is not at hand\n"


def test_rounds_alternate_leave_out_the_first_and_repeat_what_is_short():
    calls = []

    def run(name, seconds):
        calls.append(name)
        time.sleep(seconds)

    seconds = cost.rounds({"a": partial(run, "a", 0.12), "b": partial(run, "b", 0.02)}, 3)
    assert re.fullmatch("ab(ab{2,5}){3}", "".join(calls))
    assert {len(values) for values in seconds.values()} == {3}
    assert min(seconds["a"]) >= 0.12 and 0.02 <= min(seconds["b"]) < 0.1  # of one run, not a round
    assert cost.medians({"a": [3.0, 1.0, 2.0]}) == {"a": 2.0}


def test_timings_of_a_busy_machine_are_left_out():
    seconds = {"calm": [1.0, 1.2, 1.4], "busy": [1.0, 1.1, 1.6]}
    assert cost.spread(seconds) == pytest.approx({"calm": 1.4, "busy": 1.6})
    assert cost.steady(seconds) == {"calm": seconds["calm"]}
    table = cost.timings(seconds, {"calm": "A", "busy": "B"})
    assert table["held against claims"].to_dict() == {"A": "yes", "B": "no"}
    assert table.loc["A", ["mean, s", "rounds"]].tolist() == [1.2, 3]
    assert summarise(cost.tidy({}, "seconds"), [("calm", "busy")], "round") == []
    rows = summarise(cost.tidy(seconds, "seconds"), [("busy", "calm")], "round")
    assert next(r for r in rows if "against" in r)["value"] == pytest.approx(0.1 / 3)


def test_memory_rounds_alternate(monkeypatch):
    calls = []

    def peak(build, count, size, device):
        calls.append(count)
        return {"test": float(count), "train": 10.0 * count + len(calls)}

    monkeypatch.setattr(cost, "peak_memory_mb", peak)
    found = cost.memory_rounds(PCRNN, (4, 8), 16, repeats=2)
    assert calls == [4, 8, 4, 8]
    assert found == {"train": {4: [41, 43], 8: [82, 84]}, "test": {4: [4, 4], 8: [8, 8]}}


def test_columns_have_titles_and_maps_reach_into_dark_anatomy(tmp_path):
    scan = volume("a", 1, 6, 128, 64, crop=(64, 64), seed=1)
    seen = ifft2c(torch.from_numpy(scan.kspace))
    seen[..., 60:68, 28:36] *= 0.02
    scan.kspace = fft2c(seen).numpy()
    images, maps = compression.virtual_maps(scan)
    assert images.shape == maps.shape == (4, 64, 64)
    assert images[:, 30:34, 30:34].max() < 0.1 * images.max()
    assert (maps[:, 30:34, 30:34].max(0) > 0.2).all() and (maps[:, 0, 0] == 0).all()
    figure = coil_figures.virtual_coils({"a": images, "b": images}, {"a": maps, "b": maps})
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:8] == [f"{what} {k}" for what in ("coil", "map") for k in (1, 2, 3, 4)]
    assert set(titles[8:]) == {""}


def test_peak_memory_grows_with_the_slice_and_with_training():
    build = partial(PCRNN, widths=(16, 16, 16), iterations=1)
    small, large = (cost.peak_memory_mb(build, 2, size) for size in (64, 256))
    assert large["train"] > large["test"] > 0 and large["train"] > small["train"]


@pytest.mark.skipif(not bart.available(), reason="BART (Debian package bart) is missing")
def test_bart_compresses_to_the_same_image():
    head = preprocessing.head(coils=6, size=64)
    assert head.shape == (6, 64, 64)
    assert preprocessing.against_bart(head, 3) < 1e-3
    found, left_out = preprocessing.runs(head, 3, sigpy=False)
    assert "maps" in found and "sigpy" in left_out[0]
    found["maps"]()


def test_without_bart_it_is_said(monkeypatch):
    monkeypatch.setattr(bart, "available", lambda: False)
    found, left_out = preprocessing.runs(random_complex(3, 48, 48), 2)
    assert "maps" not in found and "maps_sigpy" in found and "BART" in left_out[0]


def test_similar_needs_an_interval_inside_the_tolerance():
    claim = next(c for c in claims.load("chen-2022").claims if c.id == "IV-similar-psnr")
    row = {"task": "multicoil", "contrast": "all", "metric": "psnr", "accel": 4, "n": 12}
    row |= {"method": "pcrnn_4c", "against": "pcrnn_12c", "data": "simulated_brain_arrays"}
    row |= {"region": "body", "profile": "quick", "run": "one", "p_value": 0.6}

    def judged(lo, hi):
        return verdicts.judge(claim, [{**row, "value": (lo + hi) / 2, "lo": lo, "hi": hi}]).verdict

    assert judged(-0.2, 0.3) == "reproduced"
    assert judged(-1.0, 1.0) == "undecided"  # no difference found, but none excluded
    assert judged(0.5, 0.9) == judged(-3.0, -1.0) == "not reproduced"


def clocked(runs, repeats, device="cpu"):
    """`cost.rounds` on a clock that the machine does not move; every run runs once."""
    for run in runs.values():
        run()
    calm = {name: [1.0 + 0.1 * number] * repeats for number, name in enumerate(runs)}
    return {**calm, "maps_coarse": [1.0, 9.0] * (repeats // 2)} if "fft_all" in runs else calm


@pytest.fixture
def folder(workspace, monkeypatch):
    """Ten files of 3 to 12 coils and two contrasts; a small head to time programs on."""
    head = preprocessing.head(coils=4, size=64)
    monkeypatch.setattr(preprocessing, "head", lambda coils, size: head)
    monkeypatch.setattr(cost, "rounds", clocked)
    mb = {"train": 300.0, "test": 60.0}
    monkeypatch.setattr(cost, "peak_memory_mb", lambda build, count, *_: {**mb, "test": count})
    for i in range(10):
        scan = volume(f"file{i}", 2, 3 + i, 64, 36 + 3 * (i % 2), seed=i)
        scan.contrast = ("AXT2", "AXT1")[i % 2]
        write_volume(workspace / f"file{i}.h5", scan)
    return workspace


@pytest.mark.parametrize("given", [{}, {"network_coils": "2,4", "accel": 3, "mask_type": "random"}])
def test_the_chapter_on_a_folder_of_files(folder, given):
    where = {"data": "fastmri_folder", "data_root": str(folder), "second_data": ""}
    names = run_chapter("coil_compression", **where, measured_root=str(folder), **given)
    run = store.load(next((folder.parent / "runs").glob("*.json")))
    trained = {f"pcrnn_{n}c" for n in given.get("network_coils", "4,8,12").split(",")}
    found = {(row["data"], row["method"]) for row in run.rows}
    assert {method for at, method in found if at == "this_machine"} > trained
    assert {method for at, method in found if at == "fastmri_folder"} > trained | {"coils_4"}
    assert {row["accel"] for row in names["trained"]} == {given.get("accel", 4)}
    costs = [row for row in run.rows if row["data"] == "this_machine"]
    assert {row["n"] for row in costs} == {6}
    assert "maps_coarse" not in {row["method"] for row in costs}  # its rounds differ ninefold
    memory = [row for row in costs if row["metric"] == "memory_test" and "against" not in row]
    assert {row["method"]: row["value"] * 1e3 for row in memory} == pytest.approx(
        {name: int(name[6:-1]) for name in trained}
    )
    drawn = {path.stem.split("_")[-1] for path in (folder.parent / "runs").glob("*.png")}
    assert drawn == {"compressed", "coils", "median"}


def test_the_chapter_refuses_what_it_cannot_train(folder):
    with pytest.raises(InputError, match="network_coils"):
        run_chapter("coil_compression", network_coils="4,many")
