"""Results: rows and runs, staleness, claims whose verdicts follow the rows, tables, parameters."""

import copy
import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recon.errors import InputError
from recon.results import (
    claims,
    grids,
    html,
    order,
    parameters,
    provenance,
    repeats,
    staleness,
    store,
    tables,
    verdicts,
)


def value(method, mean, half=0.2, **fields):
    """A value row; `half` the width of its interval to either side."""
    return store.row(
        **{**COMMON, **fields}, method=method, value=mean, ci95=(mean - half, mean + half)
    )


def difference(method, against, mean, half=0.2, p=1e-6, **fields):
    return value(method, mean, half, against=against, p_value=p, **fields)


COMMON = {
    "data": "simulated_knee",
    "task": "multicoil",
    "contrast": "all",
    "accel": 4,
    "effective_accel": 3.9,
    "metric": "psnr",
    "region": "body",
    "n": 24,
}


def a_run(rows, profile="standard", **settings):
    return store.Run("no_such_chapter", profile, {"seed": 0, **settings}, rows, {"seconds": 1.0})


# --- rows and runs ---------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was_saved(tmp_path):
    run = a_run([value("unet", 30.0), difference("pcrnn_s", "unet", 2.0)])
    path = store.save(run, tmp_path / "run.json")
    assert store.load(path) == run
    assert path.read_text() == path.read_text().strip() + "\n"
    assert list(json.loads(path.read_text())) == sorted(json.loads(path.read_text()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    table = store.load_all(tmp_path)
    assert list(table["method"]) == ["unet", "pcrnn_s"]
    assert table["lo"].tolist() == [29.8, 1.8] and table["profile"].eq("standard").all()


def test_stored_numbers_are_as_long_as_they_need_to_be(tmp_path):
    exact = {**value("unet", 1 / 3), "ci95": [2 / 3e7, 0.1 + 0.2], "n": 123456789}
    kept = store.load(store.save(a_run([exact]), tmp_path / "run.json")).rows[0]
    assert kept["value"] == 0.3333333 and kept["ci95"] == [6.666667e-08, 0.3]
    assert kept["n"] == 123456789


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": math.nan}, "value is nan"),
        ({"value": None}, "value is None"),
        ({"ci95": [1.0]}, "ci95 is [1.0]"),
        ({"ci95": [2.0, 1.0]}, "lower bound"),
        ({"ci95": [0.0, math.inf]}, "ci95"),
        ({"n": True}, "n is True"),
        ({"n": 0}, "n counts from 1"),
        ({"against": "unet", "p_value": 1.5}, "p lies from 0 to 1"),
        ({"against": "unet", "p_value": -0.01}, "p lies from 0 to 1"),
        ({"against": "unet"}, "no field 'p_value'"),
        ({"extra": [1]}, "extra is [1]"),
    ],
)
def test_a_malformed_row_is_refused_and_the_old_file_stays(tmp_path, change, said):
    path = store.save(a_run([value("unet", 30.0)]), tmp_path / "run.json")
    good = path.read_bytes()
    bad = {**value("unet", 30.0), **change}
    with pytest.raises(InputError, match=r"run\.json, row 0") as error:
        store.save(a_run([bad]), path)
    assert said in str(error.value)
    assert path.read_bytes() == good and list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = store.save(a_run([value("unet", 30.0)]), tmp_path / "run.json")
    good = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(InputError, match=r"run\.json cannot be written \(No space left"):
        store.save(a_run([value("unet", 31.0)]), path)
    assert path.read_bytes() == good and list(tmp_path.iterdir()) == [path]


FORM = '{"chapter": "a", "profile": "quick", "parameters": {}, "rows": [%s], "provenance": {}}'


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", '{"chapter": 1}', "\x00", "[" * 99_999, FORM % "", FORM % "7"),
        FORM.replace("{}", "7") % json.dumps(value("unet", 30.0)),
        FORM.replace("[%s]", "7"),
        FORM.replace('"a"', "7") % "{}",
    ],
)
def test_a_damaged_run_is_named(tmp_path, content):
    (tmp_path / "broken.json").write_text(content)
    with pytest.raises(InputError, match=r"broken\.json"):
        store.load_all(tmp_path)


def test_a_damaged_reference_run_is_named_where_the_book_reads_it(checkout):
    (checkout.root / "book" / "results" / "broken.json").write_text('{"rows": []}')
    for look in (staleness.stale_reference, lambda root: staleness.hashes("tiny", root)):
        checkout.chapter.write_text("# %%\nstore.reference_runs('tiny')\n")
        with pytest.raises(InputError, match=r"broken\.json is not a run"):
            look(checkout.root)


@pytest.mark.parametrize("folder", ["fastmri", "a name of more than twenty four letters.tif"])
def test_results_name_no_folder_of_the_machine(tmp_path, folder):
    run = a_run([value("unet", 30.0)], data_root=f"/home/somebody/{folder}")
    assert "somebody" not in store.save(run, tmp_path / "run.json").read_text()
    name = store.run_name(run.chapter, run.parameters)
    other = store.run_name(run.chapter, {**run.parameters, "data_root": "/mnt/fastmri"})
    assert "somebody" not in name and name != other
    stored = store.load(tmp_path / "run.json")
    assert store.run_name(stored.chapter, stored.parameters) == name


