"""Apply a network to images and volumes that do not fit into memory, piece by piece, exactly."""

from recon.learning.tiling.fields import AxisField, ReceptiveField, holds, receptive_field
from recon.learning.tiling.lines import NotTileable

__all__ = ["AxisField", "NotTileable", "ReceptiveField", "holds", "receptive_field"]
