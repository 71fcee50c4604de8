# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Four contrasts, two to twenty-eight coils
#
# To show that PC-RNN is no specialist of knees, {cite:t}`chen2022` hold the same contest on brains,
# and there three things change at once: a scan has one of four contrasts, an array has anything from
# 2 to 28 coils, and the columns that are measured lie at equal distances. This chapter repeats table V
# and takes the three apart. {doc}`pcrnn` explains masks, loss and scores, {doc}`comparison` the
# methods, and {doc}`coil_compression` how any array becomes four virtual coils.
#
# ```{admonition} The data on this page are simulated
# :class: warning
# fastMRI's files may not be passed on, so the page you read was made from simulated brains. Absolute
# scores cannot be compared with the paper's; the order of methods and of contrasts can. Two
# parameters, `data` and `data_root`, with an empty `test_data`, run the same notebook on the real set.
# ```

# %% tags=["parameters"]
profile = "quick"  # quick (minutes, small networks), standard (longer), paper (GPU)
data = "simulated_brain"  # data set to train on: a name in data_manifests/
data_root = ""  # folder of the data set, where it is not simulated
test_data = "simulated_brain_arrays"  # to evaluate on; empty: the validation part of `data`
test_root = ""  # folder of the test data
accel = 4  # nominal acceleration, 2 to 12; the paper has 4 and 6
center_fraction = 0.0  # fully sampled share of the columns; 0: the usual one at this acceleration
mask_type = "equispaced_fraction"  # random, equispaced or equispaced_fraction
coils = 4  # virtual coils after compression, at least 2
methods = "all"  # or some of them, joined by commas: unet,d5c5,pcrnn
compressed_sensing = True  # also run compressed sensing, which needs coil maps
bart = False  # also BART's compressed sensing, where BART is installed (seconds a slice)
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.learning import contest
from recon.results import parameters

rules = {name: rule for name, rule in parameters.MRI.items() if name != "task"}
rules |= {"coils": parameters.whole(2, 64), "compressed_sensing": parameters.flag()}
rules |= {
    "methods": parameters.some_of(*contest.NETWORKS, *contest.LARGE),
    "bart": parameters.flag(),
}
settings = parameters.check(globals(), rules)

# %% [markdown]
# ## The scans
#
# The quick profile trains on arrays of 4 to 9 coils and tests on arrays of up to 28: a network meets
# arrays that it was never shown, as it does in a hospital that buys a new one. (The paper trains on
# as many kinds as it tests on; `data="simulated_brain_arrays"` does so too, on fewer scans.) Test
# scans, their slices, and the coils of their arrays:

# %%
from recon.data.splits import open_split
from recon.learning.contest_report import scan_table

train_files = open_split(data, "multicoil", "train", profile, data_root)
test_split = "all" if test_data else "val"
test_files = open_split(test_data or data, "multicoil", test_split, profile, test_root or data_root)
scans = scan_table(test_files)

# %% tags=["nbval-check-output"]
about = {"scans": ("coils", "size"), "slices": ("slices", "sum")}
about |= {f"coils, {name}": ("coils", name) for name in ("min", "median", "max")}
scans.groupby("contrast", sort=False).agg(**about)

# %% [markdown]
# ## What masks of equal spacing fold into
#
# Leave out columns of k-space and every point of the image is smeared along its row by the *point
# spread function*, the transform of the mask. With columns at random its side lobes look like noise.
# With columns at equal distances they gather in a few places, and the image folds onto a few sharp
# copies of itself: *coherent* aliasing, which looks like anatomy. A network that never asks where the
# coils are has to learn to tell the two apart.
#
# The fastMRI library {cite:p}`zbontar2018` has two kinds of equal spacing. `equispaced` takes every
# $R$-th column and adds the centre on top, so it measures more than was promised; `equispaced_fraction`
# spaces the columns wider to make up for the centre. That spacing is seldom a whole number, so each
# place is rounded to a column and distances differ by one: the copies are less sharp than those of the
# first. The paper says "equispaced" only. The default here is the second, because its acceleration is
# what the tables call it.