def test_one_value_has_one_name():
    names = {
        store.run_name("errata", {"seed": seed, "width": width})
        for seed in (1000, 1e3)
        for width in (128, 128.0)
    }
    assert names == {"errata_seed-1000_width-128"}
    assert store.run_name("errata", {"width": 0.5}) == "errata_width-0.5"
    for path in store.reference_dir().glob("*.json"):
        run = store.load(path)
        assert store.run_name(run.chapter, run.parameters) == path.stem


def test_long_names_end_in_a_hash_and_stay_apart():
    many = {f"parameter_{i}": "a long value" for i in range(8)}
    one = store.run_name("no_such_chapter", {**many, "seed": 1})
    other = store.run_name("no_such_chapter", {**many, "seed": 2})
    assert len(one) == len(other) == store.LONGEST and one != other
    assert one.startswith("no_such_chapter_parameter_0-")


def test_a_figure_lies_beside_its_run(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    monkeypatch.setenv("RECON_RUNS", str(tmp_path))
    run = a_run([value("unet", 30.0)])
    numbers, figure = store.save(run), store.save_figure(run, "worst", Figure())
    assert figure.name == numbers.stem + "_worst.png"
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_provenance_names_the_commit_and_the_processor_but_no_host():
    made = provenance.collect("scoreboard", seed=3, seconds=1.23)
    assert set(staleness.HASHES) <= set(made)
    assert made["seed"] == 3 and made["seconds"] == 1.2 and made["peak_memory_mb"] > 10
    assert os.uname().nodename not in str(made["device"])
    assert str(Path.home()) not in json.dumps(made)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="other systems do not tell")
def test_peak_memory_does_not_begin_at_that_of_the_parent():
    code = "from recon.results.provenance import peak_memory_mb as peak; print(peak())"
    alone = int(subprocess.check_output([sys.executable, "-c", code]))
    ballast = np.ones(100_000_000)  # 800 MB, here
    assert int(subprocess.check_output([sys.executable, "-c", code])) < alone + 100
    assert provenance.peak_memory_mb() > ballast.nbytes / 1e6


# --- staleness -------------------------------------------------------------------------------


@pytest.fixture
def fresh(checkout):
    """A checkout whose notebook carries the stamp of what is there now; returns `stale`."""
    chapter = checkout.chapter.read_text()
    checkout.chapter.write_text(chapter + '\n# %%\ndata = "simulated_knee"\n')
    stamped = {"metadata": {"recon": staleness.hashes("tiny", checkout.root)}}
    checkout.notebook.write_text(json.dumps(stamped))

    def stale():
        return staleness.stale("tiny", checkout.root)

    assert stale() == []
    return stale


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_code_makes_a_chapter_stale(checkout, fresh):
    edit(checkout.chapter, "value=float(accel)", "value=float(accel) + 1")
    assert fresh() == ["its code changed"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# It writes what", "# It now writes what"),  # Markdown
        ("# one row is enough", "# a single row"),  # a comment
        ("accel = 4  # acceleration", "accel = 4  # nominal acceleration"),
    ],
)
def test_wording_of_a_chapter_costs_no_run(checkout, fresh, old, new):
    edit(checkout.chapter, old, new)
    assert fresh() == []


def test_moving_code_to_another_cell_makes_a_chapter_stale(checkout, fresh):
    edit(checkout.chapter, "\npath = store.save", "\n# %%\npath = store.save")
    assert fresh() == ["its code changed"]


def test_the_library_counts_through_imports_but_its_docstrings_do_not(checkout, fresh):
    lib = checkout.root / "lib" / "recon"
    edit(lib / "results" / "store.py", '"""One execution of one chapter.', '"""A run.')
    edit(lib / "errors.py", "class InputError", "# a comment\nclass InputError")
    assert fresh() == []
    (lib / "data" / "unused.py").write_text("x = 1\n")
    assert fresh() == []
    edit(lib / "paths.py", '"runs"', '"outputs"')  # imported by what the chapter imports
    assert fresh() == ["a library file that it imports changed"]


def test_manifest_environment_and_inputs_count(checkout, fresh):
    manifest = checkout.root / "data_manifests" / "simulated_knee.yml"
    manifest.write_text("# a comment\n" + manifest.read_text())
    assert fresh() == []
    manifest.write_text(manifest.read_text() + "\nremark: changed\n")
    assert fresh() == ["a data manifest that it names changed"]
    other = checkout.root / "data_manifests" / "never_named.yml"
    other.write_text("name: never_named\n")
    assert fresh() == ["a data manifest that it names changed"]
    edit(checkout.root / "environment.yml", "numpy==", "numpy==9.")
    assert "environment.yml changed" in fresh()


