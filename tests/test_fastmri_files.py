"""fastMRI files: what is written reads back, also by the fastmri package; bad ones are refused."""

import errno
import re
from dataclasses import replace
from pathlib import Path

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
    read_full,
    read_volume,
    volume_shape,
    write_volume,
)
from recon.data.splits import open_split
from recon.data.super_resolution import read_contrast
from recon.errors import InputError


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


def replaced(file, name, data=None, **options):
    """Another object under a name of an HDF5 file."""
    if name in file:
        del file[name]
    if options:
        options = {"data": data} | options
        return file.create_dataset(name, **options)
    file[name] = data
    return None


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


@pytest.mark.parametrize(
    "bad, words",
    [(np.nan, "NaN or inf"), (np.inf, "NaN or inf"), (1e30, "rescale"), (-1e16, "resc")],
)
def test_samples_that_are_not_finite_or_cannot_be_squared(path, bad, words):
    with h5py.File(path, "r+") as file:
        file["kspace"][1, 0, 0, 0] = bad
    refused(lambda: read_volume(path), "file1000000.h5: 'kspace' h", words)
    write_volume(path, volume())
    with h5py.File(path, "r+") as file:
        file["reconstruction_rss"][1, 0, 0] = bad
    refused(lambda: read_volume(path), "file1000000.h5: 'reconstruction_rss' h", words)


@pytest.mark.parametrize("scale, words", [(1e-30, "at .*e-3"), (1e300, "NaN or infinite")])
def test_double_precision_beyond_single(path, scale, words):
    with h5py.File(path, "r+") as file:
        replaced(file, "kspace", file["kspace"][()].astype(complex) * scale)
    refused(lambda: read_volume(path), "'kspace' h", words)


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


@pytest.mark.parametrize(
    "mask, words",
    [
        (np.where(np.arange(20) % 2, np.nan, 1), "more than zeros and ones"),
        (np.full(20, 0.5), "more than zeros and ones"),
        (np.array([b"yes"] * 20), "must be zeros and ones"),
        (np.ones(20, complex), "must be zeros and ones"),
        (h5py.SoftLink("/nowhere"), "'mask' is missing"),
    ],
)
def test_masks_that_are_no_masks(path, mask, words):
    with h5py.File(path, "r+") as file:
        file["mask"] = mask
    refused(lambda: read_volume(path), "file1000000.h5: 'mask'|'mask' is", words)


@pytest.mark.parametrize("mask", [np.arange(20) % 3 == 0, np.arange(20.0) % 3 == 0])
def test_masks_of_any_number_type(path, mask):
    with h5py.File(path, "r+") as file:
        file["mask"] = mask.reshape(1, 1, 20)
    np.testing.assert_array_equal(read_volume(path).mask, mask.astype(bool))
    refused(lambda: read_full(path), "file1000000.h5 is undersampled itself")


