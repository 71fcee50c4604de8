# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Errata: where a paper contradicts itself
#
# A formula with a wrong sign, a listing that returns the wrong variable: whoever builds on a paper
# meets them one by one. Each entry here names the place, of an error or of a gap, and a cell shows it by
# computing what is printed beside what was meant or what follows from it. Nothing is trained, and where
# an image is needed it is noise or simulated. An error of print need not be an error of the work: where
# we can tell the two apart, the entry says so.

# %% tags=["parameters"]
width = 368  # columns of k-space in the examples
seed = 0  # of the random examples

# %%
import torch

from recon.results import parameters

rules = {"width": parameters.whole(64, 1024), "seed": parameters.MRI["seed"]}
settings = parameters.check(globals(), rules)
generator = torch.Generator().manual_seed(seed)
found = []


def entry(place, what, printed, meant):
    """Show what is printed or coded beside what was meant or computed; keep both for the end."""
    found.append((place, what, printed, meant))
    print(f"as printed or coded: {printed}; as meant, or computed: {meant}")


def noise(*shape):
    """Complex noise of unit variance."""
    return torch.randn(*shape, dtype=torch.complex64, generator=generator)


# %% [markdown]
# ## The replication of PC-RNN
#
# {cite:t}`devoto2020` is a student's report, candid about falling short of the original. Some of what
# follows is more than a slip of print if it ran as printed: {doc}`replication` trains with each and
# measures what it costs.
#
# ### Data consistency is computed and thrown away (listing 4)
#
# The layer stores the consistent image in one variable and returns another, its input. Below,
# `returned` is what the listing returns.

# %%
from recon.physics.encoding import data_consistency

image, kspace = noise(1, 1, 64, 64), noise(1, 1, 64, 64)
mask = torch.rand(1, 1, 1, 64, generator=generator) < 0.25
returned, meant = image, data_consistency(image, kspace, mask)


def misfit(candidate):
    """Largest difference from the measurement among the measured samples."""
    difference = torch.fft.fft2(candidate, norm="ortho") - kspace
    return difference.abs()[mask.expand_as(difference)].max().item()


entry("listing 4", "returns its input", f"misfit {misfit(returned):.2f}", f"{misfit(meant):.0e}")

# %% [markdown]
# ### A decoder that cannot be negative (listing 2)
#
# Real and imaginary parts of an image have either sign; a decoder that ends in a ReLU can draw
# neither the negative half of the one nor of the other.

# %%
parts = torch.view_as_real(image)
lost = 1 - parts.relu().square().sum() / parts.square().sum()
entry("listing 2", "decoder ends in a ReLU", f"{lost:.0%} of the energy lost", "none")

# %% [markdown]
# ### k-space and image on different scales (listing 1)
#
# k-space is reduced to mean 0 and standard deviation 1, then masked, transformed and cropped to
# 240 x 240 pixels, and the image that is left is reduced once more, by its own numbers (lines 6 to 18).
# Afterwards k-space and image differ in scale and offset, and the samples that data consistency would
# put back do not belong to the image. To see this alone, and not what the crop cuts off, the cell takes
# the cropped image before and after its own reduction. The crop is a square whose side is the listing's
# share of 240 in 368 columns.

# %%
from recon.data.fastmri import read_volume
from recon.data.splits import open_split
from recon.physics.fourier import centre_crop, fft2c, ifft2c
from recon.physics.sampling import make_mask

volume = read_volume(open_split("simulated_knee", "multicoil", "val")[0], slice(0, 1))
full = torch.from_numpy(volume.kspace[0, :1])


def standardised(values):
    """Mean 0 and standard deviation 1 over real and imaginary parts."""
    parts = torch.view_as_real(values)
    return torch.view_as_complex((parts - parts.mean()) / parts.std())


