"""The chapter on invented structures, cell by cell, on small files and small eyes."""

from dataclasses import replace

import jupytext
import numpy as np
import pytest

from recon.data import inserted_oct, oct
from recon.data.fastmri import write_volume
from recon.data.manifest import load_manifest
from recon.errors import InputError
from recon.learning.lesion_rows import answers, lesion_rows, spot_rows, verdicts
from recon.learning.lesion_settings import listed, numbers
from recon.learning.translator_settings import TRANSLATORS
from recon.paths import project_root
from recon.results import lesion_tables, store
from test_learning import volume

CUTS = {
    '"quick": EyeProfile(8, 1)': '"quick": EyeProfile(3, 1)',
    'Profile(contest.BUDGETS["quick"], (4, 8), 8, 1, 1, 4)': (
        'Profile(contest.BUDGETS["quick"], (4, 8), 3, 1, 1, 1, (0.03,))'
    ),
}


def run_chapter(**given):
    """Execute every code cell with other parameters; the chapter's names afterwards."""
    notebook = jupytext.read(project_root() / "book" / "invented_structures.py")
    names = {"__name__": "chapter"}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        source = cell.source
        for long, short in CUTS.items():
            source = source.replace(long, short)
        exec(compile(source, "chapter", "exec"), names)
        if "parameters" in cell.metadata.get("tags", []):
            names.update(given)
    return names


def test_the_cuts_still_cut():
    source = (project_root() / "book" / "invented_structures.py").read_text(encoding="utf-8")
    assert all(source.count(long) == 1 for long in CUTS)


def test_the_translators_are_those_of_hdcyclegan():
    """Neither has sizes or schedules of its own, so that one training serves both chapters."""
    for name in ("invented_structures", "hdcyclegan"):
        source = (project_root() / "book" / f"{name}.py").read_text(encoding="utf-8")
        assert "TRANSLATORS[profile]" in source
        assert "TranslationSchedule(" not in source


@pytest.fixture
def small(workspace, monkeypatch):
    """Ten measured scans with even tissue, and eyes of 64 x 64 pixels."""
    for i in range(10):
        scan = volume(f"file{i}", 1, 4, 144, 72, crop=(72, 72), seed=i)
        scan.contrast = ("CORPD_FBK", "CORPDFS_FBK")[i % 2]
        write_volume(workspace / f"file{i}.h5", scan)
    manifest = load_manifest("simulated_retina")
    sizes = {"shape": [64, 64], "field_mm": [0.96, 4.4]}
    sizes |= {s: {"patients": 2, "bscans": 1} for s in ("train", "val", "test")}
    tiny = replace(manifest, profiles={"quick": sizes}, settings={**manifest.settings, "shift": 1})
    for module in (oct, inserted_oct):
        monkeypatch.setattr(module, "load_manifest", lambda name: tiny)
    usual = TRANSLATORS["quick"]
    schedule = replace(usual.schedule, steps=2, batch=1, crop=(64, 64))
    shortest = replace(usual, schedule=schedule, copying=1, classify=1)
    monkeypatch.setitem(TRANSLATORS, "quick", shortest)
    return workspace


def test_measured_scans_and_eyes_are_read_and_stored(small):
    names = run_chapter(
        data="fastmri_folder",
        data_root=str(small),
        accels="3",
        sizes="1,2",
        contrasts="0.2",
        greys="0.3",
        mask_type="equispaced_fraction",
    )
    run = store.load(next((small.parent / "runs").glob("invented*.json")))
    assert {row["data"] for row in run.rows} == {"fastmri_folder", "simulated_retina"}
    methods = {row["method"] for row in run.rows}
    assert methods >= {"zero_filled", "cs", "unet", "pcrnn_xs", "raw", "average", "median"}
    assert methods >= {"hdcyclegan", "domain", "copier"} and "repeat" not in methods
    assert np.isfinite([row["value"] for row in run.rows]).all()
    kept = [row for row in run.rows if (row["method"], row["metric"]) == ("full", "recovery")]
    kept = [row["value"] for row in kept if "against" not in row]
    assert kept and kept == pytest.approx([1] * len(kept))
    assert str(small.parent) not in str(run.parameters)
    assert set(names["tried"][3]) == {0.0, 0.03} and all(v > 0 for v in names["tried"][3].values())
    druses = [row for row in run.rows if row["region"] == "druse"]
    assert bool(druses) == bool(names["at_druse"])
    drawn = sorted(p.stem.split("_")[-1] for p in (small.parent / "runs").glob("*.png"))
    assert drawn == ["eye", "lesion", "spots"]
    assert "U-Net at 3x" in names["lesion_tables"].sentences(
        names["rows"], {"unet": "U-Net"}, names["answers"], names["middle"]
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sizes": "0.1,3"}, "sizes is '0.1,3'"),
        ({"accels": "4;8"}, "accels is '4;8'"),
        ({"contrasts": "0.3,1.5"}, "contrasts"),
        ({"retinas": "duke_2013"}, "retinas is 'duke_2013'"),
        ({"false_rate": 0}, "false_rate"),
    ],
)
def test_wrong_parameters_are_named(workspace, given, says):
    with pytest.raises(InputError, match=says):
        run_chapter(**given)


