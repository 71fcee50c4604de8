"""Equivalence: is a difference *small*? A p-value above 0.05 does not say so.

Failing to find a difference may only mean that too little was measured. To show that a method loses
nothing one states, before looking, which loss would matter (the margin), and rejects that the loss
is that large: two one-sided tests (Schuirmann 1987), of which the lower one alone shows that the
method is *not worse*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t, ttest_1samp

from recon.results.html import Html, html_table

__all__ = ["Equivalence", "compare", "equivalence_table"]

LEVEL = 0.05


@dataclass(frozen=True)
class Equivalence:
    """Mean difference, its 90 % interval, and the p-values of the two one-sided tests.

    `p_lower` is of the hypothesis that the difference is ``-margin`` or less, `p_upper` that it is
    ``margin`` or more.
    """

    mean: float
    low: float
    high: float
    p_lower: float
    p_upper: float
    margin: float
    n: int
    independent: bool = True

    @property
    def verdict(self) -> str:
        """``equivalent``, ``not worse`` (maybe better), ``worse``, or ``undecided``.

        Parts of one body decide nothing.
        """
        if not self.independent:
            return "not decided: parts of one body"
        if max(self.p_lower, self.p_upper) < LEVEL:
            return "equivalent"
        if self.p_lower < LEVEL:
            return "not worse"
        return "worse" if self.high < -self.margin else "undecided"


def compare(differences: Sequence[float], margin: float, independent: bool = True) -> Equivalence:
    """Two one-sided t-tests of paired differences.

    Parameters
    ----------
    differences : sequence of float
        One for each independent unit, at least two: method minus reference, larger is better.
    margin : float
        The largest difference that does not matter; positive.
    independent : bool
        Whether they are of different bodies.

    Raises
    ------
    ValueError
        For fewer than two differences or a margin that is not positive.
    """
    values = np.asarray(differences, float)
    if len(values) < 2 or margin <= 0:
        raise ValueError("equivalence takes two differences or more, and a positive margin")
    mean = float(values.mean())
    if np.ptp(values) == 0:  # no spread: the tests are certain
        p_lower, p_upper = float(mean <= -margin), float(mean >= margin)
        return Equivalence(mean, mean, mean, p_lower, p_upper, margin, len(values), independent)
    half = float(t.ppf(1 - LEVEL, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    p_lower = float(ttest_1samp(values, -margin, alternative="greater").pvalue)
    p_upper = float(ttest_1samp(values, margin, alternative="less").pvalue)
    return Equivalence(
        mean, mean - half, mean + half, p_lower, p_upper, margin, len(values), independent
    )


def equivalence_table(
    caption: str,
    heads: Sequence[str],
    found: Mapping[tuple[Any, ...], Equivalence],
    gains: Mapping[tuple[Any, ...], float],
) -> Html:
    """A line for each comparison, named by the key's parts under ``heads``.

    `gains` say how much the reference itself gains over no method at all: where that is no more
    than the margin, the comparison could not have told good from bad.
    """
    lines = [
        [
            *key,
            f"{gains[key]:+.3f}",
            f"{one.mean:+.3f} [{one.low:+.3f}, {one.high:+.3f}]",
            f"± {one.margin:g}",
            *(_p(p) if one.independent else "–" for p in (one.p_lower, one.p_upper)),
            one.n,
            one.verdict if gains[key] > one.margin else "untold: the gain is within the margin",
        ]
        for key, one in found.items()
    ]
    columns = [*heads, "Gain of the reference", "Difference [90 %]", "Margin", "p, not lower"]
    columns += ["p, not higher", "n", "It is"]
    return html_table(caption, columns, lines, headers=len(heads))


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else "< 0.001"
