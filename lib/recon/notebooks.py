"""From a chapter's source to an executed notebook: convert, run through papermill, clean, stamp.

``book/NAME.py`` is the source and the only file that is edited; ``book/NAME.ipynb`` is made from
it, one way. A notebook is executed away from its place and moved there once it is whole, so that
neither an error nor a kill ever replaces a good one.
"""

import difflib
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode

from recon.errors import InputError
from recon.paths import cache_dir, place, places, project_root, runs_dir
from recon.results import provenance, staleness, store
from recon.results.fingerprints import cell_code
from recon.results.parameters import convert, declared, unknown

__all__ = ["ChapterError", "asked", "execute", "run", "sync"]

LARGEST = 1_500_000  # bytes of a committed notebook
# Run behind the last cell, and taken out again: only the kernel knows what it needed itself.
MEMORY = "from recon.results import provenance\nprint(provenance.peak_memory_mb())"
PLACE = r".+_root|microscopy"  # parameters that name a place
# A backend set for scripts (Agg, say) would leave a notebook without figures.
INLINE = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
HOME = os.path.expanduser("~")  # noqa: PTH111, Path.home() raises where there is none
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
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info=dict(LANGUAGE))
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
    old, new = ([c for c in n.cells if c.cell_type == "code"] for n in (previous, notebook))
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
    store.write_bytes(target, None)
    notebook, seconds = _execute(chapter, build(source, read(target)), {}, chapter, runs_dir())
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

    Places are made absolute. `InputError` for an unknown name or a value of the wrong type.
    """
    defaults = declared(source_path(chapter))
    if strange := [name for name in given if name not in defaults]:
        raise unknown(strange[0], defaults)
    parameters = {name: convert(name, text, defaults[name]) for name, text in given.items()}
    named = {name: places(v) for name, v in parameters.items() if re.fullmatch(PLACE, name) and v}
    return parameters | {name: ",".join(map(str, found)) for name, found in named.items()}


def run(
    chapter: str, given: Mapping[str, str], out: str | Path | None = None, reference: bool = False
) -> Path:
    """Run a chapter under `given` parameters (texts, as typed); returns the executed notebook.

    `out` is its place, or a folder (that is there, or ends in a slash) for it under its own name.
    With `reference`, results go to ``book/results`` to be committed, else to the runs' folder.
    `InputError`, before anything runs, for what `asked` refuses or an `out` that is not writable.
    """
    source, parameters = source_path(chapter), asked(chapter, given)
    name = store.run_name(chapter, {**declared(source), **parameters})
    target = place(out or runs_dir())
    if not out or target.is_dir() or str(out).endswith("/"):
        target /= f"{name}.ipynb"
    store.write_bytes(target, None)
    runs = store.reference_dir() if reference else runs_dir()
    notebook, _ = _execute(chapter, build(source, None), parameters, name, runs)
    write(notebook, target)
    return target


def _execute(
    chapter: str, notebook: NotebookNode, parameters: Mapping[str, Any], name: str, runs: Path
) -> tuple[NotebookNode, float]:
    """`notebook` executed, cleaned and stamped, and the seconds it took."""
    made_from = {**staleness.hashes(chapter, parameters=parameters), **provenance.git_state()}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="recon-") as folder:
        before, after = Path(folder) / "in.ipynb", Path(folder) / "out.ipynb"
        notebook.cells.append(nbformat.v4.new_code_cell(MEMORY))
        nbformat.write(notebook, before)
        try:
            papermill.execute_notebook(
                before,
                after,
                parameters=dict(parameters),
                kernel_name="python3",
                kernel_manager_class=own_kernel(runs),
                cwd=project_root() / "book",
                request_save_on_cell_execute=False,
                extra_arguments=["--log-level=50"],  # the kernel's own chatter
            )
        except papermill.PapermillExecutionError as error:
            raise _failure(chapter, error, after, name) from error
        except RuntimeError as error:  # of Jupyter: a kernel that was killed, or never began
            raise ChapterError(f"{name}: {error} (is memory short, or the home folder?)") from error
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


def own_kernel(runs: Path) -> type[AsyncKernelManager]:
    """What starts this interpreter's kernel, with this library; its chapter stores in `runs`.

    ``python3`` on Jupyter's path may be anybody's, and a kernel has a working directory of its own.
    """
    path = os.pathsep.join([f"{project_root()}/lib", os.environ.get("PYTHONPATH", "")])
    variables = {"PYTHONPATH": path.strip(os.pathsep), "RECON_RUNS": str(runs)} | INLINE
    if os.environ.get("RECON_CACHE"):
        variables["RECON_CACHE"] = str(cache_dir())
    if HOME == "~":  # nobody knows one, and Jupyter wants some
        variables["HOME"] = str(cache_dir())
    env = {name: value.replace("$", "$$") for name, value in variables.items()}
    spec = KernelSpec(**get_kernel_dict(), env=env)
    return type("OwnKernel", (AsyncKernelManager,), {"kernel_spec": spec})


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
    broken = nbformat.read(partial, as_version=4)
    broken.cells.pop()  # the measurement of memory
    write(broken, kept)
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
        if cell.get("outputs"):
            cell.outputs = _joined(cell.outputs)
        for output in cell.get("outputs", []):
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
    text = text.replace(str(project_root()), ".")
    if home := HOME.rstrip("/"):
        text = text.replace(f"{home}/", "~/")
    return re.sub(r"/tmp/ipykernel_\d+/\d+\.py", "this cell", text)
