"""Three answers: what files confirm, what they rule out, and what nobody can know offline, with the command that shows it."""

import base64
import json
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
import yaml

from kubectl_mesh.checks.table import CHECKS
from kubectl_mesh.explain import CLEARED, MESSAGES, OPEN, PROVEN, judge_causes
from kubectl_mesh.yaml_io import assets
from tests.conftest import SEED, Run, WorkDir
from tests.support import broken
from tests.support.authorities import authority
from tests.support.checked import check_results, page_data
from tests.support.pasted_errors import PASTED, explained

Make = Callable[..., WorkDir]
SAIL = "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {version: v1.30.3}\n"
STATED = {
    name: {"server": f"https://192.0.2.{n}:6443"}
    for n, name in enumerate(("context-east-1", "context-east-2", "context-west-1"), 1)
}


# What is pending


WAITING: dict[str, tuple[Mapping[str, object], bool, str | None]] = {
    "no-servers": ({}, False, None),
    "no-servers-sail": ({}, False, SAIL),
    "servers": ({}, True, SAIL),
    "one-server": (
        {
            "contexts": {
                "context-west-1": {
                    "server": "https://192.0.2.9:6443",
                    "certificateAuthority": "ca.crt",
                }
            }
        },
        False,
        SAIL,
    ),
    "gateway": ({"networks": {"network-west": {"gateways": [{"address": "pending"}]}}}, True, SAIL),
    "address": (
        {
            "contexts": {
                "context-east-2": {"controlPlane": "context-east-1"},
                "context-east-1": {"controlPlaneAddress": "pending"},
            }
        },
        True,
        SAIL,
    ),
    "request": ({"certificates": {"issuer": "csr"}}, True, SAIL),
    "sealing": ({"secrets": {"store": "sealed"}}, True, SAIL),
    "rotation": (
        {"contexts": {"context-west-1": {"tokens": {"generation": 1, "beside": 2}}}},
        True,
        SAIL,
    ),
}


@pytest.mark.parametrize("state", WAITING)
def test_what_is_pending_is_the_same_everywhere(state: str, workdir: Make, run: Run) -> None:
    """`render`, `check`, `describe` and `graph` report the same items with the same commands; no check of them is ok meanwhile."""
    over, kubeconfig, base = WAITING[state]
    mesh = workdir(over=over, kubeconfig=kubeconfig)
    mesh.write("ca.crt", authority())
    if base is not None:
        mesh.write("base.yaml", base)
    rendered = json.loads(run("render", "--dry-run", "-o", "json", cwd=mesh).out)["pending"]
    assert rendered
    wanted = {(p["kind"], p["subject"], p["command"]) for p in rendered}
    described = json.loads(run("describe", "-o", "json", cwd=mesh).out)["pending"]
    assert {(p["kind"], p["subject"], p["command"]) for p in described} == wanted
    data = page_data(run, mesh)
    drawn = [p for node in (*data["clusters"], *data["networks"]) for p in node["pending"]]
    assert {(p["kind"], p["subject"], p["command"]) for p in drawn} == wanted
    found = check_results(run, mesh)
    commands = {
        (check, f["fix"].removeprefix("run: "))
        for check in found
        if check.endswith("-pending")
        for f in found[check]["findings"]
    }
    assert commands == {(f"{kind}-pending", command) for kind, _, command in wanted}
    assert {found[f"{kind}-pending"]["status"] for kind, _, _ in wanted} == {"warning"}


def test_every_kind_of_pending_has_a_case() -> None:
    """The cases above meet every check whose id ends in -pending."""
    ids = {check.id for check in CHECKS if check.id.endswith("-pending")}
    assert ids == {
        f"{kind}-pending"
        for kind in (
            "server",
            "token",
            "next-token",
            "gateway",
            "address",
            "sealing",
            "certificate",
        )
    }


