"""Weights and checkpoints in files: complete or absent, and nothing in them is run.

    weights      save, load: named Tensors in a safetensors file
    torch_file   load_torch: what torch.save wrote, without torch
    pickles      the reader of pickles for it, which knows no instruction but data
    checkpoint   save_checkpoint, load_checkpoint: all that training needs to go on

The format is safetensors: a header in JSON (names, dtypes, shapes, and text as
metadata), then the arrays. Reading it cannot execute anything, unlike a pickle. To what
the format checks, files written here add a SHA-256 of names, arrays and metadata, so
that a single wrong bit is found.

Source of the format: https://github.com/huggingface/safetensors (its README).
"""

from .checkpoint import load_checkpoint, save_checkpoint
from .torch_file import load_torch
from .weights import load, load_metadata, save, write_atomically

__all__ = [
    "load",
    "load_checkpoint",
    "load_metadata",
    "load_torch",
    "save",
    "save_checkpoint",
    "write_atomically",
]
