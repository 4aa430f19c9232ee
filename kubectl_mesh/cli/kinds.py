"""The words that options take; `make docs` writes them, for help loads no tables."""

KINDS = ("Istio", "IstioOperator", "Application", "HelmRelease", "IstioControlPlane")
"""The kinds of base.yaml."""
ISSUERS = ("local", "csr")
"""The issuers outside of the clusters."""
