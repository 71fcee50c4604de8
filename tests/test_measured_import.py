"""Measured k-space out of NumPy files: what is taken, in which order, and what is refused."""

import zipfile

import numpy as np
import pytest
from fastmri.data import SliceDataset
from fastmri.data.transforms import UnetDataTransform

from recon.__main__ import main
from recon.data.fastmri import read_volume
from recon.data.measured import describe, import_kspace, write_measured
from recon.paths import project_root
from test_fastmri_files import refused

SHARED = project_root().parent / "shared" / "data"


def scan(slices=0, coils=4, height=72, width=66):
    """Centred k-space of a disc under smooth coils, ``(slices,) coils, H, W``."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    shape = (max(slices, 1), coils, height, width)
    turn = np.exp(1j * np.arange(coils))[:, None, None]
    image = ((x**2 + y**2 < 0.7) * (1.2 + turn.real * x + turn.imag * y) * turn)[None]
    image = image * (1 + np.arange(shape[0]))[:, None, None, None]
    axes = (-2, -1)
    made = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes)), axes) * 1e-4
    made = (made + 1e-5 * rng.normal(size=shape)).astype(np.complex64)
    return made if slices else made[0]


@pytest.fixture
def saved(tmp_path):
    def save(array, name="scan.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (np.savez if name.endswith("z") else np.save)(tmp_path / name, array)
        return tmp_path / name

    return save


def test_measured_kspace_becomes_a_file(tmp_path, saved):
    kspace = scan()
    kspace[..., :2] = 0
    read = read_volume(import_kspace(saved(kspace), tmp_path / "out", "AXT2"))
    np.testing.assert_array_equal(read.kspace[0], kspace)
    assert (read.contrast, read.crop, read.padding) == ("AXT2", (72, 66), (2, 0))
    assert read.mask is None and read.target is not None


def test_measured_kspace_can_lose_lines_of_either_axis(tmp_path, saved):
    kspace = scan()
    path = saved(kspace)
    one, other = (
        read_volume(import_kspace(path, tmp_path / "out", swap=swap)) for swap in (False, True)
    )
    assert (one.name, other.name) == ("scan", "scan_swapped")
    np.testing.assert_array_equal(other.kspace[0], kspace.swapaxes(-2, -1))
    assert one.attributes["patient_id"] == other.attributes["patient_id"]  # one scan, one side
    np.testing.assert_allclose(other.target[0], one.target[0].T, rtol=1e-4, atol=1e-6)


def test_measured_kspace_without_some_columns_gets_a_mask(tmp_path):
    kspace = scan()
    kspace[..., 5:9] = 0
    write_measured(kspace, tmp_path / "a.h5")
    read = read_volume(tmp_path / "a.h5")
    assert read.target is None and list(np.flatnonzero(~read.mask)) == [5, 6, 7, 8]


ORDERS = [
    ("h,w,coils", 0, (1, 2, 0)),
    ("H, coils, W", 0, (1, 0, 2)),
    ("coils,slices,h,w", 3, (1, 0, 2, 3)),
    ("w,h,slices,coils", 3, (3, 2, 0, 1)),
    ("slices,coils,h,w", 3, (0, 1, 2, 3)),
]


@pytest.mark.parametrize("axes, slices, order", ORDERS)
def test_axes_of_any_order(tmp_path, saved, axes, slices, order):
    kspace = scan(slices)
    read = read_volume(import_kspace(saved(kspace.transpose(order)), tmp_path / "out", axes=axes))
    np.testing.assert_array_equal(read.kspace, kspace.reshape(-1, *kspace.shape[-3:]))


def test_axes_of_one_element_and_axes_that_are_not_there(tmp_path, saved):
    image = scan(coils=1)[0]
    for name, array, axes in (("a", image, "h,w"), ("b", image[:, :, None, None], "h,w,1,coils")):
        path = import_kspace(saved(array, f"{name}.npy"), tmp_path / "out", axes=axes)
        np.testing.assert_array_equal(read_volume(path).kspace[0, 0], image)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda k: k.transpose(1, 2, 0), r"pictures of 66 x 4: .* --axes h,w,coils;"),
        (lambda k: k.transpose(1, 0, 2), r"pictures of 4 x 66: .* --axes h,coils,w;"),
        (lambda k: k.transpose(1, 2, 0)[:, :, None], r"of 1 x 4: .* --axes h,w,slices,coils;"),
        (lambda k: k[None].transpose(1, 2, 3, 0), "strongest|looks like|pictures of 66 x 1"),
        (lambda k: np.fft.ifftshift(k, (-2, -1)), "strongest at 0, 0 .* middle 36, 33: centre it"),
        (lambda k: np.roll(k, 5, -1), "strongest at 36, 38"),
        (lambda k: k[..., :48], "strongest at 36, 33 and not in its middle 36, 24"),
        (lambda k: np.fft.fftshift(np.fft.ifft2(k), (-2, -1)), "looks like an image"),
        (lambda k: np.fft.ifft2(k), "looks like an image"),
        (lambda k: 0 * k, "all zero"),
        (lambda k: k.astype("c16") * 1e-45, "all zero"),
        (lambda k: k.astype("c16") * 1e-25, "rescale"),
        (lambda k: k.astype("c16") * 1e30, "rescale"),
        (lambda k: k.astype("c16") * 1e200, "NaN or infinite"),
        (lambda k: k * np.nan, "NaN or infinite"),
        (lambda k: k.real, "must be complex"),
        (lambda k: k[0], "must be complex, .* pass --axes"),
        (lambda k: k[0, 0, 0], "must be complex"),
        (lambda k: k[:0], "must be complex"),
        (lambda k: np.array(["words"]), "must be complex"),
        (lambda k: k * (np.indices((72, 66)).sum(0) % 2), "only whole columns"),
    ],
)
def test_arrays_that_are_refused(tmp_path, saved, change, words):
    path = saved(change(scan()))
    refused(lambda: import_kspace(path, tmp_path / "out"), "scan", words)
    refused(lambda: import_kspace(path, tmp_path / "out", swap=True), "scan")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    "axes", ["h,w", "h,w,coils,slices", "h,w,h", "x,y,coils", "1,h,w", "h,coils,slices", ","]
)
def test_axes_that_do_not_fit(tmp_path, saved, axes):
    path = saved(scan())
    refused(lambda: import_kspace(path, tmp_path, axes=axes), f"--axes {axes} does not fit")


def mat(path):
    path.write_bytes(b"MATLAB 5.0 MAT-file, written by somebody" + bytes(100))


def objects(path):
    np.savez(path.with_suffix(".npz"), kspace=np.array([{}], object))
    path.with_suffix(".npz").replace(path)


def damaged(path):
    np.savez(path, kspace=scan())
    content = bytearray(path.read_bytes())
    content[5000:5100] = b"?" * 100
    path.write_bytes(content)


def encrypted(path):
    np.savez(path, kspace=scan())
    content = bytearray(path.read_bytes())
    for start, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(start) + flag] |= 1
    path.write_bytes(content)


def bomb(path):
    np.savez_compressed(path, kspace=np.zeros((4, 512, 512), np.complex64))


def foreign(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("kspace", "no array")


def huge(path):
    np.save(path.with_suffix(".npy"), scan())
    content = path.with_suffix(".npy").read_bytes().replace(b"(4, 72, 66)", b"(9000000000000, 9)")
    path.write_bytes(content)


@pytest.mark.parametrize(
    "make, words",
    [
        (mat, "is no .npy or .npz file: save the array 'kspace' with numpy.savez"),
        (lambda path: path.write_bytes(b""), "is no .npy or .npz file"),
        (lambda path: path.write_bytes(b"PK\x03\x04 not a zip"), "no readable"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': "), "no readable"),
        (objects, "no readable .* holds Python objects"),
        (damaged, "no readable .*CRC"),
        (encrypted, "no readable .*encrypted"),
        (bomb, "'kspace.npy' declares 8.389 MB"),
        (foreign, "no readable .*no array"),
        (huge, "no readable"),
        (lambda path: np.savez(path, a=scan(), b=scan()), "holds a, b: name the array 'kspace'"),
        (lambda path: np.savez(path), "holds nothing"),
        (lambda path: path.mkdir(), "is no file"),
        (lambda path: path.symlink_to("/dev/zero"), "is no file"),
    ],
)
def test_files_that_are_refused(tmp_path, capsys, make, words):
    make(tmp_path / "scan.npz")
    refused(lambda: import_kspace(tmp_path / "scan.npz", tmp_path / "out"), "scan.npz", words)
    assert main(["data", "import", str(tmp_path / "scan.npz"), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_another_scan_of_that_name_is_not_replaced(tmp_path, saved):
    kspace, out = scan(), tmp_path / "out"
    first, second = saved(kspace, "one/scan.npz"), saved(2 * kspace, "two/scan.npz")
    made = import_kspace(first, out)
    before = read_volume(made)
    assert import_kspace(first, out) == made  # again
    assert import_kspace(saved(kspace, "copy/scan.npz"), out) == made  # the same samples
    refused(lambda: import_kspace(second, out), "scan.h5 was made from .*copy/scan.npz", "two/scan")
    np.testing.assert_array_equal(read_volume(made).kspace, before.kspace)
    other = read_volume(import_kspace(second, tmp_path / "else"))
    assert other.attributes["patient_id"] != before.attributes["patient_id"]
    write_measured(kspace, out / "third.h5")
    refused(lambda: import_kspace(saved(3 * kspace, "third.npz"), out), "made from another file")
    saved(3 * kspace, "copy/scan.npz")  # the source itself was exported anew
    again = read_volume(import_kspace(tmp_path / "copy/scan.npz", out))
    np.testing.assert_array_equal(again.kspace[0], 3 * kspace)


def test_a_folder_that_is_a_file(tmp_path, saved):
    path = saved(scan())
    refused(lambda: import_kspace(path, path), "scan.npz is a file: pass a folder")
    refused(lambda: import_kspace(path, path / "below"), "could not be written .Not a directory")


def test_the_command_says_what_it_read(tmp_path, saved, capsys):
    path = saved(scan(3, 1).transpose(2, 3, 0, 1))
    words = ["data", "import", str(path), str(tmp_path / "out"), "--axes", "h,w,slices,coils"]
    assert main(words) == 0
    line, written = capsys.readouterr().out.splitlines()
    assert line == "3 slices, 1 coil, 72 x 66, zero frequency at 36, 33"
    assert written == str(tmp_path / "out" / "scan.h5")
    assert main([*words[:4], "--axes", "w,h"]) == 2


@pytest.mark.parametrize(
    "name, line",
    [
        ("iraki_brain_16ch_64x64", "1 slice, 16 coils, 64 x 64, zero frequency at 31, 32"),
        ("pulseq_cimax_brain_16ch_128x128", "1 slice, 16 coils, 128 x 128, zero fr.* 63, 63"),
        ("pulseq_skyra_phantom_32ch_64x64", "1 slice, 32 coils, 64 x 64, zero fr.* 31, 32"),
        ("sigpy_brain_8ch_undersampled", ""),
    ],
)
def test_shared_measured_scans(tmp_path, name, line):
    source = SHARED / f"{name}.npz"
    if not source.exists():
        pytest.skip(f"the measured scan is not at {source}")
    if not line:
        refused(lambda: import_kspace(source, tmp_path), "only whole columns")
        return
    read = read_volume(import_kspace(source, tmp_path))
    np.testing.assert_array_equal(read.kspace[0], np.load(source)["kspace"])
    assert line[:30] in describe(tmp_path / f"{name}.h5")
    # An object in the middle, air in the corners: the k-space is centred.
    n = len(read.target[0]) // 8
    assert read.target[0, 3 * n : 5 * n, 3 * n : 5 * n].mean() > 5 * read.target[0, :n, :n].mean()
    assert len(SliceDataset(tmp_path, "multicoil", UnetDataTransform("multicoil"))) == 1
