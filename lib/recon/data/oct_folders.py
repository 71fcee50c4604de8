"""Real B-scans: two folders of any scanner's images, and the public sets in their own layout."""

import hashlib
from pathlib import Path

import numpy as np
from skimage.restoration import estimate_sigma

from recon.data.manifest import Manifest
from recon.data.oct_files import Domains, image_files, read_bscans, read_image
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
    patient. Volumes of the same name in both domains are taken to show the same eye.

    Raises
    ------
    InputError
        For folders that are missing, empty or the same, for a split that has no patients, and for
        a high-noise domain that is less noisy than the other.
    """
    roots = places(data_root)
    for root in roots:
        if not root.is_dir():
            raise InputError(
                f"{root} is no folder: pass the one that holds the images as data_root."
            )
    layout = manifest.settings["layout"]
    if layout == "duke_2013":
        pairs, done = _duke(roots[0]), False
    elif layout == "pku37":
        pairs, done = _pku(roots[0]), False
    elif layout == "images":
        pairs, done = _images(roots[0], split)
    else:
        pairs, done = _two_folders(roots, split)
    both = all(any(pair[k] for pair in pairs) for k in (1, 2))
    if not both and split != "test":
        raise InputError(
            f"{data_root} holds one domain only, which is enough for a test but not for training: "
            "pass a folder that holds high and low."
        )
    if not done:
        pairs = _share(pairs, split, roots[0])
    high = [path for _, path, _ in pairs if path]
    low = [path for _, _, path in pairs if path]
    if both and not (high and low):
        raise InputError(
            f"{data_root}: patients of the split {split!r} have images in one domain only: give "
            "both domains the same patients, or make folders train, val and test."
        )
    paired = bool(low) and all(a and b for _, a, b in pairs)
    if paired:
        _check_pairs(high, low)
    if low:
        _check_noise(high, low)
    return Domains(high, low, paired, simulated=False)


Pair = tuple[str, Path | None, Path | None]  # patient, high noise, low noise


def _two_folders(roots: list[Path], split: str) -> tuple[list[Pair], bool]:
    """Pairs of two domains, and whether they are of this split already."""
    done = False
    if len(roots) == 1 and (roots[0] / split).is_dir() and not (roots[0] / "high").is_dir():
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
    if len(roots) == 2:
        _check_different(*roots)
    volumes = [_volumes(root) for root in roots] + [{}] * (2 - len(roots))
    names = sorted(volumes[0].keys() | volumes[1].keys())
    return [(_patient(n), volumes[0].get(n), volumes[1].get(n)) for n in names], done


def _volumes(folder: Path) -> dict[str, Path]:
    """Folders of images in a domain's folder, or else its images, by name."""
    if not folder.is_dir():
        raise InputError(f"{folder} is missing: put the volumes of this domain there.")
    folders = sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    found = {p.name: p for p in folders if image_files(p)} or {
        p.stem: p for p in image_files(folder)
    }
    if not found:
        raise InputError(
            f"{folder} is an empty domain: put a folder of PNG or TIFF images a volume there."
        )
    return found


def _patient(name: str) -> str:
    return name.split("_")[0]


def _duke(root: Path) -> list[Pair]:
    """Fang 2013: ``For synthetic experiments/N/test.tif`` and ``average.tif``."""
    inner = root / "For synthetic experiments"
    folders = [p for p in (inner if inner.is_dir() else root).iterdir() if p.name.isdigit()]
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
    clean = {path.stem[:4]: path for path in image_files(root / "clean")}
    found = []
    for path in image_files(root / "noisy"):
        if path.stem[:4] not in clean:
            raise InputError(f"{root / 'clean'} holds no image of the eye of {path.name}: add it.")
        found.append((path.stem[:4], path, clean[path.stem[:4]]))
    if not found:
        raise InputError(f"{root / 'noisy'} is an empty domain: put the noisy images there.")
    return found


def _images(root: Path, split: str) -> tuple[list[Pair], bool]:
    """Kermany 2018: single images in folders by diagnosis, named DIAGNOSIS-patient-number."""
    official = root / split
    top = official if official.is_dir() else root
    files = [f for folder in [top, *sorted(p for p in top.rglob("*") if p.is_dir())]
             for f in image_files(folder)]  # fmt: skip
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


def _check_different(high: Path, low: Path) -> None:
    """Refuse one domain given twice, under one name or as a copy."""
    same = high.resolve() == low.resolve()
    if not same and high.is_dir() and low.is_dir():
        first = [
            next(iter(sorted(p for p in d.rglob("*") if p.is_file())), None) for d in (high, low)
        ]
        same = None not in first and first[0].read_bytes() == first[1].read_bytes()
    if same:
        raise InputError(
            f"{low} holds the same images as {high}: pass two domains, few frames averaged "
            "and many."
        )


def _check_pairs(high: list[Path], low: list[Path]) -> None:
    """Refuse pairs that cannot show the same positions: other numbers or sizes of B-scans."""
    for pair in zip(high, low, strict=True):
        counts, sizes = [], []
        for path in pair:
            files = image_files(path) if path.is_dir() else [path]
            counts.append(len(files))
            sizes.append(" x ".join(map(str, read_image(files[0]).shape)))
        for what, (a, b) in (("B-scans", counts), ("pixels", sizes)):
            if a != b:
                raise InputError(
                    f"{pair[1]} has {b} {what} where {pair[0]} has {a}: volumes of one name are "
                    "pairs, so make them agree, or give them different names."
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
