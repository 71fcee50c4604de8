"""The ablation of HDcycleGAN: its variants, what discriminators are asked, and the chapter."""

import re

import jupytext
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from recon.data.oct import open_oct
from recon.errors import InputError
from recon.learning.adversarial import TranslationSchedule
from recon.learning.changes import (
    VARIANTS,
    blind_guess,
    judgements,
    open_eyes,
    score_images,
    told_apart,
)
from recon.learning.pretraining import classify_domains
from recon.networks.cyclegan import Discriminator
from recon.paths import project_root
from recon.phantoms import retina
from recon.physics.speckle import SPECTRALIS, average_frames
from recon.results import store
from recon.results.changes import effect_table, effects

TINY = {"width": 4, "depth": 2, "blocks": 1, "discriminator_depth": 3}


@pytest.fixture
def folders(workspace):
    """Two domains of small B-scans in every split: three eyes each, two B-scans."""
    for split in ("train", "val", "test"):
        for number in range(3):
            seed = 10 * number + len(split)
            eye = retina.render((2, 64, 72), seed, pathology="none")
            for domain, frames in (("high", 12), ("low", 60)):
                rng = np.random.default_rng([seed, frames])
                own = workspace / split / domain / f"P{seed}_OD"
                own.mkdir(parents=True)
                for k, plane in enumerate(eye.reflectivity):
                    grey = average_frames(plane, frames, SPECTRALIS, rng)
                    Image.fromarray(np.uint8(np.round(255 * grey))).save(own / f"{k}.png")
    return workspace


def test_each_variant_takes_one_change_back():
    images = {name: [np.random.default_rng(0).random((32, 40))] for name in ("high", "low")}
    networks = {
        name: variant.build(0, images, (32, 32), **TINY) for name, variant in VARIANTS.items()
    }
    texts = {name: str(network) for name, network in networks.items()}
    assert len(set(texts.values())) == len(texts) - 1  # the other optimiser is no other network
    assert texts["other_optimiser"] == texts["hdcyclegan"]
    assert (
        len([m for m in networks["two_discriminators"].modules() if isinstance(m, Discriminator)])
        == 2
    )
    first = [net.to_low.initial[0].weight for net in networks.values()]
    assert all((weight == first[0]).all() for weight in first)  # of one seed
    schedule = TranslationSchedule(optimiser="split")
    assert VARIANTS["other_optimiser"].schedule(schedule).optimiser == "joint"
    assert VARIANTS["two_discriminators"].schedule(schedule) is schedule


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("optimiser", ["joint", "split"])
def test_a_blind_discriminator_ends_where_the_losses_balance(shared, optimiser):
    """The logits that minimise the losses if they are the same for every image."""
    logits = torch.zeros(3 if shared else 2, requires_grad=True)
    for _ in range(300):
        log = logits.log_softmax(0)
        wanted = [0, 0, 1, 2] if shared else [0, 1]
        wanted += ([1, 2] if shared else [1]) if optimiser == "joint" else []
        (slope,) = torch.autograd.grad(-log[wanted].sum(), logits)
        logits = (logits - 0.2 * slope).detach().requires_grad_()
    guess = blind_guess(shared, optimiser)
    assert logits.softmax(0)[:2].tolist() == pytest.approx([guess["fake"], guess["real"]], abs=1e-4)


def lines(own: float, other: float, spread: float = 0.0, count: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    scores = {"real high": (own, other), "real low": (other, own)}
    parts = [
        pd.DataFrame(
            {
                "high": high + spread * rng.standard_normal(count),
                "low": low + spread * rng.standard_normal(count),
                "image": image,
            }
        )
        for image, (high, low) in scores.items()
    ]
    return pd.concat(parts)


def test_domains_are_told_apart_by_order_not_by_size():
    assert told_apart(lines(0.51, 0.50)) == 1
    assert told_apart(lines(0.2, 0.9)) == 0
    assert told_apart(lines(0.5, 0.5)) == 0.5
    assert abs(told_apart(lines(0.5, 0.5, 0.1, 400)) - 0.5) < 0.05


def test_the_truth_scores_best_and_what_a_discriminator_says_is_a_probability(workspace):
    eyes = open_eyes(open_oct("simulated_retina", "val", "quick", seed=3), bscans=1)[:2]
    for eye in eyes:
        truth = score_images(eye.truth.clean[:1], eye, 4)
        noisy = score_images(eye.noisy, eye, 4)
        assert truth["psnr_truth"] > noisy["psnr_truth"] and truth["edge_blur"] < 0.5
        assert "checkerboard_added" not in noisy and abs(truth["checkerboard_added"]) < 12
    for name in ("hdcyclegan", "two_discriminators", "visible"):
        images = {"high": list(eyes[0].noisy), "low": list(eyes[0].partner)}
        model = VARIANTS[name].build(0, images, (124, 64), **TINY).eval()
        judged = judgements(model, eyes[0], (124, 64), 0)
        assert len(judged) == 4 * 8 and judged.image.nunique() == 4
        values = judged[["high", "low", "fake"]]
        assert ((values >= 0) & (values <= 1)).all().all()
        if name != "two_discriminators":
            np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-5)


