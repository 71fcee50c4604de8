"""From a chapter's source to an executed notebook: convert, run through papermill, clean, stamp.

``book/NAME.py`` is the source and the only file that is edited; ``book/NAME.ipynb`` is made from
it, one way. A notebook is executed away from its place and moved there once it is whole, so that
neither an error nor a kill ever replaces a good one.
"""

import contextlib
import difflib
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from nbformat import NotebookNode

from recon.errors import InputError
from recon.paths import project_root, runs_dir
from recon.results import provenance, staleness, store
from recon.results.fingerprints import cell_code
from recon.results.parameters import convert, declared, unknown

__all__ = ["ChapterError", "asked", "execute", "run", "sync"]

LARGEST = 1_500_000  # bytes of a committed notebook
# Run behind the last cell, and taken out again: only the kernel knows what it needed itself.
MEMORY = "from recon.results import provenance\nprint(provenance.peak_memory_mb())"
LANGUAGE = {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"}
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class ChapterError(RuntimeError):
    """A chapter's cell failed: which one, and how, in one sentence."""


def source_path(chapter: str) -> Path:
    """``book/<chapter>.py``; `InputError` if there is none."""
    path = project_root() / "book" / f"{chapter}.py"
    if not path.is_file():
        known = ", ".join(staleness.chapters()) or "none yet"
        raise InputError(f"there is no chapter {chapter!r}: the book has {known}.")
    return path


def build(source: Path, previous: NotebookNode | None) -> NotebookNode:
    """The notebook of a percent script, without outputs, cell ids kept from `previous`."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = NotebookNode(
        kernelspec=KERNEL,
        language_info=dict(LANGUAGE),
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    old = previous.cells if previous is not None else []
    ids = _kept_ids(old, notebook.cells)
    for index, cell in enumerate(notebook.cells):
        cell.id = ids.get(index) or f"{source.stem}-{index:03d}"
        cell.metadata.pop("lines_to_next_cell", None)  # the script's spacing; lost when executed
    seen: set[str] = set()
    for index, cell in enumerate(notebook.cells):
        while cell.id in seen:  # a kept id may equal one made from a position
            cell.id = f"{source.stem}-{index:03d}-{len(seen)}"
        seen.add(cell.id)
    return notebook


def _kept_ids(old: list[NotebookNode], new: list[NotebookNode]) -> dict[int, str]:
    """For cells of `new` that stand in `old`, or changed in place: the old id, by position."""
    before = [(cell.cell_type, cell.source) for cell in old]
    after = [(cell.cell_type, cell.source) for cell in new]
    kept = {}
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal" or (tag == "replace" and i2 - i1 == j2 - j1):
            kept |= {j1 + step: old[i1 + step].id for step in range(i2 - i1)}
    return kept


def read(path: Path) -> NotebookNode | None:
    """The notebook at `path`, or None if there is none or it is damaged."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, KeyError, nbformat.ValidationError):
        return None


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a valid notebook to `path`, whole or not at all."""
    nbformat.validate(notebook)
    store.write_text(path, nbformat.writes(notebook) + "\n")


def sync(chapter: str) -> str:
    """Bring the text of ``book/<chapter>.ipynb`` up to its source; returns what was done.

    Outputs are carried over when the code is the same but for comments. When it is not, the
    executed notebook is left alone: only running it can renew it.
    """
    source = source_path(chapter)
    target = source.with_suffix(".ipynb")
    previous = read(target)
    notebook = build(source, previous)
    if previous is None:
        write(notebook, target)
        return f"{chapter}: made {target.name}, not executed yet"
    notebook.metadata = previous.metadata
    old = [cell for cell in previous.cells if cell.cell_type == "code"]
    new = [cell for cell in notebook.cells if cell.cell_type == "code"]
    same = len(old) == len(new) and all(
        cell_code(a.source) == cell_code(b.source) for a, b in zip(old, new, strict=True)
    )
    if not same:
        return f"{chapter}: its code changed, run `python -m recon execute {chapter}`"
    for a, b in zip(old, new, strict=True):
        b.id, b.outputs, b.execution_count = a.id, a.outputs, a.execution_count
    if nbformat.writes(notebook) == nbformat.writes(previous):
        return f"{chapter}: nothing to do"
    write(notebook, target)
    return f"{chapter}: text renewed, outputs kept"


def execute(chapter: str) -> float:
    """Run a chapter with its default parameters and put it in place; returns the seconds it took.

    Raises
    ------
    ChapterError
        If a cell fails; the notebook in place stays as it was.
    InputError
        If a cell refuses its input, or the result is too large to commit.
    """
    source = source_path(chapter)
    target = source.with_suffix(".ipynb")
    notebook, seconds = _execute(chapter, build(source, read(target)), {}, chapter)
    size = len(nbformat.writes(notebook).encode())
    if size > LARGEST:
        index = max(range(len(notebook.cells)), key=lambda i: len(str(notebook.cells[i])))
        raise InputError(
            f"{target.name} would take {size / 1e6:.1f} MB of at most {LARGEST / 1e6} MB: "
            f"make the output of cell {index} smaller."
        )
    write(notebook, target)
    return seconds


def asked(chapter: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Parameters `given` as texts, as typed, as values of the chapter's types.

    `InputError` for an unknown name or a value of the wrong type.
    """
    defaults = declared(source_path(chapter))
    for name in given:
        if name not in defaults:
            raise unknown(name, defaults)
    parameters = {name: convert(name, text, defaults[name]) for name, text in given.items()}
    # A copy elsewhere reads the same folder, wherever the command was typed.
    for name, value in parameters.items():
        if name.endswith("_root") and value and not Path(value).expanduser().is_absolute():
            parameters[name] = str(Path(value).resolve())
    return parameters


def run(
    chapter: str, given: Mapping[str, str], out: Path | None = None, reference: bool = False
) -> Path:
    """Run a chapter under `given` parameters (texts, as typed); returns the executed notebook.

    With `reference`, the results go to ``book/results`` to be committed, else to the runs' folder.
    `InputError` for what `asked` refuses, before anything runs.
    """
    source, parameters = source_path(chapter), asked(chapter, given)
    name = store.run_name(chapter, {**declared(source), **parameters})
    out = runs_dir() / f"{name}.ipynb" if out is None else Path(out)
    notebook, _ = _execute(chapter, build(source, None), parameters, name, reference)
    write(notebook, out)
    return out


def _execute(
    chapter: str,
    notebook: NotebookNode,
    parameters: Mapping[str, Any],
    name: str,
    reference: bool = False,
) -> tuple[NotebookNode, float]:
    """`notebook` executed, cleaned and stamped, and the seconds it took."""
    made_from = {**staleness.hashes(chapter, parameters=parameters), **provenance.git_state()}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="recon-") as folder:
        before, after = Path(folder) / "in.ipynb", Path(folder) / "out.ipynb"
        notebook.cells.append(nbformat.v4.new_code_cell(MEMORY))
        nbformat.write(notebook, before)
        # A backend set for scripts (Agg, say) would leave a notebook without figures.
        os.environ.pop("MPLBACKEND", None)
        with _runs_in(store.reference_dir() if reference else None):
            try:
                papermill.execute_notebook(
                    before,
                    after,
                    parameters=dict(parameters),
                    kernel_name="python3",
                    cwd=project_root() / "book",
                    request_save_on_cell_execute=False,
                    extra_arguments=["--log-level=50"],  # the kernel's own chatter
                )
            except papermill.PapermillExecutionError as error:
                raise _failure(chapter, error, after, name) from error
        executed = nbformat.read(after, as_version=4)
    seconds = time.perf_counter() - start
    if changed := provenance.changed(chapter, made_from, parameters):
        raise ChapterError(f"{name}: {', '.join(changed)} changed while it ran; run it again.")
    told = executed.cells.pop().outputs
    peak = next(int(out.text) for out in told if out.get("name") == "stdout")
    clean(executed)
    about = {"device": provenance.device_name(), "seconds": round(seconds), "peak_memory_mb": peak}
    provenance.stamp(executed, {**made_from, **about})
    return executed, seconds


