"""What the workers of test_pool.py do. A module of its own: worker processes import it, and little else."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from etle.errors import InputError


def make() -> Callable[[Any, Any], Any]:
    made = os.getpid()

    def work(job: Any, report: Any) -> Any:
        report(1, 2, 0.5)
        if job == "raise":
            raise ValueError("two\nlines")
        if job == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "hang":
            while True:
                time.sleep(60)
        if job == "never ends":
            while True:
                time.sleep(0.3)
                report(1, None, 0.0)
        if job == "eat":
            return sum(len(np.ones(1 << 24)) for _ in [np.ones(1 << 27)])
        return job, made

    return work


def unusable() -> Any:
    raise InputError("no such model", where="here", remedy="Give one")


def dies() -> Any:
    os._exit(9)
