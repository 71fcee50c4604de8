"""Networks with exact data consistency, scans with a part taken away, and the transfer chapter."""

import re
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from laws import random_complex
from recon.classical.bart import available
from recon.classical.pics import pics
from recon.data import stripped
from recon.data.fastmri import read_volume
from recon.data.manifest import load_manifest
from recon.data.measurement import Measurement, Sampling
from recon.data.samples import Slices
from recon.errors import InputError
from recon.learning import transfer
from recon.learning.losses import combine, nmse
from recon.networks.admm_net import ADMMNet, join, shrink, split
from recon.networks.modl import MoDL
from recon.phantoms import scanner
from recon.physics.coils import rss
from recon.physics.encoding import adjoint, encode
from recon.physics.sense import sense, solve
from recon.results import store
from recon.results import transfer as tables
from test_chapter import run_chapter


def scan(coils=3, height=18, width=21, seed=0, image=None):
    """Masked corner k-space of an image, the mask, and maps of unit sum of squares."""
    maps = random_complex(1, coils, height, width, seed=seed)
    maps = maps / rss(maps).unsqueeze(1)
    mask = torch.rand(1, 1, 1, width, generator=torch.Generator().manual_seed(seed)) > 0.4
    image = random_complex(1, height, width, seed=seed + 1) if image is None else image
    return encode(image, maps, mask), mask, maps, image


def test_conjugate_gradients_solve_the_equation():
    kspace, mask, maps, _ = scan()
    right, weight = adjoint(kspace, maps, mask), torch.tensor(0.05)
    x = solve(right, maps, mask, weight, torch.zeros_like(right), 40)
    left = adjoint(encode(x, maps, mask), maps, mask) + weight * x
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)
    exact = solve(right, maps, mask, weight, x, 0)
    torch.testing.assert_close(exact, x)


def test_a_batch_is_solved_slice_by_slice_and_nothing_stays_nothing():
    one, two = scan(seed=1), scan(seed=2)
    mask = one[1]
    kspace = torch.cat([one[0], 50 * encode(two[3], two[2], mask), 0 * one[0]])
    maps = torch.cat([one[2], two[2], one[2]])
    together = sense(kspace, mask, maps, 0.02, 12)
    alone = sense(kspace[:1], mask, maps[:1], 0.02, 12)
    torch.testing.assert_close(together[:1], alone)
    assert not together[2].any() and torch.isfinite(together.abs()).all()


def test_sense_recovers_the_image_where_everything_is_measured():
    kspace, _, maps, image = scan()
    full = torch.ones(1, 1, 1, kspace.shape[-1], dtype=torch.bool)
    kspace = encode(image, maps, full)
    found = sense(kspace, full, maps, 1e-6)[:, 0]
    torch.testing.assert_close(found, image, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="above 0"):
        sense(kspace, full, maps, 0.0)


@pytest.mark.parametrize("shift", [1, 2, 4])
def test_wavelets_are_a_tight_frame(shift):
    image = random_complex(2, 17, 20, seed=3)
    low, high = split(image, shift, -1)
    torch.testing.assert_close(join(low, high, shift, -1), image)
    energy = low.abs().square().sum() + high.abs().square().sum()
    torch.testing.assert_close(energy, image.abs().square().sum())


def test_shrinking_by_nothing_changes_nothing_and_shrinks_details_only():
    image = random_complex(1, 16, 16, seed=4)
    torch.testing.assert_close(shrink(image, torch.zeros(3, 3)), image)
    flat = torch.full((1, 16, 16), 2 + 1j)
    torch.testing.assert_close(shrink(flat, torch.full((3, 3), 9.0)), flat)
    strong = shrink(image, torch.full((3, 3), 9.0))
    assert strong.abs().var() < 0.05 * image.abs().var()
    torch.testing.assert_close(strong.mean(), image.mean())


