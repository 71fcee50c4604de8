"""Simulated OCT data: exports of a scanner, their truth, their statistics, their cache."""

import hashlib
import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recon.data import oct_simulated
from recon.data.manifest import load_manifest
from recon.data.oct import open_oct, read_bscans, read_truth
from recon.data.oct_simulated import SPLITS, plan_volumes
from recon.errors import InputError
from recon.paths import project_root
from recon.phantoms.retina import BOUNDARIES, PATHOLOGIES
from recon.physics.speckle import SPECTRALIS


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache of its own, with a quick set of four patients in all."""
    folder = tmp_path_factory.mktemp("cache")
    manifest = load_manifest("simulated_retina")
    manifest.profiles["quick"].update({split: {"patients": 1, "bscans": 2} for split in SPLITS})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECON_CACHE", str(folder))
        few = {manifest.name: manifest}
        patch.setattr(
            "recon.data.oct.load_manifest", lambda name: few.get(name) or load_manifest(name)
        )
        yield folder


@pytest.fixture
def volumes(cache):
    return open_oct("simulated_retina", "test")


def refused(call, *words):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and message.endswith((".", ")."))
    for word in words:
        assert re.search(word, message), message


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.png"))
    }


def test_an_export_is_folders_of_grey_png_files(volumes):
    assert volumes.paired and volumes.simulated
    assert [p.name for p in volumes.high] == [p.name for p in volumes.low] == [
        "P8001_OD", "P8001_OS",
    ]  # fmt: skip
    for path in volumes.high + volumes.low:
        assert [p.name for p in sorted(path.iterdir())] == ["bscan_000.png", "bscan_001.png"]
        with Image.open(path / "bscan_000.png") as image:
            assert image.mode == "L" and image.size == (128, 124)
        scans = read_bscans(path)
        assert scans.shape == (2, 124, 128) and scans.dtype == np.float32
        np.testing.assert_array_equal(scans * 255, np.round(scans * 255))


def test_truth_fits_the_images(volumes):
    manifest = load_manifest("simulated_retina")
    reach = manifest.settings["shift"]
    for high, low in zip(volumes.high, volumes.low, strict=True):
        truths = {path: read_truth(path) for path in (high, low)}
        for path, truth in truths.items():
            scans = read_bscans(path)
            assert truth.clean.shape == scans.shape and truth.pathology in PATHOLOGIES
            assert truth.boundaries.shape == (2, len(BOUNDARIES), 128)
            assert max(map(abs, truth.shift)) <= reach
            # The clean picture fits its own acquisition best where it lies.
            errors = {
                (dy, dx): np.mean((scans - np.roll(truth.clean, (dy, dx), (1, 2))) ** 2)
                for dy in (-2, -1, 0, 1, 2)
                for dx in (-1, 0, 1)
            }
            assert min(errors, key=errors.get) == (0, 0)
            # Darker above the ILM than below it.
            for column in (20, 64, 100):
                row = round(float(truth.boundaries[0, 0, column]))
                line = truth.clean[0, :, column]
                assert line[row + 1 : row + 4].mean() > line[row - 5 : row - 2].mean() + 0.1
        # Less noise with 60 frames than with 12, against the same truth.
        error = [np.mean((read_bscans(p) - t.clean) ** 2) for p, t in truths.items()]
        assert error[1] < 0.85 * error[0]


def test_the_two_acquisitions_differ_by_their_shifts_only(volumes):
    for high, low in zip(volumes.high, volumes.low, strict=True):
        a, b = read_truth(high), read_truth(low)
        dy, dx = (p - q for p, q in zip(a.shift, b.shift, strict=True))
        core = (slice(None), slice(8, -8), slice(8, -8))
        moved = np.roll(b.clean, (dy, dx), (1, 2))
        assert np.abs(moved[core] - a.clean[core]).max() < 0.02  # fall-off differs a little
        np.testing.assert_allclose(
            np.roll(b.boundaries, dx, 2)[..., 8:-8] + dy, a.boundaries[..., 8:-8], atol=1e-3
        )


def test_statistics_lie_in_the_ranges_of_the_calibration(volumes):
    """And raw pairs agree better than the paper's, as book/data.md says."""
    place = project_root() / "benchmarks" / "retina_statistics.py"
    spec = importlib.util.spec_from_file_location("retina_statistics", place)
    statistics = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(statistics)
    for name, values in statistics.measure(volumes).items():
        low, high = statistics.TARGETS[name]
        if name.startswith("PSNR"):
            assert np.mean(values) > high, name
        elif not name.startswith("SSIM"):  # it depends on how much retina a window holds
            assert low - 0.008 < np.mean(values) < high + 0.008, name


