# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # HDcycleGAN: denoising without pairs
#
# Optical coherence tomography (OCT) looks into the retina with light and pays for it in *speckle*:
# the grain of coherent light that scatterers smaller than a pixel leave {cite:p}`schmitt1999`. A
# scanner averages frames against it, and the patient has to keep still. {cite:t}`manakov2019` take
# images of 12 averaged frames for one domain, images of 60 for another, and let a network translate
# the first into the second. No training image needs a partner: the network is a *cycleGAN*
# {cite:p}`zhu2017`, with changes that this chapter builds. (Partners of the eyes for tuning pick the
# checkpoint that is kept.) It then holds the result against the paper's table 1 and figures 3 and A.1
# to A.11, and asks two questions that only simulation can answer: what would a perfect denoiser
# score, and how far off are the layers that the network seems to see?
#
# ```{admonition} The data on this page are simulated
# :class: warning
# The paper's scans are a hospital's and not public. The page you read was made from simulated retinas,
# stored as a scanner exports them. The same notebook trains on any two folders of B-scans, or applies
# what it has learnt to a folder of real ones, by parameters: see {ref}`oct-own-data`. Absolute scores
# here cannot be compared with the paper's; orders and differences can.
# ```

# %% tags=["parameters"]
profile = "quick"  # quick (minutes), standard (longer), paper (GPU, published sizes)
data = "simulated_retina"  # data set to train and test on: a name in data_manifests/
data_root = ""  # folder of the data set, where it is not simulated
test_root = ""  # folder of real B-scans to apply the trained model to; empty: none
optimiser = "profile"  # joint (equation 1 as printed), split (as usual), or the profile's
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.results import parameters

rules = {name: parameters.MRI[name] for name in ("profile", "data", "data_root", "test_root")}
rules |= {"optimiser": parameters.one_of("profile", "joint", "split")}
rules |= {name: parameters.MRI[name] for name in ("seed", "device")}
settings = parameters.check(globals(), rules)

# %% [markdown]
# The paper trains for 245 epochs on 20,727 images of 496 x 512 of each domain (the 90 % of its 23,030),
# with Adam at a rate of $5 \cdot 10^{-4}$. The two other profiles are small and short, and begin with
# a pre-training of the parts, which the paper's section 4 suggests for the future: generators learn to
# *copy* their input, discriminators to *classify* the domains. What copying alone does to the
# scores is measured too, as a row of its own.

# %%
import time
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display

from recon.learning.translator_settings import TRANSLATORS

started = time.perf_counter()


@dataclass(frozen=True)
class Profile:
    """`rounds` is how often a runtime is measured, `rated` how many samples are rated at most."""

    rounds: int
    rated: int


PROFILES = {"quick": Profile(2, 12), "standard": Profile(5, 40), "paper": Profile(9, 150)}
chosen, lesson = PROFILES[profile], TRANSLATORS[profile]
regime = lesson.schedule.optimiser if optimiser == "profile" else optimiser
schedule = replace(lesson.schedule, optimiser=regime)
replace(lesson, schedule=schedule)

# %% [markdown]
# ## Two domains of noise
#
# One frame shows, in each pixel, the intensity $|\sum_j a_j e^{i\varphi_j}|^2$ of many scatterers with
# random phases: *fully developed speckle*, whose standard deviation equals its mean
# {cite:p}`goodman2007`. The mean of $N$ frames is calmer, but not without limit, since the same
# scatterers are seen again. If $\rho$ is the correlation of the fields of two frames, the variance of
# the averaged intensity over its squared mean is
#
# $$ v_N = \rho^2 + \frac{1 - \rho^2}{N} . $$ (eq-oct-speckle)
#
# *High noise* (HN) is $N = 12$, *low noise* (LN) is $N = 60$. Both are acquisitions of their own, a few
# pixels apart, with independent speckle. Patients are split: no eye that is tested was trained or tuned
# on.

# %%
from recon.data.oct import open_oct, read_bscans
from recon.learning.denoising import open_volumes

parts = {s: open_oct(data, s, profile, data_root, seed) for s in ("train", "val", "test")}
train, val, test = parts.values()
if test_root:  # what cannot be scored is found before anything is trained
    real = open_volumes(open_oct("oct_folders", "all", data_root=test_root))
shape = read_bscans(test.high[0]).shape[1:]
counts = ", ".join(f"{len(part.high)} and {len(part.low)} to {s}" for s, part in parts.items())
Markdown(f"Volumes of high and of low noise: {counts}; B-scans of {shape[0]} x {shape[1]} pixels.")

# %% mystnb={"figure": {"name": "fig-oct-data", "caption": "Two test eyes: high noise, then low noise (the same eyes where the set is paired). Simulated unless you passed folders of real B-scans."}, "image": {"alt": "Four retinal cross-sections in grey: bright and dark layers under a black vitreous, grainier in the first two."}}
from recon.results import denoising_figures, oct_figures

