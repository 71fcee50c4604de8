# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Many coils into few
#
# A head coil has 20 receivers, another 8, and a network takes one number of channels. PC-RNN
# {cite:p}`chen2022` therefore *compresses* whatever array there was into a few *virtual* coils
# {cite:p}`zhang2013`, and it never asks where the coils were. This chapter measures what that costs
# and what it brings: image quality (the paper's tables III and IV), memory and time (table IV), how
# alike virtual coils of different arrays are (figure 5), and whether compressing is cheaper than
# mapping the coils (section VI). Masks, data consistency and the network itself are explained in
# {doc}`pcrnn`.
#
# ```{admonition} The data on this page are simulated
# :class: warning
# fastMRI's files may not be passed on, so the page you read was made from simulated brains and knees
# behind simulated arrays of 2 to 28 coils, the range of the fastMRI brain set. Absolute scores
# cannot be compared with the paper's. Two small measured scans are added where they are at hand.
# Two parameters, `data` and `data_root`, run the same notebook on the real set.
# ```

# %% tags=["parameters"]
profile = "quick"  # quick (minutes), standard (longer), paper (GPU, published sizes)
data = "simulated_brain_arrays"  # data set to compress and to train on: a name in data_manifests/
data_root = ""  # folder of the data set, where it is not simulated
second_data = "simulated_knee_arrays"  # another anatomy, to compress only; empty: none
second_root = ""  # folder of the second set, where it is not simulated
measured_root = "../shared/data"  # folder of measured k-space (.npz), seen from the checkout
accel = 4  # nominal acceleration of the networks' training and test, 2 to 12
center_fraction = 0.0  # fully sampled share of the columns; 0: the usual one at this acceleration
mask_type = "equispaced_fraction"  # random, equispaced or equispaced_fraction
network_coils = "4,8,12"  # numbers of virtual coils to train on, joined by commas
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.results import parameters


def numbers(name, value):
    """The rule that a parameter is whole numbers joined by commas."""
    for part in str(value).split(","):
        parameters.whole(1, 64)(name, int(part) if part.isdigit() else part)
    return str(value)


shared = ("profile", "data", "data_root", "accel", "center_fraction", "mask_type", "seed", "device")
rules = {name: parameters.MRI[name] for name in shared}
rules |= {"second_data": parameters.data_set(""), "second_root": parameters.text()}
rules |= {"measured_root": parameters.text(), "network_coils": numbers}
settings = parameters.check(globals(), rules)

# %% [markdown]
# All networks of a run share their widths, their first weights and their number of steps; only the
# channels at their two ends differ. A network that starts near the identity (see {ref}`settings`)
# needs four feature maps for each coil, so 48 for 12 coils: widths below are at least that, or the
# comparison would be one of first weights. The quick profile pays for them with two turns of each
# module in place of five.

# %%
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from recon.learning.training import Schedule, fit, pick_device, training_folder
from recon.networks.pcrnn import PCRNN

started = time.perf_counter()


@dataclass(frozen=True)
class Profile:
    """The network, its training, and how its cost is measured."""

    widths: tuple[int, int, int]
    iterations: int
    schedule: Schedule
    rows: int  # of a training band; 0: whole slices
    size: int  # side of the slice on which memory and time are measured
    repeats: int  # rounds of every timing and of every measurement of memory


SHORT = {"warmup_epochs": 0.2, "warmup_rate": 2e-4}
QUICK = Schedule(epochs=5, batch_size=4, rate=2e-3, halve_every=1.7, **SHORT)
STANDARD = Schedule(epochs=1.25, batch_size=4, rate=1.5e-3, halve_every=0.5, **SHORT)
PROFILES = {
    "quick": Profile((64, 48, 48), 2, QUICK, 32, 128, 6),
    "standard": Profile((128, 64, 48), 5, STANDARD, 40, 320, 6),
    "paper": Profile((512, 256, 128), 5, Schedule(), 0, 320, 20),
}
chosen = PROFILES[profile]

