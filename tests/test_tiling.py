"""Tiling: receptive fields, the last bit, budgets, bad input, and what happens after a kill."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from recon.errors import InputError
from recon.learning.tiling import (
    NotTileable,
    apply_tiled,
    holds,
    plan_tiles,
    receptive_field,
    trace,
)
from recon.learning.tiling.backends import Interpreter
from recon.learning.tiling.blending import blend
from recon.learning.tiling.memory import predict_mb
from recon.learning.tiling.strips import Strips, streams
from recon.networks.residual_sr import PaddedResidual, ValidResidual
from recon.networks.unet import UNet

C, C3, T = nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d
# Network, its axes, and (size, margin, stride) by hand.
KNOWN = {
    "valid": (ValidResidual(8, 2), 2, (13, 6, 1)),
    "published": (ValidResidual(2), 2, (33, 16, 1)),
    "padded": (PaddedResidual(8, 2, add_input=True), 2, (13, 6, 1)),
    "dilated": (nn.Sequential(C(1, 8, 3, dilation=4, padding=4), C(8, 2, 1)), 2, (9, 4, 1)),
    "mixed": (nn.Sequential(C(1, 16, 9), nn.ReLU(), C(16, 1, 5, padding=2)), 2, (13, 6, 1)),
    "reflect": (C(1, 4, 5, padding=2, padding_mode="reflect"), 2, (5, 2, 1)),
    "smaller": (C(1, 4, 3, padding=1, stride=2), 2, (3, 1, 2)),
    "larger": (nn.Sequential(C(1, 16, 3, padding=1), nn.PixelShuffle(4)), 2, (3, 2, 0.25)),
    "nearest": (
        nn.Sequential(C(1, 8, 3, padding=1), nn.MaxPool2d(2), nn.Upsample(scale_factor=2),
                      C(8, 1, 3, padding=1)), 2, (6, 3, 1)),
    "volume": (nn.Sequential(C3(1, 8, 3), nn.ReLU(), C3(8, 1, (3, 3, 1))), 3, (5, 2, 1)),
    "batch norm": (nn.Sequential(C(1, 8, 3, padding=1), nn.BatchNorm2d(8)).eval(), 2, (3, 1, 1)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread_again():
    """Whatever a test sets, the next starts with one thread."""
    yield
    torch.set_num_threads(1)


def whole(network, image, ndim=2):
    """The network on the whole image, padded by its margin where it is valid."""
    axes = receptive_field(network, ndim, check=False).axes
    with torch.no_grad():
        return network(F.pad(image, [p for axis in axes[::-1] for p in (axis.pad, axis.pad)]))


@pytest.mark.parametrize("name", KNOWN)
def test_fields_are_those_counted_by_hand_and_measured(name):
    network, ndim, expected = KNOWN[name]
    field = receptive_field(network, ndim)
    assert (field.size, field.margin, field.stride) == expected
    assert holds(network, field) == (True, True)


def test_the_measurement_would_notice_a_field_that_is_too_small():
    """Not by the layers' own word: a module that looks further than its type says."""

    class Sneaky(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) + F.pad(x, (2, 0))[..., :-2]

    Sneaky.__module__ = "torch.nn.sneaky"  # tracing does not look into torch's own layers
    with pytest.raises(NotTileable, match="sees more than"):
        receptive_field(nn.Sequential(Sneaky(1, 1, 3, padding=1), nn.ReLU()))


@pytest.mark.parametrize(
    ("network", "word"),
    [
        (nn.Sequential(C(1, 4, 3), nn.InstanceNorm2d(4)), "normalises over space"),
        (nn.Sequential(C(1, 4, 3), nn.GroupNorm(2, 4)), "normalises over space"),
        (nn.Sequential(C(1, 4, 3), nn.BatchNorm2d(4)), "training mode"),
        (nn.Sequential(C(1, 4, 3), nn.AdaptiveAvgPool2d(1)), "pools over the whole"),
        (nn.Sequential(C(1, 4, 4)), "same number"),
        (nn.Sequential(C(1, 4, 3), nn.Flatten()), "no rule for Flatten"),
        (UNet(1), "depends on the values or the size"),
        (nn.Sequential(C(1, 4, 3), nn.Upsample(size=64)), "fixed size"),
    ],
)
def test_what_cannot_be_exact_is_refused_in_one_sentence(network, word):
    with pytest.raises(NotTileable, match=word) as refusal:
        receptive_field(network)
    assert "\n" not in str(refusal.value)


def test_strides_that_do_not_divide_the_image_are_refused():
    network = nn.Sequential(C(1, 16, 3, stride=2, padding=1), nn.Upsample(scale_factor=2))
    with pytest.raises(NotTileable, match="do not divide"):
        apply_tiled(network, torch.zeros(1, 1, 161, 160), 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [name for name in KNOWN if name != "volume"])
