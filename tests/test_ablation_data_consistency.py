"""Kinds of data consistency, turns, shared weights and memory."""

import pytest
import torch

from laws import random_complex
from recon.data.fastmri import write_volume
from recon.data.measurement import Sampling
from recon.errors import InputError
from recon.learning.residual import residuals
from recon.learning.training import Schedule, training_folder
from recon.networks.channels import parameter_count
from recon.networks.consistency import ConsistencyPCRNN, neutral_gain, soft_consistency
from recon.networks.pcrnn import PCRNN
from recon.physics.encoding import data_consistency
from recon.physics.fourier import fft2
from recon.results import store
from test_chapter import run_chapter
from test_learning import volume

WIDTHS = (16, 16, 16)


def scan(coils=2, height=18, width=20, seed=0):
    """Masked corner k-space and its mask."""
    mask = torch.rand(1, 1, 1, width, generator=torch.Generator().manual_seed(seed)) > 0.6
    mask[..., 0] = True
    return random_complex(1, coils, height, width, seed=seed) * mask, mask


def build(**options):
    torch.manual_seed(0)
    return ConsistencyPCRNN(2, WIDTHS, **{"iterations": 2, "start": "random", **options})


def gap(network, kspace, mask):
    """Largest error on the measured samples."""
    wrong = fft2(network(kspace, mask)) - kspace
    return float(wrong.detach()[mask.expand_as(kspace)].abs().max())


def test_hard_keeps_measured_samples_none_does_not_and_soft_lies_between():
    kspace, mask = scan()
    hard, soft, none = (
        gap(build(consistency=kind), kspace, mask) for kind in ("hard", "soft", "none")
    )
    assert hard < 1e-4 < soft < none
    assert none > 0.1


def test_soft_tends_to_hard_for_large_weights_and_to_none_for_small_ones():
    kspace, mask = scan()
    image = random_complex(1, 2, 18, 20, seed=5)
    hard = data_consistency(image, kspace, mask)
    distances = [
        float((soft_consistency(image, kspace, mask, torch.tensor(w)) - hard).norm())
        for w in (0.0, 1.0, 10.0, 1e3, 1e6)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3 < 0.1 < distances[0]
    torch.testing.assert_close(soft_consistency(image, kspace, mask, torch.tensor(0.0)), image)
    torch.testing.assert_close(
        build(consistency="soft", weight=1e7)(kspace, mask),
        build(consistency="hard")(kspace, mask),
        rtol=1e-3,
        atol=1e-3,
    )


def test_the_papers_options_give_the_papers_network():
    kspace, mask = scan()
    network, paper = build(), PCRNN(2, WIDTHS, iterations=2)
    for cells, module in zip(network.cells, paper.modules_by_scale, strict=True):
        module.load_state_dict(cells[0].state_dict())
    paper.final.load_state_dict(network.final.state_dict())
    torch.testing.assert_close(network(kspace, mask), paper(kspace, mask))


def test_unshared_weights_are_not_shared_and_each_turn_uses_its_own():
    network = build(shared=False, iterations=3)
    places = [{p.data_ptr() for p in cell.parameters()} for cell in network.cells[0]]
    assert len(places) == 3 and not places[0] & places[1] and not places[1] & places[2]
    kspace, mask = scan()
    before = network(kspace, mask)
    with torch.no_grad():
        network.cells[0][1].decoder[2].conv.weight.mul_(2)
    assert not torch.allclose(before, network(kspace, mask))
    shared, fewer = build(iterations=3), build(iterations=2)
    assert parameter_count(shared) == parameter_count(fewer) < parameter_count(network)


def test_memory_reaches_the_next_turn_only_where_it_is_kept():
    """Only a hidden state is handed to the second turn."""
    kspace, mask = scan()
    seen = {}
    for memory in ("hidden", "none", "feedforward"):
        network = build(memory=memory)
        given = []
        for cell in network.cells[0]:
            step = cell.step
            cell.step = lambda image, hidden, step=step, given=given: (
                given.append(hidden is None) or step(image, hidden)
            )
        network(kspace, mask)
        seen[memory] = given
    assert seen == {
        "hidden": [True, False],
        "none": [True, True],
        "feedforward": [True, True],
    }
    assert parameter_count(build(memory="feedforward")) == parameter_count(build())
    assert parameter_count(build(memory="none")) < parameter_count(build())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"consistency": "soft"},
        {"consistency": "none"},
        {"iterations": 1},
        {"iterations": 3, "shared": False},
        {"memory": "none"},
        {"memory": "none", "shared": False},
        {"memory": "feedforward"},
    ],
)
def test_gradients_reach_every_parameter(options):
    kspace, mask = scan()
    network = build(**options)
    network(kspace, mask).abs().square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("turns", [1, 2, 5, 8])