# %%
import pandas as pd

from recon.data.fastmri import read_volume, volume_shape
from recon.data.measurement import Sampling
from recon.physics import sampling, spread

plan = Sampling(accel, center_fraction or sampling.standard_center_fraction(accel), mask_type)
width = volume_shape(test_files[0])[-1]
centre = round(plan.center_fraction * width)
kinds = [k for k in sampling.MASK_FUNCTIONS if k != "equispaced" or accel == int(accel)]


def drawn(kind, number):
    """The mask of a kind that a seed gives."""
    return sampling.make_mask(width, accel, plan.center_fraction, kind, number)


# %% tags=["nbval-check-output"]
lines = {}
for kind in kinds:
    masks = [drawn(kind, number) for number in range(100)]
    found = pd.Series([sampling.effective_acceleration(mask) for mask in masks])
    lobes = pd.DataFrame([spread.side_lobes(spread.point_spread(m), centre) for m in masks])
    lines[kind] = {"nominal R": accel, "effective R": found.mean(), "least": found.min()}
    lines[kind] |= {"largest": found.max(), **lobes.mean().add_prefix("side lobes, ")}
print(f"{width} columns, {plan.center_fraction:g} of them in the centre, 100 masks of each kind:")
pd.DataFrame(lines).T.round(3)

# %% [markdown]
# Side lobes lie outside the main one, which the centre alone makes $2/$`center_fraction` pixels wide.
# Their highest is relative to the point, their energy to that of the whole function; the last column
# is the share of it in the ten largest pixels. Are the lobes of equal spacing fewer and higher?

# %% mystnb={"figure": {"name": "fig-folding", "caption": "One mask of each kind. Above: the image of a point along its row, over its own height. Below: the zero-filled image of a test scan."}, "image": {"alt": "Curves of side lobes, a noisy floor for random columns and separate peaks for equal spacing, above images of a head with diffuse or sharp overlapping copies."}}
from recon.data.measurement import measure
from recon.learning.losses import combine
from recon.results import contrasts

first = read_volume(test_files[0], slice(0, 1))
spreads = {kind: spread.point_spread(drawn(kind, seed)).numpy() for kind in kinds}
folded = {}
for kind in kinds:
    item = measure(first, 0, drawn(kind, seed), coils)
    folded[kind] = (combine(item.image, item.target.shape) * item.scale).numpy()
_ = contrasts.folding(spreads, folded, {kind: kind for kind in kinds})

# %% [markdown]
# ## Training
#
# By the same function and with the same rates as in {doc}`comparison`; the table shows how many steps
# there were.

# %%
import time

from recon.learning.contest_report import network_sizes, shortened
from recon.results import tables

budget = contest.BUDGETS[profile]
if profile == "quick":  # this page also scores more scans than the comparison, in as much time
    budget = shortened(budget, 0.6)
wanted = contest.entrants(methods, profile)
networks, histories = contest.train_alike(
    wanted, train_files, plan, coils, budget, {**settings, "task": "multicoil"}
)
pyramid = f"pcrnn_{budget.pcrnn}"
started = time.perf_counter()  # training, also by an earlier run, is in the histories
network_sizes(networks, histories).rename(index=tables.NAMES)

# %% [markdown]
# Compressed sensing has one number to choose, its strength, and chooses it on training slices. With
# `bart`, BART's `pics` {cite:p}`uecker2015` runs beside sigpy's, with total variation and with
# wavelets:

# %%
from functools import partial

from IPython.display import display

from recon.classical import compressed_sensing as cs
from recon.data.samples import Slices
from recon.learning.transfer import bart_tuned

reconstructions = {"zero_filled": lambda batch: batch.image}
if compressed_sensing:
    reconstructions["cs"], tried = cs.tuned(Slices(train_files, plan, coils, seed, maps=True))
    display(pd.Series(tried, name="NMSE").rename_axis("regularisation").to_frame())