def test_tiles_equal_the_whole_to_the_last_bit(name, dtype):
    torch.manual_seed(1)
    network = KNOWN[name][0].to(dtype)
    even = name in ("smaller", "nearest")
    for size in [(160, 154) if even else (161, 150), (48, 200) if even else (37, 201)]:
        image = torch.randn(1, 1, *size, dtype=dtype)
        reference = whole(network, image)
        plan = plan_tiles(trace(network), receptive_field(network, check=False), size, 64)
        if plan.inexact:  # by this processor's matrix product: said, and then only the last bits
            assert name == "dilated" and "1 x 1" in plan.inexact and dtype == torch.float32
        for tile in (33, 64, 100, 500):
            result = apply_tiled(network, image, tile, check=False)
            assert result.dtype == dtype
            if plan.inexact:
                torch.testing.assert_close(result, reference, rtol=1e-5, atol=1e-6)
            else:
                assert torch.equal(result, reference), (size, tile)
    network.float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("build", [ValidResidual, PaddedResidual])
def test_two_threads_change_nothing(build, dtype):
    torch.set_num_threads(2)
    torch.manual_seed(1)
    network = build(16, 2).to(dtype)
    image = torch.randn(1, 1, 161, 150, dtype=dtype)
    reference = whole(network, image)
    for tile in (51, 90):
        assert torch.equal(apply_tiled(network, image, tile, check=False), reference)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 180), st.integers(1, 180), st.integers(5, 90), st.booleans())
def test_any_size_any_tile(height, width, tile, last):
    """Also images smaller than the receptive field; also with channels last in memory."""
    network = ValidResidual(16, 3)
    network = network.to(memory_format=torch.channels_last) if last else network
    image = torch.randn(1, 1, height, width, generator=torch.Generator().manual_seed(tile))
    result = apply_tiled(network, image, tile, check=False)
    assert result.shape == image.shape
    assert torch.equal(result, whole(network, image))


def test_volumes_in_three_dimensions():
    network = KNOWN["volume"][0]
    volume = torch.randn(1, 1, 60, 47, 38)
    reference = whole(network, volume, 3)
    for tile in (16, (60, 20, 9)):
        assert torch.equal(apply_tiled(network, volume, tile), reference)
    assert np.array_equal(apply_tiled(network, volume[0, 0].numpy(), 20), reference[0, 0])


def test_the_plan_says_where_bits_may_differ_and_rounding_is_all():
    network = ValidResidual(16, 2).double()
    image = torch.randn(1, 1, 100, 100, dtype=torch.float64)
    plan = plan_tiles(trace(network), receptive_field(network), (100, 100), 20)
    assert "float64" in plan.inexact
    torch.testing.assert_close(apply_tiled(network, image, 20), whole(network, image))


def test_a_padded_network_needs_its_margin_and_no_more():
    network = PaddedResidual(16, 3)
    image = torch.randn(1, 1, 200, 180)
    for margin in (8, 9, 20):
        result = apply_tiled(network, image, 48, margin=margin)
        assert torch.equal(result, whole(network, image)), margin
    with pytest.raises(NotTileable, match="exact from 8"):
        apply_tiled(network, image, 48, margin=7)
    near = apply_tiled(network, image, 48, margin=7, approximate=True)
    assert (near - whole(network, image)).abs().max() > 0
    with pytest.raises(InputError, match="no more and no less"):
        apply_tiled(ValidResidual(4, 1), image, 48, margin=9)


def test_what_is_not_exact_runs_when_told_to_approximate():
    network = nn.Sequential(C(1, 4, 3, padding=1), nn.InstanceNorm2d(4), C(4, 1, 1))
    image = torch.randn(1, 1, 96, 96)
    with pytest.raises(InputError, match="need a margin"):
        apply_tiled(network, image, 32, approximate=True)
    result = apply_tiled(network, image, 32, margin=8, approximate=True)
    assert result.shape == image.shape and not torch.equal(result, whole_plain(network, image))


def whole_plain(network, image):
    with torch.no_grad():
        return network(image)


def test_the_budget_is_used():
    network = ValidResidual(16)
    graph, field = trace(network), receptive_field(network, check=False)
    caps = (150, 300, 1200)
    plans = [plan_tiles(graph, field, (4000, 4000), memory_mb=cap) for cap in caps]
    assert all(plan.predicted_mb <= cap for plan, cap in zip(plans, caps, strict=True))
    assert plans[0].predicted_mb > 0.8 * caps[0]
    assert plans[0].work() > plans[1].work() > plans[2].work() >= 1
    tiles = [
        plan_tiles(graph, field, (4000, 4000), memory_mb=cap, strips=False) for cap in (110, 1200)
    ]
    assert tiles[0].predicted_mb <= 110 and tiles[0].work() > tiles[1].work()
    assert tiles[1].work() > plans[0].work()  # strips hold less, so their tiles are larger


