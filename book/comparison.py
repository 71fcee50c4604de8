# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Nine ways to fill in what is missing
#
# {cite:t}`chen2022` hold their network against seven others. This chapter builds them all, trains
# them the same way on the same measurements, and sets the scores beside the paper's tables I
# (single-coil knee), II (multi-coil knee) or, with brains for `data`, V. What {doc}`pcrnn` explains,
# masks, data consistency, the loss and the scores, is used here without another word.
#
# ```{admonition} The data on this page are simulated
# :class: warning
# fastMRI's files may not be passed on, so the page you read was made from simulated knees. Absolute
# scores cannot be compared with the paper's; the order of the methods can. Two parameters,
# `data` and `data_root`, run the same notebook on the real set.
# ```

# %% tags=["parameters"]
profile = "quick"  # quick (minutes, small networks), standard (longer), paper (GPU)
data = "simulated_knee"  # data set to train on: a name in data_manifests/
data_root = ""  # folder of the data set, where it is not simulated
test_data = ""  # data set to evaluate on; empty: the validation part of `data`
test_root = ""  # folder of the test data
task = "multicoil"  # multicoil or singlecoil
accel = 4  # nominal acceleration, 2 to 12
center_fraction = 0.0  # fully sampled share of the columns; 0: the usual one at this acceleration
mask_type = "random"  # random, equispaced or equispaced_fraction
coils = 4  # virtual coils after compression; 0: keep the coils as they are
methods = "all"  # or some of them, joined by commas: unet,d5c5,pcrnn,pcrnn_b
compressed_sensing = True  # also run compressed sensing
bart = False  # also BART's compressed sensing, where BART is installed (seconds a slice)
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.learning.contest import LARGE, NETWORKS
from recon.results import parameters

rules = {
    **parameters.MRI,
    "methods": parameters.some_of(*NETWORKS, *LARGE),
    "compressed_sensing": parameters.flag(),
    "bart": parameters.flag(),
}
settings = parameters.check(globals(), rules)

# %% [markdown]
# ## The networks
#
# | method | what it does with the measurement |
# |---|---|
# | compressed sensing {cite:p}`lustig2007` | finds the image of sparse wavelets that fits it; learns nothing |
# | U-Net {cite:p}`zbontar2018` | corrects the zero-filled image; never looks at the measurement again |
# | VN {cite:p}`hammernik2018` | ten gradient steps on an energy whose filters and potentials are learned |
# | VS-Net {cite:p}`duan2019` | five turns of denoising, coil by coil consistency, and their average |
# | KIKI-Net {cite:p}`eo2018` | convolutions in k-space, then in the image, then both again |
# | D5C5 {cite:p}`schlemper2018` | five blocks of five convolutions, each closed by data consistency |
# | ComplexMRI {cite:p}`wang2020` | ten blocks of complex convolutions, each closed by data consistency |
# | PC-RNN {cite:p}`chen2022` | recurrent modules at a quarter, a half and all of the resolution |
#
# VN and VS-Net reconstruct one image and know the coils' sensitivities, which ESPIRiT
# {cite:p}`uecker2014` finds in the fully sampled centre. The other networks draw every coil and know
# none.
# So the first two need what single-coil data cannot give and are missing from table I, as is
# ComplexMRI in the paper. PC-RNN-B, four times as wide as PC-RNN-S, learns in the `paper`
# profile, or where `methods` names it.

# %%
from recon.data.measurement import Sampling
from recon.data.samples import Slices
from recon.data.splits import open_split
from recon.physics.sampling import standard_center_fraction

train_files = open_split(data, task, "train", profile, data_root)
test_split = "all" if test_data else "val"
test_files = open_split(test_data or data, task, test_split, profile, test_root or data_root)
plan = Sampling(accel, center_fraction or standard_center_fraction(accel), mask_type)
virtual = 1 if task == "singlecoil" else coils

# %% [markdown]
# All see as many pixels a step and as many steps. Networks that look at a neighbourhood learn from
# bands of rows, four a step; the U-Net, which normalises over the image, and KIKI-Net, whose k-space
# changes its grid with the band, learn from whole slices, one a step. The loop is this:

# %%
from recon.learning import contest
from recon.results.source import source

source(contest.train_alike)

# %%
import time

budget = contest.BUDGETS[profile]
wanted = contest.entrants(methods, profile)
if task == "singlecoil":
    wanted = [name for name in wanted if name not in contest.WITH_MAPS]
networks, histories = contest.train_alike(wanted, train_files, plan, virtual, budget, settings)
pyramid = f"pcrnn_{budget.pcrnn}"
started = time.perf_counter()  # training, also by an earlier run, is in the histories

