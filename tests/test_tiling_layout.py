"""Strips with the channels last in memory: which networks may, and that every bit stays."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from recon.learning.tiling import backends, trace
from recon.learning.tiling.backends import Interpreter, may_put_channels_last
from recon.learning.tiling.strips import Strips
from recon.networks.residual_sr import PaddedResidual, ValidResidual
from test_tiling import forced

C, C3 = nn.Conv2d, nn.Conv3d


@pytest.mark.parametrize(
    ("network", "may"),
    [
        (ValidResidual(16, 2, add_input=True), True),
        (PaddedResidual(8, 1), True),
        (nn.Sequential(C(1, 16, 3), nn.ReLU(), C(16, 32, (5, 3), padding="valid")), True),
        (ValidResidual(17, 1), False),
        (nn.Sequential(C(1, 16, 3), C(16, 16, 1)), False),
        (nn.Sequential(C(1, 16, 3), C(16, 16, 3, groups=2)), False),
        (nn.Sequential(C(1, 16, 3), C(16, 16, 3, stride=2)), False),
        (nn.Sequential(C(1, 16, 3), C(16, 16, 3, padding=2)), False),
        (nn.Sequential(C(1, 16, 3), nn.Sigmoid()), False),
        (nn.Sequential(C(8, 1, 3), C(1, 1, 3)), False),
        (nn.Sequential(C3(1, 16, 3), nn.ReLU(), C3(16, 16, 3, padding=1)), True),
        (nn.Sequential(C3(1, 16, 3), C3(16, 16, (3, 3, 1))), False),
        (nn.Sequential(C3(1, 32, 3), C3(32, 16, 3)), False),
    ],
)
def test_few_channels_and_exact_rounding_may_have_channels_last(monkeypatch, network, may):
    graph = trace(network)
    monkeypatch.setattr(backends, "_same_bits", lambda *form: True)
    assert may_put_channels_last(graph, forced(graph), 4) is may
    assert not may_put_channels_last(graph, forced(graph), 2)  # bfloat16
    assert not may_put_channels_last(graph, forced(graph)[1:], 4)  # one layer not by oneDNN
    monkeypatch.setattr(backends, "_same_bits", lambda *form: False)
    assert not may_put_channels_last(graph, forced(graph), 4)


def test_the_measurement_notices_another_order_of_sums(monkeypatch):
    """A stand-in for oneDNN that adds up half the channels first where they lie last."""
    real = torch.mkldnn_convolution

    def other_order(x, weight, bias, *rest):
        if x.is_contiguous() or x.shape[1] == 1:
            return real(x, weight, bias, *rest)
        half = x.shape[1] // 2
        parts = (slice(half), slice(half, None))
        return sum(real(x[:, p].clone(), weight[:, p].clone(), bias, *rest) for p in parts)

    monkeypatch.setattr(torch, "mkldnn_convolution", other_order)
    assert not backends._same_bits.__wrapped__(16, 16, (3, 3), (0, 0), (1, 1))


@pytest.mark.parametrize("outputs", [2, 3, 4, 16])
def test_a_matrix_product_that_goes_by_the_shape_is_found(outputs):
    """Other noise and other parts than the measurement takes: what differs here, it must say."""
    draw = torch.Generator().manual_seed(outputs)
    weight = torch.randn(outputs, 8, 1, 1, generator=draw)
    x = torch.randn(1, 8, 1, 24_150, generator=draw)
    whole = torch.conv2d(x, weight)
    same = all(
        torch.equal(torch.conv2d(x[..., a:b].contiguous(), weight), whole[..., a:b])
        for a, b in [(first, first + n) for first in (0, 7, 5000) for n in range(990, 1024)]
    )
    assert same or not backends._alike_in_parts(8, outputs)


def measured_alike(network, image, rows):
    """Whether this processor's oneDNN was measured to sum parts as it sums the whole.

    Beside the tool's own measurement, which takes images of a few sizes: strips of this image.
    """
    for layer in network:
        if isinstance(layer, (C, C3)):
            if not backends._sums_agree(layer, image.shape):
                return False
            up, *beside = layer.padding
            high = nn.functional.pad(image, (0, 0) * len(beside) + (up, up))
            reach = layer.dilation[0] * (layer.kernel_size[0] - 1)
            with torch.no_grad():
                image = layer(image)
                for first in range(0, image.shape[2], rows):
                    part = high[:, :, first : first + rows + reach].contiguous()
                    strip = backends.convolve(layer, part, (0, *beside), True)
                    if not torch.equal(strip, image[:, :, first : first + rows]):
                        return False
    return True


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 16), st.integers(1, 16), st.integers(1, 12), st.integers(0, 60), st.booleans(),
    st.integers(2, 3),
)  # fmt: skip
def test_volumes_of_few_channels_keep_every_bit(inputs, width, planes, beyond, padded, kernel):
    """Strips of any number of planes, of volumes whose last axis has any remainder."""
    pad = int(padded and kernel == 3)
    network = nn.Sequential(
        C3(inputs, width, kernel, padding=pad), nn.ReLU(),
        C3(width, width, kernel, padding=pad), C3(width, 2, kernel),
    )  # fmt: skip
    draw = torch.Generator().manual_seed(beyond)
    image = torch.randn(1, inputs, 14, 21, 20 + beyond, generator=draw)
    graph = trace(network)
    strips = Strips(graph, forced(graph), 3, 4)
    strips.rows = lambda window: planes
    with torch.no_grad():
        found, expected = strips.run(image), Interpreter(graph, forced(graph)).run(image)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(found, expected) or not measured_alike(network, image, planes)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 16), st.integers(1, 16), st.tuples(st.integers(2, 7), st.integers(2, 7)),
    st.integers(1, 2), st.integers(1, 30), st.integers(1, 400), st.booleans(),
)  # fmt: skip
def test_any_few_channels_keep_every_bit(inputs, width, kernel, dilation, rows, beyond, padded):
    """Kernels of all forms; strips of any height; images from one output pixel's width on."""
    pad = tuple(dilation * (k - 1) // 2 for k in kernel) if padded else 0
    network = nn.Sequential(
        C(inputs, width, kernel, padding=pad, dilation=dilation), nn.ReLU(),
        C(width, width, kernel, padding=pad, dilation=dilation), C(width, 2, kernel),
    )  # fmt: skip
    height, across = (3 * dilation * (k - 1) + n for k, n in zip(kernel, (40, beyond), strict=True))
    draw = torch.Generator().manual_seed(rows)
    image = torch.randn(1, inputs, height, across, generator=draw)
    graph = trace(network)
    strips = Strips(graph, forced(graph), 2, 4)
    strips.rows = lambda window: rows
    with torch.no_grad():
        found, expected = strips.run(image), Interpreter(graph, forced(graph)).run(image)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(found, expected) or not measured_alike(network, image, rows)


def test_strips_hold_them_so(monkeypatch):
    """Also the first layer's output, whose input of one channel lies both ways at once."""
    monkeypatch.setattr(backends, "_same_bits", lambda *form: True)
    graph, seen = trace(ValidResidual(16, 1)), []
    real = torch.mkldnn_convolution

    def spy(x, weight, *rest):
        result = real(x, weight, *rest)
        seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return result

    monkeypatch.setattr(torch, "mkldnn_convolution", spy)
    strips = Strips(graph, forced(graph), 2, 4)
    strips.rows = lambda window: 16
    strips.run(torch.randn(1, 1, 90, 64))
    assert len(seen) > 8 and all(seen)
