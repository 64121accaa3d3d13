"""Importing it puts the stand-in for CuPy, and the simulator with its checks, in place.

Before anything else that imports CuPy, with NUMBA_ENABLE_CUDASIM=1 and ``tests/cuda``
among the folders of PYTHONPATH; as a plug-in of pytest, too (-p simulated).
"""

import simulator
import standin

standin.install()
simulator.install()
