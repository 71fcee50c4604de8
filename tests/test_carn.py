"""Super-resolution: interpolation, networks, pairs, counts, and the chapter on small files."""

import numpy as np
import pytest
import torch
from PIL import Image

from recon.classical.interpolation import bicubic, enlarge, reduce, whole_crop
from recon.data.fastmri import write_volume
from recon.data.super_resolution import HEAD, SLICE, Pairs, grey, head_slices, read_images
from recon.errors import InputError
from recon.learning import cost
from recon.learning.budget import fold, live_parameters, operations
from recon.learning.training import Schedule
from recon.learning.upscaling import score_images, similarity, train
from recon.networks.anchored_regression import CARN, NewCARN, regress
from recon.networks.channels import parameter_count
from recon.networks.srcnn import SRCNN
from recon.networks.table_one import arithmetic, build
from recon.results import claims, store
from recon.results.super_resolution import (
    claimed_pairs,
    count_rows,
    on_front,
    published,
    time_per_block,
)
from recon.results.verdicts import judge_all
from test_chapter import run_chapter
from test_learning import volume

PAPER = claims.load("stoian-2020")
COUNTS = published(PAPER).parameters.dropna().astype(int).to_dict()
FAITHFUL = {8: (10336, 12160, 15808, 23104, 30400), 16: (28032, 37312, 55872, 92992, 130112)}


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(24, 30), (40, 120), (61, 7)])
def test_bicubic_is_that_of_pillow(size):
    image = noise(1, 1, 48, 60)
    theirs = Image.fromarray(image[0, 0].numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
    assert np.abs(bicubic(image, size)[0, 0].numpy() - np.asarray(theirs)).max() < 1e-5


def test_reduction_keeps_the_mean_and_refuses_broken_pixels():
    image = noise(1, 1, 48, 60)
    assert torch.allclose(reduce(torch.full((1, 1, 12, 8), 0.3), 4), torch.tensor(0.3), atol=1e-6)
    assert reduce(image, 3).shape == (1, 1, 16, 20) and enlarge(image, 2).shape[-2:] == (96, 120)
    with pytest.raises(InputError, match="50 x 60"):
        reduce(noise(1, 1, 50, 60), 4)
    cut = whole_crop(torch.arange(50.0)[:, None].expand(50, 9), 4)
    assert cut.shape == (48, 8) and cut[0, 0] == 1


@pytest.mark.parametrize("name", COUNTS)
def test_every_published_count(name):
    twin = name.replace("new_carn", "counted")
    assert parameter_count(build(twin)) == arithmetic(twin)[1] == COUNTS[name]


def test_the_text_has_other_counts_and_its_own_dead_branches():
    assert len(COUNTS) == 22
    for c, expected in FAITHFUL.items():
        nets = [NewCARN(n, c, c) for n in (1, 3, 5, 9, 13)]
        assert tuple(map(parameter_count, nets)) == expected
        assert [arithmetic(f"new_carn_{n}_{c}")[1] for n in (1, 3, 5, 9, 13)] == list(expected)
    assert [live_parameters(CARN(n, 8, 8)) for n in (1, 3, 5, 9)] == [52248, 62760, 73272, 94296]
    assert [live_parameters(build(f"counted_{n}_8")) for n in (3, 13)] == [11384, 63944]
    assert live_parameters(NewCARN(13, 16, 16)) == 120832
    assert live_parameters(SRCNN(16)) == parameter_count(SRCNN(16))


@pytest.mark.parametrize("name", ["srcnn_16", "srcnn_original", "carn_1_8", "carn_5_16"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_networks_enlarge_and_start_near_bicubic(name, scale):
    for other in {name, name.replace("carn", "new_carn"), name.replace("carn_5", "counted_5")}:
        low = enlarge(noise(2, 1, 4, 5), 3)
        drawn = build(other, scale)(low)
        assert drawn.shape == (2, 1, 12 * scale, 15 * scale)
        assert (drawn - enlarge(low, scale)).abs().max() < 0.05


def test_a_block_is_a_soft_choice_of_regressors():
    predictions, nearness = noise(1, 3 * 2, 4, 4), noise(1, 3, 4, 4)
    by_hand = sum(
        torch.exp(nearness[:, k]) / torch.exp(nearness).sum(1) * predictions[:, 2 * k + 1]
        for k in range(3)
    )
    assert torch.allclose(regress(predictions, nearness)[:, 1], by_hand, atol=1e-6)
    only = regress(predictions, torch.tensor([0.0, 99, 0]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4))
    assert torch.allclose(only, predictions[:, 2:4])


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize(("channels", "scale"), [(16, 4), (9, 3), (8, 4)])
def test_every_block_of_carn_that_keeps_its_channels_has_a_shortcut(blocks, channels, scale):
    """As flag_shortcut in the published code: silent blocks pass the features on, or nothing."""
    chain, features = CARN(blocks, channels, 2, scale).chain, noise(1, channels, 5, 4)
    for weight in chain.parameters():
        torch.nn.init.zeros_(weight)
    if channels == scale**2:
        assert torch.equal(chain(features), features)
    else:
        assert torch.equal(chain(features), torch.zeros(1, scale**2, 5, 4))


def test_new_carn_has_none_around_the_block_that_draws():
    chain, features = NewCARN(3, 16, 2).chain, noise(1, 16, 5, 4)
    torch.nn.init.zeros_(chain.last.linear.parametrizations.weight.original0)
    torch.nn.init.zeros_(chain.last.linear.bias)
    assert not chain(features).any()


def test_networks_that_differ_print_texts_of_their_own():
    names = [m for m in PAPER.methods if m.split("_")[0] in ("carn", "new", "counted", "srcnn")]
    nets = [build(name, scale) for name in [*names, "carn_2_8"] for scale in (2, 4)]
    folders = {str(net) for net in nets}  # which training_folder hashes
    assert len(folders) == len(nets) == 2 * (30 + 1)


def test_folding_changes_nothing_but_the_form():
    net, low = NewCARN(3, 8, 8), noise(1, 1, 9, 7)
    before = net(low)
    assert torch.allclose(fold(net)(low), before, atol=1e-6)
    assert parameter_count(net) < parameter_count(NewCARN(3, 8, 8))


def test_operations_of_a_convolution():
    conv = torch.nn.Conv2d(1, 8, 3, padding=1)
    assert operations(conv, 10, 20) == 2 * 10 * 20 * 9 * 8
    assert operations(CARN(9, 8, 8), 8, 8) == operations(fold(CARN(9, 8, 8)), 8, 8)


@pytest.fixture
def knees(workspace):
    """Ten files of 64 x 60 pixels, two slices each."""
    for i in range(10):
        scan = volume(f"file{i}", 2, 1, 64, 60, crop=(64, 60), seed=i)
        scan.contrast = ("CORPD_FBK", "CORPDFS_FBK")[i % 2]
        write_volume(workspace / f"file{i}.h5", scan)
    return workspace


def test_pairs_are_crops_flipped_and_reduced(knees):
    files = sorted(knees.glob("*.h5"))
    pairs = Pairs(files, 4, 32, seed=1)
    item, again, other = pairs[(3, 0)], pairs[(3, 0)], pairs[(3, 1)]
    assert item.kspace.shape == (1, 8, 8) and item.target.shape == (1, 32, 32)
    assert torch.equal(item.kspace[None], reduce(item.target[None], 4))
    assert torch.equal(item.target, again.target) and not torch.equal(item.target, other.target)
    whole = grey(read_images(files[1])[1:2])[0]
    windows = whole.unfold(1, 32, 1).unfold(2, 32, 1).reshape(-1, 32, 32)
    flips = [torch.flip(item.target[0], axes) for axes in ((), (0,), (1,), (0, 1))]
    assert any((windows == flipped).all((1, 2)).any() for flipped in flips)
    assert pairs[3].target.shape == (1, 64, 60) and float(pairs[3].target.max()) == 1
    with pytest.raises(InputError, match="no multiple"):
        Pairs(files, 5, 32)
    with pytest.raises(InputError, match="smaller than the crop"):
        Pairs(files, 4, 64)


def test_training_learns_and_is_not_repeated(knees):
    files = sorted(knees.glob("*.h5"))
    settings = {"data": "x", "task": "singlecoil", "scale": 4, "seed": 0, "device": "cpu"}
    schedule = Schedule(epochs=8, batch_size=4, rate=4e-3, warmup_epochs=0)
    torch.manual_seed(0)
    net = NewCARN(3, 8, 8)
    history = train(net, files, settings, schedule, 32, "test")
    assert np.mean([h["loss"] for h in history[-5:]]) < np.mean([h["loss"] for h in history[:5]])
    again = NewCARN(3, 8, 8)
    assert train(again, files, {**settings, "data_root": "y"}, schedule, 32, "test") == history
    low = noise(1, 1, 8, 8)
    assert torch.equal(net.eval()(low), again.eval()(low))


def test_scores_of_known_errors():
    images = noise(3, 16, 16).numpy() * 0.5
    images[:, 0, 0] = 1
    images[1] = 0  # an empty slice has no score
    truth = torch.from_numpy(images[[0, 2]])[:, None]
    shifted = (truth + 0.1).clamp(0, 1)
    methods = {"same": lambda low: truth, "shifted": lambda low: shifted}
    scores, middle = score_images(methods, images, 4)
    error = (shifted - truth).square().mean(dim=(1, 2, 3)).numpy()
    assert scores["shifted"]["psnr"] == pytest.approx(-10 * np.log10(error), rel=1e-5)
    assert scores["same"]["ssim"] == pytest.approx([1, 1]) and (scores["same"]["psnr"] > 100).all()
    assert middle["target"].shape == (16, 16)


def test_similarity_is_wang_s_without_the_border():
    a, b = noise(32, 32).numpy(), noise(32, 32, seed=1).numpy()
    c1, c2 = 0.01**2, 0.03**2
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    kernel = torch.from_numpy(np.outer(line, line) / line.sum() ** 2).float()[None, None]

    def mean(x):
        return torch.nn.functional.conv2d(torch.from_numpy(x)[None, None], kernel)[0, 0].numpy()

    ma, mb = mean(a), mean(b)
    va, vb, ab = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    wang = (2 * ma * mb + c1) * (2 * ab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert similarity(a, b) == pytest.approx(wang.mean(), abs=1e-4)


def test_the_front_and_the_slope():
    points = {"a": (1, 1.0), "b": (2, 0.5), "c": (3, 2.0), "d": (3, 1.5)}
    assert on_front(points) == ["a", "c"]
    theirs = published(PAPER)
    assert len(theirs) == 23
    assert time_per_block(theirs.parameters, "new_carn", 8) == pytest.approx(5256)
    assert time_per_block(theirs.parameters, "carn", 16) == pytest.approx(39440)
    pairs = claimed_pairs(PAPER, PAPER.methods)
    assert ("new_carn_13_8", "bicubic") in pairs and ("new_carn_13_8", "new_carn_9_8") in pairs


def test_differences_from_a_bound_lie_above_zero_where_the_count_is_below():
    counts = {"half": {"share": 0.5}, "a": {"share": 0.75, "parameters": 3}, "b": {"share": 0.25}}
    rows = count_rows(counts, 4, "half")
    found = {row["against"]: row["ci95"] for row in rows if "against" in row}
    assert found == {"a": [-0.25, -0.25], "b": [0.25, 0.25]}
    assert len(rows) == 4 + 2 and len(count_rows(counts, 4)) == 4


def test_real_slices(tmp_path):
    import nibabel as nib

    with pytest.raises(InputError, match="neither"):
        head_slices(tmp_path)
    np.save(tmp_path / SLICE, np.ones((20, 24), np.float32))
    head = np.random.default_rng(0).random((12, 15, 18)).astype(np.float32)
    nib.save(nib.Nifti1Image(head, np.eye(4)), tmp_path / HEAD)
    found = head_slices(tmp_path, each=3)
    assert {k: len(v) for k, v in found.items()} == {
        "axial": 3,
        "coronal": 3,
        "sagittal": 3,
        "T2 axial": 1,
    }


@pytest.mark.parametrize(
    "given",
    [
        {"networks": "carn_3_8,new_carn_3_8,counted_3_8,srcnn_16"},
        {"networks": "new_carn_1_8,carn_1_8", "scale": 3, "real": True, "seed": 2},
    ],
)
def test_chapter(knees, monkeypatch, given):
    rounds = cost.rounds
    monkeypatch.setattr(cost, "SHORTEST", 0.001)
    monkeypatch.setattr(cost, "rounds", lambda runs, *_: rounds(runs, 1))
    given = dict(given)
    if given.pop("real", False):
        np.save(knees.parent / SLICE, noise(40, 44).numpy())
        given["real_root"] = str(knees.parent)
    given |= {"data": "fastmri_folder", "data_root": str(knees), "task": "singlecoil"}
    names = run_chapter("carn", **given)
    run = store.load(next((knees.parent / "runs").glob("carn*.json")))
    scored = {row["method"] for row in run.rows if row["metric"] == "psnr"}
    assert scored == {"bicubic", *given["networks"].split(",")}
    assert np.isfinite([row["value"] for row in run.rows]).all()
    assert {row["metric"] for row in run.rows} >= {"ssim", "parameters", "operations", "seconds"}
    assert names["equal"].all() and len(names["audit"]) == 22
    verdict = {v.claim.id: v for v in judge_all(PAPER, store.frame([run]))}
    if given.get("scale", 4) == 4:  # the features of CARN-1-8-8 alone break it
        assert verdict["4-features"].verdict == "partly"
        assert verdict["4-cheaper"].verdict == verdict["5-quarter"].verdict == "reproduced"
        shares = {
            name: f"{c['features_over_blocks']:.2f}"
            for name, c in names["counts"].items()
            if "features_over_blocks" in c
        }
        assert shares["carn_1_8"] == "4.29" and shares["half"] == "0.50"
    assert ("real_slices" in {row["data"] for row in run.rows}) == ("real_root" in given)
    drawn = [p.stem.split("_")[-1] for p in (knees.parent / "runs").glob("*.png")]
    assert sorted(drawn) == ["median", "pareto"]


def test_chapter_refuses_an_unknown_network():
    with pytest.raises(InputError, match="new_carn_3_8"):
        run_chapter("carn", networks="newcarn_3_8")
