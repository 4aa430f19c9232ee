"""Istio's move: retired chart repositories and image registries are found wherever a file can name them, and trees of before are changed in one step."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_mesh import targets
from kubectl_mesh.cli import clock as shell
from kubectl_mesh.istio import retired_registries, versions
from tests.conftest import TOP, Golden, Run, WorkDir, merged
from tests.support.moved_trees import DAY, MOVED, write_moved_mesh

CASES = sorted(p.name for p in MOVED.iterdir())
NEW = ("Istio", "IstioOperator", "Application", "HelmRelease")
HUB_BASE = {
    "Istio": ("spec", "values"),
    "IstioOperator": ("spec", "values"),
    "Application": ("spec", "source", "helm", "valuesObject"),
    "HelmRelease": ("spec", "values"),
}
OLD_HUB, OLD_CHARTS = (
    "registry.istio.io/release",
    "https://istio-release.storage.googleapis.com/charts",
)


def mesh(path: Path, kind: str, topology: Mapping[str, Any], base: Mapping[str, Any]) -> WorkDir:
    """Two clusters whose CAs cert-manager makes, so that no key is needed; `base` is laid over the starter's main document."""
    path.mkdir(parents=True)
    made = WorkDir(path)
    whole = {
        "mesh_id": "acme",
        "certificates": {"issuer": "cert-manager", "issuerRef": {"name": "mesh-ca"}},
        "contexts": {"east": {"network": "net-east"}, "west": {"network": "net-west"}},
    }
    made.write("topology.yaml", yaml.safe_dump(merged(whole, topology)))
    documents = [
        merged(yaml.safe_load(targets.KINDS[kind].STARTER), base.get("main", {})),
        *base.get("more", []),
    ]
    made.write("base.yaml", yaml.safe_dump_all(documents))
    return made


def nested(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """The value below a path."""
    for key in reversed(path):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def findings(run: Run, made: WorkDir, check: str) -> list[dict[str, Any]]:
    """What `check` finds under an id."""
    found = json.loads(run("check", "-o", "json", cwd=made).out)
    return next(c for c in found["checks"] if c["id"] == check)["findings"]  # type: ignore[no-any-return]


def stated(kind: str) -> list[tuple[str, dict[str, Any], dict[str, Any], str]]:
    """Each place where a kind of base.yaml, or its topology, can name a retired home: a name, topology, base, and the check."""
    values = HUB_BASE[kind]
    chart = {"version": "1.31.3"} if kind in ("Application", "HelmRelease") else {}
    cases: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
        ("topology-hub", {"istio": {"hub": OLD_HUB}}, {}, "images-gone"),
        ("topology-gcr", {"istio": {"hub": "gcr.io/istio-release"}}, {}, "images-gone"),
        ("global-hub", {}, {"main": nested((*values, "global", "hub"), OLD_HUB)}, "images-gone"),
        (
            "pilot-hub",
            {},
            {"main": nested((*values, "pilot", "hub"), "gcr.io/istio-release")},
            "images-gone",
        ),
        (
            "pilot-image",
            {},
            {"main": nested((*values, "pilot", "image"), f"{OLD_HUB}/pilot:1.30.3")},
            "images-gone",
        ),
        (
            "proxy-image",
            {},
            {
                "main": nested(
                    (*values, "global", "proxy", "image"), "gcr.io/istio-release/proxyv2:1.30.3"
                )
            },
            "images-gone",
        ),
        (
            "proxy-init-image",
            {},
            {"main": nested((*values, "global", "proxy_init", "image"), f"{OLD_HUB}/proxyv2")},
            "images-gone",
        ),
    ]
    if kind == "IstioOperator":
        cases += [
            ("spec-hub", {}, {"main": {"spec": {"hub": OLD_HUB}}}, "images-gone"),
            (
                "ztunnel-hub",
                {},
                {"main": nested((*values, "ztunnel", "hub"), OLD_HUB)},
                "images-gone",
            ),
            (
                "cni-image",
                {},
                {"main": nested((*values, "cni", "image"), f"{OLD_HUB}/install-cni:1.30.3")},
                "images-gone",
            ),
        ]
    if kind == "Istio":
        for part, below in (("IstioCNI", ("cni",)), ("ZTunnel", ("ztunnel",))):
            for where in (("global", "hub"), (*below, "hub"), (*below, "image")):
                text = OLD_HUB if where[-1] == "hub" else f"{OLD_HUB}/x:1.30.3"
                more = {
                    "apiVersion": "sailoperator.io/v1",
                    "kind": part,
                    "spec": {"values": nested(where, text)},
                }
                cases.append((f"{part}-{'-'.join(where)}", {}, {"more": [more]}, "images-gone"))
    if chart:
        for url in (OLD_CHARTS, "oci://gcr.io/istio-release/charts"):
            cases.append((f"charts-{url[:5]}", {"istio": {"charts": url}}, {}, "charts-gone"))
        cases.append(
            ("built-in", {"istio": {"hub": "built-in", "version": "1.30.8"}}, {}, "images-gone")
        )
    if kind == "Application":
        cases += [
            (
                "repo-url",
                {},
                {"main": {"spec": {"source": {"repoURL": OLD_CHARTS}}}},
                "charts-gone",
            ),
            (
                "repo-oci",
                {},
                {"main": {"spec": {"source": {"repoURL": "gcr.io/istio-release/charts"}}}},
                "charts-gone",
            ),
            (
                "cni-hub",
                {},
                {
                    "more": [
                        {
                            "apiVersion": "argoproj.io/v1alpha1",
                            "kind": "Application",
                            "spec": {
                                "source": {
                                    "chart": "cni",
                                    "helm": {"valuesObject": {"hub": OLD_HUB}},
                                }
                            },
                        }
                    ]
                },
                "images-gone",
            ),
        ]
    return cases


