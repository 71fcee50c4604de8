"""Thick slices, isotropic heads, pairs from one volume, seams, equivalence; and the chapter."""

import re

import jupytext
import nibabel as nib
import numpy as np
import pytest
import torch

from recon.data.isotropic import open_heads, read_head, simulated_head
from recon.data.self_super_resolution import input_slices, pairs_of, truth_slices
from recon.errors import InputError
from recon.learning import slicewise
from recon.learning.edges import L1Sobel, sobel
from recon.learning.patches import PatchSchedule, fit_patches, patch_folder, start_from_input
from recon.networks.residual_sr import PaddedResidual, ValidResidual
from recon.paths import project_root
from recon.phantoms import brain
from recon.physics.resolution import blur, degrade, interpolate, thick_slices, trim
from recon.results import claims, store
from recon.results.equivalence import compare
from recon.results.verdicts import judge_all

RNG = np.random.default_rng(0)

# Thick slices


@pytest.mark.parametrize("fwhm", [2, 3, 5])
def test_the_profile_has_its_width_at_half_its_height(fwhm):
    point = np.zeros(401)
    point[200] = 1
    profile = blur(point, fwhm, 0)
    fine = np.interp(np.linspace(150, 250, 100_001), np.arange(401), profile / profile.max())
    # Linear interpolation between samples widens the narrowest profile a little.
    assert (fine > 0.5).sum() / 1000 == pytest.approx(fwhm, rel=0.06)
    assert profile.sum() == pytest.approx(1)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_constants_stay_and_slices_are_centred_on_their_voxels(factor):
    constant = np.full((60, 3), 0.7)
    np.testing.assert_allclose(degrade(constant, factor), constant, atol=1e-12)
    ramp = np.arange(60.0)
    cells = ramp.reshape(-1, factor).mean(1)
    inner = slice(6, -6)
    np.testing.assert_allclose(thick_slices(ramp, factor)[inner], cells[inner], atol=1e-4)
    np.testing.assert_allclose(thick_slices(ramp, 1), ramp, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("degree", [1, 3, 5])
def test_splines_reproduce_polynomials_to_the_fifth_degree(factor, degree):
    fine = (np.arange(60 * factor) + 0.5) / factor - 0.5
    found = interpolate((np.arange(60.0) / 30 - 1) ** degree, factor)
    inner = slice(24 * factor, -24 * factor)  # the mirrored ends fade by a factor of 2.3 a sample
    np.testing.assert_allclose(found[inner], (fine[inner] / 30 - 1) ** degree, atol=1e-7)


def test_degrading_is_linear_along_one_axis_and_keeps_mirror_symmetry():
    x, y = RNG.standard_normal((2, 12, 20, 5))
    np.testing.assert_allclose(
        degrade(2 * x - y, 4, 1), 2 * degrade(x, 4, 1) - degrade(y, 4, 1), atol=1e-12
    )
    np.testing.assert_allclose(degrade(x[:, ::-1], 4, 1), degrade(x, 4, 1)[:, ::-1], atol=1e-10)
    np.testing.assert_allclose(degrade(x, 4, 1)[3], degrade(x[3], 4, 0), atol=1e-12)


def test_a_length_that_is_no_multiple_is_trimmed_or_refused():
    with pytest.raises(ValueError, match="trim"):
        thick_slices(np.zeros(10), 4)
    assert trim(np.arange(11), 4).tolist() == list(range(1, 9))


# Heads


def test_a_simulated_head_is_isotropic_and_leaves_the_phantom_as_it_was(workspace):
    before = brain.THICKNESS, brain.levels
    path = simulated_head(48, 3)
    assert (brain.THICKNESS, brain.levels) == before
    spacing = nib.load(path).header.get_zooms()
    assert np.ptp(spacing) < 1e-4
    head = read_head(path)
    assert head.shape == (36, 48, 48) and head.dtype == np.float32
    assert head[0].mean() < head[12].mean()  # the vertex is on top
    written = path.stat().st_mtime_ns
    assert simulated_head(48, 3) == path and path.stat().st_mtime_ns == written


def test_thick_voxels_and_missing_folders_are_refused(workspace):
    image = nib.Nifti1Image(np.ones((8, 8, 8), np.float32), np.diag([1, 1, 3, 1]))
    nib.save(image, workspace / "thick.nii")
    paths = open_heads("nifti_folder", 5, 0, root=str(workspace))
    with pytest.raises(InputError, match="not isotropic"):
        read_head(paths[0])
    with pytest.raises(InputError, match="data_root"):
        open_heads("oasis3_t1", 1, 0)
    with pytest.raises(InputError, match="no NIfTI file"):
        open_heads("studyforrest_t1", 1, 0, root=str(workspace))


# Pairs


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(np.random.default_rng(1).standard_normal((40, 72, 80)), 1.5)
    return (0.5 + 2 * smooth).astype(np.float32)


def test_pairs_never_read_the_thin_slices(volume):
    """Any two volumes of the same thick slices give the same pairs."""
    kernel = np.linalg.svd(thick_slices(np.eye(40), 4))[2][-1]  # seen by no thick slice
    other = volume + kernel.astype(np.float32)[:, None, None]
    for a, b in zip(pairs_of(volume, 4).fine, pairs_of(other, 4).fine, strict=True):
        assert len(a) == 10
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_networks_of_different_margins_learn_from_the_same_truth(volume):
    pairs = pairs_of(volume, 2)
    small, target = pairs.draw(6, 32, 0, np.random.default_rng(5))
    large, again = pairs.draw(6, 32, 16, np.random.default_rng(5))
    assert large.shape == (6, 1, 64, 64)
    torch.testing.assert_close(target, again)
    torch.testing.assert_close(large[..., 16:-16, 16:-16], small)


def test_validation_draws_slices_that_training_does_not(volume):
    fine = torch.arange(20.0)[:, None, None].expand(20, 64, 64)
    pairs = type(pairs_of(volume, 2))((fine, fine), (fine, fine))
    seen = {
        part: {
            round(float(x))
            for x in pairs.draw(60, 32, 0, np.random.default_rng(2), part)[1][:, 0, 0, 0]
        }
        for part in ("train", "validation")
    }
    assert seen["validation"] == {4, 12} and not seen["train"] & seen["validation"]


# Loss and training


def test_a_ramp_has_its_slope_and_a_shift_no_edges():
    ramp = 3.0 * torch.arange(9.0).expand(1, 1, 7, 9) - 2.0 * torch.arange(7.0)[:, None]
    found = sobel(ramp)
    torch.testing.assert_close(found[0, 0], torch.full((5, 7), 3.0))
    torch.testing.assert_close(found[0, 1], torch.full((5, 7), -2.0))
    assert float(L1Sobel(10.0)(ramp + 0.25, ramp)) == pytest.approx(0.25, abs=1e-5)


def test_training_goes_on_to_the_same_weights_and_learns(volume, workspace):
    pairs, schedule = pairs_of(volume, 4), PatchSchedule(12, 2, 2e-3, 16, True, 4)
    settings = {"data": "x", "seed": 1, "device": "cpu"}

    def network(blocks=1):
        torch.manual_seed(0)
        return start_from_input(ValidResidual(8, blocks, add_input=True))

    path = workspace / "a.nii"
    path.touch()
    folder = patch_folder(network(), settings, schedule, 4, path)
    assert folder != patch_folder(network(2), settings, schedule, 4, path)
    assert folder != patch_folder(network(), settings, schedule, 2, path)
    assert folder != patch_folder(network(), {**settings, "seed": 2}, schedule, 4, path)
    whole = network()
    history = fit_patches(whole, pairs, schedule, folder, seed=1, device="cpu")
    assert [entry["step"] for entry in history] == list(range(1, 13))
    checks = [entry["validation"] for entry in history if "validation" in entry]
    assert checks[-1] < checks[0]
    again = network()
    assert fit_patches(again, pairs, schedule, folder, seed=1, device="cpu") == history
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_network_that_starts_from_its_input_passes_it_on(volume):
    image = torch.from_numpy(volume[:2, None])
    for kind in (ValidResidual, PaddedResidual):
        network = start_from_input(kind(4, 2, add_input=True))
        assert torch.equal(slicewise.whole(network, image), image)


# Seams


@pytest.mark.parametrize("tile", [21, 32, 50, 96])
@pytest.mark.parametrize("slices", [1, 3, 9])
def test_tiles_of_a_valid_network_equal_whole_slices_to_the_bit(tile, slices):
    torch.manual_seed(0)
    network, image = ValidResidual(8, 3), torch.randn(slices, 1, 41, 70)
    assert torch.equal(slicewise.tiled(network, image, tile), slicewise.whole(network, image))


def test_tiles_of_a_padded_network_differ_beside_seams_alone():
    torch.manual_seed(0)
    network, image = PaddedResidual(8, 1), torch.randn(2, 1, 40, 64)
    difference = slicewise.tiled(network, image, 32) - slicewise.whole(network, image)
    curve = slicewise.reach(difference, 32)
    assert (curve[curve.index <= 4] > 1e-3).all()  # four convolutions reach four pixels
    assert (curve[curve.index > 4] < 1e-6).all()
    number, row, column = slicewise.worst_seam(difference, 32)
    assert column == 32 and difference[number, 0, row, column] != 0


def test_tiles_smaller_than_the_margins_are_refused():
    with pytest.raises(ValueError, match="vanish"):
        slicewise.tiled(ValidResidual(4), torch.zeros(1, 1, 40, 40), 32)


def test_scores_are_those_of_the_definition(volume):
    truth = truth_slices(volume, 4, 8)
    start = input_slices(truth, 4)
    table = slicewise.scores({"spline": start}, truth, "a", "T1", 4, 2)
    half = len(np.array_split(np.arange(len(truth)), 2)[0])
    error = float((start - truth)[:half].double().square().mean())
    expected = 10 * np.log10(float(truth.max()) ** 2 / error)
    found = table[(table.volume == "a#0") & (table.metric == "psnr")].value.item()
    assert found == pytest.approx(expected, abs=1e-6)
    assert set(table.volume) == {"a#0", "a#1"}


# Equivalence


def test_equivalence_is_shown_not_assumed():
    rng = np.random.default_rng(0)
    assert compare(0.02 * rng.standard_normal(10), 0.2).verdict == "equivalent"
    assert compare([1.5, -1.4, 0.3, -0.2], 0.2).verdict == "undecided"  # far from significant
    assert compare(0.5 + 0.02 * rng.standard_normal(10), 0.2).verdict == "not worse"
    assert compare(-0.5 + 0.02 * rng.standard_normal(10), 0.2).verdict == "worse"
    assert compare([0.0, 0.0, 0.0], 0.2).verdict == "equivalent"
    with pytest.raises(ValueError, match="two differences"):
        compare([0.1], 0.2)


def test_the_tests_err_at_the_level_that_they_state():
    """With a true loss of exactly the margin, one in twenty is called not worse."""
    rng = np.random.default_rng(3)
    wrong = [compare(rng.normal(-0.2, 0.1, 8), 0.2).p_lower < 0.05 for _ in range(1000)]
    assert 0.03 < np.mean(wrong) < 0.07


# The chapter


def run_short(**given):
    """Every code cell with other parameters, two steps a training and small heads."""
    notebook = jupytext.read(project_root() / "book" / "crop_equivariance.py")
    names = {"__name__": "chapter"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            short = re.sub(r"PatchSchedule\(steps=\d+", "PatchSchedule(steps=10", cell.source)
            short = re.sub(
                r"Profile\(16, 120, 1, \(2, 4\), 32", "Profile(4, 80, 1, (2, 4), 8", short
            )
            exec(compile(short, "chapter", "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names.update(given)
    return names


def test_the_chapter_trains_tiles_scores_and_stores(workspace):
    names = run_short(seed=2)
    assert all(names["same"].values()) and len(names["same"]) == 6
    run = store.load(next((workspace.parent / "runs").glob("*.json")))
    assert {row["accel"] for row in run.rows} == {1, 2, 4}  # 1: counts of parameters
    verdict = {v.claim.id: v for v in judge_all(claims.load("remedios-2022"), store.frame([run]))}
    assert verdict["crop_smaller"].verdict == "reproduced"
    assert verdict["crop_faster_patches"].verdict != "not testable on this data"
    error = (names["drawn"]["padded"] - names["true"])[names["few"]].double().square().mean()
    floor = [r["value"] for r in run.rows if (r["method"], r["accel"]) == ("floor", 4)]
    assert floor[0] == pytest.approx(0.01 * float(error), rel=0.1)
    assert {row["method"] for row in run.rows} >= {"spline", "padded", "valid", "padded_32"}
    exact = [r for r in run.rows if r["method"] == "valid_64" and "against" not in r]
    assert {row["value"] for row in exact} == {0.0} and {row["n"] for row in exact} == {8}


def test_the_chapter_reads_a_folder_of_heads(workspace):
    for seed in (1, 2):
        path = simulated_head(80, seed)
        (workspace / f"head{seed}.nii").write_bytes(path.read_bytes())
    given = {"data": "nifti_folder", "data_root": str(workspace), "factors": "3", "volumes": 2}
    names = run_short(**given)
    assert set(names["quality"].volume) == {"head1#0", "head2#0"}
    assert {row["unit"] for row in names["rows"]} == {"volume", "repeat", "network"}
    with pytest.raises(InputError, match="factors"):
        run_short(factors="3,7")
