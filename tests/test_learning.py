"""Training, scoring and the road from a file to a measurement."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from fastmri import evaluate

from laws import random_complex
from recon.data.fastmri import Volume, write_volume
from recon.data.maps import coil_maps
from recon.data.measurement import Sampling, calibration_size, cut_band, draw_mask, measure
from recon.data.samples import Batches, Slices, collate
from recon.errors import InputError
from recon.learning import checkpoints
from recon.learning.losses import ReconstructionLoss, combine, nmse
from recon.learning.metrics import (
    body_mask,
    distinct_draws,
    evaluate_methods,
    mask_and_calibration,
    score,
)
from recon.learning.optimisers import LookaheadAdam
from recon.learning.training import Schedule, fit
from recon.networks.pcrnn import PCRNN
from recon.networks.vsnet import VSNet
from recon.physics.coils import rss
from recon.physics.fourier import centre_crop, fft2, fft2c, ifft2c
from recon.results.statistics import paired_p, summarise

PLAN = Sampling(4, 0.08, "random")


def volume(name="file1", slices=3, coils=5, height=64, width=36, crop=(32, 32), seed=0):
    """A smooth body seen by a few coils, with readout oversampling; not anatomy, only numbers."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    body = ((2 * y) ** 2 + x**2 < 0.7) * (1 + 0.5 * np.sin(9 * x + rng.uniform(0, 6)))
    angles = np.linspace(0, 2 * np.pi, coils, endpoint=False)
    maps = np.stack(
        [
            np.exp(-((x - np.cos(a)) ** 2) - (2 * y - np.sin(a)) ** 2) * np.exp(1j * (a + x))
            for a in angles
        ]
    )
    images = torch.from_numpy(np.stack([maps * body * (1 + 0.2 * i) for i in range(slices)]))
    kspace = fft2c(images.to(torch.complex64)) + 1e-3 * random_complex(slices, coils, height, width)
    target = centre_crop(rss(ifft2c(kspace)), crop)
    return Volume(name, kspace.numpy(), target.numpy(), "CORPD_FBK", crop)


def test_a_fully_sampled_measurement_gives_the_target_back():
    whole = volume()
    item = measure(whole, 1, torch.ones(36, dtype=torch.bool))
    assert item.kspace.shape == (5, 32, 36)
    image = combine(item.image[None], item.target.shape)[0]
    torch.testing.assert_close(image, item.target, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        item.target * item.scale, torch.from_numpy(whole.target[1]), rtol=1e-3, atol=1e-4
    )


def test_nothing_that_was_left_out_reaches_the_network():
    """Change k-space where the mask is false: the network's input stays bit for bit the same."""
    one, other = volume(), volume()
    mask = draw_mask(one, PLAN, seed=3)
    other.kspace[..., ~mask.numpy()] += 10
    first, second = measure(one, 0, mask, 4), measure(other, 0, mask, 4)
    assert torch.equal(first.kspace, second.kspace)
    assert not torch.allclose(first.target, second.target)


def test_a_score_is_the_same_whether_another_method_needs_maps(tmp_path, monkeypatch):
    monkeypatch.setenv("RECON_CACHE", str(tmp_path / "cache"))
    scan, plan = volume(), Sampling(3, 0.2, "random")
    write_volume(tmp_path / "file1.h5", scan)
    grown = (s for s in range(99) if calibration_size(*mask_of(scan, plan, s)) > 7)
    seed = next(grown)  # columns joined the centre of 7 by chance
    methods = {"zero_filled": lambda batch: batch.image}
    files = [tmp_path / "file1.h5"]
    without, beside = (
        evaluate_methods(methods, files, plan, 2, seed, maps=maps) for maps in (False, True)
    )
    pd.testing.assert_frame_equal(without, beside)


def mask_of(scan, plan, seed):
    """A volume's mask and the height of its k-space, as `calibration_size` takes them."""
    return mask_and_calibration(scan, plan, seed)[0], scan.crop[0]


def test_an_empty_slice_stays_finite():
    empty = volume()
    empty.kspace[:] = 0
    item = measure(empty, 0, draw_mask(empty, PLAN, 0), 4)
    assert torch.isfinite(item.kspace).all() and item.scale == 1


def test_a_mask_that_keeps_nothing_is_refused_by_name():
    scan = volume("file7")
    scan.mask = np.zeros(36, dtype=bool)
    with pytest.raises(InputError, match="file7: the mask keeps none of the 36 columns"):
        draw_mask(scan, PLAN, 0)


