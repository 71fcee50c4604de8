"""HDcycleGAN: counts of tables A.1 and A.2, equations 1 to 4, the pool, and the training."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from recon.errors import InputError
from recon.learning import checkpoints, translation
from recon.learning.adversarial import Pool, TranslationSchedule, copying, losses
from recon.networks.channels import parameter_count
from recon.networks.cyclegan import (
    DOMAINS,
    Discriminator,
    Generator,
    HDCycleGAN,
    InstanceNorm,
)

TINY = {"width": 4, "depth": 2, "blocks": 1, "discriminator_depth": 3}
SCHEDULE = TranslationSchedule(steps=5, batch=2, rate=1e-3, crop=16, pool=3)


def conv(inside: int, outside: int, kernel: int = 3) -> int:
    """Weights and biases of a convolution."""
    return kernel**2 * inside * outside + outside


def images(count: int, seed: int, shape=(20, 24)) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random(shape, dtype=np.float32) for _ in range(count)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return HDCycleGAN(**TINY)


def batch() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(3)
    return {
        d: translation.draw_crops(images(3, k), 2, (16, 16), rng) for k, d in enumerate(DOMAINS)
    }


def pools() -> dict[str, Pool]:
    return {domain: Pool(3, (16, 16)) for domain in DOMAINS}


def test_the_generator_has_the_parameters_of_table_a1():
    """Convolutions, a scale and an offset a channel outside the residual blocks, skips doubling."""
    ways = [(1, 16, 7), (16, 32), (32, 64), (64, 128), (256, 64), (128, 32), (64, 16)]
    count = sum(conv(*way) + 2 * way[1] for way in ways) + 6 * 3 * conv(128, 128) + conv(32, 1)
    assert count == parameter_count(Generator()) == 2_948_945


def test_the_discriminator_has_the_parameters_of_table_a2_and_of_the_code():
    down = [16 * 2**level for level in range(7)]
    ways = list(pairwise([1, *down]))
    plain = sum(conv(*way) for way in ways) + 1024 * 3 + 3
    after = plain + sum(2 * conv(outside, outside) for _, outside in ways)
    before = plain + sum(2 * conv(inside, inside) for inside, _ in ways)
    assert after == parameter_count(Discriminator()) == 31_463_523
    assert before == parameter_count(Discriminator(block="before")) == 12_587_127
    assert plain == parameter_count(Discriminator(block=None))


def test_changes_of_the_cyclegan_are_switches_that_the_name_of_a_training_sees():
    changes = [
        {},
        {"shared": False},
        {"skips": False},
        {"resize": False},
        {"discriminator_block": None},
        {"discriminator_block": "before"},
    ]
    networks = [HDCycleGAN(**TINY, **change) for change in changes]
    assert len({str(network) for network in networks}) == len(changes)
    for network in networks:
        assert network(torch.rand(1, 1, 24, 16)).shape == (1, 1, 24, 16)
    assert any(isinstance(m, torch.nn.ConvTranspose2d) for m in networks[3].modules())
    assert not any(isinstance(m, torch.nn.Upsample) for m in networks[3].modules())


def test_normalisation_is_that_of_every_channel_of_every_image():
    features = torch.randn(2, 3, 5, 7)
    torch.testing.assert_close(
        InstanceNorm(3)(features), torch.nn.functional.instance_norm(features)
    )


@pytest.mark.parametrize("shape", [(17, 16), (16, 18), (4, 16)])
def test_a_generator_refuses_sides_that_do_not_fit(model, shape):
    with pytest.raises(InputError, match="multiples of 4"):
        model.to_low(torch.rand(1, 1, *shape))


def test_a_discriminator_refuses_to_end_in_one_pixel(model):
    with pytest.raises(InputError, match="crops of 9"):
        model.discriminator(torch.rand(1, 1, 8, 16))
    assert model.discriminator(torch.rand(1, 1, 9, 16)).shape == (1, 3)
    with pytest.raises(InputError, match="block"):
        Discriminator(block="between")


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("optimiser", ["joint", "split"])
def test_gradients_reach_every_parameter(shared, optimiser):
    """But biases before a normalisation, which takes them out again."""
    torch.manual_seed(0)
    model = HDCycleGAN(**TINY, shared=shared).double()
    real = {name: value.double() for name, value in batch().items()}
    held = {domain: pool.double() for domain, pool in pools().items()}
    schedule = replace(SCHEDULE, optimiser=optimiser)
    losses(model, real, held, schedule, np.random.default_rng(0))[0].backward()
    idle = set()
    modules = dict(model.named_modules())
    for before, after in pairwise(modules):
        if isinstance(modules[after], InstanceNorm):
            idle.add(f"{before}.bias")
    for name, weight in model.named_parameters():
        size = weight.grad.abs().max()
        assert (size < 1e-12) == (name in idle), (name, size)


@pytest.mark.parametrize("shared", [True, False])
def test_the_loss_is_equations_1_to_4(shared):
    torch.manual_seed(0)
    model = HDCycleGAN(**TINY, shared=shared)
    real, held = batch(), pools()
    value, parts = losses(model, real, held, SCHEDULE, np.random.default_rng(0))
    made = {"high": model.to_high(real["low"]), "low": model.to_low(real["high"])}
    back = {"high": model.to_high(made["low"]), "low": model.to_low(made["high"])}
    rng = np.random.default_rng(0)
    fooled = caught = cycle = 0
    for domain in DOMAINS:
        judge = model.discriminator if shared else getattr(model, f"discriminator_{domain}")
        kind = {"high": 1, "low": 2}[domain] if shared else 1
        chances = judge(made[domain]).softmax(1)
        fooled -= chances[:, kind].log().mean()
        old = made[domain][rng.integers(2, size=2)]  # the pool holds this batch and no more
        caught -= judge(old).softmax(1)[:, 0].log().mean()
        caught -= judge(real[domain]).softmax(1)[:, kind].log().mean()
        cycle += (real[domain] - back[domain]).abs().mean()
    ours = torch.tensor([parts[name] for name in ("generator", "discriminator", "cycle")])
    torch.testing.assert_close(ours, torch.stack([fooled, caught, cycle]).detach())
    torch.testing.assert_close(value, fooled + caught + 10 * cycle)


def gradients(model, schedule) -> dict[str, torch.Tensor]:
    model.zero_grad()
    losses(model, batch(), pools(), schedule, np.random.default_rng(0))[0].backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def test_split_keeps_the_generators_loss_from_the_discriminator(model):
    joint = gradients(model, SCHEDULE)
    split = gradients(model, replace(SCHEDULE, optimiser="split"))
    real = batch()
    made = {"high": model.to_high(real["low"]), "low": model.to_low(real["high"])}
    model.zero_grad()
    for kind, domain in enumerate(DOMAINS, 1):
        fooled = -model.discriminator(made[domain].detach()).log_softmax(1)[:, kind].mean()
        fooled.backward()
    own = {name: weight.grad for name, weight in model.discriminator.named_parameters()}
    for name, gradient in joint.items():
        extra = own.get(name.removeprefix("discriminator."), 0.0)
        torch.testing.assert_close(gradient, split[name] + extra, atol=1e-6, rtol=1e-4)
    assert own["logits.weight"].abs().max() > 1e-3


def test_pretraining_teaches_the_generators_alone_to_copy(model):
    real = batch()
    value, parts = copying(model, real)
    both = torch.cat([real["high"], real["low"]])
    expected = sum((net(both) - both).abs().mean() for net in (model.to_low, model.to_high))
    torch.testing.assert_close(value, expected)
    value.backward()
    assert parts == {"copy": value.item()}
    assert all(weight.grad is None for weight in model.discriminator.parameters())
    assert all(weight.grad is not None for weight in model.to_high.parameters())


def test_crops_may_be_as_high_as_the_image():
    rng = np.random.default_rng(0)
    stack = images(2, 0)
    crops = translation.draw_crops(stack, 4, (20, 12), rng).numpy()
    assert crops.shape == (4, 1, 20, 12)
    scaled = [image / image.max() for image in stack]
    for crop in crops[:, 0]:
        assert any(
            np.array_equal(image[:, left : left + 12], crop)
            for image in scaled
            for left in range(13)
        )


def test_softmax_twice_confines_the_terms(model):
    with torch.no_grad():
        model.discriminator.logits.weight.mul_(1e4)
    schedule = replace(SCHEDULE, double_softmax=True)
    _, parts = losses(model, batch(), pools(), schedule, np.random.default_rng(0))
    least, most = np.log(np.e + 2) - 1, np.log(np.e + 2)
    assert 2 * least - 1e-5 <= parts["generator"] <= 2 * most + 1e-5
    assert 4 * least - 1e-5 <= parts["discriminator"] <= 4 * most + 1e-5


def test_the_discriminator_sees_the_pool_alone():
    pool, rng = Pool(3, (2, 2)), np.random.default_rng(0)
    first = torch.arange(2.0).reshape(2, 1, 1, 1).expand(2, 1, 2, 2).requires_grad_()
    drawn = pool.exchange(first, rng)
    assert not drawn.requires_grad and set(drawn.unique().tolist()) <= {0.0, 1.0}
    seen = set()
    for value in range(2, 40):
        fresh = torch.full((1, 1, 2, 2), float(value))
        seen.add(value - pool.exchange(fresh, rng).flatten()[0].item())
    assert int(pool.filled) == 3 and len(pool.images.unique()) == 3
    assert 0 in seen and max(seen) > 2  # new ones and old ones


@pytest.mark.parametrize("optimiser", ["joint", "split"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_training_goes_on_to_the_same_weights(tmp_path, optimiser, shared):
    def run(folder, *lengths):
        torch.manual_seed(0)
        model = HDCycleGAN(**TINY, shared=shared)
        for steps in lengths:
            schedule = replace(SCHEDULE, steps=steps, optimiser=optimiser, pretrain=1)
            history = translation.fit_translation(
                model, images(3, 0), images(2, 1), schedule, tmp_path / folder, device="cpu"
            )
            fresh = HDCycleGAN(**TINY, shared=shared)  # of other weights: all comes from the file
            kept, model = model, fresh
        return kept.state_dict(), history

    whole, entries = run("whole", 5)
    halves, again = run("halves", 2, 5)
    repeated, third = run("halves", 5)
    strip = ("seconds",)
    for other, history in ((halves, again), (repeated, third)):
        assert all(torch.equal(whole[name], other[name]) for name in whole)
        assert [{k: v for k, v in e.items() if k not in strip} for e in history] == [
            {k: v for k, v in e.items() if k not in strip} for e in entries
        ]


def test_a_training_that_diverges_stops_and_keeps_finite_weights(tmp_path, model):
    schedule = replace(SCHEDULE, rate=1e30, steps=20)
    with pytest.raises(InputError, match=r"diverged at step \d+.*last good checkpoint"):
        translation.fit_translation(
            model, images(2, 0), images(2, 1), schedule, tmp_path, device="cpu", save_every=0
        )
    fresh = torch.nn.ModuleDict(
        {"model": HDCycleGAN(**TINY)} | {f"pool_{d}": p for d, p in pools().items()}
    )
    optimiser = torch.optim.Adam(fresh["model"].parameters())
    assert checkpoints.load_checkpoint(tmp_path, fresh, optimiser)
    assert all(weight.isfinite().all() for weight in fresh.state_dict().values())


def roughness(stack: np.ndarray) -> float:
    return float(np.abs(np.diff(stack)).mean() / stack.std())


def test_it_learns_to_smooth_from_images_that_are_not_paired():
    """Contrast alone would not do: a discriminator that normalises cannot see it."""
    torch.manual_seed(0)
    model = HDCycleGAN(**TINY | {"width": 8})
    smooth = [gaussian_filter(image, 2) for image in images(8, 1, (32, 32))]
    smooth = [(image - image.min()) / np.ptp(image) for image in smooth]
    rough = [
        image + 0.3 * noise for image, noise in zip(smooth[:4], images(4, 2, (32, 32)), strict=True)
    ]
    schedule = replace(SCHEDULE, steps=60, rate=5e-3, batch=4)
    history = translation.fit_translation(model, rough, smooth[4:], schedule, device="cpu")
    before, after = (
        roughness(np.stack(rough)),
        roughness(translation.denoise(model, np.stack(rough))),
    )
    assert history[-1]["cycle"] < 0.7 * history[0]["cycle"]
    assert after < 0.8 * before


@pytest.mark.parametrize(
    ("high", "low", "message"),
    [
        ([], images(1, 0), "no image of high"),
        (images(1, 0), [images(1, 0)[0][None]], "low noise has the shape"),
        ([np.full((20, 20), np.nan)], images(1, 0), "not finite"),
        ([np.zeros((20, 20))], images(1, 0), "black"),
        (images(1, 0, (12, 20)), images(1, 0), r"crops of \(16, 16\) do not fit"),
        (images(2, 0), images(2, 0), "same images"),
    ],
)
def test_images_that_cannot_be_learnt_from_are_refused(model, high, low, message):
    with pytest.raises(InputError, match=message):
        translation.fit_translation(model, high, low, SCHEDULE, device="cpu")


def test_a_schedule_refuses_an_unknown_regime():
    with pytest.raises(InputError, match="optimiser is 'both'"):
        TranslationSchedule(optimiser="both")
    for wrong in ({"pool": 0}, {"crop": (16, 0)}, {"pretrain": -1}):
        with pytest.raises(InputError, match="at least"):
            TranslationSchedule(**wrong)


def test_images_a_little_smaller_than_the_crop_are_mirrored():
    image = images(1, 0, (14, 16))[0]
    crop = translation.draw_crops([image], 1, (16, 16), np.random.default_rng(0))[0, 0].numpy()
    np.testing.assert_allclose(crop[1:15], image / image.max())
    np.testing.assert_allclose(crop[[0, 15]], crop[[1, 14]])


def test_denoising_keeps_shape_and_units(model):
    stack = np.stack(images(2, 5, (19, 22)))
    result = translation.denoise(model.eval(), stack)
    assert result.shape == stack.shape and result.dtype == np.float32 and (result >= 0).all()
    np.testing.assert_allclose(
        translation.denoise(model, 3 * stack), 3 * result, rtol=1e-4, atol=1e-4
    )
    model.to_low.forward = lambda image: image
    np.testing.assert_allclose(translation.denoise(model, stack), stack, rtol=1e-6)
    with pytest.raises(InputError, match="black"):
        translation.denoise(model, np.zeros((1, 16, 16)))


def test_a_folder_names_all_that_shapes_a_training(tmp_path, model):
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(name.encode())
        files.append(tmp_path / name)
    settings = {"data": "x", "device": "cpu", "profile": "quick"}
    split = replace(SCHEDULE, optimiser="split")
    name = translation.translation_folder
    folders = [
        name(model, settings, SCHEDULE, files, 0),
        name(model, settings, SCHEDULE, files, 1),
        name(model, settings, split, files, 0),
        name(model, settings, SCHEDULE, files[:1], 0),
        name(HDCycleGAN(**TINY, shared=False), settings, SCHEDULE, files, 0),
        name(model, settings | {"data": "y"}, SCHEDULE, files, 0),
    ]
    assert len(set(folders)) == len(folders)
    assert name(model, settings | {"profile": "other"}, SCHEDULE, files, 0) == folders[0]