def test_no_worker_waits_for_another_with_an_image_in_hand():
    network = ValidResidual(16)
    graph, field = trace(network), receptive_field(network, check=False)

    def pieces(**given):
        return len(plan_tiles(graph, field, (512, 512), memory_mb=1000, **given))

    assert pieces() == 1  # in strips nothing is gained by smaller tiles
    assert pieces(workers=2) % 2 == 0 and pieces(workers=3) >= 3
    assert pieces(workers=2, images=6) == 1


@settings(max_examples=25, deadline=None)
@given(
    st.integers(20, 150), st.integers(20, 90), st.integers(0, 3), st.integers(1, 40), st.booleans()
)
def test_strips_are_the_network_to_the_last_bit(height, width, blocks, rows, padded):
    """Any number of rows at a time; each row of each layer computed at most once."""
    network = (PaddedResidual if padded else ValidResidual)(16, blocks, add_input=True)
    image = torch.randn(2, 1, height, width, generator=torch.Generator().manual_seed(rows))
    image = F.pad(image[:1], (network.margin,) * 4)
    graph = trace(network)
    assert streams(graph, forced(graph), image)
    strips = Strips(graph, forced(graph), 2, 4)
    strips.rows = lambda window: rows
    with torch.no_grad():
        expected = Interpreter(graph, forced(graph)).run(image)
        assert torch.equal(strips.run(image), expected)
    for node in graph.graph.nodes:
        of_node = [s for s in strips.steps(image.shape[2], rows) if s.node is node]
        for before, after in pairwise(of_node):
            assert before.last == after.first


def forced(graph):
    """Names of the convolutions."""
    modules = dict(graph.named_modules())
    nodes = graph.graph.nodes
    return tuple(n.name for n in nodes if isinstance(modules.get(n.target), (C, C3)))


def test_what_strips_hold_does_not_grow_with_their_number():
    graph = trace(PaddedResidual(32, 8))
    strips = Strips(graph, forced(graph), 2, 4)
    tall = strips.peak_mb((4000, 300))
    assert tall == strips.peak_mb((8000, 300))
    assert tall < 0.1 * predict_mb(graph, (4000, 300), 1, 4)
    assert tall > 2 * strips.rows((4000, 300)) * 300 * 32 * 4 / 1e6  # a strip in and out


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(C(1, 4, 3, stride=2, padding=1), nn.Upsample(scale_factor=2)),
        nn.Sequential(C(1, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU()),
        nn.Sequential(C(1, 4, 3, padding=1), nn.PixelShuffle(2)),
        nn.Sequential(C(1, 4, 3), C(4, 4, 3)).to(memory_format=torch.channels_last),
        nn.Sequential(nn.ReLU(), nn.Sigmoid()),
    ],
)
def test_what_cannot_be_cut_into_strips_is_left_in_tiles(network):
    graph = trace(network)
    assert not streams(graph, forced(graph), torch.zeros(1))
    image = torch.randn(1, 1, 180, 176)
    assert torch.equal(apply_tiled(network, image, [90, 64]), whole(network, image))


def test_a_change_of_the_network_is_noticed():
    """What is known of it is kept; its weights' values and its layers are not assumed."""
    network = nn.Sequential(C(1, 16, 3), nn.ReLU(), C(16, 1, 3))
    image = torch.randn(1, 1, 200, 200)
    for change in (
        lambda: None,
        lambda: network[0].weight.data.mul_(2),
        lambda: network.__setitem__(2, C(16, 1, 3)),
        lambda: network.__setitem__(2, C(16, 1, 7)),
        lambda: network.to(memory_format=torch.channels_last),
    ):
        change()
        assert torch.equal(apply_tiled(network, image, 90), whole(network, image))
    network.insert(1, nn.BatchNorm2d(16))
    with pytest.raises(NotTileable, match="training mode"):
        apply_tiled(network, image, 90)


def test_blending_of_a_pointwise_network_changes_nothing():
    image = torch.randn(1, 1, 70, 50)
    network = C(1, 2, 1)
    for kind in ("constant", "gaussian", "hann"):
        for overlap in (0.0, 0.25, 0.5):
            result = blend(network, image, 24, overlap, kind)
            torch.testing.assert_close(result, whole_plain(network, image))
    with pytest.raises(InputError, match="overlap"):
        blend(network, image, 64, 0.5, "constant")
    with pytest.raises(InputError, match="window"):
        blend(network, image, 24, 0.5, "square")