def test_a_mask_that_was_drawn_before_is_not_scored_again(tmp_path):
    """At 4x an equispaced mask has four offsets, so twenty draws are at most four observations."""
    scan, plan = volume(slices=1), Sampling(4, 0.1, "equispaced")
    numbers = distinct_draws(scan, plan, seed=0, draws=20)
    assert 2 <= len(numbers) <= 4 and numbers[0] == 0
    write_volume(tmp_path / "file1.h5", scan)
    methods = {"zero_filled": lambda batch: batch.image}
    scores = evaluate_methods(methods, [tmp_path / "file1.h5"], plan, 4, 0, draws=20)
    assert set(scores.volume) == {f"file1#{number}" for number in numbers}
    assert scores.groupby(["metric", "region"]).value.nunique().max() == len(numbers)
    random = Sampling(4, 0.1, "random")
    assert len(distinct_draws(scan, random, seed=0, draws=20)) > 10


def test_a_band_of_rows_is_the_same_problem_made_smaller():
    """Data consistency inside the band gives the band of the whole slice's true images."""
    scan = volume()
    mask = draw_mask(scan, PLAN, 0)
    item, whole = measure(scan, 1, mask), measure(scan, 1, torch.ones_like(mask))
    band = cut_band(item, 12, seed=4)
    assert band.kspace.shape == (5, 12, 36) and band.target.shape == (12, 32)
    places = [t for t in range(21) if torch.equal(item.target[t : t + 12], band.target)]
    assert len(places) == 1
    truth = (whole.image * whole.scale / item.scale)[:, places[0] : places[0] + 12]
    kept = band.mask.expand_as(truth)
    torch.testing.assert_close(fft2(truth)[kept], band.kspace[kept], rtol=1e-3, atol=1e-4)
    assert cut_band(item, 0, 0) is item and cut_band(item, 32, 0) is item


def test_maps_explain_the_coils_and_see_only_the_centre(tmp_path, monkeypatch):
    monkeypatch.setenv("RECON_CACHE", str(tmp_path / "cache"))
    scan = volume("scan", height=96, width=72, crop=(48, 48))
    path = tmp_path / "scan.h5"
    write_volume(path, scan)
    item = Slices([path], PLAN, 4, maps=True)[1]
    maps = item.sensitivities
    assert maps.shape == item.kspace.shape == (4, 48, 72)
    torch.testing.assert_close(rss(maps), torch.ones(48, 72), rtol=1e-4, atol=1e-4)
    # Coil images are the combined image times the maps, up to noise.
    whole = measure(scan, 1, torch.ones(72, dtype=torch.bool), 4, 6)
    image = (maps.conj() * whole.image).sum(0)
    assert (maps * image - whole.image).norm() < 0.1 * whole.image.norm()
    # What lies beyond the centre has no say, and a second call reads what the first one kept.
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.npy")}
    assert len(kept) == 1
    assert torch.equal(Slices([path], PLAN, 4, maps=True)[1].sensitivities, maps)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.npy")} == kept
    scan.kspace[..., :30], scan.kspace[..., 42:] = 0, 0
    write_volume(tmp_path / "centre.h5", scan)
    alone = coil_maps(tmp_path / "centre.h5", 1, 4, 6)
    torch.testing.assert_close(alone, coil_maps(path, 1, 4, 6))


def test_maps_of_one_coil_of_none_and_of_a_centre_too_small(tmp_path, monkeypatch):
    monkeypatch.setenv("RECON_CACHE", str(tmp_path / "cache"))
    for coils in (1, 2):
        scan = volume(f"scan{coils}", coils=coils)
        scan.single_coil = coils == 1
        write_volume(tmp_path / f"{scan.name}.h5", scan)
    assert torch.equal(coil_maps(tmp_path / "scan1.h5", 0, 1, 8), torch.ones(1, 32, 36) + 0j)
    padded = coil_maps(tmp_path / "scan2.h5", 0, 4, 10)
    assert padded[2:].abs().max() == 0 and (rss(padded) - 1).abs().max() < 1e-4
    with pytest.raises(InputError, match="scan2, slice 0: the fully sampled centre is 2 columns"):
        coil_maps(tmp_path / "scan2.h5", 0, 2, 2)


def test_networks_with_maps_train_on_bands_and_are_scored(tmp_path, monkeypatch):
    monkeypatch.setenv("RECON_CACHE", str(tmp_path / "cache"))
    write_volume(tmp_path / "scan.h5", volume("scan"))
    plan = Sampling(3, 0.25, "random")
    slices = Slices([tmp_path / "scan.h5"], plan, 4, rows=16, maps=True)
    assert slices[(0, 3)].sensitivities.shape == (4, 16, 36)
    network = VSNet(16, cascades=2)
    history = fit(network, slices, ReconstructionLoss(), Schedule(epochs=2, batch_size=3))
    assert len(history) == 2 and np.isfinite([line["loss"] for line in history]).all()
    methods = {"vsnet": lambda b: network(b.kspace, b.mask, b.sensitivities)}
    scores = evaluate_methods(methods, [tmp_path / "scan.h5"], plan, 4, maps=True)
    assert np.isfinite(scores.value).all() and set(scores.method) == {"vsnet"}


