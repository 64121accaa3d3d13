"""The kernel set for CPUs: compiled loops where they win, the plain set elsewhere."""

from ..plain import *  # noqa: F403 - a kernel set is the plain set with improvements
