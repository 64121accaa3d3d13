"""A process that computes cells: settings in, numbers out, one line of JSON each.

    python -m tinytl.experiments.worker

reads lines {"experiment": ..., "settings": ...}, and answers each with any number of
lines {"loss": ...}, one a step, and one {"result": ...} or {"error": ...}.

Why processes of their own. NumPy's matrix products can use several threads, which costs
more than it gives for matrices as small as these, and changes the last digits of
results. A library reads the number of threads when it is loaded. So each worker is
started with one thread, and there are as many workers as cores. When the program that
started it is gone, a worker finds its pipe closed and ends.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TextIO

from . import collapse, l2t, transfer
from . import signal as signal_experiment

COMPUTE: dict[str, Callable[..., dict[str, Any]]] = {
    "collapse": collapse.compute,
    "signal": signal_experiment.compute,
    "transfer": transfer.compute,
    "l2t": l2t.compute,
}
LIBRARIES = ("OPENBLAS", "OMP", "MKL", "NUMBA")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in LIBRARIES} | {
    "VECLIB_MAXIMUM_THREADS": "1"
}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer every line of `requests` until there are no more."""

    def say(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    for line in requests:
        request = json.loads(line)
        try:
            result = COMPUTE[request["experiment"]](
                request["settings"], lambda loss: say(loss=loss)
            )
        except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
            say(error=f"{type(error).__name__}: {error}")
        else:
            say(result=result)


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    """A new worker process, to be spoken to by its pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "tinytl.experiments.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**environment, **ONE_THREAD},
    )


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    try:
        serve(sys.stdin, sys.stdout)
    except BrokenPipeError:
        sys.stderr.close()  # nobody is there to be told