def test_what_has_no_server_is_not_ok(workdir: Make, run: Run) -> None:
    """Without a server nothing is said of it; with one, what files do not show is unknown."""
    mesh = workdir(kubeconfig=False)
    mesh.write("base.yaml", SAIL)
    found = check_results(run, mesh)
    asked = (
        "kubeconfig-context",
        "server-reachable",
        "server-ca",
        "server-ca-expired",
        "server-ca-expiring",
        "server-unique",
    )
    assert {found[check]["status"] for check in asked} == {"skipped"}
    mesh.write("kubeconfig.yaml", (SEED / "kubeconfig.yaml").read_bytes(), 0o600)
    found = check_results(run, mesh)
    assert {check: found[check]["status"] for check in asked} == {
        **dict.fromkeys(("kubeconfig-context", "server-ca-expired", "server-ca-expiring"), "ok"),
        **dict.fromkeys(("server-reachable", "server-ca", "server-unique"), "unknown"),
    }


def test_what_nobody_asked_is_not_ok(workdir: Make, run: Run) -> None:
    """No base.yaml, no tree, no token, no age to compare with: nothing of that is ok."""
    mesh = workdir()
    found = check_results(run, mesh)
    for check in (
        "base-valid",
        "base-lost",
        "base-identity",
        "base-reader",
        "base-registry",
        "token-expired",
        "token-expiring",
        "token-old",
    ):
        assert found[check]["status"] == "skipped", check
    for check in (
        "tree-root",
        "tree-chain",
        "tree-expired",
        "remote-server",
        "remote-login",
        "tree-identity",
        "tree-network",
    ):
        assert found[check]["status"] == "skipped", check
    mesh.write("base.yaml", SAIL)
    for name in ("context-east-1", "context-east-2", "context-west-1"):
        mesh.token(name)
    assert run("render", cwd=mesh).code == 0
    found = check_results(run, mesh)
    assert found["base-valid"]["status"] == "ok"
    assert found["tree-root"]["status"] == "ok"
    assert found["token-expired"]["status"] == "unknown", "the tokens are no JWTs"


STORES: dict[str, tuple[Mapping[str, object], tuple[str, ...]]] = {
    "cert-manager": (
        {"certificates": {"issuer": "cert-manager", "issuerRef": {"name": "mesh"}}},
        ("tree-root", "tree-chain", "tree-expired"),
    ),
    "istio-csr": (
        {"certificates": {"issuer": "istio-csr", "issuerRef": {"name": "mesh"}}},
        ("tree-root", "tree-chain", "tree-expired"),
    ),
    "external": (
        {
            "secrets": {
                "store": "external",
                "secretStore": {"kind": "ClusterSecretStore", "name": "vault"},
            }
        },
        ("tree-complete", "tree-pair"),
    ),
}


@pytest.mark.parametrize("store", STORES)
def test_what_is_not_in_the_tree_is_unknown(store: str, workdir: Make, run: Run) -> None:
    """What the clusters or a store of the user's hold is in no file."""
    over, unknown = STORES[store]
    mesh = workdir(over=over, tokens=True)
    mesh.write("base.yaml", SAIL)
    assert run("render", cwd=mesh).code == 0
    found = check_results(run, mesh)
    assert {found[check]["status"] for check in unknown} == {"unknown"}


def test_sealed_and_no_key_to_compare_with(sealed_mesh: WorkDir, run: Run) -> None:
    """A clone without the seal key knows nothing of what is sealed; where the key is, it does."""
    asked = (
        "tree-root",
        "tree-chain",
        "tree-expired",
        "remote-server",
        "remote-ca",
        "remote-login",
    )
    found = check_results(run, sealed_mesh)
    assert {found[check]["status"] for check in asked} == {"ok"}
    (sealed_mesh / "certs/seal-key").unlink()
    found = check_results(run, sealed_mesh)
    assert {found[check]["status"] for check in asked} == {"unknown"}
    assert found["tree-root"]["unknown"]["command"].startswith("kubectl mesh verify ")