@pytest.mark.parametrize("make", [MoDL, ADMMNet])
def test_before_training_networks_are_what_they_say_and_every_weight_learns(make):
    kspace, mask, maps, _ = scan(height=33, width=40)
    torch.manual_seed(0)
    network = make(16, turns=2, gradients=4)
    fewer = [maps[:, :2] / rss(maps[:, :2]).unsqueeze(1), kspace[:, :2]]
    assert network(fewer[1], mask, fewer[0]).shape == (1, 1, 33, 40)
    last = (network.denoiser if make is MoDL else network.correction)[-1]
    assert not last.weight.any()
    if make is MoDL:  # D(x) = x: with many iterations the turns move towards least squares
        plain = sense(kspace, mask, maps, network.log_weight.exp().item(), 4)
        first = make(16, turns=0, gradients=4)(kspace, mask, maps)
        torch.testing.assert_close(first, plain)
    torch.nn.init.normal_(last.weight, std=0.01)
    network(kspace, mask, maps).abs().square().sum().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent, silent
    assert str(make(16, turns=2)) != str(make(16, turns=3))


def test_admm_with_its_first_weights_brings_blocks_back_better_than_sense():
    """Wavelets describe blocks well; nothing was trained."""
    blocks = torch.zeros(1, 32, 32, dtype=torch.complex64)
    blocks[:, 8:20, 10:22] = 1
    blocks[:, 12:16, 4:28] += 0.5j
    kspace, mask, maps, image = scan(4, 32, 32, seed=5, image=blocks)
    network = ADMMNet(16, turns=12, gradients=8, penalty=0.05, threshold=0.05)
    with torch.no_grad():
        found = network(kspace, mask, maps)[:, 0]
    plain = sense(kspace, mask, maps, 0.01)[:, 0]
    errors = [float((x - image).abs().square().sum()) for x in (found, plain)]
    assert errors[0] < 0.5 * errors[1], errors


@pytest.mark.parametrize("part", ["phase", "noise", "array"])
def test_what_is_taken_away_is_gone_and_nothing_else(workspace, monkeypatch, part):
    manifest = load_manifest("simulated_brain")
    small = {**manifest.profiles["quick"], "matrix": [64, 32], "crop": [32, 32]}
    small |= {"train": {"volumes": 2, "slices": 1}, "coils": [8, 8]}
    small = replace(manifest, profiles={"quick": small})
    monkeypatch.setattr(stripped, "load_manifest", lambda name: small)
    whole, less = (
        [read_volume(p) for p in stripped.train_files("simulated_brain", "quick", without)]
        for without in ("", part)
    )
    assert [v.name for v in whole] == [v.name for v in less]
    for before, after in zip(whole, less, strict=True):
        assert before.kspace.shape == after.kspace.shape
        assert not np.allclose(before.kspace, after.kspace)
        likeness = np.corrcoef(before.target.ravel(), after.target.ravel())[0, 1]
        assert likeness > (0.6 if part == "array" else 0.9), likeness
    again = stripped.train_files("simulated_brain", "quick", part)
    np.testing.assert_array_equal(read_volume(again[0]).kspace, less[0].kspace)


@pytest.mark.parametrize(
    ("strip", "changed"),
    [
        (stripped.strip_phase, {"polynomial", "ripple", "susceptibility"}),
        (stripped.strip_noise, {"noise"}),
        (stripped.strip_array, {"array", "coupling"}),
    ],
)
def test_a_scan_differs_in_what_was_taken_away_alone(strip, changed):
    scans = [scanner.draw_scan((64, 32), 8, seed, "T1") for seed in range(6)]
    less = [strip(scan) for scan in scans]
    differing = {
        field.name
        for before, after in zip(scans, less, strict=True)
        for field in fields(before)
        if getattr(after, field.name) is not getattr(before, field.name)
    }
    assert differing == changed
    for name in changed - {"array", "coupling"}:
        assert not any(np.any(getattr(scan, name)) for scan in less)
    if "array" in changed:
        centres = [scan.array.centres for scan in less]
        assert all(np.array_equal(one, centres[0]) for one in centres)
        assert not np.array_equal(scans[0].array.centres, scans[1].array.centres)


