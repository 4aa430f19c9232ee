"""How the peers log in: tokens and what they say, the other ways, an account per peer, one bundle of remote secrets."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from kubectl_mesh import targets
from kubectl_mesh.cli import clock as shell
from kubectl_mesh.credentials.logins import parse_claims
from tests.conftest import Run, WorkDir
from tests.support.clocks import Clock
from tests.support.programs import tool

Make = Callable[..., WorkDir]
DAY = datetime(2026, 12, 1, 12, tzinfo=UTC)
SUBJECT = "system:serviceaccount:istio-system:istio-reader-service-account"
EAST1, EAST2, WEST = "context-east-1", "context-east-2", "context-west-1"


def jwt(**said: object) -> str:
    """A token that says something, with a signature that nobody made."""
    parts = [
        json.dumps(part, separators=(",", ":")).encode() for part in ({"alg": "none"}, said)
    ] + [b"made-for-tests"]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.fixture
def modern(workdir: Make) -> Make:
    """Makes working directories with a starter of the kind Istio."""

    def make(**words: object) -> WorkDir:
        made = workdir(**words)
        made.write("base.yaml", targets.KINDS["Istio"].STARTER)
        return made

    return make


def kubeconfig(path: Path) -> dict[str, object]:
    """The kubeconfig inside a remote secret."""
    ((_, data),) = yaml.safe_load(path.read_text())["data"].items()
    found: dict[str, object] = yaml.safe_load(base64.b64decode(data))
    return found


def test_claims() -> None:
    """A token is read without its key; what is none gives nothing, and no error."""
    end = int((DAY + timedelta(days=10)).timestamp())
    said = parse_claims(jwt(sub=SUBJECT, aud=["https://kubernetes.default.svc"], exp=end))
    assert said is not None
    assert (said.subject, said.audience, said.expires) == (
        SUBJECT,
        ("https://kubernetes.default.svc",),
        DAY + timedelta(days=10),
    )
    forever = parse_claims(jwt(sub="x", aud="one"))
    assert forever is not None
    assert (forever.audience, forever.expires) == (("one",), None)
    for odd in (
        "",
        "opaque",
        "a.b",
        "a.b.c",
        "..",
        "e30.W10.x",
        "e30.bnVsbA.x",
        jwt(exp="soon"),
        jwt(exp=1e400),
        jwt(aud=5),
        "é.é.é",
    ):
        assert parse_claims(odd) is None, odd


def test_describe_and_check_judge_a_token(
    modern: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """describe shows whose a token is and when it ends; check warns, fails within a time, and fails for one that is over."""
    monkeypatch.setattr(shell, "read_clock", lambda: DAY)
    mesh = modern(tokens=True)
    mesh.token(WEST, jwt(sub=SUBJECT, aud="api", exp=int((DAY + timedelta(days=10)).timestamp())))
    mesh.token(EAST1, jwt(sub=SUBJECT))
    assert run("render", cwd=mesh).code == 0
    told = {
        c["name"]: c["tokens"]
        for c in json.loads(run("describe", "-o", "json", cwd=mesh).out)["clusters"]
    }
    assert told[WEST] == [
        {
            "peer": None,
            "subject": SUBJECT,
            "audience": ["api"],
            "issued": None,
            "ageDays": None,
            "expires": "2026-12-11T12:00:00Z",
            "daysLeft": 10,
        }
    ]
    assert told[EAST1][0]["expires"] is None
    assert told[EAST2][0]["subject"] is None
    text = run("describe", cwd=mesh).out
    assert f"expires 2026-12-11 (10 days), {SUBJECT}" in text
    assert f"never expires, {SUBJECT}" in text

    def findings(*words: str) -> tuple[int, dict[str, str]]:
        ran = run("check", "-o", "json", *words, cwd=mesh)
        return ran.code, {c["id"]: c["status"] for c in json.loads(ran.out)["checks"]}

    code, found = findings()
    assert (code, found["token-expiring"], found["token-expired"]) == (0, "warning", "unknown")
    assert findings("--fail-within", "9d")[0] == 0
    code, found = findings("--fail-within", "11d")
    assert (code, found["token-expiring"]) == (1, "error")
    monkeypatch.setattr(shell, "read_clock", lambda: DAY + timedelta(days=11))
    code, found = findings()
    assert (code, found["token-expired"]) == (1, "error")


def test_exec(modern: Make, run: Run) -> None:
    """The command stands in the kubeconfig as client-go reads it, and istiod of the peers, and of them alone, is told to allow it."""
    login = {"command": "aws", "args": ["eks", "get-token"], "env": {"AWS_PROFILE": "mesh"}}
    mesh = modern(tokens=[EAST1, EAST2], over={"contexts": {WEST: {"credential": {"exec": login}}}})
    base = (
        mesh / "base.yaml"
    ).read_text() + "    pilot: {env: {PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS: gcp}}\n"
    mesh.write("base.yaml", base)
    assert run("render", "--strict", cwd=mesh).code == 0
    user = kubeconfig(mesh / f"out/{EAST1}/3-mesh/remote-secrets/{WEST}.yaml")["users"]
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "args": ["eks", "get-token"],
        "command": "aws",
        "env": [{"name": "AWS_PROFILE", "value": "mesh"}],
        "interactiveMode": "Never",
        "provideClusterInfo": False,
    }
    assert user == [{"name": WEST, "user": {"exec": command}}]
    env = {
        name: yaml.safe_load((mesh / f"out/{name}/2-control-plane/istio.yaml").read_text())["spec"][
            "values"
        ]["pilot"]["env"]
        for name in (EAST1, WEST)
    }
    assert env[EAST1] == {"PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS": "exec,gcp"}
    assert env[WEST] == {"PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS": "gcp"}
    assert not (mesh / f"out/{WEST}/3-mesh/reader-token.yaml").exists()


def test_oidc_and_client_certificate(modern: Make, run: Run, tmp_path: Path) -> None:
    """What files hold is embedded, kept out of git, asked for while it is missing, and shown nowhere; kubectl reads the result."""
    oidc = {
        "issuerURL": "https://login.example.com",
        "clientID": "mesh",
        "idTokenFile": "keys/west.id",
        "refreshTokenFile": "keys/west.refresh",
    }
    certificate = {"certificateFile": "keys/east.crt", "keyFile": "keys/east.key"}
    over = {
        "contexts": {
            WEST: {"credential": {"oidc": oidc}},
            EAST2: {"credential": {"clientCertificate": certificate}},
        }
    }
    mesh = modern(tokens=[EAST1], over=over)
    ran = run("render", cwd=mesh)
    assert ran.code == 0
    assert "its credential (the files named under credential.oidc)" in ran.out
    mesh.write("keys/west.id", "made-for-tests-id\n", 0o600)
    mesh.write("keys/west.refresh", "made-for-tests-refresh\n", 0o600)
    openssl = [
        tool("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=test",
        "-keyout",
        mesh / "keys/east.key",
        "-out",
        mesh / "keys/east.crt",
    ]
    subprocess.run(openssl, check=True, capture_output=True)
    (mesh / "keys/east.key").chmod(0o644)
    ran = run("render", "--strict", cwd=mesh)
    assert ran.code == 0, ran.err
    assert "keys/east.key: is private, but others may read it" in ran.err
    key = (mesh / "keys/east.key").read_text().splitlines()[1]
    assert not [
        word
        for word in ("made-for-tests-id", "made-for-tests-refresh", key)
        if word in ran.out + ran.err
    ]
    user = kubeconfig(mesh / f"out/{EAST1}/3-mesh/remote-secrets/{WEST}.yaml")["users"]
    config = {
        "client-id": "mesh",
        "id-token": "made-for-tests-id",
        "idp-issuer-url": "https://login.example.com",
        "refresh-token": "made-for-tests-refresh",
    }
    assert user == [{"name": WEST, "user": {"auth-provider": {"config": config, "name": "oidc"}}}]
    value = kubeconfig(mesh / f"out/{WEST}/3-mesh/remote-secrets/{EAST2}.yaml")
    (tmp_path / "config").write_text(yaml.safe_dump(value))
    seen = subprocess.run(
        [
            tool("kubectl"),
            "config",
            "view",
            "--raw",
            "-o",
            "json",
            f"--kubeconfig={tmp_path / 'config'}",
        ],
        capture_output=True,
        check=True,
    )
    user = json.loads(seen.stdout)["users"][0]["user"]
    assert base64.b64decode(user["client-key-data"]) == (mesh / "keys/east.key").read_bytes()
    # In a git repository, private files that git would take are refused by name.
    if shutil.which("git"):
        subprocess.run(["git", "init", "-q", mesh.path], check=True)
        assert "keys/west.refresh" in (mesh / ".gitignore").read_text()
        mesh.write(".gitignore", "/out/\n/certs/\n/credentials/\n")
        ran = run("render", cwd=mesh)
        assert ran.code == 2
        assert "keys/west.refresh" in ran.err
        assert "keys/east.key" in ran.err
        assert "keys/east.crt" not in ran.err


def test_an_account_per_peer(modern: Make, run: Run) -> None:
    """Each peer has its account, token and remote secret; a token that is lost withdraws nothing."""
    mesh = modern(over={"readers": "perPeer"})
    ran = run("render", cwd=mesh)
    assert ran.out.count("its token for") == 6
    assert f"credentials/{WEST}.{EAST1}.token" in ran.out
    for name in (EAST1, EAST2, WEST):
        for peer in (EAST1, EAST2, WEST):
            if name != peer:
                mesh.token(f"{name}.{peer}")
    assert run("render", "--strict", cwd=mesh).code == 0
    mine = mesh / f"out/{WEST}/3-mesh"
    account = yaml.safe_load((mine / f"reader-{EAST1}-account.yaml").read_text())["metadata"][
        "name"
    ]
    assert account == f"istio-reader-service-account-{EAST1}"
    binding = yaml.safe_load((mine / f"reader-{EAST1}-role-binding.yaml").read_text())
    assert binding["subjects"][0]["name"] == account
    assert yaml.safe_load((mine / f"reader-{EAST1}-token.yaml").read_text())["metadata"][
        "annotations"
    ] == {"kubernetes.io/service-account.name": account}
    tokens = {
        peer: kubeconfig(mesh / f"out/{peer}/3-mesh/remote-secrets/{WEST}.yaml")["users"][0][
            "user"
        ]["token"]
        for peer in (EAST1, EAST2)
    }  # type: ignore[index]
    assert tokens == {peer: f"token-of-{WEST}.{peer}" for peer in (EAST1, EAST2)}
    (mesh / f"credentials/{WEST}.{EAST1}.token").unlink()
    ran = run("render", cwd=mesh)
    assert (ran.code, "1 rendered remote secret for it would be removed" in ran.err) == (2, True)


def test_a_bundle(modern: Make, run: Run) -> None:
    """N clusters cost N remote secrets; moving between bundle and copies withdraws nothing, losing a token would and is refused."""
    mesh = modern(tokens=True)
    assert run("render", cwd=mesh).code == 0
    copy = (mesh / f"out/{EAST1}/3-mesh/remote-secrets/{WEST}.yaml").read_bytes()
    mesh.topology({"remoteSecrets": "bundle"})
    ran = run("render", cwd=mesh)
    assert ran.code == 0
    assert "kubectl" not in ran.out
    assert sorted(p.name for p in (mesh / "out/_remote-secrets").iterdir()) == [
        f"{n}.yaml" for n in (EAST1, EAST2, WEST)
    ] + ["kustomization.yaml", "mesh.lock"]
    assert (mesh / f"out/_remote-secrets/{WEST}.yaml").read_bytes() == copy
    assert (mesh / f"out/_remote-secrets/{WEST}.yaml").stat().st_mode & 0o777 == 0o600
    assert not (mesh / f"out/{EAST1}/3-mesh/remote-secrets").exists()
    assert {
        r["state"]
        for c in json.loads(run("describe", "-o", "json", cwd=mesh).out)["clusters"]
        for r in c["remoteSecrets"]
    } == {"ok"}
    assert run("render", "--cluster", WEST, cwd=mesh).code == 0
    (mesh / f"credentials/{WEST}.token").rename(mesh / "kept")
    ran = run("render", cwd=mesh)
    assert (
        ran.code,
        "1 rendered remote secret for it would be removed (as in out/_remote-secrets)" in ran.err,
    ) == (2, True)
    assert "tree-withdrawn" in run("check", cwd=mesh).out
    (mesh / "kept").rename(mesh / f"credentials/{WEST}.token")
    mesh.topology({"remoteSecrets": "copies"})
    ran = run("render", cwd=mesh)
    assert ran.code == 0
    assert "kubectl" not in ran.out
    assert not (mesh / "out/_remote-secrets").exists()
    mesh.topology({"remoteSecrets": "bundle", "contexts": {WEST: {"disableRegistryJoin": True}}})
    ran = run("render", cwd=mesh)
    assert (
        f"kubectl --context={EAST1} -n istio-system delete secret istio-remote-secret-{WEST} --ignore-not-found"
        in ran.out
    )


@pytest.mark.parametrize(
    ("version", "told"), [("1.30.3", True), ("1.29.10", False), ("1.30.4", False)]
)
def test_a_changed_remote_secret(version: str, told: bool, modern: Make, run: Run) -> None:
    """On 1.30.0 to 1.30.3 istiod may lose a cluster whose remote secret changes; render and check say so before it is applied."""
    mesh = modern(tokens=True, over={"istio": {"version": version}})
    ran = run("render", cwd=mesh)
    assert "until it restarts" not in ran.err
    mesh.token(WEST, "another")
    for words in (("check",), ("render",)):
        ran = run(*words, cwd=mesh)
        assert (
            f"{WEST}: its remote secret changes in {EAST1}, {EAST2}: istiod 1.30.0 to 1.30.3 loses all"
            in ran.out + ran.err
        ) is told
    assert ran.code == (2 if told else 0)
    assert ("until it restarts" in run("render", "--with-restarts", cwd=mesh).err) is told
    assert "until it restarts" not in run("render", cwd=mesh).err


def test_documents_of_base_yaml(modern: Make, run: Run) -> None:
    """Further documents customise CNI and ztunnel; what the mesh sets wins, and is named with its line."""
    mesh = modern(
        tokens=True,
        over={"istio": {"dataPlane": "ambient"}, "contexts": {EAST2: {"network": "third"}}},
    )
    head = "---\napiVersion: sailoperator.io/v1\nkind: "
    text = (mesh / "base.yaml").read_text()
    text += head + "IstioCNI\nspec:\n  values: {cni: {logging: {level: debug}}}\n"
    text += (
        head
        + "ZTunnel\nspec:\n  values:\n    ztunnel:\n      network: mine\n      logLevel: debug\n"
    )
    mesh.write("base.yaml", text)
    ran = run("render", cwd=mesh)
    assert ran.code == 0
    line = text.splitlines().index("      network: mine") + 1
    warned = f"warning: base.yaml:{line}:7: spec.values.ztunnel.network: is set by the mesh; the value here is lost\n"
    assert (
        ran.err.removeprefix(
            "wrote .gitignore, which keeps keys and tokens out of git\n"
        ).partition("next: ")[0]
        == warned
    )
    cni = yaml.safe_load((mesh / f"out/{WEST}/2-control-plane/istiocni.yaml").read_text())["spec"]
    assert (cni["values"], cni["profile"]) == (
        {"cni": {"logging": {"level": "debug"}}, "global": {"hub": "docker.io/istio"}},
        "ambient",
    )
    tunnel = yaml.safe_load((mesh / f"out/{WEST}/2-control-plane/ztunnel.yaml").read_text())[
        "spec"
    ]["values"]["ztunnel"]
    assert tunnel == {
        "hub": "docker.io/istio",
        "logLevel": "debug",
        "multiCluster": {"clusterName": WEST},
        "network": "network-west",
    }


def test_a_token_that_has_expired_takes_the_place_of_none(
    modern: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A render that would change remote secrets to it, or make one, is refused; one that has expired since, and stays as it is, keeps nobody from rendering."""
    monkeypatch.setattr(shell, "read_clock", lambda: DAY)
    mesh = modern(tokens=True)
    dead = jwt(sub=SUBJECT, exp=int((DAY - timedelta(days=3)).timestamp()))
    mesh.token(WEST, dead)
    first = run("render", cwd=mesh)
    assert first.code == 2
    assert first.err.startswith(
        f"error: credentials/{WEST}.token: expired on 2026-11-28, and would go into 2 remote secrets (as in out/{EAST1})\n  fix: fetch it again: (umask 077; "
    )
    assert not (mesh / "out").exists()
    mesh.token(WEST, jwt(sub=SUBJECT, exp=int((DAY + timedelta(days=3)).timestamp())))
    assert run("render", cwd=mesh).code == 0
    alive, before = (mesh / f"credentials/{WEST}.token").read_text(), mesh.snapshot()
    mesh.token(WEST, dead)
    for words in (("render",), ("render", "--check"), ("render", "--cluster", EAST1)):
        ran = run(*words, cwd=mesh)
        assert (ran.code, f"credentials/{WEST}.token: expired on 2026-11-28" in ran.err) == (
            2,
            True,
        ), words
    mesh.token(WEST, alive)
    assert mesh.snapshot() == before
    monkeypatch.setattr(shell, "read_clock", lambda: DAY + timedelta(days=9))
    assert run("render", "--check", cwd=mesh).code == 0
    assert run("render", cwd=mesh).code == 0