@contextlib.contextmanager
def _runs_in(folder: Path | None) -> Iterator[None]:
    """While it lasts, chapters write their results into `folder`; None changes nothing."""
    before = os.environ.get("RECON_RUNS")
    if folder is not None:
        os.environ["RECON_RUNS"] = str(folder)
    try:
        yield
    finally:
        if folder is not None:
            os.environ.pop("RECON_RUNS")
            if before is not None:
                os.environ["RECON_RUNS"] = before


def _failure(
    chapter: str, error: papermill.PapermillExecutionError, partial: Path, name: str
) -> Exception:
    """What to tell of a failed cell; the notebook as far as it came is kept beside the runs."""
    if error.ename == "KeyboardInterrupt":
        return KeyboardInterrupt()
    message = (str(error.evalue).strip() or error.ename).splitlines()[0]
    if error.ename == "InputError":
        return InputError(message)
    kept = runs_dir() / f"{name}.failed.ipynb"
    kept.parent.mkdir(parents=True, exist_ok=True)
    broken = nbformat.read(partial, as_version=4)
    broken.cells.pop()  # the measurement of memory
    nbformat.write(broken, kept)
    return ChapterError(
        f"{chapter} failed in code cell {error.exec_count}: {error.ename}: {message} "
        f"(see {kept.name} in the folder of runs)"
    )


def clean(notebook: NotebookNode) -> None:
    """Remove what differs from run to run: timestamps, progress bars' history, folders."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata["language_info"] = dict(LANGUAGE)
    for cell in notebook.cells:
        kept = {key: cell.metadata[key] for key in ("tags", "mystnb") if cell.metadata.get(key)}
        cell.metadata = NotebookNode(kept)
        cell_outputs = cell.get("outputs", [])
        if cell_outputs:
            cell.outputs = cell_outputs = _joined(cell_outputs)
        for output in cell_outputs:
            if output.output_type == "stream":
                output.text = scrub(_settled(output.text))
            for kind, content in output.get("data", {}).items():
                if kind.startswith("text/"):
                    output.data[kind] = scrub(content)


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream as one, as they would stand in a terminal."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def _settled(text: str) -> str:
    """What a terminal shows in the end: of a progress bar's states, the last."""
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))


def scrub(text: str) -> str:
    """`text` without the folders of this machine."""
    text = text.replace(str(project_root()), ".").replace(str(Path.home()) + "/", "~/")
    return re.sub(r"/tmp/ipykernel_\d+/\d+\.py", "this cell", text)
