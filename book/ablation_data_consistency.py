# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What holds the turns together?
#
# PC-RNN {cite:p}`chen2022` turns its modules five times, puts the measured samples back after every
# turn, uses the same weights in each and hands a hidden state from turn to turn ({doc}`pcrnn`). Which
# of these does the work? The paper keeps all four fixed. This chapter changes one at a time: no data
# consistency or a soft one, one to eight turns, weights of their own for every turn, and no memory.
#
# ```{admonition} The data on this page are simulated
# :class: warning
# fastMRI's files may not be passed on, so the page you read was made from simulated knees, and the
# networks of the quick profile are small and learn for seconds. Absolute scores cannot be compared
# with published ones; differences within this page can. `data` and `data_root` run the same notebook
# on real files.
# ```

# %% tags=["parameters"]
profile = "quick"  # quick (minutes, small networks), standard (longer), paper (GPU)
data = "simulated_knee"  # knee or brain, a name in data_manifests/: simulated_brain, ...
data_root = ""  # folder of the data set, where it is not simulated
task = "multicoil"  # multicoil or singlecoil
accel = 4  # nominal acceleration, 2 to 12
center_fraction = 0.0  # fully sampled share of the columns; 0: the usual one at this acceleration
mask_type = "random"  # random, equispaced or equispaced_fraction
coils = 4  # virtual coils after compression; 0: keep the coils as they are
variants = "profile"  # all, or some joined by commas: dc_soft,dc_turns_1; the paper's always
repeats = 1  # further trainings, each from a seed of its own, of the paper's network and ...
repeated = "dc_turns_1,dc_turns_2"  # ... of these (among the variants), or all
soft_weight = 1.0  # first value of the weight of measured samples in soft consistency
start = "identity"  # first weights: identity or random, see recon.networks.identity
seed = 0  # of every random stream
device = "auto"  # auto, cpu, cuda

# %%
from recon.networks.consistency import VARIANTS, ConsistencyPCRNN, soft_consistency
from recon.results import parameters

PAPERS = "dc_hard"
OWN = {
    "variants": parameters.some_of("profile", *VARIANTS),
    "repeats": parameters.whole(0, 20),
    "repeated": parameters.some_of(*VARIANTS),
    "soft_weight": parameters.number(0.001, 1000),
    "start": parameters.one_of("identity", "random"),
}
unused = ("test_data", "test_root")
rules = {**{k: v for k, v in parameters.MRI.items() if k not in unused}, **OWN}
settings = parameters.check(globals(), rules)

# %% [markdown]
# ## Three kinds of data consistency
#
# Let $y$ be the measured k-space, $D$ the mask, $F$ the Fourier transform and $\hat x$ an image that a
# network has drawn. *Hard* consistency replaces the measured samples of $F\hat x$ by $y$. *Soft*
# consistency takes a weighted mean instead {cite:p}`schlemper2018`,
#
# $$ F x \;\leftarrow\; (1 - D)\, F \hat x + D\, \frac{F \hat x + \lambda y}{1 + \lambda}, $$ (eq-soft)
#
# which is the right thing to do when $y$ is noisy: $\lambda = 0$ is no consistency, $\lambda \to
# \infty$ the hard one. Here $\lambda$ is learned, one for each module and one for the joining CNN.

# %%
from recon.results.source import source

source(soft_consistency, ConsistencyPCRNN.forward)

# %% [markdown]
# ## The variants
#
# | name | what it changes in the paper's network (hard, five turns, shared weights, hidden state) |
# |---|---|
# | `dc_soft`, `dc_none` | soft consistency; none at all |
# | `dc_turns_1` ... `dc_turns_8` | the number of turns $K$ of every module; with one, the residual block goes too, as it would see only zeros |
# | `dc_unshared` | weights of its own for every turn: more parameters (see below), the same work |
# | `dc_no_memory` | $h^{(k+1)} = g^\text{enc}(\hat x^{(k)})$: the residual layers, which would see only zeros, go too |
# | `dc_feedforward` | $h^{(k+1)} = g^\text{res}(g^\text{enc}(\hat x^{(k)}))$: the same layers, but nothing is remembered |
#
# The last two belong together: the first loses layers with its memory, the second keeps them.

# %%
from dataclasses import dataclass

from recon.learning.training import Schedule, fit, pick_device, training_folder


