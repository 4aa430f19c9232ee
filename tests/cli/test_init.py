"""The flow of the original page: init with MESH_ID and ORG_NAME, a topology as the page prints it, render, init again."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import jsonschema
import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.conftest import SEED, TOP, Run, WorkDir

Make = Callable[..., WorkDir]
ENVIRONMENT = {"MESH_ID": "mymeshname", "ORG_NAME": "Acme Inc"}
SERVERS = {
    "context-east-1": "https://203.0.113.11:6443",
    "context-east-2": "https://203.0.113.12:6443",
    "context-west-1": "https://198.51.100.21:6443",
}
"""The servers of the page's kubeconfig, which a repeated init copies into topology.yaml."""
QUICK = "certificates: {keyType: ec-p256}\n"


@pytest.fixture
def mesh(tmp_path: Path) -> WorkDir:
    """A working directory that has the page's kubeconfig and nothing else."""
    made = WorkDir(tmp_path / "mesh")
    made.path.mkdir()
    made.write("kubeconfig.yaml", (SEED / "kubeconfig.yaml").read_bytes(), 0o600)
    return made


def print_topology(mesh: WorkDir, more: str = "") -> None:
    """Writes topology.yaml as the page prints it, less its mistake."""
    mesh.write("topology.yaml", (SEED / "topology.yaml").read_text() + more)


def organizations(mesh: WorkDir) -> set[str]:
    """The O= of every certificate in certs/."""
    found = set()
    for path in mesh.path.glob("certs/**/*.pem"):
        for certificate in (
            x509.load_pem_x509_certificates(path.read_bytes()) if "cert" in path.name else ()
        ):
            found |= {
                str(a.value)
                for a in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
            }
    return found


def test_the_pages_flow(run: Run, mesh: WorkDir) -> None:
    """init, topology as printed, render, init again: one organization everywhere, stated in the topology at the end; then nothing changes."""
    assert run("init", cwd=mesh, env=ENVIRONMENT).code == 0
    print_topology(mesh)
    ran = run("render", cwd=mesh, env=ENVIRONMENT)
    assert ran.code == 0, ran.err
    assert organizations(mesh) == {"Acme Inc"}
    ran = run("init", cwd=mesh, env=ENVIRONMENT)
    assert ran.code == 0, ran.err
    assert "update  topology.yaml" in ran.out
    text = (
        (SEED / "topology.yaml")
        .read_text()
        .replace("mesh_id: mymeshname\n", 'mesh_id: mymeshname\norganization: "Acme Inc"\n')
    )
    for context, server in SERVERS.items():
        text = re.sub(f"(  {context}:\n    network: .*\n)", rf"\1    server: {server}\n", text)
    assert (mesh / "topology.yaml").read_text() == text
    before = mesh.snapshot()
    ran = run("init", cwd=mesh, env=ENVIRONMENT)
    assert {line.split()[0] for line in ran.out.splitlines()} == {"keep"}
    assert mesh.snapshot() == before
    assert run("render", "--check", cwd=mesh).code == 0
    assert '"organization": "Acme Inc"' in run("describe", "-o", "json", cwd=mesh).out


def test_the_topology_comes_first(run: Run, mesh: WorkDir) -> None:
    """A topology without organization, and then init with ORG_NAME: it is filled in, and the root has it."""
    print_topology(mesh, QUICK)
    assert run("init", cwd=mesh, env=ENVIRONMENT).code == 0
    assert yaml.safe_load((mesh / "topology.yaml").read_text())["organization"] == "Acme Inc"
    assert run("render", cwd=mesh).code == 0
    assert organizations(mesh) == {"Acme Inc"}


