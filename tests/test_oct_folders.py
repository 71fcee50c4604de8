"""Folders of real B-scans: how they are split and paired, the public sets, what is refused."""

import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import EpsImagePlugin, Image

from recon.data.manifest import load_manifest, manifest_names
from recon.data.oct import crop_back, open_oct, pad_to, read_bscans, read_truth
from recon.data.oct_simulated import SPLITS
from recon.errors import InputError


def refused(call, *words):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and message.endswith((".", ")."))
    for word in words:
        assert re.search(word, message), message


def speckled(path: Path, count=2, shape=(64, 72), noise=0.1, seed=0) -> Path:
    """A volume of noisy grey images."""
    path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, count])
    for k in range(count):
        grey = np.clip(rng.normal(0.5, noise, shape), 0, 1)
        Image.fromarray(np.round(255 * grey).astype(np.uint8)).save(path / f"{k:02d}.png")
    return path


def two_domains(root: Path, names=("a_1", "a_2", "b_1", "c_1", "d_1")) -> Path:
    for k, name in enumerate(names):
        speckled(root / "high" / name, noise=0.15, seed=k)
        speckled(root / "low" / name, noise=0.05, seed=100 + k)
    return root


def test_two_folders_are_split_by_patient(tmp_path):
    root = two_domains(tmp_path)
    found = {split: open_oct("oct_folders", split, data_root=root) for split in SPLITS}
    names = [{p.name for p in domains.high} for domains in found.values()]
    assert set.union(*names) == {"a_1", "a_2", "b_1", "c_1", "d_1"}
    assert sum(map(len, names)) == 5 and all(names)
    assert sum({"a_1", "a_2"} <= n for n in names) == 1
    for domains in found.values():
        assert domains.paired and not domains.simulated
        assert [p.name for p in domains.high] == [p.name for p in domains.low]
        assert read_truth(domains.high[0]) is None
    joined = open_oct("oct_folders", "test", data_root=f"{root / 'high'}, {root / 'low'}")
    assert joined == found["test"]


def test_split_folders_and_unpaired_domains(tmp_path):
    two_domains(tmp_path / "given" / "test", ("one",))
    domains = open_oct("oct_folders", "test", data_root=tmp_path / "given")
    assert domains.high == [tmp_path / "given" / "test" / "high" / "one"] and domains.paired
    two_domains(tmp_path / "x", ("a", "b", "c"))
    for name in "abc":
        (tmp_path / "x" / "low" / name).rename(tmp_path / "x" / "low" / f"other{name}")
    found = [open_oct("oct_folders", s, data_root=tmp_path / "x") for s in SPLITS]
    assert sum(len(d.high) for d in found) == sum(len(d.low) for d in found) == 3
    assert not any(d.paired for d in found) and all(d.high and d.low for d in found)
    (tmp_path / "x" / "low" / "othera").rename(tmp_path / "x" / "low" / "a")
    with pytest.raises(InputError, match="have images in one domain only"):
        for split in SPLITS:  # five patients now, one of them in both domains
            open_oct("oct_folders", split, data_root=tmp_path / "x")


def test_one_folder_is_enough_for_a_test(tmp_path):
    speckled(tmp_path / "mine" / "eye")
    domains = open_oct("oct_folders", "test", data_root=tmp_path / "mine")
    assert [p.name for p in domains.high] == ["eye"] and domains.low == []
    assert not domains.paired
    flat = open_oct("oct_folders", "test", data_root=tmp_path / "mine" / "eye")
    assert [p.name for p in flat.high] == ["00.png", "01.png"]
    assert read_bscans(flat.high[0]).shape == (1, 64, 72)
    for name in "bcd":
        speckled(tmp_path / "mine" / name)
    refused(
        lambda: open_oct("oct_folders", "train", data_root=tmp_path / "mine"), "one domain only"
    )