@dataclass(frozen=True)
class Profile:
    """Feature maps of the modules, training alike for all, rows of a band, turns to try."""

    widths: tuple[int, int, int]
    schedule: Schedule
    rows: int
    turns: tuple[int, ...]


SHORT = {"warmup_epochs": 0.2, "warmup_rate": 2e-4}
QUICK = Schedule(epochs=1.75, batch_size=2, rate=2e-3, halve_every=0.7, **SHORT)
STANDARD = Schedule(epochs=0.75, batch_size=4, rate=1.5e-3, halve_every=0.27, **SHORT)
PROFILES = {
    "quick": Profile((32, 16, 16), QUICK, 32, (1, 2, 8)),
    "standard": Profile((64, 32, 16), STANDARD, 40, (1, 2, 3, 4, 6, 7, 8)),
    "paper": Profile((128, 64, 32), Schedule(), 0, (1, 2, 3, 4, 6, 7, 8)),  # PC-RNN-S
}
chosen = PROFILES[profile]

# %%
from recon.data.measurement import Sampling
from recon.data.samples import Slices
from recon.data.splits import open_split
from recon.physics.sampling import standard_center_fraction

train_files = open_split(data, task, "train", profile, data_root)
test_files = open_split(data, task, "val", profile, data_root)
plan = Sampling(accel, center_fraction or standard_center_fraction(accel), mask_type)
virtual = 1 if task == "singlecoil" else coils

# %% [markdown]
# All variants are trained for the same number of steps, on the same slices, masks and bands of rows
# in the same order. A few are trained again from further seeds, to see how far apart two trainings of
# one network lie.

# %%
import time

import torch

from recon.learning.losses import ReconstructionLoss

started = time.perf_counter()
choices = ("variants", "repeats", "repeated", "soft_weight")
shaping = {key: value for key, value in settings.items() if key not in choices}


def train(variant, seed, name):
    """One network of a variant, trained from a seed, and its history."""
    slices = Slices(train_files, plan, virtual, seed, chosen.rows)
    options = {"start": start, **VARIANTS[variant]}
    if variant == "dc_soft":
        options["weight"] = float(soft_weight)
    torch.manual_seed(seed)
    network = ConsistencyPCRNN(slices.channels(), chosen.widths, **options)
    own = {**shaping, "seed": seed}
    loss = ReconstructionLoss()
    folder = training_folder(network, own, chosen.schedule, train_files, loss, chosen.rows)
    history = fit(network, slices, loss, chosen.schedule, folder, seed, device, name)
    return network.to(pick_device(device)).eval(), history


# %%
ours = [v for v in VARIANTS if "turns" not in v or int(v[-1]) in chosen.turns]


def listed(names):
    """Variants that a parameter names, and the paper's."""
    given = {"all": [*VARIANTS], "profile": ours}.get(names, names.split(","))
    return [variant for variant in VARIANTS if variant in (*given, PAPERS)]


wanted = listed(variants)
twice = [variant for variant in wanted if variant in listed(repeated)] if repeats else []
lessons = {variant: (variant, seed) for variant in wanted}
lessons |= {f"{v}, seed {seed + k}": (v, seed + k) for v in twice for k in range(1, repeats + 1)}
trainings = {v: [name for name in lessons if lessons[name][0] == v] for v in wanted}
networks, histories = {}, {}
before = time.perf_counter()
for name, (variant, own_seed) in lessons.items():
    networks[name], histories[name] = train(variant, own_seed, name)
# A training that an earlier run began or finished counts in full.
started += time.perf_counter() - before
started -= sum(history[-1]["seconds"] for history in histories.values())

# %% tags=["nbval-check-output"]
import pandas as pd

from recon.networks.channels import parameter_count
from recon.results import tables

sizes = {
    f"{tables.NAMES[lessons[name][0]]}, seed {lessons[name][1]}": {
        "parameters": f"{parameter_count(network):,}",
        "steps": len(histories[name]),
        "training, s": f"{histories[name][-1]['seconds']:.0f}",
        "last loss": f"{pd.Series([h['loss'] for h in histories[name][-20:]]).mean():.3f}",
    }
    for name, network in networks.items()
}
sizes = pd.DataFrame(sizes).T
sizes[["parameters", "steps"]]

# %%
sizes[["training, s", "last loss"]]

# %% [markdown]
# ## What each choice is worth
#
# Scores are those of {doc}`pcrnn`: per volume, within a mask of the body, with 95 % t
# intervals over volumes and Wilcoxon's signed-rank test. Two more scores come for free. The network
# trained without consistency is also scored after putting the measured samples back *once*, at the
# very end. And because the paper's network shares its weights over the turns, it can be used with more
# turns or fewer than it was trained with.