def test_no_version_is_stated(workdir: Make, run: Run) -> None:
    """An IstioOperator names no version: what rests on one is unknown until the topology states it."""
    mesh = workdir()
    mesh.write(
        "base.yaml",
        "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {profile: minimal}\n",
    )
    asked = ("istio-version", "istio-known", "version-skew")
    found = check_results(run, mesh)
    assert {found[check]["status"] for check in asked} == {"unknown"}
    assert (
        found["istio-version"]["unknown"]["command"] == "istioctl version --context=context-east-1"
    )
    mesh.topology({"istio": {"version": "1.30.3"}})
    assert {check_results(run, mesh)[check]["status"] for check in asked} == {"ok"}
    mesh.topology({"istio": None, "contexts": {"context-east-1": {"istio": {"version": "1.30.3"}}}})
    assert {check_results(run, mesh)[check]["status"] for check in asked} == {"unknown"}


def test_unknown_in_every_output(workdir: Make, run: Run) -> None:
    """The exit code stays 0; text, JUnit and the page say so with the command, SARIF has no result for it."""
    mesh = workdir(tokens=True)
    mesh.write("base.yaml", SAIL)
    assert run("render", cwd=mesh).code == 0
    ran = run("check", cwd=mesh)
    assert ran.code == 0
    found = check_results(run, mesh)
    unknown = [check for check in found.values() if check["status"] == "unknown"]
    assert {"server-ca", "server-reachable", "gateway-pending"} <= {
        check["id"] for check in unknown
    }
    assert "0 errors" in ran.out
    assert f"{len(unknown)} checks need a running cluster" in ran.out
    junit = run("check", "-o", "junit", cwd=mesh).out
    data = {check["id"]: check for check in page_data(run, mesh)["checks"]}
    rules = json.loads(run("check", "-o", "sarif", cwd=mesh).out)["runs"][0]["results"]
    for check in unknown:
        what, command = check["unknown"]["what"], check["unknown"]["command"]
        assert (
            f"  ? {check['id']}: cannot be known offline: {what}\n      run: {command}\n" in ran.out
        )
        assert f"√ {check['id']}:" not in ran.out
        assert f'name="{check["id"]}: ' in junit
        if check["id"] not in (
            "token-expired",
            "token-expiring",
        ):  # the page judges these by the day
            assert data[check["id"]]["unknown"] == f"{what}; run: {command}"
        assert check["id"] not in {r["ruleId"] for r in rules}
        assert shlex.split(command)
        assert "token" not in command or "jsonpath={.metadata.creationTimestamp}" in command
    assert junit.count('message="cannot be known offline: ') == len(unknown)
    assert all(check["unknown"] is None for check in found.values() if check["status"] != "unknown")


# CAs of API servers


def ca_mesh(where: str, pem: bytes, make: Make) -> tuple[WorkDir, str]:
    """A mesh whose first cluster has a CA in one of the places that hold one, and the file of a finding about it."""
    mesh = make(over={"contexts": STATED}, tokens=True)
    for name in STATED:
        mesh.write(f"clusters/{name}.crt", authority())
    mesh.write("base.yaml", SAIL)
    if where == "file":
        mesh.write("clusters/context-east-1.crt", pem)
        return mesh, "clusters/context-east-1.crt"
    if where == "named":
        mesh.write("ca.crt", pem)
        mesh.topology({"contexts": {"context-east-1": {"certificateAuthority": "ca.crt"}}})
        return mesh, "ca.crt"
    if where == "inline":
        mesh.topology({"contexts": {"context-east-1": {"certificateAuthority": pem.decode()}}})
        return mesh, "topology.yaml"
    value = yaml.safe_load((mesh / "kubeconfig.yaml").read_text())
    number = next(
        c["context"]["cluster"] for c in value["contexts"] if c["name"] == "context-east-1"
    )
    next(c for c in value["clusters"] if c["name"] == number)["cluster"][
        "certificate-authority-data"
    ] = base64.b64encode(pem).decode()
    mesh.write("kubeconfig.yaml", yaml.safe_dump(value), 0o600)
    mesh.topology({"contexts": {"context-east-1": {"server": None}}})
    return mesh, "topology.yaml"