def test_their_speckle_is_independent(volumes):
    noise = [
        np.concatenate([(read_bscans(p) - read_truth(p).clean).ravel() for p in domain])
        for domain in (volumes.high, volumes.low)
    ]
    shifted = [
        (read_truth(h).shift, read_truth(lo).shift)
        for h, lo in zip(volumes.high, volumes.low, strict=True)
    ]
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.05, shifted


def test_no_eye_is_in_two_sets():
    for name in ("simulated_retina", "simulated_retina_devices"):
        manifest = load_manifest(name)
        for profile in manifest.profiles:
            plans = {s: plan_volumes(manifest, profile, s) for s in SPLITS}
            everything = [p for split in plans.values() for p in split]
            assert len({p.seed for p in everything}) == len(everything)
            patients = [{p.name.split("_")[0] for p in split} for split in plans.values()]
            assert sum(map(len, patients)) == len(set.union(*patients)) == len(everything) / 2


def test_devices():
    one = plan_volumes(load_manifest("simulated_retina"), "quick", "train")
    many = plan_volumes(load_manifest("simulated_retina_devices"), "quick", "train")
    assert {plan.device for plan in one} == {SPECTRALIS}
    assert len({plan.device for plan in many}) == len(many) / 2  # both eyes on one scanner
    assert {plan.seed for plan in one}.isdisjoint(plan.seed for plan in many)


def test_an_interrupted_set_is_continued_to_the_same_files(cache, volumes, monkeypatch):
    folder = volumes.high[0].parents[1]
    before = contents(folder)
    assert len(before) == 8
    # A process killed between the images and the truth, and one within the images.
    (folder / "truth" / "P8001_OS.npz").unlink()
    (folder / "low" / "P8001_OS" / "bscan_001.png").unlink()
    (folder / "low" / ".P8001_OS.tmp").mkdir()
    folder.with_name("test.complete").unlink()
    again = open_oct("simulated_retina", "test")
    assert contents(folder) == before and again == volumes
    assert not list(folder.rglob(".*.tmp"))
    shutil.rmtree(folder / "high" / "P8001_OD")  # deleted by hand after all was complete
    assert open_oct("simulated_retina", "test") == volumes and contents(folder) == before
    # And nothing is drawn a second time.
    monkeypatch.setattr(oct_simulated, "acquire", None)
    assert open_oct("simulated_retina", "test") == volumes


def test_other_seeds_and_code_have_other_folders(cache, volumes, monkeypatch):
    manifest = load_manifest("simulated_retina")
    first = oct_simulated._set_folder(manifest, "quick", 0)
    assert first != oct_simulated._set_folder(manifest, "quick", 1)
    assert first != oct_simulated._set_folder(manifest, "standard", 0)
    monkeypatch.setattr(oct_simulated, "code_sha256", lambda *paths: "changed")
    assert first != oct_simulated._set_folder(manifest, "quick", 0)


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place, said in (("file", "is no folder"), ("file/below", "cannot be written")):
        monkeypatch.setenv("RECON_CACHE", str(tmp_path / place))
        refused(lambda: open_oct("simulated_retina", "val", seed=5), said, "RECON_CACHE")


def test_sizes_keep_their_promise():
    """Pixels of both domains in quick: what 30 s of a core draw (0.1 s a B-scan of both)."""
    quick = load_manifest("simulated_retina").profiles["quick"]
    scans = sum(2 * quick[split]["patients"] * quick[split]["bscans"] for split in SPLITS)
    assert scans * np.prod(quick["shape"]) < 5e6
    paper = load_manifest("simulated_retina").profiles["paper"]
    assert sum(paper[split]["patients"] for split in SPLITS) == 235


def test_an_export_is_read_like_a_real_one(volumes):
    """The road from simulated to real data is one parameter."""
    real = open_oct("oct_folders", "test", data_root=volumes.high[0].parents[2])
    assert (real.high, real.low, real.paired) == (volumes.high, volumes.low, True)
    assert not real.simulated
