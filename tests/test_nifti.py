"""What a NIfTI file has to be: whole, of one mind, and a volume of magnitudes."""

import gzip
import re
import struct

import nibabel as nib
import numpy as np
import pytest

from recon.data.isotropic import open_heads, read_head
from recon.data.nifti import read_upright
from recon.data.self_super_resolution import pairs_of
from recon.errors import InputError

SHAPE = (20, 24, 22)
AXES = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
INSIDE = sum(axis**2 for axis in AXES) < 0.8
HEAD = np.where(INSIDE, 400 + 60 * np.sin(5 * AXES[0]), 0).astype(np.float32)


def save(path, voxels=HEAD, affine=None):
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


def refused(call, *words):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and len(message) < 500
    for word in words:
        assert re.search(word, message), message


def coloured():
    found = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    found["R"] = HEAD / 4
    return found


ONE_SPOT = np.zeros(SHAPE, np.float32)
ONE_SPOT[5, 5, 5] = 900
MEAN, DEVIATION = HEAD[INSIDE].mean(), HEAD[INSIDE].std()


@pytest.mark.parametrize(
    "voxels, words",
    [
        (np.where(INSIDE, (HEAD - MEAN) / DEVIATION, 0).astype("f4"), r"[\d,]+ of the .* negative"),
        (np.where(INSIDE, HEAD / 8 - 200, -1024).astype("i2"), "10,560 .* negative"),
        (HEAD * np.exp(1.3j).astype("c8"), "voxels are complex"),
        (coloured(), "voxels are coloured"),
        (np.where(INSIDE, HEAD, np.nan), r"7,\d+ of 10,560 voxels are NaN"),
        (np.where(AXES[0] > 0.9, np.inf, HEAD), "voxels are NaN or infinite"),
        (ONE_SPOT, "99.5th percentile"),
        (np.zeros(SHAPE, "i2"), "99.5th percentile"),
        (HEAD + 1e9 * ONE_SPOT, r"brightest voxel 9e\+11"),
        (HEAD * np.float32(1e33), r"brightest voxel"),
        (np.stack([HEAD, HEAD], -1), r"shape is \(20, 24, 22, 2\): export a single 3-D volume"),
        (HEAD[0], "3-D volume"),
    ],
)
def test_values_that_are_no_magnitudes(tmp_path, voxels, words):
    path = save(tmp_path / "v.nii.gz", voxels)
    refused(lambda: read_head(path), "v.nii.gz", words)


