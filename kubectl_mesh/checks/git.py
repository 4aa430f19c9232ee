"""The checks of what git would take into a commit."""

from kubectl_mesh.checks.result import ERROR, Check

CHECKS = (
    Check(
        "git-ignored",
        "git",
        ERROR,
        "no private key or token can get into a commit unless the topology says so",
        "a key that everyone has who has the repository",
        "Add the lines that the finding gives to .gitignore, or choose a store that seals: sops, sealed or external.",
    ),
)