PLACES = [(kind, *case) for kind in NEW for case in stated(kind)]


@pytest.mark.parametrize(
    ("kind", "name", "topology", "base", "check"), PLACES, ids=[f"{p[0]}-{p[1]}" for p in PLACES]
)
def test_a_retired_home_is_found_wherever_it_is_named(
    kind: str,
    name: str,
    topology: dict[str, Any],
    base: dict[str, Any],
    check: str,
    tmp_path: Path,
    run: Run,
) -> None:
    """`check` and `render` name the place and what to write instead; the other check says nothing."""
    made = mesh(tmp_path / "mesh", kind, topology, base)
    found = findings(run, made, check)
    assert len(found) == 1, found
    assert retired_registries.SHUTDOWN_DATE in found[0]["what"]
    assert retired_registries.MOVE_PAGE in found[0]["fix"]
    other = "charts-gone" if check == "images-gone" else "images-gone"
    assert findings(run, made, other) == []
    ran = run("render", cwd=made)
    assert ran.code == 0, ran.err
    assert found[0]["what"] in ran.err


RIGHT = [
    ("mirror", {"istio": {"hub": "mirror.example.com/registry.istio.io/release"}}),
    ("mirror-port", {"istio": {"hub": "mirror.example.com:5000/gcr.io/istio-release"}}),
    ("near", {"istio": {"hub": "my-registry.istio.io.example.com/release"}}),
    ("docker", {"istio": {"hub": "docker.io/istio"}}),
    ("default", {}),
]


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize(("name", "topology"), RIGHT, ids=[r[0] for r in RIGHT])
def test_a_right_home_is_not_found(
    kind: str, name: str, topology: dict[str, Any], tmp_path: Path, run: Run
) -> None:
    """Mirrors, Docker Hub and the defaults trip nothing, neither before the render nor after it."""
    made = mesh(tmp_path / "mesh", kind, topology, {})
    for _ in range(2):
        assert findings(run, made, "images-gone") + findings(run, made, "charts-gone") == []
        assert run("render", cwd=made).code == 0


