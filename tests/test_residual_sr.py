"""The valid and the padded residual network: counts, sizes, and what they have in common."""

import pytest
import torch

from recon.networks.channels import parameter_count
from recon.networks.residual_sr import PaddedResidual, ValidResidual


def test_counts_at_the_published_depth():
    """16 and 66 convolutions; 64 feature maps."""
    assert parameter_count(ValidResidual()) == 518_209
    assert parameter_count(PaddedResidual()) == 2_364_609


@pytest.mark.parametrize("blocks", [0, 1, 7])
def test_valid_convolutions_shrink_by_the_margin(blocks):
    network = ValidResidual(4, blocks)
    assert network.margin == 2 + 2 * blocks
    size = 2 * network.margin
    assert network(torch.zeros(2, 1, size + 1, size + 6)).shape == (2, 1, 1, 6)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 1, size, size))


@pytest.mark.parametrize("add_input", [False, True])
def test_both_agree_where_no_padding_reaches(add_input):
    """The same weights, away from the edge: padding is all that tells the two apart."""
    torch.manual_seed(0)
    valid = ValidResidual(6, 2, add_input=add_input).double()
    padded = PaddedResidual(6, 2, add_input=add_input).double()
    padded.load_state_dict(valid.state_dict())
    image = torch.randn(2, 1, 21, 26, dtype=torch.float64)
    inner = padded(image)
    assert inner.shape == image.shape
    m = valid.margin
    torch.testing.assert_close(valid(image), inner[..., m:-m, m:-m])
    assert not torch.allclose(valid(image), inner[..., m - 1 : -m - 1, m - 1 : -m - 1])


def test_the_receptive_fields_are_the_papers():
    """33 and 133 pixels, from the gradient of one output pixel under positive weights."""
    for network, size, field in ((ValidResidual(2), 33, 33), (PaddedResidual(2), 141, 133)):
        for parameter in network.parameters():
            torch.nn.init.constant_(parameter, 0.1)
        image = torch.ones(1, 1, size, size, requires_grad=True)
        output = network(image)
        output[0, 0, output.shape[2] // 2, output.shape[3] // 2].backward()
        for axis in (2, 3):
            touched = (image.grad != 0).any(dim=5 - axis).squeeze()
            assert touched.sum() == field


def test_variants_differ_in_print():
    """Checkpoints are named by it."""
    prints = {str(ValidResidual(4, 2, add_input=add)) for add in (False, True)}
    prints |= {str(PaddedResidual(4, 2)), str(ValidResidual(4, 3)), str(ValidResidual(6, 2))}
    assert len(prints) == 5


def test_input_is_added_only_where_it_fits():
    with pytest.raises(ValueError, match="as many outputs"):
        ValidResidual(4, 1, inputs=2, outputs=1, add_input=True)