def test_a_page_that_reads_results_goes_stale_with_them(checkout):
    edit(checkout.chapter, "print(path.name)", "print(store.reference_runs())")
    before = staleness.hashes("tiny", checkout.root)
    reference = checkout.root / "book" / "results" / "other.json"
    store.save(a_run([value("unet", 30.0)]), reference)
    assert staleness.hashes("tiny", checkout.root)["inputs_sha256"] != before["inputs_sha256"]
    edit(checkout.chapter, "store.reference_runs()", 'store.reference_runs("tiny")')
    named = staleness.hashes("tiny", checkout.root)["inputs_sha256"]
    assert named == before["inputs_sha256"]  # another chapter's run is none of its business
    other = '"no_such_chapter", store.reference_runs("tiny")'
    edit(checkout.chapter, 'store.reference_runs("tiny")', other)
    assert staleness.hashes("tiny", checkout.root)["inputs_sha256"] == named
    edit(checkout.chapter, other, "store.reference_runs(path.stem)")  # only known when it runs
    assert staleness.hashes("tiny", checkout.root)["inputs_sha256"] != named


def test_tables_and_manifests_that_the_library_names_count(checkout):
    """A chapter that imports `store` depends on what `store` names."""
    store_file = checkout.root / "lib" / "recon" / "results" / "store.py"
    store_file.write_text(store_file.read_text() + '\nREAD = ("rates.csv", "some_set")\n')
    table = checkout.root / "book" / "results" / "rates.csv"
    table.parent.mkdir(exist_ok=True)
    table.write_text("a\n1\n")
    manifest = checkout.root / "data_manifests" / "some_set.yml"
    manifest.write_text("name: some_set\n")
    before = staleness.hashes("tiny", checkout.root)
    table.with_name("unread.csv").write_text("a\n")
    assert staleness.hashes("tiny", checkout.root) == before
    table.write_text("a\n2\n")
    manifest.write_text("name: some_set\nremark: changed\n")
    now = staleness.hashes("tiny", checkout.root)
    changed = {name for name in now if now[name] != before[name]}
    assert changed == {"inputs_sha256", "manifest_sha256"}


def test_a_missing_damaged_or_unstamped_notebook_is_stale(checkout):
    assert staleness.stale("tiny", checkout.root) == ["tiny.ipynb does not exist"]
    checkout.notebook.write_text("{")
    assert staleness.stale("tiny", checkout.root) == ["tiny.ipynb is damaged"]
    checkout.notebook.write_text('{"metadata": {}}')
    assert "never executed" in staleness.stale("tiny", checkout.root)[0]


# --- parameters ------------------------------------------------------------------------------


def test_the_chapters_own_names_are_no_unknown_parameters():
    values = {"accel": 4, "epochs": 3, "In": ["", "accel = 4", "# Parameters\naccel = 4\n"]}
    assert parameters.check(values, {"accel": parameters.number(2, 12)}) == {"accel": 4}
    values["In"].append("# Parameters\nepoks = 3\n")
    with pytest.raises(InputError, match="unknown parameter 'epoks'"):
        parameters.check(values, {"accel": parameters.number(2, 12)})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("accel", "6"),
        ("accel", 0),
        ("accel", True),
        ("accel", math.nan),
        ("accel", 1000),
        ("coils", 2.5),
        ("coils", -1),
        ("task", "multi"),
        ("profile", "fast"),
        ("data", "no_such_set"),
        ("data_root", None),
        ("mask_type", 4),
        ("device", "gpu"),
        ("seed", "zero"),
    ],
)
def test_wrong_values_are_refused_by_name(name, wrong):
    with pytest.raises(InputError, match=f"^{name} is"):
        parameters.MRI[name](name, wrong)


def test_right_values_pass():
    good = {"accel": 6.5, "coils": 4.0, "device": "cuda:1", "test_data": "", "seed": 1}
    for name, value_given in good.items():
        assert parameters.MRI[name](name, value_given) == value_given


def test_a_chapter_goes_on_with_the_value_that_it_stores():
    """A seed of 1000.0 would draw other masks than 1000, under one name."""
    values = {"seed": 1e3, "coils": 4.0, "accel": 6.5}
    parameters.check(values, {name: parameters.MRI[name] for name in values})
    assert {name: repr(given) for name, given in values.items()} == {
        "seed": "1000", "coils": "4", "accel": "6.5",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "default", "understood"),
    [
        ("1e3", 0, 1000), ("06", 4, 6), ("6.0", 4, 6), ("-0.0", 4, 0), ("6.5", 4, 6.5),
        ("2", 1.0, 2.0), ("1e22", 4, 1e22), ("12345678901234567891", 0, 12345678901234567891),
    ],
)  # fmt: skip
def test_a_number_is_read_as_one_value(given, default, understood):
    assert repr(parameters.convert("x", given, default)) == repr(understood)


@pytest.mark.parametrize("cell", ["accel = 2 + n", "import os", "a = b = 1", "accel ="])
def test_a_parameters_cell_holds_literals_only(tmp_path, cell):
    path = tmp_path / "chapter.py"
    path.write_text(f'# %% tags=["parameters"]\n{cell}\n# %%\nx = 1\n')
    with pytest.raises(InputError, match="must hold literals only"):
        parameters.declared(path)


# --- claims ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paper():
    return claims.load("chen-2022")


def verdict_of(paper, name, rows, **settings):
    claim = next(claim for claim in paper.claims if claim.id == name)
    frame = store.frame([a_run(rows, **settings)])
    judged = {one.claim.id: one for one in verdicts.judge_all(paper, frame)}
    return judged[claim.id]