@pytest.mark.parametrize("where", ["file", "named", "inline", "kubeconfig"])
def test_dates_of_the_ca_of_an_api_server(where: str, workdir: Make, run: Run) -> None:
    """Expired or not yet valid is an error, expiring a warning or, with --fail-within, an error; `render` and `describe` warn of it."""
    now = datetime.now(UTC)
    mesh, file = ca_mesh(where, authority(end=now - timedelta(days=3)), workdir)
    found = check_results(run, mesh)
    (finding,) = found["server-ca-expired"]["findings"]
    assert (found["server-ca-expired"]["status"], finding["file"]) == ("error", file)
    assert (
        finding["what"]
        == f"the CA of the API server of context-east-1 expired on {now - timedelta(days=3):%Y-%m-%d}"
    )
    assert run("check", cwd=mesh).code == 1
    for words in (("render", "--dry-run"), ("render",), ("describe",), ("render", "--check")):
        ran = run(*words, cwd=mesh)
        assert finding["what"] in ran.err, words
    assert (
        explained(run, PASTED["unknown-authority"], mesh)["unknown-authority"][
            "the CA that is given for the API server has expired"
        ]
        == "proven"
    )


@pytest.mark.parametrize(
    ("begin", "end", "words", "status"),
    [
        (-400, 20, (), {"server-ca-expiring": "warning"}),
        (-400, 20, ("--fail-within", "30d"), {"server-ca-expiring": "error"}),
        (-400, 20, ("--fail-within", "10d"), {}),
        (-400, 40, (), {}),
        (-400, 40, ("--fail-within", "60d"), {"server-ca-expiring": "error"}),
        (-1, 5, (), {}),
        (2, 400, (), {"server-ca-expired": "error"}),
    ],
)
def test_windows_of_a_ca(
    begin: int, end: int, words: tuple[str, ...], status: Mapping[str, str], workdir: Make, run: Run
) -> None:
    """The usual window is 30 days, or a tenth of its life if that is less."""
    now = datetime.now(UTC)
    mesh, _ = ca_mesh(
        "file", authority(now + timedelta(days=begin), now + timedelta(days=end, hours=1)), workdir
    )
    found = check_results(run, mesh, *words)
    assert {
        check: found[check]["status"]
        for check in ("server-ca-expired", "server-ca-expiring")
        if found[check]["findings"]
    } == status


def test_a_bundle_of_cas_is_as_good_as_its_best(workdir: Make, run: Run) -> None:
    """An old CA next to the new one is how a CA is replaced."""
    now = datetime.now(UTC)
    mesh, _ = ca_mesh("file", authority(end=now - timedelta(days=3)) + authority(), workdir)
    assert check_results(run, mesh)["server-ca-expired"]["status"] == "ok"


def test_whose_a_ca_is_stays_unknown(workdir: Make, run: Run) -> None:
    """Never ok, with the command for the file that is used; two clusters with one CA are named."""
    mesh, _ = ca_mesh("file", authority(), workdir)
    unknown = check_results(run, mesh)["server-ca"]["unknown"]
    assert unknown["command"] == (
        "openssl s_client -connect 192.0.2.1:6443 -CAfile clusters/context-east-1.crt -verify_ip 192.0.2.1 -verify_return_error </dev/null"
    )
    assert "have the same CA" not in unknown["what"]
    mesh.write("clusters/context-east-2.crt", (mesh / "clusters/context-east-1.crt").read_bytes())
    assert (
        "context-east-1 and context-east-2 have the same CA"
        in check_results(run, mesh)["server-ca"]["unknown"]["what"]
    )
    mesh.topology(
        {
            "contexts": {
                "context-east-1": {
                    "server": "https://api.example.com",
                    "tlsServerName": "kubernetes",
                }
            }
        }
    )
    command = check_results(run, mesh)["server-ca"]["unknown"]["command"]
    assert "-connect api.example.com:443 -servername kubernetes " in command
    assert "-verify_hostname kubernetes " in command
    mesh, _ = ca_mesh("kubeconfig", authority(), lambda **more: workdir(name="other", **more))
    assert (
        check_results(run, mesh)["server-ca"]["unknown"]["command"]
        == "kubectl --context=context-east-1 get --raw /readyz"
    )