# %% [markdown]
# ## Compression
#
# Write the samples of the calibration centre, 24 x 24 here, as a matrix $Y$ with a column for each of
# the $C$ coils, and factorise it, $Y = U \Sigma V^H$. The first $v$ columns of $V$ are the
# compression matrix $M$, and
#
# $$ y_\text{virtual} = y\, M $$ (eq-compression)
#
# turns $C$ measured values into $v$ (section III-E). No other $v$ orthonormal mixtures keep more of the centre's
# energy. $M$ acts on the coils alone, so it changes nothing about which samples were measured. And
# $V$ is unitary: with $v = C$ the root sum of squares (RSS) is the same image.

# %%
from recon.physics.coils import compress, compression_matrix
from recon.results.source import source

source(compression_matrix, compress)

# %% [markdown]
# ## Table III: what is lost
#
# Nothing is left out of k-space here. Each volume is compressed to 4, 8, 12 and 16 coils, and the RSS
# image is held against that of all its coils. A volume with fewer coils than that is only rotated.

# %%
from recon.data.splits import open_split
from recon.learning.compression import score_compression
from recon.results import claims, figures, tables
from recon.results.statistics import summarise

COUNTS = (4, 8, 12, 16)
roots = {data: data_root} | ({second_data: second_root} if second_data else {})
# Nothing learns from a second set, so all of it is tested.
splits = {name: "val" if name == data else "all" for name in roots}
sets = {name: open_split(name, "multicoil", splits[name], profile, roots[name]) for name in roots}
lossy = {name: score_compression(files, COUNTS) for name, files in sets.items()}
neighbours = [("coils_8", "coils_4"), ("coils_12", "coils_8"), ("coils_16", "coils_12")]
pairs = [*neighbours, ("rim", "interior"), ("rim", "half")]
rows = []
for name, scores in lossy.items():
    constants = {"data": name, "task": "multicoil", "accel": 1.0}
    rows += summarise(scores, pairs, "volume", **constants)
paper = claims.load("chen-2022")


def table_three(name, region):
    kept = [r for r in rows if r["data"] == name and r["contrast"] == "all"]
    kept = [r for r in kept if r["region"] == region and r["method"].startswith("coils")]
    return tables.beside_paper(kept, paper, table="III", accel=1)


# %%
table_three(data, "full")

# %% [markdown]
# The same for the second anatomy; the paper's column is still the brain's, because the paper leaves
# the knee's 15 coils as they are.

# %%
table_three(second_data, "full") if second_data else print("skipped: no second data set")

# %% [markdown]
# The paper's PSNR at 16 coils, above 120 dB, is no image quality: 32-bit numbers carry seven digits,
# which is about 140 dB. Such values come from volumes that *had* at most 16 coils and lost nothing
# but rounding, and a mean of decibels gives them the last word. Below, volumes that lose nothing are
# counted, and the others averaged without them.


# %%
def split_by_loss(scores):
    """Mean scores over all volumes, and over those that had more coils than were kept."""
    part = scores[(scores.region == "full") & scores.metric.isin(["psnr", "ssim"])]
    part = part[part.method.str.startswith("coils")]
    part = part.assign(kept=part.method.str.removeprefix("coils_").astype(int))
    lines = {}
    for kept, group in part.groupby("kept"):
        wide = group.pivot(index="volume", columns="metric", values="value")
        losing = wide[group.groupby("volume").coils.first() > kept]
        lines[kept] = {
            "volumes": len(wide),
            "that lose nothing": len(wide) - len(losing),
            "PSNR, all": wide.psnr.mean(),
            "PSNR, losing": losing.psnr.mean(),
            "SSIM, all": wide.ssim.mean(),
            "SSIM, losing": losing.ssim.mean(),
        }
    return pd.DataFrame(lines).T.rename_axis("coils kept")


# %% tags=["nbval-check-output"]
split = pd.concat({name: split_by_loss(scores) for name, scores in lossy.items()})
counted = ["volumes", "that lose nothing"]
split[counted].astype(int)

