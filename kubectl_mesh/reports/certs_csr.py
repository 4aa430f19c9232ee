"""Shows requests for intermediates, and how they are signed."""

import shlex
from collections.abc import Sequence

from kubectl_mesh.operations.certs_csr import RequestsResult
from kubectl_mesh.text import mesh_command
from kubectl_mesh.x509.layout import CSR_FILE, intermediate_folder, next_intermediate_folder


def requests_text(result: RequestsResult) -> str:
    """The requests, and the commands that sign them."""
    if not result.clusters:
        return "no cluster awaits a certificate\n"
    paths = [f"{intermediate_folder(name)}/{CSR_FILE}" for name in result.clusters]
    lines = [
        f"{'create' if path in result.written else 'keep':7} {result.certs}/{path}\n"
        for path in paths
    ]
    return "".join(lines) + signing_text(result.certs, result.clusters, result.days)


def signing_text(certs: str, names: Sequence[str], days: int, *, renewed: bool = False) -> str:
    """How the requests are signed, by whatever holds the root; `renewed`: those that follow an
    intermediate in use.
    """
    base = shlex.quote(certs)
    place = next_intermediate_folder if renewed else intermediate_folder
    request = f"{base}/{place('$name')}/ca.csr"
    root = "" if renewed else " --root root-cert.pem"
    when = "" if renewed else ", the first time with the root"
    every = f"for name in {' '.join(names)}; do"
    extensions = r"""<(printf 'subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n')"""
    sign = mesh_command(
        f"certs sign -C ROOT-DIR --days {days} --to signed {base}/{place('*')}/ca.csr"
    )
    take = mesh_command(f"certs import{root} $name signed/$name.pem")
    return f"""
Whoever holds the root signs them; ROOT-DIR, root-cert.pem and root-key.pem stand for where it is.
  kubectl mesh:
    {sign}
  openssl (bash):
    mkdir -p signed; {every} openssl x509 -req -sha256 -days {days} -CA root-cert.pem \
-CAkey root-key.pem -in {request} \\
      -copy_extensions copyall -extfile {extensions} -out signed/$name.pem; done
  step:
    mkdir -p signed; {every} step certificate sign --profile intermediate-ca --path-len 0 \
--not-after {days * 24}h {request} \\
      root-cert.pem root-key.pem > signed/$name.pem; done
  Vault (the mount is pki):
    mkdir -p signed; {every} vault write -field=certificate pki/root/sign-intermediate \
csr=@{request} use_csr_values=true \\
      max_path_length=0 ttl={days * 24}h > signed/$name.pem; done
What comes back is taken in{when}:
    {every} {take}; done
"""
