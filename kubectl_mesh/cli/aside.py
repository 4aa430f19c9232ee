"""Work in a process beside this one, while this one goes on; on a single core, and where there is no fork, when it is asked for."""

import contextlib
import functools
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from kubectl_mesh.errors import MeshError

T = TypeVar("T")


@contextlib.contextmanager
def aside(work: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Begins a work that does nothing but make a value, and gives what waits for it: the value, or the `MeshError` that it raised.

    The value comes through a pipe, and is in no file. What the other process cannot give, because it was killed or failed, is made here.
    """
    pipe = _begin(work)
    if pipe is None:
        yield functools.cache(work)
        return
    process, end = pipe
    with open(end, "rb") as stream:
        try:
            yield functools.cache(lambda: _result(stream.read(), work))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _begin(work: Callable[[], Any]) -> tuple[int, int] | None:
    """The other process, and the end of the pipe from it; None where there is none to be had."""
    # A fork takes no other thread along, and whatever these hold would stay held.
    if sys.platform != "linux" or threading.active_count() > 1 or len(os.sched_getaffinity(0)) < 2:
        return None
    parent = os.getpid()
    read, write = os.pipe()
    try:
        process = os.fork()
    except OSError:
        os.close(read)
        os.close(write)
        return None
    if process:
        os.close(write)
        return process, read
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        # It may be at keys for a minute, which nobody waits for once the parent was killed.
        signal.signal(signal.SIGALRM, lambda *_: None if os.getppid() == parent else os._exit(1))
        signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
        # The locks on the directories are the parent's alone: they go when it does.
        os.closerange(3, write)
        os.closerange(write + 1, os.sysconf("SC_OPEN_MAX"))
        _answer(work, write)
    finally:
        os._exit(0)


def _answer(work: Callable[[], Any], write: int) -> None:
    try:
        answer = (True, work())
    except MeshError as error:
        answer = (False, error.problems)
    with open(write, "wb") as stream:
        pickle.dump(answer, stream, pickle.HIGHEST_PROTOCOL)


def _result(body: bytes, work: Callable[[], T]) -> T:
    try:
        answer: tuple[bool, Any] = pickle.loads(body)  # noqa: S301  it is our own fork that says it
    except (EOFError, pickle.UnpicklingError):
        return work()
    done, value = answer
    if not done:
        raise MeshError(value)
    found: T = value
    return found
