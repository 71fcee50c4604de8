"""Ten orders of the pyramid, rings of k-space, and the spread over seeds."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from laws import random_complex
from recon.data.fastmri import write_volume
from recon.data.measurement import Sampling, draw_mask
from recon.errors import InputError
from recon.learning.stages import missing_kspace, stage_spectra
from recon.learning.training import Schedule, training_folder
from recon.networks.channels import parameter_count
from recon.networks.pyramid_orders import ORDERS, PAPERS_ORDER, OrderedPyramid, label
from recon.physics.fourier import fft2
from recon.results import claims, seeds, spectra, store
from recon.results.order import in_order, rank_correlation, same_order
from test_chapter import run_chapter
from test_learning import volume

WIDTHS = {4: 16, 2: 16, 1: 16}


# Rings


@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (16, 80)])
def test_rings_hold_all_the_energy(shape):
    """Parseval: the rings' sums are the energy of the image."""
    image = random_complex(3, *shape)
    energy = fft2(image).abs().square().numpy()
    sums = spectra.ring_sums(energy, 10)
    assert sums.shape == (11,)
    np.testing.assert_allclose(sums.sum(), image.abs().square().sum().item(), rtol=1e-5)


@pytest.mark.parametrize(("cycles", "axis"), [(3, 0), (11, 1), (13, 0)])
def test_a_wave_lies_in_the_ring_of_its_frequency(cycles, axis):
    """A wave of so many cycles over 64 pixels, along either axis; its ring holds its frequency."""
    rings = 16
    wave = torch.cos(2 * torch.pi * cycles * torch.arange(64) / 64)
    image = wave.reshape((64, 1) if axis == 0 else (1, 64)).expand(64, 64)
    sums = spectra.ring_sums(fft2(image.to(torch.complex64)).abs().square().numpy(), rings)
    ring = int(sums.argmax())
    assert sums[ring] > 0.999 * sums.sum()
    assert abs(spectra.ring_centres(rings)[ring] - cycles / 64) <= 0.25 / rings


def test_what_does_not_count_is_left_out():
    values = np.ones((2, 8, 8))
    where = np.zeros((1, 1, 8), dtype=bool)
    where[..., 3] = True
    assert spectra.ring_sums(values, 4, where).sum() == 16


def test_ring_correlation_is_blind_to_scale_and_its_square_is_what_a_factor_recovers():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(500, 2)) @ [1, 1j]
    drawn = truth + rng.normal(size=(500, 2)) @ [1, 1j]
    for factor in (1.0, 7.0):
        lines = [
            {
                "target": (abs(truth) ** 2).sum(),
                "power": (abs(f * drawn) ** 2).sum(),
                "cross": (f * drawn * truth.conj()).real.sum(),
                "error": (abs(f * drawn - truth) ** 2).sum(),
            }
            for f in factor * np.linspace(0.01, 1, 500)
        ]
        frame = pd.DataFrame(lines)
        correlation = spectra.ring_correlation(frame)
        assert np.ptp(correlation) < 1e-9
        if factor == 1:
            assert spectra.recovered(frame).max() == pytest.approx(correlation[0] ** 2, abs=1e-4)


def test_bands_tell_apart_what_each_stage_adds():
    """Stage 1 fills the low band, stage 2 half of the high one; the scale (three) is no matter."""
    rows = [
        {"volume": "a", "network": "n", "stage": s, "frequency": f, "target": t}
        | {"power": t * 9 * after, "cross": t * 3 * after}
        | {"before_power": t * before, "before_cross": t * before}
        for f, t, shares in (
            (0.05, 100.0, (0, 1, 1)),
            (0.10, 50.0, (0, 1, 1)),
            (0.20, 10.0, (0, 0, 0)),
            (0.40, 1.0, (0, 0, 0.5)),
        )
        for s, (before, after) in enumerate(pairwise(shares), start=1)
    ]
    found = spectra.band_gains(pd.DataFrame(rows)).set_index(["stage", "band"]).value
    expected = {(1, "low"): 1, (1, "middle"): 0, (1, "high"): 0}
    expected |= {(2, "low"): 0, (2, "middle"): 0, (2, "high"): 0.5}
    assert found.to_dict() == pytest.approx(expected)


def test_a_scale_has_one_colour_in_every_panel():
    """The one legend serves all panels, whatever order the scales run in."""
    lines = [
        {"network": n, "stage": s, "frequency": f, "target": 1.0, "change": s * f}
        for n in "ab"
        for s in (1, 2)
        for f in (0.1, 0.2)
    ]
    orders = {"a": ["4x", "1x"], "b": ["1x", "4x"]}
    figure = spectra.change_curves(pd.DataFrame(lines), orders, {"a": "A", "b": "B"})
    first, second = ([line.get_color() for line in axis.lines] for axis in figure.axes)
    assert first == second[::-1] and first[0] != first[1]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["4x", "1x"]
    assert [line.get_color() for line in legend.get_lines()] == first
    plt.close("all")


