"""A blind rating of images by people: a page that asks, and what its answers say.

The page is one HTML file with the images inside. It shows a reference and, in an order shuffled for
each sample, the results of several methods under codes; which method a code stands for is in a
second file, the key, which the raters do not get. Answers stay in the browser until the rater saves
them as a CSV file. The protocol is that of Manakov 2019, section 3.3, figure 2.
"""

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from recon.errors import InputError
from recon.results.statistics import interval, paired_p
from recon.results.store import write_text

__all__ = ["BEST", "Sample", "agreement", "analyse", "page", "preferences", "read_ratings"]

BEST = 5  # ratings go from 1, least like the reference, to this
COLUMNS = ["rater", "sample", "code", "rating"]
LETTERS = "ABCDEFGHIJ"  # more than a rater can hold beside a reference


@dataclass(frozen=True)
class Sample:
    """What is rated together: ``reference (H, W)`` and ``images`` by method, grey from 0 to 1."""

    reference: np.ndarray
    images: Mapping[str, np.ndarray]


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 90rem; padding: 1rem;
  background: #111; color: #eee; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; flex: 1 1 20rem; }
img { width: 100%; display: block; image-rendering: auto; }
fieldset { border: 1px solid #777; margin: .5rem 0; }
label { padding: .4rem .6rem; display: inline-block; }
button, input { font: inherit; padding: .4rem .8rem; }
nav { position: sticky; bottom: 0; background: #111; padding: .5rem 0; }
"""
SCRIPT = """
const pageId = document.body.dataset.page, samples = [...document.querySelectorAll("section")];
const rater = document.getElementById("rater"), told = document.getElementById("told");
let now = 0, answers = {};
try { answers = JSON.parse(localStorage.getItem(pageId)) || {}; } catch (error) { answers = {}; }
rater.value = answers["rater"] || "";
function keep() {
  answers["rater"] = rater.value;
  try { localStorage.setItem(pageId, JSON.stringify(answers)); } catch (error) { }
  const radios = new Set([...document.querySelectorAll("input[type=radio]")].map(i => i.name));
  const given = [...radios].filter(name => name in answers).length;
  told.textContent = `Sample ${now + 1} of ${samples.length}; ${given} of ${radios.size} rated.`;
}
function show(step) {
  now = Math.min(Math.max(now + step, 0), samples.length - 1);
  samples.forEach((section, index) => { section.hidden = index !== now; });
  keep();
}
for (const input of document.querySelectorAll("input[type=radio]")) {
  input.checked = answers[input.name] === input.value;
  input.addEventListener("change", () => { answers[input.name] = input.value; keep(); });
}
rater.addEventListener("input", keep);
document.getElementById("back").addEventListener("click", () => show(-1));
document.getElementById("next").addEventListener("click", () => show(1));
document.getElementById("save").addEventListener("click", () => {
  const name = rater.value.trim().replace(/[^\\w -]/g, "");
  if (!name) { told.textContent = "Please enter a name or number for yourself first."; return; }
  const lines = ["rater,sample,code,rating"];
  for (const key of Object.keys(answers).sort()) {
    if (key !== "rater") { lines.push([name, ...key.split("/"), answers[key]].join(",")); }
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\\n") + "\\n"], { type: "text/csv" }));
  link.download = `ratings-${name}.csv`;
  link.click();
});
show(0);
"""


def _png(image: np.ndarray) -> str:
    """An image as a data address; grey 0 to 1, what lies beyond is cut off."""
    if image.ndim != 2 or not np.isfinite(image).all():
        raise InputError("an image to rate must be (height, width) and hold finite numbers")
    file = io.BytesIO()
    grey = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(grey).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _choices(sample: str, code: str) -> str:
    buttons = "".join(
        f'<label><input type="radio" name="{sample}/{code}" value="{value}"> {value}</label>'
        for value in range(1, BEST + 1)
    )
    return f"<fieldset><legend>Likeness of {code} to the reference</legend>{buttons}</fieldset>"


def page(samples: Sequence[Sample], path: Path, seed: int = 0, title: str = "Rating") -> Path:
    """Write the page to `path`, and its key beside it as ``NAME_key.csv``.

    Parameters
    ----------
    samples : sequence of Sample
        Shown in a shuffled order too.
    path : Path
        Of the HTML file.
    seed : int
        Of the shuffling.
    title : str

    Returns
    -------
    Path
        The key: a CSV file of ``sample, code, method, place``, where place is the sample's number
        in `samples`.

    Raises
    ------
    InputError
        Without samples, or when a sample has no image, more than there are letters, or images of
        unequal size.
    """
    if not samples:
        raise InputError("there is no sample to rate")
    rng = np.random.default_rng(seed)
    key, sections = [], []
    for number, place in enumerate(rng.permutation(len(samples)), 1):
        one = samples[place]
        shapes = {one.reference.shape, *(image.shape for image in one.images.values())}
        if not one.images or len(shapes) > 1:
            raise InputError(f"sample {place} has no images or images of unequal size: {shapes}")
        if len(one.images) > len(LETTERS):
            raise InputError(
                f"sample {place} has {len(one.images)} images, but a page has room for "
                f"{len(LETTERS)}: rate fewer methods"
            )
        figures = [("reference", one.reference, "")]
        for letter, method in zip(LETTERS, rng.permutation([*one.images]), strict=False):
            figures.append((letter, one.images[method], _choices(f"{number:03d}", letter)))
            key.append((f"{number:03d}", letter, method, place))
        shown = "".join(
            f'<figure><img src="{_png(image)}" alt="Image {name}"><figcaption>{name}{choices}'
            "</figcaption></figure>"
            for name, image, choices in figures
        )
        sections.append(
            f'<section hidden><h2>Sample {number}</h2><div class="row">{shown}</div></section>'
        )
    frame = pd.DataFrame(key, columns=["sample", "code", "method", "place"])
    identity = hashlib.sha256("".join(sections).encode()).hexdigest()[:16]  # of what is kept
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f'<body data-page="rating-{identity}"><h1>{escape(title)}</h1>'
        f"<p>How much does each image look like the reference? From 1 (least) to {BEST} (most); "
        "equal ratings are allowed. Nothing leaves this browser until you save the file.</p>"
        '<p><label>Your name or number <input id="rater"></label></p>'
        f'<main>{"".join(sections)}</main><nav><button id="back">Back</button> '
        '<button id="next">Next</button> <button id="save">Save ratings as CSV</button> '
        f'<span id="told" role="status"></span></nav><script>{SCRIPT}</script></body></html>'
    )
    write_text(path, html)
    kept = path.with_name(f"{path.stem}_key.csv")
    write_text(kept, frame.to_csv(index=False))
    return kept


def read_ratings(files: Sequence[Path], key: Path) -> pd.DataFrame:
    """Ratings that raters saved, with the methods that the key gives their codes.

    Returns
    -------
    pd.DataFrame
        ``rater, sample, code, rating, method, place``, a line a rating.

    Raises
    ------
    InputError
        For a file that is none of these, a code that the key lacks, a rating out of range, an image
        that a rater rated twice, or no ratings at all.
    """
    text = {"sample": str, "code": str, "rater": str}
    known = pd.read_csv(key, dtype=text)
    parts = []
    for file in files:
        part = pd.read_csv(file, dtype=text)
        if list(part.columns) != COLUMNS:
            raise InputError(f"{file.name} has the columns {[*part]}, but ratings have {COLUMNS}")
        parts.append(part)
    if not parts or not sum(map(len, parts)):
        raise InputError("there are no ratings: pass the CSV files that the raters saved")
    ratings = pd.concat(parts, ignore_index=True)
    wrong = ratings[~ratings.rating.isin(range(1, BEST + 1))]
    if len(wrong):
        raise InputError(f"a rating is {wrong.rating.iloc[0]!r}, but must be 1 to {BEST}")
    if ratings.duplicated(["rater", "sample", "code"]).any():
        raise InputError("a rater rated an image twice: keep one file a rater")
    merged = ratings.merge(known, on=["sample", "code"], how="left")
    if merged.method.isna().any():
        raise InputError(f"the key {key.name} lacks a code that was rated: it is another page's")
    return merged


def analyse(ratings: pd.DataFrame) -> pd.DataFrame:
    """Mean rating of each method by each rater, with its interval, and how often it was best.

    Returns
    -------
    pd.DataFrame
        ``rater, method, mean, lo, hi, best, n``; `best` is the share of samples in which no other
        method was rated higher.
    """
    lines = []
    for rater, own in ratings.groupby("rater"):
        table = own.pivot(index="sample", columns="method", values="rating").dropna()
        for method in table:
            values = table[method].to_numpy(float)
            lo, hi = interval(values)
            best = float((table[method] == table.max(axis=1)).mean())
            lines.append((rater, method, values.mean(), lo, hi, best, len(values)))
    return pd.DataFrame(lines, columns=["rater", "method", "mean", "lo", "hi", "best", "n"])


def preferences(ratings: pd.DataFrame, method: str) -> pd.DataFrame:
    """Whether each rater prefers a method to every other: paired differences over samples.

    Returns
    -------
    pd.DataFrame
        ``rater, against, mean, lo, hi, p_value, n``.
    """
    lines = []
    for rater, own in ratings.groupby("rater"):
        table = own.pivot(index="sample", columns="method", values="rating").dropna()
        for other in table.columns.drop(method):
            difference = (table[method] - table[other]).to_numpy(float)
            lo, hi = interval(difference)
            p = paired_p(difference)
            lines.append((rater, other, difference.mean(), lo, hi, p, len(difference)))
    return pd.DataFrame(lines, columns=["rater", "against", "mean", "lo", "hi", "p_value", "n"])


def agreement(ratings: pd.DataFrame) -> float:
    """Kendall's W of the raters on the methods' mean ratings: 1 if all rank alike, 0 if at random.

    Without a correction for ties.
    """
    means = ratings.pivot_table(index="rater", columns="method", values="rating")
    raters, methods = means.shape
    if raters < 2 or methods < 2:
        raise InputError("agreement needs two raters and two methods at least")
    ranks = means.rank(axis=1).sum()
    spread = float(((ranks - ranks.mean()) ** 2).sum())
    return 12 * spread / (raters**2 * (methods**3 - methods))