measured = standardised(full) * make_mask(full.shape[-1], 4, 0.08, "random", seed)
side = min(round(full.shape[-1] * 240 / 368), full.shape[-2])
cropped = centre_crop(ifft2c(measured), (side, side))
together, apart = fft2c(cropped), fft2c(standardised(cropped))
relative = ((apart - together).abs().square().sum() / together.abs().square().sum()).sqrt()
entry("listing 1", "image normalised apart from k-space", f"{relative:.0%} apart", "0%")

# %% [markdown]
# ### What lies outside the crop (listing 4)
#
# Inside data consistency the cropped image is padded with zeros to the size of k-space. The samples
# of such an image differ from the measured ones by all the signal that the crop cut off. The listing
# keeps 240 of some 640 x 368 pixels on either axis; the cell keeps the same shares of a simulated knee.

# %%
image = ifft2c(full)
height, columns = image.shape[-2:]
kept = centre_crop(image, (round(height * 240 / 640), round(columns * 240 / 368)))
outside = 1 - kept.abs().square().sum() / image.abs().square().sum()
entry("listing 4", "crops, then pads", f"{outside:.1%} of the energy gone", "0%")

# %% [markdown]
# ### 320 becomes 321 (figure 6)
#
# The table of layers gives 320 x 320 after a transposed convolution with kernel 4, stride 1 and
# padding 1.

# %% tags=["nbval-check-output"]
layer = torch.nn.ConvTranspose2d(1, 1, kernel_size=4, stride=1, padding=1)
side = layer(torch.zeros(1, 1, 320, 320)).shape[-1]
entry("figure 6", "output of DeConv(1, 4, 1)", "320", str(side))

# %% [markdown]
# ### Six maps out, or six maps in? (figure 6)
#
# The column is headed "output size". By the letter, the first convolution of the last CNN then draws 6
# feature maps, before two that draw 96. But 6 is also what it is *given*, three images of two channels.
# Which of the two ran is not said, and no count of parameters is printed; the book's networks draw 96
# at once. Parameters of both last CNNs:

# %% tags=["nbval-check-output"]
from itertools import pairwise

from recon.networks.channels import parameter_count


def last_cnn(*maps):
    """Parameters of 3 x 3 convolutions through these numbers of feature maps."""
    layers = [torch.nn.Conv2d(inputs, outputs, 3) for inputs, outputs in pairwise(maps)]
    return parameter_count(torch.nn.Sequential(*layers))


printed, meant = last_cnn(6, 6, 96, 96, 2), last_cnn(6, 96, 96, 96, 2)
entry("figure 6", "parameters of the last CNN", f"{printed:,}", f"{meant:,} (our reading)")

# %% [markdown]
# ### Uphill (equation 3)
#
# Gradient descent on $\tfrac12\|y - x\|^2 + R(x)$ moves *against* the gradient of $R$; equation 3 adds
# it. With $R(x) = \tfrac12\|x\|^2$ and 50 steps of length 0.1:

# %% tags=["nbval-check-output"]
y = torch.ones(8)
objective = {}
for name, sign in (("printed", 1), ("meant", -1)):
    x = torch.zeros(8)
    for _ in range(50):
        x = x + 0.1 * ((y - x) + sign * x)
    objective[name] = (0.5 * (y - x).square() + 0.5 * x.square()).sum().item()
what = "objective after 50 steps, sign of grad R"
entry("equation 3", what, *(f"{v:.2f}" for v in objective.values()))

# %% [markdown]
# ### An image unlike itself (equation 15)
#
# SSIM's second denominator takes $c_1$ where $c_2$ belongs. An image compared with itself then scores
# above 1, and most where it is flat.

# %% tags=["nbval-check-output"]
c1, c2 = 0.01**2, 0.03**2
variance = torch.tensor([0.0, 1e-4, 1e-2])  # of a flat, a quiet and a busy window, L = 1
printed = ((2 * variance + c2) / (2 * variance + c1)).tolist()
values = ", ".join(f"{v:.2f}" for v in printed)
entry("equation 15", "SSIM of an image with itself", values, "1 everywhere")

