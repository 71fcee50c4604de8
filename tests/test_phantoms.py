"""Laws of the simulated anatomy: reproducible, the same body on every grid, greys in order."""

from itertools import pairwise

import numpy as np
import pytest

from recon.errors import InputError
from recon.phantoms import brain, knee, leaves
from recon.phantoms.signals import TISSUES, inversion_recovery, null_time

ALL = [(brain, c) for c in brain.CONTRASTS] + [(knee, c) for c in knee.CONTRASTS] + [(leaves, "")]
IDS = [f"{m.__name__.split('.')[-1]} {c}".strip() for m, c in ALL]
SMALL = (2, 64, 48)


@pytest.mark.parametrize(("module", "contrast"), ALL, ids=IDS)
def test_a_picture_is_a_magnitude_and_its_seed_decides_it(module, contrast):
    image = module.render(SMALL, contrast, 3)
    assert image.shape == SMALL
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert image.min() == 0  # air, exactly
    assert (image > 0.05).mean() > 0.1
    np.testing.assert_array_equal(image, module.render(SMALL, contrast, 3))
    other = module.render(SMALL, contrast, 4)
    assert np.abs(image - other).mean() > 0.02


@pytest.mark.parametrize(("module", "contrast"), ALL, ids=IDS)
def test_bright_tissue_is_near_one(module, contrast):
    image = module.render((3, 96, 96), contrast, 1)
    assert 0.45 < np.percentile(image[image > 0.02], 95) < 1.1


@pytest.mark.parametrize("module", [brain, knee, leaves])
def test_slices_differ_and_any_grid_will_do(module):
    contrast = getattr(module, "CONTRASTS", ("any",))[0]
    for shape in [(1, 32, 32), (3, 40, 97), (2, 128, 50)]:
        image = module.render(shape, contrast, 0)
        assert image.shape == shape
        assert image.max() > 0.2
        for a, b in pairwise(image):
            assert np.abs(a - b).mean() > 0.005


