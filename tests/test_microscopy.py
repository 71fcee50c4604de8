"""The simulated cortex: any part of it alone, its optics, and its photons."""

import numpy as np
import pytest
from scipy import ndimage

from recon.errors import InputError
from recon.phantoms.microscopy import CHUNK, FWHM, Cortex, expected_box


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
