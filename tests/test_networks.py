"""What the networks promise: counts, consistency, sizes, gradients."""

import pytest
import torch

from laws import random_complex
from recon.networks.channels import parameter_count, to_channels, to_complex
from recon.networks.complexmri import ComplexConv, ComplexMRI
from recon.networks.deep_cascade import DeepCascade
from recon.networks.identity import start_near_identity
from recon.networks.kikinet import KIKINet
from recon.networks.pcrnn import PCRNN, ConvRNN, pcrnn_b, pcrnn_s
from recon.networks.unet import UNet
from recon.networks.variational import GaussianMixture, VariationalNetwork
from recon.networks.vsnet import VSNet
from recon.physics.encoding import encode
from recon.physics.fourier import fft2, ifft2

SMALL = {"widths": (16, 16, 16), "iterations": 2}


def scan(coils, height, width, batch=1, seed=0):
    """Masked corner k-space and its mask."""
    mask = torch.rand(batch, 1, 1, width, generator=torch.Generator().manual_seed(seed)) > 0.6
    mask[..., 0] = True
    return random_complex(batch, coils, height, width, seed=seed) * mask, mask


def test_count_is_that_of_the_replications_table_as_the_book_reads_it():
    """Figure 6 of Devoto 2020 by hand: two convolutions in a ResConv, 6 maps *into* the last CNN.

    The report prints no count. By the letter, the 6 maps are the output of the CNN's first layer.
    """

    def conv(inputs, outputs, side):
        return outputs * (inputs * side**2 + 1)

    modules = sum(
        conv(2, n, 3) + 5 * conv(n, n, 3) + conv(n, n, 4) + conv(n, 2, 4) for n in (384, 192, 96)
    )
    count = parameter_count(PCRNN(1, (384, 192, 96)))
    assert count == modules + conv(6, 96, 3) + 2 * conv(96, 96, 3) + conv(96, 2, 3)
    assert count == 12_017_096
    by_the_letter = modules + conv(6, 6, 3) + conv(6, 96, 3) + conv(96, 96, 3) + conv(96, 2, 3)
    assert by_the_letter == 11_934_386


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