# %% tags=["nbval-check-output"]
from recon.learning.contest_report import network_sizes
from recon.results import figures, tables

sizes = network_sizes(networks, histories).rename(index=tables.NAMES)
sizes.filter(["parameters", "steps", "rate"])

# %%
sizes.filter(["training, s", "last loss"])

# %% mystnb={"figure": {"name": "fig-comparison-training", "caption": "Training loss by step and by second of training: every step faint, the mean of 20 steps strong."}, "image": {"alt": "Two line plots of falling training loss, one curve for each network, against steps and against seconds."}}
_ = figures.training_curves({tables.NAMES[k]: v for k, v in histories.items()})

# %% [markdown]
# ## Scores
#
# Compressed sensing is equation 2 of the paper, $\min_x \tfrac12 \|A x - y\|^2 + \lambda \|\Psi x\|_1$,
# with the same coil maps as VN and VS-Net in $A$ and Daubechies wavelets for $\Psi$. Its strength
# $\lambda$ is chosen on slices of the training set; the images are in units of their zero-filled mean.
# A single coil needs no map: $S = 1$.
# With `bart`, BART's `pics` {cite:p}`uecker2015` runs as well, with total variation as in the paper and
# with wavelets at random shifts, each at the best of four strengths.

# %%
from functools import partial

import pandas as pd
from IPython.display import display

from recon.classical import compressed_sensing as cs
from recon.learning.contest_report import all_pairs, claimed_pairs, middle_slice, table_number
from recon.learning.metrics import evaluate_methods
from recon.learning.training import pick_device
from recon.learning.transfer import bart_tuned

reconstructions = {"zero_filled": lambda batch: batch.image}
if compressed_sensing:
    reconstructions["cs"], tried = cs.tuned(Slices(train_files, plan, virtual, seed, maps=True))
    display(pd.Series(tried, name="NMSE").rename_axis("regularisation").to_frame())
if bart:
    found, tried = bart_tuned(Slices(train_files, plan, virtual, seed, maps=True))
    reconstructions |= found
    display(pd.DataFrame(tried).rename(columns=tables.NAMES).rename_axis("regularisation"))
reconstructions |= {k: partial(contest.reconstruct_with, v) for k, v in networks.items()}

# %%
from recon.results import claims, provenance, store
from recon.results.statistics import summarise

with_maps = "cs" in reconstructions or bart or bool({*contest.WITH_MAPS} & {*wanted})
where = pick_device(device)
scores = evaluate_methods(
    reconstructions, test_files, plan, virtual, seed, str(where), maps=with_maps
)
order = list(reconstructions)
constants = {"data": test_data or data, "trained_on": data, "task": task, "accel": accel}
paper = claims.load("chen-2022")
pairs = dict.fromkeys([*all_pairs(order, pyramid), *claimed_pairs(paper, task, order)])
rows = summarise(scores, list(pairs), "volume", **constants)

# %%
trained = sum(history[-1]["seconds"] for history in histories.values())
seconds = trained + time.perf_counter() - started
made = provenance.collect(
    "comparison", parameters=settings, seed=seed, seconds=seconds, device=str(where)
)
run = store.Run("comparison", profile, settings, rows, made)
number = table_number(settings)
tables.beside_paper(rows, paper, table=number, accel=accel)

# %% [markdown]
# Does each method beat the zero-filled image, in every contrast, and does PC-RNN beat each of them?

# %%
from recon.results.grids import by_contrast

shown = all_pairs(order, pyramid)
paired = [row for row in rows if (row["method"], row.get("against")) in shown]
by_contrast(paired, "psnr")

# %%
by_contrast(paired, "ssim")

# %% mystnb={"figure": {"name": "fig-comparison-volumes", "caption": "SSIM (body) of every test volume under each method; the black line joins the means."}, "image": {"alt": "One thin line for each test volume over all methods from zero-filled to PC-RNN; a black line joins the means."}}
body = scores[(scores.region == "body") & (scores.metric == "ssim")]
table = body.pivot(index="volume", columns="method", values="value")[order]
_ = figures.paired_scores(table.rename(columns=tables.NAMES), "SSIM")

# %% [markdown]
# ## The order of the methods
#
# Absolute scores belong to a data set, an order less so. Kendall's $\tau$ counts the pairs of methods
# that both tables put in the same order: 1 when all agree, 0 when as many disagree as agree, -1 when
# all disagree. With few methods it moves in coarse steps, and the p-value says how often shuffled
# orders agree or disagree as strongly. Where the profile trains a smaller PC-RNN, it stands for
# PC-RNN-S.

# %%
from recon.results.order import same_order

same_order(rows, paper, table=number, accel=accel, stand_in={pyramid: "pcrnn_s"})

# %% [markdown]
# ## What it looks like