def test_public_layouts(tmp_path):
    duke = tmp_path / "duke" / "For synthetic experiments"
    for k in (1, 2, 3, 10):
        for name, noise in (("test.tif", 0.2), ("average.tif", 0.05)):
            (duke / str(k)).mkdir(parents=True, exist_ok=True)
            grey = np.random.default_rng(k).normal(0.5, noise, (45, 90)).clip(0, 1)
            tifffile.imwrite(duke / str(k) / name, np.round(255 * grey).astype(np.uint8))
    found = [open_oct("duke_2013", s, data_root=tmp_path / "duke") for s in SPLITS]
    assert sorted(p.parent.name for d in found for p in d.high) == ["1", "10", "2", "3"]
    assert all(d.paired and p.name == "average.tif" for d in found for p in d.low)
    assert read_bscans(found[0].low[0]).shape == (1, 45, 90)
    (duke / "3" / "average.tif").unlink()
    refused(
        lambda: open_oct("duke_2013", "test", data_root=tmp_path / "duke"), "average.tif is mis"
    )

    pku = tmp_path / "pku"
    for eye in range(4):
        speckled(pku / "x", 1, noise=0.05, seed=eye)
        (pku / "clean").mkdir(exist_ok=True)
        (pku / "x" / "00.png").rename(pku / "clean" / f"{eye:04d}.png")
        for frame in range(2):
            speckled(pku / "x", 1, noise=0.2, seed=10 + eye + 10 * frame)
            (pku / "noisy").mkdir(exist_ok=True)
            (pku / "x" / "00.png").rename(pku / "noisy" / f"{eye:04d}{frame}.png")
    found = [open_oct("pku37", s, data_root=pku) for s in SPLITS]
    assert sum(len(d.high) for d in found) == 8 and all(d.paired for d in found)
    for d in found:
        assert all(h.stem[:4] == lo.stem for h, lo in zip(d.high, d.low, strict=True))

    kermany = tmp_path / "kermany" / "test" / "DRUSEN"
    speckled(kermany, 1)
    (kermany / "00.png").rename(kermany / "DRUSEN-53018-1.png")
    domains = open_oct("kermany_2018", "test", data_root=tmp_path / "kermany")
    assert len(domains.high) == 1 and not domains.low
    (kermany.parent / "CNV").mkdir()
    (kermany.parent / "again").symlink_to(kermany.parent)
    assert open_oct("kermany_2018", "test", data_root=tmp_path / "kermany") == domains
    (kermany / "._DRUSEN-53018-1.png").touch()
    (kermany / "notes.txt").touch()
    refused(lambda: open_oct("kermany_2018", "test", data_root=tmp_path / "kermany"), "'notes.txt'")


def test_unusable_folders(tmp_path):
    def open_folder(split="train", **given):
        return open_oct("oct_folders", split, **given)

    refused(lambda: open_folder(), "pass data_root")
    refused(lambda: open_folder(data_root=tmp_path / "absent"), "absent is no folder")
    refused(lambda: open_folder(data_root="a,b,c"), "is no folder")
    refused(lambda: open_oct("simulated_knee", "train"), "no set for denoising")
    refused(lambda: open_oct("simulated_retina", "all"), "no split 'all'")
    refused(lambda: open_oct("simulated_retina", "val", "huge"), "no profile 'huge'")
    root = two_domains(tmp_path / "ok")
    refused(lambda: open_folder(data_root=f"{root},{root},{root}"), "3 folders")
    (tmp_path / "half" / "high").mkdir(parents=True)
    refused(lambda: open_folder(data_root=tmp_path / "half"), "half/high is an empty domain")
    speckled(tmp_path / "half" / "high" / "a")
    refused(lambda: open_folder(data_root=tmp_path / "half"), "half/low is missing")
    few = two_domains(tmp_path / "few", ("a_1", "a_2"))
    assert len(open_folder(data_root=few, split="test").high) == 2
    refused(lambda: open_folder(data_root=few), r"1 patient\(s\)")


