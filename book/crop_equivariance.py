# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Crop-equivariance: tiles without seams
#
# A network that does not fit into memory with a whole image is run on pieces of it. Glue the pieces'
# outputs together, and seams appear. {cite:t}`remedios2022` say where they come from, the zeros that
# a convolution invents beyond the border of a piece, and build a network that never needs any. They
# show it on *self-super-resolution*: a scan with thick slices is made sharp by a network that has
# learnt from that scan alone {cite:p}`zhao2021`. This chapter builds both networks, theirs and the
# padded one beside it, measures the seams, and asks what the design costs in accuracy.
#
# Here and in {doc}`ablation_padded_vs_valid` a *patch* is what the network is given, as in the paper, and
# a *tile* what is kept of its output. Sizes are pixels along a side.
#
# ```{admonition} The data on this page are simulated
# :class: warning
# The paper's heads may not be passed on, so the page you read was made from simulated ones, stored as
# NIfTI files. The same notebook runs on real heads by changing two parameters: see {ref}`own-heads`.
# Absolute scores here cannot be compared with the paper's; orders and differences can.
# ```

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
profile = "quick"  # quick (minutes), standard (longer), paper (GPU, published sizes)
data = "simulated_head"  # simulated_head, studyforrest_t1, oasis3_t1, adni_phantom, nifti_folder
data_root = ""  # folder of the NIfTI files, where the heads are not simulated
microscopy = ""  # a .npy volume of real microscopy, to be shown beside the simulated one
factors = "profile"  # thickness of the slices in voxels: some of 2,3,4,5; profile: what it affords
volumes = 0  # heads, each with networks of its own; 0: as many as the profile affords
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.data.isotropic import SOURCES, open_heads, read_head
from recon.results import parameters
from recon.results.arrays import read_picture

rules = {
    "profile": parameters.MRI["profile"],
    "data": parameters.one_of(*SOURCES),
    "data_root": parameters.text(),
    "microscopy": parameters.text(),
    "factors": parameters.some_of("profile", "2", "3", "4", "5"),
    "volumes": parameters.whole(0, 10_000),
    "seed": parameters.MRI["seed"],
    "device": parameters.device(),
}
settings = parameters.check(globals(), rules)

# %% [markdown]
# A profile says how wide the networks are (feature maps), how many voxels a simulated head is
# across, how many heads there are, at which factors, on how many slices of each they are scored, and
# how they learn. The paper's is the last: 10,000 steps of 32 patches at a rate of $10^{-4}$, for each
# of 50 heads anew. It does not name the number of feature maps; 64 is that of the smaller of the
# networks it follows {cite:p}`lim2017`. The short trainings take fewer and larger steps, at a rate chosen
# in trials that are not stored. They also let the network add its input to what it draws and start its last convolution at zero, so that it begins as
# the interpolation that it is to improve.

# %%
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch.nn.functional import max_pool2d, pad

from recon.learning.patches import PatchSchedule, fit_patches, patch_folder, start_from_input
from recon.learning.training import pick_device

started = time.perf_counter()


@dataclass(frozen=True)
class Profile:
    """Size of the networks, of the heads and of the experiment."""

    width: int
    pixels: int
    volumes: int
    factors: tuple[int, ...]
    slices: int
    add_input: bool
    schedule: PatchSchedule


SHORT = {"batch": 8, "decay": True, "validation": 64}
PROFILES = {
    "quick": Profile(16, 120, 1, (2, 4), 32, True, PatchSchedule(steps=220, rate=2e-3, **SHORT)),
    "standard": Profile(
        16, 120, 4, (2, 3, 4, 5), 32, True, PatchSchedule(steps=1200, rate=2e-3, **SHORT)
    ),
    "paper": Profile(64, 240, 50, (2, 3, 4, 5), 100, False, PatchSchedule()),
}
# %%
chosen = PROFILES[profile]
asked = factors.split(",")
affordable = [int(word) for word in asked if word.isdigit()] or [2, 3, 4, 5]
affordable = chosen.factors if "profile" in asked else sorted(set(affordable))
paths = open_heads(data, volumes or chosen.volumes, chosen.pixels, seed, data_root)
for path in paths:  # a head that cannot be used is found before anything is trained
    read_head(path, data)
if microscopy:
    read_picture(microscopy, 3)
