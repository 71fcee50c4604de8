"""Tiling of networks of any make: every bit of the network's own image, or a sentence that says no.

The expected image is always the network's own output on the whole image, never another tiling.
"""

import warnings
from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from recon.errors import InputError
from recon.learning.tiling import (
    Inexact,
    apply_tiled,
    backends,
    plan_tiles,
    receptive_field,
    trace,
)
from recon.networks.anchored_regression import CARN, NewCARN
from recon.networks.cyclegan import Generator
from recon.networks.srcnn import SRCNN
from test_tiling import whole

C, T = nn.Conv2d, nn.ConvTranspose2d
CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TURNED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLS = {
    1: (nn.MaxPool1d, nn.AvgPool1d), 2: (nn.MaxPool2d, nn.AvgPool2d),
    3: (nn.MaxPool3d, nn.AvgPool3d),
}  # fmt: skip
PADS = {
    1: (nn.ZeroPad1d, nn.ReflectionPad1d, nn.ReplicationPad1d, nn.CircularPad1d),
    2: (nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d),
    3: (nn.ZeroPad3d, nn.ReflectionPad3d, nn.ReplicationPad3d, nn.CircularPad3d),
}


class Does(nn.Module):
    """A network of layers and of a function that calls them; both may have plain attributes."""

    def __init__(self, does, *layers, **held):
        super().__init__()
        self.does, self.layers = does, nn.ModuleList(layers)
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.does(self, x)


class Skip(nn.Module):
    """What goes around some layers is added, or joined as channels."""

    def __init__(self, body, join):
        super().__init__()
        self.body, self.join = body, join

    def forward(self, x):
        return torch.cat([x, self.body(x)], 1) if self.join else x + self.body(x)


