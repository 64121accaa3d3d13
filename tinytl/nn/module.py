"""Parameter and Module: values that are trained, and the layers that hold them.

A Module is an object whose attributes are counted. What an attribute is decides what it
counts as: a Parameter is trained, a Module is a part, and a Tensor announced with
``register_buffer`` is a value that is kept but not trained (running statistics). The
names of the attributes, joined by dots, are the names in ``state_dict``. They and their
order are those of torch, so that weights can be exchanged by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..devices import device as Device
from ..devices import split_arguments
from ..graph import layer, state
from ..tensor import FLOATS, Tensor
from .loading import LoadResult, prepare_load

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Parameter(Tensor):
    """A Tensor that a Module counts among its parameters, and that optimisers change.

    Args:
        data: Tensor, array, number or nested sequence; an array is shared, not copied.
        requires_grad: False freezes it: no gradient is computed for it.

    Raises:
        TypeError: `data` does not hold floats and `requires_grad` is True.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Module:
    """Base class of layers and networks.

    A subclass calls ``super().__init__()``, assigns its parameters and parts as
    attributes, and defines ``forward``. Calling the module calls ``forward``.

    Attributes:
        training: whether dropout drops and batch normalisation uses the batch; set for
            a module and its parts by ``train()`` and ``eval()``.
    """

    training: bool
    _buffers: dict[str, bool]  # name -> whether state_dict has it

    def __init__(self) -> None:
        self._buffers = {}
        self.training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output. Every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output with ``forward``."""
        if not state.checking:
            return self.forward(*args, **kwargs)
        with layer(self._name_in_caller(), self):
            return self.forward(*args, **kwargs)

    def _name_in_caller(self) -> str:
        """Name that the module whose forward is running has for this one."""
        if state.layers:
            for name, module in state.layers[-1][1].named_modules():
                if module is self:
                    return name
        return ""

    # -- attributes ----------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter | Module):
            if "_buffers" not in vars(self):
                raise AttributeError(
                    f"{type(self).__name__}: cannot assign {name!r} before "
                    "super().__init__() was called; call it first in __init__"
                )
            self._buffers.pop(name, None)
        elif value is not None:
            self._check_kind(name, value)
        object.__setattr__(self, name, value)

    def _check_kind(self, name: str, value: Any) -> None:
        """Refuse to overwrite a parameter, a part or a buffer by something else."""
        before = vars(self).get(name)
        advice = ""
        if isinstance(before, Parameter):
            advice = "a Parameter or None; to change its values set .data"
        elif isinstance(before, Module):
            advice = "a Module or None; to get rid of it use del"
        elif name in vars(self).get("_buffers", ()) and not isinstance(value, Tensor):
            advice = "a Tensor or None, because it is a buffer"
        if advice:
            raise TypeError(
                f"{type(self).__name__}: {name!r} must be {advice}; got "
                f"{type(value).__name__}"
            )

    def __delattr__(self, name: str) -> None:
        if name not in vars(self):
            raise AttributeError(self._no_such(name))
        object.__delattr__(self, name)
        self._buffers.pop(name, None)

    if not TYPE_CHECKING:  # a type checker should still report unknown attributes

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(self._no_such(name))

    def _no_such(self, name: str) -> str:
        known = [key for key in vars(self) if not key.startswith("_")]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; it has {known}"
        return f"{type(self).__name__} has no attribute {name!r}{hint}"

    def register_buffer(
        self, name: str, tensor: Tensor | None, persistent: bool = True
    ) -> None:
        """Make `tensor` an attribute that is kept with the module but not trained.

        Args:
            name: attribute name, without dots.
            tensor: the values, or None to reserve the name.
            persistent: whether ``state_dict`` has it.

        Raises:
            TypeError: it is not a Tensor, or it is a Parameter.
            ValueError: the name has a dot, is empty, or is taken.
        """
        if not (tensor is None or type(tensor) is Tensor):
            raise TypeError(
                f"{type(self).__name__}: buffer {name!r} must be a Tensor or None, got "
                f"{type(tensor).__name__}"
            )
        taken = hasattr(self, name) and name not in self._buffers
        if not name or "." in name or taken:
            raise ValueError(
                f"{type(self).__name__}: {name!r} is no name for a buffer: it must not "
                "be empty, contain a dot, or be the name of another attribute"
            )
        self._buffers[name] = persistent
        setattr(self, name, tensor)

    # -- what it consists of -------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The parts that are attributes of this module, each once."""
        seen = set()
        for name, value in list(vars(self).items()):
            if isinstance(value, Module) and value not in seen:
                seen.add(value)
                yield name, value

    def children(self) -> Iterator[Module]:
        """The same without names."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = ""
    ) -> Iterator[tuple[str, Module]]:
        """This module, its parts, their parts ...: each once, under its first name.

        Args:
            memo: modules to leave out; those that were visited are added.
            prefix: name of this module.
        """
        seen = set() if memo is None else memo
        if self in seen:
            return
        seen.add(self)
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(seen, _join(prefix, name))

    def modules(self) -> Iterator[Module]:
        """The same without names."""
        return (module for _, module in self.named_modules())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters of this module and of its parts; a shared one once."""
        return self._collect(Module._own_parameters, prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The same without names: what an optimiser is made with."""
        return (parameter for _, parameter in self.named_parameters("", recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers of this module and of its parts; a shared one once."""
        return self._collect(Module._own_buffers, prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The same without names."""
        return (buffer for _, buffer in self.named_buffers("", recurse))

    def _own_parameters(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if isinstance(v, Parameter)}

    def _own_buffers(self) -> dict[str, Any]:
        found = {name: vars(self)[name] for name in self._buffers}
        return {name: value for name, value in found.items() if value is not None}

    def _collect(
        self, own: Callable[[Module], dict[str, Any]], prefix: str, recurse: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        modules = self.named_modules(prefix=prefix) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, tensor in own(module).items():
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield _join(path, name), tensor

    def get_submodule(self, target: str) -> Module:
        """The part with this dotted name; "" is the module itself.

        Raises:
            AttributeError: there is none; the message says where the path breaks.
        """
        module = self
        for name in target.split(".") if target else []:
            part = vars(module).get(name)
            if not isinstance(part, Module):
                names = [key for key, _ in module.named_children()]
                raise AttributeError(
                    f"{type(self).__name__} has no module {target!r}: "
                    f"{type(module).__name__} has the parts {names}, not {name!r}"
                )
            module = part
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with this dotted name.

        Raises:
            AttributeError: there is none.
        """
        path, _, name = target.rpartition(".")
        own = self.get_submodule(path)._own_parameters()
        if name not in own:
            raise AttributeError(
                f"{type(self).__name__} has no parameter {target!r}; "
                f"{path or 'the module itself'} has {list(own)}"
            )
        return own[name]

    # -- state ---------------------------------------------------------------------

    def _entries(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """All that ``state_dict`` names, in its order; a shared value at each place."""
        for name, parameter in self._own_parameters().items():
            yield prefix + name, parameter
        for name, buffer in self._own_buffers().items():
            if self._buffers[name]:
                yield prefix + name, buffer
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield from value._entries(f"{prefix}{name}.")

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, detached.

        Since nothing ever writes into a Tensor's array, this is a snapshot: training on
        does not change it.
        """
        return {name: tensor.detach() for name, tensor in self._entries()}

    def load_state_dict(
        self, state: Mapping[str, Any], strict: bool = True
    ) -> LoadResult:
        """Take over values by name: all of them, or none if there is an error.

        Values are copied and converted to the dtype that the module has.

        Args:
            state: name -> Tensor or array, as from ``state_dict``.
            strict: demand that names and shapes agree. With False, whatever fits is
                taken over and the result says what was not.

        Raises:
            ValueError: `strict`, and names are missing or unexpected or shapes differ;
                each is named.
            TypeError: a value is not numeric.
        """
        result, commit = self._prepare_load(state, strict)
        commit()
        return result

    def _prepare_load(
        self, state: Mapping[str, Any], strict: bool
    ) -> tuple[LoadResult, Callable[[], None]]:
        return prepare_load(type(self).__name__, dict(self._entries()), state, strict)

    # -- changing all of it --------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set ``training`` for this module and all parts; return the module."""
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """``train(False)``: no dropout, running statistics instead of the batch's."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or release (True) all parameters; return the module.

        A frozen layer gets no gradient. Batch normalisation in it still moves its
        running statistics in training: call ``eval()`` on it to stop that too.
        """
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients that ``backward`` left in the parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call fn(module) for all parts, inner ones first, and for this module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(
        self,
        *args: DTypeLike | Device,
        device: str | Device | None = None,
        dtype: DTypeLike | None = None,
    ) -> Self:
        """Move parameters and buffers, convert the floating ones; return the module.

        The Parameters stay the objects they are, so an optimiser made before goes on
        with them: what it remembers follows at its next step.

        Args:
            args: a device, a dtype, or both in this order.
            device: "cpu" or "cuda".
            dtype: of floating parameters and buffers.

        Raises:
            TypeError: `dtype` is neither float32 nor float64, or nothing was given.
            ValueError: there is no such device.
            ImportError: CuPy, which "cuda" needs, is not installed.
            RuntimeError: there is no usable GPU.
            MemoryError: its memory does not suffice; nothing has moved then.
        """
        place, kind = split_arguments(args, device, dtype)
        wanted = None if kind is None else np.dtype(kind)
        if wanted is not None and wanted not in FLOATS:
            raise TypeError(f"to: dtype must be float32 or float64, got {wanted}")
        found = [*self.parameters(), *self.buffers()]
        found += [x.grad for x in found if x.grad is not None]
        moved = []
        for x in found:
            own = wanted if x.dtype in FLOATS else None
            moved.append(x.detach().to(device=place or x.device, dtype=own).data)
        for x, array in zip(found, moved, strict=True):
            x.data = array
        return self

    def cuda(self) -> Self:
        """Move to the GPU; raises what ``to`` raises."""
        return self.to("cuda")

    def cpu(self) -> Self:
        """Move to the computer's memory."""
        return self.to("cpu")

    def float(self) -> Self:
        """Convert to float32."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Convert to float64."""
        return self.to(np.float64)

    # -- text ----------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What to print between the parentheses."""
        return ""

    def __repr__(self) -> str:
        lines = [self.extra_repr()] if self.extra_repr() else []
        parts = {k: v for k, v in vars(self).items() if isinstance(v, Module)}
        for name, part in parts.items():
            lines.append(f"({name}): " + repr(part).replace("\n", "\n  "))
        if not parts:
            return f"{type(self).__name__}({''.join(lines)})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
