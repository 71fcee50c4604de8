"""What a result depends on, as hashes, and what has gone stale since.

Five hashes name what an executed chapter or a stored run was made from:

- ``source_sha256``: the chapter's code cells, as the parser sees them, without comments;
- ``lib_sha256``: the library files that the chapter imports, directly or through others, likewise
  without comments and docstrings, so that wording costs no re-run;
- ``manifest_sha256``: the data manifests that the chapter names;
- ``environment_sha256``: the pinned versions;
- ``inputs_sha256``: the claims and reference results that the chapter reads.

Imports, manifests and inputs are found in the syntax tree: an import by its statement, a file by
a text constant that is its name. A module loaded by a computed name would not be seen; the book
has none.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from recon.errors import InputError
from recon.paths import project_root

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
    toc = yaml.safe_load((root / "_toc.yml").read_text()) if (root / "_toc.yml").exists() else {}
    parts = (toc or {}).get("parts", [])
    order = [entry["file"] for part in parts for entry in part["chapters"]]
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _sha256(parts: Iterable[str]) -> str:
    """One hash of several texts; lengths keep ("ab", "c") apart from ("a", "bc")."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _bare(tree: ast.Module) -> str:
    """The code of `tree` as the parser sees it: no comments, docstrings or layout."""
    for node in ast.walk(tree):
        if hasattr(node, "body") and isinstance(node.body, list):
            body = [
                statement
                for statement in node.body
                if not (
                    isinstance(statement, ast.Expr)
                    and isinstance(statement.value, ast.Constant)
                    and isinstance(statement.value.value, str)
                )
            ]
            node.body = body or [ast.Pass()]
    return ast.unparse(tree)


def cell_code(source: str) -> str:
    """The code of one cell without comments; a cell with magics stays as it is."""
    try:
        code = _bare(ast.parse(source))
    except SyntaxError:
        return source.strip()
    # A closing semicolon hides the last value's display, and the parser drops it.
    return code + (";" if source.rstrip().endswith(";") else "")


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


def _tree(chapter: Path) -> ast.Module:
    """Syntax tree of a whole chapter or library file."""
    try:
        return ast.parse(chapter.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise InputError(
            f"{chapter.name}, line {error.lineno}: {error.msg}; mend it and try again."
        ) from error


def _imported(tree: ast.Module, package: str) -> set[str]:
    """Dotted names under ``recon`` that `tree` imports; `package` resolves relative imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).strip(".")
            # `from recon.physics import fourier` names a module, `from recon.paths import x` not.
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "recon"}


def library_files(chapter: Path, lib: Path) -> list[Path]:
    """Files of ``recon`` that `chapter` imports, directly or through others, sorted.

    Importing ``a.b.c`` also runs the ``__init__.py`` of ``a`` and ``a.b``.
    """
    found: set[Path] = set()
    waiting = [(chapter, "")]
    while waiting:
        file, package = waiting.pop()
        for name in _imported(_tree(file), package):
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                folder = lib.joinpath(*parts[:depth])
                for path, inside in (
                    (folder / "__init__.py", parts[:depth]),
                    (folder.with_suffix(".py"), parts[: depth - 1]),
                ):
                    if path not in found and path.is_file():
                        found.add(path)
                        waiting.append((path, ".".join(inside)))
    return sorted(found)


def code_sha256(*files: Path, root: Path | None = None) -> str:
    """One hash of the code of `files` and of every library file that they import."""
    root = project_root() if root is None else root
    every = set(files).union(*(library_files(file, root / "lib") for file in files))
    return _sha256(_bare(_tree(file)) for file in sorted(every))


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
    content = yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))
    pins = []
    for entry in content["dependencies"]:
        pins += entry["pip"] if isinstance(entry, dict) else [entry]
    return "\n".join(sorted(pins))


def _content(path: Path) -> str:
    """What a YAML or JSON file says, without comments or layout."""
    load = json.loads if path.suffix == ".json" else yaml.safe_load
    return json.dumps([path.name, load(path.read_text(encoding="utf-8"))], sort_keys=True)


def inputs(tree: ast.Module, root: Path) -> list[Path]:
    """Claims and reference runs that a chapter reads.

    A page that calls ``claims.load_all`` or ``reference_runs()`` without a name reads them all;
    otherwise those whose paper or chapter it names in a text constant.
    """
    words = _texts(tree)
    claims = sorted((root / "book" / "claims").glob("*-*.yml"))
    results = sorted((root / "book" / "results").glob("*.json"))
    if "load_all" not in words:
        claims = [path for path in claims if path.stem in words]
    if not _calls_bare(tree, "reference_runs"):
        results = [
            path
            for path in results
            if "reference_runs" in words and json.loads(path.read_text())["chapter"] in words
        ]
    return claims + results


def _calls_bare(tree: ast.Module, function: str) -> bool:
    """Whether `tree` calls `function` without arguments."""
    return any(
        isinstance(node, ast.Call)
        and not node.args
        and not node.keywords
        and function == getattr(node.func, "attr", getattr(node.func, "id", None))
        for node in ast.walk(tree)
    )


def hashes(
    chapter: str, root: Path | None = None, parameters: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """The five hashes of `chapter` as the checkout stands now, see the module's docstring.

    `parameters` are those of a run that names other data sets than the chapter's defaults.
    """
    root = project_root() if root is None else root
    path = root / "book" / f"{chapter}.py"
    cells = code_cells(path)
    tree = _tree(path)
    words = _texts(tree) | {str(value) for value in (parameters or {}).values()}
    manifests = sorted((root / "data_manifests").glob("*.yml"))
    library = library_files(path, root / "lib")
    return {
        "source_sha256": _sha256(cell_code(cell) for cell in cells),
        "lib_sha256": _sha256(
            text
            for file in library
            for text in (file.relative_to(root).as_posix(), _bare(_tree(file)))
        ),
        "manifest_sha256": _sha256(_content(path) for path in manifests if path.stem in words),
        "environment_sha256": _sha256([_environment(root)]),
        "inputs_sha256": _sha256(_content(path) for path in inputs(tree, root)),
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
        content = json.loads(path.read_text(encoding="utf-8"))
        chapter = content["chapter"]
        if not (root / "book" / f"{chapter}.py").is_file():
            found[path.name] = [f"there is no chapter {chapter!r} any more"]
            continue
        now = hashes(chapter, root, content["parameters"])
        made_from = content["provenance"]
        reasons = [
            reason
            for name, reason in HASHES.items()
            if name != "inputs_sha256" and made_from.get(name) != now[name]
        ]
        if reasons:
            commit = (made_from.get("git_commit") or "an unknown commit")[:10]
            found[path.name] = [f"made by {commit}; since then: {', '.join(reasons)}"]
    return found