def signed(algorithm: str, size: int, **said: object) -> str:
    """A token whose signature is as long as one of that algorithm."""
    parts = [json.dumps({"alg": algorithm}).encode(), json.dumps(said).encode(), b"s" * size]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


WHOLE = {
    "RS256": signed("RS256", 256, sub=SUBJECT),
    "RS256 of 4096 bits": signed("RS256", 512, sub=SUBJECT),
    "ES256": signed("ES256", 64, sub=SUBJECT),
    "Rancher": "token-abcde:xyzxyzxyzxyzxyz",
    "kubeadm": "abcdef.0123456789abcdef",
    "JSON in base64": base64.urlsafe_b64encode(b'{"id": "somebody"}').decode().rstrip("="),
    "any sign": "".join(map(chr, range(0x21, 0x7F))),
}
CUT = {
    "in the signature": WHOLE["RS256"][:-20],
    "by a character": WHOLE["RS256"][:-1],
    "in the signature of a curve": WHOLE["ES256"][:-4],
    "before the signature": WHOLE["RS256"].rpartition(".")[0],
    "at the last dot": WHOLE["RS256"].rpartition(".")[0] + ".",
    "in the claims": WHOLE["RS256"][:60],
    "in the header": WHOLE["RS256"][:12],
    "doubled": WHOLE["ES256"] + "." + WHOLE["ES256"],
}
ASKED: tuple[tuple[str, ...], ...] = (
    ("render", "--check"),
    ("check",),
    ("describe",),
    ("diff",),
    ("tokens", "status"),
    ("tokens", "rotate", WEST, "status"),
    ("graph", "-o", "mermaid"),
)