# %% mystnb={"figure": {"name": "fig-comparison-median", "caption": "The median volume for PC-RNN (or the last method): reconstructions, a zoom (orange square) on the same grey scale, and absolute errors times five on that scale. The SSIM printed is the volume's."}, "image": {"alt": "Columns for every method and the target; rows for the image, a zoom and the error map."}}
ranking = table[order[-1]].sort_values()
median = ranking.index[len(ranking) // 2]
images, target = middle_slice(
    reconstructions, test_files, median, plan, virtual, seed, str(where), with_maps
)
figure = figures.comparison(
    {tables.NAMES[k]: v for k, v in images.items()},
    target,
    scores={tables.NAMES[k]: f"{table.loc[median, k]:.3f}" for k in order},
)

# %% [markdown]
# ## What this run says of the paper's claims

# %%
store.save(run)
store.save_figure(run, "median", figure)
tables.verdicts(paper, store.frame([run]))

# %% [markdown]
# (comparison-repeats)=
# ## Other seeds, other lengths
#
# This run stands in the first column. Runs from other seeds or longer ones, where they are stored,
# stand beside it. A seed here is that of the trainings and of the
# masks. All runs of a profile are scored on the same volumes, and longer profiles have more of them, so rows
# that learn nothing differ between profiles too. The table of reference runs below names the commits; runs
# that are older than a profile took the steps that it had then. Does the order hold?


# %%
from recon.results.repeats import alike, chosen_rows, paper_tables, repeats

references = store.reference_runs("comparison")
same, others = alike(run, references)
gain = chosen_rows("psnr", lambda row: row["method"], against="zero_filled", region="body")
repeats([run, *same], gain, "PSNR over zero-filled, dB, mean and 95 % interval")

# %% [markdown]
# ## The other tables
#
# The paper's tables hold two accelerations, and table I a single coil. Runs of this notebook for those
# that the page above does not show, where they are stored:

# %%
paper_tables(others, paper, lambda one: table_number(one.parameters))

# %% [markdown]
# All stored runs of this chapter, and how each is repeated:

# %%
tables.references(references)

# %% [markdown]
# ## What differs from the paper
#
# - **Data and training** as in {doc}`pcrnn`: simulated by default, trained shortly instead of for days, a band of
#   rows where the network allows it, hard data consistency, and PC-RNN's start near the identity.
# - **VN** has 16 kernels in a step in the `quick` profile and 48, its published size, in `standard`; the
#   paper widens it to 1.3 M parameters (480 kernels), which the `paper` profile does. The prior is
#   averaged over kernels, not summed.
# - **KIKI-Net**'s four networks have 16 convolutions each, as in the benchmark of
#   {cite:t}`ramzi2020`, from which the paper took its code; VS-Net's denoisers have five, as their
#   original. In `quick` and `standard` widths are multiples of 16, which CPUs multiply fast; `paper`
#   has widths that come close to the paper's sizes. KIKI-Net's networks in k-space start as the
#   identity, and all its layers from He's initialisation: with the usual first weights nothing of
#   the measurement passes through sixteen layers, and it learned nothing in the steps given here.
# - **Compressed sensing** has decimated wavelets and 60 iterations of FISTA, by sigpy, where the paper
#   has total variation and 200 iterations, by BART, at one strength for all data. A run with
#   `bart`, above where it is stored, and {doc}`measured_kspace`, set it beside BART's.
# - **Maps** come from a coarse grid of at most 32 x 32 and cover every pixel.
# - **Mask of a single coil.** Without maps there is none: all of the picture counts as body.
#
# ## How the rates were chosen
#
# A network that learns at the wrong rate looks worse than it is. So each but PC-RNN-B, which takes
# PC-RNN's rate untried, was trained at several rates, for the steps and epochs that the table prints, and scored on
# knees simulated from another seed, which neither train nor test. The best rate of each is the one
# that the table of the networks shows, also at `standard`. One seed each.

# %%
from recon.results.settings import trials

trials("comparison")

# %% [markdown]
# ## Networks that need more steps
#
# The U-Net and KIKI-Net learn from whole slices, one a step, and in the steps of the profiles above they
# may not get past the zero-filled image. Is that the network, or the time? The same trial with 1, 4
# and 16 times the steps, the rate plan stretched alike:

# %%
trials("comparison, longer")

# %% [markdown]
# ## Exercises
#
# 1. Run with `task="singlecoil"`. Which networks lose most of their lead, and what did they use that
#    one coil does not have?
# 2. Give D5C5 the coils' maps: write a block that denoises the combined image and restores the
#    samples coil by coil. What is left of the difference to VS-Net?
# 3. `test_data="studyforrest_t1"` after training on `simulated_brain`: does the order change?
