"""The trials by which settings were chosen, as a table: see ``benchmarks/choose_settings.py``."""

from typing import Any

from recon.errors import InputError
from recon.results.html import Html, html_table
from recon.results.rows import widened
from recon.results.store import reference_dir
from recon.results.tables import NAMES, shown

__all__ = ["trials"]


def trials(chapter: str) -> Html:
    """The trials of a chapter: gains over zero-filled with 95 % intervals, steps and seconds.

    Raises
    ------
    InputError
        When the file is missing, or holds no trial of the chapter.
    """
    import pandas as pd  # half a second; most of the book does not need it

    path = reference_dir() / "settings.csv"
    if not path.is_file():
        raise InputError(
            f"{path.name} is missing: run benchmarks/choose_settings.py, which makes it"
        )
    table = pd.read_csv(path)
    if chapter not in {*table.chapter}:
        raise InputError(f"{path.name} holds no trial of {chapter!r}")
    lines = [
        [
            NAMES[trial.method],
            trial.settings,
            _gain(trial, "psnr"),
            _gain(trial, "ssim"),
            f"{trial.steps:.0f}",
            f"{trial.seconds:.0f} s",
        ]
        for trial in table[table.chapter == chapter].itertuples()
    ]
    columns = ["Network", "Settings", "PSNR, dB", "SSIM", "Steps", "Took"]
    caption = "Trials: gain over zero-filled on volumes kept for choosing, mean and 95 % interval"
    return html_table(caption, columns, lines, headers=2)


def _gain(trial: Any, metric: str) -> Html:
    interval = [getattr(trial, f"{metric}_lo"), getattr(trial, f"{metric}_hi")]
    row = {"metric": metric, "value": getattr(trial, metric), "ci95": interval}
    row |= {"n": trial.volumes, "unit": "volume", "task": "trial"}
    new = getattr(trial, "intervals", "") == "t"  # those of old are percentile bootstraps
    return shown(row if new else widened(row), "+")
