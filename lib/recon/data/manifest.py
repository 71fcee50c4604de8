"""Manifests: one YAML file a data set, with what has to be known before it is used.

Access and licence, splits and how many files they hold, sizes and checksums where there are any,
and for simulated sets the sizes to simulate. `verify` holds a copy on disk against its manifest.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema

from recon.data.fastmri import list_volumes, volume_shape
from recon.data.folders import entries
from recon.errors import InputError
from recon.paths import project_root
from recon.results.readers import read_yaml

__all__ = [
    "Manifest",
    "load_manifest",
    "manifest_folder",
    "manifest_names",
    "read_manifest",
    "verify",
]

SPLIT = "(single|multi)coil_(train|val|test)"  # folders of a set that has no names for them
BLOCK = 1 << 22  # bytes read at once for a checksum


@dataclass(frozen=True)
class Manifest:
    """A data set. Fields that a kind of set doesn't have are empty; see ``schema.json``.

    Attributes
    ----------
    name, title, licence : str
    kind : {"fastmri", "nifti", "isotropic", "simulated", "oct", "simulated_oct"}
        How it is read: a folder of fastMRI files, a NIfTI volume put through the simulated scanner,
        heads with voxels as long as wide (`recon.data.isotropic`) or slices of them, or no files at
        all; and B-scans in folders of images, or simulated ones.
    tasks : tuple of str
        ``multicoil``, ``singlecoil`` or both; ``denoising`` for B-scans, ``super_resolution`` for
        isotropic heads, ``tiling`` for slices of them.
    simulated : bool
        Whether k-space (for NIfTI) or everything (for phantoms) is simulated.
    access : dict
        ``url`` and ``how``.
    splits : dict
        By name: ``folder``, and where known ``files`` (count) and ``names_sha256``.
    archives, files : tuple of dict
        What is downloaded, and single files with ``path``, ``bytes``, ``sha256``.
    contrasts : dict
        By the name in the attribute ``acquisition``.
    profiles : dict
        Sizes to simulate, by profile.
    settings : dict
        Everything else that the reader of this kind of set needs.
    """

    name: str
    title: str
    kind: str
    tasks: tuple[str, ...]
    licence: str
    simulated: bool = False
    access: dict[str, str] = field(default_factory=dict)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    archives: tuple[dict[str, Any], ...] = ()
    files: tuple[dict[str, Any], ...] = ()
    contrasts: dict[str, dict[str, Any]] = field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def manifest_folder() -> Path:
    """Where the manifests lie."""
    return project_root() / "data_manifests"


def manifest_names() -> list[str]:
    """Names of all data sets, sorted."""
    return sorted(path.stem for path in manifest_folder().glob("*.yml"))


def load_manifest(name: str) -> Manifest:
    """Read a manifest by name.

    Raises
    ------
    InputError
        For an unknown name or a manifest that breaks the schema.
    """
    if name not in manifest_names():
        raise InputError(
            f"there is no data set {name!r}: choose one of {', '.join(manifest_names())}."
        )
    return read_manifest(manifest_folder() / f"{name}.yml")


def read_manifest(path: Path) -> Manifest:
    """Read and check one manifest file against ``schema.json``."""
    content = read_yaml(path)
    schema = json.loads((manifest_folder() / "schema.json").read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(schema).iter_errors(content)
    )
    if error is not None:
        place = ".".join(str(step) for step in error.absolute_path) or "the top level"
        raise InputError(
            f"{path}: {place}: {_line(error.message)}; see data_manifests/schema.json."
        )
    if content["name"] != path.stem:
        raise InputError(
            f"{path}: name: {content['name']!r} is not the file's own name: make them agree."
        )
    for key in ("tasks", "archives", "files"):
        if key in content:
            content[key] = tuple(content[key])
    return Manifest(**content)


def verify(manifest: Manifest, root: Path | str) -> list[str]:
    """Hold a copy on disk against its manifest.

    Parameters
    ----------
    manifest : Manifest
    root : Path
        Folder that holds the copy: the split folders, or the single files.

    Returns
    -------
    list of str
        One sentence a problem; empty when nothing is wrong. A split of which no folder is there is
        no problem as long as another one is, for one archive is often enough. Files that are not
        known by a checksum are opened with the reader of their kind.
    """
    if manifest.kind.startswith("simulated"):
        return []
    root = Path(root).expanduser()
    if not root.is_dir():
        return [f"{root} is no folder: pass the one that holds the data set."]
    try:
        return _problems(manifest, root)
    except OSError as error:
        return [f"{error.filename or root} cannot be read ({error.strerror}): make it readable."]


def _problems(manifest: Manifest, root: Path) -> list[str]:
    """See `verify`."""
    problems = [p for entry in manifest.files for p in _check_file(root, entry)]
    seen = False
    for name, split in manifest.splits.items():
        folder, escape = _inside(root, split["folder"])
        if escape:
            problems.append(escape)
        elif folder.is_dir():
            seen = True
            problems += [*_check_names(folder, name, split), *_check_readable(manifest, folder)]
    if manifest.splits and not seen and not problems:
        wanted = ", ".join(split["folder"] for split in manifest.splits.values())
        problems.append(f"{root} holds none of the folders {wanted}: unpack an archive there.")
    if not manifest.splits and not manifest.files:
        inner = [p for p in entries(root) if re.fullmatch(SPLIT, p.name)]
        problems += (p for folder in inner or [root] for p in _check_readable(manifest, folder))
    return problems + list(_check_delivered(root))


def _check_readable(manifest: Manifest, root: Path) -> Iterator[str]:
    """Everything in a folder, opened by the reader of this kind of set."""
    from recon.data import isotropic, oct_files, oct_folders  # they read manifests themselves

    try:
        if manifest.kind == "fastmri":
            paths, read = list_volumes(root), volume_shape
        elif manifest.kind == "isotropic":
            paths = isotropic.open_heads(manifest.name, sys.maxsize, 0, root=str(root))
            read = isotropic.read_head
        else:
            domains = oct_folders.open_folders(manifest, str(root), "all")
            paths, read = domains.high + domains.low, oct_files.read_bscans
    except InputError as error:
        paths, read = [], str
        yield str(error)
    for path in paths:
        try:
            read(path)
        except InputError as error:
            yield str(error)


def _check_names(folder: Path, name: str, split: dict[str, Any]) -> Iterator[str]:
    """Completeness of a split: how many files, and which."""
    names = sorted(path.name for path in entries(folder) if path.suffix.lower() == ".h5")
    if "files" in split and len(names) != split["files"]:
        yield (
            f"{folder} holds {len(names)} files where the split {name!r} has {split['files']}: "
            "unpack the rest of the archives."
        )
    elif "names_sha256" in split:
        found = hashlib.sha256("\n".join(names).encode()).hexdigest()
        if found != split["names_sha256"]:
            yield (
                f"{folder} holds as many files as the split {name!r}, but other ones: unpack the "
                "archives into an empty folder."
            )


def _check_file(root: Path, entry: dict[str, Any]) -> Iterator[str]:
    path, escape = _inside(root, entry["path"])
    if escape:
        yield escape
    elif not path.is_file():
        yield f"{path} is missing: put it there."
    elif "bytes" in entry and path.stat().st_size != entry["bytes"]:
        yield (
            f"{path} has {path.stat().st_size} bytes where {entry['bytes']} are expected: fetch it "
            "again."
        )
    elif not path.stat().st_size:
        yield f"{path} is empty: fetch it again."
    elif "sha256" in entry and (found := _sha256(path)) != entry["sha256"]:
        yield (
            f"{path}: its SHA-256 begins {found[:12]}, not {entry['sha256'][:12]}: fetch it again."
        )


def _check_delivered(root: Path) -> Iterator[str]:
    """Archives beside a ``SHA256`` file that came with them (lines of digest and name)."""
    listing = root / "SHA256"
    if not listing.is_file():
        return
    if listing.stat().st_size > BLOCK:
        yield f"{listing} is longer than any list of archives: fetch it again."
        return
    for number, line in enumerate(listing.read_text(errors="replace").splitlines(), 1):
        digest, _, name = line.strip().partition(" ")
        name = name.strip().lstrip("*")
        if not name:
            continue
        if len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef"):
            yield f"{listing}: line {number} holds no SHA-256 digest: fetch the list again."
            continue
        path, escape = _inside(root, name)
        if escape:
            yield escape
        elif path.is_file():  # the archives are usually deleted once unpacked
            yield from _check_file(root, {"path": name, "sha256": digest.lower()})


def _inside(root: Path, relative: str) -> tuple[Path, str]:
    """A path below ``root``, or the sentence that says why it isn't."""
    path = root / relative
    shown = repr(relative if len(relative) < 200 else f"{relative[:40]}...")
    try:
        inside = path.resolve().is_relative_to(root.resolve())
        path.is_file()  # a name can be too long for the system
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).split(":")[0]
        return path, f"{shown} cannot be the name of a file in {root} ({reason}): mend the list."
    if inside and not Path(relative).is_absolute():
        return path, ""
    return path, f"{shown} leaves the folder {root}: a manifest names files inside it only."


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _line(error: object) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())
