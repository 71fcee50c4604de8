"""Apply a network to images and volumes that do not fit into memory, piece by piece, exactly.

`receptive_field` derives what an output pixel sees, `plan_tiles` cuts an image into the tiles
that take least time within a memory budget, and `apply_tiled` runs them, each in strips of rows
where the network allows. Images and results may be arrays in memory or anything that is read and
written by slices: HDF5 data sets, Zarr arrays.
"""

from recon.learning.tiling.fields import AxisField, ReceptiveField, holds, receptive_field
from recon.learning.tiling.lines import NotTileable
from recon.learning.tiling.plan import Plan, plan_tiles
from recon.learning.tiling.run import Inexact, apply_tiled
from recon.learning.tiling.tracing import trace

__all__ = [
    "AxisField",
    "Inexact",
    "NotTileable",
    "Plan",
    "ReceptiveField",
    "apply_tiled",
    "holds",
    "plan_tiles",
    "receptive_field",
    "trace",
]
