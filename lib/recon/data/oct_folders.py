"""Real B-scans: two folders of any scanner's images, and the public sets in their own layout."""

import hashlib
from pathlib import Path

import numpy as np
from skimage.restoration import estimate_sigma

from recon.data.folders import Key, by_name, entries, name_key
from recon.data.manifest import Manifest
from recon.data.oct_files import FORMATS, Domains, image_files, read_bscans, read_image
from recon.errors import InputError
from recon.paths import places

__all__ = ["noise_level", "open_folders"]

SHARES = {"test": 0.2, "val": 0.1}  # of the patients, at least one each; the rest is for training
LOOKED_AT = 8  # images of each domain whose noise is estimated


def open_folders(manifest: Manifest, data_root: str, split: str) -> Domains:
    """Volumes of a split of a real set.

    ``data_root`` of ``oct_folders`` is a folder that holds ``high`` and ``low``, or such a pair in
    each of ``train``, ``val`` and ``test``; or two folders with a comma between them, high noise
    first; or one folder of images, for a test without partners. A domain holds a folder a volume
    (or images, each a volume of its own). A volume's name up to the first underscore is its
    patient. Volumes of the same name in both domains (numbers are compared as numbers) are taken to
    show the same eye, and B-scans of the same name in both the same position.

    The split ``all`` is for a set that nothing is trained on: every volume.

    Raises
    ------
    InputError
        For folders that are missing, empty or the same, for a split that has no patients, for a
        volume or B-scan of a pair without its partner, and for a high-noise domain that is less
        noisy than the other.
    """
    roots = places(data_root)
    for root in roots:
        if not root.is_dir():
            raise InputError(
                f"{root} is no folder: pass the one that holds the images as data_root."
            )
    layout, everything = manifest.settings["layout"], split == "all"
    split = "test" if everything else split
    if layout == "duke_2013":
        pairs, done = _duke(roots[0]), False
    elif layout == "pku37":
        pairs, done = _pku(roots[0]), False
    elif layout == "images":
        pairs, done = _images(roots[0], "" if everything else split)
    else:
        pairs, done = _two_folders(roots, split, everything)
    both = all(any(pair[k] for pair in pairs) for k in (1, 2))
    if not both and split != "test":
        raise InputError(
            f"{data_root} holds one domain only, which is enough for a test but not for training: "
            "pass a folder that holds high and low."
        )
    if not (done or everything):
        pairs = _share(pairs, split, roots[0])
    high = [path for _, path, _ in pairs if path]
    low = [path for _, _, path in pairs if path]
    if both and not (high and low):
        raise InputError(
            f"{data_root}: patients of the split {split!r} have images in one domain only: give "
            "both domains the same patients, or make folders train, val and test."
        )
    alone = [a or b for _, a, b in pairs if not (a and b)]
    paired = bool(low) and not alone
    if paired:
        _check_pairs(high, low)
    elif low and len(alone) < len(pairs) and split != "train":
        raise InputError(
            f"{alone[0]} has no partner of its name in the other domain, where others have one: "
            "add it, or take it out of both."
        )
    if low:
        _check_noise(high, low)
    return Domains(high, low, paired, simulated=False)


Pair = tuple[str, Path | None, Path | None]  # patient, high noise, low noise


