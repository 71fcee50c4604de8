"""The ten pyramids of table VII of Chen et al. 2022: which scales, and in which order.

Everything but the scales and their connection stays alike. What the paper leaves open is settled in
one way for all: a module is as wide as its *scale* is in the whole pyramid, wherever it stands; the
final CNN follows every pyramid, a single module too, and is as wide as the module of full
resolution.
"""

from collections.abc import Mapping

from recon.networks.pcrnn import PCRNN

__all__ = ["ORDERS", "PAPERS_ORDER", "OrderedPyramid", "label"]

# Scales in the order in which they run, and their connection; in the order of the table.
ORDERS: dict[str, tuple[tuple[int, ...], str]] = {
    "pyramid_4": ((4,), "sequential"),
    "pyramid_2": ((2,), "sequential"),
    "pyramid_1": ((1,), "sequential"),
    "pyramid_4_2": ((4, 2), "sequential"),
    "pyramid_4_1": ((4, 1), "sequential"),
    "pyramid_2_1": ((2, 1), "sequential"),
    "pyramid_parallel": ((4, 2, 1), "parallel"),
    "pyramid_4_4_4": ((4, 4, 4), "sequential"),
    "pyramid_1_2_4": ((1, 2, 4), "sequential"),
    "pyramid_4_2_1": ((4, 2, 1), "sequential"),
}
PAPERS_ORDER = "pyramid_4_2_1"


class OrderedPyramid(PCRNN):
    """A `PCRNN` with the scales and the connection of one line of table VII.

    Parameters
    ----------
    order : str
        A name in `ORDERS`.
    coils : int
        Coils, or virtual coils, of the data.
    width_of : mapping
        Feature maps of a module by its scale: ``{4: 128, 2: 64, 1: 32}`` for PC-RNN-S.
    options
        ``iterations``, ``recurrent`` and ``start`` of `PCRNN`.

    Raises
    ------
    ValueError
        When there is no such order.
    """

    def __init__(self, order: str, coils: int, width_of: Mapping[int, int], **options):
        if order not in ORDERS:
            raise ValueError(f"order is {order!r}; choose one of {', '.join(ORDERS)}")
        scales, connection = ORDERS[order]
        super().__init__(
            coils,
            [width_of[scale] for scale in scales],
            scales,
            connection=connection,
            final_width=width_of[1],
            **options,
        )
        self.order, self.scales = order, scales
        self.options = options

    def extra_repr(self) -> str:
        """The order and what else no submodule shows, so that trainings are stored apart."""
        return ", ".join(
            [self.order, *(f"{name}={value}" for name, value in sorted(self.options.items()))]
        )


def label(order: str) -> str:
    """An order as the table prints it: ``4x→2x→1x``, or ``4x, 2x, 1x`` in parallel."""
    scales, connection = ORDERS[order]
    joint = "→" if connection == "sequential" else ", "
    return joint.join(f"{scale}x" for scale in scales)
