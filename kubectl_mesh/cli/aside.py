"""Work in a process beside this one, while this one goes on; on a single core, and where there is no fork, when it is asked for."""

import contextlib
import functools
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from kubectl_mesh.errors import MeshError

T = TypeVar("T")


class Begin(Protocol):
    """Begins a work, and gives what waits for it: its value, or the `MeshError` that it raised."""

    def __call__(self, work: Callable[[], T]) -> Callable[[], T]: ...


@contextlib.contextmanager
def aside(ready: Callable[[], object]) -> Iterator[Begin]:
    """Gives what begins one work beside, which does nothing but make a value, and can be pickled.

    The other process does what `ready` says until it gets the work. Both come through pipes, and are in no file. What the other process
    cannot give, because it was killed or failed, is made here.
    """
    beside = _start(ready)
    if beside is None:
        yield _here
        return
    process, theirs, ours = beside
    with open(theirs, "wb", buffering=0) as request, open(ours, "rb") as answer:

        def begin(work: Callable[[], T]) -> Callable[[], T]:
            body = memoryview(pickle.dumps(work, pickle.HIGHEST_PROTOCOL))
            with contextlib.suppress(BrokenPipeError):
                while body:
                    body = body[request.write(body) :]
            request.close()
            return functools.cache(lambda: _result(answer.read(), work))

        try:
            yield begin
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # where whoever started this one has SIGCHLD ignored
                os.waitpid(process, 0)


def _here(work: Callable[[], T]) -> Callable[[], T]:
    return functools.cache(work)


def _start(ready: Callable[[], object]) -> tuple[int, int, int] | None:
    """The other process, the end of the pipe to it, and that of the pipe from it; None where there is none to be had."""
    # A fork takes no other thread along, and whatever these hold would stay held.
    if sys.platform != "linux" or threading.active_count() > 1 or len(os.sched_getaffinity(0)) < 2:
        return None
    parent = os.getpid()
    request, theirs = os.pipe()
    ours, answer = os.pipe()
    try:
        process = os.fork()
    except OSError:
        for end in (request, theirs, ours, answer):
            os.close(end)
        return None
    if process:
        os.close(request)
        os.close(answer)
        return process, theirs, ours
    try:
        # Where streams are closed, these may be among the first three descriptors, and the first three are kept.
        os.close(theirs)
        os.close(ours)
        _run(parent, request, answer, ready)
    finally:
        os._exit(0)


def _run(parent: int, request: int, answer: int, ready: Callable[[], object]) -> None:
    """The other process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    # It may be at keys for a minute, which nobody waits for once the parent was killed.
    signal.signal(signal.SIGALRM, lambda *_: None if os.getppid() == parent else os._exit(1))
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
    # The locks on the directories are the parent's alone: they go when it does. And a pipe ends when its one writer does.
    low, high = sorted((request, answer))
    for first, end in ((3, low), (low + 1, high), (high + 1, os.sysconf("SC_OPEN_MAX"))):
        if max(first, 3) < end:  # an empty range would be taken for all that there is
            os.closerange(max(first, 3), end)
    ready()
    with open(request, "rb") as stream:
        body = stream.read()
    if not body:
        return
    try:
        value = (True, pickle.loads(body)())  # noqa: S301  it is our own parent that asks
    except MeshError as error:
        value = (False, error.problems)
    with open(answer, "wb") as stream:
        pickle.dump(value, stream, pickle.HIGHEST_PROTOCOL)


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
