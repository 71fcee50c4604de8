"""What a folder holds: one rule for every reader of files.

Names that begin with a dot, and what Windows leaves in folders, are passed over. All else has to be
a regular file (links are followed) of the wanted kind, whatever the case of its suffix, or a
``.json`` beside one of the same name. No two may have one name: neither ``a.png`` beside ``a.tif``
nor ``b1.png`` beside ``b01.png``. The order is that of the names, with numbers as numbers.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from recon.errors import InputError

__all__ = ["by_name", "entries", "files_of", "name_key", "regular_file"]

LEFT_BEHIND = ("thumbs.db", "desktop.ini", "__macosx")

Key = tuple[str | int, ...]


def name_key(name: str) -> Key:
    """A name with its numbers as numbers, to sort and to compare by: ``b2`` before ``b10``."""
    return tuple(int(p) if i % 2 else p for i, p in enumerate(re.split("([0-9]+)", name)))


def entries(folder: Path | str, what: str = "files") -> list[Path]:
    """Everything in a folder but what is passed over, in the order of the names.

    Raises `InputError` for a folder that is missing or cannot be listed.
    """
    folder = Path(folder).expanduser()
    try:
        if not folder.is_dir():
            state = "is a file" if folder.exists() else "does not exist"
            raise InputError(f"{folder} {state}: pass the folder that holds the {what}.")
        found = [p for p in folder.iterdir() if p.name[0] != "."]
    except OSError as error:
        raise InputError(
            f"{folder} cannot be listed ({error.strerror}): make it readable."
        ) from None
    found = [p for p in found if p.name.lower() not in LEFT_BEHIND]
    return sorted(found, key=lambda p: (name_key(p.name), p.name))


def files_of(folder: Path | str, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder, perhaps none; refused are `entries` that break the rule."""
    return list(by_name(entries(folder, f"{suffixes[0]} files"), suffixes).values())


def by_name(found: Sequence[Path], suffixes: Sequence[str] = ()) -> dict[Key, Path]:
    """Entries of a folder by `name_key`, without suffix; without ``suffixes``, they are folders.

    Raises `InputError` for the first entry that breaks the rule.
    """
    named, others = {}, []
    for path in found:
        suffix = next((s for s in suffixes if path.name.lower().endswith(s)), "")
        if suffixes and not suffix:
            others.append(path)
            continue
        if suffixes:
            regular_file(path)
        key = name_key(path.name[: len(path.name) - len(suffix)])
        if named.setdefault(key, path) != path:
            raise InputError(
                f"{path.parent} holds {named[key].name!r} and {path.name!r}, two files of one name "
                "(numbers are compared as numbers): move one out."
            )
    for path in others:
        if path.suffix.lower() != ".json" or name_key(path.stem) not in named:
            raise InputError(
                f"{path.parent} holds {path.name!r}, which is no {' or '.join(suffixes)} file: "
                "move it out, so that the folder holds nothing else."
            )
    return named


def regular_file(path: Path) -> None:
    """Refuse a path that is missing, a folder, a pipe, a device or a link to nothing."""
    try:
        if path.is_file():
            return
        what = "is no regular file" if path.exists() or path.is_symlink() else "does not exist"
    except OSError as error:
        what = f"cannot be opened ({error.strerror})"
    raise InputError(f"{path} {what}: put a file in its place, or move it out.")
