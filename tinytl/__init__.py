"""tinytl: convolutional networks and transfer learning, from the formula up.

Everything here has PyTorch's names, argument order, defaults and meaning. Start reading
at ``graph.py`` and ``tensor.py``.
"""

import numpy as np
from tinytl_kernels import use_kernels
from tinytl_kernels.memory import keep_pages
from tinytl_kernels.threads import get_num_threads, set_num_threads

from . import cuda
from .devices import device
from .graph import detect_anomaly, enable_grad, is_grad_enabled, no_grad
from .tensor import Tensor, grad

from . import functional  # isort: skip
from . import nn, optim, persistence  # isort: skip
from .persistence import load, save

__version__ = "0.1.0"

float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
int64 = np.dtype(np.int64)

__all__ = [
    "Tensor",
    "cuda",
    "detect_anomaly",
    "device",
    "enable_grad",
    "float32",
    "float64",
    "functional",
    "get_num_threads",
    "grad",
    "int64",
    "is_grad_enabled",
    "keep_pages",
    "load",
    "nn",
    "no_grad",
    "optim",
    "persistence",
    "save",
    "set_num_threads",
    "use_kernels",
]