def test_every_number_of_the_tables_is_a_claim(paper):
    cells = [claim for claim in paper.claims if claim.cell]
    sizes = {name: len(table.rows) * len(table.columns) for name, table in paper.tables.items()}
    assert sizes == {
        **{"I": 72, "II": 108, "III": 8, "IV": 6, "IV, cost": 12},
        **{"V": 180, "VI": 32, "VII": 40},
    }
    assert len(cells) == sum(sizes.values())
    # All is the mean over the volumes of PD and PDFS, so it lies between them.
    for name in ("I", "II"):
        rows = {(contrast, method): v for _, contrast, method, v in paper.tables[name].rows}
        for (contrast, method), values in rows.items():
            if contrast == "all":
                pair = zip(rows["PD", method], rows["PDFS", method], values, strict=True)
                assert all(min(a, b) <= both <= max(a, b) for a, b, both in pair)


def over_unet(psnr=2.0, p=1e-6, **fields):
    """Rows for the twelve comparisons of claim II-s-over-unet."""
    return [
        difference("pcrnn_s", "unet", psnr, 0.2, p, contrast=c, metric=m, accel=a, **fields)
        for c in ("PD", "PDFS", "all")
        for m in ("psnr", "ssim")
        for a in (4, 6)
    ]


def test_greater_flips_with_the_rows(paper):
    def judged(rows):
        return verdict_of(paper, "II-s-over-unet", rows).verdict

    assert judged(over_unet()) == "reproduced"
    assert judged(over_unet(-2.0)) == "not reproduced"
    assert judged(over_unet(0.1)) == "undecided"  # the interval includes zero
    assert judged(over_unet(0.1)[:6] + over_unet(-2.0)[6:]) == "not reproduced"
    assert judged(over_unet(0.0, p=1.0)) == "undecided"
    nothing = [{**one, "value": 0.0, "ci95": [0.0, 0.0], "p_value": 1.0} for one in over_unet()]
    assert judged(nothing) == "not reproduced"  # exactly zero is a finding
    assert judged(over_unet(p=0.19)) == "partly"  # above zero, not significantly
    single = [{**one, "n": 1, "ci95": [2.0, 2.0], "p_value": 1.0} for one in over_unet()]
    assert judged(single) == "undecided"  # one volume has no interval
    counted = [{**one, "unit": "network"} for one in single]
    assert judged(counted) == "reproduced"  # what is counted needs none
    none = {"value": 0.0, "ci95": [0.0, 0.0]}
    assert judged([{**one, **none} for one in single]) == "undecided"  # zero by chance, once
    assert judged([{**one, **none} for one in counted]) == "not reproduced"  # exactly none
    longer = [{**one, "value": -2.0, "ci95": [-2.0, -2.0]} for one in single]
    both = store.frame([a_run(longer, "standard"), a_run(over_unet(), "quick")])
    found = next(v for v in verdicts.judge_all(paper, both) if v.claim.id == "II-s-over-unet")
    assert found.verdict == "reproduced"  # a longer run that measured once does not decide
    assert judged(over_unet(trained_on="simulated_brain")) == "not testable on this data"
    assert judged(over_unet()[:5]) == "partly"
    assert judged(over_unet()[:6] + over_unet(-2.0)[6:]) == "partly"
    assert judged([value("unet", 30.0)]) == "not testable on this data"
    assert judged(over_unet(data="simulated_leaves")) == "not testable on this data"


def test_a_single_measurement_is_similar_to_nothing(paper):
    def judged(**fields):
        fields |= {"data": "simulated_brain_arrays"}
        row = difference("pcrnn_4c", "pcrnn_12c", 0.1, 0.1, **fields)
        return verdict_of(paper, "IV-similar-psnr", [row]).verdict

    assert judged() == "reproduced"
    assert judged(n=1) == "undecided"
    assert judged(n=1, unit="network") == "reproduced"


def test_a_published_p_value_must_be_reached(paper):
    def judged(p, n=24):
        rows = [
            difference("pcrnn_s", other, 2.0, 0.2, p, metric="ssim", accel=a, n=n)
            for other in ("cs", "unet", "vn", "vsnet", "kikinet", "d5c5", "complexmri")
            for a in (4, 6)
        ]
        return verdict_of(paper, "II-s-ssim-p", rows)

    assert judged(1e-6).verdict == "reproduced"
    assert judged(1e-3).verdict == "partly"
    assert "8 volumes cannot give less than 0.008" in judged(0.0078, n=8).reason


def test_better_data_and_longer_training_decide_and_of_equals_the_worst(paper):
    def judged(*runs):
        frame = store.frame([a_run(rows, profile, seed=seed) for rows, profile, seed in runs])
        found = verdicts.judge_all(paper, frame)
        return next(one for one in found if one.claim.id == "II-s-over-unet")

    real = over_unet(-2.0, data="fastmri_knee_multicoil")
    assert judged((over_unet(), "paper", 0), (real, "quick", 0)).verdict == "not reproduced"
    both = judged((over_unet(-2.0), "quick", 0), (over_unet(), "standard", 0))
    assert both.verdict == "reproduced" and both.data == ("simulated_knee (standard)",)
    seeds = (over_unet(), "standard", 0), (over_unet(-2.0), "standard", 1)
    assert judged(*seeds).verdict == "not reproduced"


