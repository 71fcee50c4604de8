"""The simulated retina: order and place of the layers, the fovea, pathologies, determinism."""

from functools import cache

import numpy as np
import pytest

from recon.errors import InputError
from recon.phantoms.retina import BOUNDARIES, PATHOLOGIES, Eye, render
from recon.phantoms.retina.anatomy import BEGINS, FIELD, LAYERS

SHAPE = (3, 124, 128)
SEEDS = range(6)


@cache
def eye(seed: int, pathology: str | None = "none", shape=SHAPE, field=FIELD) -> Eye:
    return render(shape, seed, pathology, field)


def row(eye: Eye, name: str) -> np.ndarray:
    """``(B, W)`` rows of a boundary."""
    return eye.boundaries[:, BOUNDARIES.index(name)]


def test_names_fit_together():
    assert len(BEGINS) == len(BOUNDARIES) and BOUNDARIES[0] == "ILM"
    assert [name for name in BEGINS if name] == [name for name in LAYERS if name in BEGINS]
    assert PATHOLOGIES[0] == "none" and len(set(PATHOLOGIES)) == len(PATHOLOGIES)


@pytest.mark.parametrize("pathology", PATHOLOGIES)
def test_boundaries_are_ordered_and_inside(pathology):
    for seed in SEEDS:
        drawn = eye(seed, pathology)
        assert drawn.reflectivity.shape == SHAPE and drawn.reflectivity.dtype == np.float32
        assert drawn.boundaries.shape == (SHAPE[0], len(BOUNDARIES), SHAPE[2])
        assert (np.diff(drawn.boundaries, axis=1) >= -1e-3).all()
        assert drawn.boundaries.min() > 0.05 * SHAPE[1]
        assert drawn.boundaries.max() < 0.95 * SHAPE[1]
        assert drawn.reflectivity.min() >= 0 and drawn.reflectivity.max() < 1.3
        assert drawn.pathology == pathology


def test_same_seed_same_eye():
    again = render(SHAPE, 3, "none")
    assert np.array_equal(again.reflectivity, eye(3).reflectivity)
    assert np.array_equal(again.boundaries, eye(3).boundaries)
    assert not np.allclose(eye(4).boundaries, again.boundaries)
    assert len({render((1, 48, 48), seed).pathology for seed in range(40)}) == len(PATHOLOGIES)


def test_the_same_eye_on_a_finer_grid():
    fine, coarse = eye(2, shape=(3, 248, 256)), eye(2)
    rows = (fine.boundaries + 0.5).reshape(3, len(BOUNDARIES), 128, 2).mean(axis=3) / 2 - 0.5
    assert np.abs(rows - coarse.boundaries).max() < 0.6
    halved = fine.reflectivity.reshape(3, 124, 2, 128, 2).mean(axis=(2, 4))
    assert np.corrcoef(halved.ravel(), coarse.reflectivity.ravel())[0, 1] > 0.95


def test_neighbouring_bscans_resemble_each_other():
    scans = eye(1).reflectivity
    near = np.corrcoef(scans[0].ravel(), scans[1].ravel())[0, 1]
    other = np.corrcoef(scans[0].ravel(), eye(5).reflectivity[0].ravel())[0, 1]
    assert near > 0.75 and near > other
    assert not np.array_equal(scans[0], scans[1])


def test_the_fovea_is_a_pit_without_inner_layers():
    """Thickness in um at the pit and 1 mm beside it, in the range of healthy eyes."""
    pixel = 1000 * FIELD[0] / SHAPE[1]
    for seed in SEEDS:
        thick = (row(eye(seed), "BM") - row(eye(seed), "ILM")) * pixel
        centre = int(np.argmin(thick.min(axis=0)[20:-20])) + 20
        assert 160 < thick.min() < 290
        assert 280 < np.quantile(thick, 0.9) < 420
        inner = (row(eye(seed), "INL-OPL") - row(eye(seed), "ILM")) * pixel
        assert inner[:, centre].min() < 0.5 * np.quantile(inner, 0.9)
        outer = (row(eye(seed), "ELM") - row(eye(seed), "OPL-ONL")) * pixel
        assert outer[:, centre].max() > np.median(outer)


def test_the_nerve_fibre_layer_thickens_towards_the_nose():
    """It is thicker on one side in every eye; left and right eyes occur."""
    sides = []
    for seed in range(12):
        one = eye(seed, shape=(1, 124, 128), field=(1.92, 8.8))
        thick = (row(one, "NFL-GCL") - row(one, "ILM"))[0]
        left, right = thick[:25].mean(), thick[-25:].mean()
        assert max(left, right) > 1.4 * min(left, right)
        sides.append(left > right)
    assert 0 < sum(sides) < 12