def test_taking_noise_away_changes_the_measurement_and_leaves_it_repeatable():
    body = np.zeros((1, 64, 64))
    body[:, 16:48, 16:48] = 1
    scan = stripped.strip_noise(scanner.draw_scan((64, 32), 4, 0, "T1"))
    noisy = replace(scan, noise=0.05)
    first, again = (scanner.measure(body, one) for one in (scan, scan))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(scanner.measure(body, noisy), first)


def test_without_detail_pixels_are_twice_as_large(workspace, monkeypatch, folder):
    files = sorted(folder.glob("*.h5"))
    monkeypatch.setattr(stripped, "simulate", lambda *words: folder)
    for path, fine in zip(
        stripped.train_files("simulated_brain", "quick", "detail"), files, strict=True
    ):
        before, after = read_volume(fine), read_volume(path)
        height, width = before.kspace.shape[-2:]
        assert after.kspace.shape[-2:] == (height // 2, width // 2)
        middle = before.kspace[..., height // 2, width // 2]
        np.testing.assert_array_equal(after.kspace[..., height // 4, width // 2 // 2], middle)


def test_only_simulated_sets_and_known_parts_can_be_stripped():
    with pytest.raises(InputError, match="not simulated"):
        stripped.train_files("fastmri_folder", "quick", "noise")
    with pytest.raises(InputError, match="phase, noise, array, leaves, detail"):
        stripped.train_files("simulated_brain", "quick", "coils")


@pytest.mark.skipif(not available(), reason="BART is not installed")
def test_bart_agrees_with_the_unrolled_solver(folder):
    slices = Slices(sorted(folder.glob("*.h5")), Sampling(3, 0.3, "random"), 3, maps=True)
    errors = transfer.tuned(transfer.without_training(bart=True), [slices[0]])
    zero = combine(slices[0].image, slices[0].target.shape[-2:])
    worst = nmse(zero[None], slices[0].target[None]).item()
    assert all(min(tried.values()) < worst for tried in errors.values()), (errors, worst)
    with pytest.raises(ValueError, match="tv or wavelet"):
        pics(slices[0], 0.01, "haar")
    bare = Measurement(**{**slices[0].__dict__, "sensitivities": None})
    with pytest.raises(ValueError, match="needs maps"):
        pics(bare, 0.01)


@pytest.mark.parametrize(
    "given", [{"taken_away": "noise"}, {"networks": "vn,modl,unet", "accel": 3, "coils": 2}]
)
def test_the_chapter_trains_tests_and_stores(folder, monkeypatch, given):
    files = sorted(folder.glob("*.h5"))
    monkeypatch.setattr(stripped, "train_files", lambda *words: files[:8])
    monkeypatch.setattr("recon.data.splits.open_split", lambda *words: files[8:])
    monkeypatch.setattr(transfer, "WEIGHTS", (0.01,))
    names = run_chapter(
        "measured_kspace", measured_root=str(folder), mask_draws=2, center_fraction=0.2, **given
    )
    run = store.load(next((folder.parent / "runs").glob("*.json")))
    nets = {"pcrnn_xs", "admm_net"} if "networks" not in given else {"unet", "vn", "modl"}
    start = {"admm_start"} & {f"{net.split('_')[0]}_start" for net in nets}
    free = {"zero_filled", "sense", "cs"} | start
    assert {row["method"] for row in run.rows} == nets | free
    assert bool(start) == ("networks" not in given)
    pairs = {(row["method"], row["against"]) for row in run.rows if "against" in row}
    assert {(net, other) for net in nets for other in {"zero_filled", "cs"} | start} <= pairs
    assert ("sense", "cs") in pairs and not any(first == second for first, second in pairs)
    assert names["steps"] and all(count > 0 for *_, count in names["steps"])
    trained = {row["trained_on"] for row in run.rows}
    expected = {"–", "simulated_brain", "simulated_knee"}
    assert trained == expected | (
        {"simulated_brain without noise"} if "taken_away" in given else set()
    )
    assert {row["coils"] for row in run.rows} == {given.get("coils", 4), 0}
    assert {row["data"] for row in run.rows} >= {"simulated_brain", "measured"}
    page = tables.of_runs([run, run])
    assert page.count("by number of coils") == 2  # a label and a caption, of the first run alone
    assert re.search(r"measured, all coils, \d scans, \d\.\d\dx", page)
    assert page.count("Differences in PSNR") == 4
    assert names["figure"].axes


def rows_of(method, trained, value, coils=4, **fields):
    common = {"task": "transfer", "contrast": "all", "metric": "psnr", "region": "full", "n": 13}
    common |= {"accel": 4, "effective_accel": 4.041, "unit": "mask", "data": "measured"}
    common |= {"method": method, "trained_on": trained, "coils": coils, "value": value}
    return {**common, "ci95": [value - 0.1, value + 0.1], **fields}


def stored(extra=0.0, seed=0):
    """A small run: one network, with gains over zero-filled and a difference from CS."""
    rows = [
        rows_of("admm_net", "simulated_brain", 7.0 + extra, against="zero_filled", p_value=0.01),
        rows_of("admm_net", "simulated_brain", 1.5, against="cs", p_value=0.02),
        rows_of("admm_start", "–", 5.0, against="zero_filled", p_value=0.03),
    ]
    rows += [rows_of("sense", "–", 30.0 + extra, number) for number in (4, 0)]
    settings = {"accel": 4, "coils": 4, "seed": seed, "lessons": "simulated_brain"}
    return store.Run("measured_kspace", "standard", settings, rows, {})


def test_tables_of_stored_runs_say_of_how_many_masks_they_speak_and_which_run():
    one, same, other = stored(), stored(seed=1), stored(0.5, seed=2)
    page = tables.of_runs([one, same, other])
    assert '<th scope="col">measured, 13 masks, 4.04x</th>' in page
    assert "ADMM-Net, untrained" in page and "+1.5" in page and ">0.02<" in page
    for run in (one, same, other):
        assert f"run {store.run_name(run.chapter, run.parameters)}</caption>" in page
    coils = [part for part in page.split("<caption>")[1:] if "by number of coils" in part[:60]]
    assert len(coils) == 2  # what a run repeats to the digit is left out, what differs is not
    assert not any("seed-1" in part.split("</caption>")[0] for part in coils)
    bare = [row for row in one.rows if row.get("against") != "cs"]
    assert "Differences" not in tables.of_runs([replace(one, rows=bare)])


def test_pictures_are_described_by_the_methods_of_their_run(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "reference_dir", lambda: tmp_path)
    run = stored()
    assert "No reference run" in tables.pictures([run]).data
    name = store.run_name(run.chapter, run.parameters)
    (tmp_path / f"{name}_example.png").write_bytes(b"")
    text = tables.pictures([run]).data
    assert "![Columns, each under its name, for SENSE, ADMM-Net, ADMM-Net, untrained and" in text
    assert "trained on simulated_brain" in text and f"(results/{name}_example.png)" in text


def test_the_matrix_names_both_of_its_axes():
    figure = tables.heat([stored().rows[0]], {"measured": "there"}, 4)
    assert figure.axes[0].get_ylabel() == "trained on"
    assert figure.get_supxlabel() == "tested on"


def test_bart_must_be_there_to_be_asked_for(monkeypatch):
    monkeypatch.setattr(transfer, "available", lambda: False)
    with pytest.raises(InputError, match="install BART"):
        transfer.without_training(bart=True)


@pytest.mark.skipif(not available(), reason="BART is not installed")
def test_the_comparison_runs_bart_beside_its_own(folder, monkeypatch):
    monkeypatch.setattr(transfer, "WEIGHTS", (0.003, 0.01))
    fewest = {
        "coils": 3,
        "center_fraction": 0.3,
        "methods": "pcrnn",
        "compressed_sensing": False,
        "accel": 3,
    }
    names = run_chapter(
        "comparison", data="fastmri_folder", data_root=str(folder), bart=True, **fewest
    )
    assert {*names["found"]} == {"bart_wavelet", "bart_tv"}
    scores = names["scores"].groupby(["metric", "method"]).value.mean()["ssim"]
    assert {"zero_filled", "pcrnn_xs", *names["found"]} == {*scores.index}
    assert scores.nunique() == 4 and scores.between(0.2, 1).all()
