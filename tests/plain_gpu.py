"""A GPU that is not there: the stand-in for CuPy, with the plain kernels behind it."""

import sys
import types
from contextlib import contextmanager
from pathlib import Path

import pytest
import tinytl_kernels
from tinytl_kernels import devices, plain


@contextmanager
def plain_gpu():
    """What ``.to("cuda")`` finds inside the block.

    Gives `cupy`; `waits`, whose `count` is how often the host waited; and `place`,
    whose `allocate` is the allocator.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent / "cuda"))
        patch.delitem(sys.modules, "cupy", raising=False)
        patch.delitem(sys.modules, "cupy.cuda", raising=False)
        import standin

        cupy = standin.install()
        for name in ("cupy", "cupy.cuda"):  # so that they are taken away again
            patch.setitem(sys.modules, name, sys.modules.pop(name))
        place = types.SimpleNamespace(allocate=lambda size: size)
        pool = types.SimpleNamespace(free_bytes=lambda: 5 * 10**6)
        stream = types.SimpleNamespace(synchronize=lambda: None)
        replaced = {
            "runtime": types.SimpleNamespace(
                memGetInfo=lambda: (3 * 10**9, 4 * 10**10)
            ),
            "get_allocator": lambda: place.allocate,
            "set_allocator": lambda function: setattr(place, "allocate", function),
            "get_current_stream": lambda: stream,
        }
        for name, value in replaced.items():
            patch.setattr(cupy.cuda, name, value, raising=False)
        patch.setattr(cupy, "get_default_memory_pool", lambda: pool, raising=False)
        load = tinytl_kernels._load
        kernels = _behind(standin)
        patch.setattr(
            tinytl_kernels, "_load", lambda n: kernels if n == "cuda" else load(n)
        )
        devices._explain_lack_of_memory.cache_clear()
        yield types.SimpleNamespace(cupy=cupy, waits=standin.waits, place=place)
    devices._explain_lack_of_memory.cache_clear()


def _behind(standin):
    """The plain kernels, which take and give arrays of the stand-in."""

    def bare(value):
        if hasattr(value, "_fields"):
            return type(value)(*map(bare, value))
        return value._array if isinstance(value, standin.ndarray) else value

    def behind(name):
        def kernel(*arguments):
            return standin.wrap(getattr(plain, name)(*map(bare, arguments)))

        return kernel

    return types.SimpleNamespace(**{name: behind(name) for name in plain.__all__})
