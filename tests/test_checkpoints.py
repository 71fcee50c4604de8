"""How trainings are kept: alone on a folder, whole or not at all, named by all that shapes them."""

import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import torch
from torch import nn

from recon.errors import InputError
from recon.learning.checkpoints import load_checkpoint, resumed, save_checkpoint
from recon.learning.losses import ReconstructionLoss, nmse
from recon.learning.training import Schedule, training_folder
from recon.results import fingerprints

FULL_DISK = """
import resource, signal, sys, torch
from pathlib import Path
from recon.learning.checkpoints import save_checkpoint
network = torch.nn.Linear(int(sys.argv[2]), 100)
optimiser = torch.optim.Adam(network.parameters())
if int(sys.argv[2]) < 100:  # small weights, a large state of the optimiser
    optimiser.state[network.weight]["slow"] = torch.zeros(100_000)
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
save_checkpoint(folder, network, optimiser, [{"step": 2}])
"""


def pair():
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    return network, torch.optim.Adam(network.parameters())


@pytest.mark.parametrize("inputs", [1000, 1], ids=["weights", "optimiser"])
def test_a_file_that_cannot_grow_says_so_and_keeps_the_last_checkpoint(tmp_path, inputs):
    """Written by safetensors in Rust and by torch in C++, which raise errors of their own."""
    save_checkpoint(tmp_path, *pair(), [{"step": 1}])
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(inputs)],
        capture_output=True,
        text=True,
    )
    last = run.stderr.strip().splitlines()[-1]
    assert "InputError" in last and "could not be written" in last and "RECON_CACHE" in last
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000001"]


def test_a_second_process_waits_and_finds_the_network_trained(tmp_path):
    inside, go_on, seen = threading.Event(), threading.Event(), []

    def first():
        with resumed(*pair(), tmp_path / "training", "first", 1e9) as record:
            inside.set()
            go_on.wait(10)
            record.add({"step": 1})

    def second():
        with resumed(*pair(), tmp_path / "training", "second", 1e9) as record:
            seen.append(len(record.history))

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    threads[1].join(0.3)
    assert threads[1].is_alive() and not seen
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert seen == [1]


def test_a_finished_training_is_not_written_again(tmp_path):
    with resumed(*pair(), tmp_path, "trained", 1e9) as record:
        record.add({"step": 1})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with resumed(*pair(), tmp_path, "again", 0) as record:
        assert len(record.history) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before and before


def test_ctrl_c_keeps_a_checkpoint_and_an_error_does_not(tmp_path):
    for error, kept in ((KeyboardInterrupt, 1), (InputError, 0)):
        folder = tmp_path / error.__name__
        with pytest.raises(error), resumed(*pair(), folder, "stopped", 1e9) as record:
            record.add({"step": 1})
            raise error
        assert len(load_checkpoint(folder, *pair())) == kept


def test_a_folder_is_named_by_all_that_shapes_the_weights(tmp_path):
    scan = tmp_path / "scan.h5"
    scan.write_bytes(b"one")
    network, plan = nn.Conv2d(1, 1, 3), Schedule()

    def name(settings=None, schedule=plan, loss=None, rows=0):
        settings = {"device": "cpu", "accel": 4, **(settings or {})}
        return training_folder(network, settings, schedule, [scan], loss, rows)

    plain = name()
    assert name({"test_data": "other"}) == plain == name({"device": "auto"})
    scan.touch()
    assert name() == plain
    names = [
        plain,
        name({"accel": 6}),
        name(schedule=replace(plan, rate=1)),
        name(loss=ReconstructionLoss()),
        name(loss=nmse),
        name(rows=32),
    ]
    scan.write_bytes(b"two")
    assert len({*names, name()}) == 7


def test_a_large_file_is_told_apart_by_its_blocks(tmp_path):
    one, copy = tmp_path / "one", tmp_path / "copy"
    data = bytearray(fingerprints.BLOCK * fingerprints.BLOCKS * 2)
    for path in (one, copy):
        path.write_bytes(data)
    same = fingerprints.file_sha256(one)
    assert same == fingerprints.file_sha256(copy)
    data[-1] = 1
    copy.write_bytes(data)
    assert fingerprints.file_sha256(copy) != same
    with pytest.raises(InputError, match="cannot be read"):
        fingerprints.file_sha256(tmp_path / "none")