# %%
from functools import partial

from recon.learning.metrics import evaluate_methods
from recon.physics.encoding import data_consistency


def apply(network, batch, turns=0):
    """A network on a batch, with another number of turns if asked for."""
    trained = network.iterations
    network.iterations = turns or trained
    try:
        return network(batch.kspace, batch.mask)
    finally:
        network.iterations = trained


where = str(pick_device(device))
methods = {"zero_filled": lambda batch: batch.image}
methods |= {name: partial(apply, network) for name, network in networks.items()}
if "dc_none" in wanted:
    methods["dc_once"] = lambda batch: data_consistency(
        methods["dc_none"](batch), batch.kspace, batch.mask
    )
    trainings["dc_once"] = ["dc_once"]
used = {k: f"turned {k} times" for k in range(1, 9)}
methods |= {name: partial(apply, networks[PAPERS], turns=k) for k, name in used.items()}
scores = evaluate_methods(methods, test_files, plan, virtual, seed, where)

# %% mystnb={"figure": {"name": "fig-choices", "caption": "Gain in PSNR (body) over the zero-filled image: dots are means over all trainings of a network, ticks single trainings, lines 95 % t intervals over volumes. The band around the paper's network (orange) is what seeds alone explain for a network trained once."}, "image": {"alt": "One dot with a horizontal interval for each variant of the network, the paper's in orange at the top inside an orange vertical band."}}
from recon.results.seeds import beyond, forest, spread_table

scored = scores[scores.region == "body"].set_index(["metric", "volume"])
by_metric = {m: scored.loc[m].pivot(columns="method", values="value") for m in ("psnr", "ssim")}
compare = ("zero_filled", trainings, PAPERS, tables.NAMES)
choices_figure = forest(by_metric["psnr"], *compare, "gain in PSNR (dB)")

# %% [markdown]
# The column *Seeds* holds the difference that seeds alone exceed in one case of twenty,
# $t_\nu\, s \sqrt{1/n + 1/m}$ for $n$ and $m$ trainings, with $s$ the standard deviation over seeds,
# pooled over the networks that were trained more than once; {doc}`ablation_pyramid_order` says more
# of it. A difference inside that limit is no reason to prefer one choice to another. The p-values are
# those of single comparisons, not corrected for their number.

# %%
spread_table(by_metric["psnr"], *compare, data=data)

# %%
spread_table(by_metric["ssim"], *compare, "SSIM", digits=4, data=data)

# %%
for metric, table in by_metric.items():
    outside = beyond(table, trainings, PAPERS)
    apart = [tables.NAMES[name] for name, far in outside.items() if far]
    if outside:
        print(
            f"{metric.upper()}: {len(apart)} of {len(outside)} variants differ from the paper's by "
            f"more than seeds explain{': ' if apart else ''}{'; '.join(apart)}"
        )
    else:
        print(f"{metric.upper()}: no network was trained twice, or there is no other to compare")

# %% [markdown]
# ## How many turns?
#
# Each point of the first curve is a network trained with that many turns; the second curve is one
# network, the paper's, trained with five and used with more or fewer.

# %% mystnb={"figure": {"name": "fig-turns", "caption": "Gain in PSNR (body) over the zero-filled image against the number of turns of every module: networks trained with that number, and one network trained with five and used with other numbers. Bars are 95 % t intervals over volumes."}, "image": {"alt": "Two curves with error bars against one to eight turns: gain of networks trained with each number, and of one network used with each number."}}
from recon.results.curves import interval_curves

table = by_metric["psnr"]
gain = table.sub(table["zero_filled"], axis=0)
trained = {networks[name].iterations: gain[name] for name in wanted if "turns" in name}
curves = {
    "trained with K turns": {**trained, networks[PAPERS].iterations: gain[PAPERS]},
    "trained with 5, used with K": {k: gain[name] for k, name in used.items()},
}
turns_figure = interval_curves(curves, "turns K", "gain in PSNR (dB)")

# %% [markdown]
# ## Does a network contradict its measurement?
#
# The residual $\|D F \hat x - y\| / \|y\|$ is the relative error on the samples that were measured: 0
# where they are kept, 1 if nothing of them were left, more where what stands in their place is further
# off than nothing, such as the opposite phase. A good score does not make it small: an image can
# look right and still not be what the scanner saw. The loss compares magnitudes, joined over the coils,
# so without consistency nothing ties a network to the phases of the coil images; where those drift,
# measured samples put back at the end no longer fit the rest.

