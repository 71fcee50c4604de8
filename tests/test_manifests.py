"""Manifests: all of ours fit the schema, bad ones are refused, and copies are held against them."""

import hashlib
import json
import re
from dataclasses import replace

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import yaml
from PIL import Image

from recon.data import manifest
from recon.data.fastmri import Volume, write_volume
from recon.data.isotropic import SOURCES
from recon.data.manifest import load_manifest, manifest_names, read_manifest, verify
from recon.data.origins import voxel_ratio
from recon.data.splits import open_split
from recon.data.volumes import axial_slices
from recon.errors import InputError
from recon.paths import project_root
from recon.results.parameters import declared

SIMULATED = ["simulated_brain", "simulated_knee", "simulated_leaves"]


def refused(call, *words):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    for word in words:
        assert re.search(word, message), message


@pytest.fixture
def tampered(tmp_path):
    """Writes a copy of a manifest with changes; None takes a field out."""

    def write(name, **changes):
        content = yaml.safe_load((manifest.manifest_folder() / f"{name}.yml").read_text())
        content |= changes
        content = {key: value for key, value in content.items() if value is not None}
        path = tmp_path / f"{name}.yml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_the_schema_is_one():
    schema = json.loads((manifest.manifest_folder() / "schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)


def test_every_manifest_loads():
    names = manifest_names()
    assert set(SIMULATED) < set(names)
    for name in names:
        loaded = load_manifest(name)
        assert loaded.name == name and loaded.licence
        if loaded.kind == "fastmri":
            assert "how" in loaded.access


def test_every_set_that_a_chapter_can_open_has_a_manifest():
    """Those of the super-resolution chapters too; no chapter about k-space opens them."""
    assert set(SOURCES) <= set(manifest_names())
    defaults = {path.stem: declared(path) for path in (project_root() / "book").glob("*.py")}
    named = {given["data"] for given in defaults.values() if "data" in given}
    assert named <= set(manifest_names()) and len(named) > 3
    for name in [name for name in SOURCES if load_manifest(name).kind == "isotropic"]:
        refused(lambda name=name: open_split(name, "multicoil", "val"), name, "super_resolution")


def test_published_counts():
    """The numbers of the published file lists, as the paper's table of the data has them."""
    knee, brain = load_manifest("fastmri_knee_multicoil"), load_manifest("fastmri_brain_multicoil")
    assert [knee.splits[s]["files"] for s in ("train", "val")] == [973, 199]
    assert [brain.splits[s]["slices"] for s in ("train", "val")] == [70748, 21842]
    single = load_manifest("fastmri_knee_singlecoil")
    assert single.splits["val"]["names_sha256"] == knee.splits["val"]["names_sha256"]
    assert sum(a["gigabytes"] for a in knee.archives if a["split"] == "train") == pytest.approx(
        455.3
    )


@pytest.mark.parametrize("name", SIMULATED)
def test_sizes_of_simulated_sets_keep_their_promise(name):
    """Upper bound of bytes (the mean coil number) against 300 MB and 4 GB; paper is 640 wide."""
    profiles = load_manifest(name).profiles
    for profile, bound in (("quick", 300e6), ("standard", 4e9)):
        p = profiles[profile]
        (height, width), slices = (
            p["matrix"],
            sum(p[s]["volumes"] * p[s]["slices"] for s in ("train", "val")),
        )
        picture = p["crop"][0] * p["crop"][1] * 4
        assert slices * (height * width * 8 * sum(p["coils"]) / 2 + picture) < bound
    assert profiles["paper"]["matrix"][0] == 640 and profiles["paper"]["crop"] == [320, 320]


def test_unknown_name_lists_the_known():
    refused(lambda: load_manifest("simulated_elbow"), "'simulated_elbow'", "simulated_knee")


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"kind": "dicom"}, "kind"),
        ({"tasks": []}, "tasks"),
        ({"licence": None}, "licence"),
        ({"colour": "blue"}, "colour"),
        ({"splits": {"val": {"folder": "../outside"}}}, "splits.val.folder"),
        ({"splits": {"val": {"folder": "/etc"}}}, "splits.val.folder"),
        ({"splits": {"val": {"folder": "a", "names_sha256": "abc"}}}, "splits.val.names_sha256"),
        ({"files": [{"path": "a/../../b"}]}, "files.0.path"),
        ({"access": {"url": "ftp://example.org"}}, "access.url"),
    ],
)
def test_wrong_schema_names_file_and_field(tampered, changes, field):
    path = tampered("fastmri_knee_multicoil", **changes)
    refused(lambda: read_manifest(path), "fastmri_knee_multicoil.yml", field)


