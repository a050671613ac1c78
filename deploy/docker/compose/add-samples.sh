#!/bin/sh
# Makes users of the sample directory's people, an authenticator for alice and RADIUS clients. What was
# interrupted goes on at the next start.
set -eu
umask 077
data=/var/lib/countersign
samples=$data/samples.txt
person=$(cat /run/secrets/operator/person-password)

has() { countersign "$@" >/dev/null 2>&1; }

if [ ! -e "$samples" ]; then
  has directory show example ||
    countersign directory add example --type ldap --url ldaps://directory:1636 \
      --base dc=example,dc=org --domain example.org \
      --set certificates.authorities=/run/trust/installation-ca.pem \
      --account cn=countersign,ou=services,dc=example,dc=org \
      --password-file /run/secrets/operator/reader-password
  has directory item show example everybody ||
    countersign directory item add example everybody --domain
  countersign directory sync example
  has application show vpn || countersign application add vpn

  # Shown only once: where it was lost, alice gets another.
  otpauth=$(countersign authenticator enroll alice --json |
    sed -n 's/.*"otpauth": *"\([^"]*\)".*/\1/p')

  # Devices on this machine ask at the nodes' own ports; all that come through nginx look like one.
  secret=/run/secrets/operator/radius-secret
  . "$data/networks"
  has radius client show devices ||
    countersign radius client add devices --application vpn --address "$clients" --secret-file "$secret"
  has radius client show balancer ||
    countersign radius client add balancer --application vpn --address "$balancers" \
      --set isBalancer=true --secret-file "$secret"

  cat >"$samples.new" <<TEXT
users            alice, bob, carol
their password   $person
alice's token    $otpauth
RADIUS secret    $(cat "$secret")
TEXT
  mv "$samples.new" "$samples"
fi

cat <<TEXT

  Sample users: alice, bob and carol of the sample directory; alice has an authenticator.

  their secrets    docker compose exec node-1 cat $samples
  a sign-in        docker compose exec node-1 countersign verify alice

TEXT
