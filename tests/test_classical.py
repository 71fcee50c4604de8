"""Compressed sensing is a real baseline: it beats zero-filling, and its strength is chosen."""

import pytest
import torch

from recon.classical import compressed_sensing as cs
from recon.data.measurement import Sampling, draw_mask, measure
from recon.data.samples import collate
from recon.learning.losses import combine, nmse
from test_learning import volume


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


def test_a_batch_is_its_slices_and_runs_repeat_to_the_bit():
    picks = items(2)
    together = cs.batched(collate(picks), 0.01, iterations=5)
    alone = cs.compressed_sensing(picks[1], 0.01, iterations=5)
    assert torch.equal(together[1], alone)


def test_unknown_priors_and_centres_too_small_are_refused():
    with pytest.raises(ValueError, match="choose wavelet or tv"):
        cs.compressed_sensing(items(1)[0], 0.01, "magic")
    scan = volume(width=36)
    no_centre = torch.zeros(36, dtype=torch.bool)
    no_centre[::4] = True
    no_centre[17:20] = torch.tensor([False, True, False])
    with pytest.raises(ValueError, match="raise center_fraction"):
        cs.compressed_sensing(measure(scan, 0, no_centre), 0.01)
