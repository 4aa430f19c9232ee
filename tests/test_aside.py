"""Work beside the process: what it gives, and that nothing of it is left, however either ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TOP, Run, WorkDir

Make = Callable[..., WorkDir]
CODE = """
import os, signal, sys, time
from kubectl_mesh.cli.aside import aside
from kubectl_mesh.errors import MeshError, refuse
here = os.getpid()
def where(): return "here" if os.getpid() == here else "beside"
def ready(): pass
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="work goes on beside a process on Linux with two cores; elsewhere it is done in it"
)


def run(code: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", CODE + code], capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


def gone(process: int) -> bool:
    """Whether a process ends within some seconds."""
    for _ in range(100):
        if not os.path.exists(f"/proc/{process}") or "\nState:\tZ" in Path(f"/proc/{process}/status").read_text():
            return True
        time.sleep(0.1)
    return False


def test_the_value_is_made_beside_and_once() -> None:
    done = run("def work(): return where(), b'key', {1: 2}\nwith aside(ready) as begin:\n  made = begin(work)\n  print(made(), made() is made())")
    assert (done.stdout, done.stderr, done.returncode) == ("('beside', b'key', {1: 2}) True\n", "", 0)


def test_it_is_made_ready_before_there_is_work() -> None:
    """Loading goes on there while this process finds out what is to be done, and what that did is still so for the work."""
    code = (
        "r, w = os.pipe()\ndef ready():\n  global there\n  there = where()\n  os.write(2, there.encode())\n"
        "def work(): return there\nthere = 'nowhere'\nos.dup2(w, 2)\n"
        "with aside(ready) as begin:\n  print(os.read(r, 9))\n  print(begin(work)())"
    )
    assert run(code).stdout == "b'beside'\nbeside\n"


def test_what_the_work_takes_comes_with_it(tmp_path: Path) -> None:
    """More than a pipe holds, while the other process is not ready yet; and what it gives is more than that, too."""
    code = (
        "from functools import partial\ndef slow(): time.sleep(0.3)\ndef work(body): return where(), body * 2\nwith aside(slow) as begin:\n"
        "  at, body = begin(partial(work, b'x' * 3_000_000))()\n  print(at, len(body))"
    )
    assert run(code).stdout == "beside 6000000\n"


def test_an_error_is_the_same_as_here() -> None:
    code = (
        "def work(): raise refuse(where(), 'is wrong', 'mend it')\n"
        "try:\n  with aside(ready) as begin: begin(work)()\nexcept MeshError as error: print(error.problems)"
    )
    assert "file='beside'" in run(code).stdout


END = ["os.kill(os.getpid(), 9)", "1 / 0", "os._exit(1)"]


@pytest.mark.parametrize("end", END)
def test_what_the_other_cannot_give_is_made_here(end: str) -> None:
    done = run(f"def work():\n  if where() == 'beside': {end}\n  return where()\nwith aside(ready) as begin: print(begin(work)())")
    assert (done.stdout, done.stderr) == ("here\n", "")


@pytest.mark.parametrize("end", END)
@pytest.mark.parametrize("size", [1, 3_000_000])
def test_one_that_ended_before_it_had_work_leaves_it_to_be_done_here(end: str, size: int) -> None:
    code = (
        f"from functools import partial\ndef early(): {end}\ndef work(body): return where()\nwith aside(early) as begin:\n"
        f"  time.sleep(0.2)\n  print(begin(partial(work, b'x' * {size}))())"
    )
    done = run(code)
    assert (done.stdout, done.stderr, done.returncode) == ("here\n", "", 0)


@pytest.mark.parametrize("asked", ["begin(work); raise refuse('x', 'is wrong')", "raise refuse('x', 'is wrong')"])
def test_what_is_not_waited_for_is_ended(asked: str) -> None:
    code = (
        "r, w = os.pipe()\nos.set_inheritable(w, True)\nstart = time.time()\ndef work(): time.sleep(50)\n"
        f"try:\n  with aside(ready) as begin: {asked}\nexcept MeshError: pass\n"
        "try: os.waitpid(-1, 0)\nexcept ChildProcessError: print('no child', time.time() - start < 20)"
    )
    assert run(code).stdout == "no child True\n"


@pytest.mark.parametrize("when", ["at work", "before"])
def test_it_ends_with_a_parent_that_was_killed(tmp_path: Path, when: str) -> None:
    tell = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    code = (
        f"def work():\n  {tell}\n  time.sleep(50)\nwith aside(ready) as begin: begin(work)()"
        if when == "at work"
        else f"def tell(): {tell}\nwith aside(tell) as begin: time.sleep(50)"
    )
    with subprocess.Popen([sys.executable, "-c", CODE + code]) as parent:
        for _ in range(100):
            if (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text():
                break
            time.sleep(0.1)
        parent.send_signal(signal.SIGKILL)
    assert gone(int((tmp_path / "pid").read_text()))


def test_it_holds_no_lock_of_its_parent(tmp_path: Path) -> None:
    """Who kills a run may run the next one at once."""
    code = (
        f"from kubectl_mesh.fs.locking import locked\nlock = locked({str(tmp_path)!r})\nlock.__enter__()\n"
        f"def work():\n  open({str(tmp_path / 'held')!r}, 'w').write(' '.join(sorted(os.readlink('/proc/self/fd/' + n) for n in os.listdir('/proc/self/fd') if os.path.lexists('/proc/self/fd/' + n))))\n"
        "with aside(ready) as begin: begin(work)()"
    )
    assert run(code).returncode == 0
    held = (tmp_path / "held").read_text()
    assert "held" in held
    assert ".kubectl-mesh-lock" not in held


def test_a_render_judges_cas_there(workdir: Make, run: Run) -> None:
    """A CA that is none is refused, whether anything else is wrong or not; and nothing is written."""
    mesh = workdir(tokens=True, over={"contexts": {"context-east-1": {"server": "https://203.0.113.9:6443"}}})
    mesh.write("clusters/context-east-1.crt", "no certificate")
    before = mesh.snapshot()
    environment = {**os.environ, "PYTHONPATH": str(TOP)}

    def refused() -> str:
        done = subprocess.run([sys.executable, "-m", "kubectl_mesh", "render"], cwd=mesh.path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        here = run("render", cwd=mesh)
        assert (here.code, here.err) == (2, done.stderr)
        assert mesh.snapshot() == before
        return done.stderr

    alone = refused()
    assert alone.startswith("error: clusters/context-east-1.crt: is not a PEM certificate that can be read\n")
    mesh.write("credentials/context-east-2.token", "")
    before = mesh.snapshot()
    both = refused()
    assert both.startswith(alone)
    assert "error: credentials/context-east-2.token: is empty\n" in both


def test_where_children_are_not_waited_for() -> None:
    """Whoever starts this process may have SIGCHLD ignored: then there is nobody to wait for."""
    code = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwith aside(ready) as begin: print(begin(where)())"
    done = run(code)
    assert (done.stdout, done.stderr, done.returncode) == ("beside\n", "", 0)


@pytest.mark.parametrize("closed", ["0", "1", "0, 1", "2", "1, 2", "0, 1, 2"])
def test_where_a_stream_is_closed_the_others_stay(closed: str, tmp_path: Path) -> None:
    """A pipe may then be one of the first three descriptors; it ends all the same when its one writer is done."""
    told = tmp_path / "told"
    code = (
        f"for number in ({closed},): os.close(number)\n"
        "def work(): return [number for number in (0, 1, 2) if os.path.exists(f'/proc/self/fd/{number}') and 'pipe' not in os.readlink(f'/proc/self/fd/{number}')], where()\n"
        f"with aside(ready) as begin:\n  made = begin(work)()\n  open({str(told)!r}, 'w').write(repr(made))"
    )
    with (tmp_path / "out").open("wb") as stream:
        done = subprocess.run([sys.executable, "-c", CODE + code], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, timeout=60, check=False)
    assert done.returncode == 0
    assert told.read_text() == repr(([number for number in (0, 1, 2) if str(number) not in closed], "beside"))


def test_with_other_threads_it_is_done_here() -> None:
    from kubectl_mesh.cli.aside import aside

    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        with aside(lambda: None) as begin:
            assert begin(os.getpid)() == os.getpid()
    finally:
        stop.set()
        other.join()
