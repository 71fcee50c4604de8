"""The command line, in a checkout of its own: what it runs, refuses, and never replaces."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest


def state(notebook) -> dict:
    return json.loads(notebook.read_text())


def test_execute_stamps_a_clean_notebook_that_is_then_fresh(executed):
    book = state(executed.notebook)
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [1, 2, 3]
    assert all("injected-parameters" not in str(cell["metadata"]) for cell in code)
    text = executed.notebook.read_text()
    assert "start_time" not in text and "papermill" not in book["metadata"]
    assert str(executed.root) not in text
    assert len(book["metadata"]["recon"]["source_sha256"]) == 64
    fresh = executed.recon("stale")
    assert (fresh.returncode, fresh.stdout) == (0, "")
    # Executing once more changes nothing that a diff would show, but for the time it took.
    before = re.sub(r'"(seconds|peak_memory_mb)": \d+', "", text)
    executed.recon("execute", "tiny")
    after = re.sub(r'"(seconds|peak_memory_mb)": \d+', "", executed.notebook.read_text())
    assert after == before


def test_a_chapters_peak_memory_is_its_own(checkout):
    """Not that of a chapter that the same command executed before it."""
    hungry = "# %%\nimport numpy as np\n\nprint(np.ones(100_000_000).sum())\n"  # 800 MB
    (checkout.root / "book" / "hungry.py").write_text(hungry)
    assert checkout.recon("execute", "hungry", "tiny").returncode == 0
    peaks = [
        state(checkout.root / "book" / f"{name}.ipynb")["metadata"]["recon"]["peak_memory_mb"]
        for name in ("hungry", "tiny")
    ]
    assert peaks[0] > 800 and 20 < peaks[1] < peaks[0] - 400
    cells = state(checkout.root / "book" / "hungry.ipynb")["cells"]
    assert ["".join(cell["source"])[:6] for cell in cells] == ["import"]  # no cell came to stay


def test_run_names_its_output_by_its_parameters(checkout):
    done = checkout.recon("run", "tiny", "--param", "accel", "6")
    assert done.returncode == 0, done.stderr
    runs = checkout.root / "runs"
    assert done.stdout.strip() == str(runs / "tiny_accel-6.ipynb")
    stored = json.loads((runs / "tiny_accel-6.json").read_text())
    assert stored["parameters"] == {"accel": 6, "profile": "quick"}
    assert stored["rows"][0]["value"] == 6.0
    assert not checkout.notebook.exists()


def test_a_reference_run_is_kept_among_the_committed_results(checkout):
    checkout.recon("run", "tiny", "-p", "accel", "5", "--reference")
    reference = checkout.root / "book" / "results" / "tiny_accel-5.json"
    assert reference.is_file()
    assert checkout.recon("stale", "--reference").stdout == ""
    checkout.chapter.write_text(checkout.chapter.read_text() + "\nprint(1)\n")
    told = checkout.recon("stale", "--reference")
    assert told.returncode == 0  # older code is no error
    assert told.stdout.startswith("tiny_accel-5.json: made by") and "code changed" in told.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tiny", "-p", "acel", "6"), "unknown parameter 'acel' (did you mean 'accel'?)"),
        (("tiny", "-p", "accel", "six"), "accel is 'six', but must be a number like 4"),
        (("tiny", "-p", "accel", "16"), "accel is 16, but must lie from 2 to 12"),
        (("tiny", "-p", "accel", "nan"), "accel is nan, but must lie from 2 to 12"),
        (("tiny", "-p", "profile", "quik"), "'quick', 'standard', 'paper' (did you mean 'quick'?)"),
        (("tiny", "-p", "accel", "4", "-p", "accel", "6"), "accel is given twice, 4 and 6"),
        (("tiny", "--out", "checkout"), "tiny.ipynb cannot be written (Is a directory)"),
        (("tiny", "--out", "pipe"), "pipe cannot be written (it is no regular file)"),
        (("tiny", "--out", "checkout/environment.yml/x.ipynb"), "x.ipynb cannot be written ("),
        (("tinny",), "there is no chapter 'tinny': the book has tiny"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(checkout, words, said):
    (checkout.root / "tiny.ipynb").mkdir()
    os.mkfifo(checkout.root.parent / "pipe")
    done = checkout.recon("run", *words)
    assert done.returncode == 2
    last = [line for line in done.stderr.splitlines() if line.startswith("recon: ")]
    assert len(last) == 1 and said in last[0]
    assert "Traceback" not in done.stderr
    assert not list((checkout.root).glob("runs/*.ipynb"))


def test_a_run_is_at_home_where_it_was_started(checkout, tmp_path):
    """Its folders, its library and its kernel are those of the process that was asked for it."""
    foreign = tmp_path / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "x", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(spec))
    look = "\n# %%\nfrom recon import paths\n\nprint(paths.cache_dir(), paths.__file__)\n"
    checkout.chapter.write_text(checkout.chapter.read_text() + look)
    places = {"RECON_RUNS": "my $HOME runs", "RECON_CACHE": "cache"}
    done = checkout.recon(
        "run", "tiny", "-p", "accel", "06.0", "--out", "kept/",
        **places, JUPYTER_PATH=str(tmp_path / "jupyter"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "kept" / "tiny_accel-6.ipynb")
    assert [p.name for p in (tmp_path / "my $HOME runs").iterdir()] == ["tiny_accel-6.json"]
    said = state(tmp_path / "kept" / "tiny_accel-6.ipynb")["cells"][-1]["outputs"][0]["text"]
    assert "".join(said).split() == [str(tmp_path / "cache"), "./lib/recon/paths.py"]


def test_a_place_for_runs_that_is_none_is_found_before_the_work(executed, tmp_path):
    """By plain papermill too; the chapter's third cell is not reached."""
    (tmp_path / "file").write_text("")
    given = {**executed.environment(), "RECON_RUNS": str(tmp_path / "file")}
    words = [sys.executable, "-m", "papermill", executed.notebook, tmp_path / "out.ipynb"]
    done = subprocess.run(words, capture_output=True, text=True, env=given, cwd=tmp_path)
    assert "InputError" in done.stderr and "file is no folder: delete it" in done.stderr
    code = [c for c in state(tmp_path / "out.ipynb")["cells"] if c["cell_type"] == "code"]
    assert code[-1]["execution_count"] is None


