"""Sweeps: every point of a grid is run once, a table and a figure of all, and what is refused."""

import pandas as pd
import pytest

from recon import sweep
from recon.errors import InputError


def swept(checkout, *words):
    return checkout.recon("sweep", "tiny", *words)


def test_a_grid_is_run_once_and_goes_on_where_it_was_stopped(checkout):
    done = swept(checkout, "--over", "accel", "4,6", "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "2 runs made, 0 were there, 0 failed"
    runs = checkout.root / "runs"
    table = pd.read_csv(runs / "tiny_sweep_accel.csv")
    assert table["given_accel"].tolist() == [4, 6] == table["value"].tolist()
    assert (runs / "tiny_sweep_accel.png").stat().st_size > 5000
    first = (runs / "tiny_accel-6.json").stat().st_mtime_ns
    more = swept(checkout, "--over", "accel", "4,6,8", "--over", "profile", "quick")
    assert more.stdout.splitlines()[0] == "1 runs made, 2 were there, 0 failed"
    assert (runs / "tiny_accel-6.json").stat().st_mtime_ns == first
    assert len(pd.read_csv(runs / "tiny_sweep_accel_profile.csv")) == 3
    source = checkout.chapter.read_text()
    checkout.chapter.write_text(source.replace("value=float(accel)", "value=2.0 * accel"))
    again = swept(checkout, "--over", "accel", "4,6")  # other code: made anew
    assert again.stdout.splitlines()[0] == "2 runs made, 0 were there, 0 failed"
    assert pd.read_csv(runs / "tiny_sweep_accel.csv")["value"].tolist() == [8, 12]


def test_a_point_that_fails_leaves_the_others_alone(checkout):
    done = swept(checkout, "--over", "accel", "4,99")  # 99 is refused by the chapter's own rule
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "1 runs made, 0 were there, 1 failed"
    assert "tiny_accel-99: accel is 99, but must lie from 2 to 12." in done.stderr
    assert len(pd.read_csv(checkout.root / "runs" / "tiny_sweep_accel.csv")) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs a parameter to vary"),
        (["--over", "acel", "4,6"], "unknown parameter 'acel' (did you mean 'accel'?)"),
        (["--over", "accel", "4,six"], "must be a number"),
        (["--over", "accel", "4,4"], "give each once"),
        (["--over", "accel", "4,04"], "the values of accel are 4,04; give each once"),
        (["--over", "accel", "6,6.0"], "give each once"),
        (["--over", "accel", "4,5", "--over", "accel", "8"], "accel is given twice, 4,5 and 8"),
        (["--over", "accel", "4,"], "give each once"),
        (["--over", "accel", "4,6", "--param", "accel", "8"], "both given and varied"),
        (["--over", "accel", "4,6", "--processes", "0"], "must be 1 or more"),
        (["--over", "accel", "4", "--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_runs(checkout, words, said):
    done = swept(checkout, *words)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not list((checkout.root / "runs").glob("*.json"))


def test_the_figure_shows_methods_against_the_first_parameter():
    columns = ["method", "metric", "contrast", "against", "value", "given_accel", "given_seed"]
    rows = pd.DataFrame(
        [
            (method, metric, contrast, None, value + accel + seed, accel, seed)
            for method, value in (("unet", 30.0), ("cs", 20.0))
            for metric in ("ssim", "psnr")
            for contrast in ("PD", "all")
            for accel in (4, 8)
            for seed in (0, 2)
        ],
        columns=columns,
    )
    axes = sweep.curves(rows, ["accel", "seed"]).axes[0]
    assert axes.get_xlabel() == "accel" and axes.get_ylabel() == "psnr, mean"
    lines = {c.get_label(): c.lines[0].get_xydata().tolist() for c in axes.containers}
    assert lines == {"unet": [[4, 35], [8, 39]], "cs": [[4, 25], [8, 29]]}
    only = rows[rows.metric == "ssim"].assign(contrast="PD")
    assert sweep.curves(only, ["accel"]).axes[0].get_ylabel() == "ssim, mean"


def test_a_point_is_the_same_however_it_is_spelt(tmp_path, monkeypatch):
    """The run is looked for under the name that it is stored under, in whichever process."""
    monkeypatch.chdir(tmp_path)
    given = {"accel": "6.0", "compressed_sensing": "TRUE", "data_root": "x"}
    (point,) = sweep.grid("pcrnn", {"seed": ["1e3"]}, given)
    plain = {"seed": "1000", "accel": "6", "compressed_sensing": "True"}
    assert point == {**plain, "data_root": str(tmp_path / "x")}
    assert sweep.name_of("pcrnn", {**given, "seed": "1e3"}) == sweep.name_of("pcrnn", point)


def test_the_grid_holds_every_combination():
    points = sweep.grid("pcrnn", {"accel": ["4", "6"], "seed": ["0", "1"]}, {"profile": "quick"})
    assert [(p["accel"], p["seed"]) for p in points] == [
        ("4", "0"), ("4", "1"), ("6", "0"), ("6", "1"),
    ]  # fmt: skip
    with pytest.raises(InputError):
        sweep.grid("no_such_chapter", {"accel": ["4"]}, {})
