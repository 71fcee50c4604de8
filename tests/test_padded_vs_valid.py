"""Cropped overlaps, two denoisers' equal training, and the chapter, cell by cell."""

import jupytext
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from recon.errors import InputError
from recon.learning.tiling.blending import crop_overlap
from recon.learning.tiling.study import Steps, fit_denoiser
from recon.networks.residual_sr import PaddedResidual
from recon.paths import project_root
from recon.results import store, tiles


def test_half_the_overlap_is_exact_from_the_margin_on():
    torch.manual_seed(0)
    network, image = PaddedResidual(4, 1).double(), torch.randn(1, 1, 50, 37).double()
    with torch.no_grad():
        whole = network(image)
    errors = {n: (crop_overlap(network, image, 24, n) - whole).abs().max() for n in (6, 8)}
    assert errors[6] > 1e-6 and errors[8] < 1e-12  # four convolutions: a margin of 4
    for overlap in (7, 24):
        with pytest.raises(InputError, match="overlap"):
            crop_overlap(network, image, 24, overlap)


def test_where_cropped_patches_still_overlap_the_later_one_stays():
    """TorchIO's own example: 10 pixels, patches of 5, overlap 2."""
    calls = iter(range(9))
    drawn = crop_overlap(lambda x: torch.full_like(x, next(calls)), torch.zeros(1, 1, 5, 10), 5, 2)
    assert drawn[0, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]


class Gain(nn.Module):
    """One weight, and as many pixels less on each side as it is told to take away."""

    def __init__(self, margin):
        super().__init__()
        self.margin, self.weight, self.seen = margin, nn.Parameter(torch.ones(())), []

    def forward(self, image):
        self.seen.append(image)
        return self.weight * nn.functional.pad(image, (-self.margin,) * 4)


def test_padded_and_valid_networks_learn_from_the_same_patches():
    clean = torch.randn(3, 1, 40, 44)
    nets = {margin: Gain(margin) for margin in (0, 5)}
    plan = Steps(3, batch=2, patch=16)
    losses = {m: fit_denoiser(net, clean, 0.1, plan, 1, "", around=5) for m, net in nets.items()}
    assert losses[0] == losses[5] and len(set(losses[0])) == 3
    assert nets[0].seen[2].shape[-2:] == (16, 16) and nets[5].seen[2].shape[-2:] == (26, 26)


def test_a_stored_benchmark_is_shown_with_its_machine_or_how_to_make_it(tmp_path):
    path = tmp_path / "tiling_memory.csv"
    assert "benchmarks/tiling_memory.py --store" in tiles.benchmark(path, "Memory")
    path.write_text("cap_MB,peak_MB,device,threads,commit\n150,149.5,a machine,1,abc\n")
    text = tiles.benchmark(path, "Memory")
    assert "Memory (device a machine; threads 1; commit abc)" in text
    assert "149.5" in text and "peak MB" in text and "--store" not in text
    path.write_text("side,CPU_s,device,threads,commit\nours,2.50,a machine,1,abc\n")
    text = tiles.benchmark(path, "Time", 2)
    assert '<th scope="row">2.50</th>' in text  # every digit that was written
    assert "benchmarks/other.py" in tiles.benchmark(tmp_path / "no.csv", "", script="other")


def measured(ours_mb, windows):
    """Rows as the benchmark writes them: this book's tool takes 2 s; windows (name, s, MB)."""
    sides = [("whole image", 1.0, 1), ("this book", 2.0, ours_mb)]
    sides += [(f"MONAI, windows of {name}", *rest) for name, *rest in windows]
    rows = pd.DataFrame(sides, columns=["side", "CPU_s", "peak_MB"])
    return rows.assign(axes=2, blocks=7, pixels_a_side=1024, width=16).astype(str)


def test_both_ratios_with_monai_and_which_window_they_are_of():
    windows = [(64, 9.0, 40), (96, 5.0, 90), (192, 4.0, 100), (288, 3.0, 101)]
    rows = tiles.ratios(measured(100, windows))
    assert rows["throughput_over_MONAI"].tolist() == ["1.50", "2.00"]
    assert rows["MONAI"].tolist() == ["windows of 288", "windows of 192"]
    assert rows["MONAI_MB"].tolist() == ["101", "100"] and set(rows["this_book_MB"]) == {"100"}
    assert "within" in rows["compared_with"][1]


