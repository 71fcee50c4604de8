"""Chapters, cell by cell, on small files and with a training of a few steps.

nbval runs a chapter as it is; here its parameters are varied. What is drawn and scored is real,
only the files are small (a smooth body behind a few coils) and the schedule is cut short.
"""

import json
import re

import jupytext
import numpy as np
import pytest

from recon.data.fastmri import write_volume
from recon.errors import InputError
from recon.learning import contest
from recon.networks.channels import parameter_count
from recon.paths import project_root
from recon.results import store
from test_learning import volume


def run_chapter(chapter="pcrnn", **given):
    """Execute every code cell with other parameters; the chapter's names afterwards."""
    notebook = jupytext.read(project_root() / "book" / f"{chapter}.py")
    names = {"__name__": "chapter"}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        short = re.sub(r"Schedule\(epochs=[\d.]+", "Schedule(epochs=1", cell.source)
        exec(compile(short, "chapter", "exec"), names)
        if "parameters" in cell.metadata.get("tags", []):
            names.update(given)
    return names


@pytest.mark.parametrize(
    "given",
    [
        {"accel": 5.5, "seed": 3},
        {"mask_type": "equispaced", "accel": 3, "mask_draws": 2},
        {"compressed_sensing": True, "center_fraction": 0.2, "mask_type": "equispaced_fraction"},
    ],
)
def test_a_folder_of_files_is_trained_on_scored_and_stored(folder, given):
    names = run_chapter(data="fastmri_folder", data_root=str(folder), **given)
    run = store.load(next((folder.parent / "runs").glob("*.json")))
    assert {row["method"] for row in run.rows} >= {"zero_filled", "unet", "pcrnn_xs", "convrnn1"}
    assert ("cs" in names["methods"]) == given.get("compressed_sensing", False)
    assert run.parameters["accel"] == given.get("accel", 4)
    assert str(folder.parent) not in json.dumps(run.parameters)
    assert np.isfinite([row["value"] for row in run.rows]).all()
    drawn = [p.stem.split("_")[-1] for p in (folder.parent / "runs").glob("*.png")]
    assert sorted(drawn) == ["median", "stages", "worst"]


def test_a_network_trained_on_one_folder_is_scored_on_another(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    scan = volume("measured", 1, 16, 48, 33, crop=(48, 33), seed=9)
    write_volume(other / "measured.h5", scan)
    names = run_chapter(
        data="fastmri_folder",
        data_root=str(folder),
        test_data="fastmri_folder",
        test_root=str(other),
        mask_draws=3,
    )
    assert set(names["scores"].volume) == {"measured#0", "measured#1", "measured#2"}
    assert {row["n"] for row in names["rows"]} == {3}
    assert {row["unit"] for row in names["rows"]} == {"mask"}


def test_single_coil_files(folder):
    for i, path in enumerate(sorted(folder.glob("*.h5"))):
        path.unlink()
        scan = volume(path.stem, 2, 1, 64, 36, seed=i)
        scan.single_coil = True
        write_volume(path, scan)
    where = {"data": "fastmri_folder", "data_root": str(folder)}
    names = run_chapter(**where, task="singlecoil", compressed_sensing=True)
    assert names["channels"] == 1
    assert "cs" in names["methods"] and "cs" in set(names["scores"].method)  # it needs no map
    with pytest.raises(InputError, match="coil"):
        run_chapter(data="fastmri_folder", data_root=str(folder), task="multicoil")


def test_coils_that_differ_cannot_stay_uncompressed(folder):
    with pytest.raises(InputError, match="pass coils"):
        run_chapter(data="fastmri_folder", data_root=str(folder), coils=0)


@pytest.mark.parametrize(
    ("given", "methods"),
    [
        (
            {"center_fraction": 0.22, "accel": 3, "compressed_sensing": True},
            {"cs", "unet", "vn", "vsnet", "kikinet", "d5c5", "complexmri", "pcrnn_xs"},
        ),
        ({"methods": "d5c5,unet", "accel": 6, "compressed_sensing": False}, {"unet", "d5c5"}),
    ],
)
def test_comparison_trains_and_scores_what_is_asked_for(folder, given, methods):
    run_chapter("comparison", data="fastmri_folder", data_root=str(folder), **given)
    run = store.load(next((folder.parent / "runs").glob("comparison*.json")))
    assert {row["method"] for row in run.rows} == {"zero_filled", *methods}
    assert np.isfinite([row["value"] for row in run.rows]).all()


def test_the_large_network_takes_part_when_asked_for_or_at_paper_sizes():
    assert "pcrnn_b" not in contest.entrants("all", "quick")
    assert contest.entrants("all", "paper")[-1] == "pcrnn_b"
    assert contest.entrants("pcrnn_b,unet", "quick") == ["unet", "pcrnn_b"]
    made = contest.build("pcrnn_b", 15, contest.BUDGETS["quick"])
    assert parameter_count(made) == pytest.approx(23e6, rel=0.05)


def test_comparison_of_single_coil_files_leaves_out_what_needs_maps(folder):
    for i, path in enumerate(sorted(folder.glob("*.h5"))):
        path.unlink()
        scan = volume(path.stem, 2, 1, 64, 36, seed=i)
        scan.single_coil = True
        write_volume(path, scan)
    where = {"data": "fastmri_folder", "data_root": str(folder), "task": "singlecoil"}
    names = run_chapter("comparison", **where, methods="vn,vsnet,unet,complexmri")
    assert list(names["networks"]) == ["unet", "complexmri"]
    assert {*names["order"]} == {"zero_filled", "cs", "unet", "complexmri"}  # CS needs no map
    body = names["scores"].query("metric == 'psnr' and region == 'body'")
    assert body.groupby("method").value.nunique().min() == body.volume.nunique()
    with pytest.raises(InputError, match="methods is 'unt'"):
        run_chapter("comparison", **where, methods="d5c5,unt")
