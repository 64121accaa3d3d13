"""Images, their readers, and which of them to use.

    bundled      fashion_mnist() and digits(), which come with the package
    idx          read_idx(): the files of MNIST and Fashion-MNIST
    transforms   standardise() and the channel_statistics() that it takes
    subsets      few_shot(), batches(), split(): index arrays

All of it is arrays in, arrays out; nothing is read or downloaded on import.
"""

from tinytl.data.bundled import ImageSet, digits, fashion_mnist
from tinytl.data.idx import read_idx
from tinytl.data.subsets import batches, few_shot, split
from tinytl.data.transforms import channel_statistics, standardise

__all__ = [
    "ImageSet",
    "batches",
    "channel_statistics",
    "digits",
    "few_shot",
    "fashion_mnist",
    "read_idx",
    "split",
    "standardise",
]