def test_a_topology_without_a_name(run: Run, mesh: WorkDir) -> None:
    """MESH_ID fills in what is missing, before everything else and with comments in place; without it the field is missing."""
    mesh.write("topology.yaml", "# mine\ncontexts:  # two\n  context-east-1: {network: a}\n")
    assert 'the field "mesh_id" is missing' in run("init", cwd=mesh).err
    assert run("init", cwd=mesh, env=ENVIRONMENT).code == 0
    assert (mesh / "topology.yaml").read_text() == (
        '# mine\nmesh_id: mymeshname\norganization: "Acme Inc"\ncontexts:  # two\n  context-east-1: {network: a, server: https://203.0.113.11:6443}\n'
    )
    mesh.write("topology.yaml", "{contexts: {context-east-1: {network: a}}}\n")
    assert run("init", cwd=mesh, env={"MESH_ID": "m", "ORG_NAME": "Acme Inc"}).code == 0
    assert yaml.safe_load((mesh / "topology.yaml").read_text()) == {
        "mesh_id": "m",
        "organization": "Acme Inc",
        "contexts": {"context-east-1": {"network": "a", "server": SERVERS["context-east-1"]}},
    }


def test_render_comes_first(run: Run, mesh: WorkDir) -> None:
    """A root that render issued has the mesh's name; init with another ORG_NAME names the root and both ways on, and writes nothing."""
    print_topology(mesh, QUICK)
    assert run("render", cwd=mesh, env={"ORG_NAME": "Acme Inc"}).code == 0
    assert organizations(mesh) == {"mymeshname"}
    before = mesh.snapshot()
    ran = run("init", cwd=mesh, env=ENVIRONMENT)
    assert ran.code == 2
    assert ran.err == (
        "error: certs/root-cert.pem: has O=mymeshname, and ORG_NAME asks for O=Acme Inc\n"
        "  fix: unset ORG_NAME: all certificates then have O=mymeshname; or write organization: Acme Inc in topology.yaml and replace the root: "
        "`kubectl mesh certs rotate-root begin`\n"
    )
    assert mesh.snapshot() == before
    assert run("init", cwd=mesh, env={"MESH_ID": "mymeshname"}).code == 0
    assert run("init", cwd=mesh, env={"MESH_ID": "mymeshname", "ORG_NAME": "mymeshname"}).code == 0
    # The second way, as printed.
    print_topology(mesh, QUICK + "organization: Acme Inc\n")
    assert run("certs", "rotate-root", "begin", "--with-restarts", cwd=mesh).code == 0
    assert "O=Acme Inc, CN=Root CA 2" in run("certs", "status", cwd=mesh).out


def test_a_root_without_a_topology(run: Run, mesh: WorkDir) -> None:
    """A topology that is lost: init over the root takes its O=, and refuses another."""
    assert run("init", cwd=mesh, env=ENVIRONMENT).code == 0
    (mesh / "topology.yaml").unlink()
    ran = run("init", cwd=mesh, env={"MESH_ID": "mymeshname", "ORG_NAME": "Other"})
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(
        "error: certs/root-cert.pem: has O=Acme Inc, and ORG_NAME asks for O=Other\n"
    )
    assert not (mesh / "topology.yaml").exists()
    assert run("init", "--mesh-id", "mymeshname", cwd=mesh).code == 0
    print_topology(mesh)
    assert run("render", cwd=mesh).code == 0
    assert organizations(mesh) == {"Acme Inc"}
    # What is issued later has it too: an intermediate that is renewed, a second root, a request.
    assert run("certs", "renew", "--all", cwd=mesh).code == 0
    assert run("certs", "rotate-root", "begin", cwd=mesh).code == 0
    print_topology(mesh, "certificates: {issuer: csr, keyType: ec-p256}\n")
    mesh.topology(
        {
            "contexts": {
                "context-new": {"network": "network-west", "server": "https://198.51.100.22:6443"}
            }
        }
    )
    run("certs", "csr", "context-new", cwd=mesh)
    assert organizations(mesh) == {"Acme Inc"}


