#!/usr/bin/env bash
# The page's three clusters, rendered into a scratch directory and validated: first as on the first day, with nothing known
# but the topology and a kubeconfig; then with tokens. Talks to no cluster and leaves nothing behind.
set -eu
examples=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$examples/page/topology.yaml" "$examples/page/kubeconfig.yaml" "$scratch"
cd "$scratch"

say() { printf '\n== %s\n' "$*"; }
run() { printf '\n$ %s\n' "$*"; "$@"; }
validate() { printf '\n$ kubeconform -strict -summary -schema-location "$(kubectl-mesh schema --location)" out\n'
  kubeconform -strict -summary -schema-location "$(kubectl-mesh schema --location)" out; }

say "The first day: topology.yaml and a kubeconfig, no base.yaml, no certificates, no tokens"
run cat topology.yaml
run kubectl-mesh render
validate

say "A day later: every cluster's token is there (made up for this demo, so no cluster would take them)"
for cluster in context-east-1 context-east-2 context-west-1; do
  (umask 077; mkdir -p credentials; echo "made-up-for-the-demo.$cluster" > "credentials/$cluster.token")
done
printf '%s\n' 'networks:' '  network-east: {gateways: [{address: 192.0.2.11}]}' '  network-west: {gateways: [{address: 192.0.2.21}]}' >> topology.yaml
run kubectl-mesh render --strict
validate
run find out -type f | LC_ALL=C sort
run kubectl-mesh describe
run kubectl-mesh render --check

if command -v kubectl > /dev/null; then
  say "kubectl builds every directory"
  for cluster in out/*; do
    printf '%s: %s objects\n' "$cluster" "$(kubectl kustomize "$cluster" | grep -c '^kind:')"
  done
fi