def _two_folders(roots: list[Path], split: str, everything: bool) -> tuple[list[Pair], bool]:
    """Pairs of two domains, and whether they are of this split already."""
    done = False
    if len(roots) == 1 and (roots[0] / split).is_dir() and not (roots[0] / "high").is_dir():
        others = [path.name for path in entries(roots[0]) if path.is_dir() and path.name != split]
        if everything and others:
            raise InputError(
                f"{roots[0]} holds {others[0]!r} beside {split!r}: pass the one that is meant."
            )
        roots, done = [roots[0] / split], True
    if len(roots) == 1:
        named = [roots[0] / name for name in ("high", "low")]
        if any(folder.is_dir() for folder in named):
            roots = named
    if len(roots) > 2:
        raise InputError(
            f"data_root names {len(roots)} folders: pass two, high noise first, with a comma "
            "between them."
        )
    volumes = [_volumes(root) for root in roots] + [{}] * (2 - len(roots))
    if len(roots) == 2:
        _check_different(*roots, *volumes)
    pairs, spelt = [], {}
    for key in sorted(volumes[0].keys() | volumes[1].keys()):
        pair = volumes[0].get(key), volumes[1].get(key)
        name = _name(pair[0] or pair[1]).split("_")[0]
        # P1 and P01 are one patient, who is called as he was first.
        pairs.append((spelt.setdefault(name_key(name), name), *pair))
    return pairs, done


def _volumes(folder: Path) -> dict[Key, Path]:
    """Folders of images in a domain's folder, or else its images, by name."""
    if not folder.is_dir():
        raise InputError(f"{folder} is missing: put the volumes of this domain there.")
    found = entries(folder)
    folders = [path for path in found if path.is_dir()]
    if not found:
        raise InputError(
            f"{folder} is an empty domain: put a folder of PNG or TIFF images a volume there."
        )
    if not folders:
        return by_name(found, tuple(FORMATS))
    for path in found:
        if path not in folders or not image_files(path):
            raise InputError(
                f"{path} is no folder of images as others beside it are: give each volume a folder "
                "with its B-scans, and move the rest out."
            )
    return by_name(folders)