# Seeds


def test_seeds_alone_exceed_the_least_difference_in_one_case_of_twenty():
    """Networks that are equal in truth: 5 of 100 differences lie outside, however few trainings."""
    rng = np.random.default_rng(0)
    outside = 0
    for _ in range(1000):
        groups = [rng.normal(30, 0.2, size) for size in (2, 2, 3, 1)]
        least = seeds.least_difference(groups, 2, 1)
        outside += abs(groups[0].mean() - groups[3][0]) > least
    assert 30 <= outside <= 70


def test_the_pooled_spread_is_within_networks_not_between_them():
    assert seeds.pooled([[1, 3], [100, 102], [7]]) == (pytest.approx(2**0.5), 2)
    with pytest.raises(ValueError, match="trained twice"):
        seeds.pooled([[1], [2]])


def test_only_what_lies_outside_the_seeds_is_beyond_them():
    base = np.linspace(30, 34, 8)
    columns = {"zero": base - 5, "a": base, "a2": base + 0.02, "a3": base - 0.02}
    table = pd.DataFrame({**columns, "near": base + 0.01, "far": base + 1})
    trainings = {"a": ["a", "a2", "a3"], "near": ["near"], "far": ["far"]}
    assert seeds.beyond(table, trainings, "a") == {"near": False, "far": True}
    shown = seeds.spread_table(table, "zero", trainings, "a", {})
    assert shown.count("<b>") == 1 and "<b>-1.00</b>" in shown and "-0.01" in shown  # a minus far
    assert "a minus the network" in shown
    once = {name: [name] for name in trainings}
    assert seeds.beyond(table, once, "a") == {}
    assert "<b>" not in seeds.spread_table(table, "zero", once, "a", {})
    for runs in (trainings, once):
        seeds.forest(table, "zero", runs, "a", {}, "dB")
    plt.close("all")


# Networks


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_runs_keeps_measured_samples_and_learns(order):
    torch.manual_seed(0)
    network = OrderedPyramid(order, 2, WIDTHS, iterations=2, start="random")
    mask = (torch.rand(1, 1, 1, 20, generator=torch.Generator().manual_seed(1)) > 0.6).clone()
    kspace = random_complex(1, 2, 18, 20) * mask
    outputs = network.stages(kspace, mask)
    assert len(outputs) == len(ORDERS[order][0]) + 1
    kept = mask.expand_as(kspace)
    torch.testing.assert_close(fft2(outputs[-1])[kept], kspace[kept], rtol=1e-4, atol=1e-4)
    outputs[-1].abs().square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_trainings_of_different_orders_and_starts_are_stored_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("RECON_CACHE", str(tmp_path))
    folders = {
        training_folder(
            OrderedPyramid(order, 2, WIDTHS, start=start), {"device": "cpu"}, Schedule(), []
        )
        for order in ORDERS
        for start in ("identity", "random")
    }
    assert len(folders) == 2 * len(ORDERS)


def test_parallel_and_sequential_differ_in_their_connection_only():
    pair = []
    for order in ("pyramid_parallel", PAPERS_ORDER):
        torch.manual_seed(0)
        pair.append(OrderedPyramid(order, 1, WIDTHS, start="random"))
    assert parameter_count(pair[0]) == parameter_count(pair[1])
    mask = torch.arange(16).reshape(1, 1, 1, 16) % 2 == 0
    kspace = random_complex(1, 1, 16, 16) * mask
    first, second = (network.stages(kspace, mask) for network in pair)
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])
    assert label("pyramid_parallel") != label(PAPERS_ORDER)
    with pytest.raises(ValueError, match="order is"):
        OrderedPyramid("pyramid_8", 1, WIDTHS)


# Stages


def test_measured_and_full_kspace_agree_where_the_mask_is_true():
    """Same virtual coils, same units; what is missing is exactly the rest."""
    scan = volume(coils=6)
    mask = draw_mask(scan, Sampling(3, 0.2, "random"), 1)
    for virtual in (0, 3):
        kspace, known, full, missing, scale = missing_kspace(scan, 1, mask, virtual)
        kept = known.expand_as(kspace)
        torch.testing.assert_close(kspace[kept], full[kept], rtol=1e-4, atol=1e-4)
        assert torch.equal(missing, ~known)
        assert scale > 0


class Oracle(torch.nn.Module):
    """Two 'modules': the first fills in nothing, the second and the join the truth."""

    connection = "sequential"

    def __init__(self, full):
        super().__init__()
        self.full = full

    def stages(self, kspace, mask):
        truth = torch.fft.ifft2(self.full, norm="ortho")[None]
        return [torch.fft.ifft2(kspace, norm="ortho"), truth, truth]


