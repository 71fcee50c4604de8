"""fastMRI files: what is written reads back, also by the fastmri package; bad ones are refused."""

import errno
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
from fastmri.data import SliceDataset
from fastmri.data.transforms import UnetDataTransform

from recon.data import fastmri
from recon.data.fastmri import (
    Volume,
    check,
    list_volumes,
    make_target,
    read_volume,
    volume_shape,
    write_volume,
)
from recon.data.volumes import import_kspace, write_measured
from recon.errors import InputError
from recon.paths import project_root


def volume(shape=(3, 4, 32, 20), crop=(16, 16), **changes):
    rng = np.random.default_rng(0)
    kspace = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    left, right = changes.get("padding", (0, 0))
    kspace[..., :left] = 0
    kspace[..., shape[-1] - right :] = 0
    made = Volume("file1000000", kspace, make_target(kspace, crop), "CORPD_FBK", crop)
    return replace(made, **changes)


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "set" / "file1000000.h5"
    write_volume(target, volume())
    return target


def refused(call, *words):
    """The call raises InputError, in one sentence that has all the words."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    for word in words:
        assert re.search(word, message), message


@pytest.mark.parametrize("padding", [(0, 0), (2, 1), (0, 3)])
@pytest.mark.parametrize("shape, crop", [((3, 4, 32, 20), (16, 16)), ((2, 3, 31, 19), (15, 13))])
def test_round_trip(tmp_path, shape, crop, padding):
    written = volume(shape, crop, padding=padding)
    write_volume(tmp_path / "a.h5", written)
    read = read_volume(tmp_path / "a.h5")
    np.testing.assert_array_equal(read.kspace, written.kspace)
    np.testing.assert_array_equal(read.target, written.target)
    assert (read.crop, read.padding, read.contrast) == (crop, padding, "CORPD_FBK")
    assert read.attributes["max"] == pytest.approx(written.target.max())
    assert read.attributes["norm"] == pytest.approx(np.linalg.norm(written.target))
    assert volume_shape(tmp_path / "a.h5") == shape and not read.single_coil
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["kspace"].chunks is None and file["kspace"].compression is None


def test_single_coil_round_trip(tmp_path):
    written = volume((3, 1, 32, 20), single_coil=True)
    write_volume(tmp_path / "a.h5", written)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["kspace"].shape == (3, 32, 20) and "reconstruction_esc" in file
    read = read_volume(tmp_path / "a.h5")
    np.testing.assert_array_equal(read.kspace, written.kspace)
    assert read.single_coil and volume_shape(tmp_path / "a.h5") == (3, 1, 32, 20)


def test_test_file_has_a_mask_and_no_target(tmp_path):
    mask = np.arange(20) % 3 == 0
    write_volume(tmp_path / "a.h5", volume(mask=mask, target=None))
    read = read_volume(tmp_path / "a.h5")
    assert read.target is None
    np.testing.assert_array_equal(read.mask, mask)


@pytest.mark.parametrize("task", ["multicoil", "singlecoil"])
def test_fastmri_package_reads_our_files(tmp_path, task):
    """Its reader gives our padding; its transform's image is our target, of full k-space."""
    single = task == "singlecoil"
    written = volume((3, 1 if single else 4, 32, 20), padding=(2, 1), single_coil=single)
    write_volume(tmp_path / "file1000000.h5", written)
    raw = SliceDataset(tmp_path, task)
    kspace, mask, target, attributes, name, index = raw[1]
    assert (len(raw), mask, name, index) == (3, None, "file1000000.h5", 1)
    np.testing.assert_array_equal(kspace, written.kspace[1, 0] if single else written.kspace[1])
    assert (attributes["padding_left"], attributes["padding_right"]) == (2, 19)
    assert attributes["recon_size"] == (16, 16, 1) and attributes["encoding_size"] == (32, 20, 1)
    assert {"acquisition", "max", "norm", "patient_id"} <= set(attributes)
    sample = SliceDataset(tmp_path, task, UnetDataTransform(task))[1]
    image = (sample.image * sample.std + sample.mean).numpy()
    np.testing.assert_allclose(image, target, rtol=1e-4, atol=1e-5 * target.max())
    assert float(sample.max_value) == pytest.approx(written.target.max())