def test_simulated_manifest_needs_its_profiles(tampered):
    path = tampered("simulated_knee", profiles={"quick": {}})
    refused(lambda: read_manifest(path), "simulated_knee.yml", "profiles")
    path = tampered("simulated_knee", contrasts={"CORPD_FBK": {"render": "PD"}})
    refused(lambda: read_manifest(path), "contrasts.CORPD_FBK", "noise")


def test_files_that_are_no_manifests(tmp_path, tampered):
    (tmp_path / "a.yml").write_text("name: [unclosed\n")
    refused(lambda: read_manifest(tmp_path / "a.yml"), "a.yml is no readable YAML")
    (tmp_path / "b.yml").write_text("")
    refused(lambda: read_manifest(tmp_path / "b.yml"), "b.yml: the top level")
    path = tampered("simulated_knee")
    path = path.rename(path.with_name("other.yml"))
    refused(lambda: read_manifest(path), "other.yml", "name")


def scan(path):
    """A small fastMRI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kspace, target = np.ones((1, 2, 16, 8), np.complex64), np.ones((1, 8, 8), np.float32)
    write_volume(path, Volume(path.stem, kspace, target, "AXT2", (8, 8), (0, 0), False))


def set_of(tampered, tmp_path, names):
    """A manifest of a small set, and a whole copy of it."""
    root = tmp_path / "root"
    (root / "multicoil_val").mkdir(parents=True)
    for name in names:
        scan(root / "multicoil_val" / name)
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
    single = {"path": "extra.txt", "bytes": 5, "sha256": hashlib.sha256(b"extra").hexdigest()}
    (root / "extra.txt").write_text("extra")
    split = {"folder": "multicoil_val", "files": len(names), "names_sha256": digest}
    path = tampered("fastmri_knee_multicoil", splits={"val": split}, files=[single])
    return read_manifest(path), root


def test_whole_copy_has_no_problem(tampered, tmp_path):
    made, root = set_of(tampered, tmp_path, ["b.h5", "a.h5"])
    (root / "multicoil_val" / ".hidden").touch()
    assert verify(made, root) == []


def test_what_verify_finds(tampered, tmp_path):
    made, root = set_of(tampered, tmp_path, ["b.h5", "a.h5"])

    def found(*words):
        problems = verify(made, root)
        assert len(problems) == 1 and problems[0].endswith("."), problems
        for word in words:
            assert re.search(word, problems[0]), problems[0]

    (root / "multicoil_val" / "a.h5").rename(root / "multicoil_val" / "c.h5")
    found("as many files", "other ones")
    (root / "multicoil_val" / "c.h5").unlink()
    found("holds 1 files", "has 2")
    (root / "multicoil_val" / "a.h5").touch()
    found("a.h5 is no whole HDF5 file")
    (root / "multicoil_val" / "notes.txt").touch()
    found("'notes.txt', which is no .h5 file")
    (root / "multicoil_val" / "notes.txt").unlink()
    scan(root / "multicoil_val" / "a.h5")
    (root / "extra.txt").write_text("exTra")
    found("extra.txt", "SHA-256", "fetch it again")
    (root / "extra.txt").write_text("longer than that")
    found("extra.txt has 16 bytes where 5")
    (root / "extra.txt").unlink()
    found("extra.txt is missing")


def test_copy_that_is_not_there(tampered, tmp_path):
    made, root = set_of(tampered, tmp_path, ["a.h5"])
    assert "is no folder" in verify(made, tmp_path / "absent")[0]
    (root / "multicoil_val").rename(root / "other")
    assert "holds none of the folders multicoil_val" in verify(made, root)[0]


def test_delivered_checksums_are_used(tampered, tmp_path):
    made, root = set_of(tampered, tmp_path, ["a.h5"])
    (root / "knee_multicoil_val.tar.xz").write_text("archive")
    right = hashlib.sha256(b"archive").hexdigest()
    lines = [f"{right}  knee_multicoil_val.tar.xz", f"{'0' * 64} *not_here.tar.xz", ""]
    (root / "SHA256").write_text("\n".join(lines))
    assert verify(made, root) == []
    (root / "knee_multicoil_val.tar.xz").write_text("archiv!")
    assert "knee_multicoil_val.tar.xz: its SHA-256" in verify(made, root)[0]
    (root / "SHA256").write_text("what is this\n")
    assert "line 1 holds no SHA-256 digest" in verify(made, root)[0]


def test_paths_that_leave_the_folder(tampered, tmp_path):
    made, root = set_of(tampered, tmp_path, ["a.h5"])
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "outside").mkdir()
    for name in ("../secret", str(tmp_path / "secret")):
        (root / "SHA256").write_text(f"{'0' * 64}  {name}\n")
        assert "leaves the folder" in verify(made, root)[0]
    (root / "SHA256").unlink()
    # A link is followed before it is judged.
    (root / "extra.txt").unlink()
    (root / "extra.txt").symlink_to(tmp_path / "secret")
    assert "'extra.txt' leaves the folder" in verify(made, root)[0]
    (root / "multicoil_val" / "a.h5").unlink()
    (root / "multicoil_val").rmdir()
    (root / "multicoil_val").symlink_to(tmp_path / "outside")
    assert any("'multicoil_val' leaves the folder" in p for p in verify(made, root))


OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize(
    "name, words",
    [
        ("a\0b", "null byte"),
        ("n" * 5000, "too long.*mend the list"),
        ("../" * 2000, "too long.*mend the list"),
        ("loop", "loop"),
        ("x" * (5 << 20), "longer than any list"),
    ],
)
def test_hostile_lists_of_checksums(tampered, tmp_path, name, words):
    made, root = set_of(tampered, tmp_path, ["a.h5"])
    (root / "loop").symlink_to(root / "loop")
    (root / "SHA256").write_text(f"{OTHER}  {name}\n")
    (problem,) = verify(made, root)
    assert re.search(words, problem, re.I) and len(problem) < 1000 and problem.endswith(".")


def test_any_folder_is_read_before_it_is_called_well(tmp_path):
    """Sets of which only the kind of file is known: empty folders and files are found."""
    oct_sets, heads = ("oct_folders", "kermany_2018"), ("nifti_folder", "adni_phantom")
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in (*oct_sets, *heads, "fastmri_folder", "duke_2013", "pku37"):
        (problem,) = verify(load_manifest(name), empty)
        assert str(empty) in problem and problem.endswith("."), problem
    for suffix, names in ((".png", oct_sets), (".nii", heads), (".h5", ("fastmri_folder",))):
        path = tmp_path / suffix[1:] / f"a{suffix}"
        path.parent.mkdir()
        for name in names:
            path.touch()
            assert path.name in verify(load_manifest(name), path.parent)[0]
            if suffix == ".png":
                Image.fromarray(np.eye(90, 80, dtype=np.uint8)).save(path)
            elif suffix == ".nii":
                nib.save(nib.Nifti1Image(np.ones((9, 9, 9), "i2"), np.eye(4)), path)
            else:
                scan(path)
            assert verify(load_manifest(name), path.parent) == []
            path.write_bytes(b"")
    official = tmp_path / "official"
    scan(official / "multicoil_train" / "a.h5")
    assert verify(load_manifest("fastmri_folder"), official) == []
    (official / "multicoil_train" / "b.h5").touch()
    assert "b.h5" in verify(load_manifest("fastmri_folder"), official)[0]


def test_a_known_file_without_a_checksum_is_not_empty(tampered, tmp_path):
    path = tampered("studyforrest_t1", files=[{"path": "head.nii"}])
    (tmp_path / "head.nii").touch()
    (problem,) = verify(read_manifest(path), tmp_path)
    assert problem.endswith("head.nii is empty: fetch it again.")


def test_the_voxel_of_a_head_is_that_of_its_manifest_and_of_its_header(tmp_path):
    made = load_manifest("studyforrest_t1")
    finer = replace(made, settings=made.settings | {"voxel_mm": 0.35})
    assert voxel_ratio(made, "quick") == pytest.approx(2.5)
    assert voxel_ratio(finer, "quick") == pytest.approx(5)
    nib.save(nib.Nifti1Image(np.ones((9, 9, 9), "i2"), np.eye(4)), tmp_path / "h.nii")
    refused(lambda: axial_slices(made, tmp_path / "h.nii", "quick"), "1 mm .* 0.7 mm by voxel_mm")
    plain = replace(made, settings={"span_mm": [1, 2]})
    refused(lambda: axial_slices(plain, tmp_path / "h.nii", "quick"), "shows no head")


def test_simulated_sets_have_nothing_to_verify(tmp_path):
    assert verify(load_manifest("simulated_knee"), tmp_path / "absent") == []


def test_the_shared_head_is_the_one_described():
    root = project_root().parent / "shared" / "data"
    if not (root / "studyforrest_t1_0p7mm.nii.gz").exists():
        pytest.skip(f"the studyforrest head is not in {root}")
    assert verify(load_manifest("studyforrest_t1"), root) == []
