"""device: where a Tensor's values are, and that operands have to be together."""

from dataclasses import dataclass
from typing import Any

from tinytl_kernels import Array
from tinytl_kernels.devices import device_type

NAMES = {"cpu": "cpu", "cuda": "cuda", "cuda:0": "cuda"}


@dataclass(frozen=True)
class device:
    """A place for arrays: ``device("cpu")`` or ``device("cuda")``.

    Attributes:
        type: "cpu" or "cuda".

    Raises:
        ValueError: the name is none of these.
    """

    type: str

    def __post_init__(self) -> None:
        name = self.type.type if isinstance(self.type, device) else self.type
        if name not in NAMES:
            raise ValueError(
                f"a device is 'cpu' or 'cuda', got {name!r}; which GPU 'cuda' is, the "
                "environment variable CUDA_VISIBLE_DEVICES can choose"
            )
        object.__setattr__(self, "type", NAMES[name])

    @property
    def index(self) -> int | None:
        """0 for the GPU in use, None for the CPU."""
        return 0 if self.type == "cuda" else None

    def __str__(self) -> str:
        return "cuda:0" if self.type == "cuda" else "cpu"

    def __repr__(self) -> str:
        return f"device(type={self.type!r}, index={self.index})"


def is_device(value: Any) -> bool:
    """Whether `value` stands for a device: a dtype may stand in the same place."""
    if isinstance(value, device):
        return True
    return isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda")


def check_together(operation: str, **arrays: Array) -> None:
    """Raise ValueError unless all arrays are on one device; each is named."""
    places = {name: device_type(array) for name, array in arrays.items()}
    if len(set(places.values())) > 1:
        listed = ", ".join(f"{name} on {device(p)}" for name, p in places.items())
        raise ValueError(
            f"{operation}: all must be on one device, got {listed}; move them with "
            ".to('cuda') or .to('cpu')"
        )


def split_arguments(args: tuple[Any, ...], place: Any, dtype: Any) -> tuple[Any, Any]:
    """Device and dtype from the arguments of ``to``: (device or dtype), or both.

    Raises:
        TypeError: more than one of either, or none at all.
    """
    devices = [a for a in (*args, place) if is_device(a)]
    others = [a for a in (*args, dtype) if a is not None and not is_device(a)]
    if place is not None and not is_device(place):
        device(place)  # raises, and says what a device is
    if len(devices) > 1 or len(others) > 1 or not (devices or others):
        raise TypeError(
            f"to: needs a device, a dtype, or a device and a dtype, got {args}"
        )
    return (
        device(devices[0]) if devices else None,
        others[0] if others else None,
    )
