# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # CARN: a large image from a small one
#
# A scan with coarser pixels is a shorter scan. *Single-image super-resolution* draws the fine image
# that a coarse one may have come from. {cite:t}`stoian2020`, a student's report, takes CARN, the
# *convolutional anchored regression network* {cite:p}`li2018`, makes it cheaper, and compares 22
# networks and bicubic interpolation on knees from fastMRI {cite:p}`zbontar2018`. This chapter trains
# all of them, counts their parameters and operations by code, and holds both against table 1.
#
# ```{admonition} The data on this page are simulated
# :class: warning
# fastMRI's files may not be passed on, so the page you read was made from simulated knees, written
# in fastMRI's own file format. The same notebook runs on the real set by changing two parameters:
# see {ref}`carn-own-data`. Absolute scores here cannot be compared with the paper's; orders and
# differences can. Counts of parameters and operations need no data.
# ```

# %% tags=["parameters"]
profile = "quick"  # quick (minutes), standard (longer), paper (GPU, its volumes and crops)
data = "simulated_knee"  # data set to train and test on: a name in data_manifests/
data_root = ""  # folder of the data set, where it is not simulated
task = "multicoil"  # which of its files: multicoil or singlecoil
scale = 4  # factor of the enlargement: 2, 3, 4, 6 or 8
networks = "all"  # or names joined by commas, such as carn_3_8,new_carn_3_8,counted_3_8,srcnn_16
real_root = ""  # folder with the studyforrest head or the T2 slice, to score on real anatomy too
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.results import claims, parameters

paper = claims.load("stoian-2020")
KINDS = ("carn_", "new_carn_", "counted_", "srcnn_")
KEYS = [method for method in paper.methods if method.startswith(KINDS)]
rules = {name: parameters.MRI[name] for name in ("profile", "data", "data_root", "task")}
rules |= {"scale": parameters.whole(2, 8), "networks": parameters.some_of(*KEYS)}
rules |= {"real_root": parameters.text()}
rules |= {name: parameters.MRI[name] for name in ("seed", "device")}
settings = parameters.check(globals(), rules)

# %% [markdown]
# The report trains on random crops of 96 x 96 pixels, one of each slice in an epoch, flipped along
# either axis with a probability of one half, from the first 10 volumes of the set, and minimises the
# mean square error. It does not give optimiser, rate, batch or epochs: those of the profile `paper`
# are ours. The two others are shorter; `quick` learns from smaller crops too.

# %%
import time
from dataclasses import dataclass

import pandas as pd
import torch
from IPython.display import display

from recon.learning.training import Schedule, pick_device

started = time.perf_counter()


@dataclass(frozen=True)
class Profile:
    """Side of the crops, rate plan, volumes to train on (0: all), rounds of timing.

    The first rate is the family's, below, times `rate`. `counted` also trains New CARN as table 1
    counts it.
    """

    crop: int
    schedule: Schedule
    rate: float = 1
    train: int = 0
    rounds: int = 5
    counted: bool = True


QUICK = Schedule(epochs=5, batch_size=4, warmup_epochs=0.2, halve_every=2)
STANDARD = Schedule(epochs=6, batch_size=4, warmup_epochs=0.2, halve_every=2)
PAPER = Schedule(epochs=1000, batch_size=16, warmup_epochs=2, halve_every=250)
PROFILES = {
    "quick": Profile(48, QUICK, counted=False),
    "standard": Profile(96, STANDARD, rounds=9),
    "paper": Profile(96, PAPER, rate=0.5, train=10, rounds=9),
}
RATES = {"srcnn": 2e-3, "carn": 2e-3, "new_carn": 16e-3, "counted": 16e-3}
chosen = PROFILES[profile]
chosen

