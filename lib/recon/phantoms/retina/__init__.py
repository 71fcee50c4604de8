"""The retina: layers, fovea, vessels, choroid, and what the diseases of the macula do to them.

A package of its own beside the bodies that are scanned for MRI, so that a change here makes none of
their data sets anew (`recon.data.simulate.set_folder` hashes the modules of that folder).
`anatomy` gives the layers their thickness, `pathologies` change it, `painting` fills the layers
with reflectivity.
"""

from recon.phantoms.retina.anatomy import BOUNDARIES, FIELD, PATHOLOGIES
from recon.phantoms.retina.painting import Eye, render

__all__ = ["BOUNDARIES", "FIELD", "PATHOLOGIES", "Eye", "render"]
