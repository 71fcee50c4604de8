# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Would it work on your scanner?
#
# Most networks so far were tested on scans like those they had learned from; {doc}`pcrnn` and
# {doc}`pcrnn_brain` have looked further. A reader with a scanner asks something else: does what a
# network learned from simulations hold for k-space that somebody measured, with other coils, another
# noise and another body? And is it then better than compressed sensing, which has nothing to learn?
# {cite:t}`chen2022` do not ask. This chapter trains networks on one kind of scan, tests them on
# another, and sets them beside methods without training.
#
# ```{admonition} What is simulated here, and what is measured
# :class: warning
# The page runs without any file from elsewhere, so its own tests are simulated too. The measured
# k-space is in the [longer runs](measured-runs) below. `measured_root` names a folder with your own.
# ```

# %% tags=["parameters"]
profile = "quick"  # quick (minutes), standard (longer), paper (GPU)
lessons = "simulated_brain,simulated_knee"  # simulated sets to train on, one network each
taken_away = (
    "none"  # also train without these parts of the first set's scans: phase,noise,... or all
)
networks = "pcrnn,admm_net"  # of the networks below, joined by commas
measured_root = ""  # folder with measured, fully sampled fastMRI-format files to test on too
mask_draws = 20  # masks drawn for each measured volume; those that differ are scored
accel = 4  # nominal acceleration, 2 to 12
center_fraction = 0.125  # fully sampled share of the columns, from which the coils are calibrated
mask_type = "equispaced_fraction"  # random, equispaced or equispaced_fraction
coils = 4  # virtual coils that networks are trained on
bart = False  # also BART's compressed sensing, where BART is installed (seconds a slice)
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.data.stripped import STRIPPED
from recon.learning.contest import NETWORKS, OTHERS
from recon.results import parameters

SETS = ("simulated_brain", "simulated_knee", "simulated_leaves")
shared = ("profile", "accel", "center_fraction", "mask_type", "coils", "seed", "device")
rules = {name: parameters.MRI[name] for name in shared} | {
    "lessons": parameters.some_of(*SETS),
    "taken_away": parameters.some_of("none", *STRIPPED),
    "networks": parameters.some_of(*NETWORKS, *OTHERS),
    "measured_root": parameters.text(),
    "mask_draws": parameters.whole(1, 1000),
    "bart": parameters.flag(),
}
settings = parameters.check(globals(), rules)

# %% [markdown]
# ## What can be known, and what has to be learned
#
# Let $x$ be the image, $S$ the coils' sensitivities, $F$ the Fourier transform and $D$ the mask that
# keeps some columns. A scanner measures $y = A x$ plus noise, with $A = D F S$. Where $S$ is known,
# from the fully sampled centre by ESPIRiT {cite:p}`uecker2014`, everything that differs between two
# coil arrays is in $A$, and SENSE {cite:p}`pruessmann2001` needs no training at all:
#
# $$ \hat x = (A^H A + \lambda I)^{-1} A^H y. $$ (eq-sense)
#
# PC-RNN, D5C5, ComplexMRI, KIKI-Net and the U-Net see the stack of coil images and no $S$: what the
# coils do has to be learned from examples. VN and VS-Net know $S$, but take a few plain gradient
# steps towards $y$. Two networks that Chen 2022 does not compare with go all the way in every turn:
#
# - **MoDL** {cite:p}`aggarwal2019` iterates
#   $x \leftarrow (A^HA+\lambda I)^{-1}(A^Hy+\lambda\,\mathcal N(x))$ with a learned denoiser
#   $\mathcal N$;
# - **ADMM-Net** {cite:p}`yang2016` is compressed sensing, unrolled: its denoiser starts as the
#   shrinking of wavelets, so before training it is an approximation of compressed sensing: eight turns,
#   undecimated Haar wavelets. Its row, *ADMM-Net, untrained*, stands in the tables: what of the
#   network's gain was there before it had learned anything?

# %%
from recon.networks.admm_net import ADMMNet, shrink
from recon.results.source import source

source(shrink, ADMMNet.forward)