if bart:
    found, tried = bart_tuned(Slices(train_files, plan, coils, seed, maps=True))
    reconstructions |= found
    display(pd.DataFrame(tried).rename(columns=tables.NAMES).rename_axis("regularisation"))
reconstructions |= {k: partial(contest.reconstruct_with, v) for k, v in networks.items()}

# %% [markdown]
# ## Table V

# %%
from recon.learning.contest_report import all_pairs, claimed_pairs
from recon.learning.metrics import evaluate_methods
from recon.learning.training import pick_device
from recon.results import claims
from recon.results.statistics import summarise

with_maps = "cs" in reconstructions or bart or bool({*contest.WITH_MAPS} & {*wanted})
where = pick_device(device)
same = {"plan": plan, "virtual_coils": coils, "seed": seed, "device": str(where)}
scores = evaluate_methods(reconstructions, test_files, **same, maps=with_maps)
scores = scores[scores.metric.isin(["psnr", "ssim"])]
order = list(reconstructions)
constants = {"data": test_data or data, "trained_on": data, "task": "multicoil", "accel": accel}
paper = claims.load("chen-2022")
# Beside the usual pairs, those that the paper's claims name.
pairs = dict.fromkeys([*all_pairs(order, pyramid), *claimed_pairs(paper, "multicoil", order)])
rows = summarise(scores, list(pairs), "volume", **constants)

# %%
effective = scores.groupby("volume").effective_accel.first()
print(f"effective acceleration of the test scans: {effective.mean():.2f} on average")
tables.beside_paper(rows, paper, table="V", accel=accel)

# %% [markdown]
# Before anybody is ranked: which methods are better than the zero-filled image at all, and which have
# hardly begun to learn in the steps that the profile grants?

# %%
tables.differences(
    row for row in rows if row.get("against") == "zero_filled" and row["contrast"] == "all"
)

# %% [markdown]
# The paper multiplies image and target by a mask of the body before it scores them, as the table does.
# How much hangs on that? Means over all scans, inside the body and over the whole picture:

# %%
region = scores.pivot_table(index="method", columns=["metric", "region"], values="value")
region.loc[order].rename(index=tables.NAMES).round(3)

# %% [markdown]
# ### The order of the methods
#
# Kendall's $\tau$ between the two orders, as in {doc}`comparison`, contrast by contrast.

# %%
from recon.results.order import same_order

stand_in = {pyramid: "pcrnn_s"}
same_order(rows, paper, table="V", accel=accel, stand_in=stand_in)

# %% [markdown]
# ## Contrast by contrast
#
# T1 shows white matter bright; T1POST is T1 after a contrast agent that lights up vessels; T2 shows
# water bright; FLAIR is T2 with the fluid's signal suppressed. Does PC-RNN lead in each of them, by how
# much, and is the lead larger than chance makes it? With $n$ scans the smallest p-value that the
# signed-rank test can give is $2^{1-n}$.

# %%
contrasts.leads(rows, pyramid, "psnr") if pyramid in order else "PC-RNN was not asked for"

# %%
contrasts.leads(rows, pyramid, "ssim") if pyramid in order else "PC-RNN was not asked for"

# %% [markdown]
# Which contrast is hardest, and is it the paper's? PSNR compares the error with the brightest pixel,
# so contrasts with a few very bright pixels look easy to it; SSIM looks at every neighbourhood alike.
# Noise matters as well, and there the simulation made a choice: FLAIR has the most.

# %%
contrasts.hardest(rows, paper, table="V", accel=accel, stand_in=stand_in)

# %% [markdown]
# ## The number of coils
#
# What does a larger array bring, once everything is compressed to the same number of virtual coils?
# Two things pull. More coils carry more independent information, and the first virtual coils keep the
# best of it. But the target is the root sum of squares of *all* coils, and what compression drops is in
# no method's input. Below is the gain of each method over the zero-filled image of the same scan:
# Spearman's rank correlation $\rho$ of that gain with the number of coils, and its interval
# (Fisher's $z$, with the variance that ranks have). The arrays of one contrast may be larger than those of another (see the first
# table), and a contrast has a gain of its own; so both are taken minus their means of the contrast.
# The row *Ceiling* is the same for the methods' virtual coils, calibrated on the same centre, with
# nothing left out of k-space; for an array of no more coils than are kept they are a mere rotation.

