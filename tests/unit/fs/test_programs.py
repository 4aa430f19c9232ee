"""git runs in one place, where no configuration of a repository starts a program and git opens no connection."""

import ast
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from kubectl_mesh.cli import root_command
from kubectl_mesh.errors import MeshError
from kubectl_mesh.fs import programs as runner
from kubectl_mesh.workdir import git_ignore
from kubectl_mesh.workdir.git_ignore import GITIGNORE
from tests.conftest import CLUSTERS, TOP, Run, WorkDir

Make = Callable[..., WorkDir]
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed here")
PACKAGE = TOP / "kubectl_mesh"


def git(*words: "str | Path | WorkDir", stdin: bytes = b"") -> str:
    """Runs git without any of the protections."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    named = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *named, *words], capture_output=True, check=True, env=environment, input=stdin
    ).stdout.decode()


# Where git runs


STARTERS = {
    "system",
    "popen",
    "execv",
    "execve",
    "execvp",
    "execvpe",
    "execl",
    "execle",
    "execlp",
    "spawnv",
    "spawnve",
    "spawnvp",
    "posix_spawn",
    "posix_spawnp",
}


def started(tree: ast.Module) -> Iterator[str]:
    """What of a module starts programs: modules for it, functions of os, and words of a command of git."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
            )
            yield from (
                name
                for name in names
                if name.split(".")[0] in ("subprocess", "pty", "asyncio", "multiprocessing")
            )
            yield from (
                f"os.{alias.name}"
                for alias in node.names
                if names == ["os"] and alias.name in STARTERS
            )
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            and node.attr in STARTERS
        ):
            yield f"os.{node.attr}"
        elif (
            isinstance(node, ast.List | ast.Tuple)
            and node.elts
            and isinstance(node.elts[0], ast.Constant)
            and node.elts[0].value == "git"
        ):
            yield "git"


def test_one_module_runs_git() -> None:
    """No other module of the package can start a program."""
    found = {
        path.relative_to(PACKAGE).as_posix(): set(started(ast.parse(path.read_text())))
        for path in PACKAGE.rglob("*.py")
    }
    assert {name: what for name, what in found.items() if what} == {
        "fs/programs.py": {"subprocess", "git"}
    }


# Each protection alone


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit of a folder and a file."""
    top = tmp_path / "repository"
    git("init", "-q", top)
    (top / "out").mkdir()
    (top / "out/a").write_text("x\n")
    git("-C", top, "add", ".")
    git("-C", top, "commit", "-qm", "one")
    return top


def keep_only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Takes all protections of the runner away but those."""
    monkeypatch.setattr(
        runner, "GIT_SETTINGS", tuple(s for s in runner.GIT_SETTINGS if s.split("=")[0] in names)
    )
    monkeypatch.setattr(
        runner, "GIT_ENVIRONMENT", {k: v for k, v in runner.GIT_ENVIRONMENT.items() if k in names}
    )


def ask(top: Path, *words: str, feed: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """What the runner says of a repository, as a person without configuration asks it."""
    answer = runner.run_git(
        str(top), *words, environment={"PATH": os.environ["PATH"], "HOME": os.devnull}, stdin=feed
    )
    assert answer is not None
    return answer


def set_fsmonitor(top: Path, program: str) -> tuple[tuple[str, ...], bytes]:
    git("-C", top, "config", "core.fsmonitor", program)
    return ("check-ignore", "-z", "--stdin"), b"x"


def set_hook(top: Path, program: str) -> tuple[tuple[str, ...], bytes]:
    hook = top / ".git/hooks/reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{program}\n")
    hook.chmod(0o755)
    return ("update-ref", "refs/heads/other", "HEAD"), b""


def set_credential_helper(top: Path, program: str) -> tuple[tuple[str, ...], bytes]:
    git("-C", top, "config", "credential.helper", f"!{program}; true")
    return ("credential", "fill"), b"protocol=https\nhost=mesh.example\nusername=u\n\n"


def set_password_program(top: Path, program: str) -> tuple[tuple[str, ...], bytes]:
    script = top.parent / "ask.sh"
    script.write_text(f"#!/bin/sh\n{program}\necho password\n")
    script.chmod(0o755)
    git("-C", top, "config", "core.askPass", script)
    return ("credential", "fill"), b"protocol=https\nhost=mesh.example\nusername=u\n\n"


