"""Small lesions of known place, size and strength, to be put into a body before it is scanned.

A package of its own beside the bodies, so that a change here makes none of their data sets anew
(`recon.data.simulate.set_folder` hashes the modules of that folder). `discs` draws a lesion,
`hosts` knows which tissue it grows in and which way it differs, `places` finds room for it.
"""

from recon.phantoms.lesions.discs import Lesion, profile, reach, template
from recon.phantoms.lesions.hosts import KINDS, hosts_of, retinal_hosts, sign_of
from recon.phantoms.lesions.places import MARGIN, Wish, place

__all__ = [
    "KINDS",
    "MARGIN",
    "Lesion",
    "Wish",
    "hosts_of",
    "place",
    "profile",
    "reach",
    "retinal_hosts",
    "sign_of",
    "template",
]