def test_a_discriminator_learns_what_it_can_see():
    """Grain of two strengths on a common pattern."""
    rng = np.random.default_rng(0)
    plain = np.outer(np.hanning(40), np.ones(36))
    images = {
        domain: [plain + 1 + strength * rng.standard_normal(plain.shape) for _ in range(12)]
        for domain, strength in (("high", 0.3), ("low", 0.1))
    }
    model = VARIANTS["visible"].build(0, images, (32, 32), **TINY)
    before = [weight.clone() for weight in model.to_low.parameters()]
    right = classify_domains(model, images["high"], images["low"], (32, 32), 40, device="cpu")
    assert len(right) == 40 and np.mean(right[-5:]) > 0.9
    assert all(map(torch.equal, before, model.to_low.parameters()))


def table(effect: float, spread: float, seeds: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {"variant": v, "seed": s, "volume": k, "metric": "psnr", "value": shift + luck + k}
        for v, shift in (("a", 0.0), ("b", effect))
        for s, luck in enumerate(spread * rng.standard_normal(seeds))
        for k in range(3)
    )


def test_an_effect_counts_beyond_the_luck_of_the_seed():
    assert effects(table(1.0, 0.05), "a", ["psnr"])["b"]["psnr"].beyond
    within = effects(table(1.0, 5.0), "a", ["psnr"])["b"]["psnr"]
    assert not within.beyond and within.limit > abs(within.difference)
    single = effects(table(1.0, 0.05, seeds=1), "a", ["psnr", "none"])
    assert list(single["b"]) == ["psnr"] and not single["b"]["psnr"].beyond
    found = effects(table(1.0, 0.05), "a", ["psnr"])
    html = effect_table(found, {"b": "B"}, {"psnr": ("PSNR", 2)}, "A")._repr_html_()
    assert "<b>" in html and "±" in html
    assert "<b>" not in effect_table(single, {"b": "B"}, {"psnr": ("PSNR", 2)}, "A")._repr_html_()


def run_chapter(**given):
    """Every code cell of the chapter with other parameters and a training of a few steps."""
    path = project_root() / "book" / "ablation_shared_discriminator.py"
    names = {"__name__": "chapter"}
    for cell in jupytext.read(path).cells:
        if cell.cell_type != "code":
            continue
        short = re.sub(
            r"Schedule\(steps=70, (.*)pretrain=50", r"Schedule(steps=4, \1pretrain=2", cell.source
        )
        short = short.replace('"width": 8', '"width": 4').replace(
            "QUICK, 1, 2, 150", "QUICK, 1, 2, 2"
        )
        exec(compile(short, "chapter", "exec"), names)
        if "parameters" in cell.metadata.get("tags", []):
            names.update(given)
    return names


@pytest.mark.parametrize(
    "given",
    [
        {},
        {
            "variants": "two_discriminators,cyclegan,visible",
            "optimiser": "split",
            "repeats": 1,
            "seed": 5,
        },
    ],
)
def test_the_chapter_runs_on_a_folder_of_images(folders, given):
    names = run_chapter(data="oct_folders", data_root=str(folders), **given)
    run = store.load(next((folders.parent / "runs").glob("*.json")))
    expected = {"hdcyclegan", "two_discriminators"}
    expected |= {"cyclegan", "visible"} if given else {"transposed", "no_skips", "other_optimiser"}
    assert {row["method"] for row in run.rows} == expected
    metrics = {row["metric"] for row in run.rows}
    assert metrics >= {"psnr", "psnr decline", "told apart", "checkerboard added"}
    assert not metrics & {"psnr truth", "edge blur"}  # real images have no truth
    assert len(names["models"]) == len(expected) * (1 if given else 2)
    assert {row["n"] for row in run.rows} == {3}
    means = {}
    for row in run.rows:
        means[row["method"], row.get("against"), row["metric"], row["training_seed"]] = row["value"]
    beside = {key: mean for key, mean in means.items() if key[1] == "chance"}
    assert {key[2] for key in beside} == {"told apart", "score change"}
    for (method, _, metric, own), mean in beside.items():
        coin = {"told apart": 0.5, "score change": 0.0}[metric]
        # Stored numbers keep seven digits, so a difference near zero is less exact than they are.
        assert mean == pytest.approx(means[method, None, metric, own] - coin, abs=1e-6)
    compared = sum(map(len, names["found"].values()))
    assert names["several"] == (0 if given else compared) and compared > 0
    panels = names["spectra"].axes[: len(names["maps"])]
    assert {axis.get_xlabel() for axis in panels} == {"cycles per pixel"}


def test_an_ablation_needs_both_domains(folders):
    for path in (folders / "test" / "low").rglob("*.png"):
        path.unlink()
    with pytest.raises(InputError):
        run_chapter(data="oct_folders", data_root=str(folders), variants="two_discriminators")
