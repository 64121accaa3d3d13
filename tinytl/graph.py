"""The graph of recorded operations, and the walk that sends gradients back through it.

The graph
---------
Every recorded operation is a Node. A Node knows the Nodes of its inputs and, for each,
a *pullback*: the function that turns the gradient of a loss with respect to the output
into the gradient with respect to that input (the transposed Jacobian, applied to a
vector). Pullbacks are written with operations on Tensors. So a gradient is recorded
like any other value, and derivatives of every order follow from the first. A third part
of the edge, the *push*, may say the same for the other direction (``forward.py``).

A Node holds neither the value nor the Tensor that came out. Nothing points from an
input to an output, so there are no cycles: when the last Tensor that leads to a part of
the graph goes, Python frees that part at once. A pullback must therefore never hold its
own operation's output.

The walk
--------
Gradients arrive at a Node from every place where its value was used, and only their sum
may be sent on. Take ``b = a + a; c = b + b``: b is used twice. A walk that passes on
each arriving gradient separately visits ``a`` four times (and 2**n times in a chain of
n such lines); one that skips what it has visited forgets half of them and returns dc/da
= 2 instead of 4. So a Node waits until all Nodes that use it have been visited: reverse
topological order. Nodes are numbered as they are made, and inputs are made before
outputs; sorting by number *is* a topological order, and needs no recursion.
"""

import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tinytl_kernels import namespace

from .pending import arrived, settled

Pullback = Callable[[Any], Any]  # Tensor -> Tensor
Push = Callable[[Any], Any]  # likewise, for tangents
Edge = tuple[Any, Pullback] | tuple[Any, Pullback, Push]
_numbers = itertools.count()


class _State(threading.local):
    """What a thread does: recording? for one walk? looking for NaN? in which layer?"""

    recording = True
    once = False
    checking = False
    layers: tuple[tuple[str, Any], ...] = ()


state = _State()


class Node:
    """One recorded value: its shape, and an edge (Node, pullback) for each input.

    A leaf, a Tensor made by the user, has no edges and refers weakly to its Tensor,
    where ``backward`` leaves the gradient.
    """

    __slots__ = ("shape", "edges", "number", "leaf", "once", "layer", "__weakref__")

    def __init__(
        self,
        shape: tuple[int, ...],
        edges: tuple[Edge, ...] = (),
        leaf: Any = None,
    ):
        self.shape = shape
        self.edges: tuple[Edge, ...] | Gone = edges
        self.number = next(_numbers)
        self.leaf = None if leaf is None else weakref.ref(leaf)
        self.once = state.once
        self.layer = layer_path() if state.checking else ""


class Forgetful:
    """A Tensor that can let go of its values, see ``recomputed.py``."""

    __slots__ = ()

    def forget(self) -> None:
        """Let go of them."""
        raise NotImplementedError


class Gone:
    """The edges of a Node that was let go: whoever looks for them is told."""

    def __iter__(self) -> Iterator[Any]:
        raise ValueError(
            "this part of the graph was made for one walk (used_once) and is gone; "
            "compute it again, or leave used_once out"
        )


def ancestors(roots: Iterable[Node]) -> list[Node]:
    """All Nodes that `roots` were computed from, themselves included, oldest first."""
    found: set[Node] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend([edge[0] for edge in node.edges])
    return sorted(found, key=lambda node: node.number)


def walk(
    roots: Iterable[tuple[Node, Any]], targets: set[Node], create_graph: bool
) -> dict[Node, Any]:
    """Gradient of sum_k <g_k, root_k> for every target that the roots depend on.

    Args:
        roots: pairs (Node, g): where to start, and the gradient that arrives there.
        targets: Nodes whose gradients are wanted. Only paths that lead to one are
            walked, and a gradient is dropped as soon as it has been passed on.
        create_graph: record the walk itself, so that it can be differentiated.

    Raises:
        ValueError: a pullback returned another shape than its input's; the graph is
            gone (``used_once``); or, inside ``detect_anomaly``, a NaN or an infinity.
    """
    gradients: dict[Node, Any] = {}
    for node, g in roots:
        gradients[node] = gradients[node] + g if node in gradients else g

    order = ancestors(gradients)
    leads = set(targets)
    for node in order:
        if not leads.isdisjoint([edge[0] for edge in node.edges]):
            leads.add(node)

    with recording(create_graph):
        while order:
            node = order.pop()
            if node not in leads:
                continue
            g = settled(gradients.pop(node))
            if node in targets:
                gradients[node] = g
            for edge in node.edges:
                parent = edge[0]
                if parent in leads:
                    gx = _pull(edge[1], g, node, parent)
                    gradients[parent] = arrived(gradients.pop(parent, None), gx)
            if node.once and node.edges and not create_graph:
                node.edges, edge = Gone(), None
            if create_graph and isinstance(g, Forgetful):
                g.forget()
    return {node: gradients[node] for node in targets if node in gradients}


