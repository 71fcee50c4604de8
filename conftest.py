"""A limit on time for the chapters' tests: on a slow machine some are left out, and it is said.

Where ``RECON_TEST_UNTIL`` is set (seconds of the clock, as ``date +%s`` prints them), a chapter
that was not begun by then is skipped with that reason; unit tests always run. `.ci/run` sets it.
"""

import os
import time

import pytest

UNTIL = float(os.environ.get("RECON_TEST_UNTIL") or "inf")
begun: set[object] = set()


@pytest.hookimpl(tryfirst=True)  # before nbval starts a kernel
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.path.suffix != ".ipynb":
        return
    if item.path not in begun and time.time() > UNTIL:
        pytest.skip(f"{item.path.name} was not executed: the time for tests was over")
    begun.add(item.path)
