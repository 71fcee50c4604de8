"""Hashes that name what something was made from: code, the files that it read.

Caches and executed chapters are named by them. Code is hashed as the parser sees it, without
comments and docstrings, so that wording costs no new training.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from recon.errors import InputError
from recon.paths import project_root

__all__ = ["cell_code", "code_of", "code_sha256", "file_sha256", "library_files"]

BLOCK = 1 << 16  # bytes
BLOCKS = 32  # of a large file


def sha256_of(parts: Iterable[str]) -> str:
    """One hash of several texts; lengths keep ("ab", "c") apart from ("a", "bc")."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def bare_code(tree: ast.Module) -> str:
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
        code = bare_code(ast.parse(source))
    except SyntaxError:
        return source.strip()
    # A closing semicolon hides the last value's display, and the parser drops it.
    return code + (";" if source.rstrip().endswith(";") else "")


def syntax_tree(chapter: Path) -> ast.Module:
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


@lru_cache(maxsize=4096)
def _imports_of(file: Path, package: str, _changed: int) -> frozenset[str]:
    return frozenset(_imported(syntax_tree(file), package))


@lru_cache(maxsize=4096)
def _code_of(file: Path, _changed: int) -> str:
    return bare_code(syntax_tree(file))


def code_of(file: Path) -> str:
    """The code of a file, see `bare_code`; parsed again only when the file has changed."""
    return _code_of(file, file.stat().st_mtime_ns)


def library_files(chapter: Path, lib: Path) -> list[Path]:
    """Files of ``recon`` that `chapter` imports, directly or through others, sorted.

    Importing ``a.b.c`` also runs the ``__init__.py`` of ``a`` and ``a.b``.
    """
    found: set[Path] = set()
    waiting = [(chapter, "")]
    while waiting:
        file, package = waiting.pop()
        for name in _imports_of(file, package, file.stat().st_mtime_ns):
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
    """One hash of the code of `files` and of every library file that they import.

    But for this file: how names are made bears on no result.
    """
    root = project_root() if root is None else root
    every = set(files).union(*(library_files(file, root / "lib") for file in files))
    every -= {Path(__file__)}
    return sha256_of(code_of(file) for file in sorted(every))


def file_sha256(path: Path) -> str:
    """A hash of a file's length and of its content.

    Of a file over 2 MiB, 32 blocks of 64 KiB are read, evenly spread, its begin and end among
    them: enough to tell scans apart without reading a terabyte of them. Its name does not matter,
    nor when it was written, so a copy is the same file.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    try:
        size = path.stat().st_size
        digest = hashlib.sha256(size.to_bytes(8, "little"))
        with path.open("rb") as file:
            if size <= BLOCK * BLOCKS:
                digest.update(file.read())
            else:
                for number in range(BLOCKS):
                    file.seek((size - BLOCK) * number // (BLOCKS - 1))
                    digest.update(file.read(BLOCK))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}).") from error
    return digest.hexdigest()