def _pull(pullback: Pullback, g: Any, node: Node, parent: Node) -> Any:
    """The gradient that goes from `node` to `parent`, looked at on its way."""
    checking, state.checking = state.checking, False  # inside: reported here, by name
    try:
        gx = pullback(g)
    finally:
        state.checking = checking
    if gx.shape != parent.shape:
        raise ValueError(
            f"the pullback of {operation_name(pullback)} returned a gradient of shape "
            f"{gx.shape} for an input of shape {parent.shape}"
        )
    if checking:
        what = f"the gradient of {operation_name(pullback)}"
        gx = settled(gx)
        check_finite(gx.data, what, node.layer)
    return gx


def operation_name(pullback: Pullback) -> str:
    """Name of the operation that a pullback was written in: 'softplus'.

    The inner steps of an operation are private functions that begin with its name.
    """
    name = getattr(pullback, "__qualname__", type(pullback).__name__)
    return name.rsplit(".<locals>", 1)[0].rsplit(".", 1)[-1].lstrip("_")


# -- recording or not ------------------------------------------------------------------


@contextmanager
def recording(wanted: bool) -> Iterator[None]:
    """Record operations inside the block, or do not."""
    before, state.recording = state.recording, wanted
    try:
        yield
    finally:
        state.recording = before


def no_grad() -> Any:
    """Context manager or decorator: compute values without recording."""
    return recording(False)


def enable_grad() -> Any:
    """Context manager or decorator: record again, inside a ``no_grad`` block."""
    return recording(True)


@contextmanager
def used_once() -> Iterator[None]:
    """What is recorded inside the block is for one walk, which lets go of it.

    So the memory that only pullbacks hold is free as soon as they have been called, and
    the peak of a walk is lower. A walk that is recorded itself keeps what it walks: the
    walk through its results will let go of both.
    """
    before, state.once = state.once, True
    try:
        yield
    finally:
        state.once = before


def is_grad_enabled() -> bool:
    """Whether this thread records operations now."""
    return state.recording


# -- looking for NaN -------------------------------------------------------------------


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Report the first NaN or infinity, with the operation and the layer that made it.

    Every value and every gradient computed inside the block is checked, which costs a
    pass over memory each, and on a GPU waits for each.

    Raises:
        ValueError: from the operation or the gradient that is not finite.
    """
    with _checking(True):
        yield


@contextmanager
def _checking(wanted: bool) -> Iterator[None]:
    before, state.checking = state.checking, wanted
    try:
        yield
    finally:
        state.checking = before


@contextmanager
def layer(name: str, module: Any) -> Iterator[None]:
    """Say that what is computed inside the block belongs to `module`."""
    before, state.layers = state.layers, (*state.layers, (name, module))
    try:
        yield
    finally:
        state.layers = before


def layer_path() -> str:
    """Where the thread is: 'features.0 (Conv2d)', or '' outside every layer."""
    if not state.layers:
        return ""
    path = ".".join(name for name, _ in state.layers if name)
    return f"{path} ({type(state.layers[-1][1]).__name__})".strip()


def check_finite(array: Any, what: str, where: str) -> None:
    """Raise ValueError if `array` holds a NaN or an infinity."""
    xp = namespace(array)
    if array.dtype.kind == "f" and not xp.isfinite(array).all():
        kinds = "NaN" if xp.isnan(array).any() else "infinity"
        count = int(array.size - xp.isfinite(array).sum())
        place = f" in layer {where}" if where else ""
        raise ValueError(
            f"{what}{place} holds {kinds}: {count} of {array.size} values are not "
            "finite. Look at its inputs: a rate too high, a logarithm or a division "
            "at zero, or data that were not finite to begin with"
        )
