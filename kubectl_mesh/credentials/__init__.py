"""How peers log in at a cluster: kubeconfigs, logins, tokens and their rotation."""
