"""Shows intermediates that were renewed, or requested, and what comes next."""

from collections.abc import Sequence

from kubectl_mesh.model import CertsChange, Cluster
from kubectl_mesh.operations.certs_renew import RenewResult
from kubectl_mesh.reports.certs_csr import signing_text
from kubectl_mesh.safety import rollout
from kubectl_mesh.stores import STORES
from kubectl_mesh.text import mesh_command
from kubectl_mesh.x509.certificates import describe_certificate, load_certificates
from kubectl_mesh.x509.layout import CSR_FILE, intermediate_folder, next_intermediate_folder


def renew_text(result: RenewResult) -> str:
    """The intermediates that are new, and where the old ones are."""
    if result.requests is not None:
        return _requested_text(result)
    if result.change is None:
        return "no intermediate is due\n"
    names = sorted(c.name for c in result.clusters)
    return "".join(_renewed_text(result, result.change, name) for name in names)


def _renewed_text(result: RenewResult, change: CertsChange, name: str) -> str:
    dry_run, base = result.request.dry_run, result.certs
    made = describe_certificate(
        load_certificates(base, change.write[f"{intermediate_folder(name)}/ca-cert.pem"])[0]
    )
    key = "the same key" if result.request.keep_key else "a new key"
    return (
        f"{'would renew' if dry_run else 'renewed'}  {base}/{intermediate_folder(name)}\n"
        f"  {'would be' if dry_run else 'is'} valid until {made.not_after:%Y-%m-%d}, with {key};"
        f" the old one {'would go to' if dry_run else 'is now'}\n"
        f"  {base}/{change.rename[intermediate_folder(name)]}\n"
    )


def _requested_text(result: RenewResult) -> str:
    dry_run = result.request.dry_run
    names = sorted(c.name for c in result.clusters)
    would = "would write" if dry_run else "wrote"
    put = result.requests or {}
    lines = [
        f"{would if f'{next_intermediate_folder(n)}/{CSR_FILE}' in put else 'kept'} "
        f" {result.certs}/{next_intermediate_folder(n)}/{CSR_FILE}\n"
        for n in names
    ]
    return "".join(lines) + (
        "" if dry_run else signing_text(result.certs, names, result.days, renewed=True)
    )


def renew_next_text(result: RenewResult) -> str:
    """What clusters do with what was renewed, and what comes next; empty where nothing was."""
    if result.change is None:
        return ""
    if result.request.dry_run:
        return "\n".join(rollout.renewal_lines(result.clusters, result.kind))
    return next_text(result.clusters, result.kind, result.store)


def next_text(clusters: Sequence[Cluster], kind: str, store: str) -> str:
    """What these clusters do with new intermediates, and what comes next."""
    render = mesh_command("render")
    lines = [
        *rollout.renewal_lines(clusters, kind),
        f"next: `{render}`, look at the difference, and apply it, in any order",
    ]
    return "\n".join([*lines, rollout.MANUAL_STORE_STEP] if STORES[store].OUTSIDE else lines)
