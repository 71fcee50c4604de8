# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Data crimes: measuring what a computer has finished
#
# Fully sampled k-space is rare; pictures are everywhere. So it is tempting to take pictures from an
# archive, transform them, call the result k-space, leave out three lines of four, and publish how
# well a network fills them in. But a picture in an archive is the end of a long pipeline. The scanner
# has combined its coils, dropped the phase, interpolated, filtered the noise, and somebody has saved
# it as a JPEG. Each of these steps can make the missing lines easier to guess, and so the score
# better, without making any patient's scan better.
#
# {cite:t}`shimron2022` call this an implicit *data crime*, since it is committed without intent. They
# report errors that are 25 to 48 % lower after zero-padding and JPEG compression, for compressed
# sensing, dictionary learning and a network. This chapter commits these crimes and
# three more on scans of our own, one at a time and together, and asks three questions of each method:
# what is the honest error, what error would a paper report, and what would its user get?
#
# ```{admonition} The data on this page are simulated
# :class: warning
# fastMRI's files may not be passed on, so the scans behind this page are simulated knees: an object
# with a phase, seen by several coils, with noise added to its k-space. That is the honest reference
# here, and the last section asks how honest it is. `data` and `data_root` put real scans in its place.
# ```

# %% tags=["parameters"]
profile = "quick"  # quick (minutes, few crimes trained), standard (longer), paper (GPU)
data = "simulated_knee"  # scans that the crimes start from: a name in data_manifests/
data_root = ""  # folder of the data set, where it is not simulated
task = "multicoil"  # multicoil, or singlecoil where the scans have one coil only
accel = 4  # nominal acceleration, 2 to 12
center_fraction = 0.0  # fully sampled share of the columns; 0: the usual one at this acceleration
mask_type = "random"  # random, equispaced or equispaced_fraction
density_power = 3.0  # how fast the variable density falls to the edges of k-space; 0: not at all
coils = 4  # virtual coils of the honest multi-coil reference
crimes = "profile"  # data sets to train on, joined by commas (magnitude,pad_150), or all
methods = "profile"  # networks, joined by commas: unet,d5c5,pcrnn
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.data.crimes import recipes
from recon.learning import contest
from recon.results import parameters

unused = ("test_data", "test_root")
own_rules = {
    "density_power": parameters.number(0, 10),
    "crimes": parameters.some_of("profile", *recipes(4, 0.08, 3, 0)),
    "methods": parameters.some_of("profile", "unet", "kikinet", "d5c5", "complexmri", "pcrnn"),
}
rules = {**{k: v for k, v in parameters.MRI.items() if k not in unused}, **own_rules}
settings = parameters.check(globals(), rules)

# %%
from dataclasses import dataclass, replace

from recon.learning.training import Schedule


@dataclass(frozen=True)
class Profile:
    trained: tuple[str, ...]  # sets on which networks are trained
    tuned: tuple[str, ...]  # sets on which compressed sensing is tuned and scored
    methods: tuple[str, ...]  # networks
    budget: contest.Budget
    slices: int  # of every test scan, from its middle; 0: all
    picks: int  # training scans on whose middle slice the regularisation is tuned


# %% [markdown]
# Training on every crime takes long, so the quick profile trains on honest data, on the plain
# magnitude, and on all crimes together; the methods without training meet every crime. The networks of
# `quick` and `standard` are small and far from trained: what they show is a difference between data
# sets, at equal steps.

# %%
FEW = ("singlecoil", "magnitude", "all")
EVERY = ("singlecoil", "phase", "magnitude", "pad_150", "pad_200", "jpeg_20", "jpeg_75")
EVERY += ("denoised", "all")
VARIED = ("singlecoil_vd", "magnitude_vd", "pad_150_vd", "pad_200_vd")
small, full = contest.BUDGETS["quick"], contest.BUDGETS["paper"]
bands, whole = contest.BANDS, contest.SLICES
quick = replace(
    small,
    bands=Schedule(epochs=1.5, halve_every=0.6, **bands),
    whole=Schedule(epochs=0.5, halve_every=0.2, **whole),
)
standard = replace(
    small,
    bands=Schedule(epochs=0.9, halve_every=0.36, **bands),
    whole=Schedule(epochs=0.225, halve_every=0.09, **whole),
)
PROFILES = {
    "quick": Profile(FEW, (*FEW, "pad_150", "jpeg_20"), ("unet", "pcrnn"), quick, 1, 6),
    "standard": Profile(
        ("multicoil", *EVERY), (*EVERY, *VARIED), ("unet", "pcrnn"), standard, 1, 6
    ),
    "paper": Profile(
        ("multicoil", *EVERY), (*EVERY, *VARIED), ("unet", "d5c5", "pcrnn"), full, 0, 20
    ),
}
chosen = PROFILES[profile]