def test_one_domain_given_twice(tmp_path):
    root = two_domains(tmp_path)
    same = f"{root / 'high'},{root / 'low' / '..' / 'high'}"
    refused(lambda: open_oct("oct_folders", "test", data_root=same), "holds the same images as")
    (tmp_path / "copy").mkdir()
    for folder in (root / "high").iterdir():
        (tmp_path / "copy" / folder.name).mkdir()
        for path in folder.iterdir():
            (tmp_path / "copy" / folder.name / path.name).write_bytes(path.read_bytes())
    copied = f"{root / 'high'},{tmp_path / 'copy'}"
    refused(lambda: open_oct("oct_folders", "test", data_root=copied), "pass two domains")


def test_pairs_that_do_not_match(tmp_path):
    root = two_domains(tmp_path)
    speckled(root / "low" / "a_1", count=3)
    speckled(root / "low" / "b_1", shape=(64, 80))
    for patient, words in (("a", "has 3 B-scans where"), ("b", r"has 64 x 80 pixels where")):
        one = tmp_path / f"only_{patient}"
        for domain in ("high", "low"):
            name = f"{domain}/{patient}_1"
            shutil.copytree(root / name, one / name)
        refused(lambda one=one: open_oct("oct_folders", "test", data_root=one), words)


def renamed(folder, pattern, first=1):
    """Number the B-scans of a volume, the last one first so that no name is taken."""
    for k, path in reversed(list(enumerate(sorted(folder.iterdir())))):
        path.rename(folder / pattern.format(k + first))


def test_partners_go_by_name_with_numbers_as_numbers(tmp_path):
    """b2 belongs to b02 and P3 to P03; where names differ, the first one alone is named."""
    for k, name in enumerate(("P1_OD", "P2_OD", "P10_OD")):
        speckled(tmp_path / "high" / name, 11, noise=0.15, seed=k)
        speckled(tmp_path / "low" / name.replace("P", "P0"), 11, noise=0.05, seed=100 + k)
        renamed(tmp_path / "high" / name, "b{}.png")
        renamed(tmp_path / "low" / name.replace("P", "P0"), "b{:02}.png")
    found = open_oct("oct_folders", "all", data_root=tmp_path)
    assert found.paired and [p.name for p in found.high] == ["P1_OD", "P2_OD", "P10_OD"]
    assert [p.name for p in found.low] == ["P01_OD", "P02_OD", "P010_OD"]
    rows = read_bscans(found.high[0])
    for number in (2, 10):  # the order of a volume is that of the numbers
        alone = read_bscans(found.high[0] / f"b{number}.png")
        np.testing.assert_array_equal(rows[number - 1], alone[0])
    renamed(tmp_path / "low" / "P02_OD", "b{}.png", 2)
    refused(
        lambda: open_oct("oct_folders", "all", data_root=tmp_path),
        "high/P2_OD/b1.png has no partner",
    )
    (tmp_path / "low" / "P02_OD" / "b12.png").unlink()
    refused(lambda: open_oct("oct_folders", "all", data_root=tmp_path), "10 B-scans", "b1.png has")
    shutil.rmtree(tmp_path / "low" / "P02_OD")
    refused(lambda: open_oct("oct_folders", "all", data_root=tmp_path), "high/P2_OD has no partner")
    speckled(tmp_path / "high" / "P02_OD", noise=0.15)
    refused(lambda: open_oct("oct_folders", "all", data_root=tmp_path), "two files of one name")


def test_eyes_of_one_patient_spelt_in_two_ways_stay_together(tmp_path):
    for k in range(1, 7):
        speckled(tmp_path / "high" / f"P{k}_OD", noise=0.15, seed=k)
        speckled(tmp_path / "high" / f"P{k:02}_OS", noise=0.15, seed=10 + k)
        for eye in ("OD", "OS"):
            speckled(tmp_path / "low" / f"P{k}_{eye}", noise=0.05, seed=100 + k)
    for split in SPLITS:
        eyes = [p.name.split("_") for p in open_oct("oct_folders", split, data_root=tmp_path).high]
        assert len(eyes) == 2 * len({int(patient[1:]) for patient, _ in eyes})


