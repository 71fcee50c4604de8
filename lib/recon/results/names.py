"""Names in print of what is not in the papers' tables: variants of the ablations, our additions."""

__all__ = ["ABLATIONS", "OTHERS"]

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
}