def test_what_is_read_as_ever(tmp_path):
    given, _ = read_upright(save(tmp_path / "a.nii"))
    for name, voxels in (("b.nii.gz", HEAD[..., None]), ("c.nii", HEAD[..., None, None])):
        np.testing.assert_array_equal(read_upright(save(tmp_path / name, voxels))[0], given)
    nib.save(nib.Nifti2Image(HEAD.astype(">f4"), np.eye(4)), tmp_path / "d.nii")
    np.testing.assert_array_equal(read_upright(tmp_path / "d.nii")[0], given)
    ringing = np.where(INSIDE, HEAD, -0.5).astype(np.float32)  # what a spline leaves of air
    np.testing.assert_array_equal(read_upright(save(tmp_path / "e.nii", ringing))[0], given)
    (tmp_path / "f.nii").write_bytes((tmp_path / "a.nii").read_bytes() + bytes(512))
    np.testing.assert_array_equal(read_upright(tmp_path / "f.nii")[0], given)
    image = nib.Nifti1Image(HEAD, np.diag([1e-3, 1e-3, 1e-3, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "g.nii")
    assert read_upright(tmp_path / "g.nii")[1] == pytest.approx((1, 1, 1))


def changed(content, place, kind, *values):
    content = bytearray(content)
    struct.pack_into(f"<{kind}", content, place, *values)
    return bytes(content)


NAN, INF, WHOLE = float("nan"), float("inf"), "no whole NIfTI"
HEADERS = [
    (0, "i", (347,), WHOLE), (0, "i", (540,), "."), (40, "h", (0,), "."), (40, "h", (300,), "."),
    (40, "h", (2,), "."), (42, "h", (-1,), "."), (42, "h", (0,), "."), (42, "h", (21,), WHOLE),
    (44, "h", (19,), "goes on beyond"), (42, "3h", (32767,) * 3, "declares .* bytes"),
    (70, "h", (0,), "."), (70, "h", (999,), WHOLE), (70, "h", (8,), WHOLE),
    (70, "h", (2,), "goes on beyond"), (80, "f", (NAN,), "nan x 1 x 1 mm by pixdim"),
    (84, "f", (INF,), "1 x inf x 1 mm by pixdim"), (88, "f", (0,), "1 x 1 x 0 mm by pixdim"),
    (88, "f", (5,), "1 x 1 x 5 mm by pixdim, but of 1 x 1 x 1 mm by the affine"),
    (108, "f", (NAN,), WHOLE), (108, "f", (0,), "vox_offset is 0"),
    (108, "f", (353,), WHOLE), (108, "f", (1e30,), "declares"),
    (112, "2f", (1.0, NAN), WHOLE), (112, "2f", (1e38, 0), "NaN or infinite"),
    (112, "2f", (-1.0, 0), "negative"), (280, "4f", (0,) * 4, "cannot be inverted"),
    (296, "4f", (NAN,) * 4, "cannot be inverted"), (312, "4f", (1e30,) * 4, "are one"),
    (320, "f", (5,), "1 x 1 x 1 mm by pixdim, but of 1 x 1 x 5 mm by the affine"),
    (344, "4s", (b"abcd",), WHOLE),
]  # fmt: skip


@pytest.mark.parametrize("place, kind, values, words", HEADERS)
def test_headers_that_are_damaged_or_contradict_themselves(tmp_path, place, kind, values, words):
    path = save(tmp_path / "h.nii", HEAD.astype("i2"))
    path.write_bytes(changed(path.read_bytes(), place, kind, *values))
    refused(lambda: read_head(path), "h.nii", words)


def test_damage_by_chance_gives_a_sentence_or_the_same_volume(tmp_path):
    path = save(tmp_path / "h.nii", HEAD.astype("i2"))
    good, rng = path.read_bytes(), np.random.default_rng(5)
    expected = np.sort(read_head(path), axis=None)
    for _ in range(150):
        content = bytearray(good)
        for place in rng.integers(352, size=3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            found = read_head(path)
        except InputError as error:
            assert "\n" not in str(error) and "h.nii" in str(error)
        else:
            np.testing.assert_allclose(np.sort(found, axis=None), expected, atol=1e-6)


@pytest.mark.parametrize("kept", [0, 3, 100, 349, 400, -1])
def test_files_that_end_early(tmp_path, kept):
    path = save(tmp_path / "h.nii")
    path.write_bytes(path.read_bytes()[:kept])
    refused(lambda: read_head(path), WHOLE)


def test_compressed_bytes_are_held_against_their_checksum(tmp_path):
    plain = save(tmp_path / "h.nii").read_bytes()
    path, packed = tmp_path / "h.nii.gz", bytearray(gzip.compress(plain, 0))
    packed[len(packed) // 2] ^= 64  # stored, so only the checksum can tell
    path.write_bytes(packed)
    refused(lambda: read_head(path), WHOLE, "CRC")
    path.write_bytes(gzip.compress(plain + bytes(200 << 20), 1))
    refused(lambda: read_head(path), "goes on beyond")
    path.write_bytes(plain)
    refused(lambda: read_head(path), WHOLE)


def test_orientations_that_contradict_each_other(tmp_path):
    image = nib.Nifti1Image(HEAD, np.eye(4))
    image.set_qform(np.diag([-1.0, 1, 1, 1]), 1)
    nib.save(image, tmp_path / "h.nii")
    refused(lambda: read_head(tmp_path / "h.nii"), "LAS by qform, but to RAS by sform")
    assert read_upright(tmp_path / "h.nii", "RAS")[0].max() > 0  # told, nothing is guessed


def test_volumes_that_are_too_small_to_learn_from(tmp_path):
    head = read_head(open_heads("nifti_folder", 1, 0, root=str(save(tmp_path / "a.nii").parent))[0])
    refused(
        lambda: pairs_of(head, 2).draw(1, 32, 0, np.random.default_rng(0)),
        "20 x 20 voxels are too few|too few for patches of 32",
    )