Markdown(f"{len(paths)} head(s), factors {', '.join(map(str, affordable))}.")

# %% [markdown]
# ## What a tainted pixel is
#
# Let $f$ be a network and $\mathrm{Crop}$ cut a window out of an image $I$. The network is
# *crop-equivariant* if it does not matter which comes first (equation 1),
#
# $$ f(\mathrm{Crop}(I)) = \mathrm{Crop}(f(I)). $$ (eq-crop)
#
# A convolution with a kernel of $k \times k$ pixels looks $\lfloor k/2 \rfloor$ pixels beyond each
# one that it draws. At the border there is nothing to look at. A *padded* convolution takes zeros,
# and draws pixels that a larger window would have drawn otherwise: they are *tainted*. A *valid* one
# draws only what it can see, and its output is smaller. After $l$ valid layers, $N$ pixels become
# $S = N - 2 l \lfloor k/2 \rfloor$ (equation 2). Taint spreads by one kernel a layer, which is a
# dilation, so it can be computed without any network:

# %% tags=["nbval-check-output"]
from recon.results import figures, seams


def tainted(size: int, convolutions: int) -> np.ndarray:
    """True where zeros from beyond the border arrive after so many padded 3 x 3 convolutions."""
    reached = torch.zeros(1, 1, size, size)
    for _ in range(convolutions):
        reached = max_pool2d(pad(reached, (1, 1, 1, 1), value=1.0), 3, 1)
    return reached[0, 0].numpy() > 0


shares = {f"{n} x {n}, {c} layers": tainted(n, c) for n in (64, 256) for c in (16, 66)}
print({title: round(float(there.mean()), 3) for title, there in shares.items()})

# %% mystnb={"figure": {"name": "fig-tainted", "caption": "Tainted pixels. Left: one padded convolution of 3 x 3 on 5 x 5 pixels, as in figure 1a of the paper. Then, in dark, what 16 and 66 padded convolutions taint of tiles of 64 and 256 pixels: the depths of the two networks below."}, "image": {"alt": "A small square with crosses in its outer ring of pixels, then four larger squares with dark frames; the frame of the second, 64 pixels at 66 layers, fills it entirely."}}
_ = seams.tainted(shares, tainted(5, 1))

# %% [markdown]
# Whether taint is *visible* is another question. It says that a pixel may depend on the padding,
# not how strongly; that depends on the weights, and is measured below.
#
# ## Two networks
#
# Both networks are residual: a convolution, blocks of two convolutions whose input is added to
# their output, a convolution. In the valid one the input has to be cropped before it is added
# (figure 2 of the paper):

# %%
from recon.networks.residual_sr import PaddedResidual, ResidualBlock, ValidResidual
from recon.results.source import source

source(ResidualBlock)

# %% [markdown]
# Table 1 of the paper lists their differences. Here it is rebuilt: parameters counted at 64 feature
# maps, and the receptive field found twice: by the formula (one pixel, and two for each layer), and by
# following the layers, held against a measurement ({doc}`ablation_padded_vs_valid` says how).

# %% tags=["nbval-check-output"]
from torch import nn

from recon.learning.tiling import receptive_field

table = {}
for name, network in (("valid", ValidResidual), ("zero-padded", PaddedResidual)):
    layers = sum(isinstance(part, nn.Conv2d) for part in network(1).modules())
    table[name] = {
        "convolutions": layers,
        "parameters, 64 maps": sum(weight.numel() for weight in network(64).parameters()),
        f"parameters, {chosen.width} maps": sum(
            w.numel() for w in network(chosen.width).parameters()
        ),
        "receptive field, formula": 1 + 2 * layers,
        "receptive field, followed and measured": receptive_field(network(1)).size,
        "32 x 32 pixels out of": f"{32 + 2 * network(1).margin} x {32 + 2 * network(1).margin}",
    }
pd.DataFrame(table)

# %% [markdown]
# The last line settles what looks like a contradiction in the paper, which says that its patches are
# 32 x 32 and that they are 64 x 64: a valid network that draws 32 x 32 pixels has to see 64 x 64, the
# padded one 32 x 32. Both then learn from the same truth, and so they do here. Note that the padded
# network's receptive field is four times as wide as its patches: it never meets an untainted pixel
# in training.