# %% [markdown]
# ### A loss that prefers a worse image (equation 16)
#
# The loss adds $\beta$ times the similarity, where one minus the similarity is meant. The target itself
# then costs more than the target with a little noise.

# %%
from fastmri.losses import SSIMLoss

target = ifft2c(full).abs()[None]
target = target / target.max()
noisy = (target + 0.05 * torch.randn(target.shape, generator=generator)).abs()
costs = []
for candidate in (target, noisy):
    nmse = (candidate - target).square().sum() / target.square().sum()
    costs.append((nmse + 0.5 * (1 - SSIMLoss()(candidate, target, torch.ones(1)))).item())
text = f"target {costs[0]:.2f}, with noise {costs[1]:.2f}"
entry("equation 16", "SSIM is added", text, "target least")

# %% [markdown]
# Equations 9 to 11 of the report name the module ConvRNN1 three times; the table of figure 6 gives the
# three modules different widths, so that one is a slip of the pen. Its table 1 has a column for 8x,
# while sections 3.1 and 5 name 2x and 4x only: how the 8x network was trained stays open.
#
# ## PC-RNN
#
# Errors of {cite:t}`chen2022`, by the numbers of the published paper.
#
# ### A transpose that should be conjugate (equation 3)
#
# The gradient of $\tfrac12\|Ax - y\|^2$ holds the *conjugate* transpose $A^H$; equation 3 prints $A^T$. Only
# the first passes the dot-product test $\langle Ax, y\rangle = \langle x, A^H y\rangle$. The network learns its own
# step, so this is an error of print.

# %%
from recon.physics.encoding import adjoint, encode

coils = noise(4, 32, 32)
everything = torch.ones(1, 1, 32, dtype=torch.bool)
x, y = noise(32, 32), noise(4, 32, 32)

left = torch.sum(encode(x, coils, everything) * y.conj())
gap = {}
for name, back in (
    ("printed", (coils * torch.fft.fft2(y, norm="ortho")).sum(0)),
    ("meant", adjoint(y, coils, everything)),
):
    gap[name] = ((left - torch.sum(x * back.conj())).abs() / left.abs()).item()
entry("Chen, equation 3", "A^T for A^H", f"gap {gap['printed']:.0%}", f"{gap['meant']:.0e}")

# %% [markdown]
# ### Equispaced masks are slower than they say (section IV-B)
#
# Equispaced lines at every $R$-th column *plus* a fully sampled centre measure more than one column in
# $R$. fastMRI's own test data use a spacing that makes up for it (`equispaced_fraction`). The paper
# says equispaced for brains and gives 4x and 6x without an effective rate. Nor does it name the share
# of the centre: the cell takes those of this book, fastMRI's 8 % at 4x and a straight line from there
# to its 4 % at 8x.

# %%
from recon.physics.sampling import effective_acceleration, standard_center_fraction

centres = [standard_center_fraction(accel) for accel in (4, 6)]
rates = []
for accel, centre in zip((4, 6), centres, strict=True):
    draws = [make_mask(width, accel, centre, "equispaced", s) for s in range(50)]
    rates.append(sum(map(effective_acceleration, draws)) / len(draws))
entry(
    "Chen, section IV-B",
    f"equispaced 4x, 6x; centres of {centres[0]:.0%}, {centres[1]:.0%} assumed",
    "4, 6",
    f"effectively {rates[0]:.2f}, {rates[1]:.2f}",
)

# %% [markdown]
# ### A PSNR and an SSIM that exclude each other (table III)
#
# Compression to four coils is said to leave 73.0 dB and an SSIM of 0.931. But SSIM falls at most by the
# mean square error over $c_1 = (0.01 L)^2$, up to the border, whatever the error looks like, where $L$ is the maximum that
# both scores refer to. So no single image can have both:

# %% tags=["nbval-check-output"]
from recon.results import claims
from recon.results.audit import least_ssim

paper = claims.load("chen-2022")
for _, _, method, (psnr, ssim) in paper.tables["III"].rows:
    coils = paper.methods[method]
    print(f"{coils}: SSIM {ssim:.3f}, but at {psnr} dB at least {least_ssim(psnr):.6f}")
