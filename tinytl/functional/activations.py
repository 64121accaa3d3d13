r"""Activations, element by element, and softmax.

The derivative of each is written through functions of x that are themselves accurate
everywhere, so that higher derivatives are too: sigmoid' as sigmoid(x) * sigmoid(-x),
not s * (1 - s), which is 0 in float32 from x = 17 on, where the true value is 4e-8.
"""

from tinytl_kernels import kernels_for

from ..graph import is_grad_enabled
from ..operators import Operand
from ..tensor import Tensor, record
from .basic import keep, ufunc, where
from .promote import floating, number, same_dtype, to
from .reduce import sum
from .shape import axis, reshape


def step(input: Operand) -> Tensor:
    """The perceptron's threshold: 1 if x > 0, else 0 (0 at exactly 0).

    Backward. 0 everywhere: nothing to learn from, which is why it was replaced.
    Source: McCulloch & Pitts 1943; Rosenblatt 1958.
    """
    x = floating("step", "input", input)
    return record((x.data > 0).astype(x.dtype), (x, lambda g: g * 0))


def relu(input: Operand) -> Tensor:
    """y = max(0, x).

    Backward. gy where x > 0, else 0 (0 at exactly 0).
    Source: Nair & Hinton 2010.
    """
    x = floating("relu", "input", input)
    value, on = kernels_for(x.data).ramp(x.data, None)
    return record(value, (x, lambda g: keep(g, on)))


def leaky_relu(input: Operand, negative_slope: float = 0.01) -> Tensor:
    """y = x if x > 0, else negative_slope * x.

    Backward. gy, or negative_slope * gy (also at exactly 0).
    Source: Maas et al. 2013.
    """
    x = floating("leaky_relu", "input", input)
    number("leaky_relu", "negative_slope", negative_slope)
    return _leaky_relu(x, x, negative_slope)


def _leaky_relu(g: Tensor, x: Tensor, slope: float) -> Tensor:
    """g where x > 0, else slope * g: for g = x the value, and the gradient for gy."""
    value = kernels_for(x.data).bend(g.data, x.data, slope)
    return record(value, (g, lambda a: _leaky_relu(a, x, slope)))


def prelu(input: Operand, weight: Operand) -> Tensor:
    """y = x if x > 0, else a * x, with a slope a that is learned.

    Args:
        input: (N, C, ...), or any shape with a single slope.
        weight: (1,) or one number: one slope for all; or (C,): one a channel.

    Backward. gx = gy or a * gy; ga = sum of gy * x over the places where x <= 0.
    Source: He et al. 2015, eq. 1.

    Raises:
        ValueError: the number of slopes is neither 1 nor C.
    """
    x, a = floating("prelu", "input", input), floating("prelu", "weight", weight)
    same_dtype("prelu", input=x, weight=a)
    channels = x.shape[1] if x.ndim > 1 else 1
    if a.ndim > 1 or (a.numel() != 1 and a.numel() != channels):
        raise ValueError(
            f"prelu: weight must hold 1 slope, or one for each of the {channels} "
            f"channels of an input of shape {x.shape}; got shape {a.shape}"
        )
    slope = reshape(a, (1, -1, *(1,) * (x.ndim - 2)) if a.numel() > 1 else ())
    on = x.data > 0
    return keep(x, on) + keep(slope * x, ~on)  # choosing number by number is slow


def relu6(input: Operand) -> Tensor:
    """y = min(max(x, 0), 6).

    Backward. gy where 0 < x < 6, else 0. At exactly 0 and 6 the gradient is 0, as in
    torch; clamp(x, 0, 6) has gradient 1 there.
    Source: Krizhevsky 2010.
    """
    x = floating("relu6", "input", input)
    value, on = kernels_for(x.data).ramp(x.data, 6.0)
    return record(value, (x, lambda g: keep(g, on)))


