"""The chapter on unpaired denoising: normalisation, pre-training, checkpoints, and its cells."""

import os
from dataclasses import replace

import jupytext
import numpy as np
import pytest
import torch
from PIL import Image

from recon.classical import denoisers
from recon.classical.denoisers import noise_level
from recon.data.oct_files import Truth
from recon.errors import InputError
from recon.learning import denoising, pretraining, telling_apart, translation_scores, translator
from recon.learning.adversarial import TranslationSchedule
from recon.learning.translation_scores import domain_gaps, tracked
from recon.learning.translator_settings import TRANSLATORS
from recon.networks.cyclegan import Generator, HDCycleGAN
from recon.networks.domain_norm import DomainNorm, start_from_input, with_domain_norm
from recon.paths import project_root
from recon.phantoms.retina import BOUNDARIES
from recon.results import claims, store, verdicts
from recon.results import denoising as tables
from recon.results.borders import border_rows, borders_table
from recon.results.denoising_rows import margins, short_of
from recon.results.statistics import summarise
from test_denoising_scores import band


def flat_truth():
    """An eye whose retina is 60 pixels thick everywhere."""
    rows = np.linspace(20, 80, len(BOUNDARIES))
    rows[BOUNDARIES.index("RPE")] = rows[BOUNDARIES.index("ILM")] + 60
    return Truth(np.repeat(rows[:, None], 128, 1)[None], np.zeros((1, 96, 128)), "none", (0, 0))


SIZES = {"width": 4, "depth": 2, "blocks": 1, "discriminator_width": 4, "discriminator_depth": 3}
SHAPE = (48, 64)


def domain(noise, seed, count=12):
    return [band(seed + index, noise, shape=SHAPE) for index in range(count)]


def test_a_generator_normalised_over_the_domains_starts_by_returning_its_input():
    torch.manual_seed(0)
    model = with_domain_norm(HDCycleGAN(**SIZES), torch.rand(6, 1, 32, 32))
    image = torch.rand(2, 1, 40, 24)
    for generator in (model.to_low, model.to_high):
        assert torch.allclose(generator(image), image, atol=1e-6)
    plain = HDCycleGAN(**SIZES)
    scales = sum(2 * part.num_channels for part in plain.modules() if getattr(part, "affine", 0))
    counts = [sum(map(torch.numel, m.parameters())) for m in (plain, model)]
    assert counts[0] - counts[1] == scales  # it has no scale and offset to learn
    assert str(plain) != str(model)  # or one would meet the other's checkpoints
    with pytest.raises(InputError, match="skips"):
        start_from_input(Generator(4, 2, 1, skips=False))


def test_a_crop_is_treated_like_the_whole_image_away_from_its_borders():
    """With instance normalisation it is not: it depends on all of the image."""
    torch.manual_seed(1)
    images = torch.rand(6, 1, 64, 64)
    domain_model = with_domain_norm(HDCycleGAN(**SIZES, skips=False), images)
    plain = HDCycleGAN(**SIZES, skips=False)
    whole, part = torch.rand(1, 1, 160, 160), slice(32, 128)
    whole[..., :32, :] += 2
    same = {}
    for name, model in (("domain", domain_model), ("instance", plain)):
        full, cut = (model.to_low(x) for x in (whole, whole[..., part, part]))
        inner = slice(40, 56)
        same[name] = (full[..., 72:88, 72:88] - cut[..., inner, inner]).abs().max().item()
    assert same["domain"] < 1e-5 < same["instance"]


def test_a_norm_follows_its_batches_only_while_it_is_told_to():
    norm, features = DomainNorm(3), 5 + 2 * torch.randn(4, 3, 8, 8)
    assert torch.equal(norm(features), features)
    norm.following = True
    assert norm(features).mean().abs() < 1e-5
    moved = norm.mean.clone()
    assert (moved > 0.3).all()
    norm.following = False
    norm(features)
    assert torch.equal(norm.mean, moved)
    norm.calibrate(features)
    assert norm(features).std() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("shared", [True, False])
