"""Schedules: the rate as a function of the epoch (or of whatever ``step`` counts).

Each is one formula, ``rate(base, epoch)``, where base is the rate that a group started
with. torch mostly computes the same rates from the ones before; a formula needs no
memory, so that nothing can drift, but for the same reason two schedules on one
optimiser do not multiply: the last one to step wins. Use ``SequentialLR`` or
``LambdaLR`` to combine.
"""

import copy
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .optimizer import Commit, Optimizer


class LRScheduler:
    """Base class: sets the rate of every group, at once and at each ``step()``.

    Args:
        optimizer: whose rates are set. Its present ones are the base, kept in its
            groups as "initial_lr".
        last_epoch: -1 to start; otherwise the epoch before the next, which needs groups
            that have "initial_lr".

    Raises:
        TypeError: `optimizer` is none.
        ValueError: last_epoch is not -1 and a group has no "initial_lr".
    """

    _unsaved: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: needs an Optimizer, got "
                f"{type(optimizer).__name__}"
            )
        for group in optimizer.param_groups:
            if last_epoch != -1 and "initial_lr" not in group:
                raise ValueError(
                    f"{type(self).__name__}: last_epoch={last_epoch} continues a "
                    "schedule, but a group has no 'initial_lr' to continue from"
                )
            group.setdefault("initial_lr", group["lr"])
        self.optimizer = optimizer
        self.last_epoch = last_epoch
        self.step()

    @property
    def base_lrs(self) -> list[float]:
        """Rates that the groups started with."""
        groups = self.optimizer.param_groups
        return [float(group.setdefault("initial_lr", group["lr"])) for group in groups]

    def rate(self, base: float, epoch: int) -> float:
        """Rate in an epoch, counted from 0. Each schedule defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define rate()")

    def rates(self, epoch: int) -> list[float]:
        """Rate of every group in an epoch."""
        return [self.rate(base, epoch) for base in self.base_lrs]

    def step(self) -> None:
        """Go on to the next epoch, after the optimiser's last step in this one."""
        self.last_epoch += 1
        rates = self.rates(self.last_epoch)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        """Rates that are set now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Epoch, base rates and settings: numbers, and lists of them."""
        state = {k: v for k, v in vars(self).items() if k not in self._unsaved}
        return copy.deepcopy({**state, "base_lrs": self.base_lrs})

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the epoch and all settings, all or nothing.

        The rates themselves belong to the optimiser: load its state too.

        Raises:
            ValueError: it belongs to another kind of schedule or of optimiser.
        """
        self._prepare_load(state_dict)()

    def _prepare_load(self, state_dict: Mapping[str, Any]) -> Commit:
        """Check everything; return the change, which cannot fail."""
        own = self.state_dict()
        if not isinstance(state_dict, Mapping) or set(state_dict) != set(own):
            names = (
                sorted(state_dict) if isinstance(state_dict, Mapping) else state_dict
            )
            raise ValueError(
                f"{type(self).__name__}: needs a state with {sorted(own)}, got {names}"
            )
        for name, value in state_dict.items():
            if not _alike(value, own[name]):
                raise ValueError(
                    f"{type(self).__name__}: {name} of the state must be like "
                    f"{own[name]!r}, got {value!r}"
                )
        saved = copy.deepcopy(dict(state_dict))
        rates = saved["base_lrs"]
        if len(rates) != len(own["base_lrs"]):
            raise ValueError(
                f"{type(self).__name__}: the state has {len(rates)} base rates for "
                f"{len(own['base_lrs'])} groups"
            )
        settings = {k: v for k, v in saved.items() if k in vars(self)}

        def commit() -> None:
            vars(self).update(settings)
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["initial_lr"] = rate

        return commit


class StepLR(LRScheduler):
    """base * gamma^floor(epoch / step_size): a drop every step_size epochs.

    Raises:
        ValueError: step_size is not a positive integer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        step_size: int,
        gamma: float = 0.1,
        last_epoch: int = -1,
    ):
        self.step_size = _positive("StepLR", "step_size", step_size)
        self.gamma = float(gamma)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int) -> float:
        """Rate in an epoch."""
        return base * self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """base * gamma^(number of milestones that were reached)."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ):
        self.milestones = sorted(milestones)
        self.gamma = float(gamma)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int) -> float:
        """Rate in an epoch."""
        return base * self.gamma ** bisect_right(self.milestones, epoch)


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) * (1 + cos(pi * epoch / T_max)) / 2.

    Half a wave: slow at first, fastest in the middle, slow at the end; base at epoch 0,
    eta_min at T_max, and up again after that. Source: Loshchilov & Hutter 2017, arXiv
    1608.03983, eq. 5, without the restarts. A formula without the factor base / 2 in
    front would end up with rates between 0 and 1 whatever the base.

    Raises:
        ValueError: T_max is not a positive integer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ):
        self.T_max = _positive("CosineAnnealingLR", "T_max", T_max)
        self.eta_min = float(eta_min)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int) -> float:
        """Rate in an epoch."""
        wave = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return self.eta_min + (base - self.eta_min) * wave


class LinearLR(LRScheduler):
    """base times a factor that goes straight from start to end in total_iters epochs.

    The usual warm-up, with end_factor 1.

    Raises:
        ValueError: start_factor is not in (0, 1], end_factor not in [0, 1], or
            total_iters not a positive integer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(
                "LinearLR: start_factor must be in (0, 1] and end_factor in [0, 1], "
                f"got {start_factor} and {end_factor}"
            )
        self.start_factor = float(start_factor)
        self.end_factor = float(end_factor)
        self.total_iters = _positive("LinearLR", "total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, epoch: int) -> float:
        """Rate in an epoch."""
        done = min(epoch, self.total_iters) / self.total_iters
        factor = self.start_factor + (self.end_factor - self.start_factor) * done
        return base * factor


class LambdaLR(LRScheduler):
    """base * lr_lambda(epoch), with one function, or one for each group.

    The functions are code and are not part of ``state_dict``.

    Raises:
        ValueError: the number of functions is not that of the groups.
    """

    _unsaved = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        groups = len(optimizer.param_groups)
        self.lr_lambdas: list[Callable[[int], float]] = (
            [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        )
        if len(self.lr_lambdas) != groups:
            raise ValueError(
                f"LambdaLR: got {len(self.lr_lambdas)} functions for {groups} groups"
            )
        super().__init__(optimizer, last_epoch)

    def rates(self, epoch: int) -> list[float]:
        """Rate of every group in an epoch."""
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * function(epoch) for base, function in pairs]


class SequentialLR(LRScheduler):
    """Several schedules, one after the other, each counting its own epochs from 0.

    Args:
        optimizer: theirs.
        schedulers: in order. Their settings stay theirs; their own epochs are not used.
        milestones: epochs at which the next one takes over, one fewer than schedules.
        last_epoch: see ``LRScheduler``.

    Raises:
        ValueError: the numbers do not fit, milestones do not rise, or a schedule
            belongs to another optimiser.
    """

    _unsaved = ("optimizer", "_schedulers")

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ):
        self._schedulers = list(schedulers)
        self.milestones = list(milestones)
        if not self._schedulers or len(milestones) != len(self._schedulers) - 1:
            raise ValueError(
                "SequentialLR: needs one milestone fewer than schedules, got "
                f"{len(milestones)} and {len(self._schedulers)}"
            )
        if self.milestones != sorted({m for m in self.milestones if m > 0}):
            raise ValueError(
                f"SequentialLR: milestones must be positive and rise, got {milestones}"
            )
        if any(schedule.optimizer is not optimizer for schedule in self._schedulers):
            raise ValueError(
                "SequentialLR: all schedules must belong to the optimiser given"
            )
        super().__init__(optimizer, last_epoch)

    def rates(self, epoch: int) -> list[float]:
        """Rate of every group in an epoch."""
        k = bisect_right(self.milestones, epoch)
        start = self.milestones[k - 1] if k else 0
        return self._schedulers[k].rates(epoch - start)

    def state_dict(self) -> dict[str, Any]:
        """Epoch, base rates, milestones and the states of the schedules."""
        schedules = [schedule.state_dict() for schedule in self._schedulers]
        return {**super().state_dict(), "schedulers": schedules}

    def _prepare_load(self, state_dict: Mapping[str, Any]) -> Commit:
        commit = super()._prepare_load(state_dict)
        saved = state_dict["schedulers"]
        if len(saved) != len(self._schedulers):
            raise ValueError(
                f"SequentialLR: the state has {len(saved)} schedules, this one "
                f"{len(self._schedulers)}"
            )
        pairs = zip(self._schedulers, saved, strict=True)
        commits = [schedule._prepare_load(state) for schedule, state in pairs]

        def commit_all() -> None:
            for one in (commit, *commits):
                one()

        return commit_all


def _alike(value: Any, example: Any) -> bool:
    """Whether `value` could stand where `example` does: numbers, or lists of them."""
    if isinstance(example, list):
        first = example[0] if example else 0
        return isinstance(value, list) and all(_alike(v, first) for v in value)
    if isinstance(example, float):
        return isinstance(value, float | int)
    return isinstance(value, type(example))


def _positive(schedule: str, name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"{schedule}: {name} must be a positive integer, got {value!r}"
        )
    return value