# Explanations


A7 = {
    "certificate-valid-for": "x509: certificate is valid for 10.0.0.1, not 203.0.113.11",
    "no-kind": 'no matches for kind "Gateway" in version "gateway.networking.k8s.io/v1"',
    "not-reached": "dial tcp 10.0.0.12:6443: i/o timeout",
    "unauthorized": "failed to list *v1.Service: Unauthorized",
}


@pytest.mark.parametrize("message", A7)
def test_what_files_cannot_know_is_never_cleared(message: str, workdir: Make, run: Run) -> None:
    """A name in a certificate, a CRD, a firewall, a token: no cause of these is ruled out by files."""
    mesh = workdir(tokens=True)
    mesh.write("base.yaml", SAIL)
    for name, other in (("context-east-1", "context-west-1"), ("context-west-1", "context-east-1")):
        mesh.token(name, f"token-of-{other}")
    assert run("render", cwd=mesh).code == 0
    states = explained(run, A7[message], mesh)[message]
    assert set(states.values()) == {"open"}
    text = run("explain", A7[message], cwd=mesh).out
    assert "√" not in text
    assert text.count("  ? cannot be known offline: ") == len(states)
    assert text.count("      see: `") == len(states)


PROOFS = {
    cause.description: cause.checks
    for known in MESSAGES
    for cause in known.causes
    if cause.is_proof
}
"""The causes that files can rule out: each is about what is in certs/, in base.yaml or in the rendered tree, and its checks read all of that."""


def test_only_what_is_in_files_is_ruled_out_by_files() -> None:
    """A new proof is a decision: the list is written down here. Nothing about servers, credentials, gateways or the cluster's state is in it."""
    assert set(PROOFS) == {
        "the clusters do not share one root",
        "an intermediate does not lead to the root beside it",
        "a certificate has expired",
        "the CA that is given for the API server has expired",
        "the clusters have different trust domains",
        "a cluster's network is not the same in the namespace's label, in the values and at the gateway",
        "a file of the tree is not as it was rendered",
        "a remote secret was deleted and is still listed",
        "a certificate is no CA, or may not sign",
        "there are two roots with the same name, as when a root was made twice with the same organization",
        "the rendered cacerts lacks a part",
        "the key is not that of the certificate",
        "the certificate is no CA",
        "the intermediate has an EC key, and Istio is older than 1.7.7",
    }
    categories = {check.id: check.category for check in CHECKS}
    for says, checks in PROOFS.items():
        assert checks, says
        assert {categories[check] for check in checks} <= {
            "certificates",
            "tree",
            "topology",
        } or checks == ("server-ca-expired",), says


@pytest.mark.parametrize(
    ("known", "cause"),
    [(k, c) for k in MESSAGES for c in k.causes],
    ids=lambda value: getattr(value, "id", None) or value.description[:40],
)
def test_every_cause_has_three_answers(known: Any, cause: Any) -> None:
    """Proven by a finding of its own checks alone; cleared only by proof that is whole; else open, with a command."""
    from kubectl_mesh.checks.check import Check
    from kubectl_mesh.checks.result import Result
    from kubectl_mesh.errors import Place, Problem

    def results(status: str, of: tuple[str, ...] = (), but: str = "ok") -> dict[str, Result]:
        finding = (Problem(Place("x"), "is wrong"),)
        table = {check.id: check for check in CHECKS}
        made: dict[str, Result] = {}
        for name, check in table.items():
            assert isinstance(check, Check)
            mine = status if name in of else but
            made[name] = Result(check, mine, finding if mine in ("error", "warning") else ())
        return made

    def state(found: dict[str, Result], versions: tuple[str, ...] = ()) -> str:
        return next(j.state for j in judge_causes(known, found, versions) if j.cause is cause)

    assert cause.command, cause.description
    assert not set(cause.checks) & set(cause.hints)
    assert set(cause.hints) <= {check.id for check in CHECKS}
    assert state(results("ok")) == (CLEARED if cause.is_proof else OPEN)
    for check in cause.checks:
        assert state(results("error", (check,))) == PROVEN
        for other in ("skipped", "unknown"):
            assert state(results(other, (check,))) == OPEN
    for hint in cause.hints:
        assert state(results("warning", (hint,))) == (CLEARED if cause.is_proof else OPEN)
    if cause.versions:
        assert state(results("ok"), ("1.29.6",)) == CLEARED
        assert state(results("ok"), ()) == OPEN
        assert state(results("ok"), ("1.29.6", cause.versions[0])) == OPEN


