"""Sizes and trainings of the translators between noise domains, by profile.

Two chapters use the same translators, and agree on them here, so that one training serves both.
"""

from dataclasses import dataclass, field
from typing import Any

from recon.learning.adversarial import TranslationSchedule

__all__ = ["TRANSLATORS", "Translators"]


@dataclass(frozen=True)
class Translators:
    """Width, depth and blocks of the generators, width and depth of the discriminator, training.

    `copying` is how many steps the generators copy first where they are normalised as published,
    `classify` how many the discriminators classify first. Without sizes: tables A.1 and A.2 of
    Manakov et al. (2019).
    """

    schedule: TranslationSchedule
    sizes: dict[str, Any] = field(default_factory=dict)
    copying: int = 0
    classify: int = 0


TRANSLATORS = {
    "quick": Translators(
        TranslationSchedule(120, 2, 1e-3, (124, 64), cycle=20, optimiser="split"),
        {"width": 8, "depth": 2, "blocks": 2, "discriminator_depth": 3},
        copying=60,
        classify=40,
    ),
    "standard": Translators(
        TranslationSchedule(320, 1, 5e-4, (248, 128), cycle=20, optimiser="split"),
        {"discriminator_width": 8, "discriminator_depth": 5},
        copying=120,
        classify=40,
    ),
    "paper": Translators(TranslationSchedule()),
}
