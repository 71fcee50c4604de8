"""Which tissue a lesion grows in, and whether it is brighter or darker than that.

Place and sign are those of a disease. Strength and size are free, so that detection can be measured
against them: a lesion here stands for its kind as a test object does, not as a portrait.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recon.phantoms.retina import BOUNDARIES
from recon.phantoms.signals import signals

__all__ = ["KINDS", "Kind", "hosts_of", "retinal_hosts", "sign_of"]


@dataclass(frozen=True)
class Kind:
    """A disease: where it grows, and what it turns its host into.

    Attributes
    ----------
    hosts : tuple of str
        Tissues of a body, or of a retina the two boundaries that its layers lie between.
    becomes : str
        Key of `recon.phantoms.signals.TISSUES`; for a retina ``brighter`` or ``darker``.
    share : float
        Part of the lesion's energy that has to lie in its host; thin hosts can hold less.
    """

    hosts: tuple[str, ...]
    becomes: str
    share: float


KINDS = {
    "marrow_oedema": Kind(("marrow", "red_marrow"), "lesion", 0.97),
    "cartilage_defect": Kind(("cartilage",), "fluid", 0.6),
    "meniscal_tear": Kind(("meniscus",), "fluid", 0.6),
    "white_matter_lesion": Kind(("white",), "hyperintensity", 0.9),
    "even_tissue": Kind((), "brighter", 0.95),  # where the tissues are not known
    "cyst": Kind(("IPL-INL", "ELM"), "darker", 0.95),
    "focus": Kind(("IPL-INL", "ELM"), "brighter", 0.95),
    "druse": Kind(("ELM", "BM"), "brighter", 0.8),
}


def sign_of(kind: str, contrast: str = "") -> int:
    """Whether a disease is brighter (1) or darker (-1) than its first host.

    Parameters
    ----------
    kind : str
        Of `KINDS`.
    contrast : str
        PD, PDFS, T1, T2, FLAIR or T1POST, for which the signal equations decide.
    """
    becomes = KINDS[kind].becomes
    if becomes in ("brighter", "darker"):
        return 1 if becomes == "brighter" else -1
    value = signals(contrast, np.random.default_rng(0))
    return 1 if value[becomes] > value[KINDS[kind].hosts[0]] else -1


def hosts_of(tissues: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each kind that these tissues can hold, the share of every pixel that is its host."""
    found = {}
    for name, kind in KINDS.items():
        layers = [tissues[host] for host in kind.hosts if host in tissues]
        if layers:
            found[name] = sum(layers)
    return found


def retinal_hosts(boundaries: np.ndarray, height: int) -> dict[str, np.ndarray]:
    """The same for a B-scan, from its boundaries ``(len(BOUNDARIES), W)`` in rows."""
    rows = np.arange(height)[:, None]
    found = {}
    for name, kind in KINDS.items():
        if kind.hosts and set(kind.hosts) <= set(BOUNDARIES):
            top, bottom = (boundaries[BOUNDARIES.index(edge)] for edge in kind.hosts)
            found[name] = ((rows >= top) & (rows < bottom)).astype(np.float32)
    return found