# %%
from recon.learning.compression import score_compression
from recon.results import trends

ceiling = score_compression(test_files, (coils,), plan, seed)


def by_scan(metric):
    """Gains over zero-filled, a line a scan, beside the coils of its array and the ceiling."""
    part = scores[(scores.metric == metric) & (scores.region == "body")]
    table = part.pivot(index="volume", columns="method", values="value")[order]
    table.index = table.index.str.partition("#").get_level_values(0)
    gains = table[order[1:]].sub(table["zero_filled"], axis=0)
    top = ceiling[(ceiling.metric == metric) & (ceiling.region == "body")]
    gains["ceiling"] = top[top.method == f"coils_{coils}"].set_index("volume").value
    gains["ceiling"] -= table["zero_filled"]
    return gains.assign(zero_filled=table["zero_filled"], coils=scans.coils)


gains = {metric: by_scan(metric) for metric in ("psnr", "ssim")}
names = {**tables.NAMES, "ceiling": "Ceiling", "zero_filled": "Zero-filled, its score"}
kind = scans.contrast.reindex(gains["ssim"].index)
inside = {metric: trends.within(table, kind) for metric, table in gains.items()}
trend = {m: trends.trend_table(t, "coils", test_data or data) for m, t in inside.items()}
pd.concat(trend).rename(index=names).rename(index={"psnr": "PSNR", "ssim": "SSIM"}).round(3)

# %% mystnb={"figure": {"name": "fig-coils", "caption": "Gain in SSIM over the zero-filled image, against the coils of the scan's array: a point a scan."}, "image": {"alt": "Small scatter plots, one for each method, of the gain in SSIM against the number of coils, coloured by contrast."}}
titles = {name: names[name] for name in order[1:]}
labels = {"x": "coils of the array", "y": "gain in SSIM"}
_ = trends.scatter_grid(gains["ssim"], "coils", kind, labels, titles)

# %% [markdown]
# ### Fewer coils than channels
#
# Two coils compressed to four are two rotated coils and two channels of zeros: nothing is lost, and
# half of a network's input is empty. Data consistency writes zeros where zeros were measured; in the
# columns between, a network may draw what it likes, and the root sum of squares adds it to the image.
# VN and VS-Net cannot, because they draw one image and no coils; nor can compressed sensing, which
# multiplies its image by maps that are zero there. Share of the output's energy in channels that should
# be empty (nan: there are no channels):

# %%
from recon.learning.contest_report import empty_channels

empty = empty_channels(reconstructions, test_files, **same, maps=with_maps)
shown = empty.rename(columns=tables.NAMES).map("{:.1e}".format)
shown if len(empty) else f"skipped: every array has {coils} coils or more"

# %% [markdown]
# Is it worse to have few coils? Mean gain in SSIM of the scans whose array fits into the virtual coils,
# and of the others, where there are at least five of each:

# %%
fits = gains["ssim"].coils.le(coils).map({True: "fits", False: "compressed"})
fits.name = "array"
sizes = fits.value_counts().reindex(["fits", "compressed"], fill_value=0)
means = gains["ssim"].groupby(fits).mean().drop(columns="coils").rename(columns=names)
answer = f"not asked: the array fits in {sizes['fits']} scans of {len(fits)}"
means.assign(scans=sizes).T.round(4) if sizes.min() >= 5 else answer

# %% [markdown]
# ## What it looks like
#
# As figure 6 of the paper, one scan for each contrast: that of median SSIM under PC-RNN (or the last
# method).

