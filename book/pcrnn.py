# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # PC-RNN: from coarse to fine, turn by turn
#
# A magnetic resonance scanner measures an image's Fourier transform, called *k-space*, line by
# line. Leave out three lines of four and the scan is four times shorter, but the image folds over
# itself. This chapter trains the *pyramid convolutional recurrent network* (PC-RNN) of
# {cite:t}`chen2022` to undo that, beside the U-Net that fastMRI published as its baseline
# {cite:p}`zbontar2018`, and holds the result against the paper's tables II and VI; {doc}`comparison`
# trains the other rows of II, and those of I.
#
# ```{admonition} The data on this page are simulated
# :class: warning
# fastMRI's files may not be passed on, so the page you read was made from simulated knees, written
# in fastMRI's own file format. The same notebook runs on the real set by changing two parameters:
# see {ref}`own-data`. Absolute scores here cannot be compared with the paper's; the order of the
# methods can.
# ```

# %% [markdown]
# ## Parameters
#
# Everything that can be varied stands in the first cell; `papermill book/pcrnn.ipynb out.ipynb -p
# accel 6` runs the chapter at another acceleration.

# %% tags=["parameters"]
profile = "quick"  # quick (minutes), standard (longer), paper (GPU, published sizes)
data = "simulated_knee"  # data set to train on: a name in data_manifests/
data_root = ""  # folder of the data set, where it is not simulated
test_data = ""  # data set to evaluate on; empty: the validation part of `data`
test_root = ""  # folder of the test data
task = "multicoil"  # multicoil or singlecoil
accel = 4  # nominal acceleration, 2 to 12
center_fraction = 0.0  # fully sampled share of the columns; 0: the usual one at this acceleration
mask_type = "random"  # random, equispaced or equispaced_fraction
coils = 4  # virtual coils after compression; 0: keep the coils as they are
network = "profile"  # pcrnn_xs, pcrnn_s or pcrnn_b; profile: what the profile can afford
compressed_sensing = False  # also run compressed sensing (seconds a slice)
mask_draws = 1  # masks drawn for each test volume; more where there are few volumes
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.results import parameters

rules = {
    **parameters.MRI,
    "network": parameters.one_of("profile", "pcrnn_xs", "pcrnn_s", "pcrnn_b"),
    "compressed_sensing": parameters.flag(),
    "mask_draws": parameters.whole(1, 1000),
}
settings = parameters.check(globals(), rules)

# %% [markdown]
# A profile says how large the networks are and how long they learn. The paper's own is the last:
# 60 epochs in batches of 8, a rate of $10^{-5}$ while it warms up (one epoch here; the paper does not
# say how long), then $10^{-4}$, halved every 10 epochs. The two others fit a laptop: fewer and larger
# steps, on *bands* of rows. The direction along the columns is fully sampled, so a band of rows is a smaller problem of exactly
# the same kind, and a step on a quarter of the rows takes a quarter of the time. The U-Net
# normalises over the whole image, so it learns from whole slices, one a step: as many pixels a step
# as PC-RNN sees, and about as many steps.

# %%
import time
from dataclasses import dataclass
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display

from recon.learning.training import Schedule, fit, pick_device, training_folder

started = time.perf_counter()


@dataclass(frozen=True)
class Profile:
    """Size and training of both networks, and the rows of a band that PC-RNN trains on."""

    network: str
    pcrnn: Schedule
    rows: int
    unet_chans: int
    unet: Schedule


SHORT = {"warmup_epochs": 0.2, "warmup_rate": 2e-4}
QUICK = Schedule(epochs=15, batch_size=4, rate=2e-3, halve_every=5, **SHORT)
QUICK_UNET = Schedule(epochs=4, batch_size=1, rate=1e-3, halve_every=1.5, **SHORT)
STANDARD = Schedule(epochs=6, batch_size=4, rate=1.5e-3, halve_every=2, **SHORT)
STANDARD_UNET = Schedule(epochs=2, batch_size=1, rate=1e-3, halve_every=0.7, **SHORT)
PROFILES = {
    "quick": Profile("pcrnn_xs", QUICK, 32, 16, QUICK_UNET),
    "standard": Profile("pcrnn_s", STANDARD, 40, 16, STANDARD_UNET),
    "paper": Profile("pcrnn_s", Schedule(), 0, 12, Schedule()),
}
chosen_profile = PROFILES[profile]
network_name = chosen_profile.network if network == "profile" else network
network_name, chosen_profile.pcrnn

