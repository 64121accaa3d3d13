"""Networks, with their layers and parameter counts in the docstring.

    custom_3_layer   Custom3Layer: three convolutions, to begin with
    lenet            LeNet5Original (1998) and LeNet5 (as usually taught)
    bitmaps          the target codes of LeNet5Original
    resnet           ResNet for small images: resnet8, resnet32
    vgg              VGG9, the target network of L2T-ww
    source           load_source: L2T-ww's published source network, a resnet32

Scores come out of all of them, before softmax.
"""

from .bitmaps import digit_codes
from .custom_3_layer import Custom3Layer
from .lenet import LeNet5, LeNet5Original, PartialConv2d, Subsample, count_parameters
from .resnet import BasicBlock, ResNet, resnet8, resnet32
from .source import load_source
from .vgg import VGG9

__all__ = [
    "BasicBlock",
    "Custom3Layer",
    "LeNet5",
    "LeNet5Original",
    "PartialConv2d",
    "ResNet",
    "Subsample",
    "VGG9",
    "count_parameters",
    "digit_codes",
    "load_source",
    "resnet32",
    "resnet8",
]