def all_say(run: Run, mesh: WorkDir, said: str, token: str, *words: tuple[str, ...]) -> None:
    """Every command that could say something of a token says this, and none shows the token."""
    for command in words or ASKED:
        ran = run(*command, cwd=mesh)
        assert " ".join(said.split()) in " ".join((ran.out + ran.err).split()), (
            command,
            ran.out[-600:],
            ran.err,
        )
        assert token[20:60] not in ran.out + ran.err or len(token) < 40, command


@pytest.mark.parametrize("case", WHOLE)
def test_whole_tokens_are_taken(case: str, modern: Make, run: Run) -> None:
    """Signed ones of any key, and all that is no JSON Web Token and has no space in it; each is in the remote secrets as it was."""
    mesh = modern(tokens=True)
    mesh.token(WEST, WHOLE[case])
    ran = run("render", "--strict", cwd=mesh)
    assert ran.code == 0, ran.err
    (user,) = kubeconfig(mesh / f"out/{EAST1}/3-mesh/remote-secrets/{WEST}.yaml")["users"]  # type: ignore[misc]
    assert user["user"]["token"] == WHOLE[case]  # type: ignore[index]
    assert run("check", cwd=mesh).code == 0


@pytest.mark.parametrize("case", CUT)
def test_a_token_that_is_cut_off(case: str, modern: Make, run: Run) -> None:
    """As by a copy from a terminal: no command goes on with it, and none shows it."""
    mesh = modern(tokens=True)
    assert run("render", cwd=mesh).code == 0
    mesh.token(WEST, CUT[case])
    before = mesh.snapshot()
    commands = [c for c in ASKED if c[0] != "graph"]
    all_say(
        run,
        mesh,
        f"credentials/{WEST}.token: is a JSON Web Token that is cut off or damaged, so no API server accepts it",
        CUT[case],
        *commands,
    )
    assert run("render", cwd=mesh).code == 2
    assert run("check", cwd=mesh).code == 1
    assert mesh.snapshot() == before


