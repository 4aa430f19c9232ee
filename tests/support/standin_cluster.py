"""A stand-in for kubectl, and for what reconciles in clusters: Argo CD, Flux, Helm, the Sail operator, Galley, the garbage collector.

As a program it is `kubectl`: it changes a state in a file (STATE), lets every controller run until nothing changes any more, and fails where
kubectl would: a deletion that a finalizer or a healer keeps from ending is a timeout. Only the standard library, because it starts often.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

State = dict[str, Any]
Thing = dict[str, Any]
ARGO = "resources-finalizer.argocd.argoproj.io"
FINALIZED = ("kustomization", "helmrelease", "istiorevision", "istiocni", "ztunnel", "namespace")
"""The kinds whose controller adds a finalizer."""
CLUSTER_SCOPED = (
    "namespace",
    "clusterrole",
    "clusterrolebinding",
    "customresourcedefinition",
    "istio",
    "istiorevision",
    "istiocni",
    "ztunnel",
)


def singular(resource: str) -> str:
    """`istios.sailoperator.io` -> `istio`."""
    word = resource.partition(".")[0].lower()
    return f"{word[:-3]}y" if word.endswith("ies") else word.removesuffix("s")


def key_of(thing: Thing) -> str:
    """Where an object is in the state."""
    scoped = thing["kind"] in CLUSTER_SCOPED or thing["kind"].endswith("webhookconfiguration")
    return "|".join(
        (thing["cluster"], thing["kind"], "" if scoped else thing["namespace"], thing["name"])
    )


def simplify_object(cluster: str, value: Any) -> Thing:
    """An object of YAML as the state has it."""
    metadata = value["metadata"]
    notes = json.dumps(metadata.get("annotations", {}))
    return {
        "cluster": cluster,
        "kind": value["kind"].lower(),
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "labels": metadata.get("labels", {}),
        "keep": "Delete=false" in notes or '"disabled"' in notes,
        "spec": value.get("spec", {}),
    }


def chart_objects(cluster: str, chart: str, namespace: str, revision: str) -> Iterator[Thing]:
    """What a chart of Istio installs, as far as somebody would miss it or stumble over it."""
    end, rev = (
        f"-{revision}" if revision else "",
        {"istio.io/rev": revision or "default", "operator.istio.io/component": "Pilot"},
    )

    def thing(kind: str, name: str, *, keep: bool = False) -> Thing:
        return {
            "cluster": cluster,
            "kind": kind,
            "namespace": namespace,
            "name": name,
            "labels": rev,
            "keep": keep,
            "spec": {},
        }

    if chart == "istiod":
        yield thing("deployment", f"istiod{end}")
        yield thing("mutatingwebhookconfiguration", f"istio-sidecar-injector{end}")
        yield thing("validatingwebhookconfiguration", f"istio-validator{end}-{namespace}")
        yield thing("clusterrole", f"istiod-clusterrole{end}-{namespace}")
    elif chart == "base":
        yield thing("validatingwebhookconfiguration", "istiod-default-validator")
        yield thing("customresourcedefinition", "virtualservices.networking.istio.io", keep=True)
    else:
        yield thing("daemonset" if chart in ("cni", "ztunnel") else "deployment", chart)
        yield thing("clusterrole", chart)


class World:
    """The state, and the controllers that work on it."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.things: dict[str, Thing] = state["things"]

    def create(self, thing: Thing, owner: str = "") -> str:
        """Applies an object; the controller that applied it last owns it."""
        key = key_of(thing)
        known = self.things.get(key)
        if known is None:
            finalizers = (
                ["controller"]
                if thing["kind"] in FINALIZED and not thing["spec"].get("sourceFile")
                else []
            )
            self.state["created"] = self.state.get("created", 0) + 1
            self.things[key] = {
                **thing,
                "finalizers": finalizers,
                "owner": owner,
                "deleting": False,
                "uid": self.state["created"],
            }
        elif owner and known["owner"] != owner and not known["deleting"]:
            known["owner"] = owner
        return key

    def delete(self, key: str, *, foreground: bool = False) -> None:
        """Begins the deletion of an object."""
        thing = self.things.get(key)
        if thing is None or thing["deleting"]:
            return
        if foreground:
            thing["finalizers"].append("foreground")
        thing["deleting"] = True
        self.collect(key)

    def collect(self, key: str) -> None:
        """Removes an object that nothing holds."""
        if self.things[key]["deleting"] and not self.things[key]["finalizers"]:
            del self.things[key]

    def children(self, key: str) -> list[str]:
        """What an object applied or owns."""
        return [k for k, t in self.things.items() if t["owner"] == key]

    def settle(self) -> None:
        """Lets every controller run until nothing changes."""
        for _ in range(60):
            before = json.dumps(self.things, sort_keys=True)
            for key in list(self.things):
                if key in self.things:
                    self.reconcile(key)
            for key, thing in list(self.things.items()):
                # The garbage collector: what Kubernetes itself owns goes with its owner.
                if (
                    thing["owner"]
                    and thing["owner"] not in self.things
                    and thing["owner"].split("|")[1] in ("istio", "sealedsecret")
                ):
                    self.delete(key)
            if json.dumps(self.things, sort_keys=True) == before:
                return
        raise SystemExit("the clusters never come to rest")

    def reconcile(self, key: str) -> None:
        """One controller looks at one object."""
        thing = self.things[key]
        wanted = self.wanted(key, thing)
        if thing["deleting"]:
            self.finalize(key, thing)
        elif wanted is not None:
            keys = {self.create(child, key) for child in wanted}
            for child in self.children(key):
                if (
                    child not in keys
                    and thing["kind"] in ("application", "kustomization")
                    and not self.things[child]["keep"]
                ):
                    self.delete(child)

    def wanted(self, key: str, thing: Thing) -> list[Thing] | None:
        """What the controller of an object wants to exist; None where it does nothing now."""
        kind, spec, cluster = thing["kind"], thing["spec"], thing["cluster"]
        if kind == "application":
            if "automated" not in spec.get("syncPolicy", {}):
                return None
            there = spec["destination"].get("name") or cluster
            if "chart" in spec["source"]:
                values = spec["source"]["helm"]["valuesObject"]
                return list(
                    chart_objects(
                        there,
                        spec["source"]["chart"],
                        spec["destination"]["namespace"],
                        values.get("revision", ""),
                    )
                )
            return self.objects_at(spec["source"]["path"], there)
        if kind == "kustomization":
            source = f"{cluster}|gitrepository|{thing['namespace']}|{spec['sourceRef']['name']}"
            return (
                self.objects_at(spec["path"].removeprefix("./"), cluster)
                if source in self.things and not self.things[source]["deleting"]
                else None
            )
        if kind == "helmrelease":
            return list(
                chart_objects(
                    cluster,
                    spec["chart"]["spec"]["chart"],
                    thing["namespace"],
                    spec["values"].get("revision", ""),
                )
            )
        if kind == "istio":
            return [{**thing, "kind": "istiorevision", "labels": {}, "keep": False}]
        if kind in ("istiorevision", "istiocni", "ztunnel"):
            chart = "istiod" if kind == "istiorevision" else kind.removeprefix("istio")
            return list(
                chart_objects(
                    cluster,
                    chart,
                    spec["namespace"],
                    "" if thing["name"] == "default" else thing["name"],
                )
            )
        if kind == "deployment" and thing["name"] == "istio-galley":
            return [{**thing, "kind": "validatingwebhookconfiguration", "labels": {}}]
        return [{**thing, "kind": "secret"}] if kind == "sealedsecret" else None

    def objects_at(self, path: str, cluster: str) -> list[Thing] | None:
        """The objects of a path in git; None where the path is missing, and the tool reports an error."""
        found = self.state["git"].get(path)
        return None if found is None else [{**thing, "cluster": cluster} for thing in found]

    def finalize(self, key: str, thing: Thing) -> None:
        """A controller lets go of what is being deleted, once what it has to delete first is gone."""
        kind = thing["kind"]
        if kind == "namespace":
            inside = [
                k
                for k, t in self.things.items()
                if t["cluster"] == thing["cluster"] and k.split("|")[2] == thing["name"]
            ]
        elif kind == "application" and ARGO not in thing["finalizers"]:
            inside = []
        else:
            inside = [k for k in self.children(key) if not self.things[k]["keep"]]
        for child in inside:
            self.delete(child)
        if not any(child in self.things for child in inside):
            thing["finalizers"] = []
            self.collect(key)


