"""A grid of runs of one chapter, over processes of this machine or a Dask cluster."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from dask.distributed import Client, LocalCluster, as_completed
from matplotlib.figure import Figure
from tqdm import tqdm

from recon import notebooks
from recon.errors import InputError
from recon.paths import cache_dir, runs_dir
from recon.results import provenance, store
from recon.results.parameters import declared

__all__ = ["Swept", "curves", "grid", "sweep"]

FAILURES = (notebooks.ChapterError, InputError)


@dataclass
class Swept:
    """What a sweep left: files of the table and the figure, runs made and kept, what failed."""

    table: Path | None = None
    figure: Path | None = None
    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def grid(
    chapter: str, over: Mapping[str, Sequence[str]], given: Mapping[str, str]
) -> list[dict[str, str]]:
    """Every combination of the values in `over`, each with what is `given` to all, in one spelling.

    Parameters
    ----------
    chapter : str
    over : mapping of str to sequence of str
        Values by parameter, as typed.
    given : mapping of str to str

    Raises
    ------
    InputError
        For an unknown name, a value of the wrong type, a value or a parameter named twice.
    """
    if not over:
        raise InputError("a sweep needs a parameter to vary: --over accel 4,6,8.")
    for name, values in over.items():
        if name in given:
            raise InputError(f"{name} is both given and varied; name it once.")
        read = {str(notebooks.asked(chapter, {name: v})[name]) for v in values if v}
        if len(read) < len(values):
            raise InputError(f"the values of {name} are {','.join(values)}; give each once.")
    points = [
        {**given, **dict(zip(over, values, strict=True))} for values in product(*over.values())
    ]
    # A worker elsewhere is told values and places as they were understood here.
    return [{n: str(v) for n, v in notebooks.asked(chapter, point).items()} for point in points]


def sweep(
    chapter: str,
    over: Mapping[str, Sequence[str]],
    given: Mapping[str, str],
    processes: int = 1,
    scheduler: str = "",
) -> Swept:
    """Run a chapter at every point of a grid and put the results into one table and one figure.

    A point whose run is there already, made by the code of now, is not run again: a sweep that was
    stopped goes on. A point that fails leaves the others alone.

    Parameters
    ----------
    chapter : str
    over, given : mapping
        As for `grid`.
    processes : int
        Runs at a time on this machine; its cores are shared among them.
    scheduler : str
        Address of a running Dask scheduler whose workers see this checkout at the same place and
        have its environment; then ``processes`` does not matter.

    Raises
    ------
    InputError
        For what `grid` refuses, fewer than one process, or a scheduler that does not answer.
    """
    if processes < 1:
        raise InputError(f"processes is {processes}, but must be 1 or more.")
    points, swept = grid(chapter, over, given), Swept()
    paths = {name_of(chapter, point): _stored(chapter, point) for point in points}
    waiting = [p for p in points if not _fresh(chapter, p)]
    swept.kept = [name for name, point in zip(paths, points, strict=True) if point not in waiting]
    stem = runs_dir() / f"{chapter}_sweep_{'_'.join(over)}"
    table, figure = stem.with_suffix(".csv"), stem.with_suffix(".png")
    for path in (table, figure):
        store.write_bytes(path, None)
    if waiting:
        _run_all(chapter, waiting, min(processes, len(waiting)), scheduler, swept)
    runs = [store.load(path) for name, path in paths.items() if name not in swept.failed]
    if runs:
        rows = store.frame(runs)
        for name in over:
            values = {store.run_name(r.chapter, r.parameters): r.parameters[name] for r in runs}
            rows.insert(0, f"given_{name}", rows["run"].map(values))
        store.write_text(table, rows.to_csv(index=False))
        swept.table, swept.figure = table, store.write_figure(figure, curves(rows, list(over)))
    return swept


def name_of(chapter: str, point: Mapping[str, str]) -> str:
    """Name of the run at a point of the grid."""
    return store.run_name(chapter, _parameters(chapter, point))


def _parameters(chapter: str, point: Mapping[str, str]) -> dict[str, Any]:
    return {**declared(notebooks.source_path(chapter)), **notebooks.asked(chapter, point)}


def _stored(chapter: str, point: Mapping[str, str]) -> Path:
    return store.run_path(chapter, _parameters(chapter, point))


def _fresh(chapter: str, point: Mapping[str, str]) -> bool:
    """Whether the run at a point is stored and was made by the code of now."""
    path = _stored(chapter, point)
    if not path.is_file():
        return False
    try:
        made = store.load(path).provenance
    except InputError:
        return False
    return not provenance.changed(chapter, made, notebooks.asked(chapter, point))


def _run_all(
    chapter: str, points: list[dict[str, str]], processes: int, scheduler: str, swept: Swept
) -> None:
    """Run the points, as many at a time as there are workers; note how each ended."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    folders = {"RECON_RUNS": str(runs_dir())}
    if os.environ.get("RECON_CACHE"):
        folders["RECON_CACHE"] = str(cache_dir())
    try:
        cluster = scheduler or LocalCluster(
            n_workers=processes, threads_per_worker=1, dashboard_address=None
        )
        client = Client(cluster, timeout=10)
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {scheduler!r} ({error}).") from error
    with client:
        futures = {
            client.submit(_run_one, chapter, p, threads, folders, pure=False, retries=0): p
            for p in points
        }
        for future in tqdm(as_completed(futures), total=len(futures), desc=f"{chapter}, runs"):
            name = name_of(chapter, futures[future])
            error = future.exception()
            if error is None:
                swept.made.append(name)
            elif isinstance(error, FAILURES):
                swept.failed[name] = str(error)
            else:
                raise error
    if not scheduler:
        cluster.close()


def _run_one(chapter: str, point: dict[str, str], threads: int, folders: dict[str, str]) -> str:
    """One run, in a worker; `folders` are the variables that name ours."""
    os.environ.update(folders)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    return str(notebooks.run(chapter, point))


def curves(rows: pd.DataFrame, over: Sequence[str]) -> Figure:
    """The mean of every method against the first parameter that was varied.

    The others are averaged over, and bars reach from the smallest to the largest of their values.

    Parameters
    ----------
    rows : DataFrame
        The table of a sweep: ``given_<name>`` for each name in `over`, and the rows of the runs.
        Shown is PSNR where a chapter has it, else its first score, over all contrasts if told.
    over : sequence of str
    """
    scores = rows[rows["against"].isna()]
    every = scores["contrast"] == "all"
    scores = scores[every] if every.any() else scores
    metric = "psnr" if (scores["metric"] == "psnr").any() else scores["metric"].iloc[0]
    scores, x = scores[scores["metric"] == metric], f"given_{over[0]}"
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for method, part in scores.groupby("method", sort=False):
        found = part.groupby(x)["value"].agg(["mean", "min", "max"])
        bars = [found["mean"] - found["min"], found["max"] - found["mean"]]
        places = (
            found.index if pd.api.types.is_numeric_dtype(found.index) else map(str, found.index)
        )
        axes.errorbar(list(places), found["mean"], bars, marker="o", capsize=3, label=method)
    axes.set(xlabel=over[0], ylabel=f"{metric}, mean")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