def softplus(input: Operand, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    r"""Smooth ReLU, element by element; x and y share any one shape.

        y = log(1 + exp(b)) / beta                     with b = beta * x
          = (max(b, 0) + log(1 + exp(-|b|))) / beta    <- computed: exp(b) overflows
                                                       float32 above 88, exp(-|b|) never
        y = x where b > threshold, as in torch: there it differs from the formula
            by less than exp(-threshold) / beta

    Backward. dy/dx = sigmoid(b), so gx = gy * sigmoid(beta * x); gy where b >
    threshold.
    Source: Dugas et al. 2001.
    """
    x = floating("softplus", "input", input)
    number("softplus", "beta", beta)
    number("softplus", "threshold", threshold)
    value = kernels_for(x.data).softplus(x.data, beta, threshold)
    return record(value, (x, lambda g: _softplus_dx(g, x, beta, threshold)))


def _softplus_dx(g: Tensor, x: Tensor, beta: float, threshold: float) -> Tensor:
    if is_grad_enabled():
        straight = x.data * beta > threshold
        return where(straight, g, g * sigmoid(beta * x))
    return Tensor(kernels_for(x.data).softplus_dx(g.data, x.data, beta, threshold))


def sigmoid(input: Operand) -> Tensor:
    """y = 1 / (1 + exp(-x)), between 0 and 1.

    Computed with exp(-|x|), which cannot overflow.
    Backward. gx = gy * sigmoid(x) * sigmoid(-x), at most gy / 4.
    """
    x = floating("sigmoid", "input", input)
    value = kernels_for(x.data).sigmoid(x.data)
    return record(value, (x, lambda g: _sigmoid_dx(g, x)))


def _sigmoid_dx(g: Tensor, x: Tensor) -> Tensor:
    """gx = g * sigmoid(x) * sigmoid(-x), recorded or not the same to the last bit.

    Backward. The same of a for g; and for x, as sigmoid(x) * sigmoid(-x) has the slope
    sigmoid(x) * sigmoid(-x) * (sigmoid(-x) - sigmoid(x)), that times a * g.
    """
    return record(
        kernels_for(x.data).sigmoid_dx(g.data, x.data),
        (g, lambda a: _sigmoid_dx(a, x)),
        (x, lambda a: _sigmoid_dx(a * g, x) * (sigmoid(-x) - sigmoid(x))),
    )


def tanh(input: Operand) -> Tensor:
    """y = tanh(x), between -1 and 1.

    Backward. gx = gy * (1 - tanh(x)^2), at most gy, and gy at 0. Computed as
    4 e / (1 + e)^2 with e = exp(-2 |x|): 1 - tanh(x)^2 is 0 in float32 from x = 9 on.
    """
    x = floating("tanh", "input", input)
    return record(ufunc("tanh", x.data), (x, lambda g: _tanh_dx(g, x)))


def _tanh_dx(g: Tensor, x: Tensor) -> Tensor:
    """gx = g * (1 - tanh(x)^2).

    Backward. The same of a for g; and for x, as the slope of 1 - tanh(x)^2 is
    -2 tanh(x) (1 - tanh(x)^2), that times a * g.
    """
    return record(
        kernels_for(x.data).tanh_dx(g.data, x.data),
        (g, lambda a: _tanh_dx(a, x)),
        (x, lambda a: -2 * _tanh_dx(a * g, x) * tanh(x)),
    )


def hardsigmoid(input: Operand) -> Tensor:
    """y = relu6(x + 3) / 6: the sigmoid in straight lines.

    Backward. gy / 6 where -3 < x < 3, else 0.
    Source: Howard et al. 2019 (MobileNetV3), section 5.2.
    """
    x = floating("hardsigmoid", "input", input)
    value = kernels_for(x.data).hardsigmoid(x.data)
    return record(value, (x, lambda g: _hardsigmoid_dx(g, x)))


def _hardsigmoid_dx(g: Tensor, x: Tensor) -> Tensor:
    value = kernels_for(x.data).hardsigmoid_dx(g.data, x.data)
    return record(value, (g, lambda a: _hardsigmoid_dx(a, x)))


def hardswish(input: Operand) -> Tensor:
    """y = x * relu6(x + 3) / 6.

    Backward. 0 for x <= -3; gy * (x / 3 + 1 / 2) between; gy for x >= 3 (at exactly
    -3 and 3 the outer pieces hold, as in torch).
    Source: Howard et al. 2019 (MobileNetV3), section 5.2.
    """
    x = floating("hardswish", "input", input)
    value = kernels_for(x.data).hardswish(x.data)
    return record(value, (x, lambda g: _hardswish_dx(g, x)))


def _hardswish_dx(g: Tensor, x: Tensor) -> Tensor:
    """Backward. The same for g; for x the second derivative, 1 / 3 where -3 < x < 3."""
    value = kernels_for(x.data).hardswish_dx(g.data, x.data)
    return record(
        value,
        (g, lambda a: _hardswish_dx(a, x)),
        (x, lambda a: _hardsigmoid_dx(2 * a * g, x)),
    )


def softmax(
    input: Operand, dim: int | None = None, *, dtype: type | None = None
) -> Tensor:
    """y = exp(x) / sum of exp(x) along `dim`: positive, adding up to 1.

    Computed with x - max(x), which changes nothing and cannot overflow.
    Backward. gx = y * (gy - sum of gy * y).
    """
    x, k = _along("softmax", input, dim, dtype)
    value = kernels_for(x.data).softmax(x.data, k)
    return record(value, (x, lambda g: _softmax_dx(g, x, k)))


def _softmax_dx(g: Tensor, x: Tensor, k: int) -> Tensor:
    """gx = J g, where the matrix J = diag(y) - y y^T is its own transpose.

    Backward. With <a> = sum of a * y: J a for g, and for x
    J (a * g - a * <g> - g * <a>).
    """
    value = kernels_for(x.data).softmax_dx(g.data, x.data, k)

    def to_x(a: Tensor) -> Tensor:
        y = softmax(x, k)
        means = [sum(b * y, k, keepdim=True) for b in (g, a)]
        return _softmax_dx(a * g - a * means[0] - g * means[1], x, k)

    return record(value, (g, lambda a: _softmax_dx(a, x, k)), (x, to_x))


def log_softmax(
    input: Operand, dim: int | None = None, *, dtype: type | None = None
) -> Tensor:
    """y = x - log of sum of exp(x) along `dim`, computed with x - max(x).

    Backward. gx = gy - softmax(x) * sum of gy.
    """
    x, k = _along("log_softmax", input, dim, dtype)
    value = kernels_for(x.data).log_softmax(x.data, k)
    return record(value, (x, lambda g: _log_softmax_dx(g, x, k)))


def _log_softmax_dx(g: Tensor, x: Tensor, k: int) -> Tensor:
    """gx = g - softmax(x) * sum of g.

    Backward. a - sum of a * softmax(x) for g, and for x the gradient of softmax to
    which -a * sum of g has come.
    """
    value = kernels_for(x.data).log_softmax_dx(g.data, x.data, k)
    return record(
        value,
        (g, lambda a: a - sum(a * softmax(x, k), k, keepdim=True)),
        (x, lambda a: _softmax_dx(-a * sum(g, k, keepdim=True), x, k)),
    )


def _along(
    operation: str, input: Operand, dim: int | None, dtype: type | None
) -> tuple[Tensor, int]:
    """The input as floats with a dimension, and that dimension; torch's if None."""
    x = floating(operation, "input", input if dtype is None else to(input, dtype))
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
    return x, axis(operation, dim, x.ndim)
