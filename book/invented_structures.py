# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does it invent anatomy?
#
# The first question of a clinician is not about decibels. It is: *does this network draw what is not
# there, and does it leave out what is?* Scores over whole images can hide either: readers of a public
# contest preferred sharp reconstructions in which a small finding was gone {cite:p}`muckley2021`, tiny
# changes of the input can change structures in the output {cite:p}`antun2020`, and a network that
# matches distributions can add a tumour or take one away {cite:p}`cohen2018`. {cite:t}`chen2022` do not
# test it; {cite:t}`manakov2019` had experts judge likeness, not findings.
#
# This chapter asks it of PC-RNN and the U-Net at several accelerations, beside methods that learn
# nothing, and then of the translator between noisy and less noisy B-scans. Lesions of known place,
# size and strength are put into a body *before* it is scanned, and everything is done twice, with and
# without them.
#
# ```{admonition} The data on this page are simulated
# :class: warning
# They have to be: nobody can scan one patient with and without a lesion and with the same noise.
# Bodies, coils, speckle and lesions are drawn, the networks are small and were trained for minutes.
# What holds here is a warning about a method, not a rate for a clinic.
# ```

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
profile = "quick"  # quick (minutes), standard (larger networks, 4x, 6x and 8x), paper (GPU)
data = "simulated_knee"  # bodies to put lesions into: simulated_knee or simulated_brain
data_root = ""  # not used by simulated sets
accels = "profile"  # accelerations, joined by commas: 4,6,8; profile: what it affords
coils = 4  # virtual coils after compression
mask_type = "random"  # random, equispaced or equispaced_fraction
sizes = "1,3,6"  # diameters of lesions in pixels, 0.5 to 16
contrasts = "0.1,0.3"  # their peaks over the 95th percentile of the body's signal, up to 1
false_rate = 0.01  # share of a body's pixels that sets the detector off on a full scan
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.data.inserted import ANATOMY, COMMON, SITE_DIAMETER
from recon.learning.lesion_settings import listed, numbers
from recon.results import parameters

shared = ("profile", "data_root", "coils", "mask_type", "seed", "device")
rules = {
    **{name: parameters.MRI[name] for name in shared},
    "data": parameters.one_of(*(f"simulated_{anatomy}" for anatomy in ANATOMY)),
    "accels": listed(2, 12, "profile"),
    "sizes": listed(0.5, 16),
    "contrasts": listed(0.001, 1),
    "false_rate": parameters.number(1e-4, 0.2),
}
settings = parameters.check(globals(), rules)

# %% [markdown]
# A profile says how the networks learn, at which accelerations they are read, on how many bodies,
# slices of each, and scans with lesions of each slice, and on how many slices compressed sensing is
# tuned. The quick networks are those of {doc}`comparison`. The longer profile keeps the smaller
# PC-RNN, so that three accelerations can be trained for twelve times as long.

# %%
import time
from dataclasses import dataclass, replace

from IPython.display import Markdown

from recon.learning import contest
from recon.learning.training import Schedule

started = time.perf_counter()


@dataclass(frozen=True)
class Profile:
    """How networks learn; accelerations; bodies, slices of each and draws of lesions; tuning."""

    budget: contest.Budget
    accels: tuple[float, ...]
    bodies: int
    slices: int
    draws: int
    tuning: int
    strengths: tuple[float, ...] = (0.01, 0.03, 0.1)


LONGER = replace(
    contest.BUDGETS["standard"],
    pcrnn="xs",
    bands=Schedule(epochs=4, halve_every=1.5, **contest.BANDS),
    whole=Schedule(epochs=1, halve_every=0.4, **contest.SLICES),
)
PROFILES = {
    "quick": Profile(contest.BUDGETS["quick"], (4, 8), 8, 1, 1, 4),
    "standard": Profile(LONGER, (4, 6, 8), 24, 1, 1, 8),
    "paper": Profile(contest.BUDGETS["paper"], (4, 6, 8), 16, 2, 2, 8),
}
chosen = PROFILES[profile]
rates = chosen.accels if accels == "profile" else numbers(accels)
diameters, strengths = numbers(sizes), numbers(contrasts)

