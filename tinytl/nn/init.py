r"""Initial values: how large random weights must be, and why.

Every function replaces the values of a Tensor and returns the Tensor. Random numbers
are drawn in float64 and rounded to the Tensor's dtype, so that one seed gives the same
weights in float32 and float64, up to that rounding.

The argument
------------
One output of a linear or convolutional layer is a sum of M products,

    y = w_1 x_1 + ... + w_M x_M,      M = fan-in: connections that arrive at one output.

Let the weights be independent, with mean 0 and variance V, and independent of the x.
Variances of independent terms add up, and Var[w x] = V E[x^2] when w has mean 0:

    Var[y] = M V E[x^2].

So M V decides whether a signal grows or fades on its way through the layers, by that
factor at each of them, hence exponentially with depth. Backwards the same holds for
gradients with N, the fan-out: the number of outputs that one input takes part in.

*A linear layer* (or tanh near 0) keeps the variance if M V = 1. With *ReLU* between
the layers, x = max(0, z), and z is symmetric around 0: half of its second moment is cut
off, E[x^2] = Var[z] / 2, which asks for M V = 2. With leaky ReLU of slope a the other
half returns times a^2: M V = 2 / (1 + a^2).

Uniform or normal is a matter of taste: only the variance enters. The uniform
distribution on [-b, b] has the variance b^2 / 3, so its bound is not the standard
deviation but b = sqrt(3) * std.

He et al. 2015: K. He, X. Zhang, S. Ren, J. Sun, Delving Deep into Rectifiers, ICCV,
arXiv 1502.01852. Glorot & Bengio 2010: Understanding the difficulty of training deep
feedforward neural networks, AISTATS.
"""

import math
from typing import Any

import numpy as np

from ..tensor import FLOATS, Tensor, copied

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "sigmoid")