def test_a_kernel_that_dies_is_told_of(checkout):
    killed = "# %%\nimport os\n\nos.kill(os.getpid(), 9)\n"
    (checkout.root / "book" / "killed.py").write_text(killed)
    done = checkout.recon("run", "killed")
    assert done.returncode == 1 and "recon: killed: Kernel died" in done.stderr


def test_plain_papermill_is_refused_an_unknown_parameter_by_the_chapter(executed, tmp_path):
    words = [sys.executable, "-m", "papermill", executed.notebook, "out.ipynb", "-p", "acel", "6"]
    done = subprocess.run(
        words, capture_output=True, text=True, env=executed.environment(), cwd=tmp_path
    )
    assert done.returncode != 0
    assert "InputError: unknown parameter 'acel' (did you mean 'accel'?)" in done.stderr


def test_a_failed_cell_replaces_nothing(executed):
    good = executed.notebook.read_text()
    executed.chapter.write_text(executed.chapter.read_text() + "\n# %%\n1 / 0\n")
    done = executed.recon("execute", "tiny")
    assert done.returncode == 1
    assert "recon: tiny failed in code cell 4: ZeroDivisionError: division by zero" in done.stderr
    assert "Traceback" not in done.stderr
    assert executed.notebook.read_text() == good
    kept = state(executed.root / "runs" / "tiny.failed.ipynb")
    assert "".join(kept["cells"][-1]["source"]) == "1 / 0"


@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_kill_in_the_middle_replaces_nothing(executed, how, status):
    good = executed.notebook.read_text()
    begun = executed.root / "begun"
    wait = f"\n# %%\nimport pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(60)\n"
    executed.chapter.write_text(executed.chapter.read_text() + wait)
    process = executed.start("execute", "tiny")
    deadline = time.monotonic() + 40
    while not begun.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, how)
    _, err = process.communicate(timeout=30)
    assert process.returncode == status
    if how == signal.SIGINT:
        assert "recon: stopped" in err and "Traceback" not in err
    assert executed.notebook.read_text() == good
    assert not [path.name for path in executed.notebook.parent.iterdir() if "tmp" in path.name]


def test_sync_renews_text_and_keeps_outputs_and_ids(executed):
    before = state(executed.notebook)["cells"]
    text = executed.chapter.read_text()
    executed.chapter.write_text(
        text.replace("what it was asked for", "another text").replace("# one row", "# a row")
    )
    assert "text renewed" in executed.recon("sync").stdout
    after = state(executed.notebook)["cells"]
    assert "another text" in "".join(after[0]["source"])
    assert "# a row" in "".join(after[3]["source"])
    assert [cell["id"] for cell in after] == [cell["id"] for cell in before]
    assert after[3]["outputs"] == before[3]["outputs"] != []
    assert executed.recon("stale").returncode == 0
    executed.chapter.write_text(text.replace("float(accel)", "float(accel) + 1"))
    kept = executed.notebook.read_text()
    assert "its code changed" in executed.recon("sync").stdout
    assert executed.notebook.read_text() == kept


def test_claims_are_listed_with_computed_verdicts(checkout):
    done = checkout.recon("claims")
    assert done.returncode == 0, done.stderr
    assert re.search(r"chen-2022: \d+ claims: 0 reproduced", done.stdout)


def test_every_command_has_help():
    words = [sys.executable, "-m", "recon"]
    for command in ("run", "execute", "sync", "stale", "claims", "new-chapter", "data"):
        done = subprocess.run([*words, command, "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and "usage: python -m recon" in done.stdout
