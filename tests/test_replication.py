"""The replication's deviations: what each does, and how losses are shared out among them."""

from dataclasses import asdict, replace

import matplotlib.pyplot as plt
import pytest
import torch

from recon.data.measurement import Measurement
from recon.learning.centre import ReplicationLoss, restore
from recon.learning.losses import ReconstructionLoss
from recon.learning.training import Schedule, training_folder
from recon.networks import replication
from recon.networks.channels import parameter_count
from recon.networks.pcrnn import PCRNN
from recon.networks.replication import Deviations, Replication
from recon.physics.coils import rss
from recon.physics.fourier import fft2, ifft2, to_centred
from recon.results import attribution, claims
from test_networks import scan, smooth

WIDTHS = (16, 16, 16)
ALONE = {
    "consistency_lost": True,
    "relu_at_end": True,
    "normalised_apart": True,
    "columns": 24,
    "listed_resblock": True,
}
ALL = Deviations(True, True, True, True, 24, True)


def build(deviations=None, coils=1, **options):
    torch.manual_seed(0)
    return Replication(coils, WIDTHS, deviations, iterations=2, **options)


def kept(image, kspace, mask):
    """Largest change of a measured sample."""
    return float(((fft2(image) - kspace) * mask).abs().max().detach())


@pytest.mark.parametrize("size", [(32, 32), (33, 37)])
def test_without_deviations_it_is_pcrnn_bit_for_bit(size):
    kspace, mask = scan(2, *size)
    torch.manual_seed(0)
    expected = PCRNN(2, WIDTHS, iterations=2)(kspace, mask)
    assert torch.equal(build(coils=2)(kspace, mask), expected)


@pytest.mark.parametrize("size", [(32, 32), (20, 37)])
@pytest.mark.parametrize(
    ("given", "keeps"),
    [
        ({}, True),
        ({"relu_at_end": True}, True),
        ({"listed_resblock": True}, True),
        ({"normalised_apart": True}, True),
        ({"consistency_lost": True}, False),
        ({"columns": 24}, False),
        ({"normalised_apart": True, "consistency_lost": True}, False),
    ],
)
def test_measured_samples_survive_unless_consistency_or_columns_are_lost(given, keeps, size):
    kspace, mask = scan(1, *size)
    image = build(Deviations(**given), start="random")(kspace, mask)
    assert image.shape == kspace.shape
    assert (kept(image, kspace, mask) < 1e-3) == keeps


@pytest.mark.parametrize("field", ALONE)
def test_each_deviation_changes_the_network(field):
    kspace, mask = scan(1, 32, 32)
    deviant = build(Deviations(**{field: ALONE[field]}))(kspace, mask)
    assert not torch.allclose(deviant, build()(kspace, mask), atol=1e-3)


def test_relu_leaves_modules_without_negative_parts():
    kspace, mask = scan(1, 32, 32)
    net = build(Deviations(relu_at_end=True, consistency_lost=True))
    image = net.turns(net.pyramid.modules_by_scale[0], ifft2(kspace), kspace, mask)
    assert image.real.min() >= 0 and image.imag.min() >= 0 and image.abs().max() > 0


def test_the_crop_is_the_reports_and_draws_nothing_outside():
    assert [replication.narrowed(n) for n in (320, 128, 160)] == [240, 96, 120]
    assert all((n - replication.narrowed(n)) % 2 == 0 for n in range(8, 400))
    kspace, mask = scan(1, 16, 32)
    image = build(Deviations(columns=24))(kspace, mask)
    assert not image[..., :4].any() and not image[..., -4:].any()
    assert image[..., 4:-4].abs().min() > 0
    assert torch.equal(replication.widen(replication.cut(image, 24), 32), image)


def test_normalised_apart_is_undone_exactly():
    kspace, _ = scan(3, 20, 17, batch=2)
    kspace = kspace * torch.tensor([1.0, 7.0]).reshape(2, 1, 1, 1)
    normal, known, units = replication.part(ifft2(kspace), kspace)
    for values in (normal, to_centred(known)):
        parts = torch.view_as_real(values).flatten(1)
        torch.testing.assert_close(parts.mean(1), torch.zeros(2), atol=1e-4, rtol=0)
        torch.testing.assert_close(parts.std(1), torch.ones(2), atol=1e-4, rtol=0)
    for image, in_kspace in ((normal, False), (ifft2(known), True)):
        back = replication.rejoin(image, units, in_kspace)
        torch.testing.assert_close(back, ifft2(kspace), atol=1e-4, rtol=1e-4)