def fans(tensor: Tensor) -> tuple[int, int]:
    """Fan-in M and fan-out N of a weight of shape (F, C, U, V, ...) or (F, C).

    M = C * U * V: an output is a sum over C channels and U * V places. N = F * U * V:
    an input is seen by F filters, under each of their U * V weights as the window
    slides over it (with stride 1 and away from the border; a stride s leaves about
    1 / s^2). With groups, C is the channels of one group, so that M is right; N is too
    large by the number of groups, here as in torch.

    Raises:
        ValueError: fewer than two dimensions.
    """
    if tensor.ndim < 2:
        raise ValueError(
            "fan-in and fan-out need a weight with at least two dimensions "
            f"(outputs, inputs, ...), got shape {tensor.shape}; use normal_, uniform_ "
            "or constant_ for biases"
        )
    places = math.prod(tensor.shape[2:])
    return tensor.shape[1] * places, tensor.shape[0] * places


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Gain g for which the weight variance g^2 / M keeps the size of a signal.

    linear, conv*, sigmoid: 1. relu: sqrt(2). leaky_relu: sqrt(2 / (1 + param^2)), slope
    0.01 unless told. tanh: 5/3. selu: 3/4. Those of relu and leaky_relu are derived
    above; those of sigmoid, tanh and selu are torch's recommendations.

    Raises:
        ValueError: the name is none of these, or the slope is not a number.
    """
    if nonlinearity in _LINEAR:
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "selu":
        return 3.0 / 4
    if nonlinearity != "leaky_relu":
        raise ValueError(
            f"calculate_gain: no gain is known for {nonlinearity!r}; known are "
            f"{(*_LINEAR, 'tanh', 'relu', 'leaky_relu', 'selu')}"
        )
    slope = 0.01 if param is None else param
    if isinstance(slope, bool) or not isinstance(slope, int | float):
        raise ValueError(f"calculate_gain: the slope must be a number, got {slope!r}")
    return math.sqrt(2.0 / (1 + slope**2))


# -- He --------------------------------------------------------------------------------


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: np.random.Generator | None = None,
) -> Tensor:
    r"""He's initialisation: weights from N(0, std^2), std = gain / sqrt(fan).

    For ReLU (a = 0) std = sqrt(2 / M). The argument: Var[y] = M V E[x^2], and ReLU
    leaves E[x^2] = Var[z] / 2 of the layer before, so the variance passes unchanged if
    M V / 2 = 1. The 2 makes up for the half that ReLU cuts off.

    With mode="fan_out" N takes the place of M, and the same holds for the gradients on
    their way back. One of the two is enough: with M V / 2 = 1 gradients change by N / M
    at each layer, and these factors mostly cancel along the network.

    Args:
        tensor: weight (F, C, ...); M = C * U * V, N = F * U * V, see ``fans``.
        a: slope of the leaky ReLU that follows, 0 for ReLU.
        mode: "fan_in" or "fan_out".
        nonlinearity: what follows, for ``calculate_gain``.
        generator: source of randomness; None for fresh entropy.

    Raises:
        ValueError: fewer than two dimensions, or mode or nonlinearity are unknown.

    Source: He et al. 2015, eq. 10 (fan-in), eq. 14 (fan-out), eq. 15 (slope a).
    sqrt(2 / M) is the *standard deviation of a normal distribution*. It is sometimes
    taught as a bound, "normal in the interval [-eps, eps] with eps = sqrt(2 / M)". A
    normal distribution has no bound, and a uniform one with this bound has only a third
    of the variance; ``kaiming_uniform_`` has the right one.
    """
    std = _he_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: np.random.Generator | None = None,
) -> Tensor:
    r"""He's initialisation: weights from U(-bound, bound), bound = gain sqrt(3 / fan).

    For ReLU bound = sqrt(6 / M). The argument is that of ``kaiming_normal_``: only the
    variance matters, and it must be 2 / M. The variance of U(-b, b) is b^2 / 3, so
    b = sqrt(3) * std = sqrt(3) * sqrt(2 / M) = sqrt(6 / M), and not sqrt(2 / M).

    Arguments, errors and source: as in ``kaiming_normal_``. The paper draws from a
    normal distribution; the uniform form with the same variance is torch's.
    """
    std = _he_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def _he_std(
    caller: str, tensor: Tensor, a: float, mode: str, nonlinearity: str
) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{caller}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan_in, fan_out = fans(tensor)
    fan = fan_in if mode == "fan_in" else fan_out
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


# -- Glorot ----------------------------------------------------------------------------


def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, generator: np.random.Generator | None = None
) -> Tensor:
    r"""Glorot's initialisation: N(0, std^2), std = gain * sqrt(2 / (M + N)).

    The argument is for layers that are linear near 0, like tanh. Signals keep their
    variance if M V = 1, gradients if N V = 1. Both hold only if M = N; the compromise
    V = 2 / (M + N) makes the mean of M V and N V equal to 1.

    Args:
        tensor: weight (F, C, ...).
        gain: factor for the standard deviation, see ``calculate_gain``.
        generator: source of randomness; None for fresh entropy.

    Raises:
        ValueError: fewer than two dimensions.

    Source: Glorot & Bengio 2010, eq. 10 (signals), eq. 11 (gradients), eq. 12 (the
    compromise). M is the fan-in and N the fan-out; where a text calls M "the number of
    output connections", it means N.
    """
    std = gain * math.sqrt(2.0 / max(sum(fans(tensor)), 1))
    return normal_(tensor, 0.0, std, generator)


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: np.random.Generator | None = None
) -> Tensor:
    r"""Glorot's initialisation: U(-bound, bound), bound = gain * sqrt(6 / (M + N)).

    The variance 2 / (M + N) of ``xavier_normal_``, times 3, under the root: U(-b, b)
    has the variance b^2 / 3.

    Arguments and errors: as in ``xavier_normal_``. Source: Glorot & Bengio 2010, eq. 16
    ("normalized initialization").
    """
    bound = gain * math.sqrt(6.0 / max(sum(fans(tensor)), 1))
    return uniform_(tensor, -bound, bound, generator)


# -- equal filters ---------------------------------------------------------------------


def identical_filters_(
    tensor: Tensor,
    value: float | None = None,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Make all filters of a layer equal, to show why initial weights must be random.

    One kernel (U, V) is drawn from N(0, 2 / M), He's variance, and copied to every
    output *and every input channel*; or all weights are `value`.

    What follows. Units with equal weights and biases compute equal outputs. They stay
    equal in training if they also get equal gradients, which needs equal weights on the
    way out: hence the copies over input channels, which are the previous layer's units.
    So in a stack of such layers all filters of a layer stay equal for ever, except in
    the last one if the head on top of it is random: its filters get different
    gradients.

    (Equal up to rounding: a matrix product works in blocks and may add up equal rows in
    different orders. NumPy's does so in float32 more often than in float64.)

    The sum over M equal products is far larger than a sum of M independent ones, so the
    variance argument does not hold here; use a low rate.

    Args:
        tensor: weight (F, C, ...), at least two dimensions.
        value: number for all weights instead of a drawn kernel; 1 for "all ones".
        generator: source of randomness; None for fresh entropy.

    Raises:
        ValueError: fewer than two dimensions.
    """
    fan_in, _ = fans(tensor)
    if value is not None:
        return constant_(tensor, value)
    rng = np.random.default_rng() if generator is None else generator
    kernel = rng.normal(0.0, math.sqrt(2.0 / max(fan_in, 1)), tensor.shape[2:])
    return _replace(tensor, np.broadcast_to(kernel, tensor.shape))


# -- plain distributions and constants -------------------------------------------------


def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Values from the normal distribution N(mean, std^2).

    Raises:
        ValueError: std is negative.
    """
    if not std >= 0:
        raise ValueError(f"normal_: std must not be negative, got {std}")
    rng = np.random.default_rng() if generator is None else generator
    return _replace(tensor, rng.normal(mean, std, tensor.shape))


def uniform_(
    tensor: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Values from the uniform distribution U(a, b); mean (a+b)/2, variance (b-a)^2/12.

    Raises:
        ValueError: a > b.
    """
    if not a <= b:
        raise ValueError(f"uniform_: needs a <= b, got a = {a} and b = {b}")
    rng = np.random.default_rng() if generator is None else generator
    return _replace(tensor, rng.uniform(a, b, tensor.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """All values equal to `val`."""
    return _replace(tensor, np.full(tensor.shape, val))


def zeros_(tensor: Tensor) -> Tensor:
    """All values 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """All values 1."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity: 1 on the diagonal of a matrix, 0 elsewhere.

    Raises:
        ValueError: it is not a matrix.
    """
    if tensor.ndim != 2:
        raise ValueError(f"eye_: needs a matrix, got shape {tensor.shape}")
    return _replace(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def _replace(tensor: Tensor, values: Any) -> Tensor:
    """Give the Tensor a new array of its own dtype with these values."""
    if tensor.dtype not in FLOATS:
        raise TypeError(f"init: needs a floating Tensor, got {tensor.dtype}")
    tensor.data = copied(values, tensor)  # drawn by NumPy, wherever the Tensor is
    return tensor
