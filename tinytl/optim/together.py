"""Small parameters take a step together, side by side in one array.

A network has hundreds of biases, scales and small filters, and a step for one of them
is over before the call for it has begun. SGD and Adam compute each number from its own
gradient and its own past, so parameters that lie side by side take the same step, bit
by bit, and one call serves them all.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tinytl_kernels import Array, namespace
from tinytl_kernels.devices import device_type, is_array

SMALL = 1 << 16  # numbers; to copy more takes longer than a call

State = dict[str, Any]  # what an optimiser remembers of one parameter
Job = tuple[int, Array, Array, State]  # number of a parameter, it, its gradient, state
Step = Callable[[Array, Array, State], tuple[Array, State]]


def each(jobs: Sequence[Job], step: Step) -> Iterator[tuple[int, Array, State]]:
    """What ``step(parameter, gradient, state)`` makes of each job, with its number."""
    for number, *job in jobs:
        yield number, *step(*job)


def together(jobs: Sequence[Job], step: Step) -> Iterator[tuple[int, Array, State]]:
    """The same, in as few calls as possible."""
    for batch in _alike(jobs):
        if len(batch) == 1:
            yield from each(batch, step)
        else:
            yield from _apart(batch, *step(*_joined(batch)))


def _alike(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs that are one: small, of one dtype and device, and with a like past."""
    alike: dict[Any, list[Job]] = {}
    for job in jobs:
        _, parameter, _, state = job
        if parameter.size > SMALL:
            yield [job]
            continue
        past = tuple((k, None if is_array(v) else v) for k, v in state.items())
        kind = device_type(parameter), parameter.dtype, past
        alike.setdefault(kind, []).append(job)
    yield from alike.values()


def _joined(batch: list[Job]) -> tuple[Array, Array, State]:
    """Parameters, gradients and what is remembered, each as one flat array."""
    xp = namespace(batch[0][1])
    _, parameters, gradients, states = zip(*batch, strict=True)

    def flat(arrays: Sequence[Array]) -> Array:
        return xp.concatenate([a.reshape(-1) for a in arrays])

    state = {
        name: flat([s[name] for s in states]) if is_array(value) else value
        for name, value in states[0].items()
    }
    return flat(parameters), flat(gradients), state


def _apart(
    batch: list[Job], values: Array, state: State
) -> Iterator[tuple[int, Array, State]]:
    """Each parameter's part of the flat results."""
    first = 0
    for number, parameter, *_ in batch:
        part, shape = slice(first, first + parameter.size), parameter.shape
        own = {
            k: v[part].reshape(shape) if is_array(v) else v for k, v in state.items()
        }
        yield number, values[part].reshape(shape), own
        first = part.stop
