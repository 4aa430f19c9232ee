#!/usr/bin/env bash
# The page's three clusters, rendered into scratch directories: first with today's Istio, from nothing to a complete tree; then as
# the original page had them, with Istio 1.4. Talks to no cluster and leaves nothing behind.
set -eu
examples=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
clusters="context-east-1 context-east-2 context-west-1"
unset MESH_ID ORG_NAME

say() { printf '\n== %s\n' "$*"; }
run() { printf '\n$ %s\n' "$*"; "$@"; }
tokens() {
  for cluster in $clusters; do
    (umask 077; mkdir -p credentials; echo "made-up-for-the-demo.$cluster" > "credentials/$cluster.token")
  done
}
validate() {
  if command -v kubeconform > /dev/null; then
    printf '\n$ kubeconform -strict -summary -schema-location "$(kubectl-mesh schema --location)" out\n'
    kubeconform -strict -summary -schema-location "$(kubectl-mesh schema --location)" out
  else
    printf '\n(kubeconform is not on PATH: every object would be validated here)\n'
  fi
}

say "Today's Istio. The first day: a kubeconfig, and nothing else"
mkdir "$scratch/today"
cd "$scratch/today"
cp "$examples/page/kubeconfig.yaml" ..
run kubectl-mesh init --mesh-id mymeshname --kubeconfig ../kubeconfig.yaml \
  --context context-east-1=network-east --context context-east-2=network-east --context context-west-1=network-west
run cat topology.yaml
run cat base.yaml
run kubectl-mesh render

say "A day later: every cluster's token is there (made up for this demo, so no cluster would take them)"
tokens
run kubectl-mesh render --strict
validate
run find out -type f | LC_ALL=C sort
run kubectl-mesh describe
run kubectl-mesh check --fail-within 30d -o short
run kubectl-mesh render --check

if command -v kubectl > /dev/null; then
  say "kubectl builds every directory"
  for cluster in out/*; do
    printf '%s: %s objects\n' "$cluster" "$(kubectl kustomize "$cluster" | grep -c '^kind:')"
  done
fi

say "The original page: its topology.yaml and a kubeconfig, no base.yaml, so Istio 1.4"
mkdir "$scratch/page"
cd "$scratch/page"
cp "$examples/page/topology.yaml" "$examples/page/kubeconfig.yaml" .
run cat topology.yaml
# Keys of 4096 bits, the default for Istio 1.4, take their time.
printf '%s\n' 'certificates: {keyType: rsa-2048}' 'networks:' \
  '  network-east: {gateways: [{address: 192.0.2.11}]}' '  network-west: {gateways: [{address: 192.0.2.21}]}' >> topology.yaml
tokens
run kubectl-mesh render --strict
validate
run kubectl-mesh describe -o table