_, _, _, (psnr, ssim) = paper.tables["III"].rows[0]
entry("Chen, table III", f"SSIM at {psnr} dB", f"{ssim}", f"at least {least_ssim(psnr):.4f}")

# %% [markdown]
# The likely cause is the average. A scan with no more coils than virtual coils is compressed without
# loss, and its PSNR is set by rounding alone. Averaged in decibels, a few such scans lift the mean
# over all others. The example mixes scans at 40 dB with lossless ones at 140 dB:

# %%
for share in (0, 0.1, 0.33, 0.9):
    mean = share * 140 + (1 - share) * 40
    print(f"{share:.0%} of the scans lossless: mean PSNR {mean:.0f} dB")

# %% [markdown]
# If so, table III's PSNR says how many scans had few coils, rather than how well many coils are
# compressed. A median, or the mean over scans that lose something, would say the latter;
# {doc}`coil_compression` counts both on simulated arrays.

# %% [markdown]
# ## CARN and New CARN
#
# Errors of {cite:t}`stoian2020`, a student's report; {doc}`carn` builds, trains and times every network of
# its table 1.
#
# ### Weights that count and never learn (table 1)
#
# The counts of table 1 fit a program that builds a block for networks of one block *and* the blocks of
# longer ones, whatever is asked for; a backward pass reaches only one kind. The published code of CARN
# (ofsoundof/CARN, `model.py`) builds only the kind it calls, so this is the report's own program, which
# is not public. The row that suffers most:

# %%
from recon.learning.budget import live_parameters
from recon.networks.table_one import build
from recon.results import super_resolution

stoian = claims.load("stoian-2020")
table_1 = super_resolution.published(stoian)
live = {
    name: live_parameters(build(name.replace("new_carn", "counted")))
    for name in table_1.parameters.dropna().index
}
worst = min(live, key=lambda name: live[name] / table_1.parameters[name])
printed = f"{stoian.methods[worst]}: {table_1.parameters[worst]:,.0f}"
entry("Stoian, table 1", "dead weights counted", printed, f"{live[worst]:,} can learn")

# %% [markdown]
# ### Blocks that were not replaced (section 4.2 against table 1)
#
# The text replaces the regressors of every block and normalises every convolution. The counts are those of
# networks whose middle blocks are still CARN's own: 11 of the 13 of the deepest. {doc}`carn` shows that
# no other polynomial in the channels fits.

# %% tags=["nbval-check-output"]
deepest = "new_carn_13_8"
printed = f"{stoian.methods[deepest]}: {table_1.parameters[deepest]:,.0f}"
entry("Stoian, table 1", "old blocks counted", printed, f"{parameter_count(build(deepest)):,}")

# %% [markdown]
# ### Times that do not know it (table 1)
#
# By the counts, a further block is the same in CARN and New CARN. By the seconds it is not, so
# either the counts or the seconds belong to other networks. Slopes over the rows of 3 blocks and more:

# %% tags=["nbval-check-output"]
for c in (8, 16):
    ratio = {
        column: super_resolution.time_per_block(table_1[column], "carn", c)
        / super_resolution.time_per_block(table_1[column], "new_carn", c)
        for column in ("parameters", "seconds")
    }
    what = f"a further block of {c} channels, CARN over New CARN"
    counted = f"{ratio['seconds']:.1f} in seconds"
    entry("Stoian, table 1", what, counted, f"{ratio['parameters']:.1f} in parameters")

# %% [markdown]
# ### A third layer of 16 channels (section 5.2)
#
# The text gives each of SRCNN's three convolutions 16, 32 or 64 output channels. The third must draw
# one grey image, and the count in table 1 says that it does.

# %% tags=["nbval-check-output"]
sides = ((1, 16, 9), (16, 16, 5), (16, 16, 5))
three = sum(out * (inputs * side**2 + 1) for inputs, out, side in sides)
one = parameter_count(build("srcnn_16"))
entry(
    "Stoian, section 5.2",
    "SRCNN 16, each layer of 16",
    f"{three:,} parameters",
    f"{one:,}, table 1",
)

