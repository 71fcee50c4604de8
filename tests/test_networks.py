"""What the networks promise: counts, consistency, sizes, gradients."""

import pytest
import torch

from laws import random_complex
from recon.networks.channels import parameter_count, to_channels, to_complex
from recon.networks.pcrnn import PCRNN, ConvRNN, pcrnn_b, pcrnn_s
from recon.networks.unet import UNet
from recon.physics.fourier import fft2

SMALL = {"widths": (16, 16, 16), "iterations": 2}


def scan(coils, height, width, batch=1, seed=0):
    """Masked corner k-space and its mask."""
    mask = torch.rand(batch, 1, 1, width, generator=torch.Generator().manual_seed(seed)) > 0.6
    mask[..., 0] = True
    return random_complex(batch, coils, height, width, seed=seed) * mask, mask


def test_count_equals_the_replications_table_exactly():
    """Figure 6 of Devoto 2020, with two convolutions in a ResConv, has 12,017,096 parameters."""
    assert parameter_count(PCRNN(1, (384, 192, 96))) == 12_017_096


@pytest.mark.parametrize(
    ("network", "published", "tolerance"),
    [
        (pcrnn_s(15), 1.6e6, 0.05),
        (pcrnn_b(15), 23e6, 0.05),
        (UNet(1), 1.1e6, 0.03),
        (UNet(15), 1.1e6, 0.03),
    ],
)
def test_counts_are_the_papers(network, published, tolerance):
    """Section IV-B, at fastMRI's 15 knee coils; the paper leaves the final CNN's width open."""
    assert abs(parameter_count(network) / published - 1) < tolerance


def test_channels_are_a_bijection():
    image = random_complex(2, 3, 8, 9)
    assert to_channels(image).shape == (2, 6, 8, 9)
    assert torch.equal(to_complex(to_channels(image)), image)


@pytest.mark.parametrize("coils", [1, 4, 5])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (40, 35)])
def test_pcrnn_keeps_every_measured_sample_at_any_size(coils, size):
    kspace, mask = scan(coils, *size)
    for output in PCRNN(coils, **SMALL).stages(kspace, mask):
        assert output.shape == kspace.shape
        kept = mask.expand_as(kspace)
        torch.testing.assert_close(fft2(output)[kept], kspace[kept], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (48, 35)])
def test_unet_takes_any_size(size):
    kspace, mask = scan(2, *size)
    assert UNet(2, chans=4)(kspace, mask).shape == kspace.shape


@pytest.mark.parametrize(
    "network",
    [
        PCRNN(2, **SMALL),
        PCRNN(2, **SMALL, connection="parallel"),
        PCRNN(2, **SMALL, scales=(1, 2, 4)),
        PCRNN(2, (16,), (4,), iterations=2),
        UNet(2, chans=4),
    ],
)
def test_gradients_reach_every_parameter(network):
    kspace, mask = scan(2, 36, 36)
    network(kspace, mask).abs().square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name


def test_connection_and_recurrence_change_what_a_network_computes():
    kspace, mask = scan(1, 32, 32)
    outputs = []
    for options in ({}, {"connection": "parallel"}, {"recurrent": False}):
        torch.manual_seed(0)
        outputs.append(PCRNN(1, **SMALL, **options)(kspace, mask))
    assert not torch.allclose(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])


def test_equation_12_turn_by_turn():
    """x(k+1) = sigma(g_dec(g_res(h(k)) + g_enc(x(k)))), h(0) = 0, written out for two turns."""
    torch.manual_seed(1)
    module = ConvRNN(2, 16, 2, iterations=2)
    kspace, mask = scan(1, 32, 32)
    x = random_complex(1, 1, 32, 32, seed=9)
    zero = torch.zeros(1, 16, 16, 16)
    h1 = module.resblock(zero) + module.encoder(to_channels(x))
    x1 = torch.fft.ifft2(
        torch.where(mask, kspace, fft2(to_complex(module.decoder(h1)))), norm="ortho"
    )
    h2 = module.resblock(h1) + module.encoder(to_channels(x1))
    x2 = torch.fft.ifft2(
        torch.where(mask, kspace, fft2(to_complex(module.decoder(h2)))), norm="ortho"
    )
    torch.testing.assert_close(module(x, kspace, mask), x2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"widths": (16, 16)}, "same length"),
        ({"connection": "both"}, "sequential or parallel"),
        ({"iterations": 0}, "at least once"),
        ({"scales": (8, 2, 1), "widths": (16, 16, 16)}, "scale 4, 2 or 1"),
    ],
)
def test_impossible_networks_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        PCRNN(1, **options)
