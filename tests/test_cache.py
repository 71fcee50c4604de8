"""What lies in the cache is checked before it is believed, and shared by those who may only read.

Trainings, simulated volumes and arrays are damaged in the ways of public bug reports; each is made
anew, with a sentence.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from recon.data import cache, crimes, fastmri, isotropic, oct_simulated, stripped
from recon.data.manifest import load_manifest
from recon.data.simulate import simulate
from recon.errors import InputError
from recon.learning import threads
from recon.learning.checkpoints import load_checkpoint, newest, resumed, save_checkpoint
from recon.learning.optimisers import LookaheadAdam
from recon.learning.training import pick_precision
from test_simulate import TINY

STEPS = 3


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("RECON_CACHE", str(tmp_path / "cache"))


def train(folder, steps=STEPS):
    """A training of a few steps; the weights it ends with, and how many steps it began with."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimiser = LookaheadAdam(network.parameters(), lr=0.1)
    with resumed(network, optimiser, folder, "net", 1e9, True, steps, steps) as record:
        begun = len(record.history)
        for step in range(begun, steps):
            optimiser.zero_grad()
            network(torch.arange(6.0).reshape(2, 3) + step).square().sum().backward()
            optimiser.step()
            record.add({"step": step + 1, "loss": 0.0})
    return {k: v.clone() for k, v in network.state_dict().items()}, begun


def rewrite(name, change):
    """Another content of one file, with its sum made to fit, as if it had been written so."""

    def damage(path):
        content = change((path / name).read_bytes())
        (path / name).write_bytes(content)
        sums = (path / cache.SUMS).read_text().splitlines()
        kept = [line for line in sums if not line.endswith(f"  {name}")]
        lines = [*kept, f"{sha256(content).hexdigest()}  {name}"]
        (path / cache.SUMS).write_text("\n".join(lines))

    return damage


def weights(change):
    return rewrite(
        "weights.safetensors", lambda c: save({k: change(v) for k, v in load(c).items()})
    )