# %% [markdown]
# ## The problem
#
# Let $x$ be the fine image and $y = D_s x$ the coarse one, where $D_s$ reduces each side $s$ times.
# Many $x$ have the same $y$; a network $f_\theta$ with weights $\theta$ learns from pairs which of them
# is near,
#
# $$ \min_\theta \sum_i \| f_\theta(D_s x_i) - x_i \|_2^2 . $$ (eq-carn-loss)
#
# As in the report, $D_s$ is *bicubic* reduction. There are several kernels of that name; this book
# takes Keys' with $a = -0.5$ {cite:p}`keys1981`, widened by $s$ against aliasing, which is Pillow's, and
# the same kernel enlarges. A real coarse scan is something else: it keeps the centre of k-space, and
# has noise of its own.

# %%
from recon.classical.interpolation import enlarge, reduce
from recon.data.splits import open_split
from recon.data.super_resolution import Pairs, grey, head_slices, read_images
from recon.results.source import source

test_files = open_split(data, task, "val", profile, data_root)
train_files = open_split(data, task, "train", profile, data_root)[: chosen.train or None]
pairs = Pairs(train_files, scale, chosen.crop, seed)
real_slices = head_slices(real_root) if real_root else {}
print(f"{len(train_files)} volumes ({len(pairs)} slices) to train, {len(test_files)} to test;")
print("slices of", " x ".join(map(str, read_images(test_files[0]).shape[1:])), "pixels")
source(enlarge, reduce)

# %% mystnb={"figure": {"name": "fig-carn-data", "caption": "A slice of the first test volume, the same reduced, and enlarged again by bicubic interpolation; a random crop of the training set; one grey scale. Simulated unless you passed a folder of real files."}, "image": {"alt": "Four grey images: a sharp slice, a coarse version of it with visible pixels, a smooth enlargement, and a square crop of a training slice."}}
from recon.classical.interpolation import whole_crop
from recon.results import figures

fine = whole_crop(grey(read_images(test_files[0])[1:2]), scale)
coarse = reduce(fine, scale)
panels = {"fine": fine, "coarse": coarse, "bicubic": enlarge(coarse, scale)}
panels["a training crop"] = pairs[(0, 0)].target[None]
_ = figures.gallery({name: image[0, 0].numpy() for name, image in panels.items()})

# %% [markdown]
# ## Three kinds of network
#
# **SRCNN** {cite:p}`dong2016` corrects the interpolated image by three convolutions, so all its work is
# done on the fine grid.

# %%
from recon.networks.srcnn import SRCNN

source(SRCNN.forward)

# %% [markdown]
# **CARN** works on the coarse grid and predicts the $s^2$ fine pixels of each coarse pixel as channels.
# Its *regression block* (figure 1 of the report) makes a soft choice among $m$ linear regressors: with
# features $z$ of a pixel and its neighbours,
#
# $$ g(z) = \sum_{k=1}^{m} \operatorname{softmax}_k(A z) \; R_k z , $$ (eq-carn-block)
#
# where $R_k$ is the $k$-th regressor and the rows of $A$ are the *anchors*: a 3 x 3 convolution each.
# CARN-$N$-$c$-$m$ has three convolutions for features, then $N$ blocks with $c$ channels between them
# and $m$ anchors each, and adds the interpolated image. As in its published code (ofsoundof/CARN),
# there is a shortcut around every block whose output has as many channels as its input: also around the
# last one where $c = s^2$.

# %%
from recon.networks.anchored_regression import Chain, NewRegressionBlock, regress, upscale

source(regress, Chain.forward, upscale)

# %% [markdown]
# **New CARN** is the report's own (figures 3 and 4). Its regressors are 1 x 1; a linear 3 x 3
# convolution after the sum draws features for the next block; a single convolution at the start
# replaces three; all filters are *weight-normalised*, $w = g\, v / \|v\|$ with a length $g$ and a direction
# $v$ of their own {cite:p}`salimans2016`, as in WDSR {cite:p}`yu2018`.

# %%
source(NewRegressionBlock.__init__, NewRegressionBlock.forward)