def test_scales_agree_by_parseval_until_something_is_cropped():
    _, mask = scan(1, 32, 40)
    kspace = fft2(smooth(1, 32, 40)) * mask
    _, _, whole = replication.part(ifft2(kspace), kspace)
    ratio = float(whole.image_deviation / whole.kspace_deviation)
    _, _, cut = replication.part(replication.cut(ifft2(kspace), 10), kspace)
    assert 0.75 < ratio < 1.05  # the image's mean is one sample of k-space
    inside = smooth(1, 32, 40)
    inside[..., :15] = inside[..., 25:] = 0
    _, _, cut = replication.part(replication.cut(inside, 10), fft2(inside))
    assert float(cut.image_deviation / cut.kspace_deviation) > 1.2


def test_listing_3_is_smaller_than_figure_6_as_the_book_reads_it():
    assert parameter_count(Replication()) == 12_017_096
    listed = parameter_count(Replication(deviations=Deviations(listed_resblock=True)))
    # Two 3 x 3 convolutions fewer in each module, and two numbers a feature map of the norm.
    less = sum(2 * (9 * n * n + n) - 2 * n for n in replication.WIDTHS)
    assert listed == 12_017_096 - less


def test_gradients_reach_every_parameter_of_the_whole_replication():
    kspace, mask = scan(1, 32, 32)
    net = build(ALL, start="random")
    net(kspace, mask).abs().square().sum().backward()
    missing = [n for n, w in net.named_parameters() if w.grad is None]
    assert not missing


def measured(coils=1, size=(16, 32)):
    kspace, mask = scan(coils, *size)
    image = ifft2(kspace)
    target = rss(smooth(coils, *size))
    return image, Measurement(kspace, mask, target, torch.ones(1), ["one"])


def test_the_loss_is_the_papers_unless_the_target_differs():
    image, item = measured()
    same = ReplicationLoss(Deviations(consistency_lost=True))(image, item)
    assert torch.equal(same, ReconstructionLoss()(image, item))
    cropped = ReplicationLoss(Deviations(columns=24))
    outside = image.clone()
    outside[..., :4] += 9
    assert torch.equal(cropped(outside, item), cropped(image, item))
    assert not torch.equal(cropped(image, item), same)


def test_a_magnitude_cannot_reach_a_zero_mean_target():
    """The best is the positive part, and it is a minimum of the loss's error that is not zero."""
    _, item = measured()
    deviations = Deviations(zero_mean_target=True)
    mean, deviation = replication.target_units(item.target)
    goal = (item.target - mean) / deviation
    assert goal.min() < -0.5
    best = goal.clamp_min(0).unsqueeze(1).to(torch.complex64)
    loss = ReplicationLoss(deviations, beta=0)
    floor = float(loss(best, item))
    assert floor > 0.05
    for other in (best * 0.9, best * 1.1, best + 0.1):
        assert float(loss(other, item)) > floor
    assert restore(best, item.target, Deviations()) is best


def test_a_restored_image_has_the_best_factor_and_offset():
    """The target in other units comes back as it is, and nothing near the best fit is better."""
    image, item = measured()
    deviations = Deviations(zero_mean_target=True, columns=24)
    other_units = (3 * item.target + 1).unsqueeze(1).to(torch.complex64)
    restored = restore(other_units, item.target, deviations)
    torch.testing.assert_close(rss(restored), item.target, rtol=1e-3, atol=1e-3)
    goal = replication.cut(item.target, 24)
    seen = replication.cut(rss(restore(image, item.target, deviations)), 24)
    error = (seen - goal).square().mean()
    for factor, offset in ((1.05, 0), (0.95, 0), (1, 0.05), (1, -0.05)):
        assert (factor * seen + offset - goal).square().mean() > error