# %% [markdown]
# ### Slower than what? (section 5.2 against table 1)
#
# The text calls the SRCNN networks much more expensive in inference time. The table gives the smallest
# less time than the report's best network:

# %% tags=["nbval-check-output"]
pair = [table_1.seconds[name] for name in ("srcnn_16", deepest)]
entry(
    "Stoian, section 5.2",
    "SRCNN 16 slower than New CARN-13-8-8",
    "slower",
    "{} s beside {} s".format(*pair),
)

# %% [markdown]
# ### Which part costs most? (section 4.3)
#
# The cost of the blocks is said to be significantly larger than that of the layers of features, so that
# the network's cost goes with theirs. Share of CARN's operations that its features take:

# %% tags=["nbval-check-output"]
from recon.learning.budget import operations

share = {}
for name in ("carn_1_8", "carn_5_8", "carn_9_8", "carn_9_16"):
    net = build(name)
    share[stoian.methods[name]] = operations(net.features, 80, 80) / operations(net, 80, 80)
shown = ", ".join(f"{value:.0%} of {name}" for name, value in share.items())
entry("Stoian, section 4.3", "cost of CARN's features", "significantly smaller", shown)

# %% [markdown]
# ## Crop-equivariance
#
# {cite:t}`remedios2022` describe a construction that works as they say: {doc}`crop_equivariance` measures
# it. The entries are of its text.
#
# ### Reduced by the receptive field, less one (section 2.1)
#
# Valid convolutions are said to reduce the image by the network's receptive field. Equation 2 takes
# away $2l\lfloor k/2 \rfloor$ pixels, one less than the field. For the published 16 layers of 3 x 3:

# %% tags=["nbval-check-output"]
from recon.learning.tiling import apply_tiled, receptive_field
from recon.networks.residual_sr import PaddedResidual, ValidResidual

valid, padded = ValidResidual(4).eval(), PaddedResidual(4).eval()
drawn = valid(torch.zeros(1, 1, 64, 64)).shape[-1]
field = receptive_field(valid).size
entry("Remedios, section 2.1", "64 pixels lose", f"{field}, the field", f"{64 - drawn}")

# %% [markdown]
# ### One training patch, two sizes (sections 3.3 and 3.4)
#
# Both networks are said to have identical training hyper-parameter setups, but the padded one learns from
# patches of 32 x 32 and the valid one from 64 x 64. Read as what a network *draws* and what it *sees*,
# the two sizes are one:

# %% tags=["nbval-check-output"]
learnt = {"padded": padded(torch.zeros(1, 1, 32, 32)), "valid": valid(torch.zeros(1, 1, 64, 64))}
sizes = ", ".join(f"{name} {image.shape[-1]}" for name, image in learnt.items())
entry("Remedios, section 3.4", "patches of 32 and of 64", "identical setups", f"drawn: {sizes}")

# %% [markdown]
# ### A field four times as wide as its patches (table 1, section 3.4)
#
# The padded network's field is 133 pixels. Trained on 32 x 32, it never draws a pixel without padding
# in sight, so its seams say how it treats padding, rather than how far it has learnt to look. Padding
# reaches half a field in from every side:


# %% tags=["nbval-check-output"]
def tainted_share(size: int) -> float:
    """Share of the pixels of a patch that padding reaches in the padded network."""
    margin = receptive_field(padded, check=False).margin
    free = max(0, size - 2 * margin)
    return 1 - (free / size) ** 2


reached = ", ".join(f"{tainted_share(size):.1%} of {size}" for size in (32, 64, 256))
entry("Remedios, section 3.4", "field learnt on 32 x 32", "32 to 133", f"tainted: {reached}")

