"""Committed notebooks: executed from top to bottom, without an error, clean, and small."""

import json
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from recon import notebooks
from recon.results import parameters, staleness

BOOK = Path(__file__).resolve().parents[1] / "book"
CHAPTERS = sorted(path.stem for path in BOOK.glob("*.py"))
COMPARED = "nbval-check-output"
# Folders of a machine: of users, of temporary files, of installed packages.
FOLDERS = re.compile(r"(?<![\w.~-])/(home|root|Users|tmp|work|mnt|opt|var)/\w|site-packages")


@pytest.fixture(params=CHAPTERS)
def chapter(request) -> str:
    return request.param


@pytest.fixture
def notebook(chapter):
    return nbformat.read(BOOK / f"{chapter}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_is_valid_and_small(chapter, notebook):
    nbformat.validate(notebook)
    assert (BOOK / f"{chapter}.ipynb").stat().st_size <= notebooks.LARGEST
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


def test_every_cell_ran_in_order(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_output_is_an_error(notebook):
    for cell in code_cells(notebook):
        assert not [out for out in cell.outputs if out.output_type == "error"], cell.source


def test_the_notebook_ran_with_its_defaults(notebook):
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    assert "injected-parameters" not in tags


def test_outputs_name_no_folder_of_a_machine_and_no_time_of_day(notebook):
    text = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    text = re.sub(r'"image/png": "[^"]*"', "", text)
    assert FOLDERS.search(text) is None, FOLDERS.search(text)
    assert "start_time" not in json.dumps(notebook) and "papermill" not in notebook.metadata


def test_the_notebook_says_what_its_source_says(chapter, notebook):
    source = notebooks.build(BOOK / f"{chapter}.py", notebook)
    assert [(cell.cell_type, cell.source) for cell in source.cells] == [
        (cell.cell_type, cell.source) for cell in notebook.cells
    ]
    assert [dict(cell.metadata) for cell in source.cells] == [
        dict(cell.metadata) for cell in notebook.cells
    ]


def test_figures_have_alternative_texts(notebook):
    for cell in code_cells(notebook):
        if any("image/png" in out.get("data", {}) for out in cell.outputs):
            assert cell.metadata.get("mystnb", {}).get("image", {}).get("alt"), cell.source


def test_some_output_is_compared_when_a_chapter_is_executed_anew(chapter, notebook):
    """nbval compares the cells that carry the tag; without one it only sees that they run."""
    source = notebooks.build(BOOK / f"{chapter}.py", None)
    assert any(COMPARED in cell.metadata.get("tags", []) for cell in source.cells)
    for cell in code_cells(notebook):
        if COMPARED in cell.metadata.get("tags", []):
            assert cell.outputs, f"nothing to compare: {cell.source}"
            assert not [out for out in cell.outputs if out.get("name") == "stderr"], cell.source


def test_a_chapter_with_parameters_checks_them(chapter):
    path = BOOK / f"{chapter}.py"
    cells = staleness.code_cells(path)
    declared = parameters.declared(path)
    if declared:
        assert declared == parameters.assignments(cells[0])
        assert "parameters.check(globals()" in cells[1]
    else:
        assert "parameters.check" not in "".join(cells)


def test_the_guards_are_not_blind():
    """The same guards, held against what they must refuse."""
    assert FOLDERS.search("see /home/somebody/book") and FOLDERS.search('"/tmp/x"')
    assert not FOLDERS.search("https://example.org/home/page") and not FOLDERS.search("~/work/x")
    cell = nbformat.v4.new_code_cell("x")
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="0%\r50%\r100%\nwarning\n"),
        nbformat.v4.new_output("display_data", data={"text/plain": str(BOOK)}),
    ]
    cell.metadata.update(tags=[], papermill={"duration": 1}, execution={"iopub": "now"})
    dirty = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {}})
    notebooks.clean(dirty)
    assert dirty.cells[0].outputs[0].text == "100%\nwarning\n"
    assert dirty.cells[0].outputs[1].data["text/plain"] == "./book"
    assert dirty.cells[0].metadata == {} and "papermill" not in dirty.metadata


def test_the_contents_list_every_page_once():
    toc = yaml.safe_load((BOOK.parent / "_toc.yml").read_text())
    listed = [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]
    pages = {path.stem for path in BOOK.glob("*.py")} | {path.stem for path in BOOK.glob("*.md")}
    assert sorted(listed) == sorted(pages)
    assert (BOOK / "_toc.yml").is_symlink()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_figure_is_there(chapter):
    """A cell that captions a figure holds one; a wrong plotting backend leaves it without."""
    for cell in notebooks.read(BOOK / f"{chapter}.ipynb").cells:
        if "figure" in cell.metadata.get("mystnb", {}):
            kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
            assert "image/png" in kinds, cell.source


def test_no_two_figures_share_a_name():
    """Sphinx would link to one of them."""
    figures = [
        cell.metadata["mystnb"]["figure"]["name"]
        for chapter in CHAPTERS
        for cell in notebooks.read(BOOK / f"{chapter}.ipynb").cells
        if "figure" in cell.metadata.get("mystnb", {})
    ]
    assert sorted(figures) == sorted(set(figures))