@pytest.fixture
def folder(tmp_path):
    """Four files, one with another number of coils and another width."""
    for i, (coils, width) in enumerate([(5, 36), (5, 36), (3, 36), (5, 40)]):
        scan = volume(f"file{i}", coils=coils, width=width, seed=i)
        write_volume(tmp_path / f"{scan.name}.h5", scan)
    return sorted(tmp_path.glob("*.h5"))


def test_batches_never_mix_shapes_and_cover_an_epoch_once(folder):
    slices = Slices(folder, PLAN, 4)
    batches = Batches(slices, 2, seed=1)
    seen = []
    for batch in batches.epoch(0):
        assert len({slices.shapes[index] for index, _ in batch}) == 1
        seen += [index for index, _ in batch]
        collate([slices[key] for key in batch])
    assert len(seen) == len(set(seen))
    assert batches.epoch(0) == Batches(slices, 2, seed=1).epoch(0) != batches.epoch(1)


def test_masks_change_with_the_epoch_in_training_and_never_in_validation(folder):
    slices = Slices(folder, PLAN, 4)
    assert torch.equal(slices[0].mask, slices[1].mask)
    masks = {tuple(slices[(0, epoch)].mask.flatten().tolist()) for epoch in range(5)}
    assert len(masks) > 1


def test_different_coil_numbers_need_compression(folder):
    assert Slices(folder, PLAN, 4).channels() == 4
    with pytest.raises(InputError, match="3, 5 coils"):
        Slices(folder, PLAN, 0).channels()


def small():
    torch.manual_seed(0)
    return PCRNN(4, (16, 16, 16), iterations=1)


SHORT = Schedule(epochs=2, batch_size=2, rate=1e-3, warmup_epochs=0.2, halve_every=1)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_a_run_that_was_interrupted_ends_with_the_same_weights(folder, tmp_path, monkeypatch):
    slices, loss = Slices(folder, PLAN, 4), ReconstructionLoss()
    whole = small()
    full = fit(whole, slices, loss, SHORT, None, 5, "cpu")

    calls = 0

    def stop_in_the_middle(images, measurement):
        nonlocal calls
        calls += 1
        if calls > len(full) // 2:
            raise KeyboardInterrupt
        return loss(images, measurement)

    where = tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        fit(small(), slices, stop_in_the_middle, SHORT, where, 5, "cpu")
    resumed = small()
    rest = fit(resumed, slices, loss, SHORT, where, 5, "cpu")
    assert len(rest) == len(full) and calls == len(full) // 2 + 1
    assert torch.equal(weights(resumed), weights(whole))
    assert [r["loss"] for r in rest] == [r["loss"] for r in full]

    def never(images, measurement):
        raise AssertionError("a finished training was repeated")

    again = small()
    fit(again, slices, never, SHORT, where, 5, "cpu")
    assert torch.equal(weights(again), weights(whole))


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(folder, tmp_path):
    slices, where = Slices(folder, PLAN, 4), tmp_path / "checkpoints"
    network = small()
    history = fit(network, slices, ReconstructionLoss(), SHORT, where, 5, "cpu")
    torn = where / "step-9999999.123.tmp"
    torn.mkdir()
    (torn / "weights.safetensors").write_bytes(b"half")
    again = small()
    assert len(fit(again, slices, ReconstructionLoss(), SHORT, where, 5, "cpu")) == len(history)
    assert torch.equal(weights(again), weights(network))


def test_a_full_disk_says_so_and_keeps_the_last_checkpoint(folder, tmp_path, monkeypatch):
    network = small()
    optimiser = LookaheadAdam(network.parameters())
    checkpoints.save_checkpoint(tmp_path, network, optimiser, [{"step": 1}])

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"No space left on device.*RECON_CACHE"):
        checkpoints.save_checkpoint(tmp_path, network, optimiser, [{"step": 2}])
    assert [p.name for p in tmp_path.glob("step-*")] == ["step-0000001"]


def test_a_loss_that_is_not_finite_stops_the_training(folder):
    def broken(images, measurement):
        return images.abs().sum() * float("nan")

    said = r"diverged at step 0: the loss is nan, .* lower the learning rate"
    with pytest.raises(InputError, match=said):
        fit(small(), Slices(folder, PLAN, 4), broken, SHORT, None, 0, "cpu", label="pcrnn")