def test_recovered_share_is_zero_for_zero_filled_and_one_for_the_truth(tmp_path):
    scan = volume("one", 1, 4)
    write_volume(tmp_path / "one.h5", scan)
    plan = Sampling(3, 0.2, "random")
    from recon.data.measurement import seed_of

    mask = draw_mask(scan, plan, seed_of(0, "one"))
    full = missing_kspace(scan, 0, mask)[2]
    found = stage_spectra({"oracle": Oracle(full)}, [tmp_path / "one.h5"], plan, 0, rings=6)
    share = spectra.recovered(found)
    assert share[found.stage == 1].abs().max() < 1e-4
    assert (share[found.stage != 1] - 1).abs().max() < 1e-4
    correlation = spectra.ring_correlation(found)
    assert correlation[found.stage == 1].isna().all()
    assert (correlation[found.stage != 1] - 1).abs().max() < 1e-4
    relative = found.change / found.target
    assert relative[found.stage == 1].max() < 1e-4
    assert (relative[found.stage == 2] - 1).abs().max() < 1e-4
    scan.mask = mask.numpy()
    write_volume(tmp_path / "one.h5", scan)
    with pytest.raises(InputError, match="undersampled itself"):
        stage_spectra({}, [tmp_path / "one.h5"], plan, 0)


# Claims


def test_the_order_of_table_vii_is_that_of_the_rows_own_experiment():
    """Knee and brain share a table; each is correlated with itself."""
    paper = claims.load("chen-2022")
    for data, mine in (("simulated_knee", "knee_"), ("simulated_brain", "brain_")):
        rows = [
            {"data": data, "contrast": "all", "accel": 4, "metric": "psnr", "region": "body"}
            | {"method": method, "value": values[0]}
            for experiment, _, method, values in paper.tables["VII"].rows
            if experiment.startswith(mine)
        ]
        assert "+1.00" in same_order(rows, paper, "VII", 4, {})


def test_equal_values_are_joined_as_such_and_keep_tau_below_one():
    theirs = {"pyramid_4": 31.0, "pyramid_2": 32.1, "pyramid_1": 32.1}
    ours = {"pyramid_4": 31.0, "pyramid_2": 32.2, "pyramid_1": 32.1}
    assert in_order(theirs, theirs) == "2x = 1x > 4x"
    assert in_order(ours, ours) == "2x > 1x > 4x"
    assert rank_correlation(ours, theirs)[0] < 1
    assert rank_correlation(ours, ours)[0] == pytest.approx(1)


def test_every_order_of_the_table_is_built_and_named():
    paper = claims.load("chen-2022")
    assert {row[2] for row in paper.tables["VII"].rows} == set(ORDERS)
    for order in ORDERS:
        assert paper.methods[order] == label(order)


# The chapter


def run(**given):
    return run_chapter("ablation_pyramid_order", **given)


def test_all_orders_are_trained_scored_and_stored(folder):
    names = run(data="fastmri_folder", data_root=str(folder), repeats=1, repeated=PAPERS_ORDER)
    stored = store.load(next((folder.parent / "runs").glob("*.json")))
    assert {row["method"] for row in stored.rows} >= {"zero_filled", "convrnn3", *ORDERS}
    assert len(names["networks"]) == 11
    repeated = [row for row in stored.rows if row.get("training_seed") == 1]
    assert {row["method"] for row in repeated} == {PAPERS_ORDER, "convrnn1", "convrnn2", "convrnn3"}
    bands = [row for row in stored.rows if row["method"] == "convrnn3"]
    assert all("training_seed" in row for row in bands)
    first, second = ([r["value"] for r in bands if r["training_seed"] == s] for s in (0, 1))
    assert len(first) == len(second) > 0 and first != second
    drawn = [p.stem.split("_")[-1] for p in (folder.parent / "runs").glob("*.png")]
    assert sorted(drawn) == ["changes", "orders", "recovered"]


@pytest.mark.parametrize(
    "given",
    [
        {"variants": "pyramid_2,pyramid_parallel", "repeats": 0, "accel": 5, "start": "random"},
        {
            "variants": "pyramid_4_2",
            "repeated": "all",
            "mask_type": "equispaced_fraction",
            "seed": 4,
        },
    ],
)
def test_some_orders_can_be_picked(folder, given):
    names = run(data="fastmri_folder", data_root=str(folder), **given)
    wanted = {*given["variants"].split(","), PAPERS_ORDER}
    assert set(names["wanted"]) == wanted
    expected = len(wanted) + given.get("repeats", 1) * len(names["twice"])
    assert len(names["networks"]) == expected


def test_an_unknown_order_is_refused(folder):
    with pytest.raises(InputError, match="variants is 'pyramid_8'"):
        run(data="fastmri_folder", data_root=str(folder), variants="pyramid_8")