def test_part_of_the_slices_reads_only_that_part(path):
    with h5py.File(path, "r+") as file:
        file["kspace"][2] = np.nan  # would be refused if it were read
    part = read_volume(path, slice(0, 2))
    assert part.kspace.shape[0] == part.target.shape[0] == 2
    refused(lambda: read_volume(path), "file1000000.h5", "kspace", "NaN")


def test_hidden_files_are_passed_over_and_stray_ones_named(path):
    (path.parent / ".DS_Store").touch()
    assert list_volumes(path.parent) == [path]
    (path.parent / "notes.txt").touch()
    refused(lambda: list_volumes(path.parent), "notes.txt", "move it out")
    (path.parent / "notes.txt").unlink()
    (path.parent / "more.h5").mkdir()
    refused(lambda: list_volumes(path.parent), "more.h5")


def test_folders_that_cannot_be_used(tmp_path, path, monkeypatch):
    refused(lambda: list_volumes(tmp_path / "absent"), "absent does not exist")
    (tmp_path / "empty").mkdir()
    refused(lambda: list_volumes(tmp_path / "empty"), "is empty")
    refused(lambda: list_volumes(path), "is a file")

    def denied(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "iterdir", denied)
    refused(lambda: list_volumes(path.parent), "Permission denied", "readable")


