"""Lesions in simulated eyes: in their layers, under the same speckle, as strong as asked for."""

import numpy as np
import pytest

from recon.data import inserted_oct
from recon.data.manifest import load_manifest
from recon.errors import InputError
from recon.learning.exams import count_spots, measure_lesions
from recon.learning.false_structures import Detector
from recon.learning.inserted_study import examine_bscans
from recon.phantoms.lesions import KINDS, Lesion, reach, retinal_hosts
from recon.phantoms.retina import BOUNDARIES, render


@pytest.fixture(scope="module")
def scenes():
    return inserted_oct.inserted_bscans(
        "simulated_retina", "quick", "test", (2, 4), (0.1, 0.25), volumes=2, draws=2
    )


def touched(scene):
    """Pixels that a lesion can change: its reach, and that of the scanner's point spread."""
    near = np.zeros(scene.without["raw"].shape, bool)
    for x in scene.lesions:
        far = reach(x.diameter) + 6
        near[max(0, x.row - far) : x.row + far + 1, max(0, x.column - far) : x.column + far + 1] = 1
    return near


def test_pairs_have_the_same_speckle(scenes):
    """Without the lesion's reach both acquisitions are the same, but for rounding to 8 bit."""
    for scene in scenes:
        near = touched(scene)
        for name in ("raw", "average", "truth"):
            change = scene.with_lesions[name] - scene.without[name]
            assert np.abs(change[~near]).max() <= 1.01 / 255
            assert (change[~near] != 0).mean() < 0.02
            assert np.abs(change[near]).max() > 0.05
    assert scenes[0].without is scenes[1].without or np.array_equal(
        scenes[0].without["raw"], scenes[1].without["raw"]
    )
    assert scenes[0].lesions != scenes[1].lesions
    assert not np.array_equal(scenes[0].without["raw"], scenes[0].without["average"])


def test_lesions_lie_in_their_layers_and_are_as_strong_as_asked_for(scenes):
    manifest = load_manifest("simulated_retina")
    sizes = manifest.profiles["quick"]
    plan = inserted_oct.plan_volumes(manifest, "quick", "test")[0]
    count = sizes["test"]["bscans"]
    eye = render((count, *sizes["shape"]), plan.seed, field=tuple(sizes["field_mm"]))
    edges = dict(zip(BOUNDARIES, eye.boundaries[count // 2], strict=True))
    found = [x for scene in scenes[:2] for x in scene.lesions]
    assert {x.kind for x in found} >= {"cyst", "focus"}
    for scene in scenes[:2]:
        response = scene.with_lesions["truth"] - scene.without["truth"]
        for x in scene.lesions:
            top, bottom = (edges[name][x.column] for name in KINDS[x.kind].hosts)
            assert top - 1 <= x.row <= bottom + 1
            assert np.sign(x.contrast) == (-1 if x.kind == "cyst" else 1)
            if x.diameter == 4:  # wider than the point spread
                peak = response[x.row - 1 : x.row + 2, x.column - 1 : x.column + 2]
                strongest = peak.max() if x.contrast > 0 else peak.min()
                # The truth is what is shown: it ends at black, and fades with depth.
                assert 0.2 < strongest / x.contrast < 1.3


def test_no_lesion_no_change():
    plain = np.random.default_rng(0).uniform(0.01, 1, (32, 32)).astype(np.float32)
    np.testing.assert_allclose(inserted_oct.grown_into(plain, []), plain, rtol=1e-5)
    dark = inserted_oct.grown_into(plain, [Lesion("cyst", 0, 16, 16, 4.0, -2.0)])
    assert dark.min() == 0 and np.isfinite(dark).all()


def test_regions_hold_what_their_names_say():
    edges = np.array([np.full(60, 8.0 * (i + 3)) for i in range(len(BOUNDARIES))])
    regions = inserted_oct.regions_of(edges, 120, 8)
    ilm, elm, bm = (edges[BOUNDARIES.index(n), 0] for n in ("ILM", "ELM", "BM"))
    rows = {name: np.flatnonzero(region.any(1)) for name, region in regions.items()}
    assert rows["vitreous"].min() == 8 and rows["vitreous"].max() < ilm - 8
    assert rows["outer nuclear layer"].max() < elm - 2
    assert ilm < rows["retina"].min() and rows["retina"].max() < bm
    hosts = retinal_hosts(edges, 120)
    assert set(hosts) == {"cyst", "focus", "druse"}
    assert set(np.unique(hosts["cyst"])) == {0, 1}


def test_denoisers_are_read_like_scans(scenes):
    methods = {"blank": lambda images: 0 * images, "same": lambda images: images}
    exams = examine_bscans(scenes, methods)
    assert [exam.first for exam in exams] == [True, False, True, False]
    detectors = {d: Detector(float(d), 2.5, 0.02) for d in (2, 3, 4)}
    read = measure_lesions(exams, detectors)
    by = read.groupby("method").recovery.mean()
    assert by["full"] == pytest.approx(1) and by["blank"] == 0
    assert by["same"] == pytest.approx(by["raw"]) and 0.4 < by["raw"] < 1.6
    spots = count_spots(exams, detectors)
    assert set(spots.region) == {"vitreous", "outer nuclear layer", "retina"}
    assert (spots[spots.method == "blank"].new == 0).all()


def test_sets_without_simulated_eyes_are_refused():
    with pytest.raises(InputError, match="simulated_retina"):
        inserted_oct.inserted_bscans("oct_folders", "quick", "test", (2,), (0.1,), 1)
