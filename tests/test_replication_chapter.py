"""The chapter on the replication, and the scores that it makes."""

import json
import re
from dataclasses import replace

import jupytext
import numpy as np
import pytest
import torch

from recon.data.fastmri import write_volume
from recon.data.manifest import load_manifest
from recon.errors import InputError
from recon.learning import contest
from recon.learning.baselines import tuned_compressed_sensing
from recon.learning.centre import best_possible, fully_sampled, middle, score_centre, score_truth
from recon.learning.metrics import evaluate_methods
from recon.networks.replication import Deviations
from recon.paths import project_root
from recon.physics.fourier import fft2
from recon.results import store
from test_learning import PLAN, volume


@pytest.fixture
def folder(workspace):
    """Eight single-coil files of two contrasts."""
    for i in range(8):
        made = volume(f"file{i}", 2, 1, 64, 36, seed=i)
        made.contrast, made.single_coil = ("CORPD_FBK", "CORPDFS_FBK")[i % 2], True
        write_volume(workspace / f"file{i}.h5", made)
    return workspace


def test_truth_is_lost_by_the_suspects_that_close_the_network(folder):
    paths = sorted(folder.glob("*.h5"))[:2]
    changes = {
        name: lambda truth, item, d=deviations: best_possible(truth, item, d)
        for name, deviations in {
            "none": Deviations(),
            "lost": Deviations(consistency_lost=True),
            "crop": Deviations(columns=24),
            "zero_mean": Deviations(zero_mean_target=True),
            "relu": Deviations(relu_at_end=True),
            "apart": Deviations(normalised_apart=True),
            "apart_lost": Deviations(normalised_apart=True, consistency_lost=True),
        }.items()
    }
    scores = score_truth(changes, paths, PLAN, 24)
    psnr = scores[scores.metric == "psnr"].groupby("method").value.mean()
    assert psnr[["none", "lost", "apart_lost"]].min() > 60
    assert psnr[["crop", "zero_mean", "relu", "apart"]].max() < 55


def test_the_truth_is_in_the_units_of_its_measurement(folder):
    item, truth = fully_sampled(next(folder.glob("*.h5")), PLAN)
    inside = item.mask.expand_as(truth)
    torch.testing.assert_close(fft2(truth)[inside], item.kspace[inside], rtol=1e-3, atol=1e-4)


def test_centre_scores_are_the_usual_ones_on_fewer_columns(folder):
    paths = sorted(folder.glob("*.h5"))[:2]
    methods = {"zero_filled": lambda batch: batch.image}
    whole = score_centre(methods, paths, PLAN, 1, 0)
    usual = evaluate_methods(methods, paths, PLAN, 1)
    usual = usual[usual.region == "full"]
    np.testing.assert_allclose(whole.value.to_numpy(), usual.value.to_numpy(), rtol=1e-5)
    fewer = score_centre(methods, paths, PLAN, 1, 24)
    assert not np.allclose(fewer.value, whole.value)
    assert middle(np.arange(10)[None], 4).tolist() == [[3, 4, 5, 6]]


def test_compressed_sensing_of_one_coil_needs_no_map_and_beats_zero_filling(folder):
    """The map of a single coil is 1, whether a file of maps holds it or nobody made one."""
    paths = sorted(folder.glob("*.h5"))[:2]
    method, errors = tuned_compressed_sensing(paths, PLAN, 1)
    assert min(errors.values()) < max(errors.values())
    batch, _ = fully_sampled(paths[0], PLAN)
    assert batch.sensitivities is None
    told = replace(batch, sensitivities=torch.ones_like(batch.kspace))
    assert torch.equal(method(batch), method(told))
    scores = score_centre({"cs": method, "zero_filled": lambda item: item.image}, paths, PLAN, 1, 0)
    nmse = scores[scores.metric == "nmse"].groupby("method").value.mean()
    assert nmse["cs"] < nmse["zero_filled"]


def run_chapter(**given):
    """Every code cell with other parameters and a training of one pass; names afterwards."""
    notebook = jupytext.read(project_root() / "book" / "replication.py")
    names = {"__name__": "chapter"}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        short = re.sub(
            r"Profile\(\(.*?\), epochs=[\d.]+", "Profile((16, 16, 16), epochs=1", cell.source
        )
        exec(compile(short, "chapter", "exec"), names)
        if "parameters" in cell.metadata.get("tags", []):
            names.update(given)
    return names


@pytest.mark.parametrize(
    "given",
    [
        {"accel": 3, "accels": "2,8", "seed": 5},
        {"mask_type": "equispaced", "center_fraction": 0.1, "accels": "4", "start": "random"},
        {"profile": "standard", "accels": "2,4", "mask_type": "equispaced_fraction"},
    ],
)
def test_the_chapter_tries_every_suspect(folder, given):
    names = run_chapter(data="fastmri_folder", data_root=str(folder), **given)
    run = store.load(next((folder.parent / "runs").glob("*.json")))
    told = names["ways"].values()
    assert {row["method"] for row in run.rows} == {
        *("zero_filled", "unet", "cs"),
        *names["CASES"],
        *told,
    }
    assert np.isfinite([row["value"] for row in run.rows]).all()
    assert str(folder.parent) not in json.dumps(run.parameters)
    wanted = {2, 4, 8} if given["accels"] == "all" else {int(a) for a in given["accels"].split(",")}
    assert {row["accel"] for row in run.rows} == {given.get("accel", 4), *wanted}
    each = given.get("profile") == "standard"
    learned = {row["trained_at"] for row in run.rows if row["accel"] == 2}
    assert learned <= ({2} if each else {given.get("accel", 4)})
    steps = {name: len(history) for name, history in names["histories"].items()}
    assert steps["batch_one"] == steps["replication"] > steps["faithful"]
    assert len(names["few_files"]) < len(names["train_files"])


def test_the_unet_takes_as_many_steps_of_at_least_as_many_rows():
    """In every profile, for simulated knees: PC-RNN as on the page, the U-Net as in the contest."""
    cells = jupytext.read(project_root() / "book" / "replication.py").cells
    names = {"__name__": "chapter", "profile": "quick"}
    names |= {"Deviations": Deviations, "ORIGINAL": Deviations()}
    exec(next(cell.source for cell in cells if "PROFILES = {" in cell.source), names)
    for profile, size in names["PROFILES"].items():
        whole, height = contest.BUDGETS[profile].whole, load_manifest("simulated_knee").profiles
        rows = size.rows or height[profile]["crop"][0]
        assert whole.epochs / whole.batch_size == size.epochs / size.batch
        assert whole.batch_size * height[profile]["crop"][0] >= size.batch * rows


def test_the_chapter_takes_many_coils_and_refuses_what_it_cannot_do(folder):
    with pytest.raises(InputError, match="accels is '6'"):
        run_chapter(accels="6")
    for i, path in enumerate(sorted(folder.glob("*.h5"))):
        path.unlink()
        write_volume(path, volume(path.stem, 2, 3 + i % 3, 64, 36, seed=i))
    given = {"data": "fastmri_folder", "data_root": str(folder), "task": "multicoil", "accels": "4"}
    with pytest.raises(InputError, match="raise center_fraction"):
        tuned_compressed_sensing(sorted(folder.glob("*.h5")), PLAN, 4)
    names = run_chapter(**given, center_fraction=0.2)
    assert names["channels"] == 4 and names["kept"] == 24
