"""Images, their readers, and which of them to use.

    bundled        fashion_mnist() and digits(), which come with the package
    idx            read_idx(): the files of MNIST and Fashion-MNIST
    mnist          mnist()
    cifar          cifar10() and cifar100()
    stl10          stl10()
    tiny_imagenet  tiny_imagenet()
    official       where the official files are, and their checksums
    download       fetch(), download()
    archive        unpack(), and reading tar and zip files that may be hostile
    transforms     standardise() and the channel_statistics() that it takes
    augment        random_crop_flip(), resize(), imagenet_scale()
    subsets        few_shot(), batches(), split(): index arrays

All of it is arrays in, arrays out; nothing is read on import, and nothing is downloaded
unless it is asked for: ``download=True``, or ``python -m tinytl.data NAME FOLDER``.
"""

from tinytl.data.archive import unpack
from tinytl.data.augment import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    imagenet_scale,
    random_crop_flip,
    resize,
)
from tinytl.data.bundled import ImageSet, digits, fashion_mnist
from tinytl.data.cifar import cifar10, cifar100
from tinytl.data.download import fetch
from tinytl.data.idx import read_idx
from tinytl.data.mnist import mnist
from tinytl.data.stl10 import stl10
from tinytl.data.subsets import batches, few_shot, split
from tinytl.data.tiny_imagenet import tiny_imagenet
from tinytl.data.transforms import channel_statistics, standardise

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ImageSet",
    "batches",
    "channel_statistics",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "fetch",
    "few_shot",
    "imagenet_scale",
    "mnist",
    "random_crop_flip",
    "read_idx",
    "resize",
    "split",
    "standardise",
    "stl10",
    "tiny_imagenet",
    "unpack",
]