# %% [markdown]
# ## The parameter audit
#
# Table 1 gives the trainable parameters of 22 networks. The cell builds each, counts, and does the
# sum by hand as well: a convolution with side $n$ has $n^2 \cdot \text{in} \cdot \text{out}$ weights and
# $\text{out}$ biases, weight normalisation adds $\text{out}$ lengths, a PReLU one slope a channel.
#
# What does *not* meet the text is needed to meet the counts:
#
# - the counts fit a network that builds the block for $N = 1$ *and* those for more, of which one kind
#   is never called. Its weights count as trainable, but no gradient reaches them. The published code of
#   CARN (ofsoundof/CARN, `model.py`) builds only the kind that it calls, so this is the report's own
#   program, which is not public;
# - in New CARN, the middle blocks that were counted are still CARN's own, 3 x 3 and not normalised.
#   *As counted* below is such a network; *to the text* has new blocks throughout.

# %%
from recon.learning.budget import live_parameters, operations
from recon.networks.channels import parameter_count
from recon.networks.table_one import arithmetic, build, carn_block, new_block
from recon.results import super_resolution
from recon.results.html import Html, html_table

theirs = super_resolution.published(paper)
audit = {}
for name, count in theirs.parameters.dropna().astype(int).items():
    twin = name.replace("new_carn", "counted")
    built, text, (words, total) = build(twin), build(name), arithmetic(twin)
    audit[paper.methods[name]] = {
        "Table 1": count,
        "Arithmetic": words,
        "Sum": total,
        "Built": parameter_count(built),
        "Learn": live_parameters(built),
        "Built to the text": parameter_count(text),
        "of them learn": live_parameters(text),
    }
audit = pd.DataFrame(audit).T
equal = (audit["Table 1"] == audit["Sum"]) & (audit["Table 1"] == audit["Built"])
dead = 1 - (audit["Learn"] / audit["Table 1"]).astype(float)

# %% tags=["nbval-check-output"]
print(f"{equal.sum()} of {len(audit)} counts equal, by arithmetic and built")
least, most = dead[dead > 0].min(), dead.max()
print(f"dead among the weights of CARN and New CARN: {least:.0%} to {most:.0%} of a row's count")
shown = audit.assign(Dead=dead.map("{:.0%}".format)).map(
    lambda v: f"{v:,}" if isinstance(v, int) else v
)
html_table("Parameters of table 1, reproduced", ["Model", *shown], shown.reset_index().values)

# %% [markdown]
# Could the middle blocks be anything else? From $N = 3$ on, every further block of New CARN adds the
# same number in table 1. If a block's count is a polynomial $a c^3 + b c^2 + d c$ with $c = m$ channels and
# whole numbers that are not negative, two widths leave few choices. The cell tries all.

