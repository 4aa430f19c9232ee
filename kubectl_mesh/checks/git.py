"""The checks of what git would take into a commit."""

from kubectl_mesh.checks.check import StageCheck
from kubectl_mesh.checks.context import ERROR


class GitIgnored(StageCheck):
    id = "git-ignored"
    category = "git"
    severity = ERROR
    sentence = "no private key or token can get into a commit unless the topology says so"
    prevents = "a key that everyone has who has the repository"
    remedy = (
        "Add the lines that the finding gives to .gitignore, or choose a store that seals: sops,"
        " sealed or external."
    )


class GitTracked(StageCheck):
    id = "git-tracked"
    category = "git"
    severity = ERROR
    sentence = (
        "no file that git tracks holds a key or a login in clear, but for a tree of the store plain"
    )
    prevents = (
        "a key that everyone has who has the repository, now and later, for git forgets nothing"
    )
    remedy = (
        "Take the file out of git (`git rm --cached`), and take what it holds for known to others:"
        " make it anew, and revoke the old."
    )