# %% [markdown]
# ### Padded networks can be cropped once (section 2.1)
#
# Tainted pixels can be calculated and discarded, says the paper; but their precise removal from a padded
# network is said to require an adjustment from layer to layer. It takes one crop of the output, by half
# the field: {doc}`ablation_padded_vs_valid`. Here with random weights, tiles of 96 pixels:

# %%
torch.manual_seed(seed)
image = torch.randn(1, 1, 256, 256)
padded = PaddedResidual(16).eval()
with torch.no_grad():
    whole = padded(image)
errors = {}
for margin in (65, 66):
    pieces = apply_tiled(padded, image, 96, margin=margin, approximate=margin < 66)
    errors[margin] = float((pieces - whole).abs().max() / whole.std())
left = f"{errors[66]:g} at 66 pixels ({errors[65]:.0e} at 65)"
entry("Remedios, section 2.1", "cropped padded tiles", "layer-by-layer adjustment", f"error {left}")

# %% [markdown]
# ### What one would need to build it (sections 3.1 to 3.3)
#
# Left open are the number of feature maps, the weight of the edges in the loss, the size of the shifts in
# intensity and the spline's treatment of borders. The first alone decides about the size by
# orders of magnitude:

# %% tags=["nbval-check-output"]
counts = {width: parameter_count(ValidResidual(width)) for width in (32, 64, 256)}
spread = ", ".join(f"{number:,} at {width}" for width, number in counts.items())
entry("Remedios, section 3.1", "feature maps", "not given", f"parameters: {spread}")

# %% [markdown]
# ### No significant loss, and no test (section 3.4, figure 5)
#
# The valid network is said to sacrifice no significant performance, over 50 heads. No test, interval or
# margin is given. A loss that is not *found* may be there. How large would it have to be, in standard
# deviations of the difference between the two networks, for a paired t-test over 50 heads to see it four
# times out of five?

# %% tags=["nbval-check-output"]
from scipy import optimize, stats


def power(loss: float, heads: int = 50) -> float:
    """Chance that a two-sided paired t-test at 5 % finds a loss, in standard deviations."""
    limit, shift = stats.t.ppf(0.975, heads - 1), loss * heads**0.5
    t = stats.nct(heads - 1, shift)
    return float(t.sf(limit) + t.cdf(-limit))


least = optimize.brentq(lambda loss: power(loss) - 0.8, 0.01, 1)
entry("Remedios, figure 5", "significant loss", "none, untested", f"seen from {least:.2f} SD on")

# %% [markdown]
# ## Tables that agree with themselves
#
# Not every check finds something. The rows "All" of tables I, II and V should be means of the
# contrasts' rows, weighted by the number of volumes. The cell looks for the weights that fit best,
# and reports by how many half units of the last digit the worst row misses, beyond rounding. Other
# weights may fit as well, so they are no shares of volumes: the check is that some do.

# %%
import pandas as pd

from recon.results.audit import excess, shares

lines = {}
for table in ("I", "II", "V"):
    weights, missed = shares(paper, table, {"psnr": 0.05, "ssim": 0.0005})
    shown = ", ".join(f"{contrast} {share:.2f}" for contrast, share in weights.items())
    lines[table] = {"weights that fit": shown, "worst row beyond rounding": f"{missed:.1f}"}
pd.DataFrame(lines).T.rename_axis("table")

# %% [markdown]
# Weights that fit may leave a contrast out altogether, so for four contrasts the check is weak. The true
# numbers of volumes would make it strong, but the paper prints their sum alone (1,378, section IV-A). The
# counts below are recalled from descriptions of fastMRI's release and were not checked against one.
# Do they add up, and do the rows "All" of table V follow from them?

# %% tags=["nbval-check-output"]
volumes = {"T1": 169, "T1POST": 287, "T2": 815, "FLAIR": 107}
missed = excess(paper, "V", volumes, {"psnr": 0.05, "ssim": 0.0005})
print(f"{sum(volumes.values()):,} volumes; worst row beyond rounding: {missed:.1f} half units")

