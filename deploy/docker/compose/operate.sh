#!/bin/sh
# Makes an API key for people to try, once, and says where to go.
set -eu
umask 077
key=/var/lib/countersign/api-key

if [ ! -s "$key" ]; then
  scopes='users:read users:write settings:read cluster:read cluster:write verify reasons:read events:read'
  countersign apikey add compose $(printf -- '--scope %s ' $scopes) --json |
    sed -n 's/.*"key": *"\([^"]*\)".*/\1/p' >"$key.new"
  mv "$key.new" "$key"
fi

cat <<TEXT

  Countersign runs.

  API           $COUNTERSIGN_URL/api/v1/docs
  its authority docker compose cp haproxy:/run/trust/installation-ca.pem .
  the cluster   docker compose exec node-1 countersign status
  an API key    docker compose exec node-1 cat $key

TEXT
