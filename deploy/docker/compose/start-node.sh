#!/bin/sh
# Starts the node that COUNTERSIGN_NODE names.
set -eu
umask 077
config=/run/countersign/countersign.yaml
node /opt/countersign/deploy/docker/compose/write-config.mjs "$COUNTERSIGN_NODE" >"$config"
exec countersign node --config "$config"