@pytest.mark.parametrize("name", ["ILM", "OPL-ONL", "EZ", "RPE"])
def test_boundaries_lie_where_the_image_changes(name):
    """The steepest step of the grey values lies at the boundary, give or take two pixels."""
    downwards = {"ILM": 1, "OPL-ONL": -1, "EZ": 1, "RPE": 1}[name]
    for seed in SEEDS:
        drawn = eye(seed, shape=(2, 248, 256))
        slope = downwards * np.diff(drawn.reflectivity**0.25, axis=1)
        at = row(drawn, name)
        window = np.arange(-5, 6)
        found = []
        for b in range(2):
            for column in range(0, 256, 3):
                rows = np.clip(np.round(at[b, column] - 0.5).astype(int) + window, 0, 246)
                found.append(rows[np.argmax(slope[b, rows, column])] + 0.5 - at[b, column])
        assert abs(np.median(found)) < 1.0
        assert np.mean(np.abs(found) <= 2) > 0.85


def test_contrasts_of_the_layers():
    """Grey values in the order in which a Spectralis shows them."""
    drawn = eye(0, shape=(2, 248, 256))
    grey = drawn.reflectivity**0.25
    rows = np.arange(248)[None, :, None]

    def mean(above: str, below: str) -> float:
        top, bottom = (row(drawn, name)[:, None] for name in (above, below))
        return float(grey[(rows > top + 1) & (rows < bottom - 1)].mean())

    vitreous = float(grey[rows < row(drawn, "ILM")[:, None] - 3].mean())
    nfl, plexiform = mean("ILM", "NFL-GCL"), mean("NFL-GCL", "IPL-INL")
    inner, outer = mean("IPL-INL", "INL-OPL"), mean("OPL-ONL", "ELM")
    epithelium, choroid = mean("RPE", "BM"), mean("BM", "choroid-sclera")
    assert vitreous < outer < inner < plexiform < nfl < epithelium
    assert outer < choroid < epithelium


def change(seed: int, pathology: str, name: str, other: str) -> np.ndarray:
    """How much thicker (pixels) the disease makes what lies between two boundaries."""
    sick, healthy = eye(seed, pathology), eye(seed)
    return (row(sick, other) - row(sick, name)) - (row(healthy, other) - row(healthy, name))


def test_what_each_pathology_does():
    for seed in SEEDS:
        assert change(seed, "drusen", "RPE", "BM").max() > 0.5
        assert change(seed, "oedema", "ILM", "BM").max() > 2
        assert change(seed, "serous_detachment", "EZ", "RPE").max() > 2
        assert change(seed, "myopia", "BM", "choroid-sclera").max() < 0
        assert change(seed, "atrophy", "ELM", "BM").min() < -2
        assert change(seed, "epiretinal_membrane", "ILM", "BM").max() > -0.5
        bent, straight = row(eye(seed, "myopia"), "BM"), row(eye(seed), "BM")
        curve = [np.polyfit(np.arange(128), line.mean(axis=0), 2)[0] for line in (bent, straight)]
        assert curve[0] < curve[1] < 0.001  # edges up
    # A detached vitreous leaves a line in the dark above the retina.
    lines = 0
    for seed in SEEDS:
        shown = [eye(seed, p).reflectivity ** 0.25 for p in ("vitreous_detachment", "none")]
        rows = np.arange(SHAPE[1])[None, :, None]
        dark = rows < row(eye(seed, "vitreous_detachment"), "ILM")[:, None] - 3
        lines += shown[0][dark].max() > shown[1][dark].max() + 0.1
    assert lines >= 4


def test_pathologies_have_stages():
    """The same disease is small in one eye and large in another."""
    bumps = [change(seed, "drusen", "RPE", "BM").mean() for seed in range(8)]
    assert max(bumps) > 3 * min(bumps)


def test_vessels_shade_what_lies_below():
    """Some columns are darker than the others from the inner retina down to the choroid."""
    shaded = 0
    for seed in SEEDS:
        drawn = eye(seed, shape=(2, 248, 256))
        grey, rows = drawn.reflectivity**0.25, np.arange(248)[None, :, None]
        band = (rows > row(drawn, "OPL-ONL")[:, None]) & (rows < row(drawn, "BM")[:, None])
        columns = np.where(band, grey, 0).sum(axis=1) / band.sum(axis=1)
        shaded += columns.min() < 0.85 * np.median(columns)
    assert shaded >= 3


def test_refused():
    with pytest.raises(InputError, match="choose one of none, drusen"):
        render(SHAPE, 0, "cataract")
    for shape in ((1, 10, 100), (0, 100, 100), (100, 100)):
        with pytest.raises(InputError, match="B-scans, height, width"):
            render(shape, 0)
