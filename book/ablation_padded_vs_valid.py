# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Padded or valid: what a tile costs
#
# {doc}`crop_equivariance` builds a network that pads nothing, so that an image can be computed in
# pieces. {cite:t}`remedios2022` say that pixels which know of the padding have to be avoided or
# discarded. They build a network that has none; discarding they name as the other way, and do not
# try. This chapter takes the two designs apart: how far does a network look, where do seams come from,
# what do common tools do about them, and can a *padded* network be tiled without any? What it finds is
# built into a tool, `recon.learning.tiling`, which any convolutional network can use.
#
# As in {doc}`crop_equivariance`, a *patch* is what the network is given, and a *tile* what is kept of its
# output. Sizes are pixels along a side.
#
# ```{admonition} The data on this page are simulated
# :class: warning
# The slices are simulated heads with white noise, and the networks small denoisers that learn for
# seconds. How good they are is not the question here; whether two ways to compute one output agree
# does not depend on it. How *strong* a seam is does, so sizes of errors belong to these networks.
# ```

# %% tags=["parameters"]
profile = "quick"  # quick (minutes), standard (longer), paper (published sizes, GPU)
data = "simulated_brain_slices"  # the only set of this chapter
contrast = "T1"  # T1, T2, FLAIR or T1POST
noise = 0.1  # standard deviation of the noise; white matter is about 1
patch = 64  # pixels of a patch in the comparisons, 48 to 96
seed = 0  # of every random stream
device = "cpu"  # cpu; on a GPU agreement is to rounding, not to the bit

# %%
from recon.phantoms.brain import CONTRASTS
from recon.results import parameters

rules = {
    **{name: parameters.MRI[name] for name in ("profile", "seed", "device")},
    "data": parameters.one_of("simulated_brain_slices"),
    "contrast": parameters.one_of(*CONTRASTS),
    "noise": parameters.number(0.001, 1.0),
    "patch": parameters.whole(48, 96),
}
settings = parameters.check(globals(), rules)

# %% [markdown]
# Feature maps, residual blocks of the valid and of the padded network, pixels across an image,
# people to learn from and to test on, and steps of training:

# %%
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from recon.learning.tiling import apply_tiled, receptive_field
from recon.learning.tiling.study import Steps, fit_denoiser, noisy_slices
from recon.learning.training import pick_device
from recon.networks.residual_sr import PaddedResidual, ValidResidual

started = time.perf_counter()


@dataclass(frozen=True)
class Profile:
    """Size of the networks, of the images and of the training."""

    width: int
    valid: int
    padded: int
    size: int
    people: int
    tested: int
    steps: Steps


PROFILES = {
    "quick": Profile(16, 7, 7, 192, 8, 6, Steps(120)),
    "standard": Profile(32, 7, 16, 256, 32, 12, Steps(1000)),
    "paper": Profile(64, 7, 32, 256, 50, 50, Steps(10_000, batch=32, rate=1e-4)),
}
chosen = PROFILES[profile]
chosen

# %% [markdown]
# ## How far a network looks
#
# An output pixel depends on a square of the input, its *receptive field*. For $l$ convolutions of
# $k \times k$ pixels without strides it is $1 + l(k - 1)$ pixels wide; strides, branches, crops and
# changes of scale make it harder {cite:p}`araujo2019`. `receptive_field` follows every layer, for
# each position of an axis, with the first and the last input pixel that it sees and whether padding
# reaches it. A layer that it does not know is refused. Then the answer is measured: with NaN in
# all pixels but the derived square the output must stay finite (*enough*), and with NaN in its first
# or last row or column alone it must not (*tight*). NaN survives every weight, however small, so
# this also sees what a gradient cannot. The networks of the paper, as published:

# %% tags=["nbval-check-output"]
from recon.learning.tiling import holds

torch.manual_seed(seed)
for network in (ValidResidual(8), PaddedResidual(8)):
    field = receptive_field(network)
    enough, tight = holds(network, field)
    print(
        f"{type(network).__name__:15} receptive field {field.size:3}, margin {field.margin}, "
        f"measured: enough {enough}, tight {tight}"
    )