def test_a_cluster_without_a_version_clears_nothing(workdir: Make, run: Run) -> None:
    """One control plane of an unknown version may be of the release that has the fault."""
    mesh = workdir(
        over={"contexts": {"context-east-1": {"istio": {"version": "1.29.6"}}}}, tokens=True
    )
    mesh.write(
        "base.yaml",
        "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {profile: minimal}\n",
    )
    lost = (
        "istiod lost the endpoints of a cluster whose remote secret changed (Istio's issue 61043)"
    )
    assert (
        explained(run, PASTED["no-healthy-upstream"], mesh)["no-healthy-upstream"][lost] == "open"
    )
    mesh.topology({"istio": {"version": "1.29.6"}})
    assert (
        explained(run, PASTED["no-healthy-upstream"], mesh)["no-healthy-upstream"][lost]
        == "cleared"
    )


def test_a_broken_tree_still_proves(tmp_path: Any, run: Run) -> None:
    """The three answers do not hide what files do show."""
    mesh = WorkDir(tmp_path / "mesh")
    mesh.path.mkdir()
    broken.make(mesh, names=("a", "b", "c"), version="1.29.6")
    assert run("render", cwd=mesh).code == 0
    broken.wrong_root(mesh, "a")
    broken.relock(mesh)
    assert (
        explained(run, PASTED["unknown-ca"], mesh)["unknown-ca"][
            "the clusters do not share one root"
        ]
        == "proven"
    )


def test_dates_of_the_cas_in_status_calendar_and_alerts(workdir: Make, run: Run) -> None:
    """`certs status` lists the CAs of the API servers, its calendar has their ends, and each cluster has an alert for its own."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=100)
    mesh, _ = ca_mesh("file", authority(end=end), workdir)
    mesh.topology({"alerts": {"prometheusRule": True}})
    assert run("render", cwd=mesh).code == 0
    value = json.loads(run("certs", "status", "-o", "json", cwd=mesh).out)
    jsonschema.Draft202012Validator(assets.load_schema("output/certs-status.schema.json")).validate(
        value
    )
    assert [one["cluster"] for one in value["servers"]] == sorted(STATED)
    assert (value["servers"][0]["notAfter"], value["servers"][0]["daysLeft"]) == (
        f"{end:%Y-%m-%dT%H:%M:%SZ}",
        99,
    )
    text = " ".join(run("certs", "status", cwd=mesh).out.split())
    assert (
        f"server CAs 3; the first to expire is that of context-east-1, {end:%Y-%m-%d}, 99 days left"
        in text
    )
    calendar = run("certs", "status", "-o", "ics", cwd=mesh).out
    assert f"DTSTART:{end:%Y%m%dT%H%M%SZ}\r\n" in calendar.replace("\r\n", "\n").replace(
        "\n", "\r\n"
    )
    assert "UID:server-ca-context-east-1." in calendar
    for name in STATED:
        rules = yaml.safe_load((mesh / f"out/{name}/3-mesh/expiry-alerts.yaml").read_text())[
            "spec"
        ]["groups"][0]["rules"]
        assert {r["labels"]["subject"] for r in rules if r["labels"]["kind"] == "server-ca"} == {
            name
        }