# %%
split.drop(columns=counted).round(3)

# %% [markdown]
# ### Where it is lost
#
# The paper saw the loss at 4 coils mainly in the background and at the outermost boundary. There the
# RSS shows what is left of noise once it is made positive: about $\sqrt{2C}\,\sigma$ for $C$ coils
# whose real and imaginary parts have noise $\sigma$ each. Fewer coils have a lower floor, and that
# counts as an error although nothing was there. *Mainly* is a share: that of the summed absolute
# error at 4 coils that lies in rim and background, of the volumes that had more coils than that.
# More than half of it?

# %%
names = paper.methods


def by_place(metric, column):
    """Means of a measure in both places, and their difference, a line each."""
    lines = {}
    for r in rows:
        if r["metric"] == metric and r["contrast"] == "all" and r["method"] != "half":
            minus = f" – {names[r['against']]}" if "against" in r else ""
            lines[r["data"], names[r["method"]] + minus] = {
                column: r["value"],
                "low": r["ci95"][0],
                "high": r["ci95"][1],
                "p": r.get("p_value", np.nan),
                "volumes": r["n"],
            }
    return pd.DataFrame(lines).T.round(4)


by_place("share of the loss", "share")

# %% [markdown]
# A share grows with the room there is: rim and background may be most of the picture. How much does
# a pixel lose? Mean absolute errors of all volumes in the interior of the body and outside it, both
# over the mean signal inside; then scores on the body and on the whole picture.

# %%
by_place("loss", "loss")

# %%
by_region = pd.concat(lossy, names=["data"])
by_region = by_region[by_region.method.str.startswith("coils") & (by_region.metric == "ssim")]
order = [f"coils_{count}" for count in COUNTS]
by_region = by_region.pivot_table(index=["data", "region"], columns="method", values="value")
by_region[order].rename(columns=names).round(4)

# %% mystnb={"figure": {"name": "fig-compressed", "caption": "The test volume with the most coils, compressed and whole, as in figure 4 (A) of the paper; absolute errors times ten, on the grey scale of the images."}, "image": {"alt": "Upper row: magnitude images after compression to 4, 8, 12 and 16 coils and of all coils. Lower row: their error maps."}}
from recon.data.fastmri import read_volume, volume_shape
from recon.learning.compression import compressed_volume
from recon.results import coil_figures

richest = max(sets[data], key=lambda path: volume_shape(path)[1])
volume = read_volume(richest)
images, target = compressed_volume(volume, COUNTS)
middle = len(target) // 2
figure_4 = coil_figures.compressed_images(
    {f"{count} coils": image[middle] for count, image in images.items()},
    target[middle],
    f"all {volume.kspace.shape[1]} coils",
    gain=10,
)

# %% [markdown]
# ### On measured k-space
#
# A brain pre-scan of 16 coils, fully sampled, 64 x 64, from the repository pdawood/iterativeRaki at
# b87e2f5 (MIT licence), and a brain scan of 8 coils from mikgroup/sigpy-mri-tutorial at 7551de0
# (BSD licence), of which an eighth of the samples was measured, the rest being zero. Compression
# commutes with leaving samples out, so the zero-filled images are compared, aliased as they are. One
# slice each: no intervals.

# %%
from recon.learning.compression import score_measured

MEASURED = {
    "16 coils, measured": "iraki_brain_16ch_64x64.npz",
    "8 coils, measured, undersampled": "sigpy_brain_8ch_undersampled.npz",
}
score_measured(measured_root, MEASURED, COUNTS)

# %% [markdown]
# ## Figure 5: do virtual coils look alike?
#
# The paper compresses arrays of 20, 16, 12, 8 and 4 coils to 4, sees the same four patterns, and
# concludes that the original array matters less to the network.