def test_a_gradient_that_is_not_finite_stops_the_training_before_the_weights_are(folder):
    network = small()
    before = weights(network)

    def broken(images, measurement):
        return (images.abs().sum() * 0).sqrt()  # zero, and its slope is 0 * inf

    with pytest.raises(InputError, match=r"norm of its gradient nan; lower the learning rate"):
        fit(network, Slices(folder, PLAN, 4), broken, SHORT, None, 0, "cpu", label="pcrnn")
    assert torch.equal(weights(network), before)


def test_training_lowers_the_loss(folder):
    schedule = Schedule(epochs=12, batch_size=2, rate=2e-3, warmup_epochs=0.2, halve_every=6)
    history = fit(small(), Slices(folder, PLAN, 4), ReconstructionLoss(), schedule, None, 0, "cpu")
    losses = [entry["loss"] for entry in history]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def test_schedule_is_the_papers():
    """Section IV-B: 1e-5 to warm up, 1e-4, halved every 10 epochs."""
    rates = [Schedule().rate_at(epoch) for epoch in (0, 0.9, 1, 9.9, 10, 25, 59)]
    assert rates == [1e-5, 1e-5, 1e-4, 1e-4, 5e-5, 2.5e-5, 1e-4 / 32]


def test_lookahead_is_adam_pulled_back_every_k_steps():
    """Three steps with k = 3: slow weights move half of the way, fast ones restart there."""
    start = torch.tensor([1.0, -2.0])
    ours, plain = (start.clone().requires_grad_() for _ in range(2))
    lookahead, adam = LookaheadAdam([ours], lr=0.1, k=3), torch.optim.Adam([plain], lr=0.1)
    for step in range(3):
        for weight, optimiser in ((ours, lookahead), (plain, adam)):
            optimiser.zero_grad()
            weight.square().sum().backward()
            optimiser.step()
        if step < 2:
            assert torch.equal(ours, plain)
    torch.testing.assert_close(ours.detach(), start + 0.5 * (plain.detach() - start))


def test_loss_is_zero_at_the_target_and_is_equation_14():
    item = collate([measure(volume(), i, torch.ones(36, dtype=torch.bool)) for i in range(2)])
    assert ReconstructionLoss()(item.image, item).item() < 1e-4
    image = combine(item.image * 0.8, item.target.shape[-2:])
    ssim = np.mean(
        [
            evaluate.ssim(t[None].numpy(), i[None].numpy(), float(t.max()))
            for t, i in zip(item.target, image, strict=True)
        ]
    )
    expected = nmse(image, item.target).item() + 0.5 * (1 - ssim)
    assert abs(ReconstructionLoss()(item.image * 0.8, item).item() - expected) < 1e-3


def test_scores_are_fastmris_and_sharpness_tells_blur_from_noise():
    rng = np.random.default_rng(0)
    target = volume().target
    noisy = target + 0.1 * rng.standard_normal(target.shape)
    result = score(noisy, target)
    assert result["psnr"] == pytest.approx(evaluate.psnr(target, noisy))
    assert result["sharpness"] > 1
    blurred = (target + np.roll(target, 1, -1) + np.roll(target, 1, -2)) / 3
    assert score(blurred, target)["sharpness"] < 1


def test_body_mask_finds_the_body():
    scan = volume(height=128, width=64, crop=(64, 64), coils=6)
    mask = body_mask(scan, 1, (64, 64))
    bright = scan.target[1] > 0.3 * scan.target[1].max()
    assert mask[bright].mean() > 0.97
    assert 0.2 < mask.mean() < 0.98


def test_summary_pairs_volumes_and_reports_the_direction():
    rng = np.random.default_rng(1)
    scores = []
    for i in range(12):
        base = rng.normal(30, 3)
        for method, value in {"a": base + 1 + 0.1 * rng.normal(), "b": base}.items():
            scores.append(
                {
                    "volume": f"v{i}",
                    "contrast": "PD" if i % 2 else "PDFS",
                    "effective_accel": 4.0,
                    "method": method,
                    "metric": "psnr",
                    "region": "body",
                    "value": value,
                }
            )
    rows = summarise(pd.DataFrame(scores), [("a", "b")], data="d", task="t", accel=4)
    difference = next(r for r in rows if r.get("against") == "b" and r["contrast"] == "all")
    assert difference["n"] == 12 and difference["p_value"] < 0.001
    assert difference["ci95"][0] > 0.8 and difference["ci95"][1] < 1.2
    assert {r["contrast"] for r in rows} == {"PD", "PDFS", "all"}
    assert paired_p(np.zeros(5)) == 1
