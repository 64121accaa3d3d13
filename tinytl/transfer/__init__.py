"""Transfer: training a small target network with help from a pretrained source.

meta       what, where and which: the meta-networks
matching   the matching loss, and the target with its matching branch
l2t        L2T: one training step of UFM, L2T-ww and L2T-www
settings   what a run is; curves: what its epochs tell; modes: looking at a network
training   Run: a whole run, resumable
"""

from .curves import Epoch
from .l2t import L2T, StepReport
from .matching import MetaNetworks, Student, Weights, matching_loss
from .meta import What, Where, Which
from .settings import METHODS, Settings, generators
from .training import Run

__all__ = [
    "L2T",
    "METHODS",
    "Epoch",
    "MetaNetworks",
    "Run",
    "Settings",
    "StepReport",
    "Student",
    "Weights",
    "What",
    "Where",
    "Which",
    "generators",
    "matching_loss",
]