def in_another_file(file, name):
    """Make an array of the file a virtual one, whose source is then missing."""
    stored = file[name]
    layout = h5py.VirtualLayout(stored.shape, stored.dtype)
    layout[:] = h5py.VirtualSource("gone.h5", name, stored.shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def external(file, name):
    shape, kind = file[name].shape, file[name].dtype
    Path("raw.bin").write_bytes(b"x" * int(np.prod(shape)) * kind.itemsize)
    replaced(
        file, name, None, shape=shape, dtype=kind, external=[("raw.bin", 0, h5py.h5f.UNLIMITED)]
    )


def linked(file, name):
    with h5py.File("other.h5", "w") as other:
        other["x"] = file[name][()]
    replaced(file, name, h5py.ExternalLink("other.h5", "x"))


def bomb(file, name):
    shape, kind = (10**6, *file[name].shape[1:]), file[name].dtype
    chunks = (10**4, *file[name].shape[1:])
    made = replaced(file, name, None, shape=shape, dtype=kind, chunks=chunks, compression="gzip")
    for start in range(0, 10**5, 10**4):
        made[start : start + 10**4] = np.zeros(chunks, kind)


def unwritten(file, name):
    stored = file[name][()]
    chunks = (1, *stored.shape[1:])
    made = replaced(file, name, None, shape=stored.shape, dtype=stored.dtype, chunks=chunks)
    made[:2] = stored[:2]


def packed(file, name):
    """Zeros of many megabytes in a few kilobytes, all of it written."""
    shape, kind = (3, 4, 2048, 20) if name == "kspace" else (3, 512, 512), file[name].dtype
    replaced(file, name, np.zeros(shape, kind), chunks=shape, compression="gzip")


DAMAGE = [
    (lambda file, name: replaced(file, name, h5py.SoftLink("/nowhere")), "is missing"),
    (lambda file, name: (file.pop(name), file.create_group(name)), "is a group"),
    (lambda file, name: replaced(file, name, h5py.Empty("f4")), "is empty"),
    (lambda file, name: replaced(file, name, "words"), "is object of shape"),
    (lambda file, name: replaced(file, name, np.zeros((3, 0, 16), "f4")), "of shape \\(3, 0, 16"),
    (lambda file, name: replaced(file, name, np.zeros((3, 2, 2), "i2,i2")), "of shape \\(3, 2, 2"),
    (in_another_file, "lie in another file"),
    (external, "lie in another file"),
    (linked, "lie in another file"),
    (unwritten, "never written in whole"),
    (bomb, "never written in whole"),
    (packed, "declares \\d"),
]


@pytest.mark.parametrize("name", ["kspace", "reconstruction_rss"])
@pytest.mark.parametrize("damage, words", DAMAGE)
def test_what_stands_in_place_of_an_array(path, monkeypatch, name, damage, words):
    monkeypatch.chdir(path.parent)
    with h5py.File(path, "r+") as file:
        damage(file, name)
    refused(lambda: read_volume(path), "file1000000.h5", f"'{name}'", words)


def test_links_within_the_file_are_followed(path):
    before = read_volume(path)
    with h5py.File(path, "r+") as file:
        file["elsewhere"] = file.pop("kspace")
        file["kspace"] = h5py.SoftLink("/elsewhere")
    np.testing.assert_array_equal(read_volume(path).kspace, before.kspace)


def test_memory_that_is_not_there(path, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 100)  # 100 pages of 100 bytes
    refused(lambda: read_volume(path), "'kspace' declares", "memory 0.01 MB")


def test_a_damaged_file_of_the_cache_is_made_anew(path, monkeypatch):
    path.write_bytes(b"")
    refused(lambda: read_volume(path), "fetch it again")
    monkeypatch.setenv("RECON_CACHE", str(path.parent.parent))
    refused(lambda: read_volume(path), "delete it, and it is made anew")


CONTRASTS = ["AXT2", np.bytes_(b"AXT2"), np.array([b"AXT2"]), "AXT2  ", np.array([["AXT2"]], "O")]


@pytest.mark.parametrize("stored", [*CONTRASTS, np.bytes_(b"AXT2\0  ")])
def test_attributes_however_they_are_stored(path, stored):
    with h5py.File(path, "r+") as file:
        file.attrs["acquisition"] = file.attrs["patient_id"] = stored
        file.attrs["max"] = np.array([2.5])
    read = read_volume(path)
    assert read.contrast == read.attributes["patient_id"] == "AXT2" == read_contrast(path)
    assert read.attributes["max"] == 2.5


@pytest.mark.parametrize(
    "stored, words",
    [
        ("", "is missing"),
        (h5py.Empty("S1"), "is missing"),
        (np.frombuffer(b"AXT2", np.uint8), "holds several values"),
        (np.array([b"AXT1", b"AXT2"]), "holds several values"),
    ],
)
def test_attributes_that_are_no_text(path, stored, words):
    with h5py.File(path, "r+") as file:
        file.attrs["acquisition"] = stored
    refused(lambda: read_volume(path), "file1000000.h5", "'acquisition'", words)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"y": 24}, "encodedSpace has 24 columns, the array 20"),
        ({"y": 16}, "encodedSpace has 16 columns, the array 20"),
        ({"center": 4, "maximum": 13}, "first 6 and the last 0 columns"),
        ({"center": 14}, "leave -4 and 4 columns"),
        ({"center": -390}, "leave 400 and"),
        ({"maximum": 14}, "first 0 and the last 5 columns"),
        ({"maximum": 30}, "leave 0 and -11"),
        ({"x": 0}, "reconSpace is 0 x 16"),
        ({"x": -5}, "reconSpace is -5 x 16"),
    ],
)
def test_header_that_contradicts_the_array(path, fields, words):
    places = {"y": "<y>20<", "center": "<center>10<", "maximum": "<maximum>19<", "x": "<x>16<"}
    with h5py.File(path, "r+") as file:
        xml = file["ismrmrd_header"][()].decode()
        for name, value in fields.items():
            assert places[name] in xml
            xml = xml.replace(places[name], places[name].split(">")[0] + f">{value}<")
        replaced(file, "ismrmrd_header", xml)
    refused(lambda: read_volume(path), "file1000000.h5: 'ismrmrd_header'", words)


def test_a_centre_rounded_the_other_way_is_let_pass(path):
    with h5py.File(path, "r+") as file:
        xml = file["ismrmrd_header"][()].decode().replace("<center>10<", "<center>11<")
        replaced(file, "ismrmrd_header", np.bytes_(xml))
    assert read_volume(path).padding == (0, 1)


def test_scans_that_could_not_be_scored_are_refused_before_training(path, tmp_path):
    mask = np.arange(20) % 3 == 0
    write_volume(path.with_name("b.h5"), volume(mask=mask, target=None))
    empty = volume()
    empty.kspace[:], empty.target[:] = 0, 0
    empty.kspace[2, 3, 5, 5] = 1
    write_volume(path.with_name("c.h5"), empty)  # the last coil of the last slice holds something
    check(path.with_name("c.h5"), "multicoil")
    write_volume(path.with_name("d.h5"), replace(empty, mask=mask))  # the reference does not
    empty.kspace[:] = 0
    write_volume(path.with_name("e.h5"), empty)
    asked = {"b": "no reference image", "d": "'reconstruction_rss' is all", "e": "'kspace' is all"}
    for name, words in asked.items():
        refused(lambda name=name: check(path.with_name(f"{name}.h5"), "multicoil"), name, words)
    refused(
        lambda: open_split("fastmri_folder", "multicoil", "all", data_root=path.parent),
        "b.h5 has no reference image",
    )


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


def test_coils_that_do_not_fit_the_task(path, tmp_path):
    check(path, "multicoil")
    refused(lambda: check(path, "singlecoil"), "has 4 coils", "task='multicoil'")
    write_volume(tmp_path / "one.h5", volume((3, 1, 32, 20), single_coil=True))
    check(tmp_path / "one.h5", "singlecoil")
    refused(lambda: check(tmp_path / "one.h5", "multicoil"), "has 1 coil,", "task='singlecoil'")


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
