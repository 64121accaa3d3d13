"""Numbers as the report writes them."""

from collections.abc import Mapping
from typing import Any

from .statistics import Interval


def percent(share: float) -> str:
    """0.123 as '12.3 %'."""
    return f"{100 * share:.1f} %"


def with_interval(interval: Interval) -> str:
    """A share with its interval as '87.3 ± 0.7 %'."""
    return f"{100 * interval.mean:.1f} ± {100 * interval.half:.1f} %"


def points(interval: Interval) -> str:
    """A difference of shares as '+1.9 ± 1.6', in points."""
    return f"{100 * interval.mean:+.1f} ± {100 * interval.half:.1f}".replace("-", "−")


def short(value: float) -> str:
    """Two digits; '0' only if it is exactly 0."""
    return "0" if value == 0 else f"{value:.2g}"


def power(value: float) -> str:
    """0.00031 as '3.1 · 10⁻⁴', the exponent in HTML."""
    mantissa, exponent = f"{value:.1e}".split("e")
    sign = "−" if int(exponent) < 0 else ""
    return f"{mantissa} · 10<sup>{sign}{abs(int(exponent))}</sup>"


def common(settings: Mapping[str, Any], *leave_out: str) -> dict[str, Any]:
    """The settings that all cells of an experiment share."""
    return {k: v for k, v in settings.items() if k not in ("seed", *leave_out)}