# %% [markdown]
# ## Lesions of known size
#
# A lesion is a disc of diameter $d$ pixels, as sharp as the full scan can show anything and no
# sharper: its spectrum ends inside the acquired k-space, so whatever a reconstruction lacks of it was
# lost to the columns left out. In the knee it stands for marrow oedema, in the brain for a
# white-matter lesion, and lies within that tissue; the signal equations decide whether it is brighter
# or darker. Knees also hold a small cartilage defect and a meniscal tear. The peak is a share of the
# 95th percentile of the body's signal.
#
# The scanner is linear in the body. So a scan with lesions is the scan without, plus what the same
# coils measure of the lesions through the same phase and filter: same body, same noise. Lesions of one
# scan lie in rows of their own. Columns left out mix pixels of a row and of no other, so lesions do
# not alias onto one another. The same body is also scanned once more without lesions and with other
# noise: two full scans differ too, and no reconstruction can be asked for more.

# %%
from recon.data.inserted import inserted_pairs, read_lesions
from recon.data.splits import open_split

anatomy = data.removeprefix("simulated_")
train_files = open_split(data, "multicoil", "train", profile)
pairs = inserted_pairs(
    data, profile, diameters, strengths, chosen.bodies, chosen.draws, chosen.slices, seed
)
placed = [lesion for pair in pairs for path in pair.inserted for lesion in read_lesions(path)]
kinds = sorted({lesion.kind for lesion in placed})
Markdown(
    f"{len(pairs)} bodies with {len(placed)} lesions: "
    + ", ".join(f"{sum(x.kind == k for x in placed)} {k.replace('_', ' ')}" for k in kinds)
)

# %% mystnb={"figure": {"name": "fig-lesions-pairs", "caption": "Two bodies, fully sampled. From left to right: without lesions, with them, the difference times three (white is brighter, black darker than before), and the difference of two scans without lesions, times three."}, "image": {"alt": "Two rows of four pictures: a body, the same body, a grey field with small round spots in different rows, and a grey field of noise."}}
from recon.learning.inserted_study import full_scans
from recon.results import lesion_figures, lesion_tables

_ = lesion_figures.paired_scans([full_scans(pair, chosen.slices) for pair in pairs[:2]])

# %% [markdown]
# ## Reconstructions
#
# Both scans of a pair are undersampled with the same mask and reconstructed by four methods: zero
# filling, compressed sensing with wavelets {cite:p}`lustig2007` at a strength tuned on training slices,
# the U-Net {cite:p}`zbontar2018` and PC-RNN {cite:p}`chen2022`, each network trained at the
# acceleration at which it is read.

# %%
from functools import partial

from recon.classical import compressed_sensing as cs
from recon.data.measurement import Sampling
from recon.data.samples import Slices
from recon.learning.inserted_study import examine
from recon.learning.training import pick_device
from recon.physics.sampling import standard_center_fraction

where = str(pick_device(device))
widest = max(*diameters, SITE_DIAMETER)
exams, trained = [], 0.0
training = {"profile": profile, "data": data, "task": "multicoil", "center_fraction": 0.0}
training |= {"mask_type": mask_type, "coils": coils, "seed": seed, "device": device}
for rate in rates:
    rate = int(rate) if rate == int(rate) else rate  # as the other chapters name it
    plan = Sampling(rate, standard_center_fraction(rate), mask_type)
    before = time.perf_counter()
    networks, histories = contest.train_alike(
        ["unet", "pcrnn"], train_files, plan, coils, chosen.budget, {**training, "accel": rate}
    )
    started += time.perf_counter() - before  # training, also by an earlier run, counts in full
    trained += sum(history[-1]["seconds"] for history in histories.values())
    tuning = Slices(train_files, plan, coils, seed, maps=True)
    sensed, tried = cs.tuned(tuning, chosen.tuning, chosen.strengths)
    methods = {"zero_filled": lambda batch: batch.image, "cs": sensed}
    methods |= {name: partial(contest.reconstruct_with, net) for name, net in networks.items()}
    exams += examine(pairs, methods, plan, coils, seed, where, chosen.slices, widest)
names = lesion_tables.names_of(methods)