# %% mystnb={"figure": {"name": "fig-contrasts", "caption": "For each contrast the whole target, a zoom (orange square) of it and of every method on a grey scale of their own, and below absolute errors times five on that scale. The number is the scan's SSIM."}, "image": {"alt": "Rows for four contrasts; columns for the target and every method, each with a zoom and an error map."}}
from recon.learning.contest_report import middle_slice

body = scores[(scores.region == "body") & (scores.metric == "ssim")]
table = body.pivot(index="volume", columns="method", values="value")[order]
images, targets, printed = {}, {}, {}
for contrast, part in body[body.method == order[-1]].groupby("contrast", sort=False):
    ranking = part.sort_values("value").volume.tolist()
    median = ranking[len(ranking) // 2]
    found, targets[contrast] = middle_slice(
        reconstructions, test_files, median, **same, maps=with_maps
    )
    images[contrast] = {tables.NAMES[k]: v for k, v in found.items()}
    printed[contrast] = {tables.NAMES[k]: f"{table.loc[median, k]:.3f}" for k in order}
figure = contrasts.contrast_rows(images, targets, printed)

# %% [markdown]
# ## What this run says of the paper's claims

# %%
from recon.results import provenance, store

seconds = sum(history[-1]["seconds"] for history in histories.values())
made = provenance.collect(
    "pcrnn_brain",
    parameters=settings,
    seed=seed,
    seconds=seconds + time.perf_counter() - started,
    device=str(where),
)
run = store.Run("pcrnn_brain", profile, settings, rows, made)
store.save(run)
store.save_figure(run, "contrasts", figure)
tables.verdicts(paper, store.frame([run]))

# %% [markdown]
# (pcrnn-brain-repeats)=
# ## Other seeds, other lengths
#
# This run stands in the first column. Runs from other seeds or longer ones, where they are stored,
# stand beside it (the table of reference runs names their commits). A seed is that of the trainings and of the masks;
# the test scans stay the same. Does the order hold?


# %%
from recon.results.repeats import alike, chosen_rows, paper_tables, repeats

references = store.reference_runs("pcrnn_brain")
same, others = alike(run, references)
gain = chosen_rows("psnr", lambda row: row["method"], against="zero_filled", region="body")
repeats([run, *same], gain, "PSNR over zero-filled, dB, mean and 95 % interval")

# %% [markdown]
# ## The paper's other acceleration, and a real head
#
# Runs of this notebook with other parameters, where they are stored, each beside the paper's table at
# its acceleration. The head is one healthy adult's T1-weighted scan {cite:p}`hanke2014` behind
# simulated coils: its scores have no twin in the paper, but the order of the methods has.

# %%
paper_tables(others, paper, lambda one: "V")

# %% [markdown]
# All stored runs of this chapter, and how each is repeated:

# %%
tables.references(references)

# %% [markdown]
# ## What differs from the paper
#
# - **Data, training and networks** as in {doc}`comparison`: simulated by default, minutes instead of
#   days, and the widths that a profile can afford.
# - **Arrays.** Training and test sets of the quick profile differ in their arrays, as said above. The
#   simulation draws 2 to 28 coils evenly; of the 5,847 scans of fastMRI's brains the paper counts 7
#   with fewer than four coils.
# - **Contrasts.** Here each has as many scans as any other; fastMRI's set has more of T2 than of the
#   rest, so "All" in the paper's columns leans towards T2.
# - **Noise** of each contrast is the manifest's choice, so which contrast is hardest is in part our own
#   doing.
# - **Targets** are the root sum of squares of all coils, cropped to the field of view, for every scan.
#
# ## Exercises
#
# 1. Run with `mask_type="random"`. Which methods gain, and do their errors still look like anatomy?
# 2. Run with `coils=8`. Does the ceiling rise, and do the methods follow it?
# 3. Train on as many kinds of arrays as the test has, `data="simulated_brain_arrays"`, with `test_data`
#    empty. Does the correlation with the number of coils change?
# 4. A head from elsewhere: `test_data="studyforrest_t1"`, with `test_root` the folder of that scan.
#    What does the table say of a contrast of which there is one volume?
