"""Optimizer: parameter groups, gradients, state; what SGD and Adam share.

The mathematics is in pure functions ``(parameter, gradient, state) -> (parameter,
state)`` on arrays, one beside each optimiser. They write to nothing. So an old array is
a snapshot, and a step can be repeated, undone, or taken from somewhere else.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from tinytl_kernels import Array, namespace
from tinytl_kernels.devices import device_type, is_array, move

from ..devices import check_together
from ..tensor import Tensor, copied
from .together import State, each, together

Commit = Callable[[], None]


class Optimizer:
    """Base class: holds groups of parameters and applies ``update`` to each of them.

    Args:
        params: parameters, or dicts {"params": parameters, "lr": ...} whose options
            take the place of the defaults.
        defaults: options of a group that does not say otherwise.

    Attributes:
        param_groups: list of dicts: "params" and the options.
        state: number of a parameter, counted over all groups -> what is remembered.
        elementwise: whether ``update`` computes each number from its own gradient and
            its own past; then small parameters may come side by side in one array.

    Raises:
        ValueError: no parameters, one twice, or an option out of its range.
        TypeError: something else than leaf Tensors.
    """

    elementwise = False

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[int, State] = {}
        if isinstance(params, Tensor):
            raise TypeError(
                f"{self._name}: params must be an iterable of parameters, got one "
                "Tensor; put it in a list"
            )
        groups = list(params)
        if not groups:
            raise ValueError(f"{self._name}: got no parameters to optimise")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    # -- what a kind of optimiser defines ----------------------------------------------

    def update(
        self, parameter: Array, gradient: Array, state: State, options: dict[str, Any]
    ) -> tuple[Array, State]:
        """New values of one parameter, and what to remember."""
        raise NotImplementedError(f"{self._name} does not define update()")

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option is out of its range."""

    def remembered(self, options: Mapping[str, Any]) -> set[str]:
        """Names in the state of a parameter after a step with these options."""
        return set()

    # -- parameters --------------------------------------------------------------------

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own, such as a lower rate.

        Raises:
            ValueError: a parameter is there already, or an option is unknown or out of
                its range.
            TypeError: "params" holds something else than leaf Tensors.
        """
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(
                f"{self._name}: a group must be a dict with 'params', got "
                f"{param_group!r}"
            )
        given = param_group["params"]
        params = [given] if isinstance(given, Tensor) else list(given)
        known = {id(p) for p in self._parameters()}
        for parameter in params:
            if not isinstance(parameter, Tensor) or not parameter.is_leaf:
                raise TypeError(
                    f"{self._name}: can only optimise Parameters and leaf Tensors, got "
                    f"{type(parameter).__name__}; pass model.parameters()"
                )
            if id(parameter) in known:
                raise ValueError(
                    f"{self._name}: a parameter of shape {parameter.shape} was given "
                    "twice; it can be in one group only"
                )
            known.add(id(parameter))
        unknown = set(param_group) - set(self.defaults) - {"params", "initial_lr"}
        if unknown:
            raise ValueError(
                f"{self._name}: unknown options {sorted(unknown)}; known are "
                f"{sorted(self.defaults)}"
            )
        group = {**self.defaults, **param_group, "params": params}
        self.check(group)
        self.param_groups.append(group)

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def zero_grad(self) -> None:
        """Forget the gradients that ``backward`` left in the parameters."""
        for parameter in self._parameters():
            parameter.grad = None

    # -- the step ----------------------------------------------------------------------

    def step(self, gradients: Sequence[Tensor | None] | None = None) -> None:
        """Move every parameter that has a gradient.

        Args:
            gradients: one for each parameter, in the order of the groups, as
                ``tinytl.grad`` returns them; None among them leaves a parameter as it
                is. Without this argument the parameters' ``.grad`` are taken.

        Raises:
            ValueError: the number of gradients or a shape does not fit; nothing has
                moved then.
            TypeError: a gradient is not a Tensor.
        """
        number = 0
        found = self._gradients(gradients)
        params = self._parameters()
        for group in self.param_groups:
            options = {name: plain(group[name]) for name in self.defaults}
            jobs = []
            for parameter in group["params"]:
                gradient = found[number]
                if gradient is not None:
                    self._follow(number, parameter)
                    state = self.state.get(number, {})
                    jobs.append((number, parameter.data, gradient, state))
                number += 1
            step = functools.partial(self.update, options=options)
            taken = together(jobs, step) if self.elementwise else each(jobs, step)
            for k, values, state in taken:
                params[k].data = namespace(values).asarray(values, order="C")
                if state:
                    self.state[k] = state

    def _follow(self, number: int, parameter: Tensor) -> None:
        """Bring what is remembered of a parameter to the device where it is now."""
        place = device_type(parameter.data)
        state = self.state.get(number, {})
        if any(is_array(v) and device_type(v) != place for v in state.values()):
            self.state[number] = {
                name: move(v, place) if is_array(v) else v for name, v in state.items()
            }

    def _gradients(
        self, gradients: Sequence[Tensor | None] | None
    ) -> list[Array | None]:
        """Arrays of all gradients, in each parameter's dtype; checked."""
        params = self._parameters()
        if gradients is None:
            gradients = [p.grad for p in params]
        elif isinstance(gradients, Tensor) or not isinstance(gradients, Iterable):
            raise TypeError(
                f"{self._name}.step: gradients must be a sequence, one for each "
                f"parameter, got {type(gradients).__name__}"
            )
        gradients = list(gradients)
        if len(gradients) != len(params):
            raise ValueError(
                f"{self._name}.step: got {len(gradients)} gradients for {len(params)} "
                "parameters; pass None where there is none"
            )
        arrays: list[Array | None] = []
        for k, (parameter, g) in enumerate(zip(params, gradients, strict=True)):
            if g is not None and not isinstance(g, Tensor):
                raise TypeError(
                    f"{self._name}.step: gradient {k} must be a Tensor or None, got "
                    f"{type(g).__name__}"
                )
            if g is not None and g.shape != parameter.shape:
                raise ValueError(
                    f"{self._name}.step: gradient {k} has shape {g.shape}, its "
                    f"parameter {parameter.shape}"
                )
            if g is not None:
                both = {"parameter": parameter.data, "gradient": g.data}
                check_together(f"{self._name}.step", **both)
            arrays.append(
                None if g is None else g.data.astype(parameter.dtype, copy=False)
            )
        return arrays

    # -- state -------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Options, and what is remembered, as a dict of numbers and arrays.

        ``{"state": {number of a parameter: {name: array or number}}, "param_groups":
        [{option: value, "params": numbers}]}``, as in torch. A snapshot: steps replace
        arrays and never write to them.
        """
        groups, first = [], 0
        for group in self.param_groups:
            numbers = list(range(first, first + len(group["params"])))
            groups.append({**group, "params": numbers})
            first += len(numbers)
        return {
            "state": {number: dict(state) for number, state in self.state.items()},
            "param_groups": groups,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over options and memory, all or nothing.

        Arrays are copied, to the dtypes and devices of the parameters.

        Raises:
            ValueError: it belongs to other parameters or to another kind of optimiser.
        """
        self._prepare_load(state_dict)()

    def _prepare_load(self, state_dict: Mapping[str, Any]) -> Commit:
        """Check everything; return the change, which cannot fail."""
        try:
            saved = list(state_dict["param_groups"])
            memory = {int(k): dict(v) for k, v in state_dict["state"].items()}
            sizes = [len(group["params"]) for group in saved]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{self._name}: this is not the state of an optimiser; pass what "
                f"state_dict() returned ({error!r})"
            ) from None
        own = [len(group["params"]) for group in self.param_groups]
        if sizes != own:
            raise ValueError(
                f"{self._name}: the state has groups of {sizes} parameters, this "
                f"optimiser has groups of {own}"
            )
        options = [self._saved_options(group) for group in saved]
        owners = [
            (p, new)
            for group, new in zip(self.param_groups, options, strict=True)
            for p in group["params"]
        ]
        state = {}
        for number, remembered in memory.items():
            if not 0 <= number < len(owners):
                raise ValueError(f"{self._name}: the state has no parameter {number}")
            state[number] = self._saved_state(number, remembered, *owners[number])

        def commit() -> None:
            self.state = state
            for group, new in zip(self.param_groups, options, strict=True):
                params = group["params"]
                group.clear()
                group.update(new, params=params)

        return commit

    def _saved_options(self, group: Mapping[str, Any]) -> dict[str, Any]:
        options = {k: v for k, v in group.items() if k != "params"}
        if set(options) - {"initial_lr"} != set(self.defaults):
            raise ValueError(
                f"{self._name}: the state has the options {sorted(options)}, needed "
                f"are {sorted(self.defaults)}: it is another kind of optimiser's"
            )
        for name, default in self.defaults.items():
            if isinstance(default, tuple):
                options[name] = tuple(options[name])
        self.check(options)
        return options

    def _saved_state(
        self, number: int, saved: State, parameter: Tensor, options: dict[str, Any]
    ) -> State:
        needed = self.remembered(options)
        if saved and not needed <= set(saved):
            raise ValueError(
                f"{self._name}: the state of parameter {number} has {sorted(saved)}, "
                f"needed are {sorted(needed)}"
            )
        state: State = {}
        for name, value in saved.items():
            if name == "step":
                state[name] = int(value)
                continue
            array = copied(value, parameter)
            if array.shape != parameter.shape:
                raise ValueError(
                    f"{self._name}: {name} of parameter {number} has shape "
                    f"{array.shape}, the parameter {parameter.shape}"
                )
            state[name] = array
        return state

    def __repr__(self) -> str:
        groups = [
            ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            + f": {len(group['params'])} parameters"
            for group in self.param_groups
        ]
        return f"{self._name}(\n  " + "\n  ".join(groups) + "\n)"


def in_range(
    optimizer: str, options: Mapping[str, Any], **least: tuple[float, float]
) -> None:
    """Raise ValueError unless each option is a number in [low, high)."""
    for name, (low, high) in least.items():
        value = options[name]
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not low <= value < high:
            raise ValueError(
                f"{optimizer}: {name} must be a number in [{low}, {high}), got "
                f"{value!r}"
            )


def plain(option: Any) -> Any:
    """A NumPy number as Python's, which does not turn float32 arrays into float64."""
    if isinstance(option, tuple):
        return tuple(plain(part) for part in option)
    return option.item() if isinstance(option, np.generic) else option