@st.composite
def blocks(draw, ndim, width, depth=0):
    """Layers from and to `width` channels."""
    conv = CONVS[ndim]
    kinds = ["conv", "conv", "pad", "act", "scales", "scales", "norm"] + ["skip"] * (depth == 0)
    kind = draw(st.sampled_from(kinds))
    kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 2))
    groups = draw(st.sampled_from([1, 1, width]))
    if kind == "conv":
        padding = draw(st.sampled_from([0, dilation * (kernel - 1) // 2, "same"]))
        mode = draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]))
        return [
            conv(width, width, kernel, padding=padding, dilation=dilation, groups=groups,
                 padding_mode=mode, bias=draw(st.booleans()))
        ]  # fmt: skip
    if kind == "pad":
        return [draw(st.sampled_from(PADS[ndim]))(kernel // 2), conv(width, width, kernel)]
    if kind == "act":
        acts = [
            nn.ReLU(True),
            nn.LeakyReLU(0.2, True),
            nn.Hardsigmoid(),
            nn.PReLU(width),
            nn.Tanh(),
        ]
        return [draw(st.sampled_from([*acts, nn.Dropout(), nn.ELU(), nn.GELU()]))]
    if kind == "norm":
        return [{1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[ndim](width)]
    if kind == "skip":
        join = draw(st.booleans())
        inner = draw(st.lists(blocks(ndim, width, 1), min_size=1, max_size=2))
        body = nn.Sequential(*(layer for some in inner for layer in some))
        return [Skip(body, join), *([conv(2 * width, width, 1)] if join else [])]
    scale = draw(st.sampled_from([2, 3, 3, 5] if ndim < 3 else [2, 3]))
    down = draw(st.sampled_from([
        [POOLS[ndim][0](scale)], [POOLS[ndim][1](scale)],
        [conv(width, width, kernel, stride=scale, padding=kernel // 2)],
        [conv(width, width, scale, stride=scale)],
    ]))  # fmt: skip
    up = draw(st.sampled_from([
        [nn.Upsample(scale_factor=scale)], [],
        [TURNED[ndim](width, width, scale, scale)],
        [TURNED[ndim](width, width, 3, scale, 1, output_padding=scale - 1)],
    ]))  # fmt: skip
    inner = draw(st.lists(blocks(ndim, width, 1), max_size=1)) if depth == 0 else []
    return [*down, *(layer for some in inner for layer in some), *up]


@st.composite
def cases(draw):
    ndim = draw(st.sampled_from([1, 2, 2, 2, 3]))
    width = draw(st.sampled_from([1, 2, 4, 6, 16]))
    body = draw(st.lists(blocks(ndim, width), min_size=1, max_size=3))
    most = {1: 3000, 2: 130, 3: 36}[ndim]
    step = draw(st.sampled_from([1, 6, 10, 30] if ndim < 3 else [1, 6]))
    size = [max(1, draw(st.integers(1, most // step)) * step) for _ in range(ndim)]
    tile = draw(st.integers(3, most))
    first = CONVS[ndim](1, width, 3, padding=1)
    return nn.Sequential(first, *(layer for some in body for layer in some)), size, tile


def own(network, image, shape):
    """The network on the image, with as few zeros around it as give an output of this shape."""
    for pad in range(80):
        try:
            output = network(F.pad(image, [pad, pad] * (image.ndim - 2)))
        except RuntimeError:  # still too small
            continue
        if output.shape == shape:
            return output
    raise AssertionError(f"the network gives no image of shape {tuple(shape)}")


def agrees(network, image, tile=40, **given):
    """Held to the network's own image; False if refused."""
    before = image.clone()
    with warnings.catch_warnings(record=True) as said, torch.inference_mode():
        warnings.simplefilter("always")
        try:
            result = apply_tiled(network, image, tile, **given)
        except InputError as refusal:
            assert "\n" not in str(refusal)
            return False
        assert torch.equal(image, before)
        expected = own(network, image, result.shape)
    if any(issubclass(one.category, Inexact) for one in said):
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    else:
        assert torch.equal(result, expected)
    return True


@settings(max_examples=100, deadline=None)
@given(cases(), st.booleans())
def test_any_network_any_size_any_tile(case, check):
    network, size, tile = case
    torch.manual_seed(len(size) + tile)
    for layer in network.modules():
        if hasattr(layer, "running_mean"):
            layer.running_mean.normal_()
    agrees(network.eval(), torch.randn(1, 1, *size), tile, check=check)


def convs(*widths, kernel=3):
    """Convolutions that keep the size, from one number of channels to the next."""
    return [C(a, b, kernel, padding=kernel // 2) for a, b in pairwise(widths)]


class OutOfOrder(nn.Module):
    """Registered in another order than called, with a head that is not."""

    def __init__(self):
        super().__init__()
        self.last, self.first, self.head = C(4, 1, 3, padding=1), C(2, 4, 5, padding=2), C(9, 9, 3)

    def forward(self, x):
        return self.last(self.first(torch.cat([x, -x], 1)).relu())


# Sizes are multiples of the strides: these are to be tiled, not refused.
TILED = {
    "stride 3": nn.Sequential(C(1, 8, 3, stride=3), T(8, 1, 3, 3)),
    "stride 5": nn.Sequential(C(1, 8, 5, stride=5), nn.ReLU(), T(8, 2, 5, 5)),
    "pool and enlarge by 3": nn.Sequential(
        *convs(1, 4), nn.MaxPool2d(3), *convs(4, 4), nn.Upsample(scale_factor=3), *convs(4, 1)),
    "enlarge by 3": nn.Sequential(*convs(1, 4), nn.Upsample(scale_factor=3)),
    "patches": nn.Sequential(C(1, 8, 6, stride=6), C(8, 36, 1), nn.PixelShuffle(6)),
    "in place": nn.Sequential(nn.LeakyReLU(0.2, inplace=True), *convs(1, 1)),
    "transposed": nn.Sequential(
        C(1, 16, 3, 2, 1), nn.ReLU(), T(16, 1, 3, 2, 1, output_padding=1)),
    "out of order": OutOfOrder(),
    "reflection": nn.Sequential(nn.ReflectionPad2d(2), C(1, 4, 5)),
    "zeros and edges": nn.Sequential(
        nn.ZeroPad2d((1, 2, 0, 3)), C(1, 4, 4), nn.ReplicationPad2d(1), C(4, 1, 3)),
    "the same size": nn.Sequential(
        C(1, 8, (3, 4), padding="same", dilation=2), C(8, 8, 5, padding="same", dilation=2)),
    "hard sigmoid": nn.Sequential(*convs(1, 4), nn.Hardsigmoid()),
    "dropout": nn.Sequential(*convs(1, 4), nn.Dropout2d(), nn.AlphaDropout(), *convs(4, 1)),
    "dropout as a function": Does(
        lambda s, x: F.dropout(s.layers[0](x), 0.5, s.training), *convs(1, 4)),
    "channels joined last": Does(lambda s, x: torch.cat([s.layers[0](x), x], 1), *convs(1, 2)),
    "shuffled by a function": Does(
        lambda s, x: F.pixel_shuffle(s.layers[0](x), upscale_factor=3), *convs(1, 9)),
    "unshuffled first": nn.Sequential(nn.PixelUnshuffle(2), *convs(4, 8), nn.PixelShuffle(2)),
    "made of weights": Does(
        lambda s, x: s.layers[0](x) * s.gain.exp(), *convs(1, 3),
        gain=nn.Parameter(torch.randn(3, 1, 1))),
    "a size asked for": Does(
        lambda s, x: F.interpolate(s.layers[0](x), size=x.shape[2:]) + x,
        nn.Sequential(*convs(1, 4), nn.MaxPool2d(2), *convs(4, 1))),
    "channels by number": Does(
        lambda s, x: s.layers[0](x)[:, 1:] - s.layers[0](x).sum(1, keepdim=True), *convs(1, 3)),
    "another class of a layer": nn.Sequential(type("Mine", (C,), {})(1, 2, 3, padding=1)),
    "CARN": CARN(2, 4, 3, scale=2),
    "New CARN": NewCARN(2, 4, 3, scale=2),
    "SRCNN": SRCNN(4, scale=2),
    "a line": nn.Sequential(
        nn.Conv1d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(8, 4, 3, padding=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", TILED)
def test_what_can_be_tiled_is(name):
    torch.manual_seed(1)
    for size in [(900,), (3000,)] if name == "a line" else [(90, 120), (30, 180), (150, 30)]:
        assert agrees(TILED[name].eval(), torch.randn(1, 1, *size)), size


def hooked(change):
    """A network on which something was hung."""
    network = nn.Sequential(*convs(1, 1), nn.ReLU())
    change(network)
    return network


REFUSED = {
    "instance norm of the book": (Generator(4, 2, 1), "InstanceNorm. normalises over space"),
    "and its transposed kin": (Generator(4, 2, 1, resize=False), "normalises over space"),
    "hook": (hooked(lambda n: n[0].register_forward_hook(lambda m, i, o: 2 * o)), "forward hook"),
    "hook before": (
        hooked(lambda n: n[1].register_forward_pre_hook(lambda m, i: (i[0] + 1,))), "layer 1"),
    "hook on all": (
        hooked(lambda n: n.register_forward_hook(lambda m, i, o: o[..., :-1])), "Sequential has"),
    "positions": (
        Does(lambda s, x: s.layers[0](x) + s.at, *convs(1, 1),
             at=nn.Parameter(torch.randn(1, 1, 90, 90))), "value for each position"),
    "positions by size": (
        Does(lambda s, x: s.layers[0](x) * torch.linspace(0, 1, x.shape[-1]), *convs(1, 1)),
        "sizes change"),
    "size decides": (Does(lambda s, x: x if x.shape[-1] > 20 else 2 * x), "was measured"),
    "changed in place": (
        Does(lambda s, x: (lambda a: (a.add_(s.layers[1](a)), s.layers[1](a))[1])(s.layers[0](x)),
             *convs(1, 1, 1)), "in place"),
    "remainder": (C(1, 4, 3, stride=2), "same number"),
    "places of maxima": (
        Does(lambda s, x: s.layers[0](x)[1], nn.MaxPool2d(2, return_indices=True)), "positions"),
    "over the image": (Does(lambda s, x: x - x.mean((2, 3), keepdim=True)), "pixels' axes"),
    "no reason given": (Does(lambda s, x: (_ for _ in ()).throw(ValueError())), "ValueError"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_is_refused_with_the_reason(name):
    network, word = REFUSED[name]
    with pytest.raises(InputError, match=word):
        apply_tiled(network.eval(), torch.randn(1, 1, 90, 90), 40)


def test_a_layer_that_is_more_than_it_says_is_found_by_the_comparison():
    """Also without `check`: its receptive field is right, its values are not."""
    mine = type("Twice", (C,), {"forward": lambda s, x: 2 * C.forward(s, x)})
    mine.__module__ = "torch.nn.mine"  # tracing does not look into torch's own layers
    for check in (True, False):
        with pytest.raises(InputError, match="was measured"):
            image = torch.randn(1, 1, 200, 200)
            apply_tiled(nn.Sequential(mine(1, 16, 3, padding=1)), image, 40, check=check)


def test_what_a_network_was_does_not_count():
    """An attribute, weights behind a hook, a global."""
    image = torch.randn(1, 1, 150, 150)
    network = Does(lambda s, x: s.gain * s.layers[0](x) + SHIFT[0], *convs(1, 16), gain=1.0)
    for network.gain, SHIFT[0] in ((1.0, 0.0), (3.0, 0.0), (3.0, 5.0)):
        assert agrees(network, image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old kind, which many stored networks have
        first, second = (
            nn.Sequential(*(nn.utils.weight_norm(one) for one in convs(1, 8, 1))).eval()
            for _ in range(2)
        )
    apply_tiled(first, image, 40)  # with gradients, as a user has it
    assert agrees(first, image)
    first.load_state_dict(second.state_dict())
    with torch.no_grad():
        assert torch.equal(apply_tiled(first, image, 40), second(image))


SHIFT = [0.0]


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1], lambda a: a[:, ::-2], lambda a: a.astype(">f4"),
        lambda a: a.astype(">f8"), lambda a: np.asfortranarray(a), lambda a: a.T,
        lambda a: (1000 * a).astype(">i2"), lambda a: np.broadcast_to(a[:1], a.shape),
    ],
)  # fmt: skip
def test_any_array_is_read_and_none_is_written(view):
    given = view(np.random.default_rng(0).normal(size=(160, 240)).astype("f4"))
    kept = given.copy()
    network = nn.Sequential(nn.ELU(inplace=True), nn.ReLU(inplace=True), *convs(1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Inexact)
        result = apply_tiled(network, given, 50)
    expected = whole(network, torch.from_numpy(kept.astype("f4").copy())[None, None])[0, 0]
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5 * float(kept.max()))
    assert np.array_equal(given, kept)


def test_a_result_is_not_written_where_the_image_is_read(tmp_path):
    network, image = nn.Sequential(*convs(1, 1)), np.ones((90, 90), "f4")
    both = np.zeros((180, 90), "f4")
    with h5py.File(tmp_path / "one.h5", "w") as file:
        data = file.create_dataset("data", data=image)
        for given, out in ((image, image), (both[:90], both[45:135]), (data, file["data"]),
                           (torch.from_numpy(image), image)):  # fmt: skip
            with pytest.raises(InputError, match="image's memory"):
                apply_tiled(network, given, 40, out=out)
    apply_tiled(network, both[:90], 40, out=both[90:])


@pytest.mark.parametrize("change", ["gain", "image"])
def test_a_part_of_something_else_is_not_gone_on_with(tmp_path, change):
    """Not of the network with another attribute, nor of an image with the same middle row."""

    class Breaks:
        shape, dtype, left = (200, 200), np.dtype("f4"), 9

        def __init__(self, data):
            self.data = data

        def __getitem__(self, where):
            self.left -= isinstance(where[0], slice)
            if self.left < 0:
                raise KeyboardInterrupt
            return self.data[where]

    network = Does(lambda s, x: s.gain * s.layers[0](x), *convs(1, 1), gain=1.0)
    image, given = np.ones((200, 200), "f4"), {"tile": 50, "out": tmp_path / "out.npy"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recon.learning.tiling.run.SAVE_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            apply_tiled(network, Breaks(image), resume=True, **given)
    if change == "gain":
        network.gain = 7.0
    else:
        image[:90] = 3
    whole_one = Breaks(image)
    whole_one.left = 1000
    apply_tiled(network, whole_one, resume=True, **given)
    assert np.array_equal(np.load(tmp_path / "out.npy"), apply_tiled(network, image, 50))


def test_what_the_plan_knows_is_said():
    up = TILED["transposed"]
    image = torch.randn(1, 1, 160, 176)
    with pytest.warns(Inexact, match="transposed convolution adds up by the shape"):
        apply_tiled(up, image, 40)
    plan = plan_tiles(trace(up), receptive_field(up), (160, 176), 40)
    assert "transposed" in plan.inexact
    curved = nn.Sequential(*convs(1, 16), nn.Mish(), *convs(16, 1))
    double, half = nn.Sequential(*convs(1, 16)).double(), nn.Sequential(*convs(1, 16)).half()
    for network, word in ((curved, "Mish"), (double, "float64"), (half, "float16")):
        assert word in plan_tiles(trace(network), receptive_field(network, check=False),
                                  (160, 176), 40).inexact  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        apply_tiled(nn.Sequential(*convs(1, 16), nn.ReLU()), image, 40)
        apply_tiled(up, image, (160, 176))  # in one piece: the network itself


def test_approximate_tiles_of_another_size_are_refused():
    network = nn.Sequential(C(1, 4, 3, stride=2, padding=1), nn.InstanceNorm2d(4))
    with pytest.raises(InputError, match="keeps the size"):
        apply_tiled(network, torch.randn(1, 1, 96, 96), 32, margin=8, approximate=True)


def test_bias_is_part_of_what_is_measured(monkeypatch):
    """A stand-in for oneDNN that adds the bias first where channels lie last."""
    real = torch.mkldnn_convolution

    def other_order(x, weight, bias, *rest):
        if x.is_contiguous() or bias is None:
            return real(x, weight, bias, *rest)
        return real(x, weight, None, *rest) + (1 + 1e-6) * bias[:, None, None]

    monkeypatch.setattr(torch, "mkldnn_convolution", other_order)
    assert not backends._same_bits.__wrapped__(8, 8, (3, 3), (0, 0), (1, 1))