def fits_selector(selector: str, labels: dict[str, str]) -> bool:
    """Whether labels fit a selector, of the forms that are printed."""
    for part in re.split(r",(?![^(]*\))", selector):
        if found := re.fullmatch(r"(\S+) in \(([^)]*)\)", part):
            fits = labels.get(found[1]) in found[2].split(",")
        elif "=" in part:
            name, _, value = part.partition("=")
            fits = labels.get(name) == value
        else:
            fits = part in labels
        if not fits:
            return False
    return True


def kubectl(world: World, words: list[str]) -> int:
    """Runs one command."""
    cluster, namespace, flags, rest = "hub", "", {}, []
    given = iter(words)
    for word in given:
        if word.startswith("--context="):
            cluster = word.partition("=")[2]
        elif word == "-n":
            namespace = next(given)
        elif word in ("-l", "-o", "-p"):
            flags[word] = next(given)
        elif word.startswith("--"):
            flags[word.partition("=")[0]] = word.partition("=")[2]
        else:
            rest.append(word)
    verb, rest = rest[0], rest[1:]
    if cluster not in world.state["clusters"]:
        print(f"no such context: {cluster}", file=sys.stderr)
        return 1
    if verb == "patch":
        for name in rest:
            kind, _, title = name.partition("/")
            thing = world.things[f"{cluster}|{singular(kind)}|{namespace}|{title}"]
            thing["finalizers"] = json.loads(flags["-p"])["metadata"]["finalizers"]
        return 0
    if "/" in rest[0]:
        rest = [rest[0].partition("/")[0], *(word.partition("/")[2] for word in rest)]
    kinds, names = [singular(word) for word in rest[0].split(",")], rest[1:]
    found = [
        key
        for kind in kinds
        for key, thing in world.things.items()
        if thing["cluster"] == cluster
        and thing["kind"] == kind
        and (not key.split("|")[2] or namespace == key.split("|")[2] or "--all-namespaces" in flags)
        and (
            thing["name"] in names
            or ("-l" in flags and fits_selector(flags["-l"], thing["labels"]))
            or (not names and "-l" not in flags)
        )
    ]
    if verb == "get":
        print("".join(f"{key.split('|')[1]}/{key.split('|')[3]}\n" for key in found), end="")
        return 0
    if verb == "delete":
        if len(found) < len(names) and "--ignore-not-found" not in flags:
            print("Error from server (NotFound)", file=sys.stderr)
            return 1
        for key in found:
            world.delete(key, foreground=flags.get("--cascade") == "foreground")
    elif (verb, flags.get("--for")) != ("wait", "delete"):
        print(f"not known here: {words}", file=sys.stderr)
        return 64
    world.settle()
    left = [key for key in found if key in world.things]
    if left:
        print(f"error: timed out waiting for the condition on {left}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    with open(os.environ["STATE"]) as file:
        loaded = json.load(file)
    code = kubectl(World(loaded), sys.argv[1:])
    with open(os.environ["STATE"], "w") as file:
        json.dump(loaded, file)
    raise SystemExit(code)