def test_noise_is_seen_through_the_norm_of_the_domains(shared):
    high, low = domain(0.12, 0), domain(0.06, 100)
    torch.manual_seed(0)
    model = pretraining.calibrated(HDCycleGAN(**SIZES, shared=shared), high, low, SHAPE)
    found = pretraining.classify_domains(model, high, low, SHAPE, 40, batch=4, device="cpu")
    assert len(found) == 40 and np.mean(found[-8:]) > 0.9
    assert not any(getattr(part, "following", False) for part in model.modules())


def test_one_threshold_tells_noise_and_says_so_of_unseen_images():
    trained, unseen = ((domain(0.12, seed), domain(0.06, seed + 500)) for seed in (0, 1000))
    found = telling_apart.classification(SIZES, trained, unseen, SHAPE, 30)
    assert found["one threshold"] > 0.8
    assert found["discriminator, domain normalisation"] > 0.8
    alike = (domain(0.1, 0), domain(0.1, 500)), (domain(0.1, 1000), domain(0.1, 1500))
    assert telling_apart.classification(SIZES, *alike, SHAPE, 1)["one threshold"] < 0.85


def test_all_judges_of_noise_see_the_same_part_of_an_image():
    """Noise that differs beyond the crops' corner alone helps nobody."""

    def beyond(noise, seed, count=12):
        images = domain(0.1, seed, count)
        for image, other in zip(images, domain(noise, seed, count), strict=True):
            image[:, 32:] = other[:, 32:]
            image[0, 0] = 1  # the maximum, by which an image is divided, lies inside
        return images

    trained, unseen = ((beyond(0.2, seed), beyond(0.02, seed + 500)) for seed in (0, 1000))
    part = (SHAPE[0], 32)
    assert telling_apart.classification(SIZES, trained, unseen, part, 1)["one threshold"] < 0.85
    whole = telling_apart.classification(SIZES, trained, unseen, SHAPE, 1)
    assert whole["one threshold"] > 0.9


def test_a_denoiser_is_timed_on_a_b_scan(monkeypatch):
    """Not on noise: how long some methods take depends on what they are shown."""
    seen = []
    monkeypatch.setattr(
        translation_scores, "available", lambda: {"median": lambda image, _: seen.append(image)}
    )
    found = translation_scores.time_denoisers(Generator(4, 2, 1).eval(), 1, (64, 64))
    assert set(found) == {"median", "hdcyclegan"}
    assert noise_level(seen[0]) < 0.1 < seen[0].max() <= 1
    assert seen[0][:8].mean() < seen[0].mean()  # dark above the retina


def test_bm3d_takes_one_thread_as_the_others_do(monkeypatch):
    """On its own the package takes all there are. A stand-in: it is not installed everywhere."""
    taken = []

    class Package:
        class BM3DProfile:
            num_threads = 0

        @staticmethod
        def bm3d(image, sigma, profile="np"):
            taken.append(profile.num_threads)
            return image

    monkeypatch.setattr(denoisers, "_bm3d", Package)
    denoisers._bm3d_denoiser(band(0, 0.1), 2)
    assert taken == [1]


def test_what_is_asked_of_our_variant_says_so():
    for claim in claims.load("manakov-2019").claims:
        if any("domain" in part.methods for part in claim.parts):
            assert "[asked of our variant]" in claim.place and "(ours)" in claim.statement, claim.id


