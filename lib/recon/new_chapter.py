"""A new chapter: a short page that runs, checks its parameters and stores what it measured."""

import re
from pathlib import Path

from recon.errors import InputError
from recon.paths import project_root
from recon.results.readers import read_yaml
from recon.results.store import write_text

# With TITLE, NAME and LABEL filled in: all that a chapter has to have, about the smallest question.
SKELETON = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # TITLE
#
# What does this page ask, and which paper asked it? Until that stands here, it asks how far *zero-filled*
# images, with zeros for what was not measured, are from complete ones; {doc}`pcrnn` explains both.
#
# ```{admonition} The data on this page are simulated
# :class: warning
# Absolute scores belong to simulated knees. `data` and `data_root` put real scans in their place.
# ```

# %% tags=["parameters"]
profile = "quick"  # quick, standard or paper: the size of simulated sets
data = "simulated_knee"  # data set: a name in data_manifests/
data_root = ""  # folder of the data set, where it is not simulated
accel = 4  # nominal acceleration, 2 to 12
coils = 4  # virtual coils after compression; 0: keep the coils as they are
seed = 0  # of the masks

# %%
from recon.results import parameters

names = ("profile", "data", "data_root", "accel", "coils", "seed")
settings = parameters.check(globals(), {name: parameters.MRI[name] for name in names})

# %%
import time

from recon.data.measurement import Sampling
from recon.data.splits import open_split
from recon.learning.metrics import evaluate_methods
from recon.physics.sampling import standard_center_fraction

started = time.perf_counter()
files = open_split(data, "multicoil", "all", profile, data_root)
plan = Sampling(accel, standard_center_fraction(accel), "random")
methods = {"zero_filled": lambda batch: batch.image}
scores = evaluate_methods(methods, files, plan, coils, seed)

# %% [markdown]
# How much faster than a full scan is each mask, and what are the scores (95 % intervals over volumes)?

# %% tags=["nbval-check-output"]
scores.groupby("volume").effective_accel.first().round(2).to_frame()

# %%
import pandas as pd

from recon.results.statistics import summarise

rows = summarise(scores, [], data=data, trained_on=data, task="multicoil", accel=accel)
pd.DataFrame(rows)[["contrast", "metric", "region", "value", "ci95", "n"]].round(3)

# %% mystnb={"figure": {"name": "fig-LABEL", "caption": "Middle slice of the first volume: image, a zoom (orange square) on the same grey scale, and absolute errors times five on that scale."}, "image": {"alt": "Columns for the zero-filled image and the target; rows for the image, a zoom and the error map."}}
from recon.learning.contest_report import middle_slice
from recon.results import figures

images, target = middle_slice(methods, files, scores.volume[0], plan, coils, seed)
_ = figures.comparison({"Zero-filled": images["zero_filled"]}, target, gain=5)

# %%
from recon.results import provenance, store

chapter, seconds = "NAME", time.perf_counter() - started
made = provenance.collect(chapter, parameters=settings, seed=seed, seconds=seconds)
path = store.save(store.Run(chapter, profile, settings, rows, made))
"""  # noqa: E501, since the header of a cell, figure caption and all, is one line


def new_chapter(name: str) -> Path:
    """Write ``book/<name>.py`` and list it at the end of the first part of the contents.

    The README's table of chapters, where it has that part's last one, gets a line below it.

    Raises
    ------
    InputError
        For a name that is taken or no identifier, and an unusable _toc.yml; nothing is left behind.
    """
    root = project_root()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"{name!r} names no chapter: use a-z, 0-9 and _, and begin with a letter.")
    page, contents = root / "book" / f"{name}.py", root / "_toc.yml"
    taken = sorted(path.name for path in page.parent.glob(f"{name}.*"))
    if taken:
        raise InputError(f"book/{taken[0]} is there already: choose another name than {name!r}.")
    try:
        last = read_yaml(contents)["parts"][0]["chapters"][-1]["file"]
        text = contents.read_text(encoding="utf-8")
        at = re.search(rf"(?m)^( *- file: ){re.escape(last)}$", text)
        listed = f"{text[: at.end()]}\n{at[1]}{name}{text[at.end() :]}"
    except (InputError, LookupError, TypeError, AttributeError):
        raise InputError(f"_toc.yml has no '- file:' for {name!r} to follow: mend it.") from None
    words = {"NAME": name, "TITLE": name.replace("_", " ").capitalize()}
    words["LABEL"] = name.replace("_", "-")
    lists = {root / "README.md": _readme(root / "README.md", last, name), contents: (text, listed)}
    write_text(page, re.sub("NAME|TITLE|LABEL", lambda found: words[found[0]], SKELETON))
    written: dict[Path, str] = {}
    try:
        for path, (old, new) in lists.items():
            if new != old:
                write_text(path, new)
                written[path] = old
    except BaseException:
        page.unlink()
        for path, old in written.items():
            write_text(path, old)
        raise
    return page


def _readme(path: Path, last: str, name: str) -> tuple[str, str]:
    """The README, and with a line for `name` below that of `last` where its table has one."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    row = re.search(rf"(?m)^\| `{re.escape(last)}` \|.*$", text)
    if not row:
        return text, text
    line = f"\n| `{name}` | What does this page ask? | – |"
    return text, text[: row.end()] + line + text[row.end() :]