def test_values_are_testable_on_the_published_data_only(paper):
    name = "II-knee_multicoil-all-unet-psnr-4x"  # 35.6 in the paper, tolerance 0.5

    def judged(mean, data, n=24):
        return verdict_of(paper, name, [value("unet", mean, data=data, n=n)]).verdict

    assert judged(35.6, "simulated_knee") == "not testable on this data"
    assert judged(35.3, "fastmri_knee_multicoil") == "reproduced"
    assert judged(36.5, "fastmri_knee_multicoil") == "not reproduced"
    assert judged(35.3, "fastmri_knee_multicoil", n=1) == "undecided"  # one volume


def test_an_order_without_differences_is_tested_neighbour_by_neighbour(paper):
    def judged(second, first, third, half=0.2):
        means = {"convrnn2": second, "convrnn1": first, "convrnn3": third}
        rows = [
            value(method, mean, half, metric=m, accel=a)
            for method, mean in means.items()
            for m in ("psnr", "ssim")
            for a in (4, 6)
        ]
        return verdict_of(paper, "VI-knee-order", rows).verdict

    assert judged(36, 30, 26) == "reproduced"
    assert judged(36, 30, 26, half=9) == "undecided"  # right order, overlapping intervals
    assert judged(26, 30, 36) == "not reproduced"
    assert judged(36, 26, 30) == "partly"


def test_an_order_takes_differences_of_either_sign_and_of_further_pairs(paper):
    """A run that holds worse minus better is read the other way round."""

    def judged(*pairs, name="VI-knee-order", fields=("psnr", "ssim"), accels=(4, 6)):
        rows = [
            difference(first, second, gain, p=p, metric=m, accel=a)
            for first, second, gain, p in pairs
            for m in fields
            for a in accels
        ]
        return verdict_of(paper, name, rows)

    first = ("convrnn2", "convrnn1", 2.0, 1e-6)
    turned = ("convrnn3", "convrnn1", -1.0, 1e-6)  # the paper has 1 above 3
    both = judged(first, turned)
    assert both.verdict == "reproduced" and "4 of" not in both.reason, both.reason
    assert judged(first, ("convrnn3", "convrnn1", 1.0, 1e-6)).verdict == "partly"
    assert judged(first, (*turned[:3], 0.2)).verdict == "partly"  # p is that of the row
    assert "p is 0.2" in judged(first, (*turned[:3], 0.2)).reason
    far = judged(first, turned, ("convrnn3", "convrnn2", 0.5, 1e-6))
    assert far.verdict == "partly" and "8 of 12" in far.reason
    assert "ConvRNN2-2x over ConvRNN3-1x" in far.reason
    assert "12 of 12" in judged(first, turned, ("convrnn3", "convrnn2", -3.0, 1e-6)).reason
    assert judged(*[(b, a, -g, p) for a, b, g, p in [first]], fields=["psnr"]).verdict == "partly"


def test_greater_reads_a_difference_the_other_way_round_too(paper):
    rows = [
        {**difference("unet", "pcrnn_s", -2.0, metric=m, accel=a, contrast=c)}
        for c in ("PD", "PDFS", "all")
        for m in ("psnr", "ssim")
        for a in (4, 6)
    ]
    assert verdict_of(paper, "II-s-over-unet", rows).verdict == "reproduced"
    wrong = [{**row, "value": 2.0, "ci95": [1.8, 2.2]} for row in rows]
    assert verdict_of(paper, "II-s-over-unet", wrong).verdict == "not reproduced"


def test_what_these_rows_lack_is_not_said_of_every_run(paper):
    """A page judges its own rows: others may lie further down."""
    at_four = [row for row in over_unet() if row["accel"] == 4]
    assert "no row here at 6x of PC-RNN-S, U-Net" in (
        verdict_of(paper, "II-s-over-unet", at_four).reason
    )


def test_one_gain_exceeds_another(paper):
    def judged(many, one, half=0.2, n=24):
        rows = [
            difference("pcrnn_s", "unet", mean, half, metric=m, accel=a, task=task, n=n)
            for task, mean in (("multicoil", many), ("singlecoil", one))
            for m in ("psnr", "ssim")
            for a in (4, 6)
        ]
        return verdict_of(paper, "II-more-than-I", rows).verdict

    assert judged(3.5, 0.9) == "reproduced"
    assert judged(0.9, 3.5) == "not reproduced"
    assert judged(3.5, 3.4) == "undecided"
    assert judged(3.5, 0.9, n=1) == "undecided"  # one volume each


def test_claims_that_nothing_here_can_test_say_why(paper):
    judged = verdict_of(paper, "II-radiologists", over_unet())
    assert judged.verdict == "not testable on this data" and "radiologists" in judged.reason


