"""kubectl commands for people, quoted for a shell."""

import shlex

from kubectl_mesh.model import Cluster


def cluster_command(cluster: Cluster, *words: str) -> str:
    """A kubectl command for a cluster, quoted for a shell."""
    return shlex.join(["kubectl", f"--context={cluster.context}", *words])


def address_command(cluster: Cluster, service: str = "istio-eastwestgateway") -> str:
    """The command that prints the addresses of a gateway's Service."""
    get = cluster_command(cluster, "-n", cluster.namespace, "get", "service", service)
    return f"{get} -o \"jsonpath={{.status.loadBalancer.ingress[*]['ip','hostname']}}\""
