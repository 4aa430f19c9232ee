"""Our own commands are printed with the options that a run was given: over all verbs, and from what verbs say."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest

from kubectl_mesh.checks.check import Unknown
from kubectl_mesh.checks.result import Result
from kubectl_mesh.checks.table import CHECKS
from kubectl_mesh.cli import COMMANDS, printed_commands, root_command
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.reports.checks import _result_lines
from kubectl_mesh.text import mesh_command, plain_text, work_path, wrap_text
from kubectl_mesh.workdir.places import relocate_problems
from tests.conftest import Run, WorkDir
from tests.support.authorities import make_root

Make = Callable[..., WorkDir]
WITHOUT = {"adopt"}
"""Verbs that take a whole mesh as dumps; tests/cli/test_adopt.py runs them."""


def leaves(
    command: click.Command = root_command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from leaves(below, (*path, name))


LEAVES = dict(leaves())


def printed(text: str, **given: str) -> str:
    """A text as a run with these options prints it."""
    context = click.Context(root_command)
    context.meta[printed_commands.RECORDED_OPTIONS] = {
        {"directory": "-C"}.get(name, f"--{name}"): value for name, value in given.items()
    }
    with context:
        return printed_commands.complete_commands(text)


@pytest.mark.parametrize("path", list(LEAVES), ids=" ".join)
def test_each_verb_gets_what_it_takes(path: tuple[str, ...]) -> None:
    """What says where things are, in one order, quoted; once, and nothing that the verb does not know."""
    takes = {name for param in LEAVES[path].params for name in param.opts}
    given = {"-C": "a mesh", "--out": "tree", "--kubeconfig": "k.yaml"}
    wanted = "".join(
        f" {name} {shlex.quote(value)}" for name, value in given.items() if name in takes
    )
    words = " ".join(path)
    whole = printed(
        f"run `{mesh_command(f'{words} NAME')}`; then\n  {mesh_command(words)} | less",
        directory="a mesh",
        out="tree",
        kubeconfig="k.yaml",
    )
    said = f"kubectl mesh {words}{wanted}"
    assert whole == f"run `{said} NAME`; then\n  {said} | less"
    stated = mesh_command(f"{words}{wanted.replace('a mesh', 'mesh')}")
    assert printed(stated, directory="x", out="y", kubeconfig="z") == plain_text(stated)
    bare = mesh_command(words)
    assert printed(bare) == printed(bare, directory=".") == plain_text(bare)


@pytest.mark.parametrize(
    "text",
    [
        "is not of kubectl mesh's making",
        "kubectl mesh renders this from Istio 1.8 on",
        "the text of somebody else: `kubectl mesh render`",
        f"take it with `{mesh_command('certs rotate-root')}`",
        f"see: {mesh_command('render --help')}",
        mesh_command("certs sign -C ROOT-DIR --to signed"),
    ],
    ids=plain_text,
)
def test_what_is_no_command_of_this_directory_stays(text: str) -> None:
    """Prose, groups of verbs, help, another directory."""
    assert printed(text, directory="mesh") == plain_text(text)


def test_a_pipe_is_none() -> None:
    """What a shell made of <(...) is gone when somebody runs the command; what nobody wrote is not printed."""
    context = LEAVES["check",].make_context(
        "check", ["--kubeconfig", "/dev/fd/9", "-C", "m"], resilient_parsing=True
    )
    assert context.meta[printed_commands.RECORDED_OPTIONS] == {"-C": "m"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
@pytest.mark.parametrize("place", ["mesh", "../{}/mesh"])
def test_what_verbs_say_can_be_run_as_it_stands(
    place: str, workdir: Make, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From another directory: every command of ours that a run prints names the directory, in reports, in refusals and in what comes next."""
    above = tmp_path_factory.mktemp("above")
    made = workdir()
    made.path.rename(above / "mesh")
    where = place.format(above.name)
    make_root(above, "joins")
    said: dict[str, str] = {}

    def go(*words: str, code: int | None = 0) -> None:
        ran = run(*words, "-C", where, cwd=above)
        assert code is None or ran.code == code, ran.err
        path = next(p for p in (words[:3], words[:2], words[:1]) if p in LEAVES)
        said[" ".join(path)] = said.get(" ".join(path), "") + ran.out + ran.err

    go("render", "--check", code=1)
    go("check", code=None)
    go("describe")
    go("graph", code=None)
    go("diff", code=1)
    go("init", "--mesh-id", "other", code=None)
    go("certs", "crl", code=2)
    go("certs", "renew", "context-east-1", code=2)
    go("certs", "rotate-root", "advance", code=2)
    go("certs", "status")
    go("render")
    go("certs", "renew", "context-east-1")
    go("certs", "revoke", "context-east-1", code=2)
    go("certs", "csr", code=2)
    go("certs", "export", code=2)
    go("tokens", "status")
    go("tokens", "rotate", "context-east-1", "advance", code=2)
    go("render")
    go("tokens", "rotate", "context-east-1", "begin")
    go("render")
    go("certs", "import-root", "--union", "joins.pem")
    go("certs", "rotate-root", "status")
    go("certs", "rotate-root", "begin", code=2)
    go("check", code=1)
    go("verify", code=None)
    go("explain", "TLSV1_ALERT_UNKNOWN_CA", code=None)
    go("certs", "rotate-root", "abort")
    go("remove", "context-west-1")
    go("add", "context-west-1", "--network", "network-west", code=None)
    go("teardown")
    whole = "".join(said.values())
    found = list(re.finditer(r"kubectl mesh((?: [a-z][a-z-]*)+)([^`\n;]*)", whole))
    commands = []
    for m in found:
        words = tuple(m[1].split())
        path = next((words[:n] for n in (3, 2, 1) if words[:n] in LEAVES), None)
        if (
            path is not None
            and any("-C" in p.opts for p in LEAVES[path].params)
            and not m[2].startswith(" --help")
        ):
            commands.append((path, m[0]))
    assert len({path for path, _ in commands}) > 5
    assert not [text for _, text in commands if f" -C {where}" not in text], (
        "a command that runs elsewhere"
    )
    assert {name.split()[0] for name in said} | WITHOUT | {
        "schema",
        "completion",
        "version",
    } == set(COMMANDS)