def cut(name):
    return lambda path: os.truncate(path / name, (path / name).stat().st_size // 2)


def history(change):
    return rewrite("history.json", lambda c: json.dumps(change(json.loads(c))).encode())


DAMAGE = {
    "NaN weights": weights(lambda v: v * float("nan") if v.is_floating_point() else v),
    "integer weights": weights(lambda v: v.long()),
    "other shapes": weights(lambda v: v[..., None]),
    "no weights": rewrite("weights.safetensors", lambda c: save({})),
    "text for weights": rewrite("weights.safetensors", lambda c: b"<html>not found</html>"),
    "a bit of the weights": lambda path: (path / "weights.safetensors").write_bytes(
        bytes([*(c := (path / "weights.safetensors").read_bytes())[:-1], c[-1] ^ 1])
    ),
    "half the weights": cut("weights.safetensors"),
    "half the optimiser": cut("optimiser.pt"),
    "text for the optimiser": rewrite("optimiser.pt", lambda c: b"hello"),
    "no optimiser": lambda path: (path / "optimiser.pt").unlink(),
    "half the history": cut("history.json"),
    "a longer history": history(lambda steps: [*steps, steps[-1]]),
    "an empty history": history(lambda steps: []),
    "a number for history": history(lambda steps: 3),
    "no sums": lambda path: (path / cache.SUMS).unlink(),
    "too many steps": lambda path: (
        history(lambda steps: [*steps, steps[-1]])(path),
        path.rename(path.with_name(f"step-{STEPS + 1:07d}")),
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_training_is_set_aside_and_made_anew(tmp_path, capsys, kind):
    folder = tmp_path / "training"
    good, begun = train(folder)
    assert begun == 0 and train(folder)[1] == STEPS
    DAMAGE[kind](next(folder.glob("step-*")))
    again, begun = train(folder)
    assert begun == 0 and all(torch.equal(good[name], again[name]) for name in good)
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "damaged" in out and "set aside" in out and str(folder) in out
    assert len([*folder.glob("damaged-step-*")]) == 1 and train(folder)[1] == STEPS


def test_the_steps_of_a_damaged_training_do_not_count(tmp_path):
    train(tmp_path)
    assert newest(tmp_path) == STEPS
    DAMAGE["half the weights"](next(tmp_path.glob("step-*")))
    assert newest(tmp_path) == 0


def test_a_checkpoint_is_on_the_disk_before_it_bears_its_name(tmp_path, monkeypatch):
    waited, fsync = [], os.fsync

    def noted(handle):
        waited.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    train(tmp_path)
    for name in ("weights.safetensors", "optimiser.pt", "history.json"):
        assert any(f".{name}." in path for path in waited)
    assert waited[-1] == str(tmp_path)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_have_the_mode_that_the_umask_leaves(tmp_path, umask):
    before = os.umask(umask)
    try:
        train(tmp_path / "training")
        cache.kept_array(tmp_path / "array.npy", lambda: np.zeros(2))
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 6  # four of a checkpoint, the lock, the array
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


SECOND = """
import os, sys
from pathlib import Path
from recon.errors import InputError
from test_cache import train
os.setuid(12345)
for _ in sys.stdin:
    try:
        print(train(Path(sys.argv[1]))[1], flush=True)
    except InputError as error:
        print(f"refused: {error}", flush=True)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_finished_training_is_read_by_who_may_not_write(request):
    place = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    request.addfinalizer(lambda: shutil.rmtree(place))
    place.chmod(0o755)
    folder = place / "training"
    train(folder)

    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", SECOND, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    request.addfinalizer(process.communicate)

    def second():
        print(file=process.stdin, flush=True)
        return process.stdout.readline().strip()

    assert second() == str(STEPS)
    file = next(folder.rglob("weights.safetensors"))
    file.chmod(0o600)
    assert second() == f"refused: {file} is not readable: change its permissions."
    file.chmod(0o644)
    cut(file.name)(file.parent)
    assert "cannot be set aside (Permission denied): delete it" in second()
    shutil.rmtree(file.parent)
    assert "cannot be written (Permission denied)" in second()
    place.chmod(0o700)
    assert second() == f"refused: {folder} is not readable: change its permissions."


def simulated(data="simulated_knee"):
    if data == "simulated_retina":
        manifest = load_manifest(data)
        sizes = {"shape": [64, 48], "field_mm": [1.9, 6.0]}
        sizes |= {split: {"patients": 1, "bscans": 2} for split in oct_simulated.SPLITS}
        small = replace(manifest, profiles={"quick": sizes})
        return oct_simulated.simulate_oct(small, "quick", "test")
    return simulate(replace(load_manifest(data), profiles={"quick": TINY}), "singlecoil")


def test_a_damaged_head_is_made_anew(capsys):
    path = isotropic.simulated_head(32, 7)
    before = path.read_bytes()
    spoil(path)
    assert isotropic.simulated_head(32, 7).read_bytes() == before
    assert "damaged" in capsys.readouterr().out
    stamp = path.stat().st_mtime_ns
    assert isotropic.simulated_head(32, 7).stat().st_mtime_ns == stamp


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in sorted(files)}


def spoil(path):
    path.write_bytes(path.read_bytes()[:-8] + b"\xff" * 8)


@pytest.mark.parametrize("how", [spoil, os.unlink, lambda path: os.truncate(path, 99)])
@pytest.mark.parametrize(
    "data, pattern",
    [
        ("simulated_knee", "*.h5"),
        ("simulated_retina", "high/*/*.png"),
        ("simulated_retina", "truth/*.npz"),
    ],
)
def test_a_damaged_or_deleted_simulated_file_is_made_anew(capsys, monkeypatch, data, pattern, how):
    folder = simulated(data)
    before = contents(folder)
    how(sorted(folder.glob(pattern))[0])
    assert contents(simulated(data)) == before
    if how is not os.unlink:
        assert "damaged, so it is" in capsys.readouterr().out
    # A copy that has lost its times is still the same.
    for path in folder.rglob("*.*"):
        os.utime(path, (1, 1))
    monkeypatch.setattr(fastmri, "_fill", None)
    monkeypatch.setattr(oct_simulated, "acquire", None)
    assert contents(simulated(data)) == before


def test_a_picture_too_many_is_no_part_of_a_simulated_volume():
    folder = simulated("simulated_retina")
    before = contents(folder)
    first = sorted(folder.glob("low/*/*.png"))[0]
    shutil.copy(first, first.with_name("bscan_999.png"))
    assert contents(simulated("simulated_retina")) == before


def test_volumes_that_no_ledger_knows_are_read_before_they_count(monkeypatch):
    folder = simulated()
    before = contents(folder)
    folder.with_name(f"{folder.name}.complete").write_text('{"file1000000": 7}\n[1]\n{"half')
    spoilt = sorted(folder.glob("*.h5"))[1]
    os.truncate(spoilt, 5000)
    writes, write = [], fastmri._fill
    monkeypatch.setattr(fastmri, "_fill", lambda *given: (writes.append(given), write(*given)))
    assert contents(simulated()) == before and len(writes) == 2  # it, and the wrong entry's


def test_committed_volumes_are_watched_too():
    paths = fastmri.list_volumes(simulated())
    recipe = crimes.Recipe("pressed", (crimes.magnitude_only,))
    made = crimes.commit(paths, "pressed", recipe)
    before = [path.read_bytes() for path in made]
    spoil(made[1])
    assert [path.read_bytes() for path in crimes.commit(paths, "pressed", recipe)] == before


def test_what_strips_a_scan_names_its_folder(monkeypatch):
    tiny = replace(load_manifest("simulated_knee"), profiles={"quick": TINY})
    monkeypatch.setattr(stripped, "load_manifest", lambda name: tiny)
    folders = set()
    for code in ("one", "two"):
        monkeypatch.setattr(stripped, "MADE_BY", code)
        for part in ("noise", "detail"):
            folders.add(stripped.train_files("simulated_knee", "quick", part)[0].parent)
    assert len(folders) == 4


ARRAYS = {
    "NaN": lambda path, good: np.save(path, good * np.nan),
    "another shape": lambda path, good: np.save(path, good[:1]),
    "half": lambda path, good: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path, good: path.write_bytes(b""),
    "text": lambda path, good: path.write_bytes(b"<html>"),
    "a bit": lambda path, good: path.write_bytes(
        (c := path.read_bytes())[:150] + bytes([c[150] ^ 1]) + c[151:]
    ),
    "nothing": lambda path, good: path.unlink(),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_a_damaged_array_is_made_anew(tmp_path, capsys, kind):
    path, good = tmp_path / "maps" / "one.npy", np.arange(24, dtype=np.complex64).reshape(4, 6)
    assert np.array_equal(cache.kept_array(path, lambda: good), good)
    assert np.array_equal(np.load(path), good)  # any reader of such files takes it
    assert np.array_equal(cache.kept_array(path, lambda: 0 / 0), good)
    ARRAYS[kind](path, good)
    assert np.array_equal(cache.kept_array(path, lambda: good), good)
    assert ("damaged" in capsys.readouterr().out) == (kind != "nothing")
    assert np.array_equal(cache.kept_array(path, lambda: 0 / 0), good)


def test_an_array_that_cannot_be_read_or_kept_says_so(tmp_path):
    (tmp_path / "one.npy").mkdir()
    with pytest.raises(InputError, match=r"one.npy cannot be read"):
        cache.kept_array(tmp_path / "one.npy", lambda: 0)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written .* RECON_CACHE"):
        cache.kept_array(tmp_path / "file" / "two.npy", lambda: np.zeros(2))


@pytest.mark.parametrize(
    "able, precision",
    [
        ({"amx_tile": True, "avx512_bf16": True}, "bf16-mixed"),
        ({"amx_tile": False, "avx512_bf16": True}, "bf16-mixed"),
        ({"avx512_f": True, "avx512_bf16": False}, "32-true"),
        ({"architecture": "aarch64", "bf16": True}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_bfloat16_where_the_processor_multiplies_it(monkeypatch, able, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert pick_precision(torch.device("cpu")) == precision


def clocks(*busy):
    """Two readings of the cores' clocks a second apart, each core busy for part of it."""
    kind = type(psutil.cpu_times())
    zero = kind(*[0.0] * len(kind._fields))
    return iter([[zero for _ in busy], [zero._replace(user=b, idle=1 - b) for b in busy]])


@pytest.mark.parametrize(
    "busy, allowed, quota, free",
    [
        ((0.0, 0.0, 0.0, 0.0), range(4), 99, 4),
        ((1.0, 1.0, 0.02, 0.1), range(4), 99, 2),
        ((1.0, 1.0, 1.0, 1.0), range(4), 99, 0),
        ((1.0, 1.0, 0.0, 0.0), {0, 2}, 99, 1),
        ((0.0, 0.0, 0.0, 0.0), range(4), 2, 2),
    ],
)
def test_cores_are_free_that_others_leave_idle(monkeypatch, busy, allowed, quota, free):
    readings = clocks(*busy)
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: next(readings))
    monkeypatch.setattr(threads, "quota", lambda: quota)
    monkeypatch.setattr(threads, "SAMPLE", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(allowed), raising=False)
    assert threads.free_cores() == free


@pytest.mark.parametrize("most, free, taken", [(4, 2, 2), (4, 0, 1), (2, 8, 2), (1, 8, 1)])
def test_torch_takes_what_is_free_and_gets_back_what_it_had(monkeypatch, most, free, taken):
    now = [most]
    monkeypatch.setattr(threads, "_seen", (-np.inf, 0))
    monkeypatch.setattr(threads, "free_cores", lambda: free if most > 1 else 1 / 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: now.__setitem__(0, count))
    with threads.free_threads() as look:
        assert now == [taken]
        monkeypatch.setattr(threads, "EVERY", 0)
        monkeypatch.setattr(threads, "free_cores", lambda: 1)
        look()
        assert now == [1]
    assert now == [most]


@pytest.mark.parametrize(
    "files, cores",
    [
        ({}, np.inf),
        ({"cpu.max": "max 100000"}, np.inf),
        ({"cpu.max": "150000 100000"}, 2),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, np.inf),
    ],
)
def test_a_container_s_share_of_the_cores(tmp_path, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    (tmp_path / "own").write_text("0::/a/b\n")
    assert threads.quota(tmp_path, tmp_path / "own") == cores


def test_a_checkpoint_of_more_steps_is_one_where_no_more_were_asked(tmp_path):
    """A translator's stages are trained in one folder: the first meets what the last has left."""
    network = nn.Linear(2, 2)
    optimiser = torch.optim.Adam(network.parameters())
    save_checkpoint(tmp_path, network, optimiser, [{"step": 1}, {"step": 2, "seconds": 1}])
    with resumed(network, optimiser, tmp_path, "stage", 1e9, steps=1) as record:
        assert len(record.history) == 2
    assert len(load_checkpoint(tmp_path, network, optimiser)) == 2