def test_a_right_chart_repository_is_not_found(tmp_path: Path, run: Run) -> None:
    """Istio's two present homes and a mirror."""
    for index, url in enumerate(
        (
            retired_registries.CHART_REPOSITORY,
            "oci://ghcr.io/istio/release/charts",
            "oci://mirror.example.com/gcr.io/istio-release/charts",
        )
    ):
        made = mesh(tmp_path / str(index), "HelmRelease", {"istio": {"charts": url}}, {})
        assert findings(run, made, "charts-gone") == []


def hubs(out: Path) -> dict[str, set[str]]:
    """Every hub in a tree by the file's name, with its path."""

    def walk(value: Any, path: str) -> list[str]:
        if isinstance(value, dict):
            return [
                x
                for k, v in value.items()
                for x in ([f"{path}.{k}={v}"] if k == "hub" else walk(v, f"{path}.{k}"))
            ]
        return []

    found: dict[str, set[str]] = {}
    for path in out.glob("*/2-control-plane/*.yaml"):
        for text in walk(yaml.safe_load(path.read_text()), ""):
            found.setdefault(path.name, set()).add(text.removeprefix(".spec."))
    return found


VALUES = {"Application": "source.helm.valuesObject", "HelmRelease": "values"}
HELM = {
    kind: {
        "istiod.yaml": {f"{at}.global.hub=HUB"},
        "istio-cni.yaml": {f"{at}.global.hub=HUB"},
        "ztunnel.yaml": {f"{at}.hub=HUB"},
    }
    for kind, at in VALUES.items()
}
EVERYWHERE: dict[str, dict[str, set[str]]] = {
    "Istio": {
        "istio.yaml": {"values.global.hub=HUB"},
        "istiocni.yaml": {"values.global.hub=HUB"},
        "ztunnel.yaml": {"values.global.hub=HUB", "values.ztunnel.hub=HUB"},
    },
    "IstioOperator": {"istiooperator.yaml": {"hub=HUB"}},
    **HELM,
}


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize(
    ("version", "needed"), [("1.31.3", False), ("1.30.8", True), ("1.29.10", False)]
)
def test_the_hub_reaches_every_object(
    kind: str, version: str, needed: bool, tmp_path: Path, run: Run
) -> None:
    """Stated, it is in each object of an ambient mesh; unstated, in those of Sail and of versions whose built-in hub is retired."""
    ambient = {"istio": {"version": version, "dataPlane": "ambient"}}
    for name, hub, expected in (
        ("stated", "registry.example.com/istio", "registry.example.com/istio"),
        ("unstated", None, "docker.io/istio" if kind == "Istio" or needed else None),
        ("built-in", "built-in", None),
    ):
        made = mesh(
            tmp_path / name, kind, merged(ambient, {"istio": {"hub": hub}} if hub else {}), {}
        )  # type: ignore[arg-type]
        assert run("render", cwd=made).code == 0
        wanted = (
            {
                file: {text.replace("HUB", expected) for text in texts}
                for file, texts in EVERYWHERE[kind].items()
            }
            if expected
            else {}
        )
        assert hubs(made / "out") == wanted


def test_the_gateway_of_istioctl_has_the_hub_of_the_control_plane(tmp_path: Path, run: Run) -> None:
    """istioctl has a hub built in, which the gateway's own file would get."""
    for index, (topology, base, expected) in enumerate(
        (
            ({}, {}, "docker.io/istio"),
            (
                {},
                {"main": {"spec": {"hub": "registry.example.com/istio"}}},
                "registry.example.com/istio",
            ),
            (
                {"istio": {"hub": "other.example.com/istio"}},
                {"main": {"spec": {"hub": "registry.example.com/istio"}}},
                "other.example.com/istio",
            ),
            ({"istio": {"version": "1.31.3"}}, {}, None),
        )
    ):
        made = mesh(tmp_path / str(index), "IstioOperator", topology, base)
        assert run("render", cwd=made).code == 0
        wanted = (
            {name: {f"hub={expected}"} for name in ("istiooperator.yaml", "eastwest.yaml")}
            if expected
            else {}
        )
        assert hubs(made / "out") == wanted