# %% [markdown]
# ## The inverse problem
#
# Let $x$ be the image, a complex value in each pixel, and $y$ what the scanner measured of it:
#
# $$ y = A x + \varepsilon, \qquad A = D F S, $$ (eq-forward)
#
# where $S$ multiplies the image by the sensitivity of each receiver coil, $F$ is the Fourier
# transform, $D$ keeps the columns that were measured, and $\varepsilon$ is noise (equation 1 of the
# paper). With fewer measurements than unknowns there are many $x$ for one $y$. Classical methods
# choose by a penalty $R$ (equation 2),
#
# $$ \hat x = \arg\min_x \tfrac12 \|y - A x\|_2^2 + \lambda R(x), $$ (eq-inverse)
#
# and a gradient step on it moves against $A^H(Ax - y) + \lambda \nabla R(x)$ (equation 3, where the
# paper takes $\lambda$ into $R$). PC-RNN keeps the loop and learns the step.
#
# First the files. Each holds one scan: its fully sampled k-space of all coils, which lets us leave
# columns out ourselves and know the answer.

# %%
from recon.data.fastmri import read_volume
from recon.data.samples import Sampling, Slices, draw_mask, measure, seed_of
from recon.data.splits import open_split
from recon.physics.sampling import effective_acceleration, standard_center_fraction

train_files = open_split(data, task, "train", profile, data_root)
test_split = "all" if test_data else "val"
test_files = open_split(test_data or data, task, test_split, profile, test_root or data_root)
plan = Sampling(accel, center_fraction or standard_center_fraction(accel), mask_type)
virtual = 1 if task == "singlecoil" else coils
training = Slices(train_files, plan, virtual, seed, chosen_profile.rows)
channels = training.channels()
Markdown(
    f"{len(train_files)} volumes ({len(training)} slices) to train, {len(test_files)} to test."
)

# %% mystnb={"figure": {"name": "fig-data", "caption": "One slice of each of a few test volumes, spread over the set, each on a grey scale of its own: fully sampled, root sum of squares over the coils. Simulated unless you passed a folder of real files."}, "image": {"alt": "A row of magnitude images in greys, one slice of each of up to four test volumes, fully sampled."}}
from recon.results import figures, tables

