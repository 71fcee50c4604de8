"""Data crimes: laws of what they do to k-space, and the chapter cell by cell on small files."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from recon.classical import compressed_sensing
from recon.data import crimes
from recon.data.fastmri import make_target, read_volume, write_volume
from recon.data.measurement import Sampling, measure
from recon.data.samples import collate
from recon.data.splits import open_split
from recon.learning import flattery as study
from recon.results import crime_tables, flattery, store
from test_chapter import run_chapter
from test_learning import volume


def phased(**given):
    """A scan whose object has a phase: k-space shifted by three columns."""
    scan = volume(**given)
    scan.kspace = np.roll(scan.kspace, 3, axis=-1)
    return scan


def test_k_space_of_a_magnitude_is_conjugate_symmetric_and_measured_k_space_is_not():
    scan = phased(crop=(32, 36))
    processed = crimes.magnitude_only(scan)
    assert study.conjugate_asymmetry(processed) < 1e-5
    assert study.conjugate_asymmetry(crimes.one_coil(scan)) > 0.1
    assert processed.kspace.shape == (3, 1, 32, 36) and processed.padding == (0, 0)
    np.testing.assert_allclose(processed.target, scan.target, rtol=1e-4, atol=1e-5)
    again = make_target(processed.kspace, processed.crop)
    np.testing.assert_allclose(again, processed.target, rtol=1e-4, atol=1e-5)


def test_random_phases_are_wholly_asymmetric():
    rng = np.random.default_rng(0)
    scan = volume(height=64, width=64, crop=(64, 64))
    scan.kspace = (rng.standard_normal((2, 1, 64, 64, 2)) @ [1, 1j]).astype(np.complex64)
    assert study.conjugate_asymmetry(scan) == pytest.approx(1, abs=0.05)


def test_one_coil_keeps_one_coil_and_the_phase():
    scan = volume(coils=1)
    assert np.array_equal(crimes.one_coil(scan).kspace, scan.kspace)
    assert crimes.one_coil(volume()).kspace.shape == (3, 1, 64, 36)


@pytest.mark.parametrize("factor", [1, 1.25, 1.5, 2])
def test_padding_keeps_the_samples_and_sets_nothing_but_zeros_around_them(factor):
    scan = volume(height=64, width=36)
    padded = crimes.zero_padded(scan, factor)
    new = padded.kspace.shape[-2:]
    assert new == (round(64 * factor), round(36 * factor)) and padded.padding == (0, 0)
    top, left = (b // 2 - a // 2 for a, b in zip((64, 36), new, strict=True))
    gain = np.sqrt(np.prod(new) / (64 * 36))
    middle = padded.kspace[..., top : top + 64, left : left + 36]
    np.testing.assert_allclose(middle, gain * scan.kspace, rtol=1e-5)
    assert np.linalg.norm(padded.kspace) == pytest.approx(np.linalg.norm(middle))
    with pytest.raises(ValueError, match="larger"):
        crimes.zero_padded(scan, 0.5)


def test_padding_by_two_interpolates_exactly():
    scan = volume(height=64, width=36, crop=(64, 36))
    padded = crimes.zero_padded(scan, 2)
    np.testing.assert_allclose(padded.target[:, ::2, ::2], scan.target, rtol=1e-3, atol=1e-5)
    assert study.outer_energy(padded, 0.4) == 0
    after, plain = crimes.magnitude_only(padded), crimes.magnitude_only(scan)
    assert 0 < study.outer_energy(after, 0.4) < 0.5 * study.outer_energy(plain, 0.4)


def test_jpeg_of_high_quality_changes_little_and_of_low_quality_more():
    scan = crimes.magnitude_only(volume(height=64, width=64, crop=(64, 64)))
    errors = [
        np.linalg.norm(crimes.jpeg_compressed(scan, q).target - scan.target)
        / np.linalg.norm(scan.target)
        for q in (20, 50, 75, 100)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 < errors[0]


def test_denoising_removes_noise_from_flat_parts_and_keeps_an_edge():
    scan = volume(height=64, width=64, crop=(64, 64))
    rng = np.random.default_rng(0)
    picture = np.zeros((1, 64, 64), np.float32)
    picture[:, :, 32:] = 1
    noisy = crimes._volume_of(scan, np.abs(picture + 0.05 * rng.standard_normal(picture.shape)))
    clean = crimes.denoised(noisy).target
    assert clean[:, :, 36:].std() < 0.5 * noisy.target[:, :, 36:].std()
    assert clean[:, :, 33].mean() - clean[:, :, 30].mean() > 0.8


def test_the_mirror_completes_a_real_picture_and_no_measurement():
    width = 36
    mask = torch.zeros(width, dtype=torch.bool)
    mask[: width // 2 + 1] = True  # frequencies -18 to 0: half of them
    scan = phased(height=64, width=width, crop=(64, width))
    for made, exact in ((crimes.magnitude_only(scan), True), (crimes.one_coil(scan), False)):
        batch = collate([measure(made, 0, mask)])
        error = (study.mirrored(batch).abs()[0, 0] - batch.target[0]).norm() / batch.target.norm()
        assert (error < 1e-4) if exact else (error > 0.5)


def test_variable_density_takes_as_many_columns_as_it_says_most_of_them_inside():
    masks = [crimes.variable_density_mask(128, 4, 0.08, 3, seed) for seed in range(50)]
    assert {mask.sum() for mask in masks} == {32}
    assert all(mask[59:69].all() for mask in masks)
    outside = np.mean([mask[:32].sum() + mask[96:].sum() for mask in masks])
    even = [crimes.variable_density_mask(128, 4, 0.08, 0, seed) for seed in range(50)]
    assert outside < 0.5 * np.mean([mask[:32].sum() + mask[96:].sum() for mask in even])
    assert np.array_equal(masks[3], crimes.variable_density_mask(128, 4, 0.08, 3, 3))


def test_acceleration_is_counted_over_acquired_columns():
    mask = np.zeros(64, bool)
    mask[::4] = True
    assert study.true_acceleration(mask, 64) == 4
    assert study.true_acceleration(mask, 32) == 4
    mask[:16] = mask[48:] = False  # all that is measured lies within the middle half
    assert study.true_acceleration(mask, 32) == 4 and 64 / mask.sum() == 8
    assert study.true_acceleration(mask, 32, (8, 0)) == 4
    curves = study.padded_accelerations(128, [1, 2], Sampling(4, 0.08, "random"), 3, 20)
    means = {name: curve.mean(1) for name, curve in curves.items()}
    assert means["variable density"][1] < means["random"][1] < means["random"][0]


def test_fall_is_the_paper_s_and_its_interval_is_paired():
    errors = np.array([1.0, 2.0, 3.0])
    assert flattery.fall(0.6 * errors, errors) == (pytest.approx(40), [pytest.approx(40)] * 2)
    rng = np.random.default_rng(0)
    honest = rng.uniform(1, 2, 20)
    value, (low, high) = flattery.fall(honest * rng.uniform(0.6, 0.8, 20), honest)
    assert low < value < high and low > 20 and high < 40


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((-5, 5), "none shown"),
        ((-9, -1), "the reverse: looks worse"),
        ((1, 20), "flatters, less than published"),
        ((20, 30), "flatters, meets the published range"),
        ((49, 60), "flatters, more than published"),
    ],
)
def test_verdicts(bounds, words):
    assert flattery.verdict(bounds, (25, 48)) == words
    assert flattery.verdict(bounds, None) == words.split(",")[0]


def test_flattery_rows_hold_each_test_against_the_other():
    def frame(tested, values):
        rows = [
            {"volume": f"v{i}", "method": "cs", "trained": tested, "value": v}
            for i, v in enumerate(values)
        ]
        return pd.DataFrame(rows).assign(tested=tested, metric="nrmse", effective_accel=4.0)

    scores = pd.concat([frame("a", np.arange(1.0, 9)), frame("b", 0.5 * np.arange(1.0, 9))])
    pairs = {("honest", ("cs", "b", "b")): ("cs", "a", "a"), ("use", ("x", "b", "a")): ("x",) * 3}
    (one,) = flattery.flattery_rows(
        scores, pairs, data="d", task="singlecoil", accel=4, unit="volume"
    )
    assert one["value"] == pytest.approx(50) and one["n"] == 8 and one["p_value"] < 0.01


def test_only_methods_of_the_paper_are_held_against_its_range():
    """Zero-filled and mirrored images flatter or not; the paper has no number for them."""

    def one(method, comparison, value):
        fields = {"tested": "pad", "trained": "pad", "against_tested": "plain"}
        fields |= {"against_trained": "plain", "metric": "flattery", "n": 8, "p_value": 0.01}
        bounds = [value - 1, value + 1]
        return {
            **fields,
            "method": method,
            "comparison": comparison,
            "value": value,
            "ci95": bounds,
        }

    rows = []
    for method in ("zero_filled", "mirrored", "cs", "unet"):
        rows += [one(method, kind, 30.0) for kind in ("honest", "before")]
        rows += [
            {"method": method, "trained": k, "tested": k, "metric": "nrmse", "value": 0.1}
            for k in ("pad", "plain")
        ]
    table = crime_tables.crime_table(rows, {"pad": "padded"}, ["pad"], (25, 48))
    assert table.count("meets the published range") == 2
    words = crime_tables.summary(rows, {"pad": "padded"}, ["pad"], (25, 48))
    assert "4 of 4 steps flatter" in words and "Of the 2 steps" in words and "2 meet" in words


def test_committed_files_are_read_like_any_others_and_made_once(folder):
    paths = sorted(folder.glob("*.h5"))
    made = crimes.recipes(4, 0.2, 3, 0)
    files = crimes.commit(paths, "all_vd", made["all_vd"], slices=1)
    assert [p.name for p in files] == [p.name for p in paths]
    times = [p.stat().st_mtime_ns for p in files]
    assert times == [
        p.stat().st_mtime_ns for p in crimes.commit(paths, "all_vd", made["all_vd"], slices=1)
    ]
    assert len({p.parent for n in made for p in crimes.commit(paths[:1], n, made[n])}) == len(made)
    one = read_volume(files[0])
    assert one.single_coil and len(one.kspace) == 1 and one.mask is not None
    assert open_split("fastmri_folder", "singlecoil", "all", data_root=files[0].parent) == files
    assert crimes.commit(paths, "multicoil", made["multicoil"]) == paths


@pytest.fixture
def hasty(monkeypatch, folder):
    """Compressed sensing of two iterations, and four files."""
    slow = compressed_sensing.compressed_sensing
    monkeypatch.setattr(compressed_sensing, "compressed_sensing", partial(slow, iterations=2))
    for path in sorted(folder.glob("*.h5"))[6:]:
        path.unlink()
    return folder


def test_chapter(hasty):
    where = {"data": "fastmri_folder", "data_root": str(hasty), "center_fraction": 0.22}
    given = {"accel": 3, "crimes": "magnitude,pad_150,pad_150_vd", "methods": "unet", "seed": 2}
    names = run_chapter("data_crimes", **where, **given)
    run = store.load(next((hasty.parent / "runs").glob("data_crimes*.json")))
    found = {(r["comparison"], r["method"]) for r in run.rows if r["metric"] == "flattery"}
    assert {("honest", "unet"), ("before", "cs"), ("use", "unet"), ("use", "cs")} <= found
    assert np.isfinite([row["value"] for row in run.rows]).all()
    first = [each["unet"][0]["loss"] for each in names["study"].histories.values()]
    assert len({*first}) == len(first) == 3  # no two sets share a training


def test_chapter_on_single_coil_files(hasty):
    for i, path in enumerate(sorted(hasty.glob("*.h5"))):
        path.unlink()
        scan = volume(path.stem, 2, 1, 64, 36, seed=i)
        scan.single_coil = True
        write_volume(path, scan)
    where = {"data": "fastmri_folder", "data_root": str(hasty), "task": "singlecoil"}
    names = run_chapter("data_crimes", **where, crimes="phase,jpeg_20", methods="unet")
    assert "multicoil" not in names["test"] and "phase" in names["study"].networks
