"""What a cluster signs with: the Secret `cacerts` in each of its shapes, or `istio-ca-secret` of an
istiod that signed for itself.

istiod: pilot/pkg/bootstrap/istio_ca.go, security/pkg/pki/ca/ca.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.observed.objects import Found, secret_data

CACERTS, SELF_SIGNED, ROOTS = "cacerts", "istio-ca-secret", "istio-ca-root-cert"
PARTS = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
GENERATED = "istio-generated"
"""The key by which istiod marks a cacerts that it wrote itself (USE_CACERTS_FOR_SELF_SIGNED_CA)."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The CA of a cluster: its files by the names that istiod has for them, and whether istiod made
    it for itself.
    """

    found: Found
    files: Mapping[str, bytes] = field(repr=False)
    own: bool
    """istiod signed for itself: no other cluster trusts what it signs."""
    issuer: tuple[str, str, str] | None = None
    """cert-manager's issuer that made it: name, kind and group."""


def is_authority(found: Found) -> bool:
    """Whether an object holds what a cluster signs with."""
    return found.kind == "Secret" and not found.group and found.name in (CACERTS, SELF_SIGNED)


def authority(found: Found) -> Authority:
    """The CA in a Secret, complete; raises a `MeshError` that names what is missing."""
    held = {key: body for key, body in secret_data(found).items() if body.strip()}
    if found.name == CACERTS and "tls.crt" in held:
        # istiod takes cert-manager's names first, and has no chain of its own then.
        return _complete(
            found,
            {"tls.crt": "ca-cert.pem", "tls.key": "ca-key.pem", "ca.crt": "root-cert.pem"},
            held,
            _issuer(found),
        )
    if found.name == SELF_SIGNED:
        certificate = held.get("ca-cert.pem")
        if certificate is not None:
            held = {
                **held,
                "cert-chain.pem": held.get("cert-chain.pem", certificate),
                "root-cert.pem": held.get("root-cert.pem", certificate),
            }
        return _complete(found, dict(zip(PARTS, PARTS, strict=True)), held, None)
    return _complete(found, dict(zip(PARTS, PARTS, strict=True)), held, None)


def _complete(
    found: Found,
    names: Mapping[str, str],
    held: Mapping[str, bytes],
    issuer: tuple[str, str, str] | None,
) -> Authority:
    missing = [key for key in names if key not in held]
    if missing:
        what = f"{found} lacks {' and '.join(missing)}"
        fix = (
            "istiod does not start with a part of it; dump the whole Secret"
            if found.name == CACERTS
            else "dump the whole Secret"
        )
        raise MeshError([Problem(found.place, what, fix)])
    files = {name: held[key] for key, name in names.items()}
    if "cert-chain.pem" not in files:
        files["cert-chain.pem"] = _line(files["ca-cert.pem"]) + files["root-cert.pem"]
    own = found.name == SELF_SIGNED or GENERATED in secret_data(found)
    return Authority(found, {name: files[name] for name in PARTS}, own, issuer)


def _issuer(found: Found) -> tuple[str, str, str] | None:
    annotations = found.words("annotations")
    name = annotations.get("cert-manager.io/issuer-name")
    kind, group = (
        annotations.get("cert-manager.io/issuer-kind", "Issuer"),
        annotations.get("cert-manager.io/issuer-group", "cert-manager.io"),
    )
    return None if name is None else (name, kind or "Issuer", group or "cert-manager.io")


def _line(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") else pem + b"\n"


def the_one(where: str, objects: Sequence[Found], namespace: str | None = None) -> Authority:
    """The CA among the objects of one cluster: `cacerts` goes before `istio-ca-secret`, as in
    istiod.
    """
    found = [o for o in objects if is_authority(o)]
    for name in (CACERTS, SELF_SIGNED):
        named = [o for o in found if o.name == name]
        inside = [o for o in named if o.namespace == namespace] or named
        if len(inside) > 1:
            places = ", ".join(str(o.place) for o in inside)
            raise MeshError(
                [
                    Problem(
                        Place(where),
                        f"holds {name} {len(inside)} times: {places}",
                        "give that of one cluster",
                    )
                ]
            )
        if inside:
            return authority(inside[0])
    raise MeshError(
        [
            Problem(
                Place(where),
                f"holds neither a Secret {CACERTS} nor {SELF_SIGNED}",
                f"give `kubectl get secret {CACERTS} -o yaml`",
            )
        ]
    )


def roots(where: str, objects: Sequence[Found]) -> bytes:
    """The roots that a cluster trusts, as PEM: of its CA, or of the ConfigMap by which istiod tells
    them to every namespace.
    """
    if any(is_authority(o) for o in objects):
        return the_one(where, objects).files["root-cert.pem"]
    bodies = {
        body
        for o in objects
        if o.kind == "ConfigMap"
        and o.name == ROOTS
        and isinstance(body := o.at("data", "root-cert.pem"), str)
    }
    if len(bodies) == 1:
        return bodies.pop().encode()
    what = (
        f"holds no root: neither a Secret {CACERTS} or {SELF_SIGNED}, nor a ConfigMap {ROOTS}"
        if not bodies
        else f"holds {len(bodies)} roots in {ROOTS}"
    )
    raise MeshError(
        [
            Problem(
                Place(where),
                what,
                f"give `kubectl get configmap {ROOTS} -o yaml`, or the root as PEM",
            )
        ]
    )