def test_what_is_passed_for_testing_is_tested_all_of_it(tmp_path):
    names = tuple(f"P{k}_OD" for k in range(1, 10))
    root = two_domains(tmp_path / "nine", names)
    assert len(open_oct("oct_folders", "test", data_root=root).high) == 2
    found = open_oct("oct_folders", "all", data_root=root)
    assert [p.name for p in found.high] == [*names] and found.paired
    assert len(open_oct("oct_folders", "all", data_root=root / "high").high) == 9
    refused(lambda: open_oct("simulated_retina", "all"), "no split 'all'")
    given = two_domains(tmp_path / "given" / "test", ("one",)).parent
    assert len(open_oct("oct_folders", "all", data_root=given).high) == 1
    (given / "train").mkdir()  # of which it would say nothing
    refused(lambda: open_oct("oct_folders", "all", data_root=given), "'train' beside 'test'")


@pytest.mark.parametrize("stray", ["loose.png", "empty"])
def test_a_domain_is_of_one_kind(tmp_path, stray):
    root = two_domains(tmp_path)
    if stray == "empty":
        (root / "low" / stray).mkdir()
    else:
        shutil.copy(root / "low" / "a_1" / "00.png", root / "low" / stray)
    refused(lambda: open_oct("oct_folders", "test", data_root=root), stray, "no folder of images")


def test_eyes_of_pku_without_a_partner(tmp_path):
    for name, folder in (("00010", "noisy"), ("0001", "clean"), ("0002", "clean")):
        speckled(tmp_path / "x", 1)
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "x" / "00.png").rename(tmp_path / folder / f"{name}.png")
    refused(lambda: open_oct("pku37", "test", data_root=tmp_path), "the eye of .*0002.png")
    (tmp_path / "clean" / "0002.png").rename(tmp_path / "clean" / "0001b.png")
    refused(lambda: open_oct("pku37", "test", data_root=tmp_path), "of the same eye")


def test_domains_in_the_wrong_order(tmp_path):
    root = two_domains(tmp_path)
    swapped = f"{root / 'low'},{root / 'high'}"
    refused(
        lambda: open_oct("oct_folders", "test", data_root=swapped),
        "look averaged more than",
        "fewer frames comes first",
    )


# --- single images ---------------------------------------------------------------------------


def test_unequal_sizes_in_a_volume(tmp_path):
    path = speckled(tmp_path / "v")
    Image.fromarray(np.zeros((64, 70), np.uint8)).save(path / "99.png")
    refused(lambda: read_bscans(path), "99.png has 64 x 70 pixels where 00.png has 64 x 72")


def test_images_that_are_not_eight_bit_grey(tmp_path):
    grey = np.zeros((8, 9), np.uint8)
    Image.fromarray(np.stack([grey, grey, grey + 1], -1)).save(tmp_path / "colour.png")
    Image.fromarray(grey.astype(np.uint16)).save(tmp_path / "deep.png")
    tifffile.imwrite(tmp_path / "deep.tif", grey.astype(np.uint16))
    tifffile.imwrite(tmp_path / "float.tif", grey.astype(np.float32))
    holes = np.full((8, 9), np.nan, np.float32)
    tifffile.imwrite(tmp_path / "holes.tif", holes)
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 8, 9), np.uint8))
    (tmp_path / "text.png").write_text("no image")
    for name, word in (
        ("colour.png", "colour"), ("deep.png", "16-bit"), ("deep.tif", "16-bit"),
        ("float.tif", "float image"), ("holes.tif", "holds NaN"), ("stack.tif", "5 pictures"),
        ("text.png", "cannot be read"), ("absent.png", "does not exist"),
    ):  # fmt: skip
        refused(lambda name=name: read_bscans(tmp_path / name), name, word)
    (tmp_path / "empty").mkdir()
    refused(lambda: read_bscans(tmp_path / "empty"), "holds no image")


POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 9 8
%%EndComments
showpage
"""


def header_only(width, height):
    """A PNG file of a few bytes that promises many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b""))
    framed = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c))
              for k, c in chunks)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_the_suffix_names_the_decoder(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **_: started.append(given))
    (tmp_path / "b0.png").write_bytes(POSTSCRIPT)
    refused(lambda: read_bscans(tmp_path / "b0.png"), "b0.png", "does not hold PNG")
    assert not started
    grey = np.zeros((8, 9), np.uint8)
    for name, kind in (("a.png", "TIFF"), ("b.tif", "PNG"), ("c.jpg", "BMP"), ("d.bmp", "GIF")):
        Image.fromarray(grey).save(tmp_path / name, format=kind)
        refused(lambda name=name: read_bscans(tmp_path / name), name, "does not hold")
    Image.fromarray(grey).save(tmp_path / "e.gif")
    refused(lambda: read_bscans(tmp_path / "e.gif"), "e.gif is no image that is read")


@pytest.mark.parametrize("sides", [(30_000, 30_000), (8_200, 8_200), (2**31 - 1, 2**31 - 1)])
def test_more_pixels_than_any_scanner_has(tmp_path, sides):
    (tmp_path / "b.png").write_bytes(header_only(*sides))
    refused(lambda: read_bscans(tmp_path / "b.png"), "b.png cannot be read", "pixels")


@pytest.mark.filterwarnings("ignore")  # Pillow's own, about the damage
def test_damaged_images_give_a_sentence(tmp_path):
    """Bits and ends of each format, changed at random; what is still read has the right shape."""
    grey, rng = np.arange(4096, dtype=np.uint8).reshape(64, 64), np.random.default_rng(3)
    for suffix in ("png", "tif", "jpg", "bmp"):
        path = tmp_path / f"b.{suffix}"
        Image.fromarray(grey).save(path)
        good = path.read_bytes()
        for turn in range(60):
            content = bytearray(good[: rng.integers(len(good)) if turn % 3 == 0 else len(good)])
            for place in rng.integers(min(len(content), 200) or 1, size=3 if content else 0):
                content[place] = rng.integers(256)
            path.write_bytes(content)
            try:
                assert read_bscans(path).shape[0] == 1
            except InputError as error:
                assert "\n" not in str(error) and path.name in str(error)


def test_every_grey_format_is_read_alike(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for name in ("a.png", "a.tif", "a.bmp"):
        Image.fromarray(grey).save(tmp_path / name)
        np.testing.assert_array_equal(read_bscans(tmp_path / name)[0] * 255, grey)
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "three.png")
    np.testing.assert_array_equal(read_bscans(tmp_path / "three.png")[0] * 255, grey)


def test_padding_and_back():
    images = np.random.default_rng(0).random((2, 496, 512)).astype(np.float32)
    padded, crop = pad_to(images, 128)
    assert padded.shape == (2, 512, 512)
    np.testing.assert_array_equal(crop_back(padded, crop), images)
    np.testing.assert_array_equal(padded[:, 7], images[:, 0])  # mirrored, 8 rows above
    whole, crop = pad_to(padded, 128)
    assert whole.shape == padded.shape and crop_back(whole, crop).shape == padded.shape
    narrow, crop = pad_to(images[0, :9, :5], 8)  # further than the image is wide
    assert narrow.shape == (16, 8)
    np.testing.assert_array_equal(narrow[crop], images[0, :9, :5])


def test_manifests_of_oct_sets():
    sets = [load_manifest(n) for n in manifest_names() if "denoising" in load_manifest(n).tasks]
    assert {m.kind for m in sets} == {"oct", "simulated_oct"} and len(sets) >= 6
    for manifest in sets:
        assert manifest.tasks == ("denoising",) and manifest.licence
