#!/bin/sh
# Fills the directory at its first start, with the passwords of this installation, then runs it.
set -eu
umask 077
conf=/usr/local/share/directory/slapd.conf
secrets=/run/secrets/directory

if [ ! -e /var/lib/ldap/filled ]; then
  rm -f /var/lib/ldap/*.mdb
  reader=$(/usr/sbin/slappasswd -T "$secrets/reader-password")
  person=$(/usr/sbin/slappasswd -T "$secrets/person-password")
  sed -e "s|@READER@|$reader|" -e "s|@PERSON@|$person|" /usr/local/share/directory/people.ldif |
    /usr/sbin/slapadd -f "$conf"
  touch /var/lib/ldap/filled
fi
exec /usr/sbin/slapd -d none -f "$conf" -h 'ldaps://0.0.0.0:1636 ldapi://%2Frun%2Fslapd%2Fldapi'