OTHER = "system:serviceaccount:default:somebody"
ACCOUNTS = {
    "subject": jwt(sub=OTHER),
    "another namespace": jwt(sub=SUBJECT.replace("istio-system", "default")),
    "another account": jwt(sub=SUBJECT.replace("istio-reader-service-account", "default")),
    "claims": jwt(
        **{"kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "somebody"}}}
    ),
    "old claims": jwt(
        **{
            "kubernetes.io/serviceaccount/namespace": "default",
            "kubernetes.io/serviceaccount/service-account.name": "somebody",
        }
    ),
    "no account": jwt(sub="somebody@example.com"),
}


@pytest.mark.parametrize("case", ACCOUNTS)
def test_a_token_of_another_account(case: str, modern: Make, run: Run) -> None:
    """Peers would log in as somebody whom the tree gives no right: all commands say so, with the command that shows it, and --strict refuses."""
    mesh = modern(tokens=True)
    mesh.token(WEST, ACCOUNTS[case])
    assert run("render", cwd=mesh).code == 0
    said = parse_claims(ACCOUNTS[case])
    assert said is not None
    wanted = f'credentials/{WEST}.token: is the token of "{said.account}", and the tree lets peers read {WEST} as {SUBJECT}'
    all_say(run, mesh, wanted, ACCOUNTS[case], *(c for c in ASKED if c[0] != "graph"))
    assert "! token-account" in run("graph", "-o", "dot", cwd=mesh).out
    ask = f"kubectl --context={WEST} auth can-i list endpointslices.discovery.k8s.io --all-namespaces --as={said.account}"
    assert ask in run("render", cwd=mesh).err
    before = mesh.snapshot()
    ran = run("render", "--strict", cwd=mesh)
    assert (ran.code, f"error: {wanted}" in ran.err) == (2, True)
    assert mesh.snapshot() == before
    mesh.topology({"contexts": {WEST: {"serviceAccountReader": "default"}}})
    idle = [word for context in (EAST1, EAST2, WEST) for word in ("--unapplied", context)]
    assert ("is the token of" in run("render", *idle, cwd=mesh).err) == (case != "another account")


@pytest.mark.parametrize(
    ("minutes", "left"),
    [
        (59, "at 2026-12-01 12:59 UTC, in 59 minutes"),
        (1, "at 2026-12-01 12:01 UTC, in 1 minute"),
        (1439, "at 2026-12-02 11:59 UTC, in 23 hours"),
    ],
)
def test_a_token_that_ends_within_a_day(
    minutes: int, left: str, modern: Make, run: Run, clock: Clock
) -> None:
    """As `kubectl create token` makes them: all commands say when, `check` fails, and --strict refuses."""
    mesh = modern(tokens=True)
    token = jwt(sub=SUBJECT, exp=int((DAY + timedelta(minutes=minutes)).timestamp()))
    mesh.token(WEST, token)
    assert run("render", cwd=mesh).code == 0
    all_say(
        run,
        mesh,
        f"credentials/{WEST}.token: expires {left}",
        token,
        *(c for c in ASKED if c[0] != "graph"),
    )
    assert run("check", cwd=mesh).code == 1
    assert "token-exp" in run("graph", "--on", "2026-12-01", cwd=mesh).out
    ran = run("render", "--strict", cwd=mesh)
    assert (ran.code, f"error: credentials/{WEST}.token: expires {left}" in ran.err) == (2, True)
    mesh.token(WEST, jwt(sub=SUBJECT, exp=int((DAY + timedelta(days=2)).timestamp())))
    assert run("render", "--strict", "--with-restarts", cwd=mesh).code == 0


def test_the_next_token_is_judged_too(modern: Make, run: Run, clock: Clock) -> None:
    """Before peers move to it: cut off, of another account, or about to end."""
    mesh = modern(tokens=True, over={"istio": {"version": "1.31.0"}})
    assert run("render", cwd=mesh).code == 0
    assert run("tokens", "rotate", WEST, "begin", cwd=mesh).code == 0
    assert run("render", cwd=mesh).code == 0
    for token, said in (
        (CUT["in the signature"], "is a JSON Web Token that is cut off or damaged"),
        (ACCOUNTS["old claims"], f'is the token of "{OTHER}"'),
        (
            jwt(sub=SUBJECT, exp=int((DAY + timedelta(hours=1)).timestamp())),
            "expires at 2026-12-01 13:00 UTC, in 60 minutes",
        ),
        (
            jwt(sub=SUBJECT, exp=int((DAY - timedelta(hours=1)).timestamp())),
            "expired on 2026-12-01",
        ),
    ):
        mesh.write(f"credentials/{WEST}.token.g2", token, 0o600)
        ran = run("tokens", "rotate", WEST, "advance", cwd=mesh)
        assert (
            ran.code,
            f"error: credentials/{WEST}.token.g2: {said}" in ran.err,
            token[20:60] in ran.err,
        ) == (2, True, False), ran.err


def test_a_token_of_any_signs_is_found_where_git_tracks_it(modern: Make, run: Run) -> None:
    """Signs that a pattern would read otherwise, in clear and in base64: found, and not shown."""
    mesh = modern(tokens=True, over={"secrets": {"store": "plain"}})
    odd = r"token-abcde:x[y]z^\w{2}|(a)*$?+'~"
    mesh.token(WEST, odd)
    assert run("render", cwd=mesh).code == 0
    subprocess.run(["git", "init", "-q", mesh.path], check=True)
    mesh.write("copy.txt", f"a line\n{odd}\n")
    mesh.write(
        "other.yaml",
        base64.b64encode(f"apiVersion: v1\nkind: Secret\nmade: |\n    token: {odd}\n".encode()),
    )
    subprocess.run(["git", "-C", mesh.path, "add", "-f", "copy.txt", "other.yaml"], check=True)
    (check,) = [
        c
        for c in json.loads(run("check", "-o", "json", cwd=mesh).out)["checks"]
        if c["id"] == "git-tracked"
    ]
    assert {f["file"] for f in check["findings"]} == {"copy.txt", "other.yaml"}
    assert odd not in json.dumps(check)


@pytest.mark.parametrize("quote", ['"', "'", "`"])
def test_a_token_in_quotes_is_not_one(quote: str, modern: Make, run: Run) -> None:
    """They are visible ASCII too, and no API server takes them off."""
    mesh = modern(tokens=True)
    mesh.token(WEST, f"{quote}token-abcde:xyz{quote}")
    ran = run("render", cwd=mesh)
    assert (
        ran.code,
        "is in quotes, which are not part of a token" in ran.err,
        "abcde" in ran.err,
    ) == (2, True, False)


def test_a_render_judges_the_cas_of_servers(workdir: Make, run: Run) -> None:
    """A CA that is none is refused, whether anything else is wrong or not; and nothing is written."""
    mesh = workdir(
        tokens=True, over={"contexts": {"context-east-1": {"server": "https://203.0.113.9:6443"}}}
    )
    mesh.write("clusters/context-east-1.crt", "no certificate")
    before = mesh.snapshot()

    def refused() -> str:
        ran = run("render", cwd=mesh)
        assert (ran.code, ran.out) == (2, "")
        assert mesh.snapshot() == before
        return ran.err

    alone = refused()
    assert alone.startswith(
        "error: clusters/context-east-1.crt: is not a PEM certificate that can be read\n"
    )
    mesh.write("credentials/context-east-2.token", "")
    before = mesh.snapshot()
    both = refused()
    assert both.startswith(alone)
    assert "error: credentials/context-east-2.token: is empty\n" in both