ALONE = {
    "core.fsmonitor": set_fsmonitor,
    "core.hooksPath": set_hook,
    "credential.helper": set_credential_helper,
    "core.askPass": set_password_program,
}


@pytest.mark.parametrize("setting", ALONE)
def test_each_setting_alone(
    repository: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """Without it, git starts the program that the repository names; with it alone, git does not."""
    marker = repository.parent / "ran"
    words, feed = ALONE[setting](repository, f"touch {marker}")
    with monkeypatch.context() as patch:
        keep_only(patch, "GIT_TERMINAL_PROMPT")
        ask(repository, *words, feed=feed)
        assert marker.exists()
        marker.unlink()
        keep_only(patch, "GIT_TERMINAL_PROMPT")
    monkeypatch.setattr(runner, "GIT_ENVIRONMENT", {"GIT_TERMINAL_PROMPT": "0"})
    monkeypatch.setattr(
        runner, "GIT_SETTINGS", tuple(s for s in runner.GIT_SETTINGS if s.startswith(f"{setting}="))
    )
    assert len(runner.GIT_SETTINGS) == 1
    ask(repository, *words, feed=feed)
    assert not marker.exists()


def test_a_folder_that_looks_like_a_repository(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of a commit can look like a bare repository, with a configuration of its own: git does not read it."""
    git("init", "-q", "--bare", repository / "out/bare")
    asked = ("rev-parse", "--absolute-git-dir")
    assert ask(repository / "out/bare", *asked).returncode != 0
    keep_only(monkeypatch)
    assert ask(repository / "out/bare", *asked).stdout == os.fsencode(f"{repository}/out/bare\n")


def test_replaced_objects_do_not_count(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`refs/replace/` exists on this machine only; what was committed is what a clone gets."""
    asked = (str(repository), ["out/a"], {"PATH": os.environ["PATH"], "HOME": os.devnull})
    old = git("-C", repository, "rev-parse", "HEAD:out/a").strip()
    new = git("-C", repository, "hash-object", "-w", "--stdin", stdin=b"forged\n").strip()
    git("-C", repository, "replace", old, new)
    assert git_ignore.read_committed_files(*asked) == {"out/a": b"x\n"}
    keep_only(monkeypatch)
    assert git_ignore.read_committed_files(*asked) == {"out/a": b"forged\n"}


def test_git_writes_no_index(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIT_OPTIONAL_LOCKS: a question leaves the index of somebody who works there alone."""
    os.utime(repository / "out/a", (1, 1))
    index = (repository / ".git/index").read_bytes()
    ask(repository, "status")
    assert (repository / ".git/index").read_bytes() == index
    keep_only(monkeypatch)
    ask(repository, "status")
    assert (repository / ".git/index").read_bytes() != index


def test_the_environment_names_no_other_repository(repository: Path, tmp_path: Path) -> None:
    """Variables of git are dropped, but for those that say where a person's own configuration is; `named` keeps them."""
    other = tmp_path / "other"
    git("init", "-q", other)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.devnull,
        "GIT_DIR": str(other / ".git"),
        "GIT_OBJECT_DIRECTORY": str(other),
    }
    words = (str(repository), "rev-parse", "--absolute-git-dir")
    answers = [
        runner.run_git(*words, environment=environment, use_named_repository=named)
        for named in (False, True)
    ]
    assert [os.fsdecode(a.stdout).strip() for a in answers if a] == [
        str(repository / ".git"),
        str(other / ".git"),
    ]


@pytest.mark.parametrize("named", [False, True])
def test_the_environment_takes_no_protection_away(
    repository: Path, tmp_path: Path, named: bool
) -> None:
    """Neither variables of git nor settings in them come after those of the runner."""
    words, feed = set_fsmonitor(repository, f"touch {tmp_path / 'ran'}")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.devnull,
        "GIT_ALLOW_PROTOCOL": "file",
        "GIT_NO_LAZY_FETCH": "0",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": f"touch {tmp_path / 'ran'}",
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor'='touch {tmp_path / 'ran'}'",
    }
    answer = runner.run_git(
        str(repository), *words, environment=environment, stdin=feed, use_named_repository=named
    )
    assert answer is not None
    assert answer.returncode == 1
    make_partial(repository, tmp_path, "blob")
    runner.run_git(
        str(repository),
        "cat-file",
        "--batch",
        environment=environment,
        stdin=b"HEAD:out/a\n",
        use_named_repository=named,
    )
    assert not (tmp_path / "ran").exists()


# Partial clones


def make_partial(top: "Path | WorkDir", tmp_path: Path, kind: str, **remote: str) -> Path:
    """Makes a repository a partial clone that lacks every object of a kind; its remote's program leaves a marker, which it returns."""
    top, marker = Path(top), tmp_path / "ran"
    source = tmp_path / "source.git"
    if not source.exists():
        git("clone", "-q", "--bare", "--no-hardlinks", top, source)
        git("-C", source, "config", "uploadpack.allowFilter", "true")
        git("-C", source, "config", "uploadpack.allowAnySHA1InWant", "true")
    named = {
        "url": f"file://{source}",
        "uploadpack": f"touch {shlex.quote(str(marker))}; git-upload-pack",
    } | remote
    for name, value in {
        **{f"remote.origin.{k}": v for k, v in named.items() if "." not in k},
        **{k: v for k, v in remote.items() if "." in k},
    }.items():
        git("-C", top, "config", name, value)
    git("-C", top, "config", "remote.origin.promisor", "true")
    git("-C", top, "config", "remote.origin.partialclonefilter", "blob:none")
    git("-C", top, "config", "core.repositoryformatversion", "1")
    git("-C", top, "config", "extensions.partialClone", "origin")
    listed = git("-C", top, "cat-file", "--batch-all-objects", "--batch-check")
    lost = [name for name, what, _ in map(str.split, listed.splitlines()) if what == kind]
    assert lost
    for name in lost:
        (top / ".git/objects" / name[:2] / name[2:]).unlink()
    return marker


def fetches(top: Path, marker: Path) -> bool:
    """Whether git, asked as the commands ask it, starts the remote's program."""
    ask(top, "cat-file", "--batch", feed=b"HEAD:out/a\n")
    ran = marker.exists()
    marker.unlink(missing_ok=True)
    return ran


REMOTES = {
    "upload-pack": {},
    "ssh": {"url": "mesh.example:mesh", "core.sshCommand": "touch MARKER; false"},
    "ext": {"url": "ext::touch MARKER", "protocol.ext.allow": "always"},
    "proxy": {"url": "git://mesh.example/mesh", "core.gitProxy": "PROGRAM"},
}


@pytest.mark.parametrize("remote", REMOTES)
@pytest.mark.parametrize("kind", ["blob", "tree", "commit"])
def test_no_program_of_a_remote_runs(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, remote: str
) -> None:
    """Each of the two protections is enough by itself; without both, the repository's program runs."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    program.chmod(0o755)
    words = {
        k: v.replace("MARKER", str(tmp_path / "ran")).replace("PROGRAM", str(program))
        for k, v in REMOTES[remote].items()
    }
    marker = make_partial(repository, tmp_path, kind, **words)
    assert not fetches(repository, marker)
    version = tuple(map(int, git("--version").split()[2].split(".")[:2]))
    for alone in (
        "GIT_ALLOW_PROTOCOL",
        *(
            ["GIT_NO_LAZY_FETCH"]
            if version >= (2, 44) or "lazy fetching disabled" in lazy_text(repository)
            else []
        ),
    ):
        with monkeypatch.context() as patch:
            keep_only(patch, alone)
            assert not fetches(repository, marker), alone
    with monkeypatch.context() as patch:
        keep_only(patch)
        assert fetches(repository, marker)


def lazy_text(top: Path) -> str:
    """What git says when it may not fetch; some distributions have that in versions before 2.44."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.devnull,
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
    }
    words = ["git", "-C", top, "cat-file", "--batch"]
    return subprocess.run(
        words, input="HEAD:out/a\n", capture_output=True, text=True, check=False, env=environment
    ).stderr