# %% mystnb={"figure": {"name": "fig-virtual", "caption": "Virtual coils 1 to 4 of test scans with different arrays (as in figure 5 of the paper): their images, one grey scale a row, and their sensitivities, magnitude over RSS from 0 to 1, inside the body. Sensitivities are those of the central 32 x 32 samples, in which little anatomy is left; the correlations below are theirs."}, "image": {"alt": "A grid with a row for each scan: four coil images, then four sensitivity maps."}}
from recon.learning.compression import virtual_maps

by_coils = {volume_shape(path)[1]: path for path in sets[data] if volume_shape(path)[1] >= 4}
picks = np.unique(np.linspace(0, len(by_coils) - 1, 4).round().astype(int))
some = [by_coils[sorted(by_coils)[i]] for i in picks]
drawn = {f"{volume_shape(path)[1]} coils": virtual_maps(read_volume(path)) for path in some}
figure_5 = coil_figures.virtual_coils(
    {label: maps[0] for label, maps in drawn.items()},
    {label: maps[1] for label, maps in drawn.items()},
)

# %% [markdown]
# Alike is a number: the correlation of the k-th coil's sensitivity in one scan with the k-th coil's
# in another, over the points where both have signal, averaged over all pairs of scans whose arrays
# have different numbers of coils. It is 1 for patterns that differ by scale and offset only, and 0
# for patterns that have nothing to do with each other. For comparison: the first four coils of the
# files, and the four strongest, the strongest first, because sorting alone is a standard too. Two
# questions, then: are virtual coils *more* alike than those two, and are they *alike*? The paper
# gives no number for the second; ours is a mean correlation above 0.5, half of the way to the same.

# %%
from recon.learning.compression import likeness

alike = {name: likeness(files) for name, files in sets.items()}
for name, scores in alike.items():
    if len(scores):
        constants = {"data": name, "task": "multicoil", "accel": 1.0}
        against = [("virtual", "raw"), ("virtual", "sorted"), ("virtual", "half")]
        rows += summarise(scores, against, "volume", **constants)
found = [r for r in rows if r["metric"].startswith("likeness") and r["contrast"] == "all"]
LIKE = {"raw": "as in the file", "sorted": "strongest first", "virtual": "virtual coils"}
LEVELS = {**LIKE, "half": "0.5, our level"}
pd.DataFrame(
    {
        "data": r["data"],
        "coils": LEVELS[r["method"]] + (f" – {LEVELS[r['against']]}" if "against" in r else ""),
        "mean of coils 1 to 4": r["value"],
        "low": r["ci95"][0],
        "high": r["ci95"][1],
        "p": r.get("p_value", np.nan),
        "scans": r["n"],
    }
    for r in found
    if r["metric"] == "likeness" and r["method"] != "half"
).round(4)

# %% mystnb={"figure": {"name": "fig-likeness", "caption": "Correlation of the k-th coil's sensitivity over scans of different arrays: mean over scans and 95 % t interval. Scans share partners, so the intervals are somewhat too narrow."}, "image": {"alt": "Three lines over coils 1 to 4, for coils as in the file, strongest first, and virtual, with error bars, above a line at zero."}}
lines = [
    {**r, "k": int(r["metric"][-1]), "lo": r["ci95"][0], "hi": r["ci95"][1]}
    for r in found
    if r["metric"] != "likeness" and "against" not in r and r["data"] == data
]
_ = coil_figures.likeness(pd.DataFrame(lines), LIKE)

# %% [markdown]
# ## Table IV: does a network mind?
#
# PC-RNN is trained on each number of virtual coils, with the same steps on the same slices and
# masks, and scored against the RSS of *all* coils. So two things pull at the score: compression has
# already lost something that no network brings back, and more coils tell a network more but give the
# same feature maps more to carry.

# %%
from recon.data.samples import Sampling, Slices
from recon.learning.losses import ReconstructionLoss
from recon.physics.sampling import standard_center_fraction

