"""Names in print of what is not in the papers' tables: variants of the ablations, our additions."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

__all__ = ["ABLATIONS", "OTHERS", "data_name", "lesson_and_exam"]

ABLATIONS = {
    "pyramid_4": "4x",
    "pyramid_2": "2x",
    "pyramid_1": "1x",
    "pyramid_4_2": "4x→2x",
    "pyramid_4_1": "4x→1x",
    "pyramid_2_1": "2x→1x",
    "pyramid_parallel": "4x, 2x, 1x",
    "pyramid_4_4_4": "4x→4x→4x",
    "pyramid_1_2_4": "1x→2x→4x",
    "pyramid_4_2_1": "4x→2x→1x",
    "dc_hard": "hard, 5 turns",
    "dc_soft": "soft",
    "dc_none": "no consistency",
    "dc_once": "no consistency, hard once at the end",
    **{f"dc_turns_{turns}": f"{turns} turn{'s' * (turns > 1)}" for turns in range(1, 9)},
    "dc_unshared": "own weights in every turn",
    "dc_no_memory": "no memory",
    "dc_feedforward": "no memory, same layers",
}

OTHERS = {
    "sense": "SENSE",
    "bart_wavelet": "CS, BART, wavelets",
    "bart_tv": "CS, BART, total variation",
    "modl": "MoDL",
    "admm_net": "ADMM-Net",
    "admm_start": "ADMM-Net, untrained",
}


def data_name(data: str, parameters: Mapping[str, Any]) -> str:
    """A data set in print; anybody's folder of files goes by the folder's own name.

    Parameters
    ----------
    data : str
        As rows have it.
    parameters : mapping
        Of the run: a folder as given, or as it is stored, which ends in a hash.

    >>> data_name("fastmri_folder", {"test_data": "fastmri_folder", "test_root": "mine-0a1b2c"})
    'folder mine'
    """
    if not data.endswith(("_folder", "_folders")):
        return data
    field = "test_root" if data == parameters.get("test_data") else "data_root"
    folder = PurePath(str(parameters.get(field) or "")).name
    return f"folder {re.sub('-[0-9a-f]{6}$', '', folder)}" if folder else data


def lesson_and_exam(data: str, parameters: Mapping[str, Any]) -> str:
    """What a run was evaluated on and, after an arrow, trained on: ``knee ← knee``."""
    sets = (data, parameters.get("data", "–"))
    return " ← ".join(data_name(one, parameters).removeprefix("simulated_") for one in sets)
