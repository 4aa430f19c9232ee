"""A context and its network, as flags state them."""

from kubectl_mesh.errors import refuse


def split_network(flag: str, stated: str) -> tuple[str, str]:
    """The context and the network in `CTX=NETWORK`; raises a `MeshError` for `flag` if it is not
    that.
    """
    context, _, network = stated.rpartition("=")
    if not context or not network:
        raise refuse(
            flag,
            f'"{stated}" is not CTX=NETWORK',
            "write the context's name, =, and the name of its network",
            code="not-context-and-network",
        )
    return context, network
