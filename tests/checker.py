"""A numerical gradient checker in a page: derivatives are what differences tend to."""

import numpy as np

import tinytl


def check_grads(function, inputs, order=1, *, tolerance=1e-7, step=1e-3, seed=0):
    r"""Hold the derivatives of a function, up to an order, against differences.

    Pick v of the shape of y = f(x) and a direction u of the shape of one input x.
    Moving x by h u moves <v, y> by h <gx, u> + O(h^2) if gx is the pullback of v. The
    difference quotient here takes four points,

        (8 (F(h) - F(-h)) - (F(2h) - F(-2h))) / (12 h) = F'(0) + O(h^4),

    so that h can be large enough for rounding not to matter. One random direction
    tells a wrong gradient from a right one with probability 1.

    For order 2, the same is asked of the function (x, v) -> gx, and so on: each order
    tests the derivative of what the order before has found right.

    Args:
        function: takes Tensors, returns a Tensor or several.
        inputs: float64 arrays, no closer than 2h to a kink of the function.
        order: 1, 2, 3...
        tolerance: largest error, relative to the derivative but at least to 1.
        step: h.
        seed: of the random directions.

    Raises:
        AssertionError: it names the order and the input.
    """
    rng = np.random.default_rng(seed)
    inputs = [np.asarray(x, np.float64) for x in inputs]
    _check(function, inputs, order, 1, tolerance, step, rng)


def _check(function, inputs, orders, order, tolerance, step, rng):
    values = _call(function, inputs)
    weights = [rng.standard_normal(y.shape) for y in values]
    count = len(inputs)

    def pullback(*tensors):
        xs, vs = tensors[:count], tensors[count:]
        ys = _listed(function(*xs))
        pairs = [(y, v) for y, v in zip(ys, vs, strict=True) if y.requires_grad]
        found = [None] * count
        if pairs:
            found = tinytl.grad(
                [y for y, _ in pairs],
                list(xs),
                [v for _, v in pairs],
                create_graph=True,
                allow_unused=True,
            )
        return [
            tinytl.Tensor(np.zeros(x.shape)) if g is None else g
            for g, x in zip(found, xs, strict=True)
        ]

    gradients = _call(pullback, inputs + weights)
    for i, (x, gradient) in enumerate(zip(inputs, gradients, strict=True)):
        where = f"order {order}, input {i}"
        assert gradient.shape == x.shape, f"{where}: {gradient.shape} for {x.shape}"
        direction = rng.standard_normal(x.shape)
        direction /= max(1.0, np.linalg.norm(direction))

        def along(h, i=i, x=x, direction=direction):
            moved = [*inputs[:i], x + h * direction, *inputs[i + 1 :]]
            outputs = _call(function, moved)
            return sum(np.vdot(v, y) for v, y in zip(weights, outputs, strict=True))

        near, far = along(step) - along(-step), along(2 * step) - along(-2 * step)
        expected = (8 * near - far) / (12 * step)
        actual = np.vdot(gradient, direction)
        error = abs(actual - expected) / max(1.0, abs(expected))
        assert error <= tolerance, f"{where}: {actual}, differences say {expected}"
    if order < orders:
        _check(pullback, inputs + weights, orders, order + 1, tolerance, step, rng)


def _call(function, arrays):
    """Values of the outputs as float64 arrays."""
    tensors = [tinytl.Tensor(a, requires_grad=True) for a in arrays]
    return [y.numpy() for y in _listed(function(*tensors))]


def _listed(outputs):
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]