def test_no_verdict_is_typed_and_broken_claims_are_refused(tmp_path):
    import yaml

    text = (claims.claims_dir() / "chen-2022.yml").read_text()
    assert not any(word in text for word in verdicts.VERDICTS)
    content = yaml.safe_load(text)
    breaks = {
        "verdict": lambda c: c["claims"][0].update(verdict="reproduced"),
        "no method 'unett'": lambda c: c["claims"][0].update(against=["unett"]),
        "columns": lambda c: c["tables"][0]["rows"][0].pop(),
        "two claims": lambda c: c["claims"].append(copy.deepcopy(c["claims"][0])),
        "p_below": lambda c: c["claims"][3].update(p_below="small"),
    }
    for number, (said, change) in enumerate(breaks.items()):
        broken = yaml.safe_load(text)
        change(broken)
        path = tmp_path / f"paper-{number}.yml"
        path.write_text(yaml.safe_dump(broken))
        with pytest.raises(InputError, match=path.name) as error:
            claims.load(path)
        assert said in str(error.value)
    assert content["key"] == "chen-2022"


BOMB = "a: &a [{}]\nb: &b [{}]\nc: &c [{}]\nd: [{}]\n".format(
    *(",".join(9 * [part]) for part in ("lol", "*a", "*b", "*c"))
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOMB, "an alias, *a"),
        ("key: " + "[" * 5000, "no readable YAML file"),
        ("key: [", "no readable YAML file"),
        ("key: 2024-13-99", "no readable YAML file"),
        ("key: !!python/object:os.system x", "no readable YAML file"),
        ("key: [%s]" % ("longword, " * 99_999), "mend it|schema"),
    ],
)
def test_a_hostile_yaml_file_gets_a_short_sentence(tmp_path, content, said):
    from recon.data.manifest import read_manifest

    (tmp_path / "x-2000.yml").write_text(content)
    for read in (claims.load, read_manifest):
        with pytest.raises(InputError, match=rf"x-2000\.yml.*({said.replace('*', '.')})") as error:
            read(tmp_path / "x-2000.yml")
        assert len(str(error.value)) < 4000


# --- tables ----------------------------------------------------------------------------------


def test_the_table_shows_measured_and_published_values_side_by_side(paper):
    rows = [value("unet", 30.04), value("zero_filled", 25.0), value("pcrnn_xs", 32.0)]
    page = tables.beside_paper(rows, paper, table="II", accel=4)
    line = page.split("<tr>")
    unet = next(part for part in line if ">All<" in part and ">U-Net<" in part)
    assert "<td>35.6</td>" in unet and ">30.0<" in unet and "[29.8, 30.2]" in unet
    assert any(">PC-RNN-XS<" in part and ">32.0<" in part for part in line)
    assert any(">ComplexMRI<" in part and "<td>38.2</td>" in part for part in line)
    assert page.count("<caption>") == 1 and 'scope="col"' in page and 'scope="row"' in page
    # An acceleration that the paper does not have leaves its columns empty.
    assert "35.6" not in tables.beside_paper([value("unet", 1.0, accel=8)], paper, "II", 8)


def test_table_vi_takes_the_rows_of_the_anatomy(paper):
    rows = [value("convrnn1", 20.0, data="simulated_brain")]
    page = tables.beside_paper(rows, paper, table="VI", accel=4)
    rows.append(value("zero_filled", 19.0, data="simulated_brain"))
    assert "Zero-filled" not in tables.beside_paper(rows, paper, table="VI", accel=4)
    assert "<td>34.5</td>" in page and "<td>30.5</td>" not in page


def test_tables_escape_what_they_show():
    page = html.html_table("a < b", ["x"], [["<script>"]])
    assert "<script>" not in page and "&lt;script&gt;" in page and "a &lt; b" in page


def test_scoreboard_and_lists_follow_the_rows(paper):
    empty = tables.scoreboard(paper, store.frame([]))
    full = tables.scoreboard(paper, store.frame([a_run(over_unet())]))
    assert ">reproduced<" not in empty and ">reproduced<" in full
    assert "simulated knee (standard)" in full
    listed = tables.differences(over_unet(p=1e-7), "Seed 3", digits=2)
    assert "Seed 3. Paired differences" in listed and "+2.00" in listed
    assert listed.count("<tr>") == 13 and "PC-RNN-S – U-Net" in listed and "1e-7" in listed
    assert "python -m recon run" in tables.references([a_run(over_unet())])


def test_scores_of_stored_runs_say_what_was_trained_on_and_how_fast():
    rows = [value("unet", 30.0), value("unet", 0.9, 0.01, metric="ssim")]
    run = a_run(rows, data="simulated_brain", accel=4)
    table = tables.reference_scores([run])
    assert "knee ← brain" in table and "4x (3.90)" in table and "24 volumes" in table
    assert "Acceleration (effective)" in table
    mine = [{**row, "data": "fastmri_folder"} for row in rows]
    own = a_run(mine, data="fastmri_folder", data_root="/somewhere/mine", accel=4)
    assert "folder mine ← folder mine" in tables.reference_scores([own])
    listed = tables.references([own])
    assert "<td>folder mine</td>" in listed and "somewhere" not in listed


def test_rank_correlation_counts_pairs_in_the_same_order():
    """Six pairs, one of them turned round: tau is (5 - 1) / 6."""
    theirs = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "alone": 9.0}
    assert order.rank_correlation({"a": 5, "b": 7, "c": 6, "d": 8}, theirs)[0] == pytest.approx(
        2 / 3
    )
    assert order.rank_correlation({"a": 4, "b": 3, "c": 2, "d": 1}, theirs)[0] == -1
    with pytest.raises(ValueError, match="needs two"):
        order.rank_correlation({"a": 1, "other": 2}, theirs)