def test_the_neutral_gain_passes_an_image_on(turns):
    """h adds up images: after K turns without data consistency the image is what it was."""
    gain, image, hidden = neutral_gain(turns), 1.0, 0.0
    for _ in range(turns):
        hidden += image
        image = gain * hidden
    assert image == pytest.approx(1)


def test_trainings_of_different_options_are_stored_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("RECON_CACHE", str(tmp_path))
    variants = [
        {},
        *({"consistency": kind} for kind in ("soft", "none")),
        *({"iterations": turns} for turns in (1, 3, 8)),
        {"shared": False},
        *({"memory": kind} for kind in ("none", "feedforward")),
        {"consistency": "soft", "weight": 10.0},
        {"start": "identity"},
    ]
    folders = {
        training_folder(build(**options), {"device": "cpu"}, Schedule(), []) for options in variants
    }
    assert len(folders) == len(variants)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"consistency": "firm"}, "consistency is"),
        ({"memory": "long"}, "memory is"),
        ({"weight": 0.0}, "above 0"),
        ({"iterations": 0}, "at least once"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        build(**options)


def test_residuals_are_zero_for_the_zero_filled_image_and_one_for_nothing(tmp_path):
    write_volume(tmp_path / "one.h5", volume("one", 2, 4))
    methods = {"zero_filled": lambda batch: batch.image, "nothing": lambda batch: 0 * batch.image}
    found = residuals(methods, [tmp_path / "one.h5"], Sampling(3, 0.2, "random"), 3)
    values = found.set_index("method").value
    assert values["zero_filled"] < 1e-5
    assert values["nothing"] == pytest.approx(1)


# The chapter


def run(**given):
    return run_chapter("ablation_data_consistency", **given)


def test_all_variants_are_trained_scored_and_stored(folder):
    names = run(data="fastmri_folder", data_root=str(folder), repeats=1)
    stored = store.load(next((folder.parent / "runs").glob("*.json")))
    assert {row["method"] for row in stored.rows} >= {"zero_filled", "dc_once", *names["wanted"]}
    assert len(names["wanted"]) == 9
    residual = {
        row["method"]: row["value"]
        for row in stored.rows
        if row["metric"] == "residual" and row["contrast"] == "all" and "against" not in row
    }
    assert residual["dc_hard"] < 1e-4 < residual["dc_none"]
    repeated = [row for row in stored.rows if row.get("training_seed") == 1]
    assert {row["method"] for row in repeated} == {"dc_hard"}


@pytest.mark.parametrize(
    "given",
    [
        {"variants": "dc_soft,dc_turns_1", "repeats": 0, "soft_weight": 5, "start": "random"},
        {"variants": "dc_unshared", "repeats": 2, "accel": 3, "seed": 7},
    ],
)
def test_some_variants_can_be_picked(folder, given):
    names = run(data="fastmri_folder", data_root=str(folder), **given)
    wanted = {*given["variants"].split(","), "dc_hard"}
    assert set(names["wanted"]) == wanted
    assert len(names["networks"]) == len(wanted) + given["repeats"]


def test_an_unknown_variant_is_refused(folder):
    with pytest.raises(InputError, match="variants is 'dc_firm'"):
        run(data="fastmri_folder", data_root=str(folder), variants="dc_firm")