def smooth(coils, height, width):
    """Complex coil images without sharp detail."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    phases = [torch.complex(torch.cos(2 * x + c), torch.sin(y - c) - 0.5) for c in range(coils)]
    return torch.stack(phases)[None]


@pytest.mark.parametrize(("scale", "tolerance"), [(1, 1e-5), (2, 2e-3), (4, 2e-2)])
def test_a_module_starts_by_passing_the_image_on(scale, tolerance):
    """Exactly at full resolution; elsewhere as far as half or a quarter of it allows."""
    network = PCRNN(2, widths=(16,), scales=(scale,), iterations=1, start="random")
    start_near_identity(network, gain=1)
    image = smooth(2, 32, 40)
    output, hidden = network.modules_by_scale[0].step(image, None)
    inside = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(output[inside], image[inside], rtol=0, atol=tolerance)
    again, _ = network.modules_by_scale[0].step(0 * image, hidden)
    torch.testing.assert_close(again[inside], image[inside], rtol=0, atol=tolerance)


def test_the_network_starts_from_its_last_module():
    kspace, mask = scan(2, 32, 32)
    network = PCRNN(2, **SMALL)
    *_, last, final = network.stages(kspace, mask)
    torch.testing.assert_close(final, last, rtol=1e-4, atol=1e-4)


def test_a_module_too_narrow_for_its_coils_starts_at_random():
    torch.manual_seed(0)
    narrow = PCRNN(9, widths=(16, 16, 16), start="identity")
    torch.manual_seed(0)
    random = PCRNN(9, widths=(16, 16, 16), start="random")
    for one, other in zip(narrow.parameters(), random.parameters(), strict=True):
        assert torch.equal(one, other)


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
    # Several steps, because a start near the identity hides some weights behind zeros.
    for _ in range(4):
        torch.optim.SGD(network.parameters(), lr=1e-5).step()
        network.zero_grad()
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


OTHERS = {
    "d5c5": DeepCascade,
    "kikinet": KIKINet,
    "complexmri": ComplexMRI,
}


@pytest.mark.parametrize(
    ("network", "published", "tolerance"),
    [
        (DeepCascade(1), 1.3e6, 0.03),
        (DeepCascade(1, width=64), 0.566e6, 0.001),
        (KIKINet(1), 1.2e6, 0.03),
        (KIKINet(15), 1.2e6, 0.03),
        (ComplexMRI(15, width=50), 1.6e6, 0.03),
        (VSNet(), 1.6e6, 0.03),
        (VSNet(64), 565_780, 0),
        (VariationalNetwork(480), 1.3e6, 0.03),
        (VariationalNetwork(), 131_050, 0),
    ],
)
def test_rivals_have_the_papers_size(network, published, tolerance):
    """Section IV-B of Chen 2022, and the sizes that the originals publish."""
    assert abs(parameter_count(network) / published - 1) <= tolerance


@pytest.mark.parametrize("build", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("size", [(16, 16), (17, 23)])
def test_rivals_keep_every_measured_sample_at_any_size(build, size):
    kspace, mask = scan(3, *size)
    output = build(3, width=16)(kspace, mask)
    kept = mask.expand_as(kspace)
    torch.testing.assert_close(fft2(output)[kept], kspace[kept], rtol=1e-4, atol=1e-4)


def cascades(network):
    """The parts that must not share weights."""
    if isinstance(network, KIKINet):
        return [*network.kspace_nets, *network.image_nets]
    return [*(network.steps if isinstance(network, VariationalNetwork) else network.blocks)]


@pytest.mark.parametrize(
    "network",
    [DeepCascade(1, 16), KIKINet(1, 16), ComplexMRI(1, 16), VSNet(16), VariationalNetwork(4)],
    ids=lambda network: type(network).__name__,
)
def test_cascades_share_no_weights(network):
    """Two popular re-implementations share one set over all cascades: counts and storage tell."""
    parts = cascades(network)
    assert len(parts) == {"KIKINet": 4, "ComplexMRI": 10, "VariationalNetwork": 10}.get(
        type(network).__name__, 5
    )
    places = {p.data_ptr() for part in parts for p in part.parameters()}
    assert len(places) == sum(len(list(part.parameters())) for part in parts)


@pytest.mark.parametrize("network", [VSNet(16), VariationalNetwork(4)], ids=["vsnet", "vn"])
def test_networks_with_maps_learn_one_image(network):
    """Every parameter gets a gradient; a fully sampled, exact measurement is nearly kept."""
    kspace, mask = scan(3, 24, 20)
    maps = random_complex(1, 3, 24, 20, seed=1)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    output = network(kspace, mask, maps)
    assert output.shape == (1, 1, 24, 20)
    output.abs().square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())
    image = random_complex(1, 24, 20, seed=2)
    full = torch.ones_like(mask)
    kept = network(encode(image, maps, full), full, maps)[:, 0]
    assert (kept - image).norm() < 0.5 * image.norm()


def test_complex_convolution_is_torchs_own():
    conv = ComplexConv(3, 5)
    image = random_complex(2, 3, 9, 8)
    weight = torch.complex(conv.real, conv.imag)
    expected = torch.nn.functional.conv2d(image, weight, padding=1)
    torch.testing.assert_close(to_complex(conv(to_channels(image))), expected)


def test_gaussian_mixture_has_its_gradient():
    """The written-out derivative against finite differences, in double precision."""
    responses = torch.linspace(-1.2, 1.2, 24, dtype=torch.float64).reshape(1, 2, 3, 4)
    weights = torch.sin(torch.arange(22, dtype=torch.float64)).reshape(2, 11)
    centres = torch.linspace(-1, 1, 11, dtype=torch.float64)
    responses.requires_grad_()
    weights.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, w: GaussianMixture.apply(x, w, centres), (responses, weights)
    )


def test_the_k_network_sees_neighbours_of_centred_kspace():
    """A K-network that passes its input on makes KIKI-Net start from the zero-filled image."""
    net = KIKINet(1, width=16, depth=2)
    with torch.no_grad():
        for part in [*net.kspace_nets, *net.image_nets]:
            for parameter in part.parameters():
                parameter.zero_()
        for part in net.kspace_nets:
            for sign, row in ((1, 0), (-1, 2)):
                for channel in range(2):
                    part[0].weight[row + channel, channel, 1, 1] = sign
                    part[-1].weight[channel, row + channel] = sign / 1.1
    kspace, mask = scan(1, 12, 10)
    torch.testing.assert_close(net(kspace, mask), ifft2(kspace), rtol=1e-4, atol=1e-4)
