"""Checkpoints: model, optimiser, schedule and randomness in one file.

Arrays are kept as arrays, everything else (options, epochs, states of generators) as
JSON in the metadata. Python writes floats in JSON so that they come back bit by bit.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tinytl_kernels import Array

from ..nn import Module
from ..optim import LRScheduler, Optimizer
from .weights import CHECKPOINT, read, write

Generators = np.random.Generator | Mapping[str, np.random.Generator] | None
Optimizers = Optimizer | Mapping[str, Optimizer] | None
Commit = Callable[[], None]


def save_checkpoint(
    path: str | os.PathLike[str],
    *,
    model: Module | None = None,
    optimizer: Optimizers = None,
    scheduler: LRScheduler | None = None,
    generator: Generators = None,
    extra: Any = None,
) -> None:
    """Write all that training needs to go on as if it had never stopped.

    Args:
        path: the file; an existing one is replaced at once, or not at all.
        model: its parameters and buffers, and the generators of its dropout layers.
        optimizer: its options and what it remembers; one, or several by name.
        scheduler: its epoch and settings.
        generator: sources of randomness of the training: one, or several by name.
        extra: anything made of dicts, lists, text and numbers, such as the epoch.

    Raises:
        TypeError: `extra` is made of something else.
        FileNotFoundError: the folder does not exist.
        ImportError: safetensors is not installed.
    """
    arrays: dict[str, Any] = {}
    document: dict[str, Any] = {"extra": extra}
    if model is not None:
        state = model.state_dict()
        arrays.update({f"model.{name}": value for name, value in state.items()})
        document["model"] = type(model).__name__
    document["optimizers"] = {}
    for role, each in _optimizers(optimizer).items():
        saved = each.state_dict()
        numbers: dict[int, dict[str, Any]] = {}
        for k, remembered in saved["state"].items():
            numbers[k] = {n: v for n, v in remembered.items() if isinstance(v, int)}
            kept = {n: v for n, v in remembered.items() if n not in numbers[k]}
            arrays.update({f"{role}.{k}.{n}": v for n, v in kept.items()})
        own = {"kind": type(each).__name__, **saved, "state": numbers}
        document["optimizers"][role] = own
    if scheduler is not None:
        document["scheduler"] = type(scheduler).__name__
        document["schedule"] = scheduler.state_dict()
    found = _generators(model, generator)
    document["generators"] = {k: g.bit_generator.state for k, g in found.items()}
    try:
        text = json.dumps(document, default=_plain)
    except (TypeError, ValueError) as error:
        raise TypeError(
            "save_checkpoint: extra must be made of dicts, lists, text and numbers: "
            f"{error}"
        ) from None
    write(arrays, path, {CHECKPOINT: text})


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    model: Module | None = None,
    optimizer: Optimizers = None,
    scheduler: LRScheduler | None = None,
    generator: Generators = None,
    strict: bool = True,
) -> Any:
    """Restore what is given from a checkpoint, in place: all of it, or nothing.

    What is not given is left in the file: the weights alone are had with ``model``.

    Args:
        path: a file that ``save_checkpoint`` wrote.
        model: as in ``save_checkpoint``, likewise all others.
        optimizer: made with parameters in the same order; under the same names.
        scheduler: made with that optimiser.
        generator: one, or several under the same names.
        strict: demand that the model's names and shapes agree, and that the file knows
            the generators of its dropout layers.

    Returns:
        The `extra` given when it was saved, with tuples as lists and keys as text.

    Raises:
        ValueError: the file is damaged or no checkpoint, or it does not fit; the
            message says what does not. Nothing has changed then.
        FileNotFoundError: there is no such file.
        ImportError: safetensors is not installed.
    """
    arrays, text = read(path)
    if CHECKPOINT not in text:
        raise ValueError(f"{path} holds weights, but no checkpoint; use load()")
    commits: list[Commit] = []
    try:
        document = json.loads(text[CHECKPOINT])
        extra = document["extra"]
        if model is not None:
            commits.append(_model(document, arrays, model, strict))
        for role, each in _optimizers(optimizer).items():
            commits.append(_optimizer(document, arrays, role, each))
        if scheduler is not None:
            _same_kind("scheduler", document.get("scheduler"), scheduler)
            commits.append(scheduler._prepare_load(document["schedule"]))
        wanted = _generators(model, generator)
        for name, target in wanted.items():
            if name in document["generators"]:
                commits.append(_restored(target, document["generators"][name]))
            elif strict or not name.startswith("model."):
                raise ValueError(
                    f"it has no generator {name!r}, but {list(document['generators'])}"
                )
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{path}: damaged or foreign checkpoint: {error!r}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}\nNothing was changed.") from None
    for commit in commits:
        commit()
    return extra


def _model(
    document: Any, arrays: dict[str, Array], model: Module, strict: bool
) -> Commit:
    if "model" not in document:
        raise ValueError("it holds no model")
    prefix = "model."
    state = {
        k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)
    }
    return model._prepare_load(state, strict)[1]


def _optimizers(given: Optimizers) -> dict[str, Optimizer]:
    """All optimisers by the name that they have in the file."""
    if isinstance(given, Mapping):
        return {f"optimizer.{name}": each for name, each in given.items()}
    return {} if given is None else {"optimizer": given}


def _optimizer(
    document: Any, arrays: dict[str, Array], role: str, optimizer: Optimizer
) -> Commit:
    saved = document["optimizers"].get(role, {})
    _same_kind(role, saved.get("kind"), optimizer)
    state = {int(k): dict(v) for k, v in saved["state"].items()}
    for name, array in arrays.items():
        if name.startswith(f"{role}."):
            number, key = name.removeprefix(f"{role}.").split(".")
            state.setdefault(int(number), {})[key] = array
    return optimizer._prepare_load({**saved, "state": state})


def _same_kind(role: str, kind: Any, target: Any) -> None:
    if kind != type(target).__name__:
        raise ValueError(f"its {role} is {kind}, not {type(target).__name__}")


def _generators(
    model: Module | None, generator: Generators
) -> dict[str, np.random.Generator]:
    """All sources of randomness by name: those given, those of layers in the model."""
    found: dict[str, np.random.Generator] = {}
    if isinstance(generator, Mapping):
        found.update({f"generator.{name}": g for name, g in generator.items()})
    elif generator is not None:
        found["generator"] = generator
    for name, module in model.named_modules() if model is not None else ():
        own = vars(module).get("generator")
        if isinstance(own, np.random.Generator):
            found[f"model.{name}"] = own
    return found


def _restored(generator: np.random.Generator, state: dict[str, Any]) -> Commit:
    bits = generator.bit_generator
    type(bits)(0).state = state  # a trial: raises if the state is not one of this kind

    def commit() -> None:
        bits.state = state

    return commit


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's, for JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is none of these")