# %% [markdown]
# ## Lessons and exams
#
# A lesson is a simulated set, possibly with a part of its scans taken away. All networks of all
# lessons are trained with one loop for as many steps, as in {doc}`comparison`. An exam is a set that
# no training saw.

# %%
from dataclasses import dataclass

from recon.learning.contest import BUDGETS
from recon.learning.contest_report import shortened


@dataclass(frozen=True)
class Profile:
    """Widths and rates of `recon.learning.contest`, passes over a lesson, and volumes an exam."""

    budget: str
    passes: float
    volumes: int


PROFILES = {
    "quick": Profile("quick", passes=0.75, volumes=6),
    "standard": Profile("quick", passes=4, volumes=10),
    "paper": Profile("paper", passes=60, volumes=1000),
}
chosen = PROFILES[profile]
usual, size = BUDGETS[chosen.budget], "paper" if profile == "paper" else "quick"
budget = shortened(usual, chosen.passes / usual.bands.epochs)

# %%
from recon.data.measurement import Sampling
from recon.data.splits import open_split
from recon.data.stripped import train_files
from recon.learning.transfer import Exam, Lesson

sets = [*SETS] if lessons == "all" else lessons.split(",")
parts = {"none": [], "all": [*STRIPPED]}.get(taken_away, taken_away.split(","))
taught = [Lesson(name) for name in sets] + [Lesson(sets[0], part) for part in parts]
plan = Sampling(accel, center_fraction, mask_type)
exams = [
    Exam(name, open_split(name, "multicoil", "val", size)[: chosen.volumes])
    for name in ("simulated_brain", "simulated_knee")
]
if measured_root:
    files = open_split("fastmri_folder", "multicoil", "all", size, measured_root)
    exams.append(Exam("measured", files, mask_draws))

# %%
import time

from recon.learning.contest import train_alike
from recon.results import tables
from recon.results.html import html_table

wanted = [*NETWORKS, *OTHERS] if networks == "all" else networks.split(",")
trained, histories = {}, {}
for lesson in taught:
    files = train_files(lesson.data, size, lesson.without)
    known = settings | {"data": lesson.label, "task": "multicoil", "profile": f"transfer {size}"}
    made, history = train_alike(wanted, files, plan, coils, budget, known)
    trained[lesson], histories[lesson.label] = made, history
started = time.perf_counter()  # training, also by an earlier run, is in the histories
steps = [
    (tables.NAMES[name], label, len(history))
    for label, one in histories.items()
    for name, history in one.items()
]
html_table("Steps of training", ["Network", "Lesson", "Steps"], steps, headers=2)

# %% tags=["nbval-check-output"]
from recon.data.fastmri import read_volume, volume_shape
from recon.networks.channels import parameter_count

for exam in exams:
    arrays = [volume_shape(path)[1] for path in exam.files]
    print(f"exam {exam.label}: {len(arrays)} volumes, {min(arrays)} to {max(arrays)} coils")
for name, network in trained[taught[0]].items():
    print(f"{tables.NAMES[name]}: {parameter_count(network):,} parameters")

# %% [markdown]
# Methods without training have one number to choose, the weight of their prior. It is tuned on
# training slices of the first lesson, as that lesson's networks were. Compressed sensing comes from
# sigpy {cite:p}`ong2019`, and where BART {cite:p}`uecker2015` is installed also from its `pics`,
# which the paper used. The first values of ADMM-Net were set by hand, see [below](measured-runs).

# %%
import pandas as pd

from recon.data.samples import Slices
from recon.learning.transfer import best, tuned, without_training

