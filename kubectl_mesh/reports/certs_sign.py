"""Shows which requests were signed."""

from kubectl_mesh.operations.certs_sign import SignedRequests


def signed_text(result: SignedRequests) -> str:
    """The requests, and the certificates for them."""
    return "".join(
        f"signed  {file} as {result.to}/{name}.pem\n" for name, file in result.requests.items()
    )


def next_text(result: SignedRequests) -> str:
    """What to do with the certificates."""
    return (
        f"next: give back {result.to}, the first time with {result.root}; where the requests come"
        " from, `certs import NAME FILE` takes it in"
    )
