"""Write cupy_names.json: every name of CuPy that arrays are computed with.

    pip install cupy-cuda13x==14.2.0 && python tests/cuda/list_cupy.py

CuPy can be imported without a GPU. The stand-in offers what stands in this list and
nothing else, with CuPy's own keywords.
"""

import inspect
import json
import re
from pathlib import Path

import cupy


def keywords(thing):
    """Names of the parameters, from the signature or the docstring's first line."""
    try:
        return list(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        first = (thing.__doc__ or "").split("->")[0].splitlines() or [""]
        inside = re.search(r"\((.*)\)", first[0])
        found = re.split(r",\s*", inside.group(1)) if inside else []
        names = [
            re.split(r"[=:]", part)[0].strip("\\* ").split()[-1:] for part in found
        ]
        return [n[0] for n in names if n and n[0] not in ("/", "self", "")]


def public(namespace):
    return {n: getattr(namespace, n) for n in dir(namespace) if not n.startswith("_")}


def callables(namespace):
    return {
        name: keywords(thing)
        for name, thing in public(namespace).items()
        if callable(thing) and not isinstance(thing, type)
    }


def plain_values(namespace):
    return sorted(
        name
        for name, thing in public(namespace).items()
        if (isinstance(thing, type) or not callable(thing))
        and not inspect.ismodule(thing)
    )


listed = {
    "version": cupy.__version__,
    "functions": callables(cupy),
    "values": plain_values(cupy),
    "methods": callables(cupy.ndarray),
    "attributes": plain_values(cupy.ndarray),
    "special": [n for n in dir(cupy.ndarray) if n.startswith("__")],
    "cuda": sorted(public(cupy.cuda)),
    "linalg": callables(cupy.linalg),
    "stride_tricks": callables(cupy.lib.stride_tricks),
}
lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in listed.items())
path = Path(__file__).with_name("cupy_names.json")
path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
