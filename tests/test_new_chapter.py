"""A new chapter keeps all rules that a chapter is held to, and a failure leaves nothing behind."""

import inspect
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml

import test_notebooks
from conftest import ROOT
from recon import new_chapter
from recon.errors import InputError

TOC = """format: jb-book
root: intro
parts:
  - caption: First
    chapters:
      - file: tiny
  - caption: The book
    chapters:
      - file: data
"""
README = (
    "# Book\n\n| chapter | question | papers |\n|---|---|---|\n| `tiny` | Small? | none |\n\nEnd.\n"
)
# Rules that speak of one chapter: all but those on the whole book.
RULES = [
    rule
    for name, rule in inspect.getmembers(test_notebooks, inspect.isfunction)
    if name.startswith("test_") and {*inspect.signature(rule).parameters} & {"chapter", "notebook"}
]


@pytest.fixture
def book(checkout):
    """A checkout with a small contents, and simulated sets that are made in a second."""
    (checkout.root / "_toc.yml").write_text(TOC)
    (checkout.root / "book" / "_toc.yml").symlink_to("../_toc.yml")
    (checkout.root / "README.md").write_text(README)
    for page in ("intro", "data"):
        (checkout.root / "book" / f"{page}.md").write_text(f"# {page}\n")
    path = checkout.root / "data_manifests" / "simulated_knee.yml"
    manifest = yaml.safe_load(path.read_text())
    sizes = {"matrix": [64, 32], "crop": [32, 32], "val": {"volumes": 3, "slices": 1}}
    manifest["profiles"]["quick"] |= sizes
    path.write_text(yaml.safe_dump(manifest))
    return checkout


def listing(root) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.glob("*"))


def test_a_new_chapter_passes_every_check(book, tmp_path, monkeypatch):
    assert len(RULES) > 7
    made = book.recon("new-chapter", "my_question")
    assert made.returncode == 0 and "python -m recon execute my_question" in made.stdout
    again = {**book.environment(), "RECON_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-m", "recon", "execute", "my_question"]
    done = subprocess.run(words, env=again, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (book.root / "runs").glob("*")] == ["my_question.json"]
    monkeypatch.setattr(test_notebooks, "BOOK", book.root / "book")
    notebook = nbformat.read(book.root / "book" / "my_question.ipynb", as_version=4)
    given = {"chapter": "my_question", "notebook": notebook}
    for rule in RULES:
        rule(**{name: given[name] for name in inspect.signature(rule).parameters})
    test_notebooks.test_the_contents_list_every_page_once()
    toc = yaml.safe_load((book.root / "_toc.yml").read_text())
    assert toc["parts"][0]["chapters"] == [{"file": "tiny"}, {"file": "my_question"}]
    listed = "| `tiny` | Small? | none |\n| `my_question` | What does this page ask? | – |\n\nEnd."
    assert listed in (book.root / "README.md").read_text()
    assert "my_question" not in book.recon("stale").stdout
    shutil.copy(ROOT / "pyproject.toml", book.root)
    page = "book/my_question.py"
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *words, page], cwd=book.root)
        assert done.returncode == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny", "book/tiny.py is there already"),
        ("data", "book/data.md is there already"),
        ("My-Question", "'My-Question' names no chapter"),
        ("2022", "'2022' names no chapter"),
        ("../escape", "'../escape' names no chapter"),
    ],
)
def test_a_name_that_is_taken_or_no_identifier_is_refused_in_one_line(book, name, said):
    done = book.recon("new-chapter", name)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and said in done.stderr
    assert (book.root / "_toc.yml").read_text() == TOC


@pytest.mark.parametrize("broken", [None, "parts: [", "root: intro\n", "parts: []\n"])
def test_contents_without_a_chapter_are_refused(book, monkeypatch, broken):
    monkeypatch.setattr(new_chapter, "project_root", lambda: book.root)
    (book.root / "_toc.yml").unlink()
    if broken:
        (book.root / "_toc.yml").write_text(broken)
    with pytest.raises(InputError, match=r"_toc\.yml"):
        new_chapter.new_chapter("my_question")
    assert not (book.root / "book" / "my_question.py").exists()


@pytest.mark.parametrize("name", ["_toc.yml", "README.md"])
def test_a_failure_leaves_nothing_behind(book, monkeypatch, name):
    """The chapter is written, its line in the contents or in the README cannot be."""
    before, write = listing(book.root / "book"), new_chapter.write_text

    def full(path, text):
        if path.name == name:
            raise InputError("no space")
        write(path, text)

    monkeypatch.setattr(new_chapter, "project_root", lambda: book.root)
    monkeypatch.setattr(new_chapter, "write_text", full)
    with pytest.raises(InputError, match="no space"):
        new_chapter.new_chapter("my_question")
    assert listing(book.root / "book") == before
    assert (book.root / "_toc.yml").read_text() == TOC
    assert (book.root / "README.md").read_text() == README