def test_lists_of_numbers():
    assert numbers("8,4, 6,4") == (4, 6, 8)
    rule = listed(2, 12, "profile")
    assert rule("accels", "profile") == "profile" and rule("accels", "4,8") == "4,8"
    for wrong in ("", "4,,8", "1,4", "4,13", True, None):
        with pytest.raises(InputError, match="accels"):
            rule("accels", wrong)


def readings():
    """Four volumes, one method that finds all, one that loses half and invents two spots."""
    import pandas as pd

    lesions, spots = [], []
    for name in "abcd":
        at = {"volume": name, "contrast": "PD", "accel": 4.0, "effective_accel": 4.1}
        for strength in (0.1, 0.3):
            fields = {**at, "kind": "k", "diameter": 3.0, "strength": strength}
            for method, found, kept in (("full", True, 1.0), ("net", strength > 0.2, 0.5)):
                seen = {"cnr": 2.0, "cnr_without": 0.5, "found": found, "recovery": kept}
                seen["found_without"] = method == "net"
                lesions.append({**fields, "method": method, **seen})
        for method, new in (("repeat", 0), ("net", 2)):
            fields = {"region": "body", "diameter": 3.0, "new": new, "lost": 0, "there": 5}
            spots.append({**at, "method": method, **fields, "pixels": 100})
    return pd.DataFrame(lesions), pd.DataFrame(spots)


def test_rows_and_verdicts_say_what_was_read():
    lesions, spots = readings()
    about = {"data": "x", "task": "y"}
    rows = lesion_rows(lesions, ["k"], ("full",), "full", about) + spot_rows(
        spots, ("repeat",), about
    )
    whole = {"accel": 4.0, "diameter": 0.0}
    missed = [r for r in rows if r["metric"] == "missed" and r["diameter"] == 0]
    assert {r["method"]: r["value"] for r in missed if "against" not in r} == {
        "full": 0,
        "net": 0.5,
    }
    assert verdicts(rows, "missed", "full", **whole) == {"net": "yes"}
    alarms = [r for r in rows if r["metric"] == "alarm" and "against" not in r]
    assert {r["method"]: r["value"] for r in alarms} == {"full": 0, "net": 1}
    asked = {"Invents?": ("new_spots", "repeat", {"diameter": 3.0, "region": "body"})}
    assert answers(rows, asked) == {"Invents?": {(4.0, "net"): "yes"}}
    none = {"Invents?": ("new_spots", "average", {"diameter": 3.0})}
    assert answers(rows, none) == {"Invents?": {}}
    names = {"full": "Full", "net": "Net"}
    told = lesion_tables.sentences(rows, {"net": "Net"}, answers(rows, asked), 3.0)
    assert "recovers 50%" in told and "2.0 spots a picture" in told and "Invents? yes" in told
    assert "Net misses" not in lesion_tables.summary(rows, {"full": "Full"}, 3.0)
    assert "Net misses most" not in told and "Net" in lesion_tables.summary(rows, names, 3.0)
    flipped = lesions.assign(method=lesions.method.map({"full": "net", "net": "full"}))
    again = lesion_rows(flipped, ["k"], ("full",), "full", about)
    assert verdicts(again, "missed", "full", **whole) == {"net": "no"}


def test_a_summary_names_methods_alone_and_all_that_share_a_place():
    at = {"data": "x", "accel": 0.0, "region": "lesion", "metric": "missed", "diameter": 0.0}
    shares = {"raw": 0.1, "average": 0.95, "a": 0.5, "b": 0.9, "c": 0.501, "full": 0.0}
    rows = [{**at, "method": method, "value": value} for method, value in shares.items()]
    names = {method: method.upper() for method in shares}
    text = lesion_tables.summary(rows, names, 3.0)
    assert text == "- x: missed least by A, C (50% of the lesions), most by B (90%)."
    assert lesion_tables.summary(rows, {"raw": "RAW"}, 3.0) == ""


def test_tuning_says_where_the_best_is_worse_than_nothing():
    tried = {4: {0.0: 0.3, 0.01: 0.4, 0.1: 0.2}, 8: {0.0: 0.15, 0.01: 0.38, 0.1: 0.17}}
    html = lesion_tables.tuning(tried, "NMSE")
    first, second = html.split("<tr>")[2:4]
    assert "<b>0.200</b>" in first and "yes" in first
    assert "<b>0.170</b>" in second and "no" in second


def test_what_was_missed_in_the_base_cannot_be_lost():
    lesions, _ = readings()
    lesions.loc[(lesions.method == "full") & (lesions.strength == 0.1), "found"] = False
    rows = lesion_rows(lesions, ["k"], ("full",), "full", {"data": "x", "task": "y"})
    lost = {r["method"]: r["value"] for r in rows if r["metric"] == "lost" and "against" not in r}
    assert lost == {"full": 0, "net": 0}