# %% [markdown]
# ## The crimes
#
# A *volume* goes in, with the k-space that a scanner measured; a volume comes out, with the k-space
# that somebody would compute from the finished picture, and with that picture for a target. The
# victim of the crime scores against it and knows no other.
#
# | crime | what happens | why it might flatter |
# |---|---|---|
# | phase lost | the magnitude is kept | the picture is real, so $k(-f) = \overline{k(f)}$: half of k-space tells all of it |
# | coils lost | the root of the sum of squares (RSS) of all coils is kept | no coil shading, less noise; but parallel imaging is gone too |
# | zero-padding | zeros are set around k-space, which interpolates the picture | part of the "missing" columns is empty, and the dense centre of the mask covers more of the rest |
# | JPEG | the picture is compressed, 20 (small) to 100 (good) | fine detail and noise, which nobody can guess, are gone from the target |
# | denoising | non-local means {cite:p}`buades2005` | noise, which nobody can guess, is gone from the target |
#
# The two honest references are the multi-coil scan and a *single-coil* scan made of it as fastMRI's
# single-coil task was {cite:p}`tygert2020`: each coil is multiplied by one number and all are added,
# so phase and noise stay what they were and k-space stays k-space. A lost phase starts from there; all
# other crimes start from the RSS of the multi-coil scan, as in the paper.

# %%
from recon.data.crimes import magnitude_only, zero_padded
from recon.results.source import source

source(magnitude_only, zero_padded)

# %% [markdown]
# Processed volumes are written as fastMRI files, and everything below reads them as it reads any
# others. Whoever receives such a folder cannot tell from its format that no scanner made it.

# %%
import time

import numpy as np

from recon.data.crimes import commit
from recon.data.measurement import Sampling
from recon.data.splits import open_split
from recon.physics.sampling import standard_center_fraction

started = time.perf_counter()
scans = {split: open_split(data, task, split, profile, data_root) for split in ("train", "val")}
fraction = center_fraction or standard_center_fraction(accel)
plan = Sampling(accel, fraction, mask_type)
cookbook = recipes(accel, fraction, density_power, seed)
if task == "singlecoil":
    del cookbook["multicoil"]
asked = cookbook if crimes == "all" else crimes.split(",")
references = ["singlecoil", "magnitude", *(["singlecoil_vd"] if crimes != "profile" else [])]
trained = chosen.trained if crimes == "profile" else [*dict.fromkeys([*references, *asked])]
tuned = chosen.tuned if crimes == "profile" else trained
trained = [name for name in trained if name in cookbook and not name.endswith("_vd")]
tuned = [name for name in tuned if name in cookbook and name != "multicoil"]
learning = [*dict.fromkeys([*trained, *tuned])]
test = {n: commit(scans["val"], n, recipe, chosen.slices) for n, recipe in cookbook.items()}
train = {n: commit(scans["train"], n, cookbook[n]) for n in trained}
picked = np.random.default_rng(seed).permutation(len(scans["train"]))[: chosen.picks]
picked = [scans["train"][i] for i in sorted(picked)]
few = {n: commit(picked, n, cookbook[n]) for n in tuned}
labels = {name: recipe.label for name, recipe in cookbook.items()}

# %% [markdown]
# ### What they do to a picture and to its k-space

# %% mystnb={"figure": {"name": "fig-crimes", "caption": "One slice: the picture, the logarithm of its k-space (five decades; of one coil where there are several), and what the mask of the test hits. Every picture is drawn at the same size; the padded one has more pixels."}, "image": {"alt": "Columns for the honest scan, the magnitude, padding, JPEG, denoising and all together; rows for the picture, log k-space and the measured columns. In the padded column the edges of k-space are dark."}}
from recon.data.fastmri import read_volume
from recon.learning.flattery import Study
from recon.results import crime_figures, figures

