"""Places: absolute where they are typed, tried before the work, and never another checkout's."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from recon import notebooks, paths
from recon.errors import InputError
from recon.results import parameters, store


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The working directory, with folders ``high``, ``low`` and ``a, b``."""
    for name in ("high", "low", "a, b"):
        (tmp_path / "here" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home folder, as a container's may be."""
    import pwd

    def unknown(_):
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.parametrize(
    ("name", "given", "understood"),
    [
        ("data_root", "high", ["high"]),
        ("data_root", "high/../low/", ["low"]),
        ("data_root", "high,low", ["high", "low"]),
        ("test_root", "high, nowhere", ["high", "nowhere"]),
        ("data_root", "a, b", ["a, b"]),
        ("data_root", "", []),
    ],
)
def test_places_are_those_of_the_one_who_typed_them(here, name, given, understood):
    asked = notebooks.asked("hdcyclegan", {name: given})[name]
    assert asked == ",".join(str(here / one) for one in understood)
    os.chdir("/")
    assert [*map(str, paths.places(asked))] == [str(here / one) for one in understood] or not given


def test_a_file_is_a_place_too_and_half_a_pair_is_none(here):
    assert notebooks.asked("crop_equivariance", {"microscopy": "v.npy"}) == {
        "microscopy": str(here / "v.npy")
    }
    for half in ("high,", ",low", "high,,low"):
        with pytest.raises(InputError, match="name both"):
            paths.places(half)


@pytest.mark.parametrize("chapter", sorted((ROOT / "book").glob("*.py")), ids=lambda p: p.stem)
def test_every_parameter_that_names_a_place_is_known_to(chapter):
    """The rule `text` holds for places only."""
    known = {name for name, r in parameters.MRI.items() if r.__qualname__.startswith("text.")}
    named = {*re.findall(r'"(\w+)": parameters\.text\(\)', chapter.read_text())}
    named |= known & {*parameters.declared(chapter)}
    assert len(known) == 2 and all(re.fullmatch(notebooks.PLACE, name) for name in named)


@pytest.mark.parametrize("variable", ["RECON_RUNS", "RECON_CACHE"])
def test_folders_of_the_environment_are_absolute_and_folders(here, monkeypatch, variable):
    folder = {"RECON_RUNS": paths.runs_dir, "RECON_CACHE": paths.cache_dir}[variable]
    monkeypatch.setenv(variable, "mine")
    assert folder() == here / "mine"
    (here / "mine").write_text("no folder")
    with pytest.raises(InputError, match=f"mine is no folder: delete it, or set {variable}"):
        folder()
    monkeypatch.setenv(variable, "~nobody-of-this-name/mine")
    with pytest.raises(InputError, match=f"home folder that is unknown: set {variable}"):
        folder()


def test_without_a_home_folder_one_place_is_enough(here, homeless, monkeypatch):
    monkeypatch.setenv("RECON_CACHE", str(here / "cache"))
    assert paths.cache_dir() == here / "cache"
    monkeypatch.delenv("RECON_CACHE")
    with pytest.raises(InputError, match="set RECON_CACHE"):
        paths.cache_dir()
    with pytest.raises(InputError, match="~/x begins at a home folder that is unknown"):
        parameters.MRI["data_root"]("data_root", "~/x")
    assert notebooks.scrub("https://a.b/c") == "https://a.b/c"


@pytest.mark.parametrize("kind", ["folder", "pipe", "below a file"])
def test_what_cannot_be_written_is_refused_when_tried_and_stays(tmp_path, kind):
    path = tmp_path / "out.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("mine")
        path = path / "deeper" / "out.json"
    for content in (None, b"{}"):
        with pytest.raises(InputError, match=r"out\.json cannot be written"):
            store.write_bytes(path, content)
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    assert (tmp_path / "out.json").is_fifo() == (kind == "pipe")


def test_a_place_that_is_tried_is_left_as_it_was(tmp_path):
    (tmp_path / "a.json").write_text("mine")
    store.write_bytes(tmp_path / "a.json", None)
    store.write_bytes(tmp_path / "b.json", None)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.json", "mine")]


def test_the_library_of_another_checkout_is_refused(tmp_path, monkeypatch):
    """A copy whose environment is still the original's would run the original."""
    (tmp_path / "lib" / "recon").mkdir(parents=True)
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "lib" / "recon" / "paths.py", tmp_path / "lib" / "recon")
    monkeypatch.chdir(tmp_path / "book")
    from recon.__main__ import main

    assert main(["data", "list"]) == 2
    with pytest.raises(InputError, match=re.escape(f"{tmp_path} is a checkout of the book, but")):
        parameters.check({"seed": 0}, {"seed": parameters.MRI["seed"]})


@pytest.mark.parametrize("made_in", ["here", "elsewhere", "link"])
def test_an_environment_belongs_to_the_folder_it_was_made_in(tmp_path, made_in):
    """Copied with its checkout, or linked from another one, it is made anew."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("Makefile", "environment.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, here)
    owner = here if made_in == "here" else tmp_path / "elsewhere"
    scripts = (tmp_path / "elsewhere" if made_in == "link" else here) / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "activate").write_text(f'x=1\nVIRTUAL_ENV="{owner}/.venv"\nexport VIRTUAL_ENV\n')
    (scripts / "pip").touch(mode=0o755)
    if made_in == "link":
        (here / ".venv").symlink_to(scripts.parent)
    (scripts.parent / ".stamp").touch()
    clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        ["make", "--dry-run", "env", "PYTHON=python3"], cwd=here, env=clean, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert ("pip install" in done.stdout) == (made_in != "here")
    assert ("Nothing to be done" in done.stdout) == (made_in == "here")
