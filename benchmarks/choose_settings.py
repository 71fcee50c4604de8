"""Choose the quick profile's settings on bodies that are never tested on.

Every candidate trains on the quick training set and is scored on the volumes that the manifest
draws from another seed: the chapters' test volumes take no part. Results are kept one candidate at
a time, so an interrupted run goes on; `--again` repeats candidates that are already there.

    python benchmarks/choose_settings.py [--only TEXT] [--again]

Writes book/results/settings.csv, which the chapters show.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import pandas as pd
import torch
from torch import nn

from recon.data.fastmri import list_volumes
from recon.data.manifest import load_manifest
from recon.data.measurement import Sampling
from recon.data.samples import Slices
from recon.data.simulate import simulate
from recon.learning import contest
from recon.learning.losses import ReconstructionLoss
from recon.learning.metrics import evaluate_methods
from recon.learning.training import Schedule, fit
from recon.networks.pcrnn import pcrnn_xs
from recon.networks.unet import UNet
from recon.physics.sampling import standard_center_fraction
from recon.results.provenance import device_name, git_state
from recon.results.statistics import interval
from recon.results.store import reference_dir, write_text

ACCEL, COILS, TUNING_SEED = 4, 4, 1
RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)


@dataclass(frozen=True)
class Candidate:
    """One way to train one network of a chapter."""

    chapter: str
    method: str
    build: Callable[[], nn.Module] = field(repr=False)
    schedule: Schedule
    rows: int = 0
    note: str = ""
    seed: int = 0
    maps: bool = False

    def name(self) -> str:
        """What tells it from the others."""
        parts = [f"rate {self.schedule.rate:g}", f"{self.schedule.epochs:g} epochs"]
        parts += [f"bands of {self.rows} rows" if self.rows else "whole slices", self.note]
        return ", ".join([*filter(None, parts), f"seed {self.seed}"])


def of_pcrnn() -> list[Candidate]:
    """Rates, first weights, bands, and the U-Net's sum, for the chapter on PC-RNN."""
    quick = {"epochs": 15, "batch_size": 4, "halve_every": 5}
    quick |= {"warmup_epochs": 0.2, "warmup_rate": 2e-4}
    whole = {**quick, "epochs": 4, "batch_size": 1, "halve_every": 1.5}
    xs = partial(pcrnn_xs, COILS)
    unet = partial(UNet, COILS, chans=16)
    tried = [
        Candidate(
            "pcrnn", "pcrnn_xs", partial(xs, start="random"), Schedule(rate=rate, **quick), 32, note
        )
        for rate, note in ((1e-3, "random start"), (2e-3, "random start"))
    ]
    tried += [
        Candidate("pcrnn", "pcrnn_xs", xs, Schedule(rate=rate, **quick), 32)
        for rate in (1e-3, 2e-3, 4e-3)
    ]
    # As many pixels a step, and as many steps, as with bands.
    slices = {**whole, "epochs": 3.75, "halve_every": 1.25}
    tried += [Candidate("pcrnn", "pcrnn_xs", xs, Schedule(rate=2e-3, **slices))]
    tried += [
        Candidate("pcrnn", "unet", unet, Schedule(rate=rate, **whole))
        for rate in (3e-4, 1e-3, 3e-3, 1e-2)
    ]
    plain = partial(unet, residual=False)
    tried += [
        Candidate(
            "pcrnn", "unet", plain, Schedule(rate=rate, **whole), note="no sum with the input"
        )
        for rate in (1e-3, 3e-3)
    ]
    return tried


def of_comparison() -> list[Candidate]:
    """Rates of all networks, with the steps that the comparison gives each of them."""
    budget = contest.BUDGETS["quick"]
    tried = []
    for name in contest.NETWORKS:
        whole = name in contest.WHOLE
        schedule = budget.whole if whole else budget.bands
        tried += [
            Candidate(
                "comparison",
                "pcrnn_xs" if name == "pcrnn" else name,
                partial(contest.build, name, COILS, budget),
                replace(schedule, rate=rate),
                0 if whole else budget.rows,
                maps=name in contest.WITH_MAPS,
            )
            for rate in (*RATES, 1.6e-2 if name == "vn" else None)
            if rate
        ]
    return tried


def of_longer() -> list[Candidate]:
    """The networks that do not beat zero-filled in the comparison's steps, given more of them."""
    budget = contest.BUDGETS["quick"]
    tried = []
    for name in contest.WHOLE:
        for times in (1, 4, 16):
            schedule = replace(
                budget.whole,
                rate=budget.rates[name],
                epochs=times * budget.whole.epochs,
                halve_every=times * budget.whole.halve_every,
            )
            build = partial(contest.build, name, COILS, budget)
            tried.append(Candidate("comparison, longer", name, build, schedule))
    return tried


def score(candidate: Candidate, train: list, tune: list) -> dict:
    """Train and score; gains over zero-filled in the body, mean and 95 % interval."""
    plan = Sampling(ACCEL, standard_center_fraction(ACCEL), "random")
    torch.manual_seed(candidate.seed)
    network = candidate.build()
    slices = Slices(train, plan, COILS, candidate.seed, candidate.rows, maps=candidate.maps)
    started = time.perf_counter()
    history = fit(
        network, slices, ReconstructionLoss(), candidate.schedule, None, candidate.seed, "cpu"
    )
    seconds = time.perf_counter() - started
    methods = {
        "zero_filled": lambda batch: batch.image,
        "network": partial(contest.reconstruct_with, network),
    }
    scores = evaluate_methods(methods, tune, plan, COILS, candidate.seed, maps=candidate.maps)
    gains = {}
    for metric in ("psnr", "ssim"):
        part = scores[(scores.region == "body") & (scores.metric == metric)]
        table = part.pivot(index="volume", columns="method", values="value")
        values = (table["network"] - table["zero_filled"]).to_numpy()
        low, high = interval(values)
        gains |= {metric: values.mean(), f"{metric}_lo": low, f"{metric}_hi": high}
    gains["intervals"] = "t"
    return {"volumes": len(tune), "steps": len(history), "seconds": seconds, **gains}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", default="", help="candidates whose line contains this text")
    options.add_argument("--again", action="store_true", help="repeat what is already there")
    chosen = options.parse_args()
    manifest = load_manifest("simulated_knee")
    train = list_volumes(simulate(manifest, "multicoil", "quick", "train"))
    tune = list_volumes(simulate(manifest, "multicoil", "quick", "val", TUNING_SEED))
    path = reference_dir() / "settings.csv"
    table = (
        pd.read_csv(path)
        if path.is_file()
        else pd.DataFrame(columns=["chapter", "method", "settings"])
    )
    for candidate in [*of_pcrnn(), *of_comparison(), *of_longer()]:
        line = {
            "chapter": candidate.chapter,
            "method": candidate.method,
            "settings": candidate.name(),
        }
        there = (table[["chapter", "method", "settings"]] == pd.Series(line)).all(axis=1)
        if chosen.only not in json.dumps(line) or (there.any() and not chosen.again):
            continue
        line |= {
            **score(candidate, train, tune),
            "schedule": json.dumps(asdict(candidate.schedule)),
        }
        line |= {"git_commit": git_state()["git_commit"], "device": device_name()}
        table = pd.concat([table[~there], pd.DataFrame([line])], ignore_index=True)
        write_text(path, table.to_csv(index=False, float_format="%.5g"))
        print(f"{line['method']}: {line['settings']}: {line['psnr']:+.2f} dB", flush=True)


if __name__ == "__main__":
    main()