@pytest.mark.parametrize("kind", NEW)
def test_a_hub_of_base_yaml_is_kept_and_that_of_the_topology_wins(
    kind: str, tmp_path: Path, run: Run
) -> None:
    """Without `istio.hub` a stated hub stays; with it, the one of base.yaml is replaced and named, wherever it is."""
    base = {"main": nested((*HUB_BASE[kind], "global", "hub"), "mine.example.com/istio")}
    made = mesh(tmp_path / "a", kind, {"istio": {"version": "1.30.8"}}, base)
    ran = run("render", cwd=made)
    assert {text.rpartition("=")[2] for texts in hubs(made / "out").values() for text in texts} == {
        "mine.example.com/istio"
    }
    assert "global.hub: is set by the mesh" not in ran.err
    made = mesh(
        tmp_path / "b",
        kind,
        {"istio": {"version": "1.30.8", "hub": "other.example.com/istio"}},
        base,
    )
    ran = run("render", cwd=made)
    assert {text.rpartition("=")[2] for texts in hubs(made / "out").values() for text in texts} == {
        "other.example.com/istio"
    }
    assert "global.hub: is set by the mesh" in ran.err


@pytest.mark.parametrize("case", CASES)
def test_a_tree_of_before_is_changed_in_one_step(
    case: str, tmp_path: Path, run: Run, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` says what to change, `render` changes exactly that, and `diff` says what it does to running pods."""
    monkeypatch.setattr(shell, "read_clock", lambda: DAY)
    made = WorkDir(tmp_path / "mesh")
    before = write_moved_mesh(case, made.path)
    checked = json.loads(run("check", "-o", "json", cwd=made).out)
    moved = [
        f
        for c in checked["checks"]
        if c["id"] in ("images-gone", "charts-gone")
        for f in c["findings"]
    ]
    assert moved
    golden(
        MOVED / case / "check.txt",
        "".join(f"{f['file']}: {f['what']}\n  fix: {f['fix']}\n" for f in moved),
    )
    diff = run("diff", cwd=made)
    assert diff.code == 1
    golden(MOVED / case / "diff.txt", diff.out)
    assert run("render", cwd=made).code == 0
    after = {
        p.relative_to(made / "out").as_posix(): p.read_text()
        for p in (made / "out").rglob("*")
        if p.is_file()
    }
    assert after.keys() == before.keys()
    changes = ""
    for name in sorted(before):
        if name.endswith("mesh.lock"):
            continue
        changes += "".join(
            difflib.unified_diff(
                before[name].splitlines(True), after[name].splitlines(True), name, name, n=1
            )
        )
    golden(MOVED / case / "changed.diff", changes)
    lines = [
        line
        for line in changes.splitlines()
        if line[0] in "+-" and not line.startswith(("+++", "---"))
    ]
    assert lines
    assert all(
        "hub: docker.io/istio" in line
        or retired_registries.CHART_REPOSITORY in line
        or OLD_CHARTS in line
        or line.strip("+ ") in ("global:", "values:")
        for line in lines
    ), lines
    assert findings(run, made, "images-gone") + findings(run, made, "charts-gone") == []


def test_the_default_version_trips_nothing(tmp_path: Path, run: Run) -> None:
    """What `init` writes is not a release that `check` warns of."""
    for kind in NEW:
        made = mesh(tmp_path / kind, kind, {}, {})
        assert findings(run, made, "istio-security") + findings(run, made, "istio-known") == []
    assert versions.security_floor(versions.DEFAULT_VERSION) is None
    assert not versions.is_unsupported(versions.DEFAULT_VERSION)


VERSION_PATH = {"Istio": "v", "Application": "", "HelmRelease": "", "IstioOperator": ""}


@pytest.mark.parametrize("kind", NEW)
def test_a_version_is_judged_wherever_it_is_stated(kind: str, tmp_path: Path, run: Run) -> None:
    """Down to the patch level, in topology.yaml and in base.yaml; where the topology states it, base.yaml's does not count."""
    path = targets.KINDS[kind].VERSION
    for version, check in (
        ("1.30.6", "istio-security"),
        ("1.31.2", "istio-security"),
        ("1.28.9", "istio-security"),
        (f"1.{versions.NEWEST_MINOR + 1}.0", "istio-known"),
        ("1.30.7", None),
    ):
        base = {"main": nested(path, VERSION_PATH[kind] + version)}
        for name, topology, main in (
            ("base", {}, base),
            ("topology", {"istio": {"version": version}}, {}),
        ):
            made = mesh(tmp_path / f"{name}-{version}", kind, topology, main)
            for each in ("istio-security", "istio-known"):
                found = findings(run, made, each)
                assert len(found) == (1 if each == check else 0), (name, version, each, found)
                if found:
                    assert version in found[0]["what"]
                    assert found[0]["file"].endswith(f"{name}.yaml")
        made = mesh(tmp_path / f"both-{version}", kind, {"istio": {"version": "1.31.3"}}, base)
        assert findings(run, made, "istio-security") + findings(run, made, "istio-known") == []


def test_ranges_of_versions() -> None:
    """A line of releases counts where any release of it does; a version that nobody states has no fault."""
    assert [
        v
        for v in ("1.29.9", "1.30", "1.30.0", "1.30.3", "1.30.4", "1.31", None)
        if versions.can_lose_endpoints(v)
    ] == ["1.30", "1.30.0", "1.30.3"]
    assert [
        v for v in ("1.25", "1.25.0", "1.25.1", "1.25.2") if versions.has_fault(v, "one-root")
    ] == ["1.25", "1.25.1"]
    assert versions.retired_built_in_hub("1.30.8") == OLD_HUB
    assert versions.retired_built_in_hub("1.31.0") is None
    assert [
        versions.parse_version(t)
        for t in (
            "v1.30.3",
            "1.30-latest",
            "1.25.3+tetrate3",
            "1.24.3-solo",
            "latest",
            "1.301",
            1.3,
        )
    ] == [*("1.30.3", "1.30", "1.25.3", "1.24.3", None, "1.301", "1.3")]


def test_every_release_fact_has_a_source() -> None:
    """Each entry of the data says where it comes from."""
    data = versions.RELEASES
    for entry in (
        data["default"],
        data["charts"],
        data["images"],
        *data["security"],
        *data["faults"].values(),
    ):
        assert entry["source"]
    assert data["changesSource"]
    assert [c["minor"] for c in data["changes"]] == sorted(c["minor"] for c in data["changes"])
    assert data["changes"][-1]["minor"] == data["newest"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OLD_CHARTS, [("charts", retired_registries.CHART_REPOSITORY)]),
        (
            "oci://gcr.io/istio-release/charts/istiod",
            [("charts", "oci://ghcr.io/istio/release/charts/istiod")],
        ),
        ("registry.istio.io/release/pilot:1.30.3", [("images", "docker.io/istio/pilot:1.30.3")]),
        ("GCR.io/istio-release", [("images", "docker.io/istio")]),
        ("registry.istio.io/testing", [("images", None)]),
        ("gcr.io/istio-release", [("images", "docker.io/istio")]),
        ("global:\n  hub: registry.istio.io/release\n", [("images", "docker.io/istio")]),
        ("https://mirror.example.com/gcr.io/istio-release/charts", []),
        ("gcr.io/istio-release-mine", []),
        ("gcr.io/istio-testing", []),
        ("us.gcr.io/istio-release", []),
        ("registry.istio.io.example.com/release", []),
    ],
)
def test_what_a_text_names(text: str, expected: list[tuple[str, str | None]]) -> None:
    """A name counts at the beginning of a word alone, and to its end."""
    assert [(n.kind, n.replacement) for n in retired_registries.find_retired(text)] == expected


EXPLAINED = {
    "REFERENCE.md",
    "docs/istio-move.md",
    "kubectl_mesh/explain/delivery.py",
    "kubectl_mesh/istio/retired_registries.py",
    "kubectl_mesh/istio/releases.json",
    "kubectl_mesh/targets/images.py",
}
"""The files that say of a retired place that it is retired."""


def test_no_file_names_a_retired_home() -> None:
    """Whatever is rendered, generated or documented names the present ones, but where the move itself is explained."""
    tops = (
        "kubectl_mesh",
        "templates",
        "schemas",
        "docs",
        "examples",
        "out",
        "tests/golden",
        "README.md",
        "REFERENCE.md",
        "CHANGELOG.md",
    )
    files = [
        p
        for top in tops
        for p in ([TOP / top] if (TOP / top).is_file() else sorted((TOP / top).rglob("*")))
        if p.suffix in (".py", ".json", ".md", ".yaml", ".txt", ".sh", ".lock")
    ]
    assert len(files) > 1000
    named = {
        p.relative_to(TOP).as_posix()
        for p in files
        if any(
            old in p.read_text(errors="replace")
            for old in (
                "istio-release.storage.googleapis.com",
                "gcr.io/istio-release",
                "registry.istio.io",
            )
        )
    }
    assert named == EXPLAINED


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("pilot", "enabled"), False),
        (("global", "remotePilotAddress"), "192.0.2.7"),
        (("pilot", "env", "ENABLE_CA_SERVER"), "false"),
    ],
    ids=["pilot", "remote", "ca"],
)
def test_base_yaml_does_not_take_istiod_away(
    kind: str, keys: tuple[str, ...], value: object, tmp_path: Path, run: Run
) -> None:
    """A setting that leaves clusters without what they need is an error with its place, in `render` and `check`."""
    made = mesh(tmp_path / "mesh", kind, {}, {"main": nested((*HUB_BASE[kind], *keys), value)})
    found = findings(run, made, "base-identity")
    assert [f["path"].endswith(".".join(keys)) for f in found] == [True]
    ran = run("render", cwd=made)
    assert (ran.code, found[0]["what"] in ran.err) == (2, True)
    assert not (made / "out").exists()


def test_a_hub_that_no_file_shows_is_unknown(tmp_path: Path, run: Run) -> None:
    """`built-in` leaves it to the operator: neither an error nor right, with the command that shows it."""
    made = mesh(tmp_path / "mesh", "Istio", {"istio": {"hub": "built-in"}}, {})
    (check,) = [
        c
        for c in json.loads(run("check", "-o", "json", cwd=made).out)["checks"]
        if c["id"] == "images-gone"
    ]
    assert (check["status"], check["findings"]) == ("unknown", [])
    assert "get pods --all-namespaces" in json.dumps(check["unknown"])
    made = mesh(tmp_path / "other", "HelmRelease", {"istio": {"hub": "built-in"}}, {})
    (check,) = [
        c
        for c in json.loads(run("check", "-o", "json", cwd=made).out)["checks"]
        if c["id"] == "images-gone"
    ]
    assert check["status"] == "ok"


def test_istio_1_4_has_a_hub_only_where_one_is_stated(tmp_path: Path, run: Run) -> None:
    """Its built-in registry, docker.io/istio, stays; a stated one is in the IstioControlPlane and wins over base.yaml's."""
    for index, (hub, base, expected) in enumerate(
        (
            (None, {}, None),
            ("mine.example.com/istio", {}, "mine.example.com/istio"),
            (None, {"main": {"spec": {"hub": "old.example.com/istio"}}}, "old.example.com/istio"),
        )
    ):
        path = tmp_path / str(index)
        made = mesh(path, "IstioControlPlane", {"istio": {"hub": hub}} if hub else {}, base)
        made.write(
            "topology.yaml",
            yaml.safe_dump(
                {
                    k: v
                    for k, v in yaml.safe_load((made / "topology.yaml").read_text()).items()
                    if k != "certificates"
                }
            ),
        )
        made.topology({"certificates": {"keyType": "ec-p256"}})
        assert run("render", cwd=made).code == 0
        assert findings(run, made, "images-gone") == []
        value = yaml.safe_load(
            (made / "out/east/2-control-plane/istiocontrolplane.yaml").read_text()
        )
        assert value["spec"].get("hub") == expected
