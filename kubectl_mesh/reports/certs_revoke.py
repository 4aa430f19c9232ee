"""Shows the CRLs of a mesh that were signed."""

import shlex

from kubectl_mesh.operations.certs_revoke import CrlResult
from kubectl_mesh.text import count_text, mesh_command


def crl_text(result: CrlResult) -> str:
    """What is revoked, until when, and what comes next."""
    crl = result.crl
    action = "update" if result.existed else "create"
    until = f"{crl.next_update:%Y-%m-%d}"
    lines = [f"{action:7} {result.path}: CRL number {crl.number}, valid until {until}"]
    lines += [f"revoked {serial} since {since:%Y-%m-%d}" for serial, since in crl.revoked] or [
        "nothing is revoked"
    ]
    if result.cleared and crl.revoked:
        lines.append(
            "its CRL is kept until it ends, for it is of a root that signs no more, and whose key"
            " is not here"
        )
    if result.is_root_alone:
        add = mesh_command(f"certs crl --add {shlex.quote(result.path)}")
        return "\n".join([*lines, f"next: in the directory of the mesh, {add}\n"])
    if result.restarts_step:
        lines.append(
            "trust-both counts from now on, for the new root may sign only where proxies have"
            " its CRL"
        )
    if not result.existed:
        lines.append(
            "a sidecar that is running goes by it from its next start on, and by later ones at"
            " once; gateways made by injection do not mount it"
        )
    lines.append(
        f"next: {mesh_command('render')}; it changes cacerts in"
        f" {count_text(result.clusters, 'cluster')}, and istiod takes it without a restart"
    )
    return "\n".join(lines) + "\n"