def _name(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _duke(root: Path) -> list[Pair]:
    """Fang 2013: ``For synthetic experiments/N/test.tif`` and ``average.tif``."""
    inner = root / "For synthetic experiments"
    folders = [p for p in (inner if inner.is_dir() else root).iterdir() if p.name.isdecimal()]
    found = []
    for folder in sorted(folders, key=lambda p: int(p.name)):
        pair = folder / "test.tif", folder / "average.tif"
        for path in pair:
            if not path.is_file():
                raise InputError(f"{path} is missing: unpack the archive again.")
        found.append((folder.name, *pair))
    if not found:
        raise InputError(
            f"{root} holds no folders 1 to 18 with test.tif and average.tif: pass the folder that "
            "holds 'For synthetic experiments'."
        )
    return found


def _pku(root: Path) -> list[Pair]:
    """PKU37: every frame of an eye (``noisy``, four digits first) beside its average."""
    for name in ("noisy", "clean"):
        if not (root / name).is_dir():
            raise InputError(f"{root} holds no folder {name}: pass the folder that holds both.")
    clean: dict[str, Path] = {}
    for path in image_files(root / "clean"):
        if clean.setdefault(path.stem[:4], path) != path:
            raise InputError(f"{path} is of the same eye as {clean[path.stem[:4]].name}: keep one.")
    found = []
    for path in image_files(root / "noisy"):
        if path.stem[:4] not in clean:
            raise InputError(f"{root / 'clean'} holds no image of the eye of {path.name}: add it.")
        found.append((path.stem[:4], path, clean[path.stem[:4]]))
    if not found:
        raise InputError(f"{root / 'noisy'} is an empty domain: put the noisy images there.")
    if missing := sorted(clean.keys() - {eye for eye, _, _ in found}):
        raise InputError(f"{root / 'noisy'} holds no image of the eye of {clean[missing[0]]}.")
    return found


def _images(root: Path, split: str) -> tuple[list[Pair], bool]:
    """Kermany 2018: single images in folders by diagnosis, named DIAGNOSIS-patient-number."""
    official = root / split
    top = official if official.is_dir() else root
    files, folders, seen = [], [top], set()  # a link may lead back
    while folders:
        folder = folders.pop(0)
        if (place := folder.resolve()) not in seen:
            seen.add(place)
            found = entries(folder)
            inner = [path for path in found if path.is_dir()]
            files += by_name([path for path in found if path not in inner], tuple(FORMATS)).values()
            folders = inner + folders
    if not files:
        raise InputError(f"{top} holds no image: pass the folder that holds the diagnoses.")
    pairs = [((f.stem.split("-") + ["", ""])[1] or f.stem, f, None) for f in files]
    return pairs, official.is_dir()


def _share(pairs: list[Pair], split: str, root: Path) -> list[Pair]:
    """A share of the patients, in the order of a hash of their names; all for a test of few.

    Domains without a patient in common are shared out one by one, so that each split has both.
    """
    domains = [{pair[0] for pair in pairs if pair[k]} for k in (1, 2)]
    if domains[0] & domains[1] or not all(domains):
        domains = [domains[0] | domains[1]]
    chosen: set[str] = set()
    for patients in domains:
        ordered = sorted(patients, key=lambda p: hashlib.sha256(p.encode()).hexdigest())
        test, val = (max(1, round(SHARES[name] * len(ordered))) for name in ("test", "val"))
        ranges = {"test": (0, test), "val": (test, test + val), "train": (test + val, None)}
        if len(ordered) < 3 and split == "test":
            ranges["test"] = (0, None)
        elif len(ordered) < 3:
            raise InputError(
                f"{root} holds {len(ordered)} patient(s), which cannot be split into training, "
                "tuning and test: train on another set and test on this one."
            )
        chosen |= set(ordered[slice(*ranges[split])])
    return [pair for pair in pairs if pair[0] in chosen]


def _check_different(high: Path, low: Path, *volumes: dict[Key, Path]) -> None:
    """Refuse one domain given twice, under one name or as a copy."""
    first = [next(iter(found.values())) for found in volumes]
    first = [image_files(path)[0] if path.is_dir() else path for path in first]
    if high.resolve() == low.resolve() or first[0].read_bytes() == first[1].read_bytes():
        raise InputError(
            f"{low} holds the same images as {high}: pass two domains, few frames averaged "
            "and many."
        )


def _check_pairs(high: list[Path], low: list[Path]) -> None:
    """Refuse pairs that cannot show the same positions: other counts, names or sizes."""
    for pair in zip(high, low, strict=True):
        sizes, names = [], []
        for path in pair:
            files = image_files(path) if path.is_dir() else [path]
            names.append({name_key(file.stem): file for file in files})
            sizes.append(" x ".join(map(str, read_image(files[0]).shape)))
        a, b = map(len, names)
        wrong = f"{pair[1]} has {sizes[1]} pixels where {pair[0]} has {sizes[0]}"
        alone = sorted(names[0].keys() ^ names[1].keys())
        if alone and (a != b or all(path.is_dir() for path in pair)):
            first = names[alone[0] not in names[0]][alone[0]]
            wrong = f"{first} has no partner: {pair[1]} has {b} B-scans where {pair[0]} has {a}"
        elif sizes[0] == sizes[1]:
            continue
        raise InputError(
            f"{wrong}: volumes of one name are pairs, so make them agree (B-scans of one position "
            "have one name), or give them different names."
        )


def noise_level(paths: list[Path]) -> float:
    """Noise of a domain, grey values 0 to 1: median over images of the wavelet estimate."""
    step = max(1, len(paths) // LOOKED_AT)
    levels = []
    for path in paths[::step][:LOOKED_AT]:
        image = read_bscans(path)[0] if path.is_dir() else read_image(path) / 255
        levels.append(float(estimate_sigma(image)))
    return float(np.median(levels))


def _check_noise(high: list[Path], low: list[Path]) -> None:
    noise = noise_level(high), noise_level(low)
    if noise[0] < noise[1]:
        raise InputError(
            f"the images of {high[0].parent} look averaged more than those of {low[0].parent} "
            f"(noise {noise[0]:.4f} and {noise[1]:.4f}): the domain with fewer frames comes first."
        )
