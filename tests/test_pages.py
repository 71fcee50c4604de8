"""Figures and the parts of pages made from runs."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from recon.errors import InputError
from recon.learning.metrics import draw_seed, scan_of
from recon.results import figures, pages, settings
from recon.results.names import data_name, lesson_and_exam
from recon.results.source import source
from recon.results.store import Run


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def picture(size=(40, 36)):
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    return (x**2 + y**2 < 0.6) * (1 + 0.2 * np.sin(20 * x))


def test_a_comparison_shows_all_on_one_scale_and_states_the_error_scale():
    target = picture()
    figure = figures.comparison({"a": 0.9 * target, "b": target}, target, gain=5)
    drawn = [axis for axis in figure.axes if axis.images]
    assert len({axis.images[0].get_clim() for axis in drawn}) == 1
    assert "error x5" in {axis.get_ylabel() for axis in figure.axes}
    errors = [axis.images[0].get_array() for axis in drawn if axis.get_ylabel() == "error x5"]
    np.testing.assert_allclose(np.asarray(errors[0]), 5 * 0.1 * target, atol=1e-6)


def test_the_zoom_lies_where_the_detail_is():
    image = np.zeros((60, 60))
    image[20:28, 36:44] = np.random.default_rng(0).random((8, 8))
    row, column = figures.busiest_window(image, 12)
    assert 14 <= row <= 24 and 30 <= column <= 40


def test_gallery_curves_and_scores_draw_what_they_are_given():
    shown = figures.gallery({"one": picture(), "two": 2 * picture()}, columns=2)
    assert [axis.get_title() for axis in shown.axes] == ["one", "two"]
    history = [{"step": i, "seconds": i / 2, "loss": 1 / (i + 1)} for i in range(30)]
    curves = figures.training_curves({"net": history})
    assert curves.axes[0].get_xlabel() == "step" and curves.axes[1].get_xlabel() == "seconds"
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 3.0]})
    lines = figures.paired_scores(table, "SSIM").axes[0].lines
    np.testing.assert_allclose(lines[-1].get_ydata(), [1.5, 2.5])


def test_source_shows_the_code_that_runs():
    assert "return stem, int(draw)" in source(scan_of).data
    assert source(scan_of).data.startswith("```python\ndef scan_of")


def test_names_of_scans_and_their_masks():
    assert scan_of("file#1#3") == ("file#1", 3)
    assert draw_seed(7, "file#0") == 7
    assert len({draw_seed(7, f"file#{i}") for i in range(20)}) == 20


def test_reference_figures_name_run_and_data(tmp_path):
    row = {"data": "studyforrest_t1", "method": "unet", "unit": "mask"}
    stage = {**row, "method": "convrnn1"}
    run = Run("pcrnn", "standard", {"data": "simulated_brain", "accel": 4}, [row, stage], {})
    assert "No reference run" in pages.reference_figures([run], {"median": "m"}, tmp_path).data
    name = pages.run_name(run.chapter, run.parameters)
    (tmp_path / f"{name}_median.png").write_bytes(b"")
    (tmp_path / f"{name}_stages.png").write_bytes(b"")
    captions = {"median": "the median {unit}", "stages": "inside"}
    text = pages.reference_figures([run], captions, tmp_path).data
    first, second = text.split("inside")
    assert "the median mask" in first and "for U-Net and the target" in first
    assert "for ConvRNN1-4x and the target" in second and "U-Net" not in second
    assert "standard, studyforrest_t1 at 4x, trained on simulated_brain" in text
    assert f"(results/{name}_median.png)" in text


def test_a_folder_of_ones_own_goes_by_its_name():
    known = {"data": "simulated_brain", "test_data": "fastmri_folder", "test_root": "mine-0a1b2c"}
    assert data_name("fastmri_folder", known) == "folder mine"
    assert data_name("fastmri_folder", {**known, "test_root": "/home/me/mine"}) == "folder mine"
    trained = {"data": "fastmri_folder", "data_root": "/a/b", "test_data": "", "test_root": ""}
    assert data_name("fastmri_folder", trained) == "folder b"
    assert data_name("fastmri_folder", {}) == "fastmri_folder"
    assert data_name("simulated_brain", known) == "simulated_brain"
    assert lesson_and_exam("fastmri_folder", known) == "folder mine ← brain"


def test_trials_are_shown_as_stored_and_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "reference_dir", lambda: tmp_path)
    with pytest.raises(InputError, match=r"settings\.csv is missing"):
        settings.trials("pcrnn")
    heads = "chapter,method,settings,psnr,psnr_lo,psnr_hi,ssim,ssim_lo,ssim_hi"
    heads += ",steps,seconds,volumes"
    line = 'pcrnn,unet,"rate 0.001, whole slices",-0.12,-0.3,0.04,0.0151,0.01,0.02,432,28.4,6'
    (tmp_path / "settings.csv").write_text(f"{heads}\n{line}\n")
    with pytest.raises(InputError, match="no trial of 'comparison'"):
        settings.trials("comparison")
    table = settings.trials("pcrnn")
    for text in ("U-Net", "rate 0.001, whole slices", "-0.1", "+0.015", "432", "28 s"):
        assert text in table