train_files = open_split(data, "multicoil", "train", profile, data_root)
plan = Sampling(accel, center_fraction or standard_center_fraction(accel), mask_type)
counts = sorted({int(count) for count in settings["network_coils"].split(",")})
build = partial(PCRNN, widths=chosen.widths, iterations=chosen.iterations)
bearing = {key: settings[key] for key in shared if key != "data_root"}
networks, histories = {}, {}
for count in counts:
    torch.manual_seed(seed)
    network = build(count)
    slices = Slices(train_files, plan, count, seed, chosen.rows)
    about = {**bearing, "coils": count, "iterations": chosen.iterations}
    loss = ReconstructionLoss()
    folder = training_folder(network, about, chosen.schedule, train_files, loss, chosen.rows)
    before, label = time.perf_counter(), f"pcrnn_{count}c"
    histories[label] = fit(network, slices, loss, chosen.schedule, folder, seed, device, label)
    # A training that an earlier run began or finished counts in full.
    started += time.perf_counter() - before - histories[label][-1]["seconds"]
    networks[count] = network.to(pick_device(device)).eval()

# %% mystnb={"figure": {"name": "fig-coil-training", "caption": "Training loss by step and by second of training: every step faint, the mean of 20 steps strong."}, "image": {"alt": "Two line plots of falling training loss, one curve for each number of coils, against steps and against seconds."}}
title = {f"pcrnn_{count}c": f"PC-RNN, {count} coils" for count in counts}
_ = figures.training_curves({title[k]: v for k, v in histories.items()})

# %%
from recon.learning.metrics import evaluate_methods

where = pick_device(device)


def score_network(count):
    """Scores of one network, and of its zero-filled input."""
    methods = {
        f"zero_{count}c": lambda batch: batch.image,
        f"pcrnn_{count}c": lambda batch: networks[count](batch.kspace, batch.mask),
    }
    return evaluate_methods(methods, sets[data], plan, count, seed, str(where))


reconstructed = pd.concat([score_network(count) for count in counts], ignore_index=True)
own = reconstructed[reconstructed.method.isin(title)]
less_more = [(a, b) for i, a in enumerate(title) for b in [*title][i + 1 :]]
constants = {"data": data, "trained_on": data, "task": "multicoil", "accel": accel}
trained = summarise(own, less_more, "volume", **constants)
rows += trained
effective = own.groupby("volume").effective_accel.first()
Markdown(f"Nominal acceleration {accel:g}; effective, mean of the volumes: {effective.mean():.2f}.")

# %%
everything = [r for r in trained if r["contrast"] == "all"]
tables.beside_paper(everything, paper, table="IV", accel=accel)

# %%
tables.differences(
    {**r, "method": title[r["method"]], "against": title[r["against"]]}
    for r in everything
    if "against" in r and r["metric"] in ("psnr", "ssim")
)

# %% [markdown]
# What did the networks gain over their own input?

# %%
body = reconstructed[reconstructed.region == "body"]
body = body[body.metric.isin(["psnr", "ssim"])]
mean = body.pivot_table(index="method", columns="metric", values="value")
pd.DataFrame(
    {
        title[name]: {
            f"{metric.upper()}, {what}": mean.loc[key, metric]
            for metric in mean
            for what, key in (("zero-filled", name.replace("pcrnn", "zero")), ("PC-RNN", name))
        }
        for name in title
    }
).T.round(3)

# %% mystnb={"figure": {"name": "fig-reconstructions", "caption": "The volume of the first network's median SSIM, as in figure 4 (B) of the paper: reconstructions from each number of virtual coils, zooms, and absolute errors times five, on one grey scale. The SSIM printed is the volume's."}, "image": {"alt": "Columns for each number of coils and the target of all coils; rows for the image, a zoom and the error map."}}
from recon.learning.metrics import reconstruct