def test_git_opens_no_connection(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to a remote, and not to where the remote says that bundles are."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        marker = make_partial(repository, tmp_path, "blob", url=f"git://127.0.0.1:{port}/mesh")
        git("-C", repository, "config", "fetch.bundleURI", f"http://127.0.0.1:{port}/bundle")
        fetches(repository, marker)
        with pytest.raises(TimeoutError):
            server.accept()
        assert ask(repository, "config", "--get-all", "fetch.bundleURI").stdout.endswith(b"\n\n")
        # Versions 2.40 to 2.43 get the bundles although no protocol is allowed: the setting alone prevents it.
        monkeypatch.setattr(
            runner,
            "GIT_ENVIRONMENT",
            {k: v for k, v in runner.GIT_ENVIRONMENT.items() if k != "GIT_NO_LAZY_FETCH"},
        )
        fetches(repository, marker)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("kind", ["blob", "tree", "commit"])
def test_missing_objects_are_not_called_absent(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What git cannot read is not "nothing committed", in whichever way git was kept from fetching."""
    make_partial(repository, tmp_path, kind)
    environment = {"PATH": os.environ["PATH"], "HOME": os.devnull}
    for alone in (tuple(runner.GIT_ENVIRONMENT), ("GIT_ALLOW_PROTOCOL",)):
        with monkeypatch.context() as patch:
            keep_only(patch, *alone)
            with pytest.raises(
                MeshError, match="is in a partial clone that lacks objects of this commit"
            ) as caught:
                git_ignore.read_committed_files(str(repository), ["out/a"], environment)
    fix = caught.value.problems[0].fix.removeprefix("fetch them: ")
    git("-C", repository, "config", "--unset", "remote.origin.uploadpack")
    subprocess.run(["sh", "-c", fix], check=True, env=environment, capture_output=True)
    assert git_ignore.read_committed_files(str(repository), ["out/a"], environment) == {
        "out/a": b"x\n"
    }


@pytest.fixture
def committed(workdir: Make, run: Run) -> WorkDir:
    """A rendered mesh in a repository, its tree committed in clear as it says."""
    mesh = workdir(over={"secrets": {"store": "plain"}}, tokens=True)
    shutil.copy(TOP / "examples/seed/base.yaml", mesh / "base.yaml")
    git("init", "-q", mesh)
    assert run("render", cwd=mesh).code == 0
    git("-C", mesh, "add", "-A")
    git("-C", mesh, "commit", "-qm", "a mesh")
    return mesh


FIRST = CLUSTERS[0]
COMMANDS: dict[str, list[list[str]]] = {
    "init": [["init"]],
    "adopt": [["adopt", "--to", "adopted", "dump.yaml"]],
    "describe": [["describe"], ["describe", "-o", "table"], ["describe", "-o", "json"]],
    "check": [["check"], ["check", "-o", "json"]],
    "diff": [
        ["diff"],
        ["diff", "--against", "HEAD"],
        ["diff", "--against", "main"],
        ["diff", "out", "out"],
    ],
    "explain": [["explain", "Unauthorized"]],
    "graph": [["graph"], ["graph", "-o", "svg"]],
    "verify": [["verify"]],
    "teardown": [["teardown"]],
    "schema": [["schema"]],
    "completion": [["completion", "bash"]],
    "version": [["version"]],
    "certs status": [["certs", "status"]],
    "certs export": [["certs", "export", "--to", "exported"]],
    "certs csr": [["certs", "csr"]],
    "certs sign": [["certs", "sign", "--to", "signed", "nothing.csr"]],
    "certs import": [["certs", "import", FIRST, "certs/root-cert.pem"]],
    "certs import-root": [["certs", "import-root", "certs/root-cert.pem", "certs/root-key.pem"]],
    "tokens status": [["tokens", "status"]],
    "render": [["render", "--dry-run"], ["render", "--check"], ["render"]],
    "certs crl": [["certs", "crl"]],
    "certs renew": [["certs", "renew", FIRST]],
    "certs revoke": [["certs", "revoke", FIRST]],
    "certs rotate-root status": [["certs", "rotate-root", "status"]],
    "certs rotate-root begin": [["certs", "rotate-root", "begin"]],
    "certs rotate-root advance": [["render"], ["certs", "rotate-root", "advance"]],
    "certs rotate-root abort": [["certs", "rotate-root", "abort"]],
    "tokens rotate": [["tokens", "rotate", FIRST, "begin"], ["tokens", "rotate", FIRST, "advance"]],
    "add": [["add", "another", "--network", "network-east"]],
    "remove": [["remove", FIRST]],
}


def leaves(command: click.Command, name: str = "") -> Iterator[str]:
    """The full names of all commands."""
    if not isinstance(command, click.Group):
        yield name
        return
    for word in command.list_commands(None):  # type: ignore[arg-type]
        below = command.get_command(None, word)  # type: ignore[arg-type]
        assert below is not None
        yield from leaves(below, f"{name} {word}".strip())


def test_every_command_is_asked() -> None:
    """A command that comes later gets its line in the table."""
    assert set(COMMANDS) == set(leaves(root_command))


@pytest.mark.parametrize("kind", ["blob", "tree", "commit"])
def test_no_command_runs_what_a_repository_names(
    committed: WorkDir, run: Run, tmp_path: Path, kind: str
) -> None:
    """In a partial clone that lacks objects, with a program for git in every setting that names one."""
    marker = make_partial(committed, tmp_path, kind)
    program = f"touch {marker}; false"
    for setting in (
        "core.fsmonitor",
        "core.sshCommand",
        "credential.helper",
        "core.askPass",
        "core.pager",
        "diff.external",
        "core.editor",
        "gpg.program",
    ):
        git("-C", committed, "config", setting, program)
    git("-C", committed, "config", "diff.own.textconv", program)
    git("-C", committed, "config", "filter.own.clean", program)
    git("-C", committed, "config", "filter.own.smudge", program)
    (committed / ".git/info/attributes").write_text("* diff=own filter=own\n")
    for line in (line for lines in COMMANDS.values() for line in lines):
        ran = run(*line, cwd=committed)
        assert ran.code in (0, 1, 2), line
        assert "a fault of its own" not in ran.err, (line, ran.err)
        assert not marker.exists(), line
    # The same repository does run it for whoever asks git without protection.
    subprocess.run(
        ["git", "-C", committed, "cat-file", "--batch"],
        input=b"HEAD:topology.yaml\n",
        capture_output=True,
        check=False,
    )
    assert marker.exists()


@pytest.mark.parametrize("kind", ["blob", "tree", "commit"])
def test_what_git_cannot_read_is_not_called_fine(
    committed: WorkDir, run: Run, tmp_path: Path, kind: str
) -> None:
    """A step that needs the last commit is refused where that cannot be read; counts are unknown; `diff` names the reason."""
    assert run("certs", "rotate-root", "begin", cwd=committed).code == 0
    assert run("render", cwd=committed).code == 0
    git("-C", committed, "add", "-A")
    git("-C", committed, "commit", "-qm", "trust both")
    make_partial(committed, tmp_path, kind)
    lacks = "is in a partial clone that lacks objects of this commit, and this tool fetches nothing"
    ran = run("certs", "rotate-root", "advance", "--seen-for", "30d", cwd=committed)
    assert (ran.code, lacks in ran.err) == (2, True), ran
    assert f"fix: fetch them: git -C {committed} fetch --refetch --no-filter" in ran.err
    ran = run("diff", "--against", "HEAD", cwd=committed)
    assert (ran.code, lacks in ran.err) == (2, True), ran
    if kind != "blob":
        assert '"committed": null' in run("describe", "-o", "json", cwd=committed).out


# A person's own configuration


@pytest.fixture
def foreign(workdir: Make, tmp_path: Path) -> tuple[WorkDir, dict[str, str]]:
    """A working directory in a repository of another user, and the environment in which it is."""
    mesh = workdir(over={"secrets": {"store": "plain"}})
    git("init", "-q", mesh)
    mesh.write(".gitignore", GITIGNORE)
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
    if os.geteuid() == 0:
        for path in (mesh.path, mesh / ".git"):
            os.chown(path, 12345, 12345)
    else:  # git's own tests say it in this way
        program = tmp_path / "bin/git"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {shutil.which("git")} "$@"\n'
        )
        program.chmod(0o755)
        environment["PATH"] = f"{program.parent}:{environment['PATH']}"
    return mesh, environment


def set_personal(where: str, tmp_path: Path, text: str) -> dict[str, str]:
    """Writes a person's configuration in one of the places that git knows, and returns the variable that leads to it."""
    places = {"HOME": ".gitconfig", "XDG_CONFIG_HOME": "git/config", "GIT_CONFIG_GLOBAL": "own"}
    path = tmp_path / where / places[where]
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return {
        "HOME": str(tmp_path / "nobody"),
        where: str(path if where == "GIT_CONFIG_GLOBAL" else tmp_path / where),
    }


@pytest.mark.parametrize("where", ["HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL"])
def test_a_repository_of_another_user(
    foreign: tuple[WorkDir, dict[str, str]], run: Run, tmp_path: Path, where: str
) -> None:
    """git answers where the person calls the repository safe, wherever their configuration is; else the answer is no, with the reason."""
    mesh, environment = foreign
    ran = run("render", cwd=mesh, env={**environment, "HOME": os.devnull})
    assert ran.code == 2
    assert "is in a repository of another user, and git refuses to read it" in ran.err
    assert f"git config --global --add safe.directory {mesh}" in ran.err
    assert "add these lines" not in ran.err
    ran = run("check", cwd=mesh, env={**environment, "HOME": os.devnull})
    assert "× git-ignored" in ran.out
    assert "of another user" in ran.out
    personal = set_personal(where, tmp_path, f"[safe]\n\tdirectory = {mesh}\n")
    assert run("render", cwd=mesh, env={**environment, **personal}).code == 0
    assert "√ git-ignored" in run("check", cwd=mesh, env={**environment, **personal}).out


@pytest.mark.parametrize("where", ["HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL"])
def test_a_global_excludes_file(workdir: Make, run: Run, tmp_path: Path, where: str) -> None:
    """What a person ignores everywhere is ignored here too."""
    mesh = workdir(over={"secrets": {"store": "plain"}})
    git("init", "-q", mesh)
    mesh.write(".gitignore", "*.swp\n")
    (tmp_path / "excludes").write_text(GITIGNORE)
    assert run("render", cwd=mesh).code == 2
    personal = set_personal(where, tmp_path, f"[core]\n\texcludesFile = {tmp_path / 'excludes'}\n")
    assert run("render", cwd=mesh, env=personal).code == 0
    assert "√ git-ignored" in run("check", cwd=mesh, env=personal).out


# The lines of a .gitignore


ODD = [
    "tok[en]", "tok*en", "tok?en", "tok\\en", "!token", "#token", "token ", "token  ", " token", "to ken", "[!a]", "a]b", "**", "\\", "tok\ten", "tok\nen",
    "tok\r", "täken", "tok\u202een", "tok\u061cen", "tok\u00a0", "foo-key.pem", "certs/foo-key.pem", "credentials/../x", "./x", "a//b", "a/[b]/c d",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_gitignore_lines_match_the_name_alone(tmp_path: Path, name: str) -> None:
    """What is suggested makes git ignore the file, and not its neighbours."""
    git("init", "-q", tmp_path)
    environment = {"PATH": os.environ["PATH"], "HOME": os.devnull}
    assert git_ignore.list_unignored_files(str(tmp_path), [name], environment) == [name]
    (problem,) = git_ignore.unignored_file_problems(
        str(tmp_path), [name], ".gitignore", environment
    )
    assert problem.fix.startswith("add these lines to it:\n    ")
    lines = [line.removeprefix("    ") for line in problem.fix.split("\n")[1:]]
    assert all(line.isprintable() for line in lines)
    assert "\n" not in problem.what
    (tmp_path / ".gitignore").write_text("".join(f"{line}\n" for line in lines))
    assert git_ignore.list_unignored_files(str(tmp_path), [name], environment) == []
    others = [
        "other",
        "e",
        "n",
        "xx",
        "sub/other",
        *(["token", "tokXen", "tokXXen"] if name.isprintable() else []),
    ]
    assert git_ignore.list_unignored_files(str(tmp_path), others, environment) == others


def test_a_gitignore_line_for_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    """Such a name is matched byte by byte."""
    git("init", "-q", tmp_path)
    environment = {"PATH": os.environ["PATH"], "HOME": os.devnull}
    name = os.fsdecode(b"tok\xff\xfeen")
    (tmp_path / ".gitignore").write_text("\n".join(git_ignore.gitignore_lines([name])) + "\n")
    assert git_ignore.list_unignored_files(str(tmp_path), [name, "tokXen"], environment) == [
        "tokXen"
    ]


def test_printed_commands_quote_their_paths(workdir: Make, run: Run, tmp_path: Path) -> None:
    """A shell takes the path of a printed git command for one word."""
    mesh = workdir("a mesh; 'x'")
    git("init", "-q", mesh)
    (mesh / "out").mkdir()
    found = [run("diff", "--against", "nosuch", cwd=mesh).err]
    if os.geteuid() == 0:
        for path in (mesh / ".git", mesh.path):
            os.chown(path, 12345, 12345)
        found.append(run("diff", "--against", "HEAD", cwd=mesh).err)
    for text in found:
        command = re.search(r"git (?:-C|config) .*", text)
        assert command is not None, text
        assert str(mesh) in shlex.split(command[0].rstrip(")\n")), text