# %% [markdown]
# ## One scan, its own teacher
#
# Thick slices are simulated as in the paper: the head is convolved, along the axis from vertex to neck,
# with a Gaussian whose full width at half maximum is the *factor*, and sampled once every so many
# voxels; quintic B-splines then bring the slices back to the fine grid. The spline is the baseline,
# and what the networks get to see.

# %%
from recon.physics.resolution import thick_slices

source(thick_slices)

# %% [markdown]
# Within a slice the scan is as sharp as ever. So its slices, degraded along one of their own axes,
# give pairs of coarse and fine images to learn from, mirrored, turned by a quarter and shifted in
# intensity at random. The true thin slices are never used. Every eighth slice is kept for validation.

# %% mystnb={"figure": {"name": "fig-pairs", "caption": "Left: a sagittal slice of the first head, and what the thickest slices of this run leave of it. Right: a training pair, made of an axial slice of the same thick-sliced head. The networks learn on the right and are applied on the left."}, "image": {"alt": "Four grey images: a sagittal head, the same head blurred from top to bottom, an axial head blurred from top to bottom, and the sharp axial head."}}
from recon.data.self_super_resolution import input_slices, pairs_of, truth_slices

head = read_head(paths[0], data)
thickest = affordable[-1]
truth, pairs = truth_slices(head, thickest, 2), pairs_of(head, thickest)
middle = len(pairs.fine[0]) // 3
shown = {
    "sagittal, truth": truth[1, 0],
    "sagittal, thick slices": input_slices(truth, thickest)[1, 0],
}
shown |= {"axial, degraded": pairs.coarse[0][middle], "axial, as scanned": pairs.fine[0][middle]}
_ = figures.gallery({title: image.numpy() for title, image in shown.items()})

# %% [markdown]
# The loss is the mean absolute error plus that of the *Sobel* edges, two derivatives smoothed
# across; the optimiser is AdamW.

# %%
from recon.learning.edges import L1Sobel

source(L1Sobel)

# %%
from recon.learning import slicewise

PADDED_PATCHES, VALID_PATCHES = (32, 64, 96), (48, 64, 96)
KINDS = {"valid": ValidResidual, "padded": PaddedResidual}
NAMES = {"spline": "quintic spline", "padded": "zero-padded network", "valid": "valid network"}


def train(kind: str, pairs, factor: int, path):
    """One network for one head at one factor, and its history."""
    torch.manual_seed(seed)
    network = KINDS[kind](chosen.width, add_input=chosen.add_input)
    if chosen.add_input:
        start_from_input(network)
    folder = patch_folder(network, settings, chosen.schedule, factor, path)
    label = f"{kind}, {factor}x"
    return network, fit_patches(network, pairs, chosen.schedule, folder, seed, device, label)


# %% [markdown]
# Now the experiment. Each head teaches two networks at each factor; each then draws sagittal slices,
# whole and by patches. A network is never shown another head. Scores of a single head are those of eight
# blocks of adjacent slices, because neighbours resemble each other, and decide nothing about other
# heads; of several heads, one score a head.

# %%