def test_every_conflict_is_named_at_once(run: Run, mesh: WorkDir) -> None:
    """Each value that init is asked for and that the file contradicts: its place, who asks, how to go on. The option goes before the variable."""
    print_topology(mesh, "organization: Acme\n" + QUICK)
    before = mesh.snapshot()
    words = [
        "--organization",
        "Other",
        "--issuer",
        "csr",
        "--context",
        "context-east-1=elsewhere",
        "--context",
        "new=n",
    ]
    ran = run("init", *words, cwd=mesh, env={"MESH_ID": "theirs", "ORG_NAME": "Acme"})
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        'error: --context: topology.yaml exists and does not have the context "new"\n'
        "  fix: leave it out here, and add it: `kubectl mesh add CONTEXT --network NETWORK`\n"
        'error: topology.yaml:1:1: mesh_id: is "mymeshname", and MESH_ID asks for "theirs"\n'
        "  fix: unset MESH_ID, or write mesh_id: theirs\n"
        'error: topology.yaml:4:5: contexts.context-east-1.network: is "network-east", and --context asks for "elsewhere"\n'
        "  fix: leave --context out, or write network: elsewhere\n"
        'error: topology.yaml:9:1: organization: is "Acme", and --organization asks for "Other"\n'
        "  fix: leave --organization out, or write organization: Other\n"
        'error: topology.yaml:10:1: certificates.issuer: is "local", and --issuer asks for "csr"\n'
        "  fix: leave --issuer out, or write certificates: {issuer: csr}\n"
    )
    assert mesh.snapshot() == before
    assert (
        run(
            "init", "--context", "context-east-1=network-east", "--organization", "Acme", cwd=mesh
        ).code
        == 0
    )


def test_init_keeps_the_kind_of_control_plane(run: Run, mesh: WorkDir) -> None:
    """A mesh that was rendered without base.yaml gets the starter of its own kind; one that was not says which it gets."""
    print_topology(mesh, QUICK)
    ran = run("init", cwd=mesh)
    assert ran.err.startswith(
        "note: base.yaml is new, and of kind Istio; without it a render is for Istio 1.4 (kind IstioControlPlane)\n"
    )
    ran = run("init", "--control-plane", "HelmRelease", cwd=mesh)
    assert ran.code == 2
    assert ran.err.startswith(
        "error: base.yaml: is of kind Istio, and --control-plane asks for HelmRelease\n  fix: leave --control-plane out; or move"
    )
    (mesh / "base.yaml").unlink()
    assert run("render", cwd=mesh).code == 0
    assert run("init", cwd=mesh).code == 0
    assert "kind: IstioControlPlane\n" in (mesh / "base.yaml").read_text()


EMPTY = """\
apiVersion: v1
kind: Config
clusters:
- cluster:
  name: cluster-east-1
- cluster: {}
  name: cluster-east-2
- cluster: https://198.51.100.21:6443
  name: cluster-west-1
contexts:
- context: {cluster: cluster-east-1}
  name: context-east-1
- context: {cluster: cluster-east-2}
  name: context-east-2
- context: {cluster: cluster-west-1}
  name: context-west-1
- context:
  name: context-nothing
"""
"""A kubeconfig as the page prints it, with `cluster:` and nothing below; and others that do not say where a cluster is."""


