"""How large a function may be, and how problems are built: rules that hold for every module of the package."""

import ast
import re
from collections.abc import Iterator

from kubectl_mesh.checks.table import CHECKS
from kubectl_mesh.cli import COMMANDS
from kubectl_mesh.explain import MESSAGES
from kubectl_mesh.text import Text, marked_text, plain_text, render_commands, render_paths
from tests.conftest import TOP
from tests.support.package_source import PACKAGE, list_modules

LONG: dict[str, str] = {}
"""Functions of more than 50 lines (module:function), each with its reason."""
SUPPRESSED = re.compile(r"# noqa: [A-Z0-9, ]*\b(?:C901|PLR0913|E501)\b(.*)")
CODES = TOP / "tests" / "kept" / "codes.txt"


def called_name(node: ast.Call) -> str:
    """The name of what is called, without the object that it belongs to."""
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def test_functions_are_short() -> None:
    """At most 50 lines, complexity and parameters by ruff; at most 15 exceptions in all, each with a reason."""
    found = {
        f"{name}:{node.name}"
        for name, tree, _ in list_modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 50
    }
    assert found == LONG.keys()
    suppressed = [
        m[1].strip(" -") for _, _, text in list_modules() for m in SUPPRESSED.finditer(text)
    ]
    assert all(suppressed), "a suppression without a reason"
    assert len(LONG) + len(suppressed) <= 15
    assert all(LONG.values())


def test_ruff_knows_the_limits() -> None:
    """The other limits are those of ruff, which test_lints runs over the package."""
    text = (TOP / "pyproject.toml").read_text()
    assert "line-length = 100" in text
    assert "max-complexity = 10" in text
    assert "max-args = 6" in text
    ignored = text.partition("\nignore = [")[2].partition("\n]")[0]
    assert not re.search(r'"(C901|PLR0913|E501)"', ignored)


def test_commands_of_the_command_line_are_short() -> None:
    """A file of cli has at most 80 lines, but for those that hold no command."""
    shared = {"__init__.py", "common.py", "printed_commands.py"}
    lines = {p.name: len(p.read_text().splitlines()) for p in (PACKAGE / "cli").glob("*.py")}
    assert shared <= lines.keys()
    assert not {name: n for name, n in lines.items() if n > 80 and name not in shared}


def literal_codes(node: ast.expr) -> Iterator[str]:
    """The codes that an argument spells out, in both branches of a condition."""
    if isinstance(node, ast.IfExp):
        yield from literal_codes(node.body)
        yield from literal_codes(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def test_every_problem_has_a_code() -> None:
    """A code that a problem has once had stays: those who read JSON go by it. New ones are added to tests/kept/codes.txt.

    The list has the codes that are written out where the problem is made; the others are ids of checks or come with a value.
    """
    found = set()
    for name, tree, _ in list_modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called_name(node) in ("Problem", "refuse"):
                given = [k.value for k in node.keywords if k.arg == "code"]
                assert given, f"{name}:{node.lineno}: a problem without a code"
                found |= set(literal_codes(given[0]))
    words = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
    assert not [code for code in found if not words.fullmatch(code)]
    assert sorted(found) == CODES.read_text().split()


COMMAND = re.compile(rf"kubectl mesh ({'|'.join(COMMANDS)})\b")
PLAIN = {"reports/junit.py": "the name of a suite"}
"""Modules with a text that names a command and is not a command to run."""


def written_values(tree: ast.Module) -> Iterator[ast.AST]:
    """What may hold a command as plain text: docstrings and help."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                yield statement.value
        if isinstance(node, ast.Call) and called_name(node) in ("mesh_command", "option"):
            yield node


def test_commands_in_texts_are_values() -> None:
    """No text of the package holds a command of ours but through `mesh_command`; comments of files that are written excepted."""
    found = []
    for name, tree, _ in list_modules():
        skipped = {id(inner) for node in written_values(tree) for inner in ast.walk(node)}
        found += [
            f"{name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in skipped
            and COMMAND.search(node.value)
            and not node.value.lstrip().startswith("#")
            and name not in PLAIN
        ]
    assert found == []


WORK_PATH = re.compile(r"(?<![\w./-])(certs|clusters|credentials|out)/")


def test_advice_holds_values() -> None:
    """Remedies of checks and causes of `explain` hold commands of ours and paths of a mesh as values, and are plain for programs."""
    texts = {f"{check.id}: remedy": check.remedy for check in CHECKS}
    for known in MESSAGES:
        for number, cause in enumerate(known.causes):
            for name in ("description", "remedy", "command"):
                texts[f"{known.id}: {number}: {name}"] = getattr(cause, name)
    found = []
    for place, text in texts.items():
        assert text == plain_text(text), place
        rest = render_paths(render_commands(marked_text(text), lambda _: ""), lambda _: "")
        found += [place for pattern in (COMMAND, WORK_PATH) if pattern.search(rest)]
    assert found == []
    assert sum(isinstance(text, Text) for text in texts.values()) > 50
