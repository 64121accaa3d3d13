r"""Forward mode: how results move when what they were computed from moves.

Let every input x_k of a computation move along its *tangent* t_k, at the speed 1. Then
a value y = f(x_1, x_2, ...) moves along

    t = sum over k of J_k t_k,    J_k = df/dx_k,

so one walk through the graph, from the inputs to the results, carries tangents on as
the walk of ``graph.py`` carries gradients back. Where tangents meet they are added.

A pullback is J_k', the transpose. An edge may bring J_k too, its *push*: that is the
operation itself, where it is linear in the input. Where there is none, it comes from
the pullback. u = J_k' c is a linear function of c, and the transpose of a linear
function is its own pullback:

    d<J_k' c, t>/dc = J_k t.

The value of c plays no part; zeros do. So a push is a saving of one pullback, no more:
without it the result is the same.

What it is good for. J t costs about two evaluations, whatever the number of results; a
gradient costs about two, whatever the number of inputs.

Source: Wengert 1964 for the walk; Griewank & Walther 2008, chapter 3, for the rest.
"""

from collections import Counter
from collections.abc import Sequence

from tinytl_kernels import namespace

from .graph import Node, Pullback, ancestors, enable_grad, operation_name, recording
from .pending import Pending, arrived, settled
from .tensor import Tensor, grad


def pushed(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    tangents: Sequence[Tensor],
    create_graph: bool = False,
) -> list[Tensor | None]:
    """The tangent of every output, None where it depends on no input.

    Args:
        outputs: Tensors computed from the inputs.
        inputs: Tensors with ``requires_grad``.
        tangents: one for each input, in its shape.
        create_graph: record the walk itself, so that it can be differentiated.

    Raises:
        ValueError: a push returned another shape than its operation's.
    """
    moved: dict[Node, Tensor | Pending] = {}
    for x, t in zip(inputs, tangents, strict=True):
        if x.node is not None:
            _arrive(moved, x.node, t)
    ends = {y.node for y in outputs if y.node is not None}
    order = ancestors(ends)
    users = Counter(edge[0] for node in order for edge in node.edges)
    with recording(create_graph):
        for node in order:
            for parent, pullback, *push in node.edges:
                users[parent] -= 1
                done = not users[parent] and parent not in ends
                if parent not in moved:
                    continue
                t = settled(moved.pop(parent))
                if not done:
                    moved[parent] = t
                if push:
                    there = push[0](t)
                else:
                    there = transposed(pullback, t, node.shape, create_graph)
                if there is not None:
                    _check(there, node, pullback)
                    _arrive(moved, node, there)
    return [None if y.node is None else settled(moved.get(y.node)) for y in outputs]


def transposed(
    pullback: Pullback, t: Tensor, shape: tuple[int, ...], create_graph: bool = False
) -> Tensor | None:
    """J t from c -> J' c, for an output of this shape; None if that does not use c."""
    with enable_grad():
        c = Tensor(namespace(t.data).zeros(shape, t.dtype), requires_grad=True)
        u = pullback(c)
        if not u.requires_grad:
            return None
        (found,) = grad(u, [c], [t], create_graph, allow_unused=True)
    return found


def _arrive(moved: dict[Node, Tensor | Pending], node: Node, t: Tensor) -> None:
    moved[node] = arrived(moved.pop(node, None), t)


def _check(t: Tensor, node: Node, pullback: Pullback) -> None:
    if t.shape != node.shape:
        raise ValueError(
            f"the push of {operation_name(pullback)} returned a tangent of shape "
            f"{t.shape} for a result of shape {node.shape}"
        )