ssim = own[(own.region == "body") & (own.metric == "ssim")]
ssim = ssim.pivot(index="volume", columns="method", values="value")
ranking = ssim[next(iter(title))].sort_values().index
median = ranking[len(ranking) // 2]
volume = read_volume(next(p for p in sets[data] if p.stem == median.partition("#")[0]))
pictures, printed = {}, {}
for count in counts:
    method = {"own": lambda batch, n=count: networks[n](batch.kspace, batch.mask)}
    image, target, _ = reconstruct(method, volume, plan, count, seed, str(where))
    pictures[f"{count} coils"] = image["own"][len(target) // 2]
    printed[f"{count} coils"] = f"SSIM {ssim.loc[median, f'pcrnn_{count}c']:.3f}"
figure_6 = figures.comparison(pictures, target[len(target) // 2], scores=printed)

# %% [markdown]
# ## Memory and time of a network
#
# One slice of random numbers, batch of one. Time is the mean of several rounds that go through all
# networks in turn, after one that is not counted; what is short is repeated within a round. Memory
# is what a step needs beyond the weights: on a GPU torch's own count (weights included there), on a
# CPU the peak of the resident memory of a fresh process above what it had before. Where a process
# ends up in memory is in part chance, so there are as many processes as rounds. The quick profile pays
# for them with a slice smaller than the paper's.
#
# A machine that other programs use slows some rounds and not others. The slowest round over the
# fastest says how much; timings in which it is above 1.5 are printed and left out of what is held
# against the paper's claims.

# %%
from recon.learning import cost

torch.manual_seed(seed)
timed = {name: {} for name in ("train", "test")}
for count, name in zip(counts, title, strict=True):
    for what, run in cost.steps(build(count), count, chosen.size, str(where)).items():
        timed[what][name] = run
took = {what: cost.rounds(runs, chosen.repeats, str(where)) for what, runs in timed.items()}
peaks = cost.memory_rounds(build, counts, chosen.size, str(where), chosen.repeats)
print(f"{cost.machine(str(where))}, {chosen.size} x {chosen.size}, {chosen.repeats} rounds")
pd.concat({what: cost.timings(runs, title) for what, runs in took.items()})

# %%
measured = []
more_less = [(b, a) for a, b in less_more]
for what in timed:
    seconds = cost.steady(took[what])
    memory = {f"pcrnn_{n}c": np.divide(mb, 1e3).tolist() for n, mb in peaks[what].items()}
    for found, metric in ((seconds, "seconds"), (memory, "memory")):
        unit = "round" if metric == "seconds" else "process"
        about = {"data": "this_machine", "task": "cost", "accel": 4.0, "size": chosen.size}
        tidy = cost.tidy(found, f"{metric}_{what}")
        lines = summarise(tidy, more_less, unit, **about)
        measured += [r for r in lines if r["contrast"] == "all"]
rows += measured

# %%
columns = [metric for metric, _ in paper.tables["IV, cost"].columns]
published = {row[2]: row[3] for row in paper.tables["IV, cost"].rows}
here = {(name, f"seconds_{k}"): np.mean(v) for k in took for name, v in took[k].items()}
here |= {
    (f"pcrnn_{n}c", f"memory_{k}"): np.mean(v) / 1e3 for k in peaks for n, v in peaks[k].items()
}
pd.DataFrame(
    {
        title[name]: {
            (metric.replace("_", ", "), whose): value
            for i, metric in enumerate(columns)
            for whose, value in (
                ("paper (GB, s)", published[name][i] if name in published else np.nan),
                ("here (GB, s)", here[name, metric]),
            )
        }
        for name in title
    }
).T.round(3)

# %% [markdown]
# ## Compress, or map the coils?
#
# Networks with sensitivity maps need maps first, and ESPIRiT {cite:p}`uecker2014` finds them by an
# eigenvalue problem in every pixel. For 15 coils and 320 x 320 pixels the paper counts 0.53 s to
# compress and 2.08 s to map, 0.02 s for a Fourier transform of the 4 virtual coils and 0.10 s for one
# of all 15. Here is the same on a simulated head, by this book's code, by BART (a program of its own,
# whose times include reading and writing its files) and by sigpy. So the paper's claim is tested on
# BART's two programs, which both do that. *Coarse maps* are what this book gives its networks:
# ESPIRiT on the central 32 x 32 samples, then interpolation.

# %%
from recon.classical import bart, preprocessing

head = preprocessing.head(coils=15, size=320)
runs, left_out = preprocessing.runs(head, virtual_coils=4, sigpy=profile != "quick")
all_seconds = cost.rounds(runs, chosen.repeats)
cost.timings(all_seconds, preprocessing.LABELS)

# %%
seconds = cost.steady(all_seconds)
about = {"data": "this_machine", "task": "cost", "accel": 1.0, "size": 320}
faster = [("maps", "compression_bart"), ("maps_coarse", "compression"), ("fft_all", "fft_virtual")]
timing = summarise(cost.tidy(seconds, "seconds"), faster, "round", **about)
rows += [r for r in timing if r["contrast"] == "all"]
print(cost.machine("cpu"), *left_out, sep="\n")

# %% [markdown]
# Two programs that compress the same k-space should agree. The phases of virtual coils are anybody's
# choice, so their RSS images are compared.

# %%
if bart.available():
    print(f"largest difference from BART's compression: {preprocessing.against_bart(head, 4):.1e}")
    print("(of the maximum of the image)")
else:
    print("skipped: there is no BART on this machine")

# %% [markdown]
# ## What this run says of the paper's claims

# %%
from recon.results import provenance, store

made = provenance.collect(
    "coil_compression",
    parameters=settings,
    seed=seed,
    seconds=time.perf_counter() - started,
    device=str(where),
)
run = store.Run("coil_compression", profile, settings, rows, made)
store.save(run)
for label, figure in {"compressed": figure_4, "coils": figure_5, "median": figure_6}.items():
    store.save_figure(run, label, figure)
tables.verdicts(paper, store.frame([run]))

# %% [markdown]
# (coil-compression-repeats)=
# ## Other seeds, other lengths
#
# This run stands in the first column. Runs from other seeds or longer ones, where they are stored,
# stand beside it (the table of reference runs names their commits). What does each number of virtual coils reach,
# and is the order the same?


# %%
from recon.results.repeats import chosen_rows, repeats

references = store.reference_runs("coil_compression")


def network(row):
    """A row of a network over all volumes of the set that it was trained on."""
    return row["method"] if row["method"].startswith("pcrnn_") and row["data"] == data else None


score = chosen_rows("psnr", network, region="body", against=None)
repeats([run, *references], score, "PSNR, dB, mean and 95 % interval", names=title, sign="")

# %%
tables.references(references)

# %% [markdown]
# ## What differs from the paper
#
# - **Arrays.** The simulated sets draw 2 to 28 coils evenly. fastMRI's brains have mostly 4 to 20, so
#   the shares of volumes that lose nothing differ, and with them every mean of table III.
# - **Calibration.** The paper does not give the size of its centre, nor whether a matrix serves a slice
#   or a volume. Here it is at most 24 x 24, and each slice has its own.
# - **Table IV** is the paper's big network after 60 epochs. Widths, turns and steps here are those of
#   the profile; with the quick one the networks are far from trained, so the table says little of where
#   they would end.
# - **Masks.** Equispaced with as many columns as the nominal acceleration promises; the paper's are
#   equispaced.
# - **"Similar".** The paper infers it from p = 0.62 and p = 0.23. A large p-value shows that no
#   difference was found, not that there is none. Here two networks are similar if the interval of
#   their difference stays within 0.4 dB or 0.002 SSIM, the gap that the paper itself calls slight.
# - **Time.** Compression and maps are timed on a CPU, without loading the data.
#
# ## Exercises
#
# 1. Compress to one coil. Which part of the head does it see, and what would data consistency on it
#    mean?
# 2. `compression_matrix` fixes the phase of each virtual coil. Drop that line and train again: does
#    the loss of the first hundred steps change?
# 3. Scale the noise of a scan up by three (`noise` of `recon.phantoms.scanner.draw_scan`). Does the
#    share of the loss outside the body grow, and why?
# 4. Run with `network_coils="1,2,4"`. From which number on does PC-RNN stop gaining?