blocks = 8 if len(paths) == 1 else 1
quality, seam, histories, first = [], [], {}, {}
for path in paths:
    head = read_head(path, data)
    for factor in affordable:
        truth, pairs = truth_slices(head, factor, chosen.slices), pairs_of(head, factor)
        start = input_slices(truth, factor)
        trained = {kind: train(kind, pairs, factor, path) for kind in KINDS}
        networks = {kind: network for kind, (network, _) in trained.items()}
        drawn = {kind: slicewise.whole(network, start) for kind, network in networks.items()}
        about = (path.stem, "T1", factor, blocks)
        quality.append(slicewise.scores({"spline": start, **drawn}, truth, *about))
        few = range(0, len(start), max(1, len(start) // 16))
        for kind, sizes in (("padded", PADDED_PATCHES), ("valid", VALID_PATCHES)):
            pieces = {size: slicewise.tiled(networks[kind], start[few], size) for size in sizes}
            named = {f"{kind}_{size}": piece for size, piece in pieces.items()}
            if kind == "padded":  # and a tenth of the way to the truth, for scale
                there = torch.lerp(drawn[kind][few], truth[few], 0.1)
                named |= {"slice": drawn[kind][few], "floor": there}
            seam.append(slicewise.seam_scores(named, drawn[kind][few], *about))
            if path == paths[0]:
                first[factor, kind] = pieces
        if path == paths[0]:
            first[factor] = (truth, start, drawn, few, networks)
            histories |= {f"{kind}, {factor}x": one for kind, (_, one) in trained.items()}
quality, seam = pd.concat(quality), pd.concat(seam)

# %% mystnb={"figure": {"name": "fig-crop-training", "caption": "Training of the networks of the first head: loss of each step (thin), running mean (thick), against steps and seconds."}, "image": {"alt": "Falling curves of the training loss, one for each network and factor, on a logarithmic axis."}}
curves = figures.training_curves(histories)
_ = curves.axes[0].set_ylabel("L1 + Sobel")

# %%
last = {k: [e["validation"] for e in h if "validation" in e] for k, h in histories.items()}
pd.DataFrame(last).iloc[[0, -1]].T.set_axis(["validation loss, early", "at the end"], axis=1)

# %% [markdown]
# ## Seams
#
# The padded network is now run patch by patch, its outputs laid side by side, and compared with
# itself on whole slices. For the valid network, patches overlap by twice its margin (figure 1b), and its
# tiles lie side by side. The table holds the mean square difference, as the paper's table 2 does (its
# numbers are for another head, in units that it does not name; here bright tissue is near 1). Below it,
# for scale, stands the square error of the whole slices themselves. (Seams are called visible in the verdicts below when
# their mean square is above a hundredth of that error. The bound is ours; the paper looks at pictures.)

# %%
from recon.results.html import html_table

means = seam.groupby(["effective_accel", "method"]).value.mean()
lines = []
for size in sorted({*PADDED_PATCHES, *VALID_PATCHES}):
    cells = [f"{size} x {size}"]
    for factor in affordable:
        found = (means.get((factor, f"{kind}_{size}")) for kind in ("padded", "valid"))
        cells += ["–" if one is None else f"{one:.2e}" if one else "0" for one in found]
    lines.append(cells)
heads = [f"{kind}, {factor}x" for factor in affordable for kind in ("zero-padded", "valid")]
errors = ["error of whole slices"]
for factor in affordable:
    true, _, drawn, *_ = first[factor]
    errors += [f"{(drawn[kind] - true).square().mean():.2e}" for kind in ("padded", "valid")]
caption = "Mean square difference between evaluation by patches and of whole slices (table 2)"
html_table(caption, ["Patch", *heads], [*lines, errors])

# %%
same = {
    f"{factor}x, patches of {size}": torch.equal(piece, first[factor][2]["valid"][first[factor][3]])
    for factor in affordable
    for size, piece in first[factor, "valid"].items()
}
print("valid network, patches equal whole slices to the last bit:", same)

# %% mystnb={"figure": {"name": "fig-differences", "caption": "Evaluation by patches minus evaluation of the whole slice, zero-padded network, one colour scale a row; on the right what the network was given and the truth. Figure 3 of the paper. The valid network's maps are those of the table's column: nothing to draw where it says 0."}, "image": {"alt": "Two rows of maps that are white but for red and blue lines along a grid; the grid has fewer lines from left to right. Beside them a blurred and a sharp sagittal head."}}
maps, images = {}, {}
for factor in affordable:
    true, start, drawn, few, _ = first[factor]
    show = len(few) // 3  # beside the midline: there are more folds
    pieces = first[factor, "padded"].items()
    whole = drawn["padded"][few]
    maps[f"{factor}x"] = {f"patches of {n}": (p - whole)[show, 0].numpy() for n, p in pieces}
    slices = {"thick slices": start[few][show, 0], "truth": true[few][show, 0]}
    images[f"{factor}x"] = {title: image.numpy() for title, image in slices.items()}
seam_maps = seams.difference_maps(maps, images)

# %% [markdown]
# Along an image line that crosses the worst seam of each size, this is what the network draws. Does it
# approach the whole slice as the patches grow?

# %% mystnb={"figure": {"name": "fig-profiles", "caption": "Intensity along the line through the worst seam between patches of each size, zero-padded network; the dotted line is the seam. Below, the difference from the whole slice. One scale a row. Figure 4 of the paper."}, "image": {"alt": "For each factor and size of patches two curves of intensity, and below them their difference, with a dotted line at the seam in the middle."}}
lines = {}
for factor in affordable:
    _, _, drawn, few, _ = first[factor]
    whole = drawn["padded"][few]
    for size, pieces in first[factor, "padded"].items():
        if size >= whole.shape[-1]:
            continue  # no seam
        number, row, column = slicewise.worst_seam(pieces - whole, size)
        line = (number, 0, row, slice(column - 16, column + 16))
        lines.setdefault(f"{factor}x", {})[f"patches of {size}"] = (
            whole[line].numpy(),
            pieces[line].numpy(),
        )
_ = seams.profiles(lines, 15.5)

# %% [markdown]
# How far does the padding reach in a trained network? In theory half the receptive field, 66 pixels.
# The paper infers from its seams that the *effective* field is smaller. Below is the difference between
# patches of 64 pixels and whole slices at every distance from the nearest seam.

# %% mystnb={"figure": {"name": "fig-reach", "caption": "Root mean square difference between tiled and whole evaluation of the zero-padded network, by distance from the nearest seam between patches of 64 pixels. Bright tissue is near 1, so what lies below 1e-7 is rounding of single precision; the dotted line is half the receptive field."}, "image": {"alt": "Curves on a logarithmic axis that fall with the distance from a seam."}}
far = {}
for factor in affordable:
    _, _, drawn, few, _ = first[factor]
    far[f"{factor}x"] = slicewise.reach(first[factor, "padded"][64] - drawn["padded"][few], 64)
_ = seams.reach_curves(far, 66)
halves = {label: int(one.index[(one < 0.1 * one.iloc[0]).argmax()]) for label, one in far.items()}
print("pixels from the seam at which a tenth of the difference is left:", halves)

# %% [markdown]
# ## What does it cost in accuracy?
#
# The valid network has a quarter of the layers and of the receptive field. The paper's figure 5 shows
# PSNR and SSIM of both on whole slices, and concludes that nothing significant is lost. But "no
# significant difference" may only mean that little was measured. *Equivalence* has to be shown: name the
# difference that would not matter, and reject that the true one is larger, on either side
# {cite:p}`schuirmann1987`. The paper names no such margin; the book's stands in
# `book/claims/remedios-2022.yml` and in the table.

# %%
from recon.results import claims, provenance, store
from recon.results.equivalence import compare, equivalence_table
from recon.results.statistics import summarise

rows, unit = [], "block" if blocks > 1 else "volume"
better = [("valid", "padded"), ("valid", "spline"), ("padded", "spline")]
grid = [("padded_32", "padded_64"), ("padded_64", "padded_96")]
grid += [(name, "slice") for name in ("padded_32", "padded_64", "padded_96", "valid_64")]
grid.append(("padded_32", "floor"))
for factor in affordable:
    for table, against in ((quality, better), (seam, grid)):
        part = table[table.effective_accel == factor]
        rows += summarise(part, against, unit, data=data, task="self_sr", accel=factor)

# %% mystnb={"figure": {"name": "fig-factors", "caption": "PSNR and SSIM on whole slices by factor, with 95 % intervals: figure 5 of the paper. The data range is the maximum of a volume's scored slices; nothing is masked."}, "image": {"alt": "Two panels, PSNR and SSIM against the factor; points with error bars for spline, padded and valid network fall from left to right."}}
accuracy = seams.by_factor(rows, NAMES, {"psnr": "PSNR, dB", "ssim": "SSIM"})

# %%
paper = claims.load("remedios-2022")
margins = {c.parts[0].metric: c.parts[0].tolerance for c in paper.claims if "no_loss" in c.id}
found, gains = {}, {}
for factor in affordable:
    for metric, margin in margins.items():
        part = quality[(quality.effective_accel == factor) & (quality.metric == metric)]
        wide = part.pivot(index="volume", columns="method", values="value")
        key = f"{factor}x", metric.upper()
        found[key] = compare(wide.valid - wide.padded, margin, independent=blocks == 1)
        gains[key] = (wide.padded - wide.spline).mean()
caption = (
    f"Valid minus zero-padded, over {unit}s; the zero-padded network's own gain over the spline"
)
equivalence_table(caption, ["Factor", "Metric"], found, gains)

# %% [markdown]
# *Equivalent* means that both p-values are below 0.05; *not worse*, that only the first is: the valid
# network loses less than the margin, and may gain. Two networks that have learnt nothing are
# equivalent too, so the table also says how much the padded one gains over the spline: where that is
# no more than the margin, nothing is concluded. A single head says nothing of other heads,
# however many blocks it is cut into, and a single training nothing of other trainings.

# %% mystnb={"figure": {"name": "fig-example", "caption": "One sagittal slice at the largest factor of this run: drawings, a zoom (orange square), and absolute errors times five on the same grey scale."}, "image": {"alt": "Columns for spline, valid network, zero-padded network and truth; rows for the image, a zoom and the error map."}}
true, start, drawn, few, networks = first[affordable[-1]]
show = few[len(few) // 3]
images = {NAMES[k]: v[show, 0].numpy() for k, v in {"spline": start, **drawn}.items()}
example = figures.comparison(images, true[show, 0].numpy())

# %% [markdown]
# ## What does it cost in time?
#
# A shallower network computes less, but patches that overlap compute twice what they share. Both are
# timed here, in turn, several times: a training step of eight patches, and a slice, whole and by patches of
# 64. A slice's time is half that of two that are run at once.

# %%
_, start, _, _, networks = first[affordable[0]]
where = pick_device(device)
sizes = {kind: (8, 1, 32 + 2 * n.margin, 32 + 2 * n.margin) for kind, n in networks.items()}
patch = {kind: torch.rand(size, device=where) for kind, size in sizes.items()}
train_step = {k: lambda n=n, x=patch[k]: n(x).mean().backward() for k, n in networks.items()}
two = start[:2]
test_run = {k: lambda n=n: slicewise.whole(n, two) for k, n in networks.items()}
test_run["valid_64_time"] = lambda: slicewise.tiled(networks["valid"], two, 64)
seconds = {"seconds_train": train_step, "seconds_test": test_run}
seconds = {metric: slicewise.timings(runs) for metric, runs in seconds.items()}
seconds["seconds_test"] /= len(two)
middle = pd.concat({metric: one.median() for metric, one in seconds.items()}, axis=1)
labels = {"valid": "valid", "padded": "zero-padded", "valid_64_time": "valid, by patches of 64"}
lines = [
    [labels[kind], *("–" if pd.isna(x) else f"{x:.4f}" for x in middle.loc[kind])]
    for kind in labels
]
html_table("Seconds, median", ["Network", "A training step", "A slice"], lines)

# %%
for metric, one in seconds.items():
    long = one.reset_index(names="volume").melt("volume", var_name="method")
    long = long.assign(metric=metric, contrast="T1", region="full", effective_accel=affordable[0])
    about = {"data": data, "task": "self_sr", "accel": affordable[0]}
    pairs = [("padded", "valid"), ("padded", "valid_64_time")]
    rows += summarise(long, pairs, "repeat", **about)

# %% [markdown]
# ## A volume larger than memory
#
# What the paper is for is its last section: two channels of a mouse brain, made transparent and seen by
# light-sheet microscopy. A slice is lit by a sheet of light and photographed with pixels of
# $0.411\,\mu\mathrm{m}$; along the axis of the objective, though, the image of a point is
# $2.2\,\mu\mathrm{m}$ wide (full width at half maximum of the *point spread function*). Super-resolution
# along that axis gives 2000 x 2000 x 5839 voxels. The volume is not public. The one here is simulated:
# capillaries and penetrating vessels, neurons in layers, stripes of the light sheet, this point spread,
# and photons counted (Poisson noise). It is an array of any size that is computed where it is read.

# %%
from recon.phantoms.microscopy import Cortex, expected_box
from recon.results.microscopy import beside

source(expected_box)

# %% mystnb={"figure": {"name": "fig-cortex", "caption": "The simulated cortex. Left: part of a slice, the surface of the brain on top, the blurred axis from left to right. Middle: its lower right corner, the maximum of 48 slices. Right: the same without the blur; if the page was made with a real volume, that volume instead, on another scale."}, "image": {"alt": "Grey images of bright round cells, some with a thin process upwards, and of thin curved vessels on a grainy darker ground that ends at a curved edge."}}
cortex, sharp = Cortex((48, 768, 512), seed), Cortex((48, 768, 512), seed, blur=0.411)
_ = beside(cortex, sharp, microscopy)

# %% [markdown]
# `recon.learning.tiling` takes such an array, a network and a cap on memory; {doc}`ablation_padded_vs_valid`
# explains it. Four slices, with the valid network that learnt on the head (a drawing of no worth: what
# is tested is whether the pieces agree with the whole, and what they cost):

# %%
from recon.learning.tiling import apply_tiled, plan_tiles, trace

network, cap = networks["valid"].cpu(), 100
part = cortex[:4].astype(np.float32)
plan = plan_tiles(trace(network), receptive_field(network), part.shape[1:], memory_mb=cap)
begun = time.perf_counter()
pieces = apply_tiled(network, part, memory_mb=cap + part.nbytes / 1e6)
took = time.perf_counter() - begun
with torch.no_grad():
    large = pad(torch.from_numpy(part[:1, None]), [network.margin] * 4)
    agrees = np.array_equal(network(large)[0, 0].numpy(), pieces[0])
print(f"cap {cap} MB beside the result: {len(plan)} tiles of {plan.tile} a slice")
print(f"every bit that of the whole slice: {agrees}")
print(f"{part.size / took:,.0f} voxels a second")

# %% [markdown]
# The long run is a benchmark, `benchmarks/large_volume.py`: more than 8 GB of voxels that never are in
# memory, the valid network of 16 layers with random weights (they do not change the time), one thread,
# and a cap of 2 GB on the process: it is watched, and a run whose resident set goes beyond the cap is
# stopped and not counted. When its minutes are over a process is stopped too, and the next run goes on
# where the file is kept. The table says how much of the volume was done, by how much a process grew at
# most, and what its rates would mean for the paper's volume: by the seconds that the processor spent on
# the network alone, and by the clock of a machine that also drew the volume and did other people's work.
# The paper's 66 hours are for patches of 64 x 64 on a V100 and a width that it does not name, so the two
# are no like for like.

# %%
from recon.results.microscopy import extrapolated
from recon.results.store import reference_dir

extrapolated(pd.read_csv(reference_dir() / "large_volume.csv"), (2000, 2000, 5839))

# %% [markdown]
# Patches of 64 pixels draw 32, and share the rest with their neighbours. Operations computed for them by
# a network 64 maps wide, over those of a whole slice of that volume, and what would be left of 66 hours
# if time went with them:

# %%
field = receptive_field(ValidResidual(1))
small = plan_tiles(trace(ValidResidual(1)), field, (2000, 5839), 32)
layers = [m for m in ValidResidual(64).modules() if isinstance(m, nn.Conv2d)]
weights = [m.in_channels * m.out_channels for m in layers]
margins = [2 * (field.margin - 1 - n) for n in range(len(layers))]  # a layer's output is larger by
done = len(small) * sum(w * (32 + m) ** 2 for w, m in zip(weights, margins, strict=True))
needed = sum(w * (2000 + m) * (5839 + m) for w, m in zip(weights, margins, strict=True))
print(f"{2000 * len(small) / 1e6:.2f} million patches")
print(f"with {done / needed:.2f} times the operations of whole slices")
print(f"whole slices would take {66 * needed / done:.0f} of the paper's 66 hours")

# %% [markdown]
# ## What this run says of the paper's claims
#
# The verdicts are computed from the rows above by the rules in `book/claims/remedios-2022.yml`, sizes of
# networks at 64 maps.

# %%
from recon.networks.channels import parameter_count
from recon.results import tables
from recon.results.super_resolution import count_rows

counts = {kind: {"parameters": parameter_count(network(64))} for kind, network in KINDS.items()}
counts["twice_valid"] = {"parameters": 2 * counts["valid"]["parameters"]}
rows += count_rows(counts, 1)
spent = time.perf_counter() - started
made = provenance.collect(
    "crop_equivariance", parameters=settings, seed=seed, seconds=spent, device=str(where)
)
run = store.Run("crop_equivariance", profile, settings, rows, made)
store.save(run)
for label, figure in {"seams": seam_maps, "accuracy": accuracy, "example": example}.items():
    store.save_figure(run, label, figure)
tables.verdicts(paper, store.frame([run]))

# %% [markdown]
# (own-heads)=
# ## Other heads
#
# | you have | you run |
# |---|---|
# | time | `python -m recon run crop_equivariance --param profile standard` |
# | the studyforrest head {cite:p}`hanke2014` | `... --param data studyforrest_t1 --param data_root FOLDER` |
# | T1-weighted volumes of OASIS-3, as NIfTI files | `... --param data oasis3_t1 --param data_root FOLDER --param profile paper` |
# | any folder of NIfTI files with isotropic voxels | `... --param data nifti_folder --param data_root FOLDER` |
# | a volume of microscopy, as `.npy`, to look at | `... --param microscopy FILE` |
#
# Files whose voxels are longer than wide are refused: they hold no truth to compare with. {doc}`data`
# says where the sets are kept and under which licence.

# %% [markdown]
# (crop-reference)=
# ## Reference runs
#
# Made once and stored with the commit that made them; the head of the studyforrest project
# {cite:p}`hanke2014` is a real one. Below, the mean gain of either network over the spline in each run (PSNR
# in dB), and the mean square difference that patches of 64 make. Is the difference still zero for the valid
# network, and does it gain as much as the padded one, in longer trainings too?

# %%
from recon.results.repeats import further

references = store.reference_runs("crop_equivariance")
everything = store.frame([run, *further(run, references)])
everything = everything[everything.contrast == "all"]
gain = everything[(everything.against == "spline") & everything.metric.isin(["psnr", "ssim"])]
gain = gain.assign(column=gain.metric.str.upper() + ", " + gain.method)
seam = everything[(everything.metric == "seam_mse") & everything.against.isna()]
seam = seam[seam.method.isin(["padded_64", "valid_64"])]
seam = seam.assign(column="seams, " + seam.method.str.removesuffix("_64"))
both = pd.concat([gain, seam])
table = both.pivot_table("value", ["profile", "seed", "data", "accel"], "column")
lines = [[*map(str, line[0]), *map("{:.3g}".format, line[1:])] for line in table.itertuples()]
heads = ["Profile", "Seed", "Data", "Factor", *table.columns]
html_table("Gain over the spline, and what seams cost", heads, lines, 4)

# %%
tables.references(references)

# %% [markdown]
# ## What differs from the paper
#
# - **Data.** Simulated by default: the brain phantom of the accelerated-imaging chapters, drawn in
#   slices as thin as its pixels, with noise. Its texture is drawn slice by slice, so some of its
#   finest grain along the thick axis cannot be foreseen from within the slices.
# - **Through-plane grid.** The paper gives the Gaussian's width and the spline's degree. That cells
#   are centred and ends mirrored is the book's choice.
# - **One direction.** Networks are applied to sagittal slices only. The paper does not say whether it
#   joins two directions, as the method that it builds on does.
# - **Loss.** The paper names L1 and Sobel edges; equal weights and the two derivatives rather than
#   their magnitude are chosen here. Intensity shifts reach a tenth of the bright tissue.
# - **Rotations** are quarter turns, which need no interpolation. With mirrored patches there are eight
#   arrangements. Validation uses slices of its own; the paper sets aside a rotation, which
#   shows the same anatomy as training does.
# - **Length.** The paper stops when validation improves no more; here the steps are fixed, and in the
#   two smaller profiles few, with a rate that falls, an added input and a last layer that starts at zero.
#   The networks there are 16 maps wide.
# - **Comparator.** The paper's follows an anti-aliasing and super-resolution network {cite:p}`zhao2021`
#   that itself follows EDSR; its layers are known from the receptive field alone, 133 pixels.
# - **Microscopy.** The light-sheet volume of section 4 is not public. A simulated one stands in for
#   its size and its looks; no network is trained on it, so its sharpness is not judged.

# %% [markdown]
# ## Exercises
#
# 1. Where do the seams come from, if the padded network has never seen an untainted pixel? Train it on
#    patches of 64 (`size=64` in its schedule) and compare the first row of the table of seams.
# 2. Cut 66 pixels from every side of a padded network's outputs before gluing. Predict the difference to the whole
#    slice, then measure it. What does that route cost beside the valid network's?
# 3. Replace the zero padding by `padding_mode="reflect"`. Are reflected pixels less tainted, or only
#    less visibly so?
# 4. Score the first head by slices rather than blocks, with 32 "independent" units. How much narrower
#    do the intervals become, and why should you not believe them?
