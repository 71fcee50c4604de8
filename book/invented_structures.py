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
# The first question of a clinician is not about decibels. It is: *does this network draw what is
# not there, and does it leave out what is?* Scores over whole images can hide either. Readers of
# the fastMRI contest of 2020 marked structures in well-scored reconstructions that look like
# anatomy and are none {cite:p}`muckley2021`; tiny changes of the input can change or remove
# structures in the output {cite:p}`antun2020`; and a network that matches distributions can add a
# tumour or take one away {cite:p}`cohen2018`. {cite:t}`chen2022` do not test it;
# {cite:t}`manakov2019` had experts judge likeness, not findings.
#
# This chapter asks it of PC-RNN and the U-Net at several accelerations, beside methods that learn
# nothing, and then of the translator between noisy and less noisy B-scans. Lesions of known
# place, size and strength are put into a body *before* it is scanned, and everything is done
# twice, with and without them.
#
# ```{admonition} The data on this page are simulated
# :class: warning
# They have to be: nobody can scan one patient with and without a lesion and with the same noise.
# Bodies, coils, speckle and lesions are drawn, the networks are small and were trained shortly.
# What holds here is a warning about a method, not a rate for a clinic.
# ```

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
profile = "quick"  # quick (minutes), standard (larger networks, 4x, 6x and 8x), paper (GPU)
data = "simulated_knee"  # scans to put lesions into: a multi-coil name in data_manifests/
data_root = ""  # folder of the data set, where it is not simulated
accels = "profile"  # accelerations, joined by commas: 4,6,8; profile: what it affords
coils = 4  # virtual coils after compression
mask_type = "random"  # random, equispaced or equispaced_fraction
sizes = "1,3,6"  # diameters of lesions in pixels, 0.5 to 16
contrasts = "0.1,0.3"  # their peaks over the 95th percentile of the body's signal, up to 1
retinas = "simulated_retina"  # eyes to put lesions into: a simulated set
greys = "0.1,0.2"  # peaks of lesions in an eye, in grey values of the display, up to 1
false_rate = 0.01  # share of a body's pixels that sets the detector off on a full scan
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.learning.lesion_settings import listed, numbers
from recon.results import parameters

shared = ("profile", "data", "data_root", "coils", "mask_type", "seed", "device")
rules = {
    **{name: parameters.MRI[name] for name in shared},
    "accels": listed(2, 12, "profile"),
    "sizes": listed(0.5, 16),
    "contrasts": listed(0.001, 1),
    "retinas": parameters.one_of("simulated_retina", "simulated_retina_devices"),
    "greys": listed(0.001, 1),
    "false_rate": parameters.number(1e-4, 0.2),
}
settings = parameters.check(globals(), rules)

# %% [markdown]
# A profile says how the networks learn, at which accelerations they are read, on how many bodies,
# slices of each, and scans with lesions of each slice, and on how many slices compressed sensing
# is tuned. The quick networks are those of {doc}`comparison`. The longer profile keeps the
# smaller PC-RNN, so that it can be trained for longer at three accelerations.

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
    strengths: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)