@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_truncated_file(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    for call in (read_volume, volume_shape):
        refused(lambda call=call: call(path), "file1000000.h5", "truncated or of another format")


def test_file_of_another_kind_or_none(path):
    path.write_text("acquisition,max\n")
    refused(lambda: read_volume(path), "no whole HDF5 file")
    refused(lambda: read_volume(path.with_name("b.h5")), "no file")


@pytest.mark.parametrize("name", ["kspace", "ismrmrd_header", "reconstruction_rss"])
def test_missing_dataset(path, name):
    with h5py.File(path, "r+") as file:
        del file[name]
    refused(lambda: read_volume(path), "file1000000.h5", f"'{name}' is missing")


def test_missing_attribute(path):
    with h5py.File(path, "r+") as file:
        del file.attrs["acquisition"]
    refused(lambda: read_volume(path), "'acquisition' is missing")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_kspace_that_is_not_finite(path, bad):
    with h5py.File(path, "r+") as file:
        file["kspace"][1, 0, 0, 0] = bad
    refused(lambda: read_volume(path), "'kspace' holds NaN or infinite")


@pytest.mark.parametrize(
    "made", [np.zeros((3, 4, 32, 20)), np.zeros((32, 20), complex), np.zeros((0, 2, 4, 4), complex)]
)
def test_kspace_of_another_kind(path, made):
    with h5py.File(path, "r+") as file:
        del file["kspace"]
        file["kspace"] = made
    refused(lambda: read_volume(path), "'kspace' is", "must be complex")


@pytest.mark.parametrize(
    "change", [("<center>", "<middle>"), ("<x>16</x>", "<x>wide</x>"), ("</encoding>", "")]
)
def test_broken_header(path, change):
    with h5py.File(path, "r+") as file:
        text = file["ismrmrd_header"][()].decode().replace(*change)
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = text
    refused(lambda: read_volume(path), "'ismrmrd_header' cannot be read")


def test_masks_that_do_not_fit(path):
    with h5py.File(path, "r+") as file:
        file["mask"] = np.zeros(20, bool)
    refused(lambda: read_volume(path), "'mask' keeps no column")
    with h5py.File(path, "r+") as file:
        del file["mask"]
        file["mask"] = np.ones(19, bool)
    refused(lambda: read_volume(path), "'mask' has 19 entries for 20 columns")


def test_picture_smaller_than_its_crop(path):
    with h5py.File(path, "r+") as file:
        del file["reconstruction_rss"]
        file["reconstruction_rss"] = np.zeros((3, 64, 16), np.float32)
    refused(lambda: read_volume(path), "32 x 20 is smaller than its crop of 64 x 16")


def test_target_of_other_slices(path):
    with h5py.File(path, "r+") as file:
        del file["reconstruction_rss"]
        file["reconstruction_rss"] = np.zeros((2, 16, 16), np.float32)
    refused(lambda: read_volume(path), "one picture a slice")


def test_coils_that_do_not_fit_the_task():
    check(volume(), "multicoil")
    check(volume((3, 1, 32, 20), single_coil=True), "singlecoil")
    refused(lambda: check(volume(), "singlecoil"), "4 coils where one", "task='multicoil'")
    refused(lambda: check(volume((3, 1, 32, 20)), "multicoil"), "one coil where several")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        # As HDF5 words it: on several lines, the system's number inside.
        OSError(f"Can't write data (time = now\n, errno = {errno.ENOSPC}, error message = 'x')"),
    ],
)
def test_full_disk_leaves_the_old_file_and_nothing_else(path, monkeypatch, error):
    before = path.read_bytes()

    def full(file, written):
        file["kspace"] = np.zeros(3)
        raise error

    monkeypatch.setattr(fastmri, "_fill", full)
    refused(lambda: write_volume(path, volume()), "file1000000.h5", "No space left", "RECON_CACHE")
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_interrupt_leaves_nothing_behind(path, monkeypatch):
    def interrupted(file, written):
        raise KeyboardInterrupt

    monkeypatch.setattr(fastmri, "_fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_volume(path.with_name("new.h5"), volume())
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_measured_kspace_becomes_a_file(tmp_path):
    kspace = volume((1, 4, 32, 20)).kspace[0]
    kspace[..., :2] = 0
    np.savez(tmp_path / "scan.npz", kspace=kspace)
    written = import_kspace(tmp_path / "scan.npz", tmp_path / "out", "AXT2")
    read = read_volume(written)
    np.testing.assert_array_equal(read.kspace[0], kspace)
    assert (read.contrast, read.crop, read.padding) == ("AXT2", (32, 20), (2, 0))
    assert read.mask is None and read.target is not None


def test_measured_kspace_can_lose_lines_of_either_axis(tmp_path):
    kspace = volume((1, 4, 32, 20)).kspace[0]
    np.savez(tmp_path / "scan.npz", kspace=kspace)
    one, other = (
        read_volume(import_kspace(tmp_path / "scan.npz", tmp_path / "out", swap=swap))
        for swap in (False, True)
    )
    assert (one.name, other.name) == ("scan", "scan_swapped")
    np.testing.assert_array_equal(other.kspace[0], kspace.swapaxes(-2, -1))
    assert one.attributes["patient_id"] == other.attributes["patient_id"]  # one scan, one side
    np.testing.assert_allclose(other.target[0], one.target[0].T, rtol=1e-4, atol=1e-6)


def test_measured_kspace_without_some_columns_gets_a_mask(tmp_path):
    kspace = volume((1, 4, 32, 20)).kspace[0]
    kspace[..., 5:9] = 0
    write_measured(kspace, tmp_path / "a.h5")
    read = read_volume(tmp_path / "a.h5")
    assert read.target is None and list(np.flatnonzero(~read.mask)) == [5, 6, 7, 8]


def test_measured_arrays_that_are_refused(tmp_path):
    kspace = volume((1, 4, 32, 20)).kspace[0]
    out = tmp_path / "a.h5"
    refused(lambda: write_measured(kspace.real, out), "must be complex")
    refused(lambda: write_measured(kspace * np.nan, out), "NaN")
    scattered = kspace * (np.random.default_rng(0).random((32, 20)) > 0.5)
    refused(lambda: write_measured(scattered, out), "only whole columns")
    np.savez(tmp_path / "two.npz", a=kspace, b=kspace)
    refused(lambda: import_kspace(tmp_path / "two.npz", tmp_path), "a, b", "'kspace'")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not a zip")
    refused(lambda: import_kspace(tmp_path / "broken.npz", tmp_path), "no readable")
    refused(lambda: import_kspace(tmp_path / "absent.npz", tmp_path), "absent.npz is no file")
    assert not out.exists()


def test_shared_measured_scan(tmp_path):
    source = project_root().parent / "shared" / "data" / "iraki_brain_16ch_64x64.npz"
    if not source.exists():
        pytest.skip(f"the measured 16-coil scan is not at {source}")
    read = read_volume(import_kspace(source, tmp_path))
    assert read.kspace.shape == (1, 16, 64, 64) and read.crop == (64, 64)
    # A head in the middle, air in the corners: the k-space is centred.
    assert read.target[0, 24:40, 24:40].mean() > 5 * read.target[0, :6, :6].mean()
    assert len(SliceDataset(tmp_path, "multicoil", UnetDataTransform("multicoil"))) == 1
