"""Files of the cache: written whole, and checked before they are believed.

Several people may share a cache: what is written gets the mode that the umask leaves, and what is
there already is read without a lock.
"""

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from recon.errors import InputError

__all__ = [
    "Damaged",
    "Ledger",
    "alone",
    "kept_array",
    "read_folder",
    "seal",
    "sealed",
    "set_aside",
    "write_folder",
    "write_whole",
    "writing",
]

SUMS = "SHA256"  # name of the file of sums


@contextmanager
def alone(folder: Path, waiting: str = "") -> Iterator[None]:
    """Hold the lock of a folder, which is made; the system releases that of a process that dies.

    ``waiting`` is said where another process holds it.
    """
    with writing(folder.parent):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waiting:
                tqdm.write(waiting)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Make one sentence of what the system refuses."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the cache {place} cannot be written ({error.strerror or error}): make it writable, "
            "or set RECON_CACHE to a folder with space."
        ) from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is on the disk, and whole, once it bears its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def kept_array(path: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """An array of the cache, or what ``compute`` returns, which is then kept by `seal`."""
    content = sealed(path)
    if content is not None:
        return np.load(io.BytesIO(content))
    array, file = compute(), io.BytesIO()
    np.save(file, array)
    seal(path, file.getvalue())
    return array


def seal(path: Path, content: bytes) -> None:
    """Keep a file for `sealed`: its SHA-256 lies behind the content (`numpy.load` looks before)."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content + sha256(content).digest())


def sealed(path: Path) -> bytes | None:
    """Content of a file that `seal` wrote; None where it is not there, or is not what was written.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): change its permissions, or delete it."
        ) from None
    if sha256(content[:-32]).digest() == content[-32:]:
        return content[:-32]
    tqdm.write(f"{path}: damaged, so it is made anew")
    return None


class Damaged(Exception):
    """What is wrong with a folder of the cache."""


def write_folder(final: Path, files: Mapping[str, bytes]) -> None:
    """Write files, and their sums as ``sha256sum`` does, into a folder that appears whole."""
    temporary = final.with_name(f"{final.name}.{os.getpid()}.tmp")
    sums = "".join(f"{sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, content in {**files, SUMS: sums.encode()}.items():
            write_whole(temporary / name, content)
        if final.exists():
            shutil.rmtree(final)
        temporary.replace(final)
        sync(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_folder(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Files that `write_folder` wrote; raises `Damaged` where they are not that any more."""
    try:
        sums = (path / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
        files = {name: (path / name).read_bytes() for name in names}
    except PermissionError as error:
        raise InputError(f"{error.filename} is not readable: change its permissions.") from None
    except OSError as error:
        raise Damaged(f"{Path(error.filename or path).name}: {error.strerror or error}") from None
    for name, content in files.items():
        if f"{sha256(content).hexdigest()}  {name}" not in sums:
            raise Damaged(f"{name} is not what was written")
    return files


def set_aside(path: Path, why: str) -> None:
    """Give a damaged folder another name, and say so."""
    aside = path.with_name(f"damaged-{path.name}")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    except FileNotFoundError:
        return  # another process was faster
    except OSError as error:
        raise InputError(
            f"{path} is damaged ({why}) and cannot be set aside ({error.strerror or error}): "
            "delete it, or set RECON_CACHE to another folder."
        ) from None
    tqdm.write(f"{path}: damaged ({why}); set aside as {aside.name}, training begins anew")


class Ledger:
    """What was written into a folder of the cache, to be compared with what is there.

    A unit, such as a volume, is one or more files. Beside the folder, ``<folder>.complete`` has a
    line of JSON for each: of every file its size, its time of change and its SHA-256.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder.with_name(f"{folder.name}.complete")
        self.units: dict[str, dict[str, str]] = {}
        with suppress(OSError):
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, TypeError):  # a line that was not finished
                    self.units.update(json.loads(line))

    def holds(self, unit: str, files: Sequence[Path]) -> bool:
        """Whether these are the files of a unit, all of them as they were written."""
        told = self.units.get(unit)
        try:
            return isinstance(told, dict) and told == {
                name: self._state(path, told.get(name)) for name, path in self._names(files)
            }
        except OSError:
            return False

    def add(self, unit: str, files: Sequence[Path]) -> None:
        """Note the files of a unit that is there now."""
        self.units[unit] = {name: self._state(path) for name, path in self._names(files)}
        with writing(self.folder), self.path.open("a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps({unit: self.units[unit]})}\n")

    def _names(self, files: Sequence[Path]) -> Iterator[tuple[str, Path]]:
        return ((path.relative_to(self.folder).as_posix(), path) for path in files)

    def _state(self, path: Path, told: object = None) -> str:
        """Size, time of change and hash; ``told`` itself where the file is still that."""
        now = path.stat()
        size, changed = str(now.st_size), str(now.st_mtime_ns)
        parts = str(told).split()
        if parts[:2] == [size, changed]:
            return str(told)
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        # A copy of the cache may have lost its times.
        same = [*parts[:1], *parts[2:]] == [size, digest]
        return str(told) if same else f"{size} {changed} {digest}"