def test_commands_and_paths_in_texts_are_values(tmp_path: Path) -> None:
    """A command gets the options of the run, a path its directory, each once; everywhere else the text is plain."""
    what = f"{work_path('certs/root-cert.pem')} ended; {mesh_command('certs renew east --dry-run')}"
    problem = Problem(Place("certs/root-cert.pem"), what, mesh_command("render"), code="any")
    assert problem.what == "certs/root-cert.pem ended; kubectl mesh certs renew east --dry-run"
    assert str(problem) == f"certs/root-cert.pem: {problem.what}\n  fix: kubectl mesh render"
    assert problem == Problem(problem.where, str(problem.what), "kubectl mesh render")
    (moved,) = relocate_problems("a mesh", [replace(problem, id="certs-expired")])
    assert moved.what.startswith("a mesh/certs/root-cert.pem ended; ")
    assert printed(moved.marked_text, directory="a mesh") == (
        "a mesh/certs/root-cert.pem: a mesh/certs/root-cert.pem ended;"
        " kubectl mesh certs renew -C 'a mesh' east --dry-run"
        "\n  fix: kubectl mesh render -C 'a mesh'"
    )
    nested = mesh_command(f"certs import east {work_path('certs/east.csr')}")
    assert plain_text(nested) == "kubectl mesh certs import east certs/east.csr"
    assert printed(nested, directory=".") == plain_text(nested)


def test_lines_break_around_commands() -> None:
    """Marks have no width, and a command is never broken."""
    text = f"run `{mesh_command('certs renew')}`, which takes long"
    lines = [[plain_text(line) for line in wrap_text(text, n, "", "  ")] for n in (30, 36)]
    assert lines == [
        ["run", "  `kubectl mesh certs renew`,", "  which takes long"],
        ["run `kubectl mesh certs renew`,", "  which takes long"],
    ]


def test_commands_of_checks_and_schemas_have_the_options(workdir: Make, run: Run) -> None:
    """What shows the unknown, and what a schema says, name the directory too."""
    made = workdir()
    above, name = made.path.parent, made.path.name
    made.write("topology.yaml", "mesh_id: m\ncontexts:\n")
    ran = run("render", "-C", name, cwd=above)
    assert f"`kubectl mesh add -C {name} CONTEXT --network NETWORK`" in ran.err
    ran = run("check", "-C", name, cwd=above)
    assert f"`kubectl mesh add -C {name} CONTEXT --network NETWORK`" in ran.out
    unknown = Unknown("whether it opens", mesh_command("verify --identity FILE"))
    (check, *_) = CHECKS
    lines = _result_lines(Result(check, "unknown", (), unknown), {"unknown": "?"}, None)
    assert (
        printed(lines[-1], directory="m") == "      run: kubectl mesh verify -C m --identity FILE"
    )