picks = Slices(train_files(sets[0], size), plan, coils, seed, maps=True)
picks = [picks[i] for i in range(0, len(picks), max(1, len(picks) // 6))][:6]
families = without_training(bart)
errors = tuned(families, picks)
pd.DataFrame(errors).rename(columns=tables.NAMES).T.rename_axis(
    columns="NMSE at a weight of"
).round(4)

# %% [markdown]
# ## The matrix
#
# Every network of every lesson meets every exam, from the very same measurements. Numbers are gains
# over the zero-filled image in PSNR, with 95 % t intervals over volumes (over masks where a
# single scan was measured: such an interval says nothing of other scans, and nothing is tested). All PSNR of this page is over
# the whole image, air included; the chapters on PC-RNN report the body.

# %%
from functools import partial

from recon.learning.contest import reconstruct_with
from recon.learning.training import pick_device
from recon.learning.transfer import examine

where = pick_device(device)
untrained = {"zero_filled": lambda batch: batch.image} | best(families, errors)
if "admm_net" in wanted:  # its CNN draws nothing at first, so its width does not matter
    untrained["admm_start"] = partial(reconstruct_with, ADMMNet().eval().to(where))
# Short trainings of small networks: rows of a task of their own, which test no paper's claim.
constants = {"task": "transfer", "accel": accel}
rows, scores = [], {}
for exam in exams:
    found, scores[exam.label] = examine(
        trained, untrained, exam, plan, coils, seed, str(where), **constants
    )
    rows += found

# %%
from recon.results import transfer

NAMES = {"simulated_brain": "brain", "simulated_knee": "knee", "simulated_leaves": "leaves"}
NAMES |= {
    lesson.label: f"{NAMES[lesson.data]}, no {lesson.without}" for lesson in taught[len(sets) :]
}
caption = f"Gain over zero-filled at {accel:g}x in PSNR (dB), {coils} virtual coils"
transfer.matrix(rows, NAMES, caption, coils=coils)

# %% mystnb={"figure": {"name": "fig-transfer", "caption": "Mean gain over the zero-filled image in PSNR (dB): rows say what a network was trained on, columns what it was tested on. Red is better than zero-filled, blue worse, on one scale."}, "image": {"alt": "One grid of coloured squares for each network, with the gain in dB written in every square."}}
_ = transfer.heat(rows, NAMES, coils)

# %% [markdown]
# Does it matter what a network was trained on? On each exam, every training is held against that on
# the first lesson. The p-values are of Wilcoxon's signed-rank test, one comparison at a time, not
# corrected for their number; on $n$ volumes it cannot give less than $2^{1-n}$, which is 0.031 for six:

# %%
from recon.learning.transfer import UNTRAINED

labels, nets = [lesson.label for lesson in taught], [*trained[taught[0]]]
abroad = [((other, net), (labels[0], net)) for net in nets for other in labels[1:]]
transfer.paired(scores, abroad, NAMES, "PSNR (dB) of other trainings against the first")

# %% [markdown]
# And is it worth training at all? The first lesson's networks against the methods that learn nothing,
# among them ADMM-Net's own start, which is set beside compressed sensing too:

# %%
taught_first = [(labels[0], net) for net in nets]
free = [(UNTRAINED, name) for name in untrained if name != "zero_filled"]
against = [(net, other) for other in free for net in taught_first]
against += [((UNTRAINED, "admm_start"), (UNTRAINED, "cs"))]  # where there is such a start
transfer.paired(scores, against, NAMES, "PSNR (dB) of networks against methods without training")

# %% [markdown]
# ## As many coils as there are
#
# A network that draws coil images is built for one number of coils. One that knows the maps takes any
# number, also one that it has never seen. Compression to a few coils saves memory and throws away
# what the others would have told. How much does each method gain when it may keep them all?

# %%
from recon.learning.contest import WITH_MAPS

knowing = {name: net for name, net in trained[taught[0]].items() if name in WITH_MAPS}
fast = ("zero_filled", "sense", "admm_start")  # all of them in the longer runs
plain = {name: one for name, one in untrained.items() if measured_root or name in fast}
for exam in exams[:1] + [exam for exam in exams if exam.label == "measured"]:
    first = {taught[0]: knowing}
    rows += examine(first, plain, exam, plan, 0, seed, str(where), **constants)[0]
columns = [row for row in rows if row["method"] in {*plain, *knowing}]
columns = [row for row in columns if row["trained_on"] in (UNTRAINED, labels[0])]
transfer.matrix(columns, NAMES, f"PSNR (dB) at {accel:g}x by number of coils", absolute=True)

# %% [markdown]
# ## What it looks like

# %% mystnb={"figure": {"name": "fig-transfer-images", "caption": "A slice of the last exam: reconstructions by the first lesson's networks and by the methods that learn nothing, a zoom (orange square) on the same grey scale, and absolute errors times five on that scale."}, "image": {"alt": "Columns for every method and the target; rows for the image, a zoom and the error map."}}
from recon.learning.metrics import reconstruct
from recon.results import figures

path = exams[-1].files[0]
shown = untrained | {k: partial(reconstruct_with, net) for k, net in trained[taught[0]].items()}
images, target, _ = reconstruct(
    shown, read_volume(path), plan, coils, seed, str(where), maps_of=path
)
middle = len(target) // 2
figure = figures.comparison({tables.NAMES[k]: v[middle] for k, v in images.items()}, target[middle])

# %%
from recon.results import provenance, store

seconds = sum(h[-1]["seconds"] for one in histories.values() for h in one.values())
seconds += time.perf_counter() - started
made = provenance.collect(
    "measured_kspace", parameters=settings, seed=seed, seconds=seconds, device=str(where)
)
run = store.Run("measured_kspace", profile, settings, rows, made)
store.save(run)
_ = store.save_figure(run, "example", figure)

# %% [markdown]
# (measured-runs)=
# ## On measured k-space
#
# The runs below took longer and used a fully sampled pre-scan of a brain, 16 coils, 64 x 64 pixels,
# from the repository pdawood/iterativeRaki at b87e2f5 (MIT licence). Nothing in it was simulated. It
# is one slice: lines are left out of either of its axes, and the intervals speak of masks, not of
# patients. To repeat the runs, take the file `data/preScanRefData.npy` of that repository (one array,
# coils first), import it once for each axis, and pass the folder as `measured_root`:
#
# ```bash
# python -m recon data import preScanRefData.npy FOLDER
# python -m recon data import preScanRefData.npy FOLDER --swap
# ```
#
# No training saw it, and the weights of the methods without training were tuned on simulated slices.
# But ADMM-Net was designed with scores on this slice in sight: among a few first values of its
# threshold and its penalty, ones were kept that did well here as well as on simulated brains, before
# any training. So a lead on this slice, of the network or of its untrained start, would be a finding
# to be confirmed on other scanners, not a test that nobody had looked at. The rates of MoDL and
# ADMM-Net were not searched for.
#
# What the lessons are called: *leaves*: random occluding shapes only, which also make up half of every
# other training set. *no leaves*: anatomy only; *no phase*: a real object, coils keep theirs; *no noise*:
# a receiver without noise; *no array*: the same eight coils around every body; *no detail*: the inner
# half of k-space, pixels twice as large.

# %%
references = store.reference_runs("measured_kspace")
tables.references(references)

# %%
transfer.of_runs(references)

# %% [markdown]
# The figures below are drawn like {numref}`fig-transfer-images`: a slice of the last exam, which is the
# measured one in these runs.

# %%
transfer.pictures(references)

# %% [markdown]
# ## What differs from the papers
#
# - **MoDL** shares one denoiser over all its turns, as the original does; five turns here, ten there,
#   and gradients pass through the iterations of conjugate gradients instead of an implicit solve.
# - **ADMM-Net** has fixed wavelets (undecimated Haar, three scales) with learned thresholds, and a
#   small CNN beside them, where the original learns filters and piecewise linear functions.
# - **Compressed sensing** from sigpy uses decimated wavelets, which can leave blocks; BART shifts them at
#   random in every iteration, and ADMM-Net's are undecimated. Compare their rows before you blame
#   compressed sensing.
# - Networks are small and trained for the few steps printed above; a longer training could change any
#   row.
#
# ## Exercises
#
# 1. Put a file of your own into a folder (`python -m recon data import FILE.npz FOLDER`) and run with
#    `measured_root="FOLDER"`. Which row would you trust, and why?
# 2. `taken_away="phase,noise"`: which network suffers, the one that knows the coils or the other?
# 3. Set the weights of ADMM-Net's CNN to zero after training. What did the thresholds alone learn?