spread = test_files[:: len(test_files) // 4 | 1][:4]  # an odd step meets both contrasts
volumes = [read_volume(path) for path in spread]
shown = {}
for number, volume in enumerate(volumes):
    full = torch.ones(volume.kspace.shape[-1], dtype=torch.bool)
    slice_of = measure(volume, len(volume.kspace) // 2, full)
    shown[f"{number + 1}: {volume.contrast}, {volume.kspace.shape[1]} coils"] = slice_of.target
_ = figures.gallery(shown, shared=False)

# %% [markdown]
# ## Leaving out columns
#
# Along a line of k-space the scanner samples fast; from line to line it must wait. So whole lines
# are left out (columns here), except for a fully sampled centre that holds the low frequencies. The
# *nominal* acceleration is what was asked for; the *effective* one is the columns that the full scan
# acquired over the columns measured, and for random masks it varies from scan to scan. fastMRI names a
# centre of 8 % of the columns at 4x and 4 % at 8x; this book lays a straight line through those two, and
# stays between 2 % and 12 %.

# %% mystnb={"figure": {"name": "fig-mask", "caption": "Left: the measured columns (white) of the first test volume. Middle: its measured k-space, log scale, first virtual coil. Right: the zero-filled image, in which the missing columns are taken for zero: edges repeat along the direction of the missing columns."}, "image": {"alt": "Three panels: vertical white stripes, dense in the middle; the k-space that they leave, bright in the centre; and the zero-filled image with ghosted edges from left to right."}}
volume = volumes[0]
mask = draw_mask(volume, plan, seed_of(seed, volume.name))
measurement = measure(volume, len(volume.kspace) // 2, mask, virtual)
centred = torch.fft.fftshift(measurement.kspace[0], dim=(-2, -1)).abs()
figure, axes = plt.subplots(1, 3, figsize=(8.6, 3.1), layout="constrained")
stripes = np.broadcast_to(mask, centred.shape)
figures.show(axes[0], stripes, 1, f"{int(mask.sum())} of {len(mask)} columns")
log = torch.log10(centred + 1e-3 * centred.max())
figures.show(axes[1], log - log.min(), float((log - log.min()).max()), "measured k-space (log)")
zero_filled = measurement.image.abs().square().sum(0).sqrt()
figures.show(axes[2], zero_filled, float(zero_filled.quantile(0.998)), "zero-filled")

# %%
from recon.data.measurement import acquired_columns

rates = [
    effective_acceleration(draw_mask(v, plan, seed_of(seed, v.name)), acquired_columns(v))
    for v in map(partial(read_volume, slices=slice(0, 1)), test_files)
]
Markdown(
    f"Nominal acceleration {accel:g}, centre {plan.center_fraction:.1%}; effective acceleration of "
    f"the {len(rates)} test volumes: mean {np.mean(rates):.2f}, {min(rates):.2f} to {max(rates):.2f}."
)

# %% [markdown]
# ## Data consistency
#
# Whatever a network draws, some of it is known: the samples that were measured. A *data-consistency*
# step puts them back. From here on $\hat x$ stands for the coil images; the paper drops $S$
# (equation 11):
#
# $$ \sigma(\hat x, y, D) = F^{-1}\left[D y + (1 - D) F \hat x\right]. $$ (eq-dc)
#
# The network cannot then contradict the scanner, only fill in what the scanner left out. In code it
# is one line, because the measurement was moved once, at loading, into a layout in which the plain
# transform needs no shifts. The cells below print the source of the very functions that run.

# %%
from recon.physics.encoding import data_consistency
from recon.results.source import source

source(data_consistency)

# %% [markdown]
# A check: disturb an image at random, apply the step, and compare its k-space with the measured one.
# Nothing is left of the disturbance where the mask is true.

# %% tags=["nbval-check-output"]
noise = torch.randn_like(measurement.image)
repaired = data_consistency(measurement.image + noise, measurement.kspace, measurement.mask)
difference = (torch.fft.fft2(repaired, norm="ortho") - measurement.kspace).abs()
kept = measurement.mask.expand_as(difference)
print("largest change of a measured sample below 1e-4:", bool(difference[kept].max() < 1e-4))
print("samples that were not measured did change:", bool(difference[~kept].max() > 0.1))

# %% [markdown]
# ## The network
#
# Three modules $G_1, G_2, G_3$ work at a quarter, half and all of the resolution, each starting from
# the one before (equations 7 to 9), and a small CNN joins their outputs (equation 10). A module is a
# *convolutional RNN*: it turns $K = 5$ times, and in turn $k$ its hidden state $h$ remembers what
# earlier turns found (equation 12),
#
# $$
# \begin{aligned}
# h^{(k+1)} &= g^\text{res}(h^{(k)}) + g^\text{enc}(\hat x^{(k)}), \qquad h^{(0)} = 0, \\
# \hat x^{(k+1)} &= \sigma\left(g^\text{dec}(h^{(k+1)})\right),
# \end{aligned}
# $$ (eq-rnn)
#
# with an encoder $g^\text{enc}$ (two convolutions, whose strides set the scale), two residual
# convolutions $g^\text{res}$, a decoder $g^\text{dec}$ (two transposed convolutions) and data
# consistency $\sigma$.

# %%
from recon.networks.pcrnn import PCRNN, ConvRNN

source(ConvRNN.step, ConvRNN.forward)

# %%
source(PCRNN.stages)

# %% [markdown]
# Coils enter as channels: PC-RNN uses no sensitivity maps. Arrays with many coils are first
# compressed to a few *virtual* coils, the leading singular vectors of the fully sampled centre of
# k-space (section III-E of the paper), so one network serves every array.
#
# The paper gives 1.6 M parameters for its small network (S) and 23 M for its big one (B). Widths of
# (128, 64, 32) and (512, 256, 128) feature maps come close; XS is ours, for the quick profile.

# %% tags=["nbval-check-output"]
from recon.networks.channels import parameter_count
from recon.networks.pcrnn import pcrnn_b, pcrnn_s, pcrnn_xs
from recon.networks.unet import UNet

for name, build in {"XS": pcrnn_xs, "S": pcrnn_s, "B": pcrnn_b}.items():
    counts = {n: parameter_count(build(n)) for n in (1, 4, 15)}
    print(f"PC-RNN-{name:2}", {f"{n} coils": f"{count:,}" for n, count in counts.items()})
print("the replication's table", f"{parameter_count(PCRNN(1, (384, 192, 96))):,}")

# %% [markdown]
# ## Training
#
# The loss (equation 14) compares coil-combined images, so the network may weigh the coils as it
# likes: normalised mean square error plus half of one minus SSIM, the *structural similarity*
# {cite:p}`wang2004`. Each epoch draws new masks. Inputs are divided by the mean of the zero-filled
# image, and reconstructions multiplied by it again before they are scored.

# %%
from recon.learning.losses import ReconstructionLoss
from recon.learning.optimisers import LookaheadAdam

source(ReconstructionLoss.forward, LookaheadAdam.step)

# %%
BUILDERS = {"pcrnn_xs": pcrnn_xs, "pcrnn_s": pcrnn_s, "pcrnn_b": pcrnn_b}
torch.manual_seed(seed)
whole_slices = Slices(train_files, plan, virtual, seed)
unet = UNet(channels, chans=chosen_profile.unet_chans)
pyramid = BUILDERS[network_name](channels)
lessons = {
    "unet": (unet, whole_slices, chosen_profile.unet),
    network_name: (pyramid, training, chosen_profile.pcrnn),
}
histories = {}
before_training = time.perf_counter()
for name, (net, slices, schedule) in lessons.items():
    loss = ReconstructionLoss()
    folder = training_folder(net, settings, schedule, train_files, loss, slices.rows)
    histories[name] = fit(net, slices, loss, schedule, folder, seed, device, label=name)
# A training that an earlier run began or finished counts in full.
started += time.perf_counter() - before_training
started -= sum(history[-1]["seconds"] for history in histories.values())

# %% mystnb={"figure": {"name": "fig-training", "caption": "Training loss (equation 14) by step and by second of training: every step faint, the mean of 20 steps strong."}, "image": {"alt": "Two line plots of falling training loss, one curve for the U-Net and one for PC-RNN, against steps and against seconds."}}
_ = figures.training_curves({tables.NAMES[k]: v for k, v in histories.items()})

# %% [markdown]
# ## How good is it?
#
# Scores follow fastMRI's protocol, with the paper's mask: the peak signal-to-noise ratio (PSNR, in
# decibels) and SSIM per volume, on images multiplied by a mask of the body, which is found where the
# coils' sensitivity maps exist {cite:p}`uecker2014`.
# Intervals are 95 % t intervals over volumes; differences are tested with Wilcoxon's
# signed-rank test on volumes, since slices of one scan are not independent: one comparison at a time,
# not corrected for their number; on $n$ volumes the test cannot give less than $2^{1-n}$.

# %%
from recon.learning.metrics import draw_seed, evaluate_methods, reconstruct, scan_of

where = pick_device(device)
for net in (unet, pyramid):
    net.to(where).eval()
latest = {}


def outputs(batch):
    """All stages of PC-RNN, computed once for a batch."""
    if latest.get("batch") is not batch:
        latest.update(batch=batch, stages=pyramid.stages(batch.kspace, batch.mask))
    return latest["stages"]


methods = {
    "zero_filled": lambda batch: batch.image,
    "unet": lambda batch: unet(batch.kspace, batch.mask),
    network_name: lambda batch: outputs(batch)[-1],
}
stages = {
    "convrnn1": lambda batch: outputs(batch)[0],
    "convrnn2": lambda batch: outputs(batch)[1],
    "convrnn3": lambda batch: outputs(batch)[2],
}

# %% [markdown]
# Compressed sensing needs no training but a regularisation strength, which is tuned on slices of the
# training set. A single coil needs no map: $S = 1$. It costs seconds a slice, so the quick run leaves
# it out.

# %%
from recon.classical import compressed_sensing as cs

if compressed_sensing:
    methods["cs"], tried = cs.tuned(Slices(train_files, plan, virtual, seed, maps=True))
    display(pd.Series(tried, name="NMSE").rename_axis("regularisation").to_frame())

# %%
every_method = {**methods, **stages}
asked = (plan, virtual, seed, str(where), mask_draws)
scores = evaluate_methods(every_method, test_files, *asked, maps=compressed_sensing)
from recon.results.statistics import summarise

pairs = [(network_name, other) for other in [*methods, *stages] if other != network_name]
pairs += [("unet", "zero_filled"), ("convrnn2", "convrnn1"), ("convrnn3", "convrnn1")]
pairs += [("convrnn3", "convrnn2")]
constants = {"data": test_data or data, "trained_on": data, "task": task, "accel": accel}
unit = "volume" if mask_draws == 1 else "mask"
rows = summarise(scores, pairs, unit, **constants)

# %% [markdown]
# Rows with a dash under *here* were not run here: {doc}`comparison` trains them alike; PC-RNN-S is under
# {ref}`reference-runs`. A dash under *paper* marks what the paper does not print.

# %%
from recon.results import claims, provenance, store

run = store.Run(
    "pcrnn",
    profile,
    settings,
    rows,
    provenance.collect(
        "pcrnn",
        parameters=settings,
        seed=seed,
        seconds=time.perf_counter() - started,
        device=str(where),
    ),
)
paper = claims.load("chen-2022")
tables.beside_paper(rows, paper, table="I" if task == "singlecoil" else "II", accel=accel)

# %%
scored = [row for row in rows if row["metric"] in ("psnr", "ssim")]
tables.differences(row for row in scored if not {row["method"], row.get("against")} & {*stages})

# %% mystnb={"figure": {"name": "fig-volumes", "caption": "SSIM (body) of every test volume under each method; the black line joins the means."}, "image": {"alt": "One thin line for each test volume over zero-filled, U-Net and PC-RNN; a black line joins the means."}}
body = scores[(scores.region == "body") & (scores.metric == "ssim")]
table = body.pivot(index="volume", columns="method", values="value")
_ = figures.paired_scores(table[list(methods)].rename(columns=tables.NAMES), "SSIM")

# %% [markdown]
# ## What it looks like
#
# The slice below belongs to the volume whose PC-RNN score is the median, so it is neither the best
# nor the worst of them. Errors are multiplied by five, as in the paper's figures 2 and 3.

# %%
ranking = table[network_name].sort_values()
by_name = {path.stem: path for path in test_files}


def example(name, methods):
    """Middle slice of a scan under every method, and its target."""
    path, masks = by_name[scan_of(name)[0]], draw_seed(seed, name)
    known = path if compressed_sensing else None
    images, target, _ = reconstruct(
        methods, read_volume(path), plan, virtual, masks, str(where), maps_of=known
    )
    middle = len(target) // 2
    return {tables.NAMES[k]: v[middle] for k, v in images.items()}, target[middle]


def caption(name):
    return {tables.NAMES[method]: f"SSIM {table.loc[name, method]:.3f}" for method in methods}


# %% mystnb={"figure": {"name": "fig-median", "caption": "The median volume: reconstructions, a zoom (orange square) on the same grey scale, and absolute errors times five on that scale. The SSIM printed is the volume's."}, "image": {"alt": "Columns for zero-filled, U-Net, PC-RNN and target; rows for the image, a zoom and the error map."}}
median = ranking.index[len(ranking) // 2]
comparison = figures.comparison(*example(median, methods), scores=caption(median))

# %% [markdown]
# And the failure case: the volume on which PC-RNN does worst.

# %% mystnb={"figure": {"name": "fig-worst", "caption": "The worst volume for PC-RNN, drawn like the figure before."}, "image": {"alt": "Columns for zero-filled, U-Net, PC-RNN and target of the worst test volume, with zooms and error maps."}}
worst = figures.comparison(*example(ranking.index[0], methods), scores=caption(ranking.index[0]))

# %% [markdown]
# ## Inside the pyramid
#
# Does each scale add detail to the one before, as the paper's figure 7 shows? The three modules are
# never told what to draw: only the joined image meets the loss. Sharpness below is the mean gradient
# over the target's, so 1 is as sharp as the target. It cannot tell detail from noise or from a
# checkerboard of pixels, which also have large gradients: look at the figure too.

# %% mystnb={"figure": {"name": "fig-stages", "caption": "Outputs of the three modules and of the whole network for the median volume, as in figure 7 of the paper; errors times five."}, "image": {"alt": "Columns for the outputs of the modules at a quarter, half and full resolution, the joined reconstruction, and the target, with zooms and error maps."}}
chosen = {**stages, network_name: methods[network_name]}
inside = figures.comparison(*example(median, chosen))

# %%
tables.beside_paper(rows, paper, table="VI", accel=accel)

# %%
from recon.results.html import html_table

every = scores[scores.region == "body"].pivot_table(
    index="method", columns="metric", values="value", aggfunc="mean"
)
html_table(
    "Means over the test volumes (body): outputs of the modules, and whole methods",
    ["Output", "PSNR, dB", "SSIM", "Sharpness"],
    [
        (tables.NAMES[k], f"{v.psnr:.1f}", f"{v.ssim:.3f}", f"{v.sharpness:.3f}")
        for k, v in every.loc[[*stages, *methods]].iterrows()
    ],
)

# %% [markdown]
# ## What this run says of the paper's claims
#
# The verdicts are computed from the rows above by the rules in `book/claims/chen-2022.yml`; the
# {doc}`scoreboard` gathers those of every run.

# %%
path = store.save(run)
for label, figure in {"median": comparison, "worst": worst, "stages": inside}.items():
    store.save_figure(run, label, figure)
tables.verdicts(paper, store.frame([run]))

# %% [markdown]
# (reference-runs)=
# ## Longer runs
#
# The page above was computed in minutes. The runs below took longer, were made once, and are stored
# with the commit that made them; each can be repeated with the command in the second table. Three
# questions stand behind them.
#
# - *What does the network of the paper's size reach when it may learn for longer?* PC-RNN-S on the
#   simulated knees, profile `standard`, at 4x and at 6x.
# - *Does it work on anatomy that nobody drew?* A network that has seen simulated brains and random
#   shapes only, on the head of the studyforrest project {cite:p}`hanke2014` (public domain), a real
#   T1-weighted volume cut into slabs. Its coils, phase and noise are still simulated, and k-space
#   made from a magnitude image can flatter a method {cite:p}`shimron2022`. All of its *volumes* are
#   slabs of one head: the intervals speak of slabs, not of patients, and nothing is tested.
# - *Does it work on measured k-space?* The same network on a fully sampled pre-scan of a brain, 16
#   coils, 64 x 64, from the repository pdawood/iterativeRaki at b87e2f5 (MIT licence), beside zero-filled
#   images and compressed sensing, which needs no training. It is one slice, so lines are left out of
#   either of its axes and many masks are drawn, of which those that differ are scored: the intervals
#   then speak of masks, not of patients.
#   Nothing in this file was simulated. Compare its rows for PC-RNN-S and compressed sensing before
#   you trust a network on a scanner that it has never seen. The tables call it by the name of its
#   folder, which is `test_root`; {ref}`measured-runs` names the file and imports it along either axis.
#
# For the head and for the pre-scan the masks are equispaced with a centre of an eighth of the columns, because
# the few central columns that 64 columns would otherwise leave are little to calibrate coils on.

# %%
references = store.reference_runs("pcrnn")
tables.reference_scores(references)

# %%
tables.references(references)

# %% [markdown]
# The figures below are drawn like {numref}`fig-median` and {numref}`fig-stages`, of whatever is the median
# of its run under PC-RNN: a volume, or of the pre-scan one mask of many on a single slice.

# %%
from recon.results.pages import reference_figures

drawn = {"median": "the median {unit}", "stages": "outputs of the modules, the median {unit}"}
reference_figures(references, drawn)

# %% [markdown]
# (own-data)=
# ## Your own data
#
# | you have | you run |
# |---|---|
# | the fastMRI knee set | `papermill book/pcrnn.ipynb out.ipynb -p data fastmri_knee_multicoil -p data_root /data/fastmri -p profile paper` |
# | its smallest part, single-coil validation alone | `... -p data fastmri_knee_singlecoil -p data_root /data/fastmri/singlecoil_val -p task singlecoil` |
# | any folder of fastMRI-format files, to train on | `... -p data fastmri_folder -p data_root FOLDER` |
# | a few scans, to test what simulation has taught | `... -p test_data fastmri_folder -p test_root FOLDER -p compressed_sensing True -p mask_draws 20` |
# | k-space in a NumPy file (key `kspace`, coils first, centred) | `python -m recon data import FILE.npz FOLDER`, then the line before |
# | the studyforrest head | `... -p data simulated_brain -p test_data studyforrest_t1 -p test_root FOLDER` |
#
# Files may have any number of coils and slices of any size; {doc}`data` says where the sets are kept
# and under which licence.

# %% [markdown]
# ## What differs from the paper
#
# - **Data.** Simulated by default, and half of the training set shows no anatomy but random
#   occluding shapes, because networks that learn from such shapes carry over better to measured
#   k-space. Evaluation always shows anatomy.
# - **Crop.** The paper crops images to 320 x 320 before data consistency. Cutting along the direction
#   of the missing columns mixes measured and missing samples, so equation 11 would no longer be
#   exact. Here only the readout is cut, where every sample is measured; the loss and the scores use
#   the crop.
# - **Coils.** The knee networks of the paper take all 15 coils; the default here compresses to 4, as
#   the paper does for the brain, so one network serves arrays of any size. `coils=0` keeps them.
# - **U-Net.** fastMRI's network draws the whole image; here it draws a correction to the zero-filled
#   one. Its instance normalisation forgets the image's scale, and a short training would be spent on
#   learning it again; {ref}`settings` compares the two.
# - **Normalisation.** Divided by the mean of the coil-combined zero-filled image rather than of each
#   coil's magnitude, which would depend on how many coils there are; the same for a single coil.
# - **Training.** The `quick` and `standard` profiles train shortly and at larger rates; the paper trains for
#   days. Gradients are clipped at norm 1, in `paper` too; the paper does not say so.
# - **First weights.** The paper does not say how they start. Here a part of the feature maps passes
#   the image on from the first step; {ref}`settings` shows what that brings.
# - **Compressed sensing**, where it is asked for, is sigpy's {cite:p}`ong2019`: Daubechies wavelets, and a
#   weight tuned on training slices. The paper runs BART with total variation and a weight of 0.05.
# - **Unit of the tests.** Volumes here; the paper does not say.
# - **Mask of a single coil.** Without maps there is none: all of the picture counts as body.
#
# (settings)=
# ## How the settings were chosen
#
# The paper chose its hyper-parameters on a part of the training set (section IV-A). The trials below
# chose the quick profile's: every one trained on the quick knees and was scored on knees simulated
# from another seed, which neither train nor test. One seed each, so a difference well inside the
# intervals means nothing. The standard profile takes the bands and the first weights over; its rate
# and its length were not tried against others.

# %%
from recon.results.settings import trials

trials("pcrnn")

# %% [markdown]
# ## Exercises
#
# 1. Run the chapter at `accel=8`. Which of U-Net and PC-RNN loses more, and why does data consistency
#    help less when there is less data to be consistent with?
# 2. Build `PCRNN(4, scales=(1, 2, 4), widths=(32, 64, 128))`, fine to coarse. Predict whether its
#    first module is sharper than its last, then measure it.
# 3. Replace `recurrent=True` by `False` in `pcrnn_xs`. How much of the gain is the memory between
#    turns?
# 4. Set `mask_type="equispaced"`. Compare the effective acceleration printed above with the nominal
#    one before you praise the scores.