def test_the_order_of_a_run_stands_beside_the_papers():
    paper = claims.load("chen-2022")
    methods = {"unet": 20.0, "d5c5": 22.0, "pcrnn_xs": 21.0, "zero_filled": 15.0}
    rows = [value(method, number) for method, number in methods.items()]
    table = order.same_order(rows, paper, "II", 4, {"pcrnn_xs": "pcrnn_s"})
    assert "D5C5 &gt; PC-RNN-S &gt; U-Net" in table and "PC-RNN-S &gt; D5C5 &gt; U-Net" in table
    assert "+0.33" in table and "Zero-filled" not in table


def test_runs_stand_side_by_side_and_their_orders_are_compared():
    def run_of(seed, gains, **extra):
        rows = [difference(name, "zero_filled", gain) for name, gain in gains.items()]
        rows += [{**difference("vn", "zero_filled", 9.0), "training_seed": seed + 1}] * bool(extra)
        return store.Run("comparison", "quick", {"seed": seed}, rows, {})

    ours = {"unet": 1.0, "vn": 2.0, "pcrnn_s": 3.0}
    of = repeats.chosen_rows("psnr", lambda row: row["method"], against="zero_filled")
    runs = [run_of(0, ours), run_of(1, {"unet": 3.0, "vn": 2.0, "pcrnn_s": 1.0}, again=True)]
    runs.append(run_of(2, {"unet": 0.5, "d5c5": 1.5}))
    table = repeats.repeats(runs, of, "caption")
    lines = [line.split("<td>")[1:] for line in table.split("<tr>")[2:]]
    assert ["+1.00" in lines[0][0], "+3.00" in lines[0][1], "+0.50" in lines[0][2]] == [True] * 3
    assert "9.0" not in table and "seed 2" in table
    # D5C5 is in the last run only; over a single shared line no order can be told.
    assert sum("–" in cell for cell in lines[2]) == 2
    assert [cell.split("<")[0] for cell in lines[-1]] == ["–", "-1.00", "–"]


def test_runs_that_ask_something_else_are_shown_beside_their_own_table():
    def run_of(**parameters):
        at = parameters.get("accel", 4)
        rows = [value("unet", 30.0, accel=at), value("d5c5", 31.0, accel=at)]
        return store.Run("comparison", "quick", {"seed": 0, "accel": 4, **parameters}, rows, {})

    first = run_of(task="multicoil", data_root="")
    others = [
        run_of(task="multicoil", seed=1, bart=True, data_root="elsewhere"),
        run_of(task="singlecoil"),
        run_of(task="multicoil", accel=6),
    ]
    same, different = repeats.alike(first, others)
    assert same == others[:1] and different == others[1:]
    paper = claims.load("chen-2022")
    number = {"singlecoil": "I", "multicoil": "II"}
    table = repeats.paper_tables(different, paper, lambda one: number[one.parameters["task"]])
    assert "quick, seed 0, 4x, singlecoil" in table and "quick, seed 0, 6x, multicoil" in table
    assert "Table I of the paper" in table and "Table II of the paper" in table
    assert "No such run" in repeats.paper_tables([], paper, lambda one: "I")


def test_a_stored_run_of_the_pages_own_parameters_is_no_second_opinion():
    def run_of(profile="quick", **parameters):
        given = {"seed": 0, "accel": 4, "device": "auto", **parameters}
        return store.Run("comparison", profile, given, over_unet(), {})

    own = run_of(data_root="/elsewhere/brains")
    stored = store._without_folders("/elsewhere/brains")
    twin = run_of(device="cpu", data_root=stored)
    others = [run_of(data_root=stored, seed=1), run_of("standard", data_root=stored), run_of()]
    assert repeats.further(own, [twin, *others]) == others
    of = repeats.chosen_rows("psnr", lambda row: row["method"], against="unet")
    table = repeats.repeats([own, twin, others[0]], of, "caption")
    assert table.count('scope="col"') == 3 and "seed 1" in table


def test_every_stored_run_has_its_own_verdicts():
    def run_of(seed, gain):
        given = {"seed": seed, "accel": 4, "data": "simulated_knee"}
        return store.Run("comparison", "quick", given, over_unet(gain), {})

    paper = claims.load("chen-2022")
    shown = repeats.verdicts_of_each([run_of(0, 1.0), run_of(1, -1.0)], paper)
    first, second = shown.split("<caption>")[1:]
    assert first.startswith("quick, seed 0, 4x, simulated knee. What") and ">reproduced<" in first
    assert second.startswith("quick, seed 1") and ">reproduced<" not in second
    assert "No such run" in repeats.verdicts_of_each([], paper)


def test_a_reason_counts_what_holds_in_part(paper):
    claim = next(one for one in paper.claims if len(one.parts) > 2)
    words = ["holds", "partly", *["open"] * (len(claim.parts) - 2)]
    outcomes = [verdicts.Outcome(p, w, "") for p, w in zip(claim.parts, words, strict=True)]
    hold = f"1 of {len(outcomes)} comparisons hold"
    assert verdicts._tally(outcomes) == f"{hold}, 1 in part"
    assert verdicts._tally(outcomes[:1]) == "1 of 1 comparisons hold"


