"""Tiled runs: files in and out, bad input, a full disk, a kill, and the resident set."""

import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import torch

from recon.errors import InputError
from recon.learning.tiling import apply_tiled
from recon.learning.tiling.workers import Here
from recon.networks.residual_sr import ValidResidual
from test_tiling import whole


def test_arrays_slices_and_files_in_and_out(tmp_path):
    network = ValidResidual(8, 1)
    stack = np.random.default_rng(0).normal(size=(3, 150, 160)).astype(np.float32)
    reference = whole(network, torch.from_numpy(stack)[:, None])[:, 0].numpy()
    for one, image in zip(reference, stack, strict=True):
        assert np.array_equal(apply_tiled(network, image, 40), whole_plain_slice(network, image))
        np.testing.assert_allclose(one, whole_plain_slice(network, image), atol=1e-5)
    with h5py.File(tmp_path / "in.h5", "w") as file:
        given = file.create_dataset("volume", data=stack, chunks=(1, 32, 32))
        target = file.create_dataset("result", stack.shape, "f4")
        apply_tiled(network, given, 40, out=target)
        expected = apply_tiled(network, stack, 70)
        assert np.array_equal(target[()], expected)
        apply_tiled(network, given, 40, out=tmp_path / "out.npy")
        apply_tiled(network, given, 40, out=str(tmp_path / "out.h5"))
    assert np.array_equal(np.load(tmp_path / "out.npy"), expected)
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(file["data"][()], expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.h5", "out.h5", "out.npy"]


class Chunked:
    """The manners of a Zarr array: shape, dtype, chunks; read and written by slices alone."""

    chunks = (1, 64, 64)

    def __init__(self, data):
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.largest = 0

    def __getitem__(self, where):
        piece = self.data[where].copy()
        self.largest = max(self.largest, piece.size)
        return piece

    def __setitem__(self, where, piece):
        assert all(isinstance(part, slice) for part in where)
        assert isinstance(piece, np.ndarray) and piece.dtype == self.dtype
        self.data[where] = piece


def test_arrays_in_chunks_are_read_and_written_piece_by_piece():
    network = ValidResidual(8, 1)
    stack = np.random.default_rng(0).integers(0, 900, (3, 150, 160), np.uint16)
    given, target = Chunked(stack), Chunked(np.zeros(stack.shape, np.float32))
    assert apply_tiled(network, given, 70, out=target) is target
    assert np.array_equal(target.data, apply_tiled(network, stack.astype(np.float32), 40))
    assert given.largest <= 82 * 82


def whole_plain_slice(network, image):
    return whole(network, torch.from_numpy(image)[None, None])[0, 0].numpy()


def test_bad_input_gets_one_sentence(tmp_path):
    network = ValidResidual(8, 1)
    image = np.zeros((100, 100), np.float32)
    bad = image.copy()
    bad[70, 31] = np.inf
    with pytest.raises(InputError, match=r"inf at \(70, 31\)"):
        apply_tiled(network, bad, 30)
    for tile in (0, -3, 2.5, (4, 4, 4)):
        with pytest.raises(InputError, match="tile is"):
            apply_tiled(network, image, tile)
    with pytest.raises(InputError, match="smallest takes"):
        apply_tiled(network, image, memory_mb=20)
    with pytest.raises(InputError, match="result itself"):
        apply_tiled(network, image, memory_mb=0.01)
    with pytest.raises(InputError, match="shape"):
        apply_tiled(network, image[None, None, None])
    with pytest.raises(InputError, match="out has shape"):
        apply_tiled(network, image, out=np.zeros((3, 3)))
    (tmp_path / "there.npy").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        apply_tiled(network, image, out=tmp_path / "there.npy")
    assert (tmp_path / "there.npy").read_text() == "mine"
    with pytest.raises(InputError, match="must end in"):
        apply_tiled(network, image, out=tmp_path / "there.tif")
    with pytest.raises(InputError, match="real numbers"):
        apply_tiled(network, image.astype(complex))


@pytest.mark.parametrize("name", ["out.npy", "out.h5"])
def test_a_full_disk_is_noticed_before_anything_is_computed(tmp_path, name):
    """A limit on the size of files stands in for a full disk."""
    script = f"""
import resource, signal, numpy as np
from recon.errors import InputError
from recon.learning.tiling import apply_tiled
from recon.learning.tiling.workers import Here
from recon.networks.residual_sr import ValidResidual
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    apply_tiled(ValidResidual(4, 1), np.zeros((400, 400), "f4"), 50, out={str(tmp_path / name)!r})
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "free some space" in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.npy", "out.h5"])
def test_a_killed_run_goes_on_where_it_was(tmp_path, name):
    script = f"""
import sys, time, numpy as np, torch
import recon.learning.tiling.run as run
from recon.networks.residual_sr import ValidResidual
run.SAVE_SECONDS = 0.0
torch.manual_seed(0)
class Slow:
    shape, dtype, read = (400, 400), np.dtype("f4"), 0
    data = np.random.default_rng(0).normal(size=(400, 400)).astype("f4")
    def __getitem__(self, where):
        Slow.read += 1
        time.sleep(float(sys.argv[1]))
        return self.data[where]
result = run.apply_tiled(ValidResidual(8, 1), Slow(), 50, out={str(tmp_path / name)!r}, resume=True)
print(Slow.read, flush=True)
"""
    command = [sys.executable, "-c", script]
    first = subprocess.Popen([*command, "0.1"])
    log = tmp_path / f"{name}.part.log"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") > 6):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not (tmp_path / name).exists()
    second = subprocess.run([*command, "0"], capture_output=True, text=True)
    assert int(second.stdout) < 62, second.stderr
    torch.manual_seed(0)
    network = ValidResidual(8, 1)
    data = np.random.default_rng(0).normal(size=(400, 400)).astype("f4")
    made = tmp_path / name
    got = np.load(made) if name.endswith("npy") else h5py.File(made)["data"][()]
    assert np.array_equal(got, apply_tiled(network, data, 50))


def test_another_networks_part_is_not_gone_on_with(tmp_path):
    image = np.zeros((100, 100), np.float32)
    (tmp_path / "out.npy.part").write_bytes(b"rubbish")
    (tmp_path / "out.npy.part.log").write_text("another key\n0\n1\n")
    network = ValidResidual(8, 1)
    apply_tiled(network, image, 50, out=tmp_path / "out.npy", resume=True)
    assert np.array_equal(np.load(tmp_path / "out.npy"), apply_tiled(network, image, 50))


def test_several_processes_give_the_same_bits():
    network = ValidResidual(16, 2)
    image = torch.randn(1, 1, 170, 190)
    result = apply_tiled(network, image, 64, processes=2)
    assert torch.equal(result, whole(network, image))


def test_processes_share_an_image_that_one_tile_could_hold(monkeypatch):
    """Without starting them: what each would be given."""
    given = []

    class Counted(Here):
        def __init__(self, network, graph, plan, places):
            super().__init__(network, graph, plan)
            given.append((len(plan), len(places)))

    monkeypatch.setattr("recon.learning.tiling.run.Pool", Counted)
    network, images = ValidResidual(16, 2), torch.randn(2, 1, 170, 190)
    for image in (images[:1], images):
        assert torch.equal(apply_tiled(network, image, processes=2), whole(network, image))
    assert given == [(4, 2), (1, 2)]


MEMORY = """
import sys, numpy as np, torch
from recon.learning.tiling import apply_tiled
from recon.learning.tiling.workers import Here
from recon.networks.residual_sr import ValidResidual
size, cap, tiles = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
def resident(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e6
class Image:
    shape, dtype = (size, size), np.dtype("f4")
    def __getitem__(self, where):
        return np.ones([s.stop - s.start for s in where], "f4")
class Out:
    shape = (size, size)
    def __setitem__(self, where, piece):
        global tiles
        tiles -= 1
        if not tiles:
            print(resident("VmHWM:") - before)
            sys.exit()
before = resident("VmRSS:")
apply_tiled(ValidResidual(16), Image(), memory_mb=cap, out=Out())
print(resident("VmHWM:") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("size", "cap"), [(256, 150), (2048, 150), (16384, 200)])
def test_the_resident_set_stays_under_the_cap(size, cap):
    """A few tiles: memory does not grow with their number, time would."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(size), str(cap), "3"], capture_output=True, text=True
    )
    assert float(done.stdout) < cap, done.stderr
