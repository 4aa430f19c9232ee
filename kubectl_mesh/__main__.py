"""The programs: `kubectl mesh`, which is `python -m kubectl_mesh` too, and
`kubectl_complete-mesh`.
"""

import gc
import os
import signal
from collections.abc import Callable

# a run makes values, uses them and ends; looking for cycles among them, and among what is loaded,
# costs a tenth of it
gc.disable()

# Ctrl-C while all that is loaded ends the process as it ends any other, with nothing to be told.
HEARD = signal.getsignal(signal.SIGINT) is signal.default_int_handler
if HEARD:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from kubectl_mesh import cli  # noqa: E402


def mesh() -> None:
    """`kubectl mesh`"""
    _run(cli.main)


def complete() -> None:
    """`kubectl_complete-mesh`"""
    cli.complete()
    cli.exit_process(0)


def _run(program: Callable[[], None]) -> None:
    try:
        if HEARD:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        program()
    except KeyboardInterrupt:  # another one, while what the first did was being told
        os._exit(2)


if __name__ == "__main__":
    mesh()