# %% [markdown]
# The *margin* is what a tile must bring along on each side, $(R - 1) / 2$ for a receptive field of
# $R$ pixels. Now two networks that learn to remove noise. Both draw the same patches under the same
# noise; the valid one is given its margin around them. Where both have as many blocks, they also start
# from the same weights.

# %%
where = str(pick_device(device))
_, clean = noisy_slices(range(1000, 1000 + chosen.people), chosen.size, contrast, noise)
noisy, truth = noisy_slices(range(2000, 2000 + chosen.tested), chosen.size, contrast, noise)
torch.manual_seed(seed)
valid = ValidResidual(chosen.width, chosen.valid, add_input=True).to(where)
padded = PaddedResidual(chosen.width, chosen.padded, add_input=True).to(where)
fresh = PaddedResidual(chosen.width, chosen.padded, add_input=True).to(where)
fresh.load_state_dict(padded.state_dict())
if chosen.valid == chosen.padded:
    valid.load_state_dict(padded.state_dict())
losses = {
    name: fit_denoiser(net, clean, noise, chosen.steps, seed, name, around=valid.margin)
    for name, net in (("valid", valid), ("padded", padded))
}
for net in (valid, padded, fresh):
    net.eval()

# %%
exact = receptive_field(padded).margin
with torch.no_grad():
    whole = {
        "padded": padded(noisy.to(where)).cpu(),
        "valid": valid(
            torch.nn.functional.pad(noisy, (receptive_field(valid).margin,) * 4).to(where)
        ).cpu(),
    }
error = {"noisy": noisy - truth, **{name: image - truth for name, image in whole.items()}}
print({name: f"RMSE {float(one.square().mean().sqrt()):.4f}" for name, one in error.items()})

# %% [markdown]
# ## Seams
#
# Both networks, patches of several sizes. The padded one's lie side by side; it sees zeros beyond each,
# where the whole image goes on, and all that it draws is kept. The valid one's overlap by what it takes
# away, so that its tiles lie side by side. How large is the difference from the whole image, relative to
# the standard deviation of that image?

# %%
PATCHES = {"padded": (32, 64, 96), "valid": (48, 64, 96)}


def tiled(net, images, size, margin=None) -> torch.Tensor:
    """All images by patches of a size, cropped by a margin; below the exact one, seams and all."""
    exact = receptive_field(net, check=False).margin
    cropped = exact if margin is None else margin
    given = {"tile": size - 2 * cropped, "margin": margin, "approximate": cropped < exact}
    return torch.cat([apply_tiled(net, image[None], **given, check=False) for image in images])


def relative(result: torch.Tensor, reference: torch.Tensor) -> np.ndarray:
    """Difference over the reference's deviation, image by image."""
    return ((result - reference) / reference.std(dim=(1, 2, 3), keepdim=True)).numpy()


runs, seconds = {}, {}
for size in PATCHES["padded"]:
    runs[f"padded_{size}"] = relative(tiled(padded, noisy, size, margin=0), whole["padded"])
for size in PATCHES["valid"]:
    runs[f"valid_{size}"] = relative(tiled(valid, noisy, size), whole["valid"])

# %% mystnb={"figure": {"name": "fig-seams", "caption": "Difference between tiled and whole output of the first test slice, by size of the patches. One logarithmic scale for all; the palest colour is less than a hundred-millionth of the image's deviation."}, "image": {"alt": "Two rows of three square maps, for padded and valid networks and three sizes of patches; lines along the borders of tiles where there are differences."}}
from recon.results import tiles as tile_figures

_ = tile_figures.error_maps(
    {
        name: {f"patches of {size}": runs[f"{name}_{size}"][0, 0] for size in sizes}
        for name, sizes in PATCHES.items()
    }
)

# %% [markdown]
# ## Discarding tainted pixels instead
#
# Which pixels of a cascade of convolutions are tainted can be calculated, says the paper, and those
# discarded. But it holds that to remove them precisely from a padded network takes an adjustment from
# layer to layer. Does it? They lie within a known distance of the border. So let every patch of the padded
# network bring along some pixels on each side of its tile, and crop them from the *output* alone. How
# many does it take? The margin is raised step by step, for tiles of one size, for the trained network and
# for the same network before training.