@pytest.mark.parametrize("module", [brain, knee, leaves])
@pytest.mark.parametrize("seed", [0, 7])
def test_a_fine_grid_shows_the_same_body(module, seed):
    contrast = getattr(module, "CONTRASTS", ("any",))[0]
    coarse = module.render((2, 80, 80), contrast, seed)
    fine = module.render((2, 160, 160), contrast, seed)
    averaged = fine.reshape(2, 80, 2, 80, 2).mean(axis=(2, 4))
    assert np.corrcoef(coarse.ravel(), averaged.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("module", [brain, knee])
def test_fractions_are_fractions(module):
    parts = module.tissues((3, 96, 96), 5)
    total = sum(parts.values())
    assert min(p.min() for p in parts.values()) > -1e-5
    assert total.max() < 1 + 1e-4
    assert set(parts) <= set(TISSUES)
    assert (total == 0).any()


def _grey(module, contrast, seed, *names):
    """Mean signal where a tissue fills the pixel."""
    shape = (8, 104, 104)
    image, parts = module.render(shape, contrast, seed), module.tissues(shape, seed)
    return [float(image[parts[name] > 0.97].mean()) for name in names]


@pytest.mark.parametrize("seed", [0, 1])
def test_order_of_greys_in_the_brain(seed):
    names = ("white", "grey", "csf")
    white, grey, csf = _grey(brain, "T1", seed, *names)
    assert white > 1.1 * grey > 1.5 * csf
    white, grey, csf = _grey(brain, "T2", seed, *names)
    assert csf > 1.5 * grey > 1.8 * white
    white, grey, csf = _grey(brain, "FLAIR", seed, *names)
    assert grey > white
    assert csf < 0.15 * white


def test_contrast_agent_brightens_vessels_and_mass_only():
    seed = next(s for s in range(100) if brain.person(s).tumour is not None)
    shape = (12, 96, 96)
    parts = brain.tissues(shape, seed)
    before, after = (brain.render(shape, c, seed) for c in ("T1", "T1POST"))
    for name, low, high in [("vein", 2.0, 20), ("enhancing", 1.4, 5), ("white", 0.8, 1.25)]:
        where = parts[name] > 0.8
        assert where.any()
        assert low < after[where].mean() / before[where].mean() < high


@pytest.mark.parametrize("seed", [0, 1])
def test_order_of_greys_in_the_knee(seed):
    names = ("fat", "marrow", "muscle", "bone")
    fat, marrow, muscle, bone = _grey(knee, "PD", seed, *names)
    assert fat > marrow > 1.5 * muscle
    assert muscle > 2 * bone
    fat, marrow, muscle, _ = _grey(knee, "PDFS", seed, *names)
    assert muscle > 1.5 * fat
    assert muscle > 1.5 * marrow


def test_fluid_shines_in_the_fat_suppressed_knee():
    shape, seed = (6, 176, 176), 0
    image, parts = knee.render(shape, "PDFS", seed), knee.tissues(shape, seed)
    fluid, marrow = (image[parts[n] > 0.9].mean() for n in ("fluid", "marrow"))
    cartilage = image[parts["cartilage"] > 0.9].mean()
    assert fluid > 1.3 * cartilage > 2 * marrow


def test_the_femur_lies_above_the_tibia_and_the_leg_runs_through():
    image = knee.render((7, 96, 96), "PD", 2)
    assert (image[:, 0] > 0.1).mean() > 0.3
    assert (image[:, -1] > 0.1).mean() > 0.3
    # The joint: cartilage about the middle of the picture, marrow above and below it.
    parts = knee.tissues((7, 96, 96), 2)
    rows = np.arange(96)
    level = (parts["cartilage"].sum((0, 2)) * rows).sum() / parts["cartilage"].sum()
    assert 33 < level < 63
    marrow = parts["marrow"].sum((0, 2))
    assert marrow[: int(level)].sum() > 0.2 * marrow.sum()
    assert marrow[int(level) :].sum() > 0.2 * marrow.sum()


def test_the_front_of_the_head_is_up():
    parts = brain.tissues((9, 128, 128), 0)
    rows = np.arange(128)
    eyes = parts["vitreous"].sum((0, 2))
    assert eyes.sum() > 5
    assert (eyes * rows).sum() / eyes.sum() < 45


def test_fluid_is_nulled_at_the_null_time():
    t = TISSUES["csf"]
    assert inversion_recovery(t, 9000, null_time(t.t1, 9000), 90) < 1e-6


def test_radii_of_leaves_follow_the_power_law():
    radii = leaves.radii(np.random.default_rng(0), 200_000)
    low, high = radii.min(), radii.max()
    assert low > 0.0159
    assert high < 0.4001
    # P(r > s) of p(r) ~ r^-3 falls fourfold where s doubles, far from the upper bound.
    assert (radii > 0.032).mean() / (radii > 0.064).mean() == pytest.approx(4.0, rel=0.1)


def test_the_spectrum_of_leaves_is_a_power_law():
    image = leaves.render((4, 256, 256), "", 0)[:, 64:192, 64:192]
    window = np.hanning(128)[:, None] * np.hanning(128)
    power = np.abs(np.fft.fft2((image - image.mean((1, 2), keepdims=True)) * window)) ** 2
    f = np.fft.fftfreq(128, 1 / 128)
    radius = np.hypot(f[:, None], f)
    edges = np.geomspace(4, 40, 9)
    mean = [power[:, (radius >= a) & (radius < b)].mean() for a, b in pairwise(edges)]
    slope = np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(mean), 1)[0]
    assert -3.6 < slope < -2.0


@pytest.mark.parametrize(("module", "wrong"), [(brain, "PD"), (knee, "T1")])
def test_an_unknown_contrast_is_refused(module, wrong):
    with pytest.raises(InputError, match=rf"contrast '{wrong}' is unknown.*choose one of"):
        module.render(SMALL, wrong, 0)


@pytest.mark.parametrize("module", [brain, knee, leaves])
@pytest.mark.parametrize("shape", [(0, 64, 64), (2, 31, 64), (64, 64)])
def test_a_grid_too_small_is_refused(module, shape):
    contrast = getattr(module, "CONTRASTS", ("any",))[0]
    with pytest.raises(InputError, match="at least one slice of 32 x 32"):
        module.render(shape, contrast, 0)
