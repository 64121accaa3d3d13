"""Layers: functions with parameters of their own, under torch's names.

    module       Parameter and Module, what all layers are
    loading      what load_state_dict checks and reports
    containers   Sequential, ModuleList
    linear       Linear, Flatten, Identity
    conv         Conv2d
    norm         BatchNorm1d, BatchNorm2d, Dropout
    activation   ReLU and the others
    pooling      pooling, Upsample
    loss         CrossEntropyLoss, NLLLoss, MSELoss
    init         initial values, and why they are what they are
    functional_call
                 a module as a function of its parameters

One layer is one class; what it computes is a function of ``tinytl.functional``.
"""

from . import init
from .activation import (
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    Softmax,
    Softplus,
    Step,
    Tanh,
)
from .containers import ModuleList, Sequential
from .conv import Conv2d
from .functional_call import functional_call
from .linear import Flatten, Identity, Linear
from .loading import LoadResult
from .loss import CrossEntropyLoss, MSELoss, NLLLoss
from .module import Module, Parameter
from .norm import BatchNorm1d, BatchNorm2d, Dropout
from .pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, SumPool2d, Upsample

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LoadResult",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "PReLU",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Step",
    "SumPool2d",
    "Tanh",
    "Upsample",
    "functional_call",
    "init",
]
