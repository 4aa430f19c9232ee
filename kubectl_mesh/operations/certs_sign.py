"""Signs requests for intermediates with the root of a working directory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kubectl_mesh.errors import MeshError, Problem, refuse
from kubectl_mesh.fs.durable import make_folder
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.owned_files import add_files
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.pki.signing_requests import SigningRequest, read_request, sign_request
from kubectl_mesh.workdir.certs_folder import read_certs
from kubectl_mesh.workdir.places import relocate_problems
from kubectl_mesh.x509.layout import ROOT_CERT


@dataclass(frozen=True, slots=True)
class SignedRequests:
    """Certificates for clusters of a mesh elsewhere."""

    to: str
    """The folder that has them, as NAME.pem."""
    requests: Mapping[str, str]
    """The file of each request, by the cluster that it is for."""
    root: str
    """The path of the root that signed them."""


def sign_requests(
    directory: str, files: Sequence[str], days: int, to: str, now: datetime
) -> SignedRequests:
    """Signs requests for `days`, never longer than the root is valid."""
    certs = read_certs(directory, ())
    problems: list[Problem] = []
    signed: dict[str, tuple[str, bytes]] = {}
    for file in files:
        try:
            request = _read_request(file)
            if request.cluster in signed:
                raise refuse(
                    file,
                    f"asks for {request.cluster}, as {signed[request.cluster][0]} does",
                    "sign them into folders of their own",
                    code="requests-for-one-cluster",
                )
            signed[request.cluster] = file, sign_request(request, certs.files, days, now)
        except MeshError as error:
            problems += relocate_problems(directory, error.problems, option_files=files)
    if problems:
        raise MeshError(problems)
    make_folder(to)
    add_files(to, {f"{name}.pem": body for name, (_, body) in signed.items()})
    return SignedRequests(
        to,
        {name: file for name, (file, _) in sorted(signed.items())},
        join_path(directory, f"certs/{ROOT_CERT}"),
    )


def _read_request(file: str) -> SigningRequest:
    body = read_file(file, "certificates")
    if body is None:
        raise refuse(file, "is not there", "name a request", code="file-missing")
    return read_request(file, body)