def test_a_kubeconfig_without_servers(run: Run, mesh: WorkDir) -> None:
    """`cluster:` with nothing below has no server: every command says so and how to go on, and that works."""
    print_topology(mesh, QUICK)
    mesh.write("kubeconfig.yaml", EMPTY, 0o600)
    wanted = (
        "contexts.context-east-1: its cluster in kubeconfig.yaml:4 has no server",
        "contexts.context-east-2: its cluster in kubeconfig.yaml:6 has no server",
        "contexts.context-west-1: its cluster in kubeconfig.yaml:8 is not a mapping with a server and its CA",
    )
    for words in (
        ("render",),
        ("render", "--check"),
        ("check",),
        ("diff",),
        ("describe",),
        ("certs", "renew", "--all"),
    ):
        ran = run(*words, cwd=mesh)
        said = " ".join((ran.out + ran.err).split())
        assert all(text in said for text in wanted), words
        assert "which the file does not have" not in said
    assert "has no server" in run("graph", "-o", "html", cwd=mesh).out
    assert (
        "copy it from your own kubeconfig: `kubectl mesh add context-east-1 --network NETWORK`"
        in run("render", cwd=mesh).err
    )
    mesh.write("theirs", (SEED / "kubeconfig.yaml").read_bytes())
    networks = {
        "context-east-1": "network-east",
        "context-east-2": "network-east",
        "context-west-1": "network-west",
    }
    for name, network in networks.items():
        assert (
            run("add", name, "--network", network, cwd=mesh, env={"KUBECONFIG": "theirs"}).code == 0
        )
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("context", "fault"),
    [
        ("context-east-1", "its cluster in theirs:4 has no server"),
        ("context-east-2", "its cluster in theirs:6 has no server"),
        ("context-west-1", "its cluster in theirs:8 is not a mapping with a server and its CA"),
        ("context-nothing", "its cluster in theirs:17 is not named: the context has no `cluster`"),
    ],
)
def test_init_and_add_from_such_a_kubeconfig(
    run: Run, mesh: WorkDir, context: str, fault: str
) -> None:
    """They name the way on: --server and --ca."""
    mesh.write("theirs", EMPTY)
    ran = run(
        "init", "--mesh-id", "m", "--context", f"{context}=n", "--kubeconfig", "theirs", cwd=mesh
    )
    assert ran.code == 2
    assert fault in ran.err
    assert f"`kubectl mesh add {context} --network NETWORK --server URL --ca FILE`" in ran.err
    assert run("init", "--mesh-id", "m", cwd=mesh).code == 0
    ran = run("add", context, "--network", "n", "--kubeconfig", "theirs", cwd=mesh)
    assert ran.code == 2
    assert ran.err.endswith(f"{fault}\n  fix: give --server URL (and --ca FILE)\n")


