"""Optimisers and schedules of the rate.

    optimizer   Optimizer: groups of parameters, gradients, state
    together    small parameters side by side
    sgd         SGD, and sgd_step on arrays
    adam        Adam and AdamW, and adam_step on arrays
    schedule    the rate as a function of the epoch

Names, arguments and numbers are torch's.
"""

from .adam import Adam, AdamW, adam_step
from .optimizer import Optimizer
from .schedule import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
    StepLR,
)
from .sgd import SGD, sgd_step

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "Optimizer",
    "SequentialLR",
    "StepLR",
    "adam_step",
    "sgd_step",
]
