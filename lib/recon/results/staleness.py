"""What a result depends on, as hashes, and what has gone stale since.

Five hashes name what an executed chapter or a stored run was made from:

- ``source_sha256``: the chapter's code cells, as the parser sees them, without comments;
- ``lib_sha256``: the library files that the chapter imports, directly or through others, likewise
  without comments and docstrings, so that wording costs no re-run;
- ``manifest_sha256``: the data manifests that the chapter or those library files name;
- ``environment_sha256``: the pinned versions;
- ``inputs_sha256``: the claims, reference results and stored tables that the chapter reads.

Imports, manifests and inputs are found in the syntax tree: an import by its statement, a file by
a text constant that is its name. A module loaded by a computed name would not be seen; the book
has none.
"""

import ast
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recon.errors import InputError
from recon.paths import project_root
from recon.results import store
from recon.results.fingerprints import (
    cell_code,
    code_of,
    library_files,
    sha256_of,
    syntax_tree,
)
from recon.results.readers import read_yaml

__all__ = ["chapters", "code_cells", "hashes", "stale", "stale_reference"]

HASHES = {
    "source_sha256": "its code changed",
    "lib_sha256": "a library file that it imports changed",
    "manifest_sha256": "a data manifest that it names changed",
    "environment_sha256": "environment.yml changed",
    "inputs_sha256": "the claims or reference results that it reads changed",
}


def chapters(root: Path | None = None) -> list[str]:
    """Names of all chapters: the ``book/*.py``, in the order of the table of contents."""
    root = project_root() if root is None else root
    names = sorted(path.stem for path in (root / "book").glob("*.py"))
    toc = read_yaml(root / "_toc.yml") if (root / "_toc.yml").exists() else {}
    parts = (toc or {}).get("parts", [])
    order = [entry["file"] for part in parts for entry in part["chapters"]]
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def code_cells(chapter: Path) -> list[str]:
    """Sources of the code cells of a percent script, in order."""
    import jupytext  # 0.3 s, and most of this module does without

    try:
        notebook = jupytext.read(chapter)
    except OSError as error:
        raise InputError(
            f"there is no chapter {chapter.stem!r}: {chapter.name} cannot be read."
        ) from error
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def _texts(tree: ast.Module) -> set[str]:
    """All text constants and attribute names in `tree`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
    return found


def _environment(root: Path) -> str:
    """The pinned versions, sorted; comments and order do not matter."""
    content = read_yaml(root / "environment.yml")
    pins = []
    for entry in content["dependencies"]:
        pins += entry["pip"] if isinstance(entry, dict) else [entry]
    return "\n".join(sorted(pins))


def _content(path: Path) -> str:
    """What a YAML or JSON file says, without comments or layout; a table's text as it is."""
    if path.suffix == ".csv":
        return json.dumps([path.name, path.read_text(encoding="utf-8")])
    # A run is checked as it is read, but hashed as it is stored.
    content = asdict(store.load(path)) if path.suffix == ".json" else read_yaml(path)
    return json.dumps([path.name, content], sort_keys=True)


def inputs(tree: ast.Module, root: Path, named: frozenset[str] = frozenset()) -> list[Path]:
    """Claims, reference runs and stored tables that a chapter reads.

    A page that calls ``claims.load_all`` reads all claims, otherwise those whose paper it names in
    a text constant. Of runs, it reads those of the chapters that ``reference_runs`` is called with.
    A table is read where its file is named, by the chapter or among the texts ``named`` in the
    library.
    """
    words = _texts(tree)
    claims = sorted((root / "book" / "claims").glob("*-*.yml"))
    results = sorted((root / "book" / "results").glob("*.json"))
    if "load_all" not in words:
        claims = [path for path in claims if path.stem in words]
    asked = _chapters_asked_for(tree)
    if None not in asked:
        results = [path for path in results if store.load(path).chapter in asked]
    tables = sorted((root / "book" / "results").glob("*.csv"))
    return claims + results + [path for path in tables if path.name in words | named]


def _chapters_asked_for(tree: ast.Module) -> set[str | None]:
    """What `tree` calls ``reference_runs`` with; None for all, or for what is only known later."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if getattr(node.func, "attr", getattr(node.func, "id", None)) == "reference_runs":
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            plain = len(given) == 1 and isinstance(given[0], ast.Constant)
            found.add(given[0].value if plain else None)
    return found


def hashes(
    chapter: str, root: Path | None = None, parameters: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """The five hashes of `chapter` as the checkout stands now, see the module's docstring.

    `parameters` are those of a run that names other data sets than the chapter's defaults.
    """
    root = project_root() if root is None else root
    path = root / "book" / f"{chapter}.py"
    cells = code_cells(path)
    tree = syntax_tree(path)
    library = library_files(path, root / "lib")
    named = frozenset().union(*(_texts(syntax_tree(file)) for file in library))
    words = _texts(tree) | named | {str(value) for value in (parameters or {}).values()}
    manifests = sorted((root / "data_manifests").glob("*.yml"))
    return {
        "source_sha256": sha256_of(cell_code(cell) for cell in cells),
        "lib_sha256": sha256_of(
            text for file in library for text in (file.relative_to(root).as_posix(), code_of(file))
        ),
        "manifest_sha256": sha256_of(_content(path) for path in manifests if path.stem in words),
        "environment_sha256": sha256_of([_environment(root)]),
        "inputs_sha256": sha256_of(_content(path) for path in inputs(tree, root, named)),
    }


def stale(chapter: str, root: Path | None = None) -> list[str]:
    """Why the executed ``book/<chapter>.ipynb`` no longer matches; empty if it is fresh."""
    root = project_root() if root is None else root
    path = root / "book" / f"{chapter}.ipynb"
    if not path.is_file():
        return [f"{path.name} does not exist"]
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        made_from = notebook["metadata"].get("recon", {})
    except (ValueError, KeyError, TypeError):
        return [f"{path.name} is damaged"]
    if not made_from:
        return [f"{path.name} was never executed by `python -m recon execute`"]
    now = hashes(chapter, root)
    return [reason for name, reason in HASHES.items() if made_from.get(name) != now[name]]


def stale_reference(root: Path | None = None) -> dict[str, list[str]]:
    """For each committed reference run made by older code: its file name and the reasons."""
    root = project_root() if root is None else root
    found = {}
    for path in sorted((root / "book" / "results").glob("*.json")):
        run = store.load(path)
        chapter, made_from = run.chapter, run.provenance
        if not (root / "book" / f"{chapter}.py").is_file():
            found[path.name] = [f"there is no chapter {chapter!r} any more"]
            continue
        now = hashes(chapter, root, run.parameters)
        reasons = [
            reason
            for name, reason in HASHES.items()
            if name != "inputs_sha256" and made_from.get(name) != now[name]
        ]
        if reasons:
            commit = (made_from.get("git_commit") or "an unknown commit")[:10]
            found[path.name] = [f"made by {commit}; since then: {', '.join(reasons)}"]
    return found