# %%
from recon.learning.residual import residuals
from recon.results.statistics import summarise

named = ["zero_filled", *wanted, *(["dc_once"] if "dc_none" in wanted else [])]
known = residuals({n: methods[n] for n in named}, test_files, plan, virtual, seed, where)
constants = {"data": data, "trained_on": data, "task": task, "accel": accel}
residual_rows = summarise(known, [], **constants)
overall = {row["method"]: row for row in residual_rows if row["contrast"] == "all"}
lines = {}
for name in named:
    low, high = overall[name]["ci95"]
    lines[tables.NAMES[name]] = f"{overall[name]['value']:.3f} [{low:.3f}, {high:.3f}]"
pd.Series(lines, name="residual [95 %]").to_frame()

# %% [markdown]
# And what did the soft weights become? A weight can only move as far as its training is long: near
# its first value it says little.

# %%
places = ["module 1, 4x", "module 2, 2x", "module 3, 1x", "joining CNN"]
if "dc_soft" in wanted:
    for place, weight in zip(places, networks["dc_soft"].weights().tolist(), strict=True):
        print(f"{place}: lambda {soft_weight:g} at the start, {weight:.3f} after training")
else:
    print("no soft network was asked for")

# %% [markdown]
# ## Keeping the numbers
#
# The paper makes no claim about any of these choices, so there is none to judge. The rows are stored
# with the run.

# %%
from recon.results import provenance, store

others = [name for name in named if name not in (PAPERS, "zero_filled")]
pairs = [(PAPERS, name) for name in others] + [(name, "zero_filled") for name in named[1:]]
rows = summarise(scores[scores.method.isin(named)], pairs, **constants, training_seed=seed)
again = []
for name in trainings[PAPERS][1:]:
    swapped = scores[scores.method.isin([name, *others])].replace({"method": {name: PAPERS}})
    compared = summarise(swapped, pairs, **constants, training_seed=lessons[name][1])
    again += [row for row in compared if row["method"] == PAPERS]
seconds = time.perf_counter() - started
made = provenance.collect(
    "ablation_data_consistency", parameters=settings, seed=seed, seconds=seconds, device=where
)
run = store.Run("ablation_data_consistency", profile, settings, again + rows + residual_rows, made)
path = store.save(run)
for name, figure in {"choices": choices_figure, "turns": turns_figure}.items():
    store.save_figure(run, name, figure)

# %% [markdown]
# (ablation-data-consistency-repeats)=
# ## From other seeds, and for longer
#
# This run stands in the first column. Runs from other seeds or longer ones, where they are stored, stand
# beside it. Each line is the paper's network minus a variant, paired by volume, for the training from
# the run's own seed. Which signs change?


# %%
from recon.results.repeats import chosen_rows, repeats

references = store.reference_runs("ablation_data_consistency")
lead = chosen_rows("psnr", lambda row: row.get("against"), region="body", method=PAPERS)
caption = f"{tables.NAMES[PAPERS]} minus a variant, PSNR in dB, mean and 95 % interval"
repeats([run, *references], lead, caption)

# %%
tables.references(references)

# %% [markdown]
# ## What to keep in mind
#
# - **Equal steps, not equal work.** Eight turns take several times as long as one (the times are above).
#   At equal time the few would have learned for longer.
# - **A fair start.** A hidden state adds up the images of all turns, so the gain of the decoders at
#   the start is set for each number of turns such that an image passes through unchanged. {doc}`pcrnn`
#   uses one gain for all, and in the short profiles wider networks and a longer training: do not
#   compare scores across the two pages.
# - **A short training** favours what needs to learn least. Hard consistency is right from the first
#   step, while a network without it has to learn not to disturb what was measured; and each of five
#   sets of weights is used once a step, where a shared set is used five times.
# - **Noise.** The soft weights weigh the measured samples against the network. The target was made from
#   the same noisy samples, so the scores reward keeping them; with less noise in the target than in
#   the input the answer may change.
#
# ## Exercises
#
# 1. Set `soft_weight` to 0.1 and to 100. Does the trained network depend on where it started?
# 2. Run `accel=8`. Which choice gains in importance when less is measured?
# 3. Train `dc_none` for longer (`profile="standard"`). Does its residual keep falling?
