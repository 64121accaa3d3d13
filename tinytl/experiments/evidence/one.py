"""The process of one run, and the small file that it leaves.

    python -m tinytl.experiments.evidence.one

reads one line of JSON, {"job": ..., "folder": ..., "root": ..., "source_weights": ...},
and says {"epoch": ..., "loss": ..., "accuracy": ...} after each epoch, in the end
{"done": true} or {"error": ...}. It has one thread, as ``experiments.worker`` explains.

What a run keeps while it goes on, its checkpoint and in the end the complete result,
lies in `folder`/unfinished; when the small file is in `folder`, that is deleted.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from tinytl_kernels.memory import keep_pages

from ...persistence import write_atomically
from ...transfer import Epoch
from .. import single
from .plan import CELLS, Job

DIGITS = 5


def unfinished(folder: Path, job: Job) -> Path:
    """The complete result of a run, until the small one is written."""
    return folder / "unfinished" / f"{job.name}.json"


def compute(request: dict[str, Any], answers: TextIO) -> None:
    """Make the run that is asked for, and tell of every epoch."""
    job, folder = Job(**request["job"]), Path(request["folder"])
    place = unfinished(folder, job)
    place.parent.mkdir(parents=True, exist_ok=True)
    began = [time.process_time(), 0]

    def tick(epoch: Epoch) -> None:
        began[1] += 1
        say(answers, epoch=epoch.number, loss=epoch.loss, accuracy=epoch.accuracy)

    document = single.run(
        job.task(request["root"], request["source_weights"]),
        job.settings(),
        place,
        every=CELLS[job.cell].every,
        progress=False,
        tick=tick,
    )
    seconds = (time.process_time() - began[0]) / max(began[1], 1) * job.epochs
    small = {**thinned(job, document), "seconds": round(seconds, 1)}
    text = ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in small.items())
    write_atomically(folder / f"{job.name}.json", f"{{\n{text}\n}}\n".encode())
    place.unlink(missing_ok=True)


def thinned(job: Job, document: dict[str, Any]) -> dict[str, Any]:
    """What the tables and figures need of a result, in a few kilobytes.

    Names of files without their folders; the curves at the epochs where the accuracy
    was measured; the weights of the pairs at the first, the middle and the last of
    these. "best" is the highest of the accuracies measured: it was chosen with the test
    images, and is no estimate of anything.
    """
    measured = [e for e in document["epochs"] if e["accuracy"] is not None]
    task = {**document["task"], "root": Path(document["task"]["root"]).name}
    task["source_weights"] = Path(task["source_weights"]).name
    accuracy = [e["accuracy"] for e in measured]
    few = [measured[k] for k in sorted({0, len(measured) // 2, len(measured) - 1})]
    weights = ("lambdas", "peaks", "gammas", "uneven")
    return {
        "cell": job.cell,
        "arm": job.arm,
        "seed": job.seed,
        "task": task,
        "settings": document["settings"],
        "versions": document["versions"],
        "earlier": document["earlier"],
        "images": document["images"],
        "final": accuracy[-1],
        "best": max(accuracy),
        "epochs": [e["number"] + 1 for e in measured],
        "accuracy": accuracy,
        **{
            name: [rounded(e[name]) for e in measured]
            for name in ("loss", "cross_entropy", "outer")
        },
        "weights": [
            {"epoch": e["number"] + 1, **{name: rounded(e[name]) for name in weights}}
            for e in few
        ],
    }


def rounded(value: Any) -> Any:
    """Numbers with five digits, also in lists; None stays."""
    if isinstance(value, list):
        return [rounded(x) for x in value]
    return None if value is None else float(f"{value:.{DIGITS}g}")


def say(answers: TextIO, **message: Any) -> None:
    """One line of JSON."""
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def main() -> None:
    """Answer the one request."""
    keep_pages()
    try:
        compute(json.loads(sys.stdin.readline()), sys.stdout)
        say(sys.stdout, done=True)
    except BrokenPipeError:
        sys.stderr.close()  # nobody is there to be told
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        say(sys.stdout, error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    main()
