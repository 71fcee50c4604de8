"""The simulated cortex: any part of it alone, its optics, and its photons."""

import importlib.util
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from recon.errors import InputError
from recon.paths import project_root
from recon.phantoms.microscopy import CHUNK, FWHM, Cortex, expected_box
from recon.results.microscopy import extrapolated


def test_a_window_alone_equals_that_of_the_whole():
    """Computed by another object, in another order, after other chunks."""
    whole = Cortex((20, 300, 270), seed=3)[:]
    assert whole.shape == (20, 300, 270) and whole.dtype == np.uint16
    from recon.phantoms import microscopy

    for where in [
        (slice(14, 18), slice(240, 290), slice(100, 260)),
        (19, slice(250, 260), slice(0, 270)),
        (7, 123),
    ]:
        microscopy._counted.cache_clear()
        assert np.array_equal(Cortex((20, 300, 270), seed=3)[where], whole[where])
    larger = Cortex((2000, 2000, 5839), seed=3)
    assert larger.nbytes > 40e9
    assert np.array_equal(larger[10, 200:300, :270], whole[10, 200:300])
    assert not np.array_equal(Cortex((20, 300, 270), seed=4)[10], whole[10])


def test_chunks_meet_without_a_seam():
    """A box across four chunks, drawn at once, is what the chunks are."""
    start, shape = (CHUNK[0] - 6, CHUNK[1] - 20, CHUNK[2] - 20), (12, 40, 40)
    there = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
    chunked = Cortex((100, 800, 800)).expected(there)
    box = expected_box(start, shape, 0, 0.411, 2.2)
    np.testing.assert_allclose(chunked, box, rtol=2e-3)
    assert box.std() > 1  # there is something to see


def test_the_point_spread_is_as_wide_as_it_says():
    """Blurring a sharp volume along the optical axis gives the blurred one."""
    start, shape = (0, 260, 0), (4, 64, 200)
    sharp = expected_box(start, shape, 1, 0.411, 1e-3)
    blurred = expected_box(start, shape, 1, 0.411, 2.2)
    again = ndimage.gaussian_filter1d(sharp, 2.2 / 0.411 / FWHM, 2, truncate=4)
    middle = slice(12, -12)
    np.testing.assert_allclose(blurred[..., middle], again[..., middle], rtol=1e-3)
    assert np.abs(blurred - sharp)[..., middle].max() > 1


def test_counts_are_poisson():
    cortex, where = Cortex((16, 400, 256)), np.s_[:, 200:]
    mean = cortex.expected(where)
    gap = (cortex[where] - mean) / np.sqrt(mean)
    assert abs(gap.mean()) < 5 / np.sqrt(gap.size)
    assert abs(gap.var() - 1) < 0.02


def test_tissue_begins_below_its_surface_and_holds_bright_cells():
    slab = Cortex((16, 700, 256)).expected(np.s_[:])
    assert slab[:, :40].mean() < 6 < 20 < slab[:, 400:].mean()
    assert slab[:, 350:].max() > 3 * np.median(slab[:, 350:])


def test_bad_requests():
    with pytest.raises(InputError, match="three sides"):
        Cortex((0, 4, 4))
    with pytest.raises(InputError, match="without steps"):
        Cortex((4, 4, 4))[::2]
    with pytest.raises(IndexError):
        Cortex((4, 4, 4))[5]


# Runs on a volume larger than memory


def test_tiles_that_two_runs_computed_count_once():
    """Tiles 0 to 4 and 0 to 2 of one width, 0 to 3 and 3 to 5 of another; a million voxels each."""
    rows = [(64, 0, 4, "aaa"), (64, 0, 2, "bbb"), (16, 3, 2, "ccc"), (16, 0, 3, "aaa")]
    runs = pd.DataFrame(rows, columns=["width", "resumed_at", "tiles_done", "commit"])
    runs = runs.assign(voxels=runs.tiles_done * 1_000_000, shape="10 x 1000 x 1000", gigabytes=0.02)
    runs = runs.assign(seconds=20, processor_seconds=15.0, simulation_seconds=5.0, device="here")
    text = str(extrapolated(runs.assign(peak_mb=300, cap_mb=2000.0), (10, 1000, 1000)))
    assert "4 million (40.0%)" in text and "5 million (50.0%)" in text
    assert "aaa, bbb" in text and "ccc, aaa" in text
    assert "300,000" in text  # six million in twenty seconds of the network


@pytest.mark.parametrize("size", [1, 400])
def test_a_process_beyond_its_cap_is_stopped(size):
    path = project_root() / "benchmarks" / "large_volume.py"
    spec = importlib.util.spec_from_file_location("large_volume", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    code = f"import time; held = b'x' * {size} * 10**6; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code])
    if size > 200:
        with pytest.raises(SystemExit, match="beyond the cap"):
            benchmark.watch(child, 30, 200)
    else:
        assert 1 < benchmark.watch(child, 1, 200) < 200
    assert child.poll() is not None