def claimed_scores(gain):
    """Eight volumes: a method ahead by 10 % in CNR and MSR, and by `gain` dB in PSNR."""
    import pandas as pd

    base = {"cnr": 4.0, "msr": 3.0, "psnr": 20.0, "ssim": 0.8}
    ahead = {"cnr": 4.4, "msr": 3.3, "psnr": 20.0 + gain, "ssim": 0.8}
    fields = {"contrast": "all eyes", "effective_accel": 1.0, "region": "full"}
    return pd.DataFrame(
        {"volume": v, "method": m, "metric": k, "value": value + 0.01 * v, **fields}
        for v in range(8)
        for m, values in (("raw", base), ("median", base), ("hdcyclegan", ahead))
        for k, value in values.items()
    )


@pytest.mark.parametrize(("gain", "low", "widens"), [(0.5, True, True), (8.0, False, False)])
def test_low_gains_and_wider_margins(gain, low, widens):
    scores = claimed_scores(gain)
    about = {"data": "simulated_retina", "task": "denoising", "accel": 5}
    rows = short_of(scores, 1, "raw_1db", ["median", "hdcyclegan"], **about)
    assert {row["against"] for row in rows} == {"median", "hdcyclegan"}  # and no value of its own
    ahead = margins(scores, "hdcyclegan", ["median", "bm3d"])
    rows += summarise(ahead, [("intra", "inter")], **about)
    run = store.Run("hdcyclegan", "quick", {}, rows, {})
    found = verdicts.judge_all(claims.load("manakov-2019"), store.frame([run]))
    said = {one.claim.id: {o.outcome for o in one.outcomes} for one in found}
    assert said["1-small-gain"] == (
        {"holds", "untested"} if low else {"holds", "fails", "untested"}
    )
    assert said["1-margin-widens"] == ({"holds", "untested"} if widens else {"fails", "untested"})


def test_being_behind_in_both_is_no_wider_margin():
    scores = claimed_scores(-4.0)
    behind = scores.metric.isin(["cnr", "msr"]) & (scores.method == "hdcyclegan")
    scores.loc[behind, "value"] *= 0.89
    ahead = margins(scores, "hdcyclegan", ["median"])
    table = ahead.pivot(index="volume", columns="method", values="value")
    assert (table.intra < 0).all() and (table.inter == 0).all()


def test_the_best_checkpoint_is_kept_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("RECON_CACHE", str(tmp_path))
    high, low = domain(0.12, 0), domain(0.06, 100)
    files = []
    for name in ("a.png", "b.png"):
        files.append(tmp_path / name)
        files[-1].write_bytes(b"x")
    schedule = TranslationSchedule(4, 1, 1e-3, SHAPE, pool=2, optimiser="split")
    settings = {"data": "bands", "seed": 0, "device": "cpu"}
    values, states = iter([0.1, 0.7, 0.7, 0.2]), []

    def check(model):
        states.append({k: v.clone() for k, v in model.state_dict().items()})
        return next(values)

    given = (SIZES, high, low, schedule, settings, files)
    options = {"classify": 2, "domain": True, "check": check, "checks": 4}
    model, history, checks = translator.train_translator(*given, **options)
    assert checks == {1: 0.1, 2: 0.7, 3: 0.7, 4: 0.2} and len(history) == 4
    kept = model.state_dict()
    assert all(torch.equal(kept[name], states[2][name]) for name in kept)
    assert not all(torch.equal(kept[name], states[3][name]) for name in kept)
    again, history, checks = translator.train_translator(*given, **options)  # values are used up
    assert all(torch.equal(kept[n], v) for n, v in again.state_dict().items())
    assert len(history) == 4 and len(checks) == 4


def folder_of(root, noise, seed, volumes=6, count=2):
    """Volumes of a domain as folders of 8-bit PNG images."""
    for volume in range(volumes):
        place = root / f"P{volume:02d}_OD"
        place.mkdir(parents=True)
        for index in range(count):
            image = band(seed + 10 * volume + index, noise)
            Image.fromarray(np.round(255 * image).astype(np.uint8)).save(place / f"{index}.png")
    return root


