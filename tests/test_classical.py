"""Compressed sensing is a real baseline: it beats zero-filling, and its strength is chosen."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recon.classical import compressed_sensing as cs
from recon.data.measurement import Sampling, draw_mask, measure
from recon.data.samples import collate
from recon.learning.losses import combine, nmse
from recon.physics.fourier import to_centred
from test_learning import volume


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, so that nothing was computed before."""
    monkeypatch.setenv("RECON_CACHE", str(tmp_path))
    return tmp_path / "compressed_sensing"


@pytest.fixture
def solved(monkeypatch):
    """Strengths for which the solver ran, in order."""
    strengths, solve = [], cs._solve

    def counted(measurement, maps, regularisation, *rest):
        strengths.append(regularisation)
        return solve(measurement, maps, regularisation, *rest)

    monkeypatch.setattr(cs, "_solve", counted)
    return strengths


def items(count=2):
    """Slices of a smooth body at 4x, 64 columns, with a centre wide enough to find the coils."""
    scan = volume(slices=count, coils=4, height=128, width=64, crop=(64, 64))
    mask = draw_mask(scan, Sampling(4, 0.16, "equispaced_fraction"), 1)
    return [measure(scan, i, mask) for i in range(count)]


def error(images, item):
    return nmse(combine(images[None], item.target.shape), item.target[None]).item()


@pytest.mark.parametrize(("prior", "iterations"), [("wavelet", 60), ("tv", 200)])
def test_it_beats_zero_filling(prior, iterations):
    item = items(1)[0]
    reconstruction = cs.compressed_sensing(item, 0.003, prior, iterations)
    assert reconstruction.shape == item.kspace.shape
    assert error(reconstruction, item) < 0.5 * error(item.image, item)


def test_tuning_takes_the_best_of_the_grid():
    picks = items(2)
    best, errors = cs.tune(picks, grid=(0.001, 0.01, 10.0))
    assert set(errors) == {0.001, 0.01, 10.0}
    assert errors[best] == min(errors.values()) < errors[10.0]


def test_the_tuned_method_uses_the_best_strength(solved):
    picks = items(3)
    method, errors = cs.tuned(picks, count=1, grid=(0.01, 10.0))
    assert solved == [0.01, 10.0]  # of one slice alone
    best = min(errors, key=errors.get)
    batch = collate(picks[:1])
    assert torch.equal(method(batch), cs.batched(batch, best))


def test_a_batch_is_its_slices_and_runs_repeat_to_the_bit():
    picks = items(2)
    together = cs.batched(collate(picks), 0.01, iterations=5)
    alone = cs.compressed_sensing(picks[1], 0.01, iterations=5)
    assert torch.equal(together[1], alone)


def test_the_second_time_it_is_read_and_the_same(solved):
    item = items(1)[0]
    first = cs.compressed_sensing(item, 0.01, iterations=5)
    again = cs.compressed_sensing(item, 0.01, iterations=5)
    assert torch.equal(first, again)
    assert solved == [0.01]


def test_whatever_shapes_the_result_is_part_of_its_name(solved, cache):
    item, other = items(2)
    results = [
        cs.compressed_sensing(item, 0.01, iterations=5),
        cs.compressed_sensing(item, 0.02, iterations=5),
        cs.compressed_sensing(item, 0.01, iterations=6),
        cs.compressed_sensing(item, 0.01, "tv", iterations=5),
        cs.compressed_sensing(other, 0.01, iterations=5),
    ]
    known = replace(item, sensitivities=cs.sensitivities_of(other))
    results.append(cs.compressed_sensing(known, 0.01, iterations=5))
    less = item.mask.clone()
    less[..., item.mask.flatten().nonzero()[-1]] = False
    known = replace(item, mask=less, sensitivities=cs.sensitivities_of(item))
    results.append(cs.compressed_sensing(known, 0.01, iterations=5))
    assert len(solved) == len(results)
    for i, image in enumerate(results):
        assert not any(torch.equal(image, later) for later in results[i + 1 :])


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00v", "shape"])
def test_a_broken_file_of_the_cache_is_made_anew(solved, cache, content):
    item = items(1)[0]
    first = cs.compressed_sensing(item, 0.01, iterations=5)
    for path in cache.rglob("*.npy"):
        if content == "shape":
            np.save(path, np.zeros((3, 3), np.complex64))
        else:
            path.write_bytes(content)
    assert torch.equal(cs.compressed_sensing(item, 0.01, iterations=5), first)
    assert torch.equal(cs.compressed_sensing(item, 0.01, iterations=5), first)
    assert solved == [0.01, 0.01]
    assert not list(cache.rglob("*.tmp"))


def test_other_code_meets_no_old_result(solved, monkeypatch):
    item = items(1)[0]
    cs.compressed_sensing(item, 0.01, iterations=5)
    monkeypatch.setattr(cs, "_made_by", lambda: "another version")
    cs.compressed_sensing(item, 0.01, iterations=5)
    assert solved == [0.01, 0.01]


@pytest.mark.parametrize(("prior", "iterations"), [("wavelet", 300), ("tv", 600)])
def test_the_given_steps_lead_where_sigpy_goes_with_its_own(prior, iterations):
    from sigpy.mri import app

    item = items(1)[0]
    maps = cs.sensitivities_of(item)
    ours = cs._solve(item, maps, 0.1, prior, iterations)
    kspace, mask = to_centred(item.kspace), torch.fft.fftshift(item.mask.flatten())
    theirs = {"wavelet": app.L1WaveletRecon, "tv": app.TotalVariationRecon}[prior](
        kspace.numpy(),
        maps.numpy(),
        0.1,
        weights=mask.float().expand(kspace.shape).numpy(),
        max_iter=iterations,
        show_pbar=False,
    ).run()
    assert np.linalg.norm(ours - theirs) < 0.01 * np.linalg.norm(theirs)


def test_unknown_priors_and_centres_too_small_are_refused():
    with pytest.raises(ValueError, match="choose wavelet or tv"):
        cs.compressed_sensing(items(1)[0], 0.01, "magic")
    scan = volume(width=36)
    no_centre = torch.zeros(36, dtype=torch.bool)
    no_centre[::4] = True
    no_centre[17:20] = torch.tensor([False, True, False])
    with pytest.raises(ValueError, match="raise center_fraction"):
        cs.compressed_sensing(measure(scan, 0, no_centre), 0.01)