# %%
steps = sorted({0, 1, 2, 4, *range(6, exact, max(2, exact // 8)), exact - 1, exact, exact + 2})
some = noisy[:2]
curves, zero = {}, {}
for name, net in (("trained", padded), ("untrained", fresh)):
    with torch.no_grad():
        reference = net(some.to(where)).cpu()
    results = {m: tiled(net, some, patch + 2 * m, margin=m) for m in steps}
    curves[name] = {m: float(np.abs(relative(r, reference)).max()) for m, r in results.items()}
    zero[name] = [m for m in steps if torch.equal(results[m], reference)]

# %% mystnb={"figure": {"name": "fig-margins", "caption": "Largest difference between tiled and whole output by the margin that is cropped from every tile of a padded network. The dotted line is the margin that the receptive field asks for."}, "image": {"alt": "Two falling curves on a logarithmic axis over the margin in pixels, with a dotted vertical line at the exact margin and a grey line for exact zeros at the bottom."}}
_ = tile_figures.margin_curves(curves, exact)

# %%
least = {name: min(margins, default=None) for name, margins in zero.items()}
Markdown(
    f"Margin from the receptive field: {exact}. Least of the tried margins at which all bits agree "
    f"(`torch.equal`): {least['trained']} after training, {least['untrained']} before. One pixel "
    f"less leaves {curves['trained'][exact - 1]:.1e} and {curves['untrained'][exact - 1]:.1e}."
)

# %% [markdown]
# A padded network with its margin *is* crop-equivariant, in equation 1's sense, away from the
# border of the image; at that border it pads as it always does. What valid convolutions add is
# that they leave no choice, and that a receptive field kept small keeps the margin small.
#
# Agreement to the last bit takes more than a margin. Sums of floating-point numbers depend on their
# order, and a backend may choose the order by the size of its input: PyTorch computes a float32
# convolution on a CPU by oneDNN if it is large, and by a matrix product if it is small. The tool
# looks up which of them the whole image would take and uses it for the tile:

# %%
from recon.learning.tiling.backends import Interpreter
from recon.results.source import source

source(Interpreter.run_node)

# %% [markdown]
# ## What common tools do
#
# Common tools let patches of a fixed size overlap. MONAI {cite:p}`cardoso2022` and nnU-Net
# {cite:p}`isensee2021` average the outputs: all alike, or under a Gaussian window, so that pixels near a
# patch's border count less. Less is not nothing. TorchIO {cite:p}`perezgarcia2021` crops half the overlap
# from each output unless told to average or to use a Hann window. Once that half is the margin, this *is*
# the route of the section above; the tool does not know the margin, so its user has to. The same trained
# network, the same patches; for the two exact routes, patches that keep a tile of 32 pixels at least:

# %%
from recon.learning.tiling.blending import blend, crop_overlap

NAMES = {
    "constant_0": "side by side",
    "constant_25": "mean, overlap 25 %",
    "constant_50": "mean, overlap 50 %",
    "gaussian_25": "Gaussian, overlap 25 %",
    "gaussian_50": "Gaussian, overlap 50 %",
    "hann_50": "Hann, overlap 50 %",
    "crop_25": "overlap 25 %, half cropped",
    "crop_50": "overlap 50 %, half cropped",
    "padded_margin": "padded, margin cropped",
    "valid_tiled": "valid",
}
SCHEMES = {
    "constant_0": ("constant", 0.0),
    "constant_25": ("constant", 0.25),
    "constant_50": ("constant", 0.5),
    "gaussian_25": ("gaussian", 0.25),
    "gaussian_50": ("gaussian", 0.5),
    "hann_50": ("hann", 0.5),
}
for name, (kind, overlap) in SCHEMES.items():
    begun = time.perf_counter()
    mixed = [blend(padded, image[None].to(where), patch, overlap, kind).cpu() for image in noisy]
    seconds[name] = (time.perf_counter() - begun) / len(noisy)
    runs[name] = relative(torch.cat(mixed), whole["padded"])

# %%
used = {name: (patch, patch) for name in SCHEMES}  # patch, and what is kept of it
for name, share in (("crop_25", 0.25), ("crop_50", 0.5)):
    shared = 2 * int(share * patch / 2)
    begun = time.perf_counter()
    drawn = [crop_overlap(padded, image[None].to(where), patch, shared).cpu() for image in noisy]
    seconds[name] = (time.perf_counter() - begun) / len(noisy)
    runs[name], used[name] = relative(torch.cat(drawn), whole["padded"]), (patch, patch - shared)
for name, net in (("padded", padded), ("valid", valid)):
    method = {"padded": "padded_margin", "valid": "valid_tiled"}[name]
    around = 2 * receptive_field(net, check=False).margin
    ample = max(patch, around + 32)
    begun = time.perf_counter()
    runs[method] = relative(tiled(net, noisy, ample), whole[name])
    seconds[method] = (time.perf_counter() - begun) / len(noisy)
    used[method] = ample, ample - around

# %%
columns = {
    "mean square": lambda e: f"{(e**2).mean():.1e}",
    "largest": lambda e: f"{np.abs(e).max():.1e}",
}
shown = {
    NAMES[name]: {
        "patch": used[name][0],
        "kept": used[name][1],
        **{title: say(runs[name]) for title, say in columns.items()},
        "s an image": f"{seconds[name]:.2f}",
    }
    for name in NAMES
}
pd.DataFrame(shown).T.rename_axis("error / deviation")

# %% mystnb={"figure": {"name": "fig-blending", "caption": "What is left of the seams under three windows and under a cropped margin: the trained padded network, patches as in the table."}, "image": {"alt": "Four maps of the difference from the whole image on one logarithmic scale, for constant, Gaussian and Hann windows with half overlap and for cropping."}}
_ = tile_figures.error_maps(
    {
        "padded": {
            NAMES[n]: runs[n][0, 0]
            for n in ("constant_50", "gaussian_50", "hann_50", "padded_margin")
        }
    }
)

# %% [markdown]
# ## How far a trained network *really* looks
#
# Most paths from an input pixel to an output pixel run through the middle of the receptive field, so
# its rim counts for little: the *effective* receptive field is smaller {cite:p}`luo2016`, trained or
# not. This would explain why seams fade long before the margin is exact. The paper says that *training*
# makes it smaller: a padded network learns weights near zero at the edges of its kernels. How wide is the
# square that holds 95 % of the gradient's magnitude, before and after training?

# %%
from recon.learning.tiling.study import gradient_map, half_width

fields = {"padded, untrained": fresh, "padded, trained": padded, "valid, trained": valid}
theory = {name: receptive_field(net, check=False).size for name, net in fields.items()}
window = max(theory.values())
maps = {name: gradient_map(net, noisy, window) for name, net in fields.items()}
halves = {name: half_width(one) for name, one in maps.items()}
print({name: f"{2 * halves[name] + 1} of {theory[name]} pixels" for name in fields})

# %% mystnb={"figure": {"name": "fig-effective", "caption": "Mean magnitude of the gradient of one output pixel over its maximum, log scale over five decades, as wide as the largest receptive field. The blue square holds 95 % of it."}, "image": {"alt": "Three square maps, bright in the middle and darker outwards, each with a blue square around the middle."}}
_ = tile_figures.gradient_maps(maps, [halves[name] for name in fields])

# %% [markdown]
# ## What no margin repairs
#
# A layer that normalises over space makes every pixel depend on all others: the receptive field is
# the image. So does pooling over the image. The tool says so and stops, unless told to approximate.
# How much is then left, with a margin as wide as that of the convolutions?

# %%
from recon.errors import InputError

torch.manual_seed(seed)
convs = [torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.InstanceNorm2d(16), torch.nn.ReLU()]
normalised = torch.nn.Sequential(*convs, torch.nn.Conv2d(16, 1, 3, padding=1)).eval()
try:
    apply_tiled(normalised, noisy[0, 0], tile=patch)
except InputError as refusal:
    print(refusal)
with torch.no_grad():
    reference = normalised(noisy[:1])
for margin in (0, 2, 16):
    rough = apply_tiled(normalised, noisy[:1], patch, margin=margin, approximate=True)
    print(f"margin {margin:2}: largest error {np.abs(relative(rough, reference)).max():.1e}")

# %% [markdown]
# ## What each route costs
#
# Every tile computes its margin again. What is computed twice falls with the tile's size, the memory rises
# with it, so the tile of the networks' training need not be the best. `plan_tiles` looks for the one that
# takes least time within a budget; its memory is predicted from the sizes of the activations, and the tests
# hold it against the resident set.
#
# A tile need not be in memory all at once. To draw its next rows, a 3 x 3 convolution needs the last two rows
# that it saw, and nothing else from before. So the tool computes a tile in strips, and every layer keeps
# the few rows that the next strip takes {cite:p}`alwani2016`. Within a tile nothing is
# computed twice, however deep the network, and the memory of the activations is that of a strip. oneDNN
# wants the channels of a pixel together in memory, in blocks; PyTorch keeps them apart and copies to and
# fro at every convolution. Where one block holds all channels that a layer takes, the strips keep them together
# too, once a measurement has shown that this changes no bit:

# %%
from recon.learning.tiling.strips import Strips

source(Strips.run)

# %% [markdown]
# For an image of 4096 x 4096 pixels and 64 feature maps, the pixels of all patches over those of the image:

# %%
from recon.learning.tiling import plan_tiles, trace

costs = []
for name, net in (
    ("valid, 16 convolutions", ValidResidual()),
    ("padded, 66 convolutions", PaddedResidual()),
):
    graph, field = trace(net), receptive_field(net, check=False)
    size = (4096, 4096)
    plans = {
        f"{budget} MB": plan_tiles(graph, field, size, memory_mb=budget)
        for budget in (200, 500, 1000, 4000)
    }
    plans["4000 MB, no strips"] = plan_tiles(graph, field, size, memory_mb=4000, strips=False)
    plans["tiles of 64"] = plan_tiles(graph, field, size, 64)
    for budget, plan in plans.items():
        line = {"network": name, "budget": budget, "tile": plan.tile[0], "tiles": len(plan)}
        costs.append(line | {"pixels": f"{plan.work():.2f}"})
wide = pd.DataFrame(costs).pivot(index="budget", columns="network").swaplevel(axis=1)
wide.sort_index(axis=1).loc[list(plans)]

# %% [markdown]
# Pixels are not seconds. An array that outgrows the processor's caches is read from memory again by every
# layer, so a large tile can be slower than several small ones, and a whole image slower than its tiles. Each
# route on one image, in turn, several times; all that is exact is marked by its bits:

# %%
from recon.learning.slicewise import timings

side = 640
torch.manual_seed(seed)
large = torch.randn(1, 1, side, side, device=where)
with torch.no_grad():
    reference = padded(large).cpu()
routes = {
    "whole image": lambda: padded(large).cpu(),
    "strips, planned tile": lambda: apply_tiled(padded, large, check=False).cpu(),
}
for one in (max(64, 2 * exact + 32), 256):
    tile = one - 2 * exact
    route = f"patches of {one}, tiles of {tile}"
    routes[route] = lambda tile=tile: apply_tiled(padded, large, tile, check=False).cpu()
averaged = "patches of 64, Gaussian, overlap 50 %"
routes[averaged] = lambda: blend(padded, large, 64, 0.5, "gaussian").cpu()
with torch.no_grad():
    clock = timings(routes).median()
    equal = {name: torch.equal(run(), reference) for name, run in routes.items()}
each = pd.DataFrame({"seconds": clock.round(3), "equal bits": equal})
each.assign(**{"over the whole": (clock / clock["whole image"]).round(2)})

# %% [markdown]
# Two benchmarks measure more than a page has time for: `benchmarks/tiling_memory.py` the resident set from
# 256 to 16384 pixels a side, `benchmarks/tiling_monai.py` time and memory beside MONAI's own sliding windows,
# at equal exactness. {doc}`crop_equivariance` takes a volume of 8 GB through.
#
# MONAI's user chooses the window. A large one computes little twice; the largest is the whole image, which
# is no tiling at all. What tiles are for is a limit on memory. So the throughput of this book's tool is
# compared twice: with MONAI's fastest window of all that were tried, and with the fastest that takes no
# more memory than the tool did (or, if every window takes more, with the one that takes least). Seconds
# are those of the processor, and the median of several rounds in turn; memory is the peak of the resident
# set in one run of a fresh process, beyond what it held before.
#
# Windows overlap by the margin, so a deeper network costs MONAI more. The published valid network has 7
# residual blocks; 32 are the depth of its padded comparator. With three axes it is a volume that goes
# through as many plain convolutions. The goal that this book set itself is 1.5 times the throughput of
# the fastest window. Where is it met? (Above 1 this book's tool is faster.)

# %%
from IPython.display import display

from recon.results.store import reference_dir

stored, monai = reference_dir(), "tiling_monai"
display(tile_figures.benchmark(stored / "tiling_memory.csv", "Memory under a cap", 3))
named = "This book's throughput over MONAI's (its window, pixels, and the memory that it takes)"
display(tile_figures.throughput(stored / f"{monai}_ratios.csv", named))
tile_figures.met(stored / f"{monai}_ratios.csv", 1.5)

# %% [markdown]
# Every window that was tried. Where bits are not equal, two windows gave the same pixel and MONAI took the
# mean of both.

# %%
tile_figures.benchmark(stored / f"{monai}.csv", "Time and memory beside MONAI's, measured", 5)

# %% [markdown]
# ## What this run says of the paper's claims

# %%
from recon.results import claims, provenance, store, tables
from recon.results.statistics import summarise

scores = []
for index in range(len(noisy)):
    common = {
        "volume": f"person {index}",
        "contrast": contrast,
        "effective_accel": 1.0,
        "region": "full",
    }
    for name, errors in {**runs, "whole": np.zeros_like(runs["padded_32"])}.items():
        value = float((errors[index] ** 2).mean())
        scores.append({**common, "method": name, "metric": "tile_mse", "value": value})

# %% [markdown]
# The width of the effective field and the time of an image are measured image by image too: the time of
# patches side by side, and of patches of growing size that begin every 32 pixels, so that larger ones
# compute more of the image again.

# %%
for index, image in enumerate(noisy):
    common = {
        "volume": f"person {index}",
        "contrast": contrast,
        "effective_accel": 1.0,
        "region": "full",
    }
    for size in PATCHES["padded"]:
        for label, step in (("padded", size), ("overlap", 32)):
            begun = time.perf_counter()
            crop_overlap(padded, image[None].to(where), size, size - step).cpu()
            took = time.perf_counter() - begun
            row = {"method": f"{label}_{size}", "metric": "seconds_test", "value": took}
            scores.append(common | row)
    for name, net in (("field_trained", padded), ("field_untrained", fresh)):
        width = 2 * half_width(gradient_map(net, image[None], theory["padded, trained"])) + 1
        scores.append(common | {"method": name, "metric": "field_width", "value": float(width)})
pairs = [("valid_tiled", "whole"), ("padded_margin", "whole"), ("padded_32", "padded_64")]
pairs += [("padded_64", "padded_96"), ("padded_96", "padded_32"), ("overlap_64", "overlap_32")]
pairs += [("overlap_96", "overlap_64"), ("field_untrained", "field_trained")]
constants = {"data": data, "task": "tiling", "accel": 1}
rows = summarise(pd.DataFrame(scores), pairs, "volume", **constants)

# %%
took = time.perf_counter() - started
made = provenance.collect(
    "ablation_padded_vs_valid", parameters=settings, seed=seed, seconds=took, device=where
)
run = store.Run("ablation_padded_vs_valid", profile, settings, rows, made)
store.save(run)
paper = claims.load("remedios-2022")
tables.verdicts(paper, store.frame([run]))

# %% [markdown]
# ## What differs from the paper
#
# - **Task and data.** Denoising of simulated slices, not super-resolution of scans; whether tiles
#   agree with the whole does not depend on the task.
# - **Depth.** The quick profile gives both networks the same number of blocks, first weights and patches,
#   so that they differ in padding alone (and in the pixels around a patch that valid convolutions need);
#   the published padded network is the `paper` profile's.
# - **Times** are of this machine while it computes this page, and small patches also pay for each call.
#
# ## Exercises
#
# 1. Replace zero padding by `padding_mode="reflect"`. Do the seams weaken? Does the exact margin
#    change?
# 2. Train with `noise=0.3`. What becomes of the effective receptive field, and why?
# 3. How many rows does the published padded network keep between two strips, all layers together? Compare
#    with the rows of a tile's two margins.
# 4. Write a network with a U-Net's strides. Which sizes of tiles does `plan_tiles` choose, and what
#    happens to an image whose size the strides do not divide?
