r"""Derivatives along a direction: Jacobian times vector, Hessian times vector.

Reverse mode gives products with the transposed Jacobian, c -> J'c (J = dy/dx): that is
what ``grad(y, x, grad_outputs=c)`` is. Forward mode gives J q (``tinytl.forward``).
"""

from collections.abc import Sequence

from ..forward import pushed
from ..graph import enable_grad
from ..tensor import Tensor, grad
from .problem import Tensors, zeros, zeros_for_none


def jvp(
    outputs: Tensor | Tensors,
    inputs: Tensor | Tensors,
    tangents: Tensor | Tensors,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """J q: how the outputs move when the inputs move along the tangents.

    Args:
        outputs: Tensors computed from the inputs.
        inputs: Tensors with ``requires_grad``.
        tangents: q, one for each input, in its shape.
        create_graph: make the result differentiable.

    Returns:
        One Tensor for each output, in its shape; zeros where it does not depend on
        the inputs.

    Raises:
        ValueError: not one tangent in the shape of each input.
    """
    ys, xs, q = (_listed(x) for x in (outputs, inputs, tangents))
    _check("jvp", "tangent", q, xs)
    return tuple(zeros_for_none(pushed(ys, xs, q, create_graph), ys))


def hvp(
    loss: Tensor,
    parameters: Tensor | Tensors,
    vector: Tensor | Tensors,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """H q, H the Hessian of a loss: the gradient of <grad loss, q>.

    Args:
        loss: a single value.
        parameters: Tensors with ``requires_grad`` that it was computed from.
        vector: q, one for each parameter, in its shape.
        create_graph: make the result differentiable.

    Returns:
        One Tensor for each parameter; zeros where the loss is linear in it or does not
        use it.

    Raises:
        ValueError: not one vector in the shape of each parameter.
    """
    xs, q = _listed(parameters), _listed(vector)
    _check("hvp", "vector", q, xs)
    with enable_grad():
        g = grad(loss, xs, create_graph=True, allow_unused=True)
        return tuple(pulled_back(g, q, xs, create_graph))


def pulled_back(
    g: Sequence[Tensor | None],
    q: Tensors,
    targets: Tensors,
    create_graph: bool = False,
) -> list[Tensor]:
    """Gradient of <g, q>, q constant, by each target; zeros where there is none."""
    pairs = [(x, y) for x, y in zip(g, q, strict=True) if x is not None]
    pairs = [(x, y) for x, y in pairs if x.requires_grad]
    if not pairs:
        return zeros(targets)
    recorded, weights = [x for x, _ in pairs], [y for _, y in pairs]
    found = grad(recorded, targets, weights, create_graph, allow_unused=True)
    return zeros_for_none(found, targets)


def _listed(x: Tensor | Tensors) -> list[Tensor]:
    return [x] if isinstance(x, Tensor) else list(x)


def _check(name: str, kind: str, q: list[Tensor], xs: list[Tensor]) -> None:
    if [x.shape for x in q] != [x.shape for x in xs]:
        raise ValueError(
            f"{name}: needs one {kind} in the shape of each input, "
            f"{[x.shape for x in xs]}, got {[x.shape for x in q]}"
        )