study = Study(train, test, cookbook, plan, coils, settings)
scan = test["singlecoil"][len(test["singlecoil"]) // 2].stem
drawn = ["singlecoil", "magnitude", "pad_200", "jpeg_20", "denoised", "all"]
scenes = {}
for name in drawn:
    volume = study.example(name, scan)
    middle = len(volume.target) // 2
    kspace, mask = volume.kspace[middle, 0], study.mask_of(volume)
    scenes[labels[name].removeprefix("… ").replace(", ", "\n")] = crime_figures.scene(
        volume.target[middle], kspace, mask
    )
overview = crime_figures.pictures(scenes)

# %% [markdown]
# Three marks tell a processed file from a measured one. *Asymmetry* compares $k(-f)$ with
# $\overline{k(f)}$: 0 for a real picture, 1 for random phases. *Outer energy* is the mean energy of the
# outer quarter of the columns over that of all columns. The *acceleration* is counted twice: over the
# columns of the grid, as a paper would print it, and over the columns that the scanner acquired before
# anybody padded anything. Means over the test scans:

# %%
from recon.results import crime_tables

crime_tables.marks_table({labels[n]: study.marks(n, scans["val"]) for n in cookbook})

# %% [markdown]
# ### Zero-padding and the mask
#
# A mask is drawn on the grid that it is given. On a padded grid its fully sampled centre, a fixed share
# of the columns, covers more of the acquired ones, and some of its columns fall on zeros. A mask of
# *variable density*, which is drawn densely near the centre, is squeezed into the acquired part even
# more. How much faster than a full scan is the "4x" of a padded file?

# %% mystnb={"figure": {"name": "fig-crime-effective", "caption": "Acceleration counted over the columns that were acquired, for masks of the same nominal acceleration on grids padded more and more: mean of the draws, and the range that 90 % of them lie in."}, "image": {"alt": "Three curves of the true acceleration over the padding factor, for three kinds of masks."}}
import pandas as pd

from recon.learning.flattery import padded_accelerations

width = read_volume(scans["val"][0], slice(0, 1)).kspace.shape[-1]
factors = np.array([1, 1.25, 1.5, 1.75, 2])
curves = padded_accelerations(width, factors, plan, density_power, draws=100)
effective = crime_figures.accelerations(factors, curves)

# %% tags=["nbval-check-output"]
pd.DataFrame(
    {k: v.mean(1) for k, v in curves.items()}, index=pd.Index(factors, name="padding")
).round(2)

# %% [markdown]
# ## Learning from crimes
#
# Every network ({doc}`pcrnn` and {doc}`comparison` explain them, masks and scores) learns with the
# same steps from every set, and compressed sensing
# ({cite:t}`lustig2007`: wavelets, one coil of sensitivity 1) has its strength tuned anew on training
# slices of every set. A set whose best strength lies at an end of the grid could still be at a
# disadvantage: the table below says whether one does. Two methods need no training. The zero-filled
# image leaves missing samples at zero. The *mirrored* one takes a missing sample from its mirror image,
# $k(f) \leftarrow \overline{k(-f)}$, where that was measured: right for a real picture, wrong for
# anything that a scanner measures.

# %%
from recon.learning.flattery import mirrored

source(mirrored, Study.learn)

# %%
from recon.classical import compressed_sensing

wanted = chosen.methods if methods == "profile" else methods.split(",")
before = time.perf_counter()
for name in trained:
    study.learn(name, wanted, chosen.budget)
trained_for = sum(h[-1]["seconds"] for each in study.histories.values() for h in each.values())
# A training that an earlier run began or finished counts in full.
started += time.perf_counter() - before - trained_for
tried = {labels[name]: study.tune(name, few[name], compressed_sensing.GRID) for name in tuned}
taken = pd.Series({labels[name]: study.strengths[name] for name in tuned})
table = pd.DataFrame(tried).T.rename_axis("NMSE by regularisation").round(4)
ends = (min(compressed_sensing.GRID), max(compressed_sensing.GRID))
table.assign(chosen=taken, place=np.where(taken.isin(ends), "at an end", "inside"))

# %% mystnb={"figure": {"name": "fig-crime-training", "caption": "Training loss by step and by second, honest single-coil data and all crimes together: every step faint, the mean of 20 steps strong. A lower loss is no better network here, since the data differ."}, "image": {"alt": "Two line plots of falling training loss for each network on honest and on processed data."}}
from recon.results import tables

_ = figures.training_curves(
    {
        f"{tables.NAMES[label]}, {labels[name].removeprefix('… ')}": history
        for name in trained
        if name in ("singlecoil", "all")
        for label, history in study.histories[name].items()
    }
)

# %% [markdown]
# ## Three errors of every method
#
# *Honest* is trained (or tuned) and tested on honest single-coil data; *reported* is trained and tested
# on the processed set, which is what a paper would print; *in use* is trained on the processed set and
# tested on honest data, which is what its user would get. The error is the root mean square
# error over the maximum of the target (NRMSE); the paper divides by the range. *Flattery* is how far
# the reported error falls below the honest one, in percent; *by this step* is its fall below the error on the set that lacks
# this crime only. The paper compares padded and compressed with plain magnitude pictures, so that
# column stands beside its 25 to 48 %, for compressed sensing and networks: it has neither zero-filled
# nor mirrored images, and the other crimes have no published number.

# %%
for name in cookbook:
    # All that was trained or tuned on a crime meets the honest test too.
    study.score(name, [n for n in learning if name in (n, cookbook[n].honest)])
scores = study.scores()

# %%
from recon.results import flattery

PUBLISHED = (25.0, 48.0)  # percent, from Shimron et al. (2022)
constants = {"data": data, "task": "crimes", "accel": accel}
rows = flattery.score_rows(scores, **constants)
rows += flattery.flattery_rows(scores, study.pairs(), **constants)
compared = [name for name, recipe in cookbook.items() if recipe.published]
plain = {name: label for name, label in labels.items() if not name.endswith("_vd")}
crime_tables.crime_table(rows, plain, compared, PUBLISHED)

# %%
varied = {name: label for name, label in labels.items() if name.endswith("_vd")}
crime_tables.crime_table(rows, varied, compared, PUBLISHED)

# %%
from IPython.display import Markdown

Markdown(crime_tables.summary(rows, labels, compared, PUBLISHED))

# %% mystnb={"figure": {"name": "fig-flattery", "caption": "Flattery of every crime against honest single-coil data, with 95 % intervals over volumes. Grey: the range that the paper reports (against plain magnitude pictures, for compressed sensing, dictionary learning and a network)."}, "image": {"alt": "Points with error bars for every crime and method along an axis of percent; a grey band marks 25 to 48 percent."}}
forest = crime_figures.flattery(rows, plain, crime_tables.LABELS, PUBLISHED)

# %% [markdown]
# Do PSNR and SSIM say the same?

# %%
crime_tables.quality_table(rows, plain, "psnr")

# %%
crime_tables.quality_table(rows, plain, "ssim")

# %% [markdown]
# And what do the honest references score? Multi-coil data are another task, for which a method is told
# more; they are no yardstick for flattery, but they are what a scanner delivers. Their pictures are
# RSS, those of the single-coil set are not, so the two rows differ in the target as well.

# %%
crime_tables.reference_table(
    rows, {n: labels[n] for n in ("multicoil", "singlecoil") if n in labels}
)

# %% [markdown]
# ## What the user sees
#
# One network, three times: trained and tested honestly, trained and tested on all crimes together, and
# trained on the crimes but given a measurement. The middle picture is the one that would be published.

# %% mystnb={"figure": {"name": "fig-in-use", "caption": "The last network on the scan of the first figure: honest, as reported and in use, each with its own target's zoom and its absolute error times five."}, "image": {"alt": "Three columns of reconstructions: honest, reported, in use; rows for the image, a zoom and the error."}}
worst = trained[-1]
label = [*study.networks[worst]][-1]
shown = {
    "honest": ("singlecoil", "singlecoil"),
    f"reported\n({labels[worst].removeprefix('… ')})": (worst, worst),
    "in use": (worst, "singlecoil"),
}
views = {
    name: study.view(label, source_set, target_set, scan)
    for name, (source_set, target_set) in shown.items()
}
in_use = crime_figures.triptych(views)

# %%
from recon.learning.training import pick_device
from recon.results import provenance, store

made = provenance.collect(
    "data_crimes",
    parameters=settings,
    seed=seed,
    seconds=time.perf_counter() - started,
    device=str(pick_device(device)),
)
run = store.Run("data_crimes", profile, settings, rows, made)
store.save(run)
for name, figure in {"crimes": overview, "flattery": forest, "in_use": in_use}.items():
    store.save_figure(run, name, figure)
print(f"{len(rows)} rows; {made['seconds']:.0f} s, of which training {trained_for:.0f} s")

# %% [markdown]
# ## Which of our own tables does this touch?
#
# The default data of this book are simulated too. The difference is where the simulation starts and
# what it adds: an object that was drawn on a finer grid than the scan, never a finished picture; a
# phase that is not zero; coils by the law of Biot and Savart; and noise in k-space, so that the target
# has noise in it which no method can guess. These are the four things that the crimes take away.

# %%
from recon.data.origins import origins

origins(profile)

# %% [markdown]
# - **Drawn knees and brains** come from no processed picture: hold the first two rows of the marks above
#   against the others. They may be too easy in another way: smooth pieces are what wavelets and
#   networks like best, and white noise without motion or field drift is the kindest noise there is.
#   Orders and differences within a page stand on this; absolute scores on it say little about a clinic.
# - **The head of the studyforrest project** {cite:p}`hanke2014`, which {doc}`pcrnn` tests on, is a
#   crime in part. It is a finished magnitude picture: its true phase is gone, its noise was rectified
#   and has become anatomy, its scanner has filtered it. The simulated scanner then adds a phase (so
#   mirroring does not help), coils and noise, and it acquires coarser voxels than the picture has
#   wherever the ratio in the table is above 1, so no interpolated edge of k-space is measured.
# - **Measured k-space**, such as the pre-scan in {doc}`pcrnn`'s longer runs, is honest.
# - **fastMRI's own k-space is padded**: its files say how many columns were never acquired. This book
#   never lets a mask count such columns (`recon.physics.sampling.restrict`), and every "effective
#   acceleration" in its tables is over acquired columns. The masks are still drawn on the padded grid,
#   so of two files with the same nominal acceleration the more padded one is the easier: compare the
#   effective one. Our simulated scans pad some volumes in the same way, and declare it:

# %%
from recon.data.origins import padding_table

padding_table(scans["val"], plan, seed)

# %% [markdown]
# (data-crimes-repeats)=
# ## From other seeds, and for longer
#
# This run stands in the first column. Runs from other seeds or longer ones, where they are stored, stand
# beside it. By how many percent does each crime flatter the methods, over the honest error?


# %%
from recon.results.repeats import chosen_rows, repeats

references = store.reference_runs("data_crimes")


def crime(row):
    """Method and crime of a row that compares with the honest error."""
    what = labels.get(row["tested"], row["tested"]).removeprefix("… ")
    return f"{tables.NAMES.get(row['method'], row['method'])}: {what}"


gain = chosen_rows("flattery", crime, comparison="honest")
repeats([run, *references], gain, "Error below the honest one, percent, mean and 95 % interval")

# %%
tables.references(references)

# %% [markdown]
# ## What differs from the paper
#
# - **Scans.** The paper starts from fastMRI's measured multi-coil knees, most of them proton density;
#   here are simulated knees of two contrasts, unless `data` says otherwise.
# - **Masks.** Columns are left out, as in the rest of this book. The code that comes with the paper
#   leaves out single points of k-space in compressed sensing, with a density that is weak or strong;
#   our variable density is `density_power`.
# - **Methods.** Compressed sensing as there; a U-Net and PC-RNN where the paper trains an unrolled
#   network; no dictionary learning, for want of a library that does it on complex images.
# - **NRMSE** is over the maximum of the target; the paper's is over its range. Minima are close to zero.
# - **References.** The paper's is the plain magnitude picture, which is a crime already. Ours is complex
#   single-coil data, whose picture is not the RSS: the first step changes the picture as well as its
#   k-space. Only "phase lost" keeps the target of the honest reference, so it isolates one cause.
# - **Crop and padding.** Pictures are cut to the crop of the file before they are transformed, as
#   pictures in an archive are; honest files keep their readout oversampling until they are loaded.
#
# ## How not to commit one
#
# - Start from raw k-space. If there is none, say in the abstract that there is none.
# - Keep the phase and the coils, or say what was thrown away and why the task still is one.
# - Find out how many columns were acquired, draw the mask on those, and print the acceleration over them.
# - Test at least once on data that nobody processed, with what was trained on data that somebody did.
#
# ## Exercises
#
# 1. Run with `mask_type="equispaced"`. What becomes of mirroring, and why?
# 2. Set `density_power=6`. Which padded set gains, and what does its acceleration over acquired columns
#    say?
# 3. Write a test that tells a processed file from a measured one by the marks in the table. Which crime
#    does it miss?
# 4. Find a paper that makes k-space of pictures. Which of the crimes does it commit, and does it say so?
