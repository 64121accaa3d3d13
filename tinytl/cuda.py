"""What is special about computing on a GPU: whether there is one, and waiting for it.

An operation on Tensors there returns at once, before it has been computed. Whatever
reads a value (``item``, ``cpu``, ``print``) waits for it.
"""

from tinytl_kernels import devices


def is_available() -> bool:
    """Whether ``.to("cuda")`` would work: CuPy is installed and finds a GPU."""
    return devices.cuda_is_available()


def synchronize() -> None:
    """Wait until the GPU has done all that was asked of it: for timing.

    Raises:
        ImportError: CuPy is not installed.
        RuntimeError: there is no usable GPU.
    """
    devices.cupy().cuda.get_current_stream().synchronize()


def mem_get_info() -> tuple[int, int]:
    """Free and total memory of the GPU, in bytes.

    Raises:
        ImportError: CuPy is not installed.
        RuntimeError: there is no usable GPU.
    """
    free, total = devices.cupy().cuda.runtime.memGetInfo()
    return int(free), int(total)