LONGER = replace(
    contest.BUDGETS["standard"],
    pcrnn="xs",
    bands=Schedule(epochs=2.5, halve_every=1, **contest.BANDS),
    whole=Schedule(epochs=0.625, halve_every=0.25, **contest.SLICES),
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
# sharper: its spectrum ends inside the acquired k-space, so whatever a reconstruction lacks of it
# was lost to the columns left out. In the knee it stands for marrow oedema, in the brain for a
# white-matter lesion, and lies within that tissue; the signal equations decide whether it is
# brighter or darker. Knees also hold a small cartilage defect or a meniscal tear. The peak is a
# share of the 95th percentile of the body's signal.
#
# The scanner is linear in the body. So a scan with lesions is the scan without, plus what the
# same coils measure of the lesions through the same phase and filter: same body, same noise.
# Lesions of one scan lie in rows of their own. Columns left out mix pixels of a row and of no
# other, so lesions do not alias onto one another. The same body is also scanned once more without
# lesions and with other noise: two full scans differ too, and no reconstruction can be asked for
# more.
#
# Into scans that were measured (`data_root`), lesions can only be put afterwards: through maps
# and a phase that are estimated from the scan, in places that are bright and even, and without a
# second scan.

# %%
from recon.data.inserted import COMMON, SITE_DIAMETER, inserted_pairs, read_lesions
from recon.data.inserted_measured import KIND, inserted_into
from recon.data.splits import open_split

train_files = open_split(data, "multicoil", "train", profile, data_root)
anatomy = data.removeprefix("simulated_")
common = [COMMON.get(anatomy, KIND)]
wanted = {"draws": chosen.draws, "slices": chosen.slices, "seed": seed}
if data.startswith("simulated_"):
    pairs = inserted_pairs(data, profile, diameters, strengths, chosen.bodies, **wanted)
else:
    test_files = open_split(data, "multicoil", "val", profile, data_root)[: chosen.bodies]
    pairs = inserted_into(test_files, diameters, strengths, **wanted)
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
# filling, compressed sensing with wavelets {cite:p}`lustig2007` at a strength tuned on training
# slices by their error (the table below has all that were tried), the U-Net {cite:p}`zbontar2018` and
# PC-RNN {cite:p}`chen2022`, each network trained at the acceleration at which it is read.

# %%
from functools import partial

from recon.data.measurement import Sampling
from recon.data.samples import Slices
from recon.learning.inserted_study import examine, tune_sensing
from recon.learning.training import pick_device
from recon.physics.sampling import standard_center_fraction

where = str(pick_device(device))
widest = max(*diameters, SITE_DIAMETER)
exams, tried, trained = [], {}, 0.0
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
    sensed, tried[rate] = tune_sensing(tuning, chosen.tuning, chosen.strengths)
    methods = {"zero_filled": lambda batch: batch.image, "cs": sensed}
    methods |= {name: partial(contest.reconstruct_with, net) for name, net in networks.items()}
    exams += examine(pairs, methods, plan, coils, seed, where, chosen.slices, widest)
names = lesion_tables.names_of(methods)
lesion_tables.tuning(
    tried, f"NMSE of compressed sensing by strength, {chosen.tuning} training slices"
)

# %% mystnb={"figure": {"name": "fig-lesions-methods", "caption": "One lesion at the lowest acceleration: the picture with its lesions, a zoom (orange square) without and with the lesion, the response (with minus without, times two) and the error of the picture with the lesion (times two). White is positive, black negative."}, "image": {"alt": "Columns for zero-filled, compressed sensing, U-Net, PC-RNN and the full scan; five rows from the whole picture to the error map."}}
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
# Let $r = \hat x_1 - \hat x_0$ be the *response*: the reconstruction of the scan with the lesion
# minus that of the scan without. Fully sampled it is $t$. The *recovered contrast* is the factor
# that fits best over the support of the lesion,
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
constants = {"data": data, "task": "multicoil", "trained_on": data}
rows = lesion_rows.lesion_rows(lesions, common, ("full", "zero_filled", "cs"), "full", constants)

# %% mystnb={"figure": {"name": "fig-lesions-recovery", "caption": "Recovered contrast against the diameter of the lesion; solid lines and 95 % intervals over volumes for the strongest lesions, dashed lines for the weakest."}, "image": {"alt": "One panel for each acceleration, with a line for each method over the diameters of the lesions."}}
_ = lesion_figures.by_size(rows, "recovery", names)

# %%
caption = "Recovered contrast by diameter and strength, mean over volumes and 95 % interval"
lesion_tables.of_metric(rows, "recovery", names, caption)

# %% [markdown]
# Contrast alone says little: noise that is amplified along with a lesion hides it again. The
# usual answer is the *contrast-to-noise ratio*, with means $\mu$ over the core of the lesion and
# over a ring around it, and the standard deviation of the ring,
#
# $$ \text{CNR} = \pm \frac{\mu_\text{core} - \mu_\text{ring}}{\sigma_\text{ring}}, $$ (eq-lesion-cnr)
#
# positive where the lesion stands out the way it should. A place has a CNR without a lesion too;
# the table shows what the lesion adds to it.

# %%
every = {"full": "Fully sampled", **names}
caption = "CNR that a lesion adds, by diameter and strength"
lesion_tables.of_metric(rows, "cnr_gain", every, caption)

# %% [markdown]
# ## What can be decided from it
#
# CNR still rewards whoever smooths the ring. Image quality for a task is how well the task can be
# done {cite:p}`barrett2004`. The task here is to say whether a lesion is there, given its place,
# size and sign. The best linear reader of Gaussian channels $v$ with covariance $K$ and mean
# signal $\Delta v$ is Hotelling's,
#
# $$ \lambda = w^T v, \qquad w = K^{-1} \Delta v, \qquad
# d' = \frac{\bar\lambda_1 - \bar\lambda_0}{\sigma_\lambda}, $$ (eq-hotelling)
#
# here on five Laguerre-Gauss channels, the smoothest round patterns of the lesion's width
# {cite:p}`gallas2003`. It learns $K$ and $\Delta v$ for each method anew, on all bodies but the
# one that it reads, so it forgives a blur or a loss of contrast that is the same everywhere. The
# area under its ROC curve (AUC) is how often it prefers a place with a lesion to one without: 0.5
# is chance, 1 is always, and below chance what was learnt on the other bodies misleads. Intervals
# come from leaving out one volume at a time (jackknife).

# %%
observed = reading.observe(exams, common)
rows += lesion_rows.auc_rows(observed, constants)
lesion_tables.of_metric(rows, "auc", every, "AUC of the observer by diameter and strength")

# %% mystnb={"figure": {"name": "fig-lesions-auc", "caption": "AUC of the observer against the diameter of the lesion; solid lines with 95 % intervals for the strongest lesions, dashed lines for the weakest. 0.5 is chance."}, "image": {"alt": "One panel for each acceleration, with a line for each method and one for the full scan."}}
_ = lesion_figures.by_size(rows, "auc", {**names, "full": "Fully sampled"})

# %% [markdown]
# ## What is missed, and what is invented
#
# A reader does not know where to look. So a second reader looks everywhere: a matched filter for
# round spots of one diameter, over the fluctuation of the surround,
#
# $$ z = \frac{\langle w, \hat x \rangle}{\|w\| \sqrt{s^2 + s_0^2}}, $$ (eq-conspicuity)
#
# with $w$ the lesion's profile less its mean, $s$ the standard deviation of a ring around it and
# $s_0$ a least fluctuation, 2 % of the signal, so that a method gains nothing by making the surround
# smoother than anyone can see. Its threshold is set before, so that `false_rate` of the pixels exceed
# it on images that count as showing what there is: fully sampled bodies of the training set, and for
# eyes, further below, averages of 60 frames of the validation set. On white noise, without $s_0$,
# theory says how many pixels exceed any threshold; the code has to agree:

# %% tags=["nbval-check-output"]
import numpy as np

noise = np.random.default_rng(0).standard_normal((400, 400))
for diameter in (1, 3, 6):
    z = np.abs(false_structures.conspicuity(noise, diameter))[20:-20, 20:-20]
    share = (z >= false_structures.white_threshold(diameter, 0.01)).mean()
    print(f"diameter {diameter}: asked for 1 %, found {share:.1%}")

# %% [markdown]
# A lesion is *missed* if it does not set the detector off; it is *lost* if it did so in the full
# scan. *Alarms* are its places that set the detector off without it. A spot in a body without
# lesions is *invented* if the full scan has nothing half as conspicuous there, and *removed* the
# other way round. "Yes" below means that the 95 % interval of the paired difference between a
# method and what it is compared with lies above zero, "no" that it ends at zero or below, "not
# shown" that it holds zero.

# %%
spots = reading.count_spots(exams, {d: detectors[d] for d in diameters})
rows += lesion_rows.spot_rows(spots, ("repeat", "zero_filled", "cs"), constants)
asked = {
    "Misses more than the full scan?": ("missed", "full", {"diameter": 0.0}),
    "than zero-filled?": ("missed", "zero_filled", {"diameter": 0.0}),
    "Invents more than a second scan?": ("new_spots", "repeat", {"diameter": middle}),
    "more than zero-filled?": ("new_spots", "zero_filled", {"diameter": middle}),
}
answers = lesion_rows.answers(rows, asked)
shown = {
    "Missed": {"metric": "missed", "region": "lesion", "diameter": 0.0},
    "Lost": {"metric": "lost", "region": "lesion", "diameter": 0.0},
    "Alarms": {"metric": "alarm", "region": "lesion", "diameter": 0.0},
    "Invented a picture": {"metric": "new_spots", "diameter": middle},
    "Removed a picture": {"metric": "lost_spots", "diameter": middle},
}
title = f"Shares of lesions missed and lost; spots of {middle:g} pixels in bodies without lesions"
beside = {**lesion_tables.names_of(["full", "repeat"]), **names}
lesion_tables.outcome(rows, beside, shown, answers, title)

# %% [markdown]
# Thin tissue beside bright fluid is harder: the ring around a lesion then holds other tissues,
# and fluctuates. What becomes of the small lesions of the joint, where the body has one? Read the
# full scan first; where the detector misses a lesion there, no reconstruction is to blame.

# %%
sites = sorted({x.kind for x in placed} - {*common})
at_sites = {
    f"{kind.replace('_', ' ').capitalize()}, {word}": {"metric": metric, "region": kind}
    for kind in sites
    for word, metric in (("recovered", "recovery"), ("missed", "missed"))
}
caption = f"Small lesions of {SITE_DIAMETER:g} pixels in thin tissue" if sites else "None here"
lesion_tables.outcome(rows, every, at_sites, {}, caption)

# %% mystnb={"figure": {"name": "fig-lesions-spots", "caption": "A body without lesions at the highest acceleration: spots that a method invented (orange, solid) and removed (blue, dashed), as the detector counts them."}, "image": {"alt": "Six pictures of the same body: the full scan, a second full scan, and four reconstructions with circles around invented and removed spots."}}
exam = next(e for e in exams if e.accel == max(rates) and e.first)
detector, region = detectors[middle], exam.regions["body"]
pictures = {title: exam.without[m] for m, title in beside.items() if m in exam.without}
judged = {title: x for title, x in pictures.items() if title != beside["full"]}
circles = false_structures.invented_and_removed(judged, exam.without["full"], detector, region)
spots_figure = lesion_figures.marked(pictures, circles, 4)

# %% [markdown]
# In words, for each acceleration and each method that was trained:

# %%
sentences = lesion_tables.sentences(rows, {m: names[m] for m in networks}, answers, middle)
Markdown(sentences)

# %% [markdown]
# ## The same question of the denoisers
#
# An unpaired translator such as HDcycleGAN ({doc}`hdcyclegan`) never sees the clean partner of an
# image. It is rewarded for images that look like those of the other domain, and for a way back;
# neither says that a cyst has to stay where it is {cite:p}`cohen2018`. Lesions now go into the
# reflectivity of an eye, before there is any speckle: cysts (dark) and hyperreflective foci
# (bright) in the outer half of the retina, and a druse near the pigment epithelium. Their
# strength is in grey values of the display. Both B-scans of a pair have the same speckle, for the
# same scatterers are drawn.

# %%
from recon.data.inserted_oct import COMMON as IN_EYES
from recon.data.inserted_oct import SITE_DIAMETER as DRUSE
from recon.data.inserted_oct import inserted_bscans
from recon.learning.translator_settings import TRANSLATORS


@dataclass(frozen=True)
class EyeProfile:
    """Eyes, and B-scans with lesions of each."""

    eyes: int
    draws: int


EYES = {"quick": EyeProfile(8, 1), "standard": EyeProfile(40, 1), "paper": EyeProfile(48, 2)}
look, translators, shades = EYES[profile], TRANSLATORS[profile], numbers(greys)
request = (retinas, profile, "test", diameters, shades, look.eyes, look.draws, seed)
scenes = inserted_bscans(*request)
count = sum(len(scene.lesions) for scene in scenes)
Markdown(f"{len(scenes)} B-scans with {count} lesions.")

# %% [markdown]
# The denoisers that do not learn are tuned on eyes of the validation set by their PSNR, and the
# translators are those of {doc}`hdcyclegan`, from the same code and, where that chapter has run,
# the same training: as published, normalised over both domains instead of each image, and as a
# control the *copier*, the published network when it has learnt little more than to return its
# input.

# %%
from recon.classical.denoisers import GRID, available
from recon.data.oct import open_oct
from recon.learning.denoising import each, open_volumes, tune_on

tuning_eyes = open_volumes(open_oct(retinas, "val", profile, seed=seed))
denoisers = {}
for name, denoiser in available().items():
    best, _ = tune_on(denoiser, tuning_eyes, GRID[name])
    denoisers[name] = each(denoiser, best)

# %%
from recon.data.oct import read_bscans
from recon.learning.denoising import flipped, relative_gain
from recon.learning.translation import denoise
from recon.learning.translator import train_translator


def gain(model):
    """What decides which checkpoint is kept, on eyes of the validation set."""
    return relative_gain(lambda images: denoise(model, images), tuning_eyes)


domains = open_oct(retinas, "train", profile, seed=seed)
high, low = (
    flipped([b for path in paths for b in read_bscans(path)])
    for paths in (domains.high, domains.low)
)
copying = replace(translators.schedule, pretrain=translators.copying)
theirs = {"classify": translators.classify}
lessons = {"hdcyclegan": (copying, {**theirs, "check": gain})}
lessons["domain"] = (translators.schedule, {**theirs, "domain": True, "check": gain})
if translators.copying:
    lessons["copier"] = (replace(copying, steps=1), theirs)
before, files = time.perf_counter(), [*domains.high, *domains.low]
about = {"data": retinas, "device": device, "seed": seed}
for name, (schedule, extra) in lessons.items():
    model, history, _ = train_translator(
        translators.sizes, high, low, schedule, about, files, label=name, **extra
    )
    denoisers[name] = partial(denoise, model)
    trained += history[-1]["seconds"]
started += time.perf_counter() - before

# %%
from recon.learning.inserted_study import examine_bscans

WORDS = {"median": "Median", "wavelet": "Wavelet", "bilateral": "Bilateral", "nl_means": "NL means"}
WORDS |= {"bm3d": "BM3D", "hdcyclegan": "HDcycleGAN", "domain": "Domain norm", "copier": "Copier"}
views = examine_bscans(scenes, denoisers)
tests = inserted_bscans(retinas, profile, "val", diameters, shades, look.eyes, 1, seed)
calm = [scene.without["average"] for scene in tests]
inside = [scene.regions["retina"] for scene in tests]
eye_detectors = detectors_for(calm, inside, {*diameters, DRUSE}, false_rate, FLOOR)
seen_by = lesion_tables.names_of(["raw", *denoisers, "average"], WORDS)

# %% mystnb={"figure": {"name": "fig-lesions-oct", "caption": "One lesion in an eye: the B-scan with its lesions, a zoom (orange square) without and with the lesion, the response (with minus without, times two) and the error against the B-scan without speckle (times two)."}, "image": {"alt": "A column for the raw B-scan, four denoisers, the average of many frames and the truth; five rows from the whole B-scan to the error map."}}
view, lesion = next(
    (e, x)
    for e in views
    for x in e.lesions
    if x.diameter == diameters[-1] and abs(x.contrast) == shades[-1]
)
wanted = ("raw", "wavelet", "nl_means", "hdcyclegan", "domain", "average")
columns = {**{m: seen_by[m] for m in wanted}, "full": "Truth"}
pictures = {title: (view.without[m], view.with_lesions[m]) for m, title in columns.items()}
spot = (lesion.row, lesion.column)
eye_figure = lesion_figures.one_lesion(pictures, spot, gain=2, reference="Truth")

# %%
in_eyes = reading.measure_lesions(views, eye_detectors)
about = {"data": retinas, "task": "denoising", "trained_on": retinas}
eye_rows = lesion_rows.lesion_rows(in_eyes, IN_EYES, ("raw", "average"), "raw", about)
eye_rows += lesion_rows.auc_rows(reading.observe(views, IN_EYES), about)
caption = "Recovered contrast of lesions in eyes, by diameter and strength"
lesion_tables.of_metric(eye_rows, "recovery", seen_by, caption)

# %% [markdown]
# And the druse, as the small lesions of the joint above: one place of one size, near the bright
# pigment epithelium.

# %%
readers = {**seen_by, "full": "Truth"}
at_druse = {
    f"{kind.replace('_', ' ').capitalize()}, {word}": {"metric": metric, "region": kind}
    for kind in sorted({x.kind for scene in scenes for x in scene.lesions} - {*IN_EYES})
    for word, metric in (("recovered", "recovery"), ("missed", "missed"))
}
caption = f"Small lesions of {DRUSE:g} pixels in eyes" if at_druse else "None here"
lesion_tables.outcome(eye_rows, readers, at_druse, {}, caption)

# %%
caption = "CNR that a lesion adds in eyes, by diameter and strength"
lesion_tables.of_metric(eye_rows, "cnr_gain", readers, caption)

# %%
caption = "AUC of the observer for lesions in eyes, by diameter and strength"
lesion_tables.of_metric(eye_rows, "auc", readers, caption)

# %% [markdown]
# Spots are counted in three regions: the plain *vitreous*, where there is nothing to be seen; the
# *outer nuclear layer*, which is even; and the whole *retina*. Invented is what the B-scan
# without speckle has not. Speckle itself makes spots, so a denoiser is held against what it was
# given (raw) and against the average of many frames, and the smallest spots are counted. *Lost*
# counts lesions that the detector found in the raw B-scan. The average of many frames is an
# acquisition of its own: what it lost was lost to another draw of the speckle alone.

# %%
eye_spots = reading.count_spots(views, {d: eye_detectors[d] for d in diameters})
eye_rows += lesion_rows.spot_rows(eye_spots, ("raw", "average"), about)
finest = diameters[0]
where_in_eyes = {"diameter": finest, "region": "retina"}
asked = {
    "Misses more than raw?": ("missed", "raw", {"diameter": 0.0}),
    "Invents more than raw?": ("new_spots", "raw", where_in_eyes),
    "more than many frames?": ("new_spots", "average", where_in_eyes),
}
eye_answers = lesion_rows.answers(eye_rows, asked)
shown = {
    "Missed": {"metric": "missed", "region": "lesion", "diameter": 0.0},
    "Lost": {"metric": "lost", "region": "lesion", "diameter": 0.0},
    "Alarms": {"metric": "alarm", "region": "lesion", "diameter": 0.0},
}
shown |= {
    f"Invented, {region}": {"metric": "new_spots", "diameter": finest, "region": region}
    for region in ("vitreous", "outer nuclear layer", "retina")
}
title = f"Shares of lesions missed and lost; invented spots of {finest:g} pixels a B-scan"
lesion_tables.outcome(eye_rows, readers, shown, eye_answers, title)

# %% mystnb={"figure": {"name": "fig-lesions-oct-spots", "caption": "An eye without lesions: spots in the retina that were invented (orange, solid) and removed (blue, dashed) against the B-scan without speckle."}, "image": {"alt": "B-scans of the same eye, raw, denoised and averaged, with circles around invented and removed spots."}}
view = next(e for e in views if e.first)
detector, region = eye_detectors[finest], view.regions["retina"]
pictures = {title: view.without[m] for m, title in seen_by.items() if m in wanted}
circles = false_structures.invented_and_removed(pictures, view.without["full"], detector, region)
_ = lesion_figures.marked(pictures, circles, 4)

# %%
learnt = {m: seen_by[m] for m in lessons}
Markdown(lesion_tables.sentences(eye_rows, learnt, eye_answers, finest, "retina"))

# %% [markdown]
# ## What this run says
#
# No claim of a paper is tested here, so nothing of this page is on the {doc}`scoreboard`. The
# rows behind its tables are stored with the run, the paired differences and their Wilcoxon tests
# among them. Which method missed and which invented least and most, by the means? Differences between
# these were not tested here, and methods that share a place are all named.

# %%
from recon.results import provenance, store, tables

seconds = trained + time.perf_counter() - started
made = provenance.collect(
    "invented_structures", parameters=settings, seed=seed, seconds=seconds, device=where
)
run = store.Run("invented_structures", profile, settings, [*rows, *eye_rows], made)
store.save(run)
for label, figure in {"lesion": lesion_figure, "spots": spots_figure, "eye": eye_figure}.items():
    store.save_figure(run, label, figure)
told = [(rows, names, middle), (eye_rows, seen_by, finest)]
Markdown("\n".join(lesion_tables.summary(*part) for part in told))

# %% [markdown]
# ## Reference runs
#
# Made once and stored with the commit that made them, where there are any: longer trainings on more
# bodies.

# %%
references = store.reference_runs("invented_structures")
tables.references(references)

# %%
from recon.results.repeats import further

told = []
for one in further(run, references):
    known = lesion_tables.names_of(dict.fromkeys(row["method"] for row in one.rows), WORDS)
    read = numbers(one.parameters["sizes"])
    for field, size in (("data", read[len(read) // 2]), ("retinas", read[0])):
        own = [row for row in one.rows if row["data"] == one.parameters[field]]
        told.append(lesion_tables.summary(own, known, size))
Markdown("\n".join(told) or "None is stored yet.")

# %% [markdown]
# ## What it does not show
#
# - **No rate for a clinic.** Networks that trained so shortly on simulated bodies stand for a way to
#   ask, not for a product. The same reader works on networks that were trained for longer (`profile`)
#   and on measured scans (`data_root`).
# - **Round spots only.** Lesions have shapes, margins and company; the observer knows a disc. A
#   network may treat a torn ligament otherwise.
# - **Two readers that are no radiologists.** The observer forgives whatever is the same everywhere; the
#   detector knows no anatomy and counts a sharper edge of a vessel as invented if the full scan does not
#   show it half as clearly.
# - **Mean behaviour, no worst case.** {cite:t}`antun2020` search for the smallest change of the
#   measurement that does most harm. Here nobody searches: lesions are drawn at random.
# - **Not where a false structure comes from.** {cite:t}`bhadra2021` split an error into what contradicts
#   the measurement and what the measurement cannot decide, and call a structure of the second part
#   hallucinated. Hard data consistency leaves PC-RNN the second part only; it says nothing about how
#   much of it there is.
#
# ## Exercises
#
# 1. Run the chapter with `data="simulated_brain"`. In which contrast are lesions lost first?
# 2. Set `mask_type="equispaced"`. What do the invented spots look like when aliasing is regular, and
#    how far from the anatomy do they lie?
# 3. The observer learns its template for each method anew. Give it the template of the full scan
#    instead (`detectability.leave_one_out`) and compare. Which method gains from a reader that adapts?
# 4. Halve `false_rate`. Which column of the tables changes more, what is missed or what is invented?
