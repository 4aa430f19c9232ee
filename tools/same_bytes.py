"""Whether a commit and this checkout render the same bytes: every golden input, every moved home, and random meshes, locks included.

`python tools/same_bytes.py COMMIT [--meshes 200]` takes the package of COMMIT out of git, renders each working directory with it and
then a copy of that directory with the package of this checkout, and compares all files below out/. Where a store encrypts, what chance
made stays in out/ for the second render, as it does for users; elsewhere out/ is made from nothing.
`--decades N` compares the stories of N decades too, of the old programs with those of this checkout.
Exit code 0: all are the same; 1: some differ, and each file is named.
"""

import argparse
import difflib
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SEALING = ("sops", "sealed")
RENDER = """
import contextlib, io, json, os, sys
from datetime import UTC, datetime
from kubectl_mesh import cli
try:
    from kubectl_mesh.cli import clock
except ImportError:  # before there was a module for it
    from kubectl_mesh.cli import workdir as clock
assert callable(clock.now)
clock.now = lambda: datetime(2026, 12, 1, 12, tzinfo=UTC)
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(["render", "-C", line.rstrip("\\n")])
    print(json.dumps([code, err.getvalue()]), flush=True)
"""
STORIES = "import sys; sys.path.insert(0, 'tests'); import decade; print(*(s for n in range(int(sys.argv[1])) for s in decade.Decade(n).run().story), sep='\\n')"


def unpack(commit: str, folder: Path) -> Path:
    """The tree of a commit in a folder."""
    archive = folder / "old.tar"
    subprocess.run(["git", "-C", TOP, "archive", "--output", archive, commit], check=True)
    with tarfile.open(archive) as file:
        file.extractall(folder / "old", filter="data")
    return folder / "old"


def list_inputs(folder: Path, meshes: int) -> Iterator[Path]:
    """Working directories: copies of the golden ones, of those with moved homes, and random ones, each with its certificates and tokens."""
    sys.path[:0] = [str(TOP), str(TOP / "tests")]
    import changes
    from test_golden import CASES, copy_of

    for case in CASES:
        yield copy_of(case, folder / f"golden-{case}")
    for case in sorted((TOP / "tests" / "moved").iterdir()):
        yield Path(shutil.copytree(case, folder / f"moved-{case.name}"))
    for seed in range(meshes):
        mesh = changes.new_mesh(seed, folder / f"mesh-{seed}")
        mesh.start()
        for _ in range(2):
            changes.one_change(mesh)
        yield mesh.folder


def render(package: Path, folders: list[Path]) -> list[tuple[int, str]]:
    """Renders each folder with a package; the exit codes, and what was said on stderr."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "MESH_ID", "ORG_NAME")
    } | {"PYTHONPATH": str(package)}
    feed = "".join(f"{folder}\n" for folder in folders)
    command = [sys.executable, "-P", "-c", RENDER]
    done = subprocess.run(
        command, input=feed, capture_output=True, text=True, env=environment, check=True
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        (code, text.replace(str(folder), "."))
        for folder, (code, text) in zip(folders, told, strict=True)
    ]


def differences(one: Path, other: Path) -> list[str]:
    """The paths of files that are not the same below two folders, or not in both."""
    paths = {
        p.relative_to(top).as_posix() for top in (one, other) for p in top.rglob("*") if p.is_file()
    }
    return sorted(
        p
        for p in paths
        if not (
            (one / p).is_file()
            and (other / p).is_file()
            and filecmp.cmp(one / p, other / p, shallow=False)
        )
    )


def compare(folder: Path, old: Path, meshes: int) -> tuple[int, int, list[str]]:
    """How many directories and files were compared, and what differs."""
    first = list(list_inputs(folder / "inputs", meshes))
    for made in first:
        if not any(f"store: {store}" in (made / "topology.yaml").read_text() for store in SEALING):
            shutil.rmtree(made / "out", ignore_errors=True)
    ignoring = {made for made in first if (made / ".gitignore").exists()}
    before = render(old, first)
    second = [
        Path(shutil.copytree(made, folder / "copies" / made.name, symlinks=True)) for made in first
    ]
    for made, copy in zip(first, second, strict=True):
        if made not in ignoring:
            (copy / ".gitignore").unlink(missing_ok=True)
        if not any(f"store: {store}" in (copy / "topology.yaml").read_text() for store in SEALING):
            shutil.rmtree(copy / "out", ignore_errors=True)
    after = render(TOP, second)
    found, files = [], 0
    for made, copy, was, now in zip(first, second, before, after, strict=True):
        if was != now:
            lines = [
                line
                for line in difflib.ndiff(was[1].splitlines(), now[1].splitlines())
                if line[0] in "-+"
            ]
            found.append("\n".join([f"{made.name}: exit {was[0]} and {now[0]}", *lines]))
        files += sum(p.is_file() for p in (made / "out").rglob("*"))
        found += [f"{made.name}/out/{path}" for path in differences(made / "out", copy / "out")]
    if not files:
        sys.exit("nothing was rendered, so nothing was compared")
    return len(first), files, found


def main() -> None:
    """Compares, and says what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--meshes", type=int, default=200)
    parser.add_argument("--decades", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        folder = Path(name)
        old = unpack(given.commit, folder)
        (folder / "inputs").mkdir()
        (folder / "copies").mkdir()
        directories, files, found = compare(folder, old, given.meshes)
        if given.decades:
            told = [
                subprocess.run(
                    [sys.executable, "-P", "-c", STORIES, str(given.decades)],
                    cwd=top,
                    env={**os.environ, "PYTHONPATH": str(top)},
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
                for top in (old, TOP)
            ]
            if told[0] != told[1] or not told[0]:
                found.append("the stories of the decades")
    print(*found, sep="\n", end="\n" if found else "")
    print(
        f"{directories} working directories, {files} files, {given.decades} decades: {len(found)} differences from {given.commit}"
    )
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
