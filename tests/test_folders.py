"""One rule for what a folder may hold, whoever reads it; and single files of pictures."""

import os
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from recon.data.fastmri import Volume, list_volumes, write_volume
from recon.data.isotropic import open_heads
from recon.data.oct_files import image_files
from recon.data.super_resolution import SLICE, head_slices
from recon.errors import InputError
from recon.results.arrays import read_picture
from recon.results.microscopy import beside


def refused(call, *words):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    for word in words:
        assert re.search(word, str(caught.value)), str(caught.value)


def scan(path):
    kspace = np.ones((1, 1, 16, 8), np.complex64)
    made = Volume("a", kspace, np.ones((1, 8, 8), np.float32), "AXT2", (8, 8), (0, 0), True)
    write_volume(path, made)


def picture(path):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)


def head(path):
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), path)


READERS = {
    ".h5": (scan, list_volumes),
    ".png": (picture, image_files),
    ".nii.gz": (head, lambda folder: open_heads("nifti_folder", 99, 0, root=str(folder))),
}


@pytest.fixture(params=READERS)
def held(request, tmp_path):
    """A folder of three files, its reader, the names' suffix, and the first file."""
    write, read = READERS[request.param]
    for name in ("b10", "b9", "b2"):
        write(tmp_path / (name + request.param))
    return tmp_path, read, request.param, tmp_path / f"b2{request.param}"


def test_numbers_are_numbers_and_leftovers_are_passed_over(held):
    folder, read, suffix, first = held
    for name in (f"._b2{suffix}", ".DS_Store", "Thumbs.db", "Desktop.ini"):
        (folder / name).write_bytes(b"\0\5\26\7")
    (folder / "b9.json").write_text("{}")  # what BIDS puts beside a volume
    (folder / ".pipe").mkdir()
    first.rename(folder / f"b2{suffix.upper()}")
    names = [f"b2{suffix.upper()}", f"b9{suffix}", f"b10{suffix}"]
    found = [path.name for path in read(folder)]
    assert found == (sorted(names) if suffix == ".h5" else names)  # sides and seeds hang on it


@pytest.mark.parametrize(
    "name, words",
    [
        ("b02{}", "two files of one name"),
        ("b2{upper}", "two files of one name"),
        ("notes.txt", "which is no .* file: move it out"),
        ("other.json", "which is no .* file: move it out"),
        ("a_folder", "which is no"),
        ("pipe{}", "pipe.*is no regular file"),
        ("zero{}", "zero.*is no regular file"),
        ("lost{}", "lost.*is no regular file"),
        ("loop{}", "loop.*is no regular file"),
        ("folder{}", "folder.*is no regular file"),
    ],
)
def test_strays_are_named(held, name, words):
    folder, read, suffix, first = held
    path = folder / name.format(suffix, upper=suffix.upper())
    targets = {"z": "/dev/zero", "l": folder / "absent" if "lost" in name else path}
    if name[:2] in ("b0", "b2"):
        path.write_bytes(first.read_bytes())
    elif name.startswith("pipe"):
        os.mkfifo(path)
    elif name[0] in targets:
        path.symlink_to(targets[name[0]])
    elif "folder" in name:
        path.mkdir()
    else:
        path.touch()
    refused(lambda: read(folder), words)


def test_one_name_under_two_suffixes(tmp_path):
    for name in ("a.png", "a.TIF"):
        picture(tmp_path / name)
    refused(lambda: image_files(tmp_path), "'a.TIF' and 'a.png'|'a.png' and 'a.TIF'")


# Pictures in .npy files


@pytest.mark.parametrize(
    "name, words",
    [
        ("absent", "is no file"), ("pipe", "is no file"), ("text", "is no .npy file"),
        ("object", "is no .npy file"), ("cut", "is no .npy file"), ("complex", "real numbers"),
        ("flat", "3 axes"), ("empty", "3 axes"), ("archive", "3 axes"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_pictures(tmp_path, name, words):
    path, good = tmp_path / f"{name}.npy", np.zeros((3, 4, 5), np.uint16)
    arrays = {"object": np.array([{}, 1]), "complex": good + 1j, "flat": good[0]}
    arrays |= {"empty": good[:0], "cut": good}
    if name == "pipe":
        os.mkfifo(path)
    elif name == "archive":
        np.savez(tmp_path / "a.npz", kspace=good)
        (tmp_path / "a.npz").rename(path)
    elif name in arrays:
        np.save(path, arrays[name])
        if name == "cut":
            path.write_bytes(path.read_bytes()[:-9])
    elif name == "text":
        path.write_text("no array")
    refused(lambda: read_picture(path, 3), name, words)
    refused(lambda: beside(np.ones((9, 256, 256)), np.ones((9, 256, 256)), str(path)), words)


def test_values_of_pictures_are_kept_and_holes_refused(tmp_path):
    values = np.random.default_rng(0).random((8, 9)).astype(">f8")
    np.save(tmp_path / SLICE, values)
    found = head_slices(tmp_path)["T2 axial"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], values.astype(np.float32))
    values[3, 3] = np.inf
    np.save(tmp_path / SLICE, values)
    refused(lambda: head_slices(tmp_path), SLICE, "NaN or infinite")
    cube, simulated = np.full((3, 8, 9), np.nan, np.float32), np.ones((9, 256, 256))
    np.save(tmp_path / "cube.npy", cube)
    refused(lambda: beside(simulated, simulated, str(tmp_path / "cube.npy")), "cube.npy", "NaN")
    cube = Path(os.environ.get("RECON_DATA", Path(__file__).parents[2] / "shared" / "data"))
    real = cube / "cellfinder_microscopy_16x510x667.npy"
    if real.is_file():
        np.testing.assert_array_equal(read_picture(real, 3), np.load(real))