picked = range(0, len(test.high), max(1, len(test.high) // 2))[:2]
panels = {}
for label, paths in (("high noise", test.high), ("low noise", test.low or test.high)):
    panels |= {f"{label}, {paths[i].name}": read_bscans(paths[i])[0] for i in picked}
_ = oct_figures.bscans(panels)

# %% [markdown]
# (oct-ceiling)=
# ### The ceiling
#
# The reference is noisy as well. A perfect denoiser that returns the truth still differs from an LN
# image by the noise of the latter. Before, HN and LN differed by the sum of both variances, so the
# most that PSNR (defined below) can gain is
#
# $$ 10 \log_{10} \frac{v_{12} + v_{60}}{v_{60}} \;\text{dB}, $$ (eq-oct-ceiling)
#
# exactly for intensities, nearly on a display. The paper's best gain is 0.59 dB, and it names this
# reason. What does equation {eq}`eq-oct-ceiling` allow?

# %% tags=["nbval-check-output"]
from recon.physics.speckle import SPECTRALIS, gain_ceiling, speckle_variance

for rho in (0.0, SPECTRALIS.correlation, 0.4, 0.6):
    v = [speckle_variance(frames, rho) for frames in (12, 60)]
    print(f"rho {rho:.2f}: v {v[0]:.3f}, {v[1]:.3f}; at most {gain_ceiling(12, 60, rho):.2f} dB")

# %% [markdown]
# ## The model
#
# Two generators, $G_L$ from HN to LN and $G_H$ back, follow table A.1: three steps down, six residual
# blocks, three steps up, with three changes of the cycleGAN. *Skip connections* carry detail past the
# coarse middle; *resize-convolutions* instead of transposed ones avoid checkerboards; and *one
# discriminator* $D$, shared, tells three classes apart: generated, real HN, real LN (table A.2). The
# paper calls the last change the most important: with a discriminator for each domain, both learn what
# retinas look like and miss the small difference in noise. {doc}`ablation_shared_discriminator`
# takes the changes apart; here a twin with two discriminators is trained for figure A.1.

# %%
from recon.networks.channels import parameter_count
from recon.networks.cyclegan import Discriminator, Generator, HDCycleGAN
from recon.results.source import source

source(Generator.forward)

# %% tags=["nbval-check-output"]
print(f"generator, table A.1: {parameter_count(Generator()):,} parameters")
for block, what in (("after", "as table A.2 prints it"), ("before", "as in the public code")):
    print(f"discriminator, {what}: {parameter_count(Discriminator(block=block)):,} parameters")

# %% [markdown]
# Let $h$ and $l$ be an HN and an LN image, of different eyes, and $D_c(x)$ the probability that $D$ gives
# to class $c$ of $x$. The loss (equations 1 to 4 of the paper) is
#
# $$ \mathcal L = \mathcal L_G + \mathcal L_D + 10\, \mathcal L_\text{cycle}, \qquad
# \mathcal L_G = -\log D_H(G_H(l)) - \log D_L(G_L(h)), $$ (eq-oct-loss)
#
# $$ \mathcal L_D = -\log D_F(G_H(l)) - \log D_F(G_L(h)) - \log D_H(h) - \log D_L(l), $$ (eq-oct-judge)
#
# $$ \mathcal L_\text{cycle} = \|l - G_L(G_H(l))\|_1 + \|h - G_H(G_L(h))\|_1 $$ (eq-oct-cycle)
#
# with classes $F$ (generated), $H$ and $L$, and the mean over pixels for the norm, as in the code.
# The weight 10 is the paper's; this run may have another, printed below. The cycle's loss asks that
# nothing be lost on the way there and back. $\mathcal L_G$ and $\mathcal L_D$ contradict each other;
# usually each is minimised over its own network only (`split`). The paper's equation 1 and its code
# at publication step all weights by the sum (`joint`), which also trains $D$ to be fooled: on a
# generated image its best answer is then half *generated*, half *target domain*.

# %%
from recon.learning.adversarial import losses

print(f"this run: a cycle weight of {schedule.cycle:g}, optimiser {schedule.optimiser}")
source(losses)

# %% [markdown]
# ## What instance normalisation leaves
#
# Every layer but the last is followed by *instance normalisation*: each channel of each image loses
# its mean and is divided by its deviation. A high-pass filter answers a noisy image more strongly
# than a calm one; divided by its own deviation, the answer to either is equally strong, and only the
# shape of its distribution is left to tell HN from LN. Is that enough for a discriminator? It is
# trained to classify real images, once as published and once with a normalisation that takes mean and
# deviation over images of *both domains* instead. Beside them, one number computed by hand: the
# median, over the pixels above the mean, of the difference to the mean of the four neighbours, over
# grey value; with one threshold, set on the training images. All are scored on the same parts, as
# large as the crops, of the eyes for tuning:

# %%
from recon.learning.denoising import flipped
from recon.learning.telling_apart import classification

high, low = (
    flipped([b for p in paths for b in read_bscans(p)]) for paths in (train.high, train.low)
)
others = [[b for p in paths for b in read_bscans(p)] for paths in (val.high, val.low)]
sizes = {"width": 8, "depth": 2, "blocks": 1, "discriminator_width": 8, "discriminator_depth": 3}
trial = classification(sizes, (high, low), others, schedule.shape, 80, seed, device)
pd.Series(trial, name="accuracy on unseen eyes (0.5 is guessing)").to_frame().map("{:.2f}".format)

# %% [markdown]
# A generator loses the same: how bright and how contrasted its image was. Two models are therefore trained.
# **HDcycleGAN** is normalised as published. In **HDcycleGAN, domain normalisation**, a channel's mean and
# deviation are measured over the two domains and then stay. Brightness and contrast pass, so its generators
# can start by returning their input exactly, and a crop is treated like the whole image. It is our
# change, not the paper's.

# %%
from recon.networks.domain_norm import DomainNorm, start_from_input

source(DomainNorm.forward, start_from_input)

# %% [markdown]
# ## Training
#
# Discriminators classify first in all of them. The twin with two discriminators, for figure A.1, is
# normalised over the domains and trained like the model beside which it stands. `copier` is the
# published network after copying and a single step: what it gains, no domain has taught it.
#
# GANs do not improve steadily; the paper says so, and its public code evaluates one checkpoint of many.
# Here five are looked at, and the one is kept that gains most over the raw image on the eyes for tuning,
# as the mean of the relative gains in the four scores of table 1 (defined below). The table gives them.

# %%
from recon.learning.denoising import relative_gain
from recon.learning.training import pick_device
from recon.learning.translation import denoise
from recon.learning.translator import train_translator

tuning_volumes = open_volumes(val)


def gain(model):
    """What decides which checkpoint is kept, on the eyes for tuning."""
    return relative_gain(lambda images: denoise(model, images), tuning_volumes)


theirs = {"classify": lesson.classify}
ours = {"classify": lesson.classify, "domain": True}
copying = replace(schedule, pretrain=lesson.copying)
plans = {"hdcyclegan": ({}, copying, {**theirs, "check": gain})}
plans["domain"] = ({}, schedule, {**ours, "check": gain})
plans["separate"] = ({"shared": False}, schedule, {**ours, "check": gain})
if lesson.copying:
    plans["copier"] = ({}, replace(copying, steps=1), theirs)

# %%
files, models, histories, checks = [*train.high, *train.low], {}, {}, {}
before = time.perf_counter()
for name, (extra, plan, start) in plans.items():
    models[name], histories[name], checks[name] = train_translator(
        {**lesson.sizes, **extra}, high, low, plan, settings, files, label=name, **start
    )
# A training that an earlier run began or finished counts in full.
started += time.perf_counter() - before
started -= sum(history[-1]["seconds"] for history in histories.values())
print(f"{len(high)} and {len(low)} images, mirror images included")
kept = {name: max(found, key=found.get) for name, found in checks.items() if found}
pd.DataFrame({name: checks[name] for name in kept}).rename_axis("step").map("{:+.1%}".format)

# %% mystnb={"figure": {"name": "fig-oct-training", "caption": "Parts of the loss by step, means of 10 steps: copying first where the network is normalised as published (solid), then the three parts of the loss; and the discriminator's mean probabilities that a real image is what it is, and that a generated one is a real one of its target domain."}, "image": {"alt": "Two line plots against steps: parts of the loss on the left, probabilities on the right, for both normalisations."}}
short = {"hdcyclegan": "as published", "domain": "domain norm.", "separate": "separate"}
_ = denoising_figures.training({short[n]: histories[n] for n in ("hdcyclegan", "domain")})

# %% [markdown]
# ## Scores
#
# Before anything is scored, the paper's public code looks at images through a *window*: divided by
# their maximum, cut off below the mean minus half a standard deviation of the positive pixels, and
# stretched to 0 and 1. The text mentions only the range. Here images are denoised as they are, and the
# window is used for scoring: a denoised image is seen through its input's (*own*), or both through the
# reference's (*one window*).
#
# Regions come from iso-contours {cite:p}`lorensen1987` of the LN image (figure A.3): within the first
# lies the retina, all else is background; within it, a higher level encloses layers that reflect much, the
# *signal*.

# %%
from recon.learning import bscans
from recon.learning import denoising_scores as scoring

source(bscans.find_regions)

# %% mystnb={"figure": {"name": "fig-oct-masks", "caption": "How regions are found, as in figure A.3: the LN image in its window, iso-contours of the retina (blue) and of the signal (orange), and the masks."}, "image": {"alt": "Three panels: a B-scan, the same with contour lines around the retina and its bright layers, and the masks in black, grey and white."}}
test_volumes = open_volumes(test)
first = test_volumes[0].pairs[0]
seen = first.noisy
if first.reference is not None:  # moved onto the noisy image, in whose frame the regions are
    seen = bscans.moved(first.reference, tuple(-step for step in first.shift))
window = bscans.window_of(seen)
_ = denoising_figures.masks(window(seen), first.regions.retina, first.regions.signal)

# %% [markdown]
# With mean $\mu_r$ and deviation $\sigma_r$ in region $r$ of the signal, and $\mu_b$, $\sigma_b$ in the
# background, and $\langle\cdot\rangle_r$ the mean over regions,
#
# $$ \text{MSR} = \left\langle \frac{\mu_r}{\sigma_r} \right\rangle_r, \qquad
# \text{CNR} = \left\langle \frac{|\mu_r - \mu_b|}{\sqrt{(\sigma_r^2 + \sigma_b^2)/2}} \right\rangle_r . $$ (eq-oct-cnr)
#
# Neither needs a reference, and neither asks whether the image is right. PSNR, $-10\log_{10}$ of the mean
# square difference, and SSIM {cite:p}`wang2004` compare with the LN image, after the HN image was moved
# onto it by Fourier cross-correlation: by whole pixels, since moving by parts of a pixel
# interpolates, which is denoising of its own. The simulation also knows the *truth*: what the mean of
# ever more independent acquisitions would tend to.

# %%
source(scoring.cnr, scoring.score)

# %%
volumes = {"tuning": tuning_volumes, "testing": test_volumes}
for what, opened in volumes.items():
    pairs = [pair for volume in opened for pair in volume.pairs]
    far = sum(pair.reference is not None and not pair.registered for pair in pairs)
    lost = sum(len(volume.left_out) for volume in opened)
    print(f"{what}: {len(pairs)} B-scans of {len(opened)} volumes, {lost} left out, {far} too far")

# %% [markdown]
# ## Baselines
#
# Five filters stand in table 1: the median over a small disk, wavelet shrinkage {cite:p}`chang2000`,
# the bilateral filter {cite:p}`tomasi1998`, non-local means {cite:p}`buades2005` in the fast way of
# {cite:t}`darbon2008`, and BM3D {cite:p}`dabov2007`. Their strength is a multiple of the noise that
# scikit-image estimates from the finest wavelet scale (for the median, a radius). The public code
# fixes each multiple; here a second row of each takes the multiple with the best PSNR on the volumes
# kept for tuning. BM3D is an optional package with a non-commercial licence; it is run where it is
# installed.

# %%
from recon.classical import denoisers
from recon.learning.denoising import baselines, evaluate
from recon.results import claims

paper = claims.load("manakov-2019")
filters, strengths = baselines(tuning_volumes)
missing = {name: denoisers.WITHOUT_BM3D for name, f in denoisers.DENOISERS.items() if f is None}
strengths.rename(index=paper.methods)

# %% [markdown]
# ## Table 1
#
# Scores are means over the B-scans of a volume, then over volumes; differences are paired over volumes
# and tested with Wilcoxon's signed-rank test. The *oracle* returns the truth.

# %%
from recon.results import denoising
from recon.results.denoising_rows import margins, short_of
from recon.results.statistics import summarise

learnt = {
    name: (lambda images, model=model: denoise(model, images))
    for name, model in models.items()
    if name != "separate"
}
scores = evaluate({**filters, **learnt}, test_volumes)
constants = {"data": data, "trained_on": data, "task": "denoising", "accel": 5}
compared = [(one, other) for one in learnt for other in paper.methods if other != one]
compared += [(name, "raw") for name in (*filters, "oracle")] + [("bm3d", "hdcyclegan")]
rows = denoising.lean(summarise(scores, compared, **constants))
rows += denoising.deviations(scores, **constants)
filters_run = [name for name in denoisers.PAPER if name in filters]
ahead = margins(scores, "hdcyclegan", filters_run)
rows += summarise(ahead, [("intra", "inter")], **constants) if len(ahead) else []
rows += short_of(scores, 1, "raw_1db", [*filters_run, "hdcyclegan"], **constants)
denoising.table_one(rows, paper, missing)

# %%
denoising.differences(rows, paper.methods, "hdcyclegan")

# %%
denoising.differences(rows, paper.methods, "domain")

# %% [markdown]
# (oct-beyond)=
# ### Beside the ceiling
#
# A gain says little without the gain that was there to be had. In brackets: the share of the oracle's
# gain. More than 100 % means that the score prefers the image to the truth itself: it is smoother, or
# its contrast was raised. Does a filter that destroys detail, by PSNR to the truth in the second
# table, still gain in CNR and MSR?

# %%
denoising.ceilings(rows, paper.methods)

# %%
OTHER = ("psnr_truth", "ssim_truth", "psnr_fixed", "ssim_fixed", "cnr_coded", "ssim_coded")
what = "Scores the paper has not: to the truth, in one window; and as its code computes two of them"
denoising.scores_table(rows, paper.methods, OTHER, what)

# %% [markdown]
# *As coded*: the public code has $\sqrt{(\sigma_r^2 + \sigma_b)^2/2}$ below the fraction of CNR, and its SSIM
# takes scikit-image's range for floating-point images, which was 2, inside a mask of the retina;
# {doc}`errata` computes what either does.
#
# ## What it looks like
#
# The volume whose CNR under domain normalisation is the median. The last row shows what a method took away, four
# times as strong: ideally grain without structure.

# %%
table = scores[scores.metric == "cnr"].pivot(index="volume", columns="method", values="value")
order = table["domain"].sort_values().index
by_name = {volume.name: volume for volume in test_volumes}
every_method = {**filters, **learnt}
shown_methods = ["bm3d" if "bm3d" in filters else "nl_means", "hdcyclegan", "domain"]


def sample(name, methods):
    """A volume's first B-scan: high noise, methods, low noise (moved to it); and a square."""
    volume = by_name[name]
    pair, size = volume.pairs[0], shape[0] // 4
    images = {"high noise": pair.noisy}
    for method in methods:
        drawn = every_method[method](volume.noisy[:1])[0]
        images[short.get(method, paper.methods[method])] = drawn
    if pair.reference is not None:
        back = tuple(-step for step in pair.shift)
        images["low noise"] = bscans.moved(pair.reference, back)
    ends = np.nonzero(pair.regions.retina.any(1))[0][[0, -1]]
    lines = np.repeat(ends[:, None].astype(float), shape[1], 1)
    return images, pair.noisy, oct_figures.frame_zoom(lines, shape, size), size


# %% mystnb={"figure": {"name": "fig-oct-median", "caption": "Median volume: images, a zoom of each (orange square), and what each method took from the high-noise image, four times as strong around grey."}, "image": {"alt": "Columns for high noise, a filter, HDcycleGAN as published and with domain normalisation, and low noise; rows for the B-scan, a zoom and the residual."}}
other = ("high noise", "low noise")
middle = sample(order[len(order) // 2], shown_methods)
median_figure = denoising_figures.residuals(*middle, kept=other)

# %% mystnb={"figure": {"name": "fig-oct-worst", "caption": "The volume with the lowest CNR under domain normalisation: high noise, this model, low noise."}, "image": {"alt": "Three columns: high noise, the model, low noise; rows for the B-scan, a zoom and the residual."}}
worst_figure = denoising_figures.residuals(*sample(order[0], ["domain"]), kept=other)

# %% [markdown]
# ## Runtimes (figure A.2)
#
# One simulated B-scan of 496 x 512, all methods in one run and one thread, in rounds that alternate.
# The generator has the paper's width whatever the profile; its time does not depend on its weights.
# Read ratios, not seconds.

# %%
from recon.learning import cost
from recon.learning.translation_scores import time_denoisers

seconds = time_denoisers(Generator().eval(), chosen.rounds, seed=seed)
timing = {"data": "this_machine", "task": "denoising_cost", "accel": 5}
rows += summarise(cost.tidy(seconds, "seconds"), [], "round", **timing)
took = pd.Series(cost.medians(seconds)).rename(paper.methods).sort_values()
relative = {"seconds": took, "HDcycleGAN over it": took["HDcycleGAN"] / took}
if "bm3d" in seconds:
    ratio = pd.Series(seconds["hdcyclegan"]) / pd.Series(seconds["bm3d"])
    ratios = cost.tidy({"hdcyclegan": ratio.tolist()}, "time_ratio")
    rows += summarise(ratios, [], "round", **timing)
else:
    print("BM3D was", missing["bm3d"])
pd.DataFrame(relative).map("{:.3g}".format)

# %% mystnb={"figure": {"name": "fig-oct-time", "caption": "Seconds for one simulated B-scan of 496 x 512 on one thread, median of the rounds, log scale."}, "image": {"alt": "A bar for each method on a logarithmic axis of seconds."}}
_ = denoising_figures.bars(took.to_frame("seconds"), "seconds", log=True)

# %% [markdown]
# ## What the discriminators see (figure A.1)
#
# Real and generated test images, each judged once as HN and once as LN: the probability of being a real
# image of that domain. The paper found that with separate discriminators the two verdicts on a real
# image hardly differ, and that a shared one tells them apart. The *gap* is the verdict for the image's
# own domain minus that for the other: 1 for a perfect judge. Is it above 0 here, on eyes that were not
# trained on?

# %%
from recon.learning.translation_scores import KINDS, discriminator_scores, domain_gaps

judges = {name: models[name] for name in ("hdcyclegan", "domain", "separate")}
judged = discriminator_scores(judges, test)
inside = {"data": data, "trained_on": data, "task": "denoising_features", "accel": 5}
gap_rows = summarise(domain_gaps(judged), [("domain", "separate")], **inside)
rows += gap_rows
denoising.plain(gap_rows, paper.methods, "domain_gap", "Gap between the verdicts on real images")

# %% mystnb={"figure": {"name": "fig-oct-judges", "caption": "Mean probability of being a real image of the domain that it is judged for, by kind of image, as in figure A.1."}, "image": {"alt": "Grouped bars: real and generated images of high and of low noise, judged as high and as low noise, by the shared and by separate discriminators."}}
mean = judged.groupby(["kind", "method", "judged_as"])["value"].mean().unstack([1, 2])
mean.columns = [f"{short[m]}: as {d}" for m, d in mean.columns]
_ = denoising_figures.bars(mean.loc[[*KINDS]].rename(index=KINDS), "mean probability")

# %% [markdown]
# ## Feature maps
#
# Each channel of each layer of $G_L$ is an image. Enlarged to the input's size, does it show the
# input, and does it show anatomy? The paper looked; two numbers can be had. The absolute correlation
# with the input; and how well an image that is constant in each of the simulator's layers could
# explain the map: the root of the share of variance between layers, $\eta$, which is a correlation
# too. An untrained generator is measured beside it, since convolutions of an image correlate with the
# image whatever their weights.

# %%
from recon.learning.translation_scores import correlations, group_scores

torch.manual_seed(seed)
fresh = HDCycleGAN(**lesson.sizes).eval().to_low
generators = {"": models["hdcyclegan"].to_low, "_untrained": fresh.to(pick_device(device))}
measured = {n: correlations(g, test_volumes) for n, g in generators.items()}
blocks = len(fresh.residual)
grouped = pd.concat([group_scores(m, blocks, name) for name, m in measured.items()])
both = [("shallow", "deep"), ("shallow_untrained", "deep_untrained")]
feature_rows = summarise(grouped, both, **inside)
rows += feature_rows
metrics = [m for m in ("input_correlation", "layer_correlation") if m in set(grouped.metric)]
groups = {f"{name}_untrained": f"untrained: {paper.methods[name]}" for name in ("shallow", "deep")}
what = "Means over channels and volumes"
denoising.plain(feature_rows, {**paper.methods, **groups}, metrics, what)

# %% mystnb={"figure": {"name": "fig-oct-channels", "caption": "Every channel of every layer of the trained generator, for the first test volume: absolute correlation with the input, and with the layers of the retina where they are known. Black: the layer's mean."}, "image": {"alt": "Scatter of points between 0 and 1 over the layers in order, in one or two panels."}}
one = measured[""][test_volumes[0].name]
names = {
    "input_correlation": "absolute correlation with the input",
    "layer_correlation": "η, layers",
}
_ = denoising_figures.channels(one, {m: names[m] for m in metrics})

# %% [markdown]
# Do channels stand for tissues, as figure 3 shows? For five bands of tissue, the channel of any layer that
# is brightest there and dark elsewhere, by correlation, is looked for on a tuning eye. The figure shows it on
# a test eye, with the correlation that it has *there*. Where no layers are known, the channels that
# correlate most with the input are shown instead.

# %%
from recon.learning.feature_maps import best_of_band, correlation, feature_maps, layer_labels

BANDS = {"vitreous": [0], "inner layers": [1, 2], "outer nuclear layer": [5]}
BANDS |= {"EZ to Bruch's membrane": [7, 8], "choroid": [9]}
trained, noisy = generators[""], test_volumes[0].noisy[0]
both = (tuning_volumes[0], test_volumes[0])
tuned, tested = (feature_maps(trained, volume.noisy[0]) for volume in both)
panels = {}
for band, numbers in BANDS.items() if test.simulated else ():
    there = [np.isin(layer_labels(v.truth.boundaries[0], shape[0]), numbers) for v in both]
    layer, channel, _ = best_of_band(tuned, there[0])
    r = correlation(tested[layer][channel : channel + 1], there[1])[0]
    panels[f"{band}\n{layer}, {channel} (r {r:.2f})"] = tested[layer][channel]
for layer in [*tested][:5] if not panels else ():
    channel = int(np.argmax(one[layer]["input_correlation"]))
    panels[f"{layer}, {channel}"] = tested[layer][channel]

# %% mystnb={"figure": {"name": "fig-oct-maps", "caption": "Feature maps of the generator to low noise, as in figure 3: over a test B-scan, and alone. Layer and channel were chosen on another eye for one band of tissue each; r is the correlation with that band here."}, "image": {"alt": "Five columns, each a B-scan with a coloured overlay above and the feature map in grey below."}}
_ = denoising_figures.maps(noisy, panels)

# %% [markdown]
# (oct-borders)=
# ## Borders of the retina, from a feature map
#
# The paper found a map that follows the inner limiting membrane (ILM) and the retinal pigment epithelium
# (RPE), multiplied it with the B-scan, cut at the mean, took the median and the skeleton (figure A.11),
# and suggests it for measuring retinal thickness. How good is it? The map is *chosen* on the tuning eyes,
# by its error there, and scored on the test eyes. In each column the first line of the skeleton counts
# as ILM and the last as RPE; errors are means over the columns that have both. A skeleton runs along the
# middle of a bright band, and the truth is the upper face of the membrane or layer: part of each bias is
# half a band. The B-scan without any map goes the same way, to see what the map adds; and a *guess* says
# the mean thickness of the tuning eyes everywhere, to see whether anything was measured at all.

# %%
from recon.data.manifest import load_manifest
from recon.learning.borders import choose_map, skeleton
from recon.learning.translation_scores import tracked, true_borders
from recon.results import borders

thickness = pd.DataFrame()
if test.simulated:
    field = load_manifest(data).profiles[profile]["field_mm"]
    micrometres = 1000 * field[0] / shape[0]
    truths = [true_borders(volume) for volume in tuning_volumes]
    (layer, channel), tried = choose_map(
        generators[""], [v.noisy[0] for v in tuning_volumes], truths
    )
    features = [feature_maps(trained, v.noisy[0])[layer][channel] for v in test_volumes]
    typical = float(np.mean([outer - inner for inner, outer in truths]))
    maps = {"map": features, "alone": [None] * len(features)}
    thickness = tracked(maps, test_volumes, typical)
    print(
        f"chosen among {len(tried)} maps: {layer}, channel {channel}; on the tuning eyes ILM and RPE"
    )
    print(
        f"miss by {tried[layer, channel]:.1f} pixels together; a pixel is {micrometres:.1f} um high"
    )

# %%
if len(thickness):
    border_rows = borders.border_rows(thickness, micrometres, **inside)
    rows += border_rows
    display(borders.borders_table(border_rows, micrometres))

# %% mystnb={"figure": {"name": "fig-oct-borders", "caption": "Skeletons (orange) of map times B-scan on four test eyes, and the true ILM and RPE (blue)."}, "image": {"alt": "Four B-scans with two smooth true lines and dotted lines of the skeleton."}}
drawn = {}
for volume, feature in zip(test_volumes, features if len(thickness) else [], strict=False):
    lines = skeleton(volume.noisy[0], feature)
    drawn[volume.truth.pathology.replace("_", " ")] = (volume.noisy[0], lines, true_borders(volume))
_ = denoising_figures.borders(dict([*drawn.items()][:4])) if drawn else print("no truth to draw")

# %% [markdown]
# (oct-rating)=
# ## A rating that anyone can repeat (figure 2)
#
# Three ophthalmologists rated BM3D, wavelets and HDcycleGAN by their likeness to LN images, 150
# samples, blind. No expert was asked here, so the claim stays untestable. The cell makes the page
# with which it could be tested, with our variant as a fourth method (and another filter where BM3D is
# not installed, which then tests the rest of the claim alone): one HTML file, order shuffled, methods
# under letters, answers kept in the browser until saved as a CSV; and a key, which is not for the
# raters.

# %%
from recon.results import rating, store

rated = [shown_methods[0], "wavelet", "hdcyclegan", "domain"]
places = [(v, k, pair.reference) for v in test_volumes for k, pair in enumerate(v.pairs)]
places = [place for place in places if place[2] is not None]
samples = []  # the first B-scan of every volume, then the second, ...
for volume, k, reference in sorted(places, key=lambda place: place[1])[: chosen.rated]:
    drawn = {m: every_method[m](volume.noisy[k : k + 1])[0] for m in rated}
    samples.append(rating.Sample(reference, drawn))
if samples:
    path = store.run_path("hdcyclegan", settings, "_rating.html")
    key = rating.page(samples, path, seed, "Which image resembles the reference?")
    print(f"{path.name} and {key.name}: {len(samples)} samples of {', '.join(rated)}")

# %% [markdown]
# `rating.read_ratings(files, key)` reads the CSV files that raters saved, `rating.analyse` gives each
# rater's means and how often a method was best, `rating.preferences` tests one method against the
# others by rater, and `rating.agreement` is Kendall's coefficient of concordance.
#
# (oct-real)=
# ## Real B-scans
#
# With a folder in `test_root` the model is applied to B-scans that nobody simulated: CNR and MSR, which
# need no reference, and the others where the folder holds averaged partners.

# %%
from recon.results.html import Html

if test_root:
    real_scores = evaluate({**filters, **learnt}, real)
    place = {**constants, "data": "oct_folders"}
    real_rows = summarise(real_scores, [("hdcyclegan", "raw")], **place)
    rows += real_rows
    have = [m for m in ("cnr", "msr", "psnr", "ssim") if m in set(real_scores.metric)]
    text = denoising.scores_table(real_rows, paper.methods, have, f"{len(real)} real volumes")
else:
    text = Html("<p>Skipped: test_root is empty.</p>")
text

# %% mystnb={"image": {"alt": "A real B-scan, and the same denoised by both networks."}}
if test_root:
    real_scan = real[0].noisy[:1]
    images = {paper.methods[name]: learnt[name](real_scan)[0] for name in ("hdcyclegan", "domain")}
    _ = oct_figures.bscans({"real": real_scan[0], **images})

# %% [markdown]
# ## What this run says of the paper's claims
#
# Computed by the rules in `book/claims/manakov-2019.yml`; {doc}`scoreboard` gathers those of the reference
# runs. "5x" is the ratio of the frames.

# %%
from recon.results import provenance, tables

spent = time.perf_counter() - started
where = str(pick_device(device))
made = provenance.collect("hdcyclegan", parameters=settings, seed=seed, seconds=spent, device=where)
run = store.Run("hdcyclegan", profile, settings, rows, made)
store.save(run)
for label, figure in {"median": median_figure, "worst": worst_figure}.items():
    store.save_figure(run, label, figure)
tables.verdicts(paper, store.frame([run]))

# %% [markdown]
# ## Reference runs
#
# Made once and stored with the commit that made them; below, the table of those with other parameters
# than this page's.

# %%
references = store.reference_runs("hdcyclegan")
tables.references(references)

# %%
from recon.results.repeats import further

shown = [denoising.table_one(r.rows, paper, missing) for r in further(run, references)]
Html("".join(shown) or "<p>None is stored yet.</p>")

# %% [markdown]
# (oct-own-data)=
# ## Your own data
#
# | you have | you run |
# |---|---|
# | two folders of B-scans, `high` and `low`, in one | `papermill book/hdcyclegan.ipynb out.ipynb -p data oct_folders -p data_root FOLDER -p profile standard` |
# | the Duke set of 2013 {cite:p}`fang2013` | `... -p data duke_2013 -p data_root FOLDER` |
# | real B-scans, to try what simulation has taught | `... -p test_root FOLDER` |
# | a GPU and patience | `... -p profile paper` |
#
# Images are 8-bit grey PNG, TIFF or JPEG, a folder a volume. Volumes of the same name in both domains count
# as partners; without partners, only CNR and MSR are printed, and the filters keep the paper's strengths.
# {doc}`data` names the public sets.
#
# ## What differs from the paper
#
# - **Data.** Simulated by default, smaller images in the profiles `quick` and `standard`.
# - **Split.** The paper takes 90 % of 470 volumes to train and the rest to test, of 235 patients: the two
#   volumes of a patient may fall on both sides, and no set is kept for tuning. Here patients are split, and
#   some are for tuning.
# - **Generator.** Table A.1 normalises all layers; as in the public code, the last convolution is not
#   normalised, and norms inside the residual blocks have no scale and offset ({doc}`errata`).
# - **Window.** The public code trains and denoises in it; here it is for scoring only, so that filters and
#   network see the image that a clinician sees.
# - **Normalisation.** As published in the rows HDcycleGAN; over the domains in our variant, and said so
#   wherever it stands.
# - **Start.** Copying or classifying first, in all profiles but `paper`, where our variant starts by
#   returning its input; mirror images double the training set; crops of full height and part of the width.
# - **Optimiser.** `quick` and `standard` use `split` and a cycle weight of 20; `paper` uses `joint` and 10.
# - **Separate discriminators.** The twin's classify first too, and are shown images of the other domain as
#   not theirs, which no published one ever is: a help that makes the test of figure A.1 stricter.
# - **Discriminator.** Narrower and less deep in all profiles but `paper`; its blocks stand where table A.2
#   prints them, not where the public code has them.
# - **Registration.** Translation by whole pixels; the public code's is a similarity transform with cubic
#   interpolation. PSNR and SSIM are over the common part of the whole image, not inside the retina.
# - **Scores.** Means by volume first; the paper's deviations are over images.
# - **Not crop-equivariant.** Instance normalisation looks at the whole image, so B-scans go through the
#   network whole; {doc}`crop_equivariance` says what that rules out.
#
# ## How the settings were chosen
#
# The quick profile's by a handful of trainings, scored on the tuning eyes: rates from 0.0002 to 0.001, a
# weight of the cycle of 10 and 20, no, 40, 60 and 160 steps of classifying, crops and batches of several
# sizes. One seed each, so little of it would survive a second. The standard profile takes them over and
# was not tried against others.
#
# ## Exercises
#
# 1. Set a filter's strength to four times the paper's. Which scores rise, which fall? Which would you
#    report to sell the filter, and what does the oracle say to it?
# 2. Run the chapter with `optimiser="joint"`. What becomes of the discriminator's probabilities?
# 3. Which methods exceed the oracle's CNR in the table of gains? Why is the truth not perfectly smooth
#    inside a layer?
# 4. Instance normalisation removes mean and deviation of each feature map, but not the shape of its
#    distribution. Which statistic of speckle is left for the published discriminator to tell 12 frames
#    from 60?
