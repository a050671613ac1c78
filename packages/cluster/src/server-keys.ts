import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';

/** By the member list: SHA-256 of a certificate's public key (SPKI, DER), hex. */
export type ServerKeyCheck = (host: string, certificate: PeerCertificate) => Error | undefined;

/**
 * Besides chain and name: a removed node's certificate goes on for weeks, and what its log server told would be believed.
 * `noteKey` is told which key the server has.
 */
export function checkServerKey(
  membersFile: string,
  noteKey: (digest: string) => void,
): ServerKeyCheck {
  return (host, certificate) => {
    const flaw = checkServerIdentity(host, certificate);
    if (flaw) return flaw;
    const digest = digestOf(certificate);
    noteKey(digest);
    if (isMemberKey(membersFile, digest)) return undefined;
    return new Error(`the log server at ${host} is none of the cluster's members`);
  };
}

/** False also where the list cannot be read: then nobody is known to be a member. */
export function isMemberKey(membersFile: string, digest: string): boolean {
  try {
    const list = JSON.parse(readFileSync(membersFile, 'utf8')) as {
      members: { keyDigest: string }[];
    };
    return list.members.some(({ keyDigest }) => keyDigest === digest);
  } catch {
    return false;
  }
}

function digestOf({ raw }: PeerCertificate): string {
  const spki = new X509Certificate(raw).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('hex');
}
