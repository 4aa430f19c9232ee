"""Shows what the removal of a cluster changed, what it kept, and what takes Istio off it."""

from typing import Any

from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.operations.remove import RemoveResult
from kubectl_mesh.reports.teardown import commands_json
from kubectl_mesh.workdir.places import TOPOLOGY_FILE


def remove_json(result: RemoveResult) -> dict[str, Any]:
    """The report for programs."""
    return {
        "directory": result.directory,
        "cluster": result.cluster.name,
        "files": [{"path": TOPOLOGY_FILE, "action": "update"}],
        "left": list(result.remaining_files),
        "commands": commands_json(result.commands),
    }


def remove_text(result: RemoveResult) -> str:
    """The report for people, up to the commands."""
    cluster = result.cluster
    network = (
        f" (networks.{result.removed_network} too: nobody is on it any more)"
        if result.removed_network
        else ""
    )
    kept = "".join(
        f"keep    {join_path(result.directory, name)}\n" for name in result.remaining_files
    )
    commands = (
        f"Once that is merged, {result.tool} deletes the remote secret from the peers. These"
        " commands wait for that and take Istio off:\n"
        if result.tool
        else "Once that is applied, these commands take it off:\n"
    )
    return (
        f"update  {join_path(result.directory, TOPOLOGY_FILE)}{network}\n{kept}"
        f"the next render removes out/{cluster.name} and the remote secret {cluster.name} of its"
        f" peers; Istio stays on the cluster itself.\n{commands}"
    )