# %% tags=["nbval-check-output"]
step = {
    c: theirs.parameters[f"new_carn_5_{c}"] - theirs.parameters[f"new_carn_3_{c}"] for c in (8, 16)
}
added = {c: int(value) // 2 for c, value in step.items()}
grid = [(a, b) for a in range(added[8] // 512 + 1) for b in range(added[8] // 64 + 1)]
fits = [
    (a, b, d)
    for a, b in grid
    for d in [(added[8] - 512 * a - 64 * b) // 8]
    if d >= 0 and all(a * c**3 + b * c**2 + d * c == n for c, n in added.items())
]
print("a further block adds", added, "and the polynomials that fit are", fits)
for name, block in {"CARN's block": carn_block, "the new block": new_block}.items():
    print(f"{name}:", {c: block(c, c, c) for c in (8, 16)})

# %% [markdown]
# (carn-operations)=
# ## Operations, and the timing column
#
# Section 4.3 argues that 1 x 1 regressors need a ninth of the operations of 3 x 3 ones. The network as a
# whole is to get *considerably* cheaper, because its blocks cost significantly more than the layers of
# features before them. Torch's profiler counts the operations of convolutions on one image of
# 320 x 320 pixels; sums over anchors, activations and the interpolation are not counted. Is the premise
# true, how much of the ninth is left in the blocks, and how much in the whole network? (Its features,
# one layer in place of CARN's three, get cheaper too.)

# %%
side = 320 // scale
counts, cost_of, features = {}, {}, {}
twins = [key for key in KEYS if key.startswith("counted")]
table_keys = [*theirs.parameters.dropna().index]
for name in [*table_keys, *twins]:
    net = build(name, scale)
    cost_of[name] = operations(net, side, side)
    counts[name] = {"parameters": parameter_count(net), "operations": cost_of[name]}
    if hasattr(net, "features"):
        features[name] = operations(net.features, side, side)
        ratio = features[name] / (cost_of[name] - features[name])
        counts[name]["features_over_blocks"] = ratio
wide = operations(torch.nn.Conv2d(8, 64, 3, padding=1), side, side, 8)
narrow = operations(torch.nn.Conv2d(8, 64, 1), side, side, 8)
counts["regressor_1x1"] = {"operations_ratio": wide / narrow}
counts["fourfold"] = {"parameters": 4 * counts["new_carn_13_8"]["parameters"]}  # of section 5.2

# %%
cheaper = {}
for name in table_keys:
    if name.startswith("new_carn") and (old := name.removeprefix("new_")) in cost_of:
        counts[name]["operations_left"] = cost_of[name] / cost_of[old]
        blocks = {key: cost_of[key] - features[key] for key in (old, name)}
        cheaper[paper.methods[old].removeprefix("CARN-")] = {
            "features' share, CARN's": features[old] / cost_of[old],
            "New CARN's": features[name] / cost_of[name],
            "blocks alone, CARN over New CARN": blocks[old] / blocks[name],
            "whole network": cost_of[old] / cost_of[name],
            "live parameters": live_parameters(build(old)) / live_parameters(build(name)),
        }
print(f"the regressor's convolution alone: {wide / narrow:.1f}")
pd.DataFrame(cheaper).T.round(2).rename_axis("blocks-channels-anchors")

# %% [markdown]
# Time is measured on one image of 320 x 320 pixels, all networks in one run, in rounds that go
# through all of them; the median round counts. A processor computes in one thread. Weight
# normalisation is multiplied out first, as one would for use. Seconds depend on the machine: read
# them as ratios.

# %%
from recon.learning import cost
from recon.learning.budget import time_networks
from recon.results.statistics import interval, summarise

where = pick_device(device)
example = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(seed)).to(where)
timed = {name: build(name, scale) for name in cost_of}
took, timing = time_networks(timed, example, chosen.rounds)
kind = cost.machine(str(where)).split(",")[0]
print(f"{kind}: {min(took.values()):.4f} s to {max(took.values()):.4f} s an image")

# %% [markdown]
# Now the two columns of table 1 that should agree. From 3 blocks on, a further block of CARN and one
# of New CARN have *the same* parameters in table 1, so a further block should take the same time. The
# slopes below are least-squares lines through all rows of 3 blocks and more. Which New CARN do the
# paper's seconds resemble, the one that was counted or the one of the text?

# %%
ours = pd.Series(took)
slopes = {}
for c in (8, 16):
    for label, values, kind in (
        ("paper, parameters", theirs.parameters, "new_carn"),
        ("paper, seconds", theirs.seconds, "new_carn"),
        ("here, seconds, as counted", ours, "counted"),
        ("here, seconds, to the text", ours, "new_carn"),
        ("here, operations, to the text", pd.Series(cost_of), "new_carn"),
    ):
        old, new = (super_resolution.time_per_block(values, k, c) for k in ("carn", kind))
        slopes[f"{c} channels", label] = {"CARN": old, "New CARN": new, "ratio": old / new}
slopes = pd.DataFrame(slopes).T
slopes.map("{:.3g}".format)

# %% [markdown]
# ## Training
#
# Every network starts close to bicubic interpolation, sees the same crops in the same order, and
# takes as many steps. The rate is chosen for each family on volumes that are neither trained on in
# that choice nor tested on; see {ref}`carn-rates`.

# %%
from dataclasses import replace

from recon.learning.upscaling import score_files, score_images, score_stacks, train

wanted = [*table_keys, *(twins if chosen.counted else [])]
if networks != "all":
    wanted = [key for key in KEYS if key in networks.split(",")]
trained, lessons = {}, {}
before = time.perf_counter()
for name in wanted:
    rate = chosen.rate * RATES[super_resolution.family(name)]
    schedule = replace(chosen.schedule, rate=rate, warmup_rate=rate / 10)
    torch.manual_seed(seed)
    net = build(name, scale)
    history = train(net, train_files, settings, schedule, chosen.crop, paper.methods[name])
    lessons[paper.methods[name]] = history
    trained[name] = net.to(where).eval()
# A training that an earlier run began or finished counts in full.
started += time.perf_counter() - before
started -= sum(history[-1]["seconds"] for history in lessons.values())

# %%
pd.DataFrame(
    {
        name: {
            "steps": len(history),
            "seconds": f"{history[-1]['seconds']:.1f}",
            "loss, first quarter": f"{super_resolution.mean_loss(history, 0, 0.25):.2e}",
            "last quarter": f"{super_resolution.mean_loss(history, 0.75, 1):.2e}",
        }
        for name, history in lessons.items()
    }
).T

# %% [markdown]
# ## Table 1
#
# A slice is a grey image: divided by its maximum, results cut off at 0 and 1. PSNR and SSIM
# {cite:p}`wang2004` take a range of 1 and are averaged over the slices of a volume, then over volumes,
# with 95 % t intervals. The report does not say how it scores; this is what TensorFlow's
# functions compute with their defaults.

# %%
methods = {**trained, "bicubic": lambda low: enlarge(low, scale)}
scores = score_files(methods, test_files, scale, where)
constants = {"data": data, "trained_on": data, "task": "super_resolution", "accel": scale}
compared = super_resolution.neighbours(paper, methods)
pairs_of = compared + super_resolution.claimed_pairs(paper, methods)
rows = summarise(scores, [*dict.fromkeys(pairs_of)], **constants)
counts["half"] = {"features_over_blocks": 0.5, "operations_left": 0.5}  # our bound
best = next(row for row in timing if row["method"] == "new_carn_13_8")
slow = {"value": 4 * best["value"], "ci95": [4 * second for second in best["ci95"]]}
timing.append({**best, **slow, "method": "fourfold"})
rows += timing + super_resolution.count_rows(counts, scale, "half")
super_resolution.table_one(rows, paper, scale)

# %% [markdown]
# Do neighbours in the table differ at all? The volumes are the same for both, so differences are
# paired. Each network was trained once, so a training's luck is in them too: {ref}`carn-rates` ends with
# two trainings of some. And among so many pairs, one p in twenty lies below 0.05 by chance alone.

# %%
super_resolution.differences(rows, paper, compared)

# %%
super_resolution.orders([row for row in rows if row["data"] == data], paper, scale)

# %% [markdown]
# ## What a decibel costs
#
# A model is on the *Pareto front* when none is both cheaper and better. Dead parameters are counted on
# the left, as the report counts them.

# %% mystnb={"figure": {"name": "fig-carn-pareto", "caption": "PSNR over the test volumes against what a model costs, log scale; the grey line joins the models that none beats in both. Time and operations are those of one 320 x 320 image. Bicubic interpolation has no parameters and is not drawn."}, "image": {"alt": "Three scatter plots of PSNR against trainable parameters, operations and seconds, one colour and mark for each family of networks, with a grey step line along the best of them."}}
mean = super_resolution.chosen(rows, "psnr", scale)
mean = {name: row["value"] for name, row in mean.items()}
costs = {
    "trainable parameters": {name: counts[name]["parameters"] for name in trained},
    "operations": {name: cost_of[name] for name in trained},
    "seconds": {name: took[name] for name in trained},
}
pareto = super_resolution.pareto(mean, costs, "PSNR, dB")

# %%
fronts = {}
for label, values in costs.items():
    front = super_resolution.on_front({name: (values[name], mean[name]) for name in values})
    fronts[label] = ", ".join(paper.methods[name] for name in front)
html_table("Models on the Pareto front, cheapest first", ["Cost", "Models"], fronts.items())

# %% [markdown]
# ## The same accuracy for less?
#
# The networks to the text, beside CARN of as many blocks and channels: how much cheaper is the
# *whole* network, and what does it cost in decibels?

# %%
lines = {}
table = scores[scores.metric == "psnr"].pivot(index="volume", columns="method", values="value")
for old in [name for name in trained if name.startswith("carn") and f"new_{name}" in trained]:
    difference = (table[f"new_{old}"] - table[old]).to_numpy()
    low, high = interval(difference)
    lines[paper.methods[old].removeprefix("CARN-")] = {
        "operations, CARN over New CARN": f"{cost_of[old] / cost_of[f'new_{old}']:.1f}",
        "seconds, CARN over New CARN": f"{took[old] / took[f'new_{old}']:.1f}",
        "PSNR, New CARN minus CARN": f"{difference.mean():+.2f} [{low:+.2f}, {high:+.2f}]",
    }
pd.DataFrame(lines).T

# %% [markdown]
# ## What it looks like
#
# The middle slice of the volume whose PSNR under bicubic interpolation is the median; errors times
# five.

# %% mystnb={"figure": {"name": "fig-carn-median", "caption": "The median volume: bicubic interpolation, one network of each family, and the target; a zoom (orange square) on the same grey scale, and absolute errors times five. dB: mean over the volume's slices."}, "image": {"alt": "Columns for bicubic, SRCNN, CARN, New CARN and target; rows for the image, a zoom and the error map."}}
order = table["bicubic"].sort_values()
median = order.index[len(order) // 2]
path = next(path for path in test_files if path.stem == median)
picked = [name for name in ("srcnn_original", "carn_9_8", "new_carn_9_8") if name in methods]
picked = ["bicubic", *(picked or list(trained)[:3])]
_, middle = score_images({n: methods[n] for n in picked}, read_images(path), scale, where)
drawn = {paper.methods[name]: middle[name] for name in picked}
titles = {paper.methods[name]: f"{table.loc[median, name]:.2f} dB" for name in picked}
comparison = figures.comparison(drawn, middle["target"], scores=titles)

# %% [markdown]
# (carn-real)=
# ## Real anatomy that no network has seen
#
# With a folder in `real_root` every model is also scored on slices that nobody drew: the head of the
# studyforrest project {cite:p}`hanke2014` (public domain) in three planes, and one 512 x 512 T2-weighted
# slice of a brain, from the repository SWastling/mri_ft_recon at 00032c3 (MIT licence). One head is
# one person: intervals there speak of slices. What was done to these images before they were published
# is only partly recorded, and interpolated or filtered images can flatter a method {cite:p}`shimron2022`.

# %%
if real_root:
    real = score_stacks(methods, real_slices, scale, where)
    rows += summarise(real, [], "slice", **{**constants, "data": "real_slices"})
    display(super_resolution.orders(rows, paper, scale))
else:
    print("skipped: real_root is empty; the reference run below has such slices")

# %% [markdown]
# ## What this run says of the report's claims
#
# The verdicts are computed by the rules in `book/claims/stoian-2020.yml`; {doc}`scoreboard` gathers
# those of the reference runs. One training of each network decides them.

# %%
from recon.results import provenance, store, tables

spent = time.perf_counter() - started
made = provenance.collect("carn", parameters=settings, seed=seed, seconds=spent, device=str(where))
run = store.Run("carn", profile, settings, rows, made)
store.save(run)
for label, figure in {"pareto": pareto, "median": comparison}.items():
    store.save_figure(run, label, figure)
tables.verdicts(paper, store.frame([run]))

# %% [markdown]
# (carn-reference)=
# ## Reference runs
#
# Made once and stored with the commit that made them. Is the order of the models on real slices the
# one on simulated knees? Does it resemble the report's?

# %%
references = store.reference_runs("carn")
display(
    Html("".join(super_resolution.orders(r.rows, paper, r.parameters["scale"]) for r in references))
)
tables.references(references)

# %%
Html(
    "".join(
        super_resolution.places(
            r.rows, paper, r.parameters["scale"], store.run_name("carn", r.parameters)
        )
        for r in references
    )
)

# %% [markdown]
# (carn-own-data)=
# ## Your own data
#
# | you have | you run |
# |---|---|
# | the fastMRI knee set, single coil | `papermill book/carn.ipynb out.ipynb -p data fastmri_knee_singlecoil -p task singlecoil -p data_root /data/fastmri -p profile paper` |
# | any folder of fastMRI-format files | `... -p data fastmri_folder -p data_root FOLDER` |
# | the studyforrest head or the T2 slice | `... -p real_root FOLDER` |
# | another factor (the report's future work) | `... -p scale 2` or `-p scale 3` |
# | a minute only | `... -p networks carn_3_8,new_carn_3_8,counted_3_8,srcnn_16` |
#
# The files need the reference images only: `reconstruction_rss`, or `reconstruction_esc` where there is
# no other.
#
# ## What differs from the report
#
# - **Data.** Simulated by default, smaller slices, and half of the training volumes show no anatomy
#   but random occluding shapes.
# - **Test volumes.** All of the validation part; the report's two allow no interval and no test.
# - **Training.** Optimiser, rates, batch and epochs are not in the report. Here: Adam with Lookahead
#   {cite:p}`zhang2019`, gradients clipped at norm 1. No L2 penalty on CARN's weights, which the report
#   mentions without a number.
# - **First weights.** Not in the report. Here every network starts close to bicubic interpolation.
# - **Interpolation and scores.** Not in the report; the choices are named above.
# - **Where New CARN has its shortcuts** is drawn in a figure and not in words; here around all blocks but
#   the last. CARN's are those of its published code, the last block's of the networks with 16 channels
#   at x4 included.
#
# (carn-rates)=
# ## How the rates were chosen
#
# Gains over bicubic interpolation in trials of about the quick profile's length, at several first
# rates; a quarter of the training volumes was kept aside for scoring. One seed each. A family takes the
# smallest rate whose mean over its networks comes within 0.01 dB of the best. The longer profiles take
# these rates over, `paper` half of them, and were not tried against others.

# %%
trials = pd.read_csv(store.reference_dir() / "carn_rates.csv")
trials["family"] = trials.network.map(super_resolution.family)
by_rate = trials.pivot_table(index="family", columns="rate", values="psnr")
near = by_rate.ge(by_rate.max(axis=1) - 0.01, axis=0)
print("by this rule:", near.idxmax(axis=1).to_dict(), "taken:", RATES)
by_network = trials.pivot(index="network", columns="rate", values="psnr")
by_network.rename(index=paper.methods).map("{:+.2f} dB".format)

# %% [markdown]
# These networks have thus been trained twice: in a trial at the rate taken, and in this run, which scores
# other volumes and need not be as long. Do the two gains agree, and where among all models does this run
# put the network?

# %%
taken = trials[trials.rate == trials.family.map(RATES)].set_index("network").psnr
gain = table.sub(table["bicubic"], axis=0).mean()
twice = pd.DataFrame({"trial, dB": taken, "this run, dB": gain}).dropna()
twice["place"] = gain.rank(ascending=False).reindex(twice.index).astype(int)
twice.rename(index=paper.methods).round(2)

# %% [markdown]
# ## Exercises
#
# 1. Run the chapter at `scale=2` and at `scale=3`. At which factor do the networks gain most over
#    bicubic interpolation, and why?
# 2. The coarse image is the fine one, filtered. Enlarge a result's reduction: does $D_s f_\theta(y)$
#    equal $y$? What would a step like the *data consistency* of {doc}`pcrnn` look like here?
# 3. Take `reduce` without the widened kernel and train a network on it. Score it on properly reduced
#    images.
# 4. Where do the operations of New CARN go, once its regressors are 1 x 1? Count them by layer.
