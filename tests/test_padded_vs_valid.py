"""The chapter on padded and valid networks, cell by cell, with other parameters."""

import jupytext
import numpy as np
import pytest

from recon.errors import InputError
from recon.paths import project_root
from recon.results import store


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
    assert mean["constant_50"] > mean["gaussian_50"] > 0
    assert names["exact"] == 8 and min(names["zero"]["untrained"]) == 8
    assert names["curves"]["untrained"][7] > 0
    assert np.isfinite([row["value"] for row in run.rows]).all()


def test_a_patch_out_of_range_is_refused(workspace):
    with pytest.raises(InputError, match="patch"):
        run_chapter(patch=200)