def test_every_report_has_the_name_of_the_mesh(run: Run, mesh: WorkDir) -> None:
    """Where nothing differs, nothing is rendered, nothing is on: the JSON has the mesh's name all the same, and fits its schema."""
    print_topology(mesh, QUICK + "secrets: {store: plain}\n")
    reports = {
        ("describe",): "describe",
        ("diff",): "diff",
        ("render", "--dry-run"): "render",
        ("teardown",): "teardown",
        ("certs", "status"): "certs-status",
        ("certs", "rotate-root", "status"): "certs-rotation",
    }

    def named(reports: Mapping[tuple[str, ...], str]) -> None:
        for words, schema in reports.items():
            ran = run(*words, "-o", "json", cwd=mesh)
            assert ran.code in (0, 1), ran.err
            value = json.loads(ran.out)
            jsonschema.Draft202012Validator(
                json.loads((TOP / f"schemas/output/{schema}.schema.json").read_text())
            ).validate(value)
            assert value["mesh"] == "mymeshname", words

    named(reports)
    assert run("render", cwd=mesh).code == 0
    for words in (
        ["init", "-q"],
        ["add", "out"],
        ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", "-C", mesh, *words], check=True, capture_output=True)
    same = {
        ("diff", "--against", "HEAD"): "diff",
        ("diff", "out", "out"): "diff",
        ("diff", "--cluster", "context-east-1"): "diff",
    }
    named({**reports, **same})
    for words in (("diff",), *same):
        ran = run(*words, cwd=mesh)
        assert (ran.code, ran.out.splitlines()[1]) == (0, "no difference in the mesh")
        assert ran.out.startswith("mesh mymeshname: ")
    # A lock that is damaged says nothing; the next one does.
    mesh.write("out/context-east-1/mesh.lock", "{")
    assert json.loads(run("diff", "out", "out", "-o", "json", cwd=mesh).out)["mesh"] == "mymeshname"


ASSUMED = "Attention: Istio 1.4 is assumed, because base.yaml is missing. For today's Istio, run `kubectl mesh init --control-plane Istio`."


def test_what_is_assumed_comes_first(run: Run, mesh: WorkDir) -> None:
    """Without base.yaml the first line of every report says that Istio 1.4 is assumed; with one, or one that is broken, it does not."""
    print_topology(mesh, QUICK)
    commands = (
        ("render", "--dry-run"),
        ("render",),
        ("render", "--check"),
        ("check",),
        ("describe",),
        ("describe", "-o", "table"),
    )
    for words in commands:
        out = run(*words, cwd=mesh).out
        assert out.splitlines()[0] == ASSUMED, words
    for words in (("render", "--check"), ("check",), ("describe",)):
        assert json.loads(run(*words, "-o", "json", cwd=mesh).out)["assumed"] == ASSUMED
    mesh.write("base.yaml", "kind: IstioControlPlan\n")
    for words in commands:
        assert "assumed" not in run(*words, cwd=mesh).out
    (mesh / "base.yaml").unlink()
    assert run("init", "--control-plane", "Istio", cwd=mesh).code == 0
    for words in commands:
        assert "assumed" not in run(*words, cwd=mesh).out
    for words in (("render", "--check"), ("check",), ("describe",)):
        assert json.loads(run(*words, "-o", "json", cwd=mesh).out)["assumed"] is None
    # A tree of another kind: then nothing is assumed, and the missing base.yaml is refused.
    assert run("render", cwd=mesh).code == 0
    (mesh / "base.yaml").unlink()
    assert "assumed" not in run("describe", cwd=mesh).out
    assert run("render", cwd=mesh).code == 2


def said(run: Run, mesh: WorkDir, words: tuple[str, ...]) -> list[str]:
    """The errors of a command, without their fixes."""
    ran = run(*words, cwd=mesh)
    if words[0] == "check":
        found = [
            f
            for c in json.loads(ran.out)["checks"]
            if c["status"] == "error"
            for f in c["findings"]
        ]
        return sorted(
            f"{f['file']}:{f['line']}:{f['column']}: {f['path']}: {f['what']}" for f in found
        )
    return sorted(
        line.removeprefix("error: ") for line in ran.err.splitlines() if line.startswith("error: ")
    )


ASKED = (("check", "-o", "json"), ("render",), ("diff",), ("describe",))


def test_the_value_of_a_key_that_stands_twice_is_judged(run: Run, mesh: WorkDir) -> None:
    """Each later value of a key is judged as if it were the first: shape, rules, three times over, duplicates in duplicates."""
    mesh.write(
        "topology.yaml",
        """\
mesh_id: mymeshname
contexts:
  context-east-1: {network: a}
  context-east-2: {network: a, server: "https://192.0.2.1:6443", server: "nonsense"}
  context-east-2: {netwrok: b, network: 5, network: 6}
  context-east-2: {network: c, certificateAuthority: ../ca.crt}
  context-west-1: {network: w}
networks:
  w: {gateways: [{address: 192.0.2.1}]}
mesh_id: "Not A Label"
""",
    )
    wanted = [
        'topology.yaml:10:1: mesh_id: must be a DNS-1123 label: lower-case letters, digits and `-`, at most 63, letters or digits at both ends; it is "Not A Label"',
        "topology.yaml:10:1: mesh_id: stands twice; it is on line 1 already",
        'topology.yaml:4:66: contexts.context-east-2.server: must be a URL such as https://203.0.113.11:6443, with no user, query or fragment; it is "nonsense"',
        "topology.yaml:4:66: contexts.context-east-2.server: stands twice; it is on line 4 already",
        "topology.yaml:5:20: contexts.context-east-2.netwrok: unknown field",
        "topology.yaml:5:32: contexts.context-east-2.network: must be a text, not the number 5",
        "topology.yaml:5:3: contexts.context-east-2: stands twice; it is on line 4 already",
        "topology.yaml:5:44: contexts.context-east-2.network: must be a text, not the number 6",
        "topology.yaml:5:44: contexts.context-east-2.network: stands twice; it is on line 5 already",
        'topology.yaml:6:32: contexts.context-east-2.certificateAuthority: "../ca.crt" is not in the working directory',
        "topology.yaml:6:3: contexts.context-east-2: stands twice; it is on line 4 already",
    ]
    for words in ASKED:
        assert said(run, mesh, words) == wanted, words


def test_a_base_yaml_with_a_key_that_stands_twice(run: Run, mesh: WorkDir) -> None:
    """All of it is judged, the value behind the key too."""
    print_topology(mesh, QUICK)
    mesh.write(
        "base.yaml",
        """\
apiVersion: sailoperator.io/v1
kind: Istio
spec:
  version: v1.30.3
  values:
    pilot: {autoscaleEnabled: true, replicaCoun: 2}
    pilot: {autoscaleEnabld: true}
    global: {enableReaderRBAC: true}
  version: 1.30
---
apiVersion: sailoperator.io/v1
kind: IstioCNI
spec: {version: v1.30.3, versoin: x}
""",
    )
    for words in ASKED:
        found = said(run, mesh, words)
        for text in (
            "base.yaml:6:37: spec.values.pilot.replicaCoun: unknown field",
            "base.yaml:7:5: spec.values.pilot: stands twice; it is on line 6 already",
            "base.yaml:7:13: spec.values.pilot.autoscaleEnabld: unknown field",
            "base.yaml:9:3: spec.version: stands twice; it is on line 4 already",
            "base.yaml:9:3: spec.version: must be a version as the Sail operator names it",
            "base.yaml:13:26: spec.versoin: unknown field",
        ):
            assert any(line.startswith(text) for line in found), (words, text, found)


def test_a_kubeconfig_with_a_key_that_stands_twice(run: Run, mesh: WorkDir) -> None:
    """The rest of the file is judged, and the later server too."""
    print_topology(mesh, QUICK)
    text = (SEED / "kubeconfig.yaml").read_text()
    text = text.replace(
        "    server: https://203.0.113.11:6443\n",
        "    server: https://203.0.113.11:6443\n    server: https://127.0.0.1:6443\n",
    )
    mesh.write(
        "kubeconfig.yaml", text.replace("    server: https://198.51.100.21:6443\n", ""), 0o600
    )
    for words in ASKED:
        found = said(run, mesh, words)
        for wanted in (
            "server: stands twice; it is on line 7 already",
            "is the loopback address https://127.0.0.1:6443",
            "contexts.context-west-1: its cluster in kubeconfig.yaml:",
        ):
            assert any(wanted in line for line in found), (words, wanted, found)
        assert len(found) == 3, found


def test_names_that_clash_or_are_not_labels(run: Run, mesh: WorkDir) -> None:
    """The fix names the command that renames a context, and the name that a cluster ID with capitals, `_` or `.` becomes."""
    ran = run(
        "init",
        "--mesh-id",
        "m",
        "--context",
        "context-east-1=a",
        "--context",
        "context-east-1=b",
        "--kubeconfig",
        "kubeconfig.yaml",
        cwd=mesh,
    )
    rename = "if it is the context of another cluster, rename that one: `kubectl config rename-context context-east-1 NEW --kubeconfig FILE`"
    assert (
        ran.err
        == f'error: --context: "context-east-1" is given twice\n  fix: give it once; {rename}\n'
    )
    assert (
        run(
            "init",
            "--mesh-id",
            "m",
            "--context",
            "context-east-1=a",
            "--kubeconfig",
            "kubeconfig.yaml",
            cwd=mesh,
        ).code
        == 0
    )
    for words in (("--network", "b"), ("--network", "a", "--server", "https://192.0.2.9:6443")):
        assert run("add", "context-east-1", *words, cwd=mesh).err.endswith(
            f"  fix: edit the topology to change it; {rename}\n"
        )
    mesh.topology({"contexts": {"context-east-1": {"clusterName": "East_1.prod"}}})
    for words in (("render",), ("describe",), ("diff",)):
        assert (
            "  fix: write clusterName: east-1-prod; a cluster that runs under another cluster ID gets this one\n"
            in run(*words, cwd=mesh).err
        )
