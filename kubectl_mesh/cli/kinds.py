"""The kinds of base.yaml, as options name them; their classes are loaded when a command runs."""

KINDS = ("Istio", "IstioOperator", "Application", "HelmRelease", "IstioControlPlane")
