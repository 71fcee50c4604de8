"""Simulated sets: files as promised, the same for a seed, whole after any interruption."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import nibabel as nib
import numpy as np
import pytest
from fastmri.data import SliceDataset
from fastmri.data.transforms import UnetDataTransform

from recon.data import simulate as simulation
from recon.data import splits
from recon.data.fastmri import Volume, list_volumes, make_target, read_volume, write_volume
from recon.data.manifest import load_manifest
from recon.data.simulate import plan_volume, set_folder, simulate
from recon.data.splits import open_split
from recon.data.volumes import read_upright, simulate_nifti
from recon.errors import InputError

TINY = {
    "matrix": [80, 40],
    "crop": [40, 36],
    "coils": [2, 5],
    "pixel_mm": 3.5,
    "train": {"volumes": 4, "slices": 2},
    "val": {"volumes": 2, "slices": 1},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tiny(name="simulated_knee"):
    return replace(load_manifest(name), profiles={"quick": TINY})


def refused(call, *words):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    for word in words:
        assert re.search(word, message), message


def contents(folder):
    return {path.name: path.read_bytes() for path in list_volumes(folder)}


@pytest.mark.parametrize("name", ["simulated_knee", "simulated_brain", "simulated_leaves"])
@pytest.mark.parametrize("task", ["multicoil", "singlecoil"])
def test_simulated_files_pass_through_the_fastmri_package(name, task):
    made = tiny(name)
    folder = simulate(made, task, split="val")
    assert folder.name == f"{task}_val"
    samples = SliceDataset(folder, task, UnetDataTransform(task))
    assert len(samples) == 2
    for sample in samples:
        image = (sample.image * sample.std + sample.mean).numpy()
        target = (sample.target * sample.std + sample.mean).numpy()
        assert image.shape == (40, 36)
        # The transform cuts off at six standard deviations.
        kept = (sample.image < 6).numpy() & (sample.target < 6).numpy()
        np.testing.assert_allclose(image[kept], target[kept], rtol=1e-3, atol=1e-3 * target.max())
    for path in list_volumes(folder):
        volume = read_volume(path)
        assert volume.contrast in made.contrasts and "seed" in volume.attributes["simulated"]
        assert volume.kspace.shape[2:] == (80, 40)
        assert np.abs(volume.kspace).max() < 1


def test_same_seed_same_files_and_another_seed_others(cache):
    first = contents(simulate(tiny(), "multicoil"))
    (cache / "simulated").rename(cache / "old")
    assert contents(simulate(tiny(), "multicoil")) == first
    other = simulate(tiny(), "multicoil", seed=1)
    assert not set(contents(other).values()) & set(first.values())


def test_volumes_vary():
    """Coil number, contrast, anatomy, orientation, scale; and training shares nothing with
    validation."""
    manifest = load_manifest("simulated_knee")
    plans = [plan_volume(manifest, "quick", "train", i) for i in range(36)]
    assert [p.anatomy for p in plans].count("leaves") == 18
    assert {p.contrast for p in plans if p.anatomy == "knee"} == {"CORPD_FBK", "CORPDFS_FBK"}
    assert {p.coils for p in plans} == set(range(4, 11))
    assert {(p.turns, p.mirrored) for p in plans} == {(t, m) for t in range(4) for m in (0, 1)}
    validation = [plan_volume(manifest, "quick", "val", i) for i in range(10)]
    assert {p.anatomy for p in validation} == {"knee"} and {p.turns for p in validation} == {0}
    assert [p.contrast for p in validation].count("CORPD_FBK") == 5
    assert not {p.seed for p in plans} & {p.seed for p in validation}
    assert not {p.name for p in plans} & {p.name for p in validation}


def test_leaves_train_on_leaves_and_validate_on_leaves():
    manifest = load_manifest("simulated_leaves")
    for split in ("train", "val"):
        assert plan_volume(manifest, "quick", split, 3).anatomy == "leaves"


def test_turned_volumes_fill_a_field_of_view_that_is_not_square():
    made = replace(tiny(), profiles={"quick": TINY | {"matrix": [80, 46]}})
    plans = [plan_volume(made, "quick", "train", i) for i in range(12)]
    turned = next(p for p in plans if p.turns == 1)
    volume = simulation.generate(made, "quick", "train", turned, "multicoil")
    assert volume.kspace.shape[2:] == (80, 46) and volume.target.max() > 0


def test_interrupted_run_goes_on_to_the_same_result(cache, monkeypatch):
    whole = contents(simulate(tiny(), "multicoil"))
    (cache / "simulated").rename(cache / "old")
    calls, generate = [], simulation.generate

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return generate(*arguments)

    monkeypatch.setattr(simulation, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate(tiny(), "multicoil")
    folder = set_folder(tiny(), "quick", {"seed": 0}) / "multicoil_train"
    assert len(list_volumes(folder)) == 2
    (folder / ".file1000002.h5.123.tmp").touch()  # what kill -9 in the middle of a file leaves
    assert contents(simulate(tiny(), "multicoil")) == whole
    assert len(calls) == 3 + 2  # finished volumes were kept
    assert not list(folder.glob(".*"))
    simulate(tiny(), "multicoil")
    assert len(calls) == 3 + 2


def test_killed_run_leaves_whole_files_only(cache):
    """A real kill -9 as soon as a second file appears."""
    code = (
        "from dataclasses import replace; from recon.data.manifest import load_manifest;"
        "from recon.data.simulate import simulate;"
        f"simulate(replace(load_manifest('simulated_knee'), profiles={{'quick': {TINY}}}), "
        "'multicoil')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    folder = set_folder(tiny(), "quick", {"seed": 0}) / "multicoil_train"
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*.h5"))) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in list_volumes(folder)}
    for path in kept:
        read_volume(path)
    simulate(tiny(), "multicoil")
    assert len(list_volumes(folder)) == 4
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())


def test_lost_file_is_made_again():
    folder = simulate(tiny(), "multicoil", split="val")
    before = contents(folder)
    list_volumes(folder)[0].unlink()
    assert contents(simulate(tiny(), "multicoil", split="val")) == before


def test_code_and_sizes_name_the_folder(monkeypatch):
    here = set_folder(tiny(), "quick", {"seed": 0})
    assert here.name.startswith("simulated_knee-quick-")
    other = replace(tiny(), profiles={"quick": TINY | {"coils": [3, 3]}})
    assert set_folder(other, "quick", {"seed": 0}) != here
    assert set_folder(tiny(), "quick", {"seed": 1}) != here
    monkeypatch.setattr(simulation, "cell_code", lambda source: source + "changed")
    assert set_folder(tiny(), "quick", {"seed": 0}) != here


def test_progress_goes_to_standard_error(capsys):
    simulate(tiny(), "multicoil", split="val")
    out, err = capsys.readouterr()
    assert out == "" and "simulated_knee, multicoil val" in err and "2/2" in err


def test_full_disk(monkeypatch):
    def full(*arguments, **names):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(h5py, "File", full)
    refused(lambda: simulate(tiny(), "multicoil"), "No space left on device", "RECON_CACHE")
    folder = set_folder(tiny(), "quick", {"seed": 0}) / "multicoil_train"
    assert list(folder.iterdir()) == []


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for place, said in (("file", "is no folder"), ("file/below", "cannot be written")):
        monkeypatch.setenv("RECON_CACHE", str(tmp_path / place))
        refused(lambda: simulate(tiny(), "multicoil"), said, "RECON_CACHE")


def test_unknown_words():
    refused(lambda: simulate(tiny(), "threecoil"), "task 'threecoil'", "multicoil, singlecoil")
    refused(lambda: simulate(tiny(), "multicoil", "huge"), "profile 'huge'", "quick")
    refused(lambda: simulate(tiny(), "multicoil", split="dev"), "split 'dev'", "train, val")
    refused(lambda: open_split("simulated_elbow", "multicoil", "val"), "simulated_knee")
    refused(
        lambda: open_split("fastmri_knee_multicoil", "singlecoil", "val"),
        "no task 'singlecoil'", "pass task='multicoil'",
    )  # fmt: skip
    refused(lambda: open_split("simulated_knee", "multicoil", "dev"), "train, val or all")
    refused(lambda: open_split("fastmri_folder", "multicoil", "val"), "pass data_root")


def folder_of(path, count, coils=3, patients=None):
    """Random scans; each of a patient of its own, or of ``patients`` in turn (nameless: "")."""
    rng = np.random.default_rng(0)
    for i in range(count):
        kspace = rng.normal(size=(1, coils, 16, 16)).astype(np.complex64)
        volume = Volume(f"scan{i}", kspace, make_target(kspace, (8, 8)), "AXT2", (8, 8))
        about = {"patient_id": patients[i % len(patients)]} if patients else {}
        write_volume(
            path / f"scan{i}.h5", replace(volume, single_coil=coils == 1, attributes=about)
        )
    return path


def sides_of(root):
    """Files of a plain folder by split."""
    return {
        s: open_split("fastmri_folder", "multicoil", s, data_root=root) for s in ("train", "val")
    }


def patients_of(paths):
    return {read_volume(path).attributes["patient_id"] for path in paths}


def test_no_patient_is_on_both_sides(tmp_path):
    """Two files a patient, whose names would often part them."""
    patients = [f"patient {k}" for k in range(15)]
    root = folder_of(tmp_path / "scans", 30, patients=patients)
    sides = sides_of(root)
    assert sorted(sides["train"] + sides["val"]) == list_volumes(root) and sides["val"]
    assert not patients_of(sides["train"]) & patients_of(sides["val"])
    more = folder_of(tmp_path / "more", 60, patients=[f"patient {k}" for k in range(30)])
    assert patients_of(sides_of(more)["val"]) >= patients_of(sides["val"])  # nobody changes sides


@pytest.mark.parametrize("seen", range(3))
def test_two_patients_have_a_side_each(tmp_path, seen):
    root = folder_of(tmp_path / "scans", 6, patients=[f"{seen}a", f"{seen}b"])
    assert [len(paths) for paths in sides_of(root).values()] == [3, 3]


def test_files_of_one_patient_cannot_train(tmp_path):
    root = folder_of(tmp_path / "scans", 3, patients=["the same"])
    refused(
        lambda: open_split("fastmri_folder", "multicoil", "train", data_root=root),
        "3 volumes of one patient_id", "test_data",
    )  # fmt: skip
    assert len(open_split("fastmri_folder", "multicoil", "val", data_root=root)) == 3


@pytest.mark.parametrize("nameless", ["", None, h5py.Empty("S1")])
def test_files_that_name_no_patient_are_split_by_name(tmp_path, nameless):
    root = folder_of(tmp_path / "scans", 30, patients=[""])
    for path in list_volumes(root):
        with h5py.File(path, "a") as file:
            del file.attrs["patient_id"]
            if nameless is not None:
                file.attrs["patient_id"] = nameless
    assert min(map(len, sides_of(root).values())) > 1


def test_plain_folder_keeps_its_sides(tmp_path):
    root = folder_of(tmp_path / "scans", 30)
    train = open_split("fastmri_folder", "multicoil", "train", data_root=root)
    val = open_split("fastmri_folder", "multicoil", "val", data_root=root)
    assert sorted(train + val) == list_volumes(root) and 2 <= len(val) <= 12
    (root / "scan0.h5").rename(root / "another.h5")  # other files keep their sides
    assert set(open_split("fastmri_folder", "multicoil", "val", data_root=root)) >= {
        path for path in val if path.name != "scan0.h5"
    } - {root / "another.h5"}
    assert len(open_split("fastmri_folder", "multicoil", "all", data_root=root)) == 30


@pytest.mark.parametrize("count", [2, 3, 4])
def test_small_folders_have_something_on_both_sides(tmp_path, count):
    root = folder_of(tmp_path / "scans", count)
    sides = [open_split("fastmri_folder", "multicoil", s, data_root=root) for s in ("train", "val")]
    assert all(sides) and sum(map(len, sides)) == count


def test_folder_of_one_file_cannot_train(tmp_path):
    root = folder_of(tmp_path / "scans", 1)
    refused(lambda: open_split("fastmri_folder", "multicoil", "train", data_root=root), "test_data")
    assert len(open_split("fastmri_folder", "multicoil", "val", data_root=root)) == 1


def test_the_validation_archive_alone_is_enough_when_its_own_folder_is_named(tmp_path):
    """The command of the page on data: both sides out of one official folder."""
    folder = folder_of(tmp_path / "root" / "singlecoil_val", 30, coils=1)
    name = "fastmri_knee_singlecoil"
    refused(
        lambda: open_split(name, "singlecoil", "train", data_root=tmp_path / "root"),
        "no folder singlecoil_train",
    )
    train, val = (
        open_split(name, "singlecoil", split, data_root=folder) for split in ("train", "val")
    )
    assert sorted(train + val) == list_volumes(folder) and 2 <= len(val) <= 12


def test_official_folders_are_taken(tmp_path):
    folder_of(tmp_path / "root" / "multicoil_val", 2)
    root = tmp_path / "root"
    for name in ("fastmri_folder", "fastmri_knee_multicoil"):
        assert len(open_split(name, "multicoil", "val", data_root=root)) == 2
        refused(
            lambda name=name: open_split(name, "multicoil", "train", data_root=root),
            "no folder multicoil_train",
        )


def test_files_of_the_other_task(tmp_path):
    many = folder_of(tmp_path / "many", 2)
    refused(
        lambda: open_split("fastmri_folder", "singlecoil", "val", data_root=many), "'multicoil'"
    )
    one = folder_of(tmp_path / "one", 2, coils=1)
    refused(lambda: open_split("fastmri_folder", "multicoil", "val", data_root=one), "'singlecoil'")
    refused(
        lambda: open_split("fastmri_folder", "multicoil", "val", data_root=tmp_path / "absent"),
        "does not exist",
    )


def head(path, turned=False):
    """A head of 1.5 mm voxels whose nose is bright and whose vertex is narrow."""
    left, back, up = np.meshgrid(*(np.linspace(-1, 1, n) for n in (100, 130, 120)), indexing="ij")
    inside = (left / 0.7) ** 2 + (back / 0.8) ** 2 + (up / 0.9) ** 2 < 1
    picture = (inside * (100 - 40 * back)).astype(np.int16)  # brighter in front
    affine = np.diag([-1.5, -1.5, 1.5, 1])
    if turned:
        picture, affine = picture.transpose(2, 0, 1)[::-1], affine[:, [2, 0, 1, 3]]
        affine[:, 0] *= -1
    nib.save(nib.Nifti1Image(picture, affine), path)


def nifti_manifest(axes=None):
    made = load_manifest("studyforrest_t1")
    sizes = TINY | {"pixel_mm": 5.0, "val": {"volumes": 2, "slices": 2}}
    sizes["train"] = {"volumes": 2, "slices": 2}
    settings = {"span_mm": [10, 90]} | ({"axes": axes} if axes else {})
    return replace(made, profiles={"quick": sizes}, settings=settings, files=({"path": "h.nii"},))


def test_upright_whatever_the_order_of_the_axes(tmp_path):
    head(tmp_path / "a.nii")
    head(tmp_path / "b.nii", turned=True)
    first, spacing = read_upright(tmp_path / "a.nii")
    second, _ = read_upright(tmp_path / "b.nii")
    np.testing.assert_array_equal(first, second)
    assert first.shape == (120, 130, 100) and spacing == (1.5, 1.5, 1.5)
    assert first[60, :40].mean() > first[60, 90:].mean()  # the bright front is on top
    np.testing.assert_array_equal(read_upright(tmp_path / "a.nii", "LPS")[0], first)


def test_head_becomes_slabs_with_simulated_coils(tmp_path):
    head(tmp_path / "h.nii")
    folders = [
        simulate_nifti(nifti_manifest(), tmp_path, "multicoil", "quick", s)
        for s in ("train", "val")
    ]
    names = [[path.name for path in list_volumes(folder)] for folder in folders]
    assert [len(n) for n in names] == [2, 2] and not set(names[0]) & set(names[1])
    volumes = [read_volume(p) for folder in folders for p in list_volumes(folder)]
    assert {v.kspace.shape[0] for v in volumes} == {2} and volumes[0].contrast == "AXT1"
    # The train slabs are the ends of the span: the first lies at the vertex and is the smallest.
    areas = [(v.target > 0.2 * v.target.max()).sum() for v in volumes]
    assert np.argmin(areas) == 0
    assert len(SliceDataset(folders[1], "multicoil")) == 4


def test_heads_that_are_refused(tmp_path):
    def call():
        return simulate_nifti(nifti_manifest(), tmp_path, "multicoil", "quick", "val")

    refused(call, "h.nii is missing", "data_root")
    (tmp_path / "h.nii").write_bytes(b"not a volume" * 100)
    refused(call, "h.nii is no whole NIfTI file")
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4, 2), np.float32), np.eye(4)), tmp_path / "h.nii")
    refused(call, "3-D volume")
    head(tmp_path / "h.nii")
    long = replace(nifti_manifest(), settings={"span_mm": [10, 500]})
    refused(
        lambda: simulate_nifti(long, tmp_path, "multicoil", "quick", "train"), "shorten span_mm"
    )
    refused(
        lambda: simulate_nifti(nifti_manifest(), tmp_path, "multicoil", "paper", "val"), "'paper'"
    )


def test_nifti_is_opened_by_name(tmp_path, monkeypatch):
    head(tmp_path / "h.nii")
    monkeypatch.setattr(splits, "load_manifest", lambda name: nifti_manifest())
    paths = open_split("studyforrest_t1", "singlecoil", "all", data_root=tmp_path)
    assert len(paths) == 2 and read_volume(paths[0]).single_coil