@pytest.fixture
def pairs(workspace, monkeypatch):
    """A folder of two domains, whose partners show the same."""
    folder_of(workspace / "high", 0.08, 0)
    folder_of(workspace / "low", 0.04, 1000)
    usual = TRANSLATORS["quick"]
    schedule = replace(usual.schedule, steps=2, batch=1, crop=(96, 64))
    shortest = replace(usual, schedule=schedule, copying=1, classify=1)
    monkeypatch.setitem(TRANSLATORS, "quick", shortest)
    return workspace


def run_chapter(**given):
    """Every code cell, on small files and with a training of a few steps."""
    notebook = jupytext.read(project_root() / "book" / "hdcyclegan.py")
    names = {"__name__": "chapter"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            text = cell.source.replace("chosen.rounds, seed", "1, (64, 64), seed").replace(
                "shape, 80, seed", "shape, 1, seed"
            )
            exec(compile(text, "chapter", "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names.update(given)
    return names


def test_the_chapter_on_folders_of_real_images_and_on_images_without_partners(pairs, tmp_path):
    single = folder_of(tmp_path / "single", 0.08, 7000, volumes=4)
    names = run_chapter(data="oct_folders", data_root=str(pairs), test_root=str(single))
    run = store.load(next((pairs.parent / "runs").glob("hdcyclegan*.json")))
    assert np.isfinite([row["value"] for row in run.rows]).all()
    methods = {row["method"] for row in run.rows}
    assert methods >= {"raw", "hdcyclegan", "domain", "copier", "median", "median_tuned"}
    assert "oracle" not in methods and not len(names["thickness"])
    real = {row["metric"] for row in names["real_rows"]}
    assert real == {"cnr", "cnr_coded", "msr"}
    assert len(names["real"]) == 4  # what is passed for testing is tested, all of it
    assert len(list((pairs.parent / "runs").glob("*_rating*"))) == 2
    assert names["rated"][1:] == ["wavelet", "hdcyclegan", "domain"]
    assert len(names["samples"]) == sum(len(v.pairs) for v in names["test_volumes"])
    assert len(names["samples"]) > len(names["test_volumes"])  # not one a volume
    assert all(names["checks"][name] for name in ("hdcyclegan", "domain", "separate"))
    assert str(pairs) not in str(run.parameters)


def test_volumes_that_cannot_be_scored_are_left_out_and_named(pairs):
    from recon.data.oct import open_oct

    flat = next((pairs / "high").glob("*/1.png"))
    Image.fromarray(np.full((96, 128), 9, np.uint8)).save(flat)
    split = ("train", "val", "test")
    opened = [
        v
        for s in split
        for v in denoising.open_volumes(open_oct("oct_folders", s, data_root=str(pairs)))
    ]
    why = [reason for volume in opened for reason in volume.left_out]
    assert len(why) == 1 and "one grey value" in why[0]
    assert {len(volume.pairs) for volume in opened} == {1, 2}
    assert denoising.relative_gain(lambda images: images, opened) == 0
    methods, table = denoising.baselines(opened[:1])
    assert set(table.index) <= set(methods) and "tuned" in table


def test_a_perfect_and_a_blind_judge():
    import pandas as pd

    lines = [
        ("v", name, kind, judged, float(kind == judged) if name == "domain" else 0.4)
        for name in ("domain", "separate")
        for kind in ("high", "low", "to_low")
        for judged in ("high", "low")
    ]
    columns = ["volume", "method", "kind", "judged_as", "value"]
    gaps = domain_gaps(pd.DataFrame(lines, columns=columns)).set_index("method").value
    assert gaps["domain"] == 1 and gaps["separate"] == 0


def test_tables_print_what_the_rows_say():
    paper = claims.load("manakov-2019")
    fields = {"data": "bands", "contrast": "all", "n": 3, "ci95": [1, 2]}
    rows = [
        {**fields, "method": m, "metric": "psnr", "value": v}
        for m, v in (("raw", 20.0), ("hdcyclegan", 21.0), ("oracle", 24.0))
    ]
    gains = tables.ceilings(rows, paper.methods, ("psnr",))
    assert "+1.00 (25%)" in gains and "+4.00 (100%)" in gains
    one = tables.table_one(rows, paper, {"bm3d": "no package"})
    assert "22.58 ± 1.41" in one and "21.00" in one and "no package" in one


def test_border_rows_are_in_micrometres():
    import pandas as pd

    line = {"found": 1.0, "ilm": 2.0, "ilm_bias": -1.0, "rpe": 3.0, "rpe_bias": 1.0}
    line |= {"thickness": 2.0, "thickness_bias": 2.0}
    volumes = [
        {"volume": f"v{i}", "contrast": "healthy", "method": m, **line}
        for i in range(3)
        for m in ("map", "alone")
    ]
    rows = border_rows(pd.DataFrame(volumes), 4.0, data="x", task="t", accel=5)
    assert tables.value(rows, "map", "rpe")["value"] == 12
    assert tables.value(rows, "map", "found")["value"] == 1
    assert "12 [12, 12]" in borders_table(rows, 4.0)
    assert tracked({}, []).empty


def test_a_guess_of_the_thickness_is_compared_both_ways():
    import pandas as pd

    eyes = [
        denoising.Volume(f"v{k}", "healthy", band(k, 0.1)[None], (), truth, ())
        for k, truth in enumerate([flat_truth()] * 3)
    ]
    found = tracked({"map": [None] * 3}, eyes, typical=50.0)
    guess = found[found.method == "guess"]
    assert guess.thickness.tolist() == pytest.approx([10.0] * 3)
    assert guess.thickness_bias.tolist() == pytest.approx([-10.0] * 3)
    line = {"found": 1.0, "ilm": 2.0, "ilm_bias": -1.0, "rpe": 3.0, "rpe_bias": 1.0}
    line |= {"thickness": 4.0, "thickness_bias": 2.0, "contrast": "healthy", "method": "map"}
    lines = pd.DataFrame([{**line, "volume": f"v{k}"} for k in range(3)])
    rows = border_rows(pd.concat([lines, guess]), 2.0, data="x", task="t", accel=5)
    assert tables.value(rows, "guess", "thickness", "map")["value"] == pytest.approx(12)
    assert tables.value(rows, "map", "ilm")["value"] == 4  # the guess has none, and takes none away
    assert "mean of the tuning eyes" in borders_table(rows, 2.0)


@pytest.mark.parametrize("how", ["deleted", "cut", "a checkpoint"])
def test_a_translator_whose_best_weights_are_damaged_is_trained_anew(tmp_path, monkeypatch, how):
    monkeypatch.setenv("RECON_CACHE", str(tmp_path / "cache"))
    high, low, file = domain(0.12, 0), domain(0.06, 100), tmp_path / "a.png"
    file.write_bytes(b"x")
    schedule = TranslationSchedule(2, 1, 1e-3, SHAPE, pool=2, optimiser="split")
    given = (SIZES, high, low, schedule, {"data": "bands", "seed": 0, "device": "cpu"}, [file])

    def train(values):
        options = {"classify": 1, "check": lambda model: next(values), "checks": 2}
        model, _, checks = translator.train_translator(*given, **options)
        return model.state_dict(), checks

    before, checks = train(iter([0.7, 0.2]))
    folder = next((tmp_path / "cache" / "training").glob("hdcyclegan-*"))
    if how == "a checkpoint":
        (next(folder.glob("step-*")) / "weights.safetensors").write_bytes(b"")
    elif how == "cut":
        os.truncate(folder / "best", 100)
    else:
        (folder / "best").unlink()
    after, again = train(iter([0.7, 0.2]))
    assert again == checks and all(torch.equal(before[name], after[name]) for name in before)
    assert [*folder.parent.rglob("damaged-*")]
    assert train(iter([]))[1] == checks