def test_where_every_window_takes_more_memory_the_least_is_compared_and_said():
    rows = tiles.ratios(measured(30, [(64, 9.0, 40), (96, 1.0, 90)]))
    assert rows["throughput_over_MONAI"].tolist() == ["0.50", "4.50"]
    assert "every window takes more" in rows["compared_with"][1]
    two = pd.concat([measured(30, [(64, 9.0, 40)]), measured(50, [(64, 3.0, 40)]).assign(width=32)])
    assert tiles.ratios(two)["throughput_over_MONAI"].tolist() == ["4.50", "4.50", "1.50", "1.50"]
    two = pd.concat([measured(50, [(64, 3.0, 40)]).assign(blocks=32), measured(30, [(64, 9.0, 4)])])
    found = tiles.ratios(two)
    assert found["blocks"].tolist() == [7, 7, 32, 32]
    assert found["throughput_over_MONAI"].tolist() == ["4.50", "4.50", "1.50", "1.50"]
    assert tiles.ratios(measured(30, [])).empty


def test_where_the_goal_is_met_is_counted_by_depth(tmp_path):
    path = tmp_path / "ratios.csv"
    assert tiles.met(path, 1.5).empty
    deep = measured(50, [(64, 3.0, 40)]).assign(blocks=32)
    wide = measured(50, [(64, 2.9, 40)]).assign(blocks=32, width=32)
    tiles.ratios(pd.concat([deep, wide, measured(50, [(64, 9.0, 60)])])).to_csv(path, index=False)
    found = tiles.met(path, 1.5)
    assert found.loc[(2, 32, "fastest of all windows")].tolist() == [2, 1.45, 1.5, 1]
    assert found.loc[(2, 7, "least memory")].tolist() == [1, 4.5, 4.5, 1]


def test_the_table_of_ratios_has_a_row_a_case(tmp_path):
    path = tmp_path / "ratios.csv"
    assert "benchmarks/tiling_monai.py --store" in tiles.throughput(path, "Ratios")
    both = pd.concat(
        [measured(50, [(64, 3.0, 40)]), measured(50, [(64, 9.0, 60)]).assign(width=32)]
    )
    both = both.assign(device="a machine", threads=1, commit="abc")
    tiles.ratios(both).to_csv(path, index=False)
    text = tiles.throughput(path, "Ratios")
    assert "Ratios (device a machine; threads 1; commit abc)" in text
    assert text.count("<tr>") == 3 and text.count("1.50 (64, 40 MB)") == 2
    assert "4.50 (64, 60 MB; none takes less)" in text


def run_chapter(**given):
    """Execute every code cell with a training of a few steps; the chapter's names afterwards."""
    notebook = jupytext.read(project_root() / "book" / "ablation_padded_vs_valid.py")
    names = {"__name__": "chapter"}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        short = cell.source.replace("7, 7, 192, 8, 6, Steps(120)", "2, 3, 144, 2, 3, Steps(3)")
        short = short.replace("side = 640", "side = 160")
        exec(compile(short, "chapter", "exec"), names)
        if "parameters" in cell.metadata.get("tags", []):
            names.update(given)
    return names


@pytest.mark.parametrize("given", [{}, {"contrast": "T2", "patch": 50, "seed": 3, "noise": 0.3}])
def test_exactness_and_seams_are_measured_and_stored(workspace, given):
    names = run_chapter(**given)
    run = store.load(next((workspace.parent / "runs").glob("*.json")))
    mean = {
        row["method"]: row["value"]
        for row in run.rows
        if row["metric"] == "tile_mse" and "against" not in row and row["contrast"] == "all"
    }
    assert mean["valid_tiled"] == mean["padded_margin"] == mean["whole"] == 0
    assert mean["padded_32"] > mean["padded_96"] > 0
    # Overlap 50 % leaves more than the margin of 8, 25 % of a patch of 64 just that.
    assert mean["crop_50"] < 1e-12 and (mean["crop_25"] < 1e-12) == (names["patch"] == 64)
    assert names["used"]["padded_margin"] == (names["patch"], names["patch"] - 16)
    assert mean["constant_50"] > mean["gaussian_50"] > 0
    assert names["exact"] == 8 and min(names["zero"]["untrained"]) == 8
    assert names["curves"]["untrained"][7] > 0
    assert np.isfinite([row["value"] for row in run.rows]).all()


def test_a_patch_out_of_range_is_refused(workspace):
    with pytest.raises(InputError, match="patch"):
        run_chapter(patch=200)