def test_columns_name_what_differs_from_the_first_run():
    def run_of(profile="quick", **parameters):
        rows = [difference("unet", "zero_filled", 1.0)]
        return store.Run("comparison", profile, {"seed": 0, "accel": 4, **parameters}, rows, {})

    runs = [run_of(bart=False), run_of(bart=True, data_root="x"), run_of("standard", accel=6)]
    table = repeats.repeats(runs, lambda row: row["method"], "caption")
    for column in ("quick, seed 0<", "quick, seed 0, with bart<", "standard, seed 0, 6x<"):
        assert column in table


def test_claims_about_orders_can_be_asked_of_other_data():
    paper = claims.load("chen-2022")
    asked = claims.elsewhere(paper, "brain_multicoil", "real_heads", ("all", "T1"))
    assert {claim.rule for claim in asked.claims} <= {"greater", "ordering", "similar"}
    assert {part.contrast for claim in asked.claims for part in claim.parts} == {"all", "T1"}
    assert not any(claim.cell for claim in asked.claims) and asked.claims
    everyone = ("cs", "unet", "vn", "vsnet", "kikinet", "d5c5", "complexmri")
    taught = {"trained_on": "simulated_brain"}
    rows = [
        difference("pcrnn_s", other, 1.0, data=data, metric=metric, accel=accel, **taught)
        for other in everyone
        for metric in ("psnr", "ssim")
        for accel in (4, 6)
        for data in ("real_heads", "simulated_brain")
    ]
    for row in rows:  # on the other data, and there alone, it is worse
        if row["data"] == "real_heads":
            row |= {"value": -1.0, "ci95": [-1.2, -0.8]}
    runs = store.frame([a_run(rows)])
    words = {
        where: next(v for v in verdicts.judge_all(one, runs) if v.claim.id == "V-s-best").verdict
        for where, one in (("head", asked), ("default", paper))
    }
    assert words == {"head": "not reproduced", "default": "reproduced"}
    with pytest.raises(KeyError):
        claims.elsewhere(paper, "hearts", "studyforrest_t1")


def test_rows_of_spoilt_data_decide_nothing_and_rankings_pair_rows_of_one_run():
    paper = claims.load("chen-2022")
    order = ("convrnn2", "convrnn1", "convrnn3")

    def judged(*runs):
        found = verdicts.judge_all(paper, store.frame(runs))
        return next(one for one in found if one.claim.id == "VI-knee-order")

    rows = [
        value(method, 36 - 4 * place, metric=metric, accel=accel)
        for place, method in enumerate(order)
        for metric in ("psnr", "ssim")
        for accel in (4, 6)
    ]
    quick = a_run(rows, "quick")
    assert judged(quick).verdict == "reproduced"
    # A longer run of one method cannot be ranked with a shorter run of another.
    alone = a_run([row for row in rows if row["method"] == "convrnn2"], "standard", seed=1)
    assert judged(quick, alone).verdict == "reproduced"
    assert judged(quick, alone).data == ("simulated_knee (quick)",)
    spoilt = a_run([{**row, "tested": "padded", "value": 0.0} for row in rows], "standard")
    assert judged(quick, spoilt).verdict == "reproduced"
    assert judged(spoilt).verdict == "not testable on this data"


def test_what_changes_while_a_chapter_runs_is_named():
    before = staleness.hashes("scoreboard")
    assert provenance.changed("scoreboard", before) == []
    assert provenance.changed("scoreboard", {**before, "lib_sha256": "x"}) == ["lib_sha256"]
    assert provenance.changed("scoreboard", {**before, "inputs_sha256": "x"}) == []


def test_a_tree_is_dirty_when_what_results_are_made_from_changed(tmp_path):
    import subprocess

    def git(*words):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "lib").mkdir()
    (tmp_path / "book").mkdir()
    for name in ("lib/a.py", "book/a.py", "book/a.ipynb"):
        (tmp_path / name).write_text("one")
    git("init")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "one")
    (tmp_path / "book" / "a.ipynb").write_text("two")  # a result, not what it is made from
    assert provenance.git_state(tmp_path)["git_dirty"] is False
    (tmp_path / "lib" / "new.py").write_text("two")  # untracked, yet imported
    assert provenance.git_state(tmp_path)["git_dirty"] is True


def test_differences_stand_in_a_grid_of_pairs_and_contrasts():
    rows = [
        difference("unet", "cs", gain, p=0.03, contrast=contrast, n=n)
        for contrast, gain, n in (("all", 1.0, 10), ("PD", 2.0, 4))
    ]
    rows += [
        difference("vn", "cs", 3.0),
        difference("vn", "cs", 9.0, metric="ssim"),
        difference("vn", "cs", 9.0, region="full"),
        value("vn", 9.0),
    ]
    table = grids.by_contrast(rows, "psnr")
    lines = [line.split("<td>")[1:] for line in table.split("<tr>")[2:]]
    assert "PD (4 volumes)" in table and table.index("PD (4") < table.index("All (")
    assert ["+2.0" in lines[0][0], "+1.0" in lines[0][1], "p 0.03" in lines[0][0]] == [True] * 3
    assert lines[1][0].startswith("–") and "+3.0" in lines[1][1] and "9.0" not in table