def test_undoing_listing_1_puts_the_dark_at_the_mean():
    """Its own best image, told mean and deviation, is the target where that exceeds its mean."""
    _, item = measured()
    mean, deviation = replication.target_units(item.target)
    best = ((item.target - mean) / deviation).clamp_min(0).unsqueeze(1).to(torch.complex64)
    deviations = Deviations(zero_mean_target=True)
    told = rss(restore(best, item.target, deviations, fitted=False))
    torch.testing.assert_close(told, torch.maximum(item.target, mean), rtol=1e-4, atol=1e-4)


def test_no_two_trainings_share_a_folder():
    settings = {"accel": 4, "device": "cpu"}
    fields = asdict(ALL)
    variants = [Deviations(), *(Deviations(**{key: fields[key]}) for key in fields), ALL]
    variants.append(replace(ALL, consistency_lost=False))
    folders = {training_folder(build(d), settings, Schedule(), []) for d in variants}
    assert len(folders) == len(variants) == 9


def test_holm_by_hand():
    assert attribution.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert attribution.holm([0.9, 0.8]) == [1.0, 1.0]


def difference(other, value, p=0.001, spread=0.1, method="faithful", metric="psnr"):
    return {
        "method": method,
        "against": other,
        "metric": metric,
        "contrast": "all",
        "accel": 4,
        "n": 10,
        "value": value,
        "ci95": [value - spread, value + spread],
        "p_value": p,
    }


def test_findings_need_interval_test_and_more_than_the_twin():
    rows = [
        difference("twin", -0.2),
        difference("costly", 1.0),
        difference("helpful", -0.9),
        difference("wide", 1.0, spread=2.0),
        difference("chance", 1.0, p=0.02),
        difference("small", 0.2),
    ]
    suspects = ["costly", "helpful", "wide", "chance", "small"]
    found = attribution.findings(rows, "faithful", suspects, "twin")
    assert found == {
        "costly": attribution.COSTS,
        "helpful": attribution.HELPS,
        "wide": attribution.OPEN,
        "chance": attribution.COSTS,
        "small": attribution.OPEN,
    }
    rows[4]["p_value"] = 0.06
    assert attribution.findings(rows, "faithful", suspects, "twin")["chance"] == attribution.OPEN
    rows += [difference("all", 2.5), difference("all", -0.4, method="mended")]
    names = {name: name.upper() for name in [*suspects, "twin", "all", "mended", "faithful"]}
    said = attribution.summary(rows, "faithful", suspects, "twin", "all", "mended", names)
    assert "COSTLY (+1.00 dB)" in said and "HELPFUL (-0.90 dB)" in said
    assert "lose 1.00 dB; everything together loses 2.50 dB" in said
    assert "loses 0.40 dB" in said


def test_tables_show_every_line_they_are_asked_for():
    others = ["twin", "all", "mended", "all_2", "mended_2"]
    values = {name: i / 2 for i, name in enumerate(["a", "b", *others])}
    rows = [difference(n, v, metric=m) for n, v in values.items() for m in ("psnr", "ssim")]
    rows += [difference("all", 1.5, method="mended"), difference("all_2", -2.5, method="mended_2")]
    names = {name: name.upper() for name in [*values, "faithful"]}
    shown = attribution.attribution(rows, "faithful", ["a", "b"], "twin", ["all"], names)
    order = [shown.index(f">{name}<") for name in ("B", "A", "TWIN", "ALL")]
    assert order == sorted(order) and "MENDED" not in shown
    ways = {"all": "all_2", "mended": "mended_2"}
    both = attribution.two_ways(rows, "faithful", ways, "all", "mended", names)
    assert "+1.5" in both and "-2.5" in both and "+2.5" in both
    figure = attribution.forest(rows, "faithful", ["a", "b"], "twin", "all", names)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["ALL", "A", "B"]
    plt.close(figure)


def test_the_published_shortfall_follows_from_the_published_table():
    paper = claims.load("devoto-2020")
    columns = paper.tables["1"].columns
    values = {method: row for _, _, method, row in paper.tables["1"].rows}
    gaps = {
        accel: values["faithful"][i] - values["replication"][i]
        for i, (_, accel) in enumerate(columns)
    }
    claim = next(claim for claim in paper.claims if claim.id == "1-shortfall")
    assert {part.accel: part.value for part in claim.parts} == pytest.approx(gaps)
