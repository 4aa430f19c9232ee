"""Whether a commit and this checkout render the same bytes: every golden input, every moved home, random meshes, and what decades hold.

Locks are compared too.

`python tools/same_bytes.py COMMIT [--meshes 200]` takes the package of COMMIT out of git, renders each working directory with it and
then a copy of that directory with the package of this checkout, and compares all files below out/. Where a store encrypts, COMMIT renders
first, so that both renders keep the encrypted files, as they do for users; elsewhere out/ is made from nothing.
`--decades N` plays N decades, and takes the topology, certificates and tokens of every tenth of their renders as inputs, each at its
date; and it compares the stories of the decades, of the old programs with those of this checkout.
Exit code 0: all are the same; 1: some differ, and each file is named.
"""

import argparse
import base64
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
from datetime import UTC, datetime
from pathlib import Path

import yaml

TOP = Path(__file__).resolve().parent.parent
SEALING = ("sops", "sealed")
DATE = datetime(2026, 12, 1, 12, tzinfo=UTC)
"""When those inputs are rendered that have no date of their own."""
BASE = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {tag: 1.30.3}\n"
RENDER = """
import contextlib, io, json, os, sys
from datetime import UTC, datetime
from kubectl_mesh import cli
try:
    from kubectl_mesh.cli import clock
except ImportError:  # before there was a module for it
    from kubectl_mesh.cli import workdir as clock
CLOCK = "read_clock" if hasattr(clock, "read_clock") else "now"  # an older commit calls it now
assert callable(getattr(clock, CLOCK))
run = cli.run_command if hasattr(cli, "run_command") else cli.run
for line in sys.stdin:
    at, _, folder = line.rstrip("\\n").partition(" ")
    setattr(clock, CLOCK, lambda: datetime.fromisoformat(at))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["render", "-C", folder])
    print(json.dumps([code, err.getvalue()]), flush=True)
"""
STORIES = "import sys; sys.path[:0] = ['tools', 'tests']; import decade; print(*(s for n in range(int(sys.argv[1])) for s in decade.Decade(n).run().story), sep='\\n')"


def unpack(commit: str, folder: Path) -> Path:
    """The tree of a commit in a folder."""
    archive = folder / "old.tar"
    subprocess.run(["git", "-C", TOP, "archive", "--output", archive, commit], check=True)
    with tarfile.open(archive) as file:
        file.extractall(folder / "old", filter="data")
    return folder / "old"


def write_decade(seed: int, folder: Path, dates: dict[Path, datetime]) -> Iterator[Path]:
    """The working directories of every tenth render of a decade; their dates are put into `dates`."""
    from tests.conftest import SEED
    from tools import decade

    kubeconfig = yaml.safe_load((SEED / "kubeconfig.yaml").read_text())
    authority = base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"])
    written: list[Path] = []

    class Kept(decade.Decade):
        def render(self, **given: bool) -> None:
            before = self.renders
            super().render(**given)
            if self.renders > before and self.renders % 10 == 1:
                place = folder / f"decade-{seed}-{self.renders}"
                document = json.loads(json.dumps(self.plan().topology.document.value))
                files = {"base.yaml": BASE.encode()}
                for name, entry in document["contexts"].items():
                    entry["server"] = f"https://{name}.example.test:6443"
                    files[f"clusters/{name}.crt"] = authority
                files["topology.yaml"] = yaml.safe_dump(document).encode()
                files |= {f"certs/{path}": body for path, body in self.certs.items()}
                files |= {path: token.encode() for path, token in self.credentials.items()}
                for path, body in files.items():
                    (place / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    (place / path).write_bytes(body)
                    (place / path).chmod(0o600)
                dates[place] = self.now
                written.append(place)

    Kept(seed).run()
    yield from written


def list_inputs(
    folder: Path, meshes: int, decades: int, dates: dict[Path, datetime]
) -> Iterator[Path]:
    """Working directories: copies of the golden ones, of those with moved homes, random ones, and those of decades, each with its
    certificates and tokens; the dates of the last are put into `dates`.
    """
    sys.path.insert(0, str(TOP))
    from tests.support.goldens import CASES, copy_case
    from tools import changes

    for case in CASES:
        yield copy_case(case, folder / f"golden-{case}")
    for case in sorted((TOP / "tests" / "moved").iterdir()):
        yield Path(shutil.copytree(case, folder / f"moved-{case.name}"))
    for seed in range(meshes):
        mesh = changes.new_mesh(seed, folder / f"mesh-{seed}")
        mesh.start()
        for _ in range(2):
            changes.one_change(mesh)
        yield mesh.folder
    for seed in range(decades):
        yield from write_decade(seed, folder, dates)


def render(package: Path, folders: list[tuple[Path, datetime]]) -> list[tuple[int, str]]:
    """Renders each folder at its date with a package; the exit codes, and what was said on stderr."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "MESH_ID", "ORG_NAME")
    } | {"PYTHONPATH": str(package)}
    feed = "".join(f"{at.isoformat()} {folder}\n" for folder, at in folders)
    command = [sys.executable, "-P", "-c", RENDER]
    done = subprocess.run(
        command, input=feed, capture_output=True, text=True, env=environment, check=True
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        (code, text.replace(str(folder), "."))
        for (folder, _), (code, text) in zip(folders, told, strict=True)
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


def is_encrypting(mesh: Path) -> bool:
    """Whether the store of a working directory encrypts."""
    topology = (mesh / "topology.yaml").read_text()
    return any(f"store: {store}" in topology for store in SEALING)


def compare(folder: Path, old: Path, meshes: int, decades: int) -> tuple[int, int, list[str]]:
    """How many directories and files were compared, and what differs."""
    dates: dict[Path, datetime] = {}
    first = list(list_inputs(folder / "inputs", meshes, decades, dates))
    for made in first:
        if not is_encrypting(made):
            shutil.rmtree(made / "out", ignore_errors=True)
    ignoring = {made for made in first if (made / ".gitignore").exists()}
    # Both renders that are compared find encrypted files, and keep them.
    render(old, [(made, dates.get(made, DATE)) for made in first if is_encrypting(made)])
    before = render(old, [(made, dates.get(made, DATE)) for made in first])
    second = [
        Path(shutil.copytree(made, folder / "copies" / made.name, symlinks=True)) for made in first
    ]
    for made, copy in zip(first, second, strict=True):
        if made not in ignoring:
            (copy / ".gitignore").unlink(missing_ok=True)
        if not is_encrypting(copy):
            shutil.rmtree(copy / "out", ignore_errors=True)
    after = render(
        TOP, [(copy, dates.get(made, DATE)) for made, copy in zip(first, second, strict=True)]
    )
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
    refused = sum(code != 0 for code, _ in before)
    print(f"{refused} of {len(first)} renders are refused, as some inputs are meant to be")
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
        directories, files, found = compare(folder, old, given.meshes, given.decades)
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
