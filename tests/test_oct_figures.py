"""Figures of B-scans: one grey scale, boundaries where they are, zooms of the same square."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from recon.results import oct_figures


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def image():
    return np.linspace(0, 0.5, 40 * 60).reshape(40, 60)


def test_all_panels_share_the_scanners_grey_scale(image):
    lines = np.stack([np.full(60, 10.0), np.full(60, 20.0)])
    figure = oct_figures.bscans({"a": image, "b": 2 * image}, 2, {"b": lines}, names=("ILM", "RPE"))
    drawn = [axis for axis in figure.axes if axis.images]
    assert {axis.images[0].get_clim() for axis in drawn} == {(0, 1)}
    assert [axis.get_title() for axis in drawn] == ["a", "b"]
    np.testing.assert_array_equal(drawn[1].lines[1].get_ydata(), lines[1])


def test_boundaries_are_named_in_order_and_apart(image):
    lines = np.stack([np.full(60, row) for row in (10.0, 10.2, 30.0)])
    figure = oct_figures.layers(image, lines, ("ILM", "NFL", "RPE"))
    texts = [t for t in figure.axes[1].texts if t.get_text()]
    assert [t.get_text() for t in texts] == ["ILM", "NFL", "RPE"]
    heights = [t.get_position()[1] for t in texts]
    assert heights[1] - heights[0] > 1 and heights[2] >= 30


def test_zooms_show_the_framed_square(image):
    figure = oct_figures.zooms({"a": image, "b": image.T.copy().T}, (4, 7), 16, "x 4")
    top, bottom = figure.axes[0], figure.axes[2]
    assert top.patches[0].get_xy() == (7, 4) and top.patches[0].get_width() == 16
    np.testing.assert_array_equal(bottom.images[0].get_array(), image[4:20, 7:23])
    assert bottom.get_ylabel() == "x 4"


def test_the_square_lies_on_the_retina_and_inside():
    boundaries = np.stack([np.full(60, 20.0), np.full(60, 28.0)])
    row, column = oct_figures.frame_zoom(boundaries, (40, 60), 16)
    assert row == 16 and 0 <= column <= 44
    assert oct_figures.frame_zoom(boundaries - 19, (40, 60), 16)[0] == 0
