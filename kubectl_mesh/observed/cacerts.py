"""What a cluster signs with: the Secret `cacerts` in each of its shapes, or `istio-ca-secret` of an
istiod that signed for itself.

istiod: pilot/pkg/bootstrap/istio_ca.go, security/pkg/pki/ca/ca.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.observed.cacerts_keys import CERT_MANAGER, key_names
from kubectl_mesh.observed.objects import PlacedObject, secret_data

CACERTS, SELF_SIGNED, ROOTS = "cacerts", "istio-ca-secret", "istio-ca-root-cert"
GENERATED = "istio-generated"
"""The key by which istiod marks a cacerts that it wrote itself (USE_CACERTS_FOR_SELF_SIGNED_CA)."""


@dataclass(frozen=True, slots=True)
class SigningCa:
    """The CA of a cluster: its files by the names that istiod has for them, and whether istiod made
    it for itself.
    """

    found: PlacedObject
    files: Mapping[str, bytes] = field(repr=False)
    own: bool
    """istiod signed for itself: no other cluster trusts what it signs."""
    issuer: tuple[str, str, str] | None = None
    """cert-manager's issuer that made it: name, kind and group."""


def is_signing_ca(found: PlacedObject) -> bool:
    """Whether an object holds what a cluster signs with."""
    return found.kind == "Secret" and not found.group and found.name in (CACERTS, SELF_SIGNED)


def parse_signing_ca(found: PlacedObject) -> SigningCa:
    """The CA in a Secret, complete; raises a `MeshError` that names what is missing."""
    data = secret_data(found)
    held = {key: body for key, body in data.items() if body.strip()}
    own = found.name == SELF_SIGNED or GENERATED in data
    if found.name == SELF_SIGNED and (certificate := held.get("ca-cert.pem")) is not None:
        held = {"cert-chain.pem": certificate, "root-cert.pem": certificate, **held}
    names = key_names(held if found.name == CACERTS else ())
    missing = [key for key in dict.fromkeys(names.values()) if key not in held]
    if missing:
        what = f"{found} lacks {' and '.join(missing)}"
        fix = (
            "istiod does not start with a part of it; dump the whole Secret"
            if found.name == CACERTS
            else "dump the whole Secret"
        )
        raise MeshError([Problem(found.place, what, fix, code="cacerts-incomplete")])
    files = {name: held[key] for name, key in names.items()}
    if names is not CERT_MANAGER:
        return SigningCa(found, files, own)
    # istiod has no chain of its own then.
    files["cert-chain.pem"] = _line(files["ca-cert.pem"]) + files["root-cert.pem"]
    return SigningCa(found, files, own, _issuer(found))


def _issuer(found: PlacedObject) -> tuple[str, str, str] | None:
    annotations = found.words("annotations")
    name = annotations.get("cert-manager.io/issuer-name")
    kind, group = (
        annotations.get("cert-manager.io/issuer-kind", "Issuer"),
        annotations.get("cert-manager.io/issuer-group", "cert-manager.io"),
    )
    return None if name is None else (name, kind or "Issuer", group or "cert-manager.io")


def _line(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") else pem + b"\n"


def find_signing_ca(
    where: str, objects: Sequence[PlacedObject], namespace: str | None = None
) -> SigningCa:
    """The CA among the objects of one cluster: `cacerts` goes before `istio-ca-secret`, as in
    istiod.
    """
    found = [o for o in objects if is_signing_ca(o)]
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
                        code="several-signing-cas",
                    )
                ]
            )
        if inside:
            return parse_signing_ca(inside[0])
    raise MeshError(
        [
            Problem(
                Place(where),
                f"holds neither a Secret {CACERTS} nor {SELF_SIGNED}",
                f"give `kubectl get secret {CACERTS} -o yaml`",
                code="signing-ca-missing",
            )
        ]
    )


def find_trusted_roots(where: str, objects: Sequence[PlacedObject]) -> bytes:
    """The roots that a cluster trusts, as PEM: of its CA, or of the ConfigMap by which istiod tells
    them to every namespace.
    """
    if any(is_signing_ca(o) for o in objects):
        return find_signing_ca(where, objects).files["root-cert.pem"]
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
                code="several-roots" if bodies else "root-missing",
            )
        ]
    )