# %% [markdown]
# {cite:t}`stoian2020` report no benefit from 16 channels and anchors, for CARN and New CARN alike (section
# 5.2). By how many dB does the PSNR of their table 1 change from 8 to 16, each in its own number of blocks?

# %% tags=["nbval-check-output"]
for name, family in {"CARN": "carn", "New CARN": "new_carn"}.items():
    pairs = {n: (f"{family}_{n}_8", f"{family}_{n}_16") for n in (1, 3, 5, 9, 13)}
    pairs = {n: pair for n, pair in pairs.items() if {*pair} <= {*table_1.psnr.dropna().index}}
    change = {n: table_1.psnr[wide] - table_1.psnr[narrow] for n, (narrow, wide) in pairs.items()}
    print(f"{name}: " + ", ".join(f"{value:+.2f} with {n}" for n, value in change.items()))

# %% [markdown]
# ## HDcycleGAN: paper against code
#
# {cite:t}`manakov2019` published their code, and in places the two differ; {doc}`hdcyclegan` builds what is
# printed and offers the rest. What is computed on an image is computed on a simulated B-scan.
#
# ### A discriminator 2.5 times as large (table A.2)
#
# The table has a residual block after every down-convolution, the code before it, where there are half
# as many channels (at the first, one).

# %% tags=["nbval-check-output"]
from recon.networks.cyclegan import Discriminator

after, before = (parameter_count(Discriminator(block=place)) for place in ("after", "before"))
entry("Manakov, table A.2", "parameters", f"{after:,}", f"{before:,} in the code")

# %% [markdown]
# ### A contrast that depends on the unit (code of the CNR)
#
# The code squares the sum of a variance and a deviation where the sum of two variances is meant. Grey
# values from 0 to 255 instead of 0 to 1 then change the ratio.

# %%
import numpy as np

from recon.learning import bscans, denoising_scores
from recon.phantoms.retina import render
from recon.physics.speckle import SPECTRALIS, average_frames

eye = render((1, 124, 128), seed)
rng = np.random.default_rng(seed)
twelve, sixty = (average_frames(eye.reflectivity[0], n, SPECTRALIS, rng) for n in (12, 60))
window, regions = bscans.window_of(twelve), bscans.find_regions(bscans.window_of(sixty)(sixty))
seen = window(twelve)
coded, meant = (
    " and ".join(f"{denoising_scores.cnr(unit * seen, regions, c):.2f}" for unit in (1, 255))
    for c in (True, False)
)
entry("Manakov, CNR", "CNR at white 1 and 255", coded, meant)

# %% [markdown]
# ### Images in [0, 1] with a range of 2 (code of the SSIM)
#
# The code names no range. scikit-image of the time then took that of the type, -1 to 1 for floating-point
# numbers; its constants grow fourfold, and scores rise.

# %%
pair = (seen, bscans.window_of(sixty)(sixty))
values = [f"{denoising_scores.ssim(*pair, span):.3f}" for span in (2.0, 1.0)]
entry("Manakov, SSIM", "SSIM of 12 and 60 frames", *values)

# %% [markdown]
# ### What the range leaves unsaid (section 3.1)
#
# Intensities are said to be scaled to 0 and 1. The code also cuts off what lies below the mean minus half
# a standard deviation, in training and for every score.

# %%
black = float((seen == 0).mean())
entry("Manakov, section 3.1", "pixels made black", "none said", f"{black:.0%} of a B-scan")

# %% [markdown]
# ### A norm after the last layer (table A.1)
#
# "All layers" of the generator are said to use instance normalisation, as those of the discriminator do but
# for its last. An output that is normalised has the same mean and deviation before the ReLU, whatever it
# shows, and eyes differ in both. The code has no norm after the last convolution (and norms without scale and
# offset inside the residual blocks). Between which means would four eyes lie, normalised and as they are?

# %% tags=["nbval-check-output"]
from recon.networks.cyclegan import InstanceNorm

