"""Fixtures that several test files share."""

import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

TINY = """# %% [markdown]
# # A tiny chapter
# It writes what it was asked for.

# %% tags=["parameters"]
accel = 4  # acceleration
profile = "quick"  # quick, standard or paper

# %%
from recon.results import parameters

rules = {name: parameters.MRI[name] for name in ("accel", "profile")}
settings = parameters.check(globals(), rules)

# %%
from recon.results import provenance, store

# one row is enough
fields = {"data": "none", "task": "none", "contrast": "all", "region": "full", "n": 1}
row = store.row(
    **fields, accel=accel, effective_accel=accel, method="unet", metric="psnr",
    value=float(accel), ci95=(accel, accel),
)
path = store.save(store.Run("tiny", profile, settings, [row], provenance.collect("tiny")))
print(path.name)
"""


@dataclass(frozen=True)
class Checkout:
    """A checkout of its own, with the library and one tiny chapter, in a temporary folder."""

    root: Path

    @property
    def chapter(self) -> Path:
        return self.root / "book" / "tiny.py"

    @property
    def notebook(self) -> Path:
        return self.root / "book" / "tiny.ipynb"

    def environment(self) -> dict[str, str]:
        """Variables under which `recon` is this checkout's own."""
        import os

        kept = {key: value for key, value in os.environ.items() if not key.startswith("RECON_")}
        return {**kept, "PYTHONPATH": str(self.root / "lib"), "OMP_NUM_THREADS": "1"}

    def start(self, *words: str, **variables: str) -> subprocess.Popen:
        """Start ``python -m recon WORDS`` from another working directory."""
        return subprocess.Popen(
            [sys.executable, "-m", "recon", *words],
            cwd=self.root.parent,
            env={**self.environment(), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A background job's children inherit an ignored Ctrl-C; here it must arrive.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def recon(self, *words: str, **variables: str) -> subprocess.CompletedProcess:
        """Run ``python -m recon WORDS`` to its end."""
        process = self.start(*words, **variables)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


def make_checkout(root: Path) -> Checkout:
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "lib" / "recon", root / "lib" / "recon", ignore=skip)
    shutil.copytree(ROOT / "data_manifests", root / "data_manifests")
    shutil.copytree(ROOT / "book" / "claims", root / "book" / "claims")
    (root / "book" / "results").mkdir()
    shutil.copy(ROOT / "environment.yml", root)
    (root / "book" / "tiny.py").write_text(TINY)
    return Checkout(root)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout in which nothing was executed yet."""
    return make_checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def executed_once(tmp_path_factory) -> Checkout:
    made = make_checkout(tmp_path_factory.mktemp("executed") / "checkout")
    done = made.recon("execute", "tiny")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def executed(executed_once: Checkout, tmp_path: Path) -> Checkout:
    """A checkout whose chapter was executed."""
    shutil.copytree(executed_once.root, tmp_path / "checkout")
    return Checkout(tmp_path / "checkout")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch) -> Path:
    """An empty folder for files; cache and runs beside it; figures closed afterwards."""
    import matplotlib.pyplot as plt

    monkeypatch.setenv("RECON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RECON_RUNS", str(tmp_path / "runs"))
    (tmp_path / "files").mkdir()
    yield tmp_path / "files"
    plt.close("all")


@pytest.fixture
def folder(workspace: Path) -> Path:
    """Ten files of different coils, widths and contrasts."""
    from recon.data.fastmri import write_volume
    from test_learning import volume

    for i in range(10):
        scan = volume(f"file{i}", 2, 3 + i % 3, 64, 36 + 3 * (i % 2), seed=i)
        scan.contrast = ("CORPD_FBK", "CORPDFS_FBK")[i % 2]
        write_volume(workspace / f"file{i}.h5", scan)
    return workspace
