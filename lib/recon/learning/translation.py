"""Training of a pair of generators on images of two domains that are not paired.

`recon.learning.training.fit` needs a target for every input, which there is not here; its
checkpoints and the names of their folders are used all the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from recon.data.measurement import seed_of
from recon.data.oct_files import crop_back, image_files, pad_to
from recon.errors import InputError
from recon.learning.adversarial import Pool, TranslationSchedule, copying, losses
from recon.learning.checkpoints import resumed
from recon.learning.training import pick_device, training_folder
from recon.networks.cyclegan import DOMAINS, Generator, HDCycleGAN
from recon.results.fingerprints import code_sha256

__all__ = [
    "Pool",
    "TranslationSchedule",
    "denoise",
    "fit_translation",
    "losses",
    "translate",
    "translation_folder",
]


def _check(images: Sequence[np.ndarray], domain: str, shape: tuple[int, int], step: int) -> None:
    """Raise InputError for images that cannot be learnt from."""
    if len(images) == 0:
        raise InputError(f"there is no image of {domain} noise to train on")
    for place, image in enumerate(images):
        where = f"image {place} of {domain} noise"
        if image.ndim != 2:
            raise InputError(f"{where} has the shape {image.shape}; it has to be (height, width)")
        if not np.isfinite(image).all():
            raise InputError(f"{where} holds values that are not finite")
        if image.max() <= 0:
            raise InputError(f"{where} is black: it cannot be divided by its maximum")
        if any(side + step <= crop for side, crop in zip(image.shape, shape, strict=True)):
            raise InputError(f"{where} has {image.shape} pixels; crops of {shape} do not fit in")


def draw_crops(
    images: Sequence[np.ndarray], count: int, shape: tuple[int, int], rng: np.random.Generator
) -> Tensor:
    """Random crops of random images, each image divided by its own maximum.

    An image that is smaller than ``shape`` is mirrored at its borders first.

    Returns ``(count, 1, *shape)`` float32.
    """
    height, width = shape
    drawn = []
    for place in rng.integers(len(images), size=count):
        image = images[place]
        lacking = [(max(0, crop - side)) for crop, side in zip(shape, image.shape, strict=True)]
        if any(lacking):
            margins = [(extra // 2, extra - extra // 2) for extra in lacking]
            image = np.pad(image, margins, mode="symmetric")
        top, left = (
            rng.integers(side - crop + 1) for side, crop in zip(image.shape, shape, strict=True)
        )
        drawn.append(image[top : top + height, left : left + width] / image.max())
    return torch.from_numpy(np.stack(drawn)[:, None].astype(np.float32))


def translation_folder(
    model: HDCycleGAN,
    settings: Mapping[str, object],
    schedule: TranslationSchedule,
    files: Iterable[Path],
    seed: int,
) -> Path:
    """Where the checkpoints of one training lie; changed code never meets old weights.

    Parameters
    ----------
    model, schedule
    settings : mapping
        Of the chapter: ``data`` and ``device`` are taken, for no other bears on training.
    files : iterable of Path
        The training images of both domains, or folders of them.
    seed : int
        Of this training.
    """
    folders = [(path, image_files(path) if path.is_dir() else [path]) for path in files]
    relevant = {name: settings[name] for name in ("data", "device")} | {"seed": seed}
    relevant["folders"] = [path.name for path, _ in folders]
    relevant["code"] = code_sha256(Path(__file__), Path(__file__).with_name("adversarial.py"))
    return training_folder(
        model, relevant, schedule, [file for _, held in folders for file in held]
    )


def fit_translation(
    model: HDCycleGAN,
    high: Sequence[np.ndarray],
    low: Sequence[np.ndarray],
    schedule: TranslationSchedule,
    folder: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    label: str = "training",
    save_every: float = 60,
) -> list[dict]:
    """Train a model in place.

    Parameters
    ----------
    model : HDCycleGAN
    high, low : sequence of np.ndarray
        Images ``(height, width)`` of much and of little noise, not paired.
    schedule : TranslationSchedule
    folder : Path, optional
        Where the checkpoint goes, pools included; a training that is there already is not
        repeated, an interrupted one goes on to the weights that it would have had.
    seed : int
        Of every random stream but the first weights, which are the caller's: models that are given
        the same meet the same crops.
    device, label : str
    save_every : float
        Seconds between checkpoints.

    Returns
    -------
    list of dict
        For every step ``step``, ``loss``, the parts and probabilities of `losses` (or of `copying`)
        and ``seconds`` (training time so far).

    Raises
    ------
    InputError
        When there is nothing to learn from, both domains are the same images, or the loss or its
        gradient stops being finite; the last checkpoint stays, and weights that are not finite are
        never written.
    """
    for domain, images in (("high", high), ("low", low)):
        _check(images, domain, schedule.shape, 2**model.to_low.depth)
    if len(high) == len(low) and all(map(np.array_equal, high, low)):
        raise InputError("both domains hold the same images; there is no noise to tell apart")
    chosen = pick_device(device)
    pools = {domain: Pool(schedule.pool, schedule.shape) for domain in DOMAINS}
    state = nn.ModuleDict({"model": model, **{f"pool_{d}": pool for d, pool in pools.items()}})
    state.to(chosen, memory_format=torch.channels_last).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=schedule.rate)
    total = schedule.pretrain + schedule.steps
    with resumed(state, optimiser, folder, label, save_every, steps=total) as record:
        for step in tqdm(range(len(record.history), total), label, mininterval=2):
            # A generator a step: going on needs none that was saved.
            rng = np.random.default_rng(seed_of(seed, "step", step))
            real = {
                domain: draw_crops(images, schedule.batch, schedule.shape, rng).to(chosen)
                for domain, images in (("high", high), ("low", low))
            }
            if step < schedule.pretrain:
                value, entry = copying(model, real)
            else:
                value, entry = losses(model, real, pools, schedule, rng)
            optimiser.zero_grad()
            value.backward()
            record.check(value, schedule.rate)
            optimiser.step()
            record.add({"step": step + 1, "loss": value.item(), **entry})
    model.eval()
    return record.history


@torch.inference_mode()
def translate(generator: Generator, images: np.ndarray) -> np.ndarray:
    """Images through a generator, whole, one by one: normalisation looks at all of an image.

    Each is divided by its own maximum, reflected at its borders until the generator takes it, and
    cropped and multiplied back afterwards.

    Parameters
    ----------
    generator : Generator
    images : np.ndarray
        ``(B, H, W)``.

    Returns
    -------
    np.ndarray
        ``(B, H, W)`` float32, in the units of the images.
    """
    step = 2**generator.depth
    device = next(generator.parameters()).device
    done = []
    for image in np.asarray(images, dtype=np.float32):
        peak = float(image.max())
        if not peak > 0 or not np.isfinite(image).all():
            raise InputError("an image to translate is black or holds values that are not finite")
        padded, crop = pad_to(image / peak, step)
        result = generator(torch.from_numpy(padded)[None, None].to(device))
        done.append(crop_back(result[0, 0].cpu().numpy(), crop) * peak)
    return np.stack(done)


def denoise(model: HDCycleGAN, images: np.ndarray) -> np.ndarray:
    """Images of much noise made into such of little: `translate` by ``model.to_low``."""
    return translate(model.to_low, images)
