"""Choose the learning rates of the quick profile of book/carn.py, for book/results/carn_rates.csv.

Every fourth training volume is kept for choosing, so nothing here is tested on. One rate a family
is meant: the trials are two or three networks of each, one seed. Run from the checkout:
``python benchmarks/choose_upscaling_rates.py`` (about 4 minutes on 2 cores). Names of networks
behind it try those alone; the lines of the others stay as they are, with their commits.
"""

import sys

import pandas as pd
import torch

from recon.classical.interpolation import enlarge
from recon.data.splits import open_split
from recon.data.super_resolution import Pairs
from recon.learning.training import Schedule, fit
from recon.learning.upscaling import Upscaling, pixel_error, score_files
from recon.networks.table_one import build
from recon.results.provenance import git_state
from recon.results.store import reference_dir, write_text

NETWORKS = ("srcnn_16", "srcnn_original", "carn_3_8", "carn_9_16")
NETWORKS += ("new_carn_3_8", "new_carn_13_8", "new_carn_9_16")
RATES = (1e-3, 2e-3, 4e-3, 8e-3, 16e-3, 32e-3)
SCALE, CROP = 4, 48
TABLE = reference_dir() / "carn_rates.csv"

files = open_split("simulated_knee", "multicoil", "train", "quick")
kept = files[::4]
learnt = [path for path in files if path not in kept]
lines = []
names = sys.argv[1:] or NETWORKS
for name in names:
    for rate in RATES:
        schedule = Schedule(
            epochs=5,
            batch_size=4,
            rate=rate,
            warmup_rate=rate / 10,
            warmup_epochs=0.2,
            halve_every=2,
        )
        torch.manual_seed(0)
        network = build(name, SCALE)
        pairs = Pairs(learnt, SCALE, CROP)
        history = fit(Upscaling(network), pairs, pixel_error, schedule, device="cpu", label=name)
        methods = {"here": network.eval(), "bicubic": lambda low: enlarge(low, SCALE)}
        table = score_files(methods, kept, SCALE).pivot_table(
            index="volume", columns=["metric", "method"], values="value"
        )
        gains = {m: (table[m, "here"] - table[m, "bicubic"]).mean() for m in ("psnr", "ssim")}
        line = {"network": name, "rate": rate, "steps": len(history), "volumes": len(kept)}
        lines.append({**line, **{m: round(float(gain), 4) for m, gain in gains.items()}})
        print(lines[-1], flush=True)
table = pd.DataFrame(lines).assign(git_commit=git_state()["git_commit"])
if set(names) < set(NETWORKS):
    before = pd.read_csv(TABLE)
    table = pd.concat([before[~before.network.isin(names)], table])
order = table.network.map(NETWORKS.index)
table = table.assign(order=order).sort_values(["order", "rate"]).drop(columns="order")
write_text(TABLE, table.to_csv(index=False))