eyes = [render((1, 124, 128), seed + number).reflectivity[0] for number in range(4)]
bright = torch.from_numpy(np.stack([average_frames(eye, 60, SPECTRALIS, rng) for eye in eyes]))
last = [InstanceNorm(1)(bright[:, None]), bright[:, None]]
means = [images.mean((1, 2, 3)).abs().tolist() for images in last]
values = [f"{min(each):.2f} to {max(each):.2f}" for each in means]
entry("Manakov, table A.1", "mean grey of four eyes of 60 frames", *values)

# %% [markdown]
# ### One baseline that is made brighter (code of the median)
#
# Only the median's result is divided by its maximum once more, which costs it PSNR against a reference
# that is not.

# %%
from recon.classical.denoisers import median

drawn, target = median(seen, 1), pair[1]
values = [
    f"{denoising_scores.psnr(image, target):.2f} dB" for image in (drawn / drawn.max(), drawn)
]
entry("Manakov, median", "PSNR of the median", *values)

# %% [markdown]
# ### A softmax of a softmax (later versions of the code)
#
# The cross-entropy takes the softmax itself, and is given probabilities. With three classes no term of
# the loss can then leave a narrow range, however sure the discriminator is.

# %% tags=["nbval-check-output"]
from torch.nn.functional import cross_entropy

sure = torch.eye(3)[:1]
ends = [cross_entropy(sure, torch.tensor([k])).item() for k in (0, 1)]
entry("Manakov, code", "a term of the loss", f"{ends[0]:.3f} to {ends[1]:.3f}", "0 upwards")

# %% [markdown]
# ### A judge who is trained to be fooled (equation 1)
#
# All weights step along the gradient of one sum, so the discriminator also receives the generators' loss: on
# a generated image it is told *generated* and *target domain* alike. The scores that minimise both terms:

# %% tags=["nbval-check-output"]
logits = torch.zeros(1, 3, requires_grad=True)  # generated, high noise, low noise
descent = torch.optim.SGD([logits], lr=1)
for _ in range(300):
    descent.zero_grad()
    sum(cross_entropy(logits, torch.tensor([kind])) for kind in (0, 2)).backward()
    descent.step()
best = ", ".join(f"{p:.2f}" for p in logits.softmax(1)[0].tolist())
entry(
    "Manakov, equation 1", "best verdict on a generated low-noise image", best, "1.00, 0.00, 0.00"
)

# %% [markdown]
# ### A low gain, and its explanation (section 3.2)
#
# The noise of the reference is offered as a reason for low gains. For fully developed speckle it leaves a
# perfect denoiser $10 \log_{10}(1 + v_{12} / v_{60})$ dB, with $v_N$ the variance of speckle averaged over
# $N$ frames; it depends on the correlation $\rho$ of the frames, and its least is printed below: see
# {ref}`oct-ceiling`. That is the least that speckle alone would leave between partners that are registered
# perfectly and show the same otherwise. Real ones do not: what is left of the eye's movement, the
# interpolation that undoes the rest of it, and noise of the detector use room up too, by how much the paper
# does not tell. The noise of the reference may still be the reason, but its speckle alone is not.

# %% tags=["nbval-check-output"]
from recon.physics.speckle import gain_ceiling

table_of = {row[2]: row[3] for row in claims.load("manakov-2019").tables["1"].rows}
gain = table_of["hdcyclegan"][2] - table_of["raw"][2]
least = min(gain_ceiling(12, 60, rho / 100) for rho in range(100))
entry(
    "Manakov, section 3.2",
    "gain in PSNR",
    f"gain {gain:.2f} dB",
    f"speckle alone would leave {least:.2f} dB or more",
)

# %% [markdown]
# ## All of them

# %%
from recon.results.html import html_table

NAMED = ("Chen", "Stoian", "Remedios", "Manakov")  # other entries are the replication's
html_table(
    "Errors and gaps found, each computed above",
    ["Place", "What", "As printed or coded", "As meant, or computed"],
    [(place if place.startswith(NAMED) else f"Devoto, {place}", *rest) for place, *rest in found],
)