# %% mystnb={"figure": {"name": "fig-lesions-methods", "caption": "One lesion at the lowest acceleration: the picture with its lesions, a zoom (orange square) without and with the lesion, the response (with minus without, times two) and the error of the picture with the lesion (times two). White is positive, black negative."}, "image": {"alt": "Columns for zero-filled, compressed sensing, U-Net, PC-RNN and the full scan; five rows from the whole picture to the error map. The spot in the response is darkest in the last column and fainter and streaked from left to right in the others."}}
middle = diameters[len(diameters) // 2]
exam, lesion = next(
    (e, x)
    for e in exams
    for x in e.lesions
    if x.diameter == middle and abs(x.contrast) == strengths[-1]
)
columns = {**names, "full": "Fully sampled"}
seen = {title: (exam.without[m], exam.with_lesions[m]) for m, title in columns.items()}
spot = (lesion.row, lesion.column)
lesion_figure = lesion_figures.one_lesion(seen, spot, gain=2, reference="Fully sampled")

# %% [markdown]
# ## What is kept of a lesion
#
# Let $r = \hat x_1 - \hat x_0$ be the *response*: the reconstruction of the scan with the lesion minus
# that of the scan without. Fully sampled it is $t$. The *recovered contrast* is the factor that fits
# best over the support of the lesion,
#
# $$ a = \frac{\langle r, t \rangle}{\langle t, t \rangle}, $$ (eq-recovery)
#
# 1 for all of it, 0 for none, negative if dark became bright.

# %%
from recon.learning import exams as reading
from recon.learning import false_structures, lesion_rows
from recon.learning.inserted_study import detectors_for, plain_scans

FLOOR = 0.02  # differences below 2 % of the signal are taken to be invisible
plain = plain_scans(train_files, anatomy)
bodies = [false_structures.body_of(image, 1.0, widest) for image in plain]
detectors = detectors_for(plain, bodies, {*diameters, SITE_DIAMETER}, false_rate, FLOOR)
lesions = reading.measure_lesions(exams, detectors)
common = [COMMON[anatomy]]
constants = {"data": data, "task": "multicoil", "trained_on": data}
rows = lesion_rows.lesion_rows(lesions, common, ("full", "cs"), "full", constants)

# %% mystnb={"figure": {"name": "fig-lesions-recovery", "caption": "Recovered contrast against the diameter of the lesion; solid lines and 95 % intervals over volumes for the strongest lesions, dashed lines for the weakest."}, "image": {"alt": "One panel for each acceleration with a line for each method; all lines rise with the diameter and are lower at the higher acceleration."}}
_ = lesion_figures.by_size(rows, "recovery", names)

# %%
caption = "Recovered contrast by diameter and strength, mean over volumes and 95 % interval"
lesion_tables.of_metric(rows, "recovery", names, caption)

# %% [markdown]
# ## What can be decided from it
#
# Contrast alone says little: noise that is amplified along with a lesion hides it again. Image quality
# for a task is how well the task can be done {cite:p}`barrett2004`. The task here is to say whether a
# lesion is there, given its place, size and sign. The best linear reader of Gaussian channels $v$ with
# covariance $K$ and mean signal $\Delta v$ is Hotelling's,
#
# $$ \lambda = w^T v, \qquad w = K^{-1} \Delta v, \qquad
# d' = \frac{\bar\lambda_1 - \bar\lambda_0}{\sigma_\lambda}, $$ (eq-hotelling)
#
# here on five Laguerre-Gauss channels, the smoothest round patterns of the lesion's width
# {cite:p}`gallas2003`. It learns $K$ and $\Delta v$ for each method anew, on all bodies but the one
# that it reads, so it forgives a blur or a loss of contrast that is the same everywhere. The area
# under its ROC curve (AUC) is how often it prefers a place with a lesion to one without: 0.5 is
# chance, 1 is always. Intervals resample volumes.

# %%
observed = reading.observe(exams, common)
rows += lesion_rows.auc_rows(observed, constants)
every = {"full": "Fully sampled", **names}
lesion_tables.of_metric(rows, "auc", every, "AUC of the observer by diameter and strength")

# %% mystnb={"figure": {"name": "fig-lesions-auc", "caption": "AUC of the observer against the diameter of the lesion; solid lines with 95 % intervals for the strongest lesions, dashed lines for the weakest. 0.5 is chance."}, "image": {"alt": "One panel for each acceleration with a line for each method between 0.5 and 1; the line of the full scan lies on top."}}
_ = lesion_figures.by_size(rows, "auc", every)

# %% [markdown]
# ## What is missed, and what is invented
#
# A reader does not know where to look. So a second reader looks everywhere: a matched filter for round
# spots of one diameter, over the fluctuation of the surround,
#
# $$ z = \frac{\langle w, \hat x \rangle}{\|w\| \sqrt{s^2 + s_0^2}}, $$ (eq-conspicuity)
#
# with $w$ the lesion's profile less its mean, $s$ the standard deviation of a ring around it and
# $s_0$ a least fluctuation, 2 % of the signal, so that a method gains nothing by making the
# surround smoother than anyone can see. Its threshold is set before, on fully sampled bodies of the
# training set, so that `false_rate` of their pixels exceed it. On white noise, without $s_0$, theory
# says how many pixels exceed any threshold; the code has to agree:

# %% tags=["nbval-check-output"]
import numpy as np

noise = np.random.default_rng(0).standard_normal((400, 400))
for diameter in (1, 3, 6):
    z = np.abs(false_structures.conspicuity(noise, diameter))[20:-20, 20:-20]
    share = (z >= false_structures.white_threshold(diameter, 0.01)).mean()
    print(f"diameter {diameter}: asked for 1 %, found {share:.1%}")

# %% [markdown]
# A lesion is *missed* if it does not set the detector off; it is *lost* if it did so in the full scan.
# A spot in a body without lesions is *invented* if the full scan has nothing half as conspicuous there,
# and *removed* the other way round. "Yes" below means that the 95 % interval of the paired difference
# between a method and what it is compared with lies above zero, "no" that it ends at zero or below,
# "not shown" that it holds zero.

# %%
spots = reading.count_spots(exams, {d: detectors[d] for d in diameters})
rows += lesion_rows.spot_rows(spots, ("repeat", "cs"), constants)
asked = {
    "Misses more than the full scan?": ("missed", "full", {"diameter": 0.0}),
    "than CS?": ("missed", "cs", {"diameter": 0.0}),
    "Invents more than a second scan?": ("new_spots", "repeat", {"diameter": middle}),
    "more than CS?": ("new_spots", "cs", {"diameter": middle}),
}
answers = lesion_rows.answers(rows, asked)
shown = {
    "Missed": {"metric": "missed", "region": "lesion", "diameter": 0.0},
    "Lost": {"metric": "lost", "region": "lesion", "diameter": 0.0},
    "Invented a picture": {"metric": "new_spots", "diameter": middle},
    "Removed a picture": {"metric": "lost_spots", "diameter": middle},
}
title = f"Shares of lesions missed and lost; spots of {middle:g} pixels in bodies without lesions"
beside = {**lesion_tables.names_of(["full", "repeat"]), **names}
lesion_tables.outcome(rows, beside, shown, answers, title)

# %% mystnb={"figure": {"name": "fig-lesions-spots", "caption": "A body without lesions at the highest acceleration: spots that a method invented (orange, solid) and removed (blue, dashed), as the detector counts them."}, "image": {"alt": "Six pictures of the same body: the full scan, a second full scan, and four reconstructions with circles around invented and removed spots."}}
exam = next(e for e in exams if e.accel == max(rates) and e.first)
detector, region = detectors[middle], exam.regions["body"]
maps = {m: false_structures.conspicuity(x, middle, FLOOR) for m, x in exam.without.items()}
circles = {
    title: tuple(
        false_structures.unmatched(maps[a], maps[b], detector, region)
        for a, b in ((m, "full"), ("full", m))
    )
    for m, title in beside.items()
    if m != "full"
}
pictures = {title: exam.without[m] for m, title in beside.items()}
spots_figure = lesion_figures.marked(pictures, circles, 4)

# %% [markdown]
# In words, for each acceleration and each method that was trained:

# %%
sentences = lesion_tables.sentences(rows, {m: names[m] for m in networks}, answers, middle)
Markdown(sentences)
