"""What the numbers were measured on."""

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tinytl_kernels

import tinytl

ROOT = Path(__file__).parents[2]
SETTINGS = re.compile("^(OMP|OPENBLAS|MKL|GOMP|KMP|NUMBA|MALLOC|TINYTL)_")


def machine() -> dict[str, Any]:
    """Processor, versions, commit, and what the environment asks of the libraries."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    names = re.findall("model name\\s*: (.*)", text)
    flags = [flag for flag in ("avx2", "avx512f") if flag in text]
    cpu = names[0] if names else platform.processor() or platform.machine()
    asked = {k: v for k, v in sorted(os.environ.items()) if SETTINGS.match(k)}
    return {
        "cpu": " ".join([cpu, *flags]),
        "cores": os.cpu_count(),
        "caches": caches(),
        "system": platform.system(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": metadata.version("torch"),
        "tinytl": tinytl.__version__,
        "kernels": tinytl_kernels.current(),
        "commit": commit(),
        "environment": asked,
    }


def caches() -> dict[str, str]:
    """Sizes of the first core's caches, where Linux tells them."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level = ((index / name).read_text().strip() for name in ("type", "level"))
        if kind != "Instruction":
            found[f"L{level}"] = (index / "size").read_text().strip()
    return found


def commit() -> str:
    """The commit that is checked out, and whether files differ from it."""
    if not (ROOT / ".git").exists():
        return "unknown"
    return _git("rev-parse", "--short=12", "HEAD") + (
        " + changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    )


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
