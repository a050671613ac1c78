import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { IdentityError, readIdentity, splitCertificates } from '@countersign/identity';
import { checkPair, describeExpiry, TlsError, type CertificateKind } from '@countersign/tls';
import { reachableHost } from './ask-health.ts';
import type { ExaminedNode } from './examined-node.ts';
import { critical, explain, fine, quote, warning, type Finding } from './finding.ts';

type About = Pick<ExaminedNode, 'name' | 'dataDirectory' | 'http' | 'tls' | 'url'>;

const ANSWER_MS = 2_000;
const LOOK = 'docs/operating.md, "Certificates"';

/** Whether what the node shows and trusts is whole, good for a while, and for the names it is asked by. */
export async function checkCertificates(
  node: About,
  { isRunning, now }: { isRunning: boolean; now: Date },
): Promise<Finding[]> {
  const own = node.http.tls && (await checkOwn(node, node.http.tls, now));
  const cluster = checkIdentity(node, now);
  const served = own?.served ?? cluster.served;
  const found = [...(own?.found ?? []), ...cluster.found];
  if (served) found.push(...checkNames(node, served));
  if (served && isRunning) found.push(...(await checkServed(node, served)));
  if (found.length > 0) return found;
  if (!served) return [fine('certs', 'none: this node is open, on loopback only')];
  return [fine('certs', `${namesOf(served).join(', ')}; until ${dateOf(served)}`)];
}

type Checked = { found: Finding[]; served: X509Certificate | null };

async function checkOwn(
  { tls }: About,
  { certificateFile, keyFile }: { certificateFile: string; keyFile: string },
  now: Date,
): Promise<Checked> {
  const fix = `put a whole pair into ${quote(certificateFile)} and ${quote(keyFile)}; it is read again within 3 s. ${LOOK}`;
  try {
    const pair = {
      certificatePem: await readFile(certificateFile, 'utf8'),
      keyPem: await readFile(keyFile, 'utf8'),
    };
    const served = checkPair(pair, tls);
    const found = checkExpiry({
      certificate: served,
      kind: 'own',
      what: certificateFile,
      fix,
      now,
    });
    return { found: [...found, ...checkChain(pair.certificatePem, certificateFile)], served };
  } catch (error) {
    const isOurs = error instanceof TlsError;
    const detail = isOurs ? `${certificateFile} with ${keyFile}: ${error.message}` : explain(error);
    return { found: [critical('certs', detail, fix)], served: null };
  }
}

/** Clients that do not know what stands between get no further than the first. */
function checkChain(certificatePem: string, file: string): Finding[] {
  const chain = splitCertificates(certificatePem).map((pem) => new X509Certificate(pem));
  const broken = chain.findIndex((signer, index) => {
    const signed = chain[index - 1];
    return signed && !(signed.checkIssued(signer) && signed.verify(signer.publicKey));
  });
  if (broken === -1) return [];
  const detail = `${file}: certificate ${broken + 1} in it did not sign the one before it`;
  const fix = `order them: the server's, then each that signed the one before. openssl storeutl -noout -text -certs ${quote(file)} | grep -E 'Subject:|Issuer:'`;
  return [warning('certs', detail, fix)];
}

function checkIdentity({ name, dataDirectory }: About, now: Date): Checked {
  const folder = join(dataDirectory, 'identity');
  try {
    const identity = readIdentity(folder);
    if (!identity) return { found: [], served: null };
    const found: Finding[] = [];
    if (identity.nodeName !== name) {
      const detail = `${folder} is the identity of ${identity.nodeName}, and the configuration is of ${name}`;
      found.push(critical('certs', detail, `give every node the data directory that is its own`));
    }
    const served = new X509Certificate(identity.certificatePem);
    const ca = new X509Certificate(identity.caPem);
    const renew =
      'countersign status: a master has to be there; then systemctl restart countersign';
    return {
      found: [
        ...found,
        ...checkExpiry({
          certificate: served,
          kind: 'renewed',
          what: `${folder}/node.pem`,
          fix: renew,
          now,
        }),
        ...checkExpiry({
          certificate: ca,
          kind: 'authority',
          what: `${folder}/ca.pem`,
          fix: LOOK,
          now,
        }),
      ],
      served,
    };
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    const fix = `put that file back from a copy of ${quote(folder)}; without one remove the node and let it join again`;
    return { found: [critical('certs', error.message, fix)], served: null };
  }
}

function checkExpiry(about: {
  certificate: X509Certificate;
  kind: CertificateKind;
  what: string;
  fix: string;
  now: Date;
}): Finding[] {
  const { certificate, kind, what, fix, now } = about;
  const told = describeExpiry(certificate, kind, now);
  if (told === null) return [];
  const isValid = certificate.validFromDate <= now && now < certificate.validToDate;
  const find = isValid ? warning : critical;
  return [find('certs', `${what} ${told}`, fix)];
}

/** Of the names by which people and programs are told to ask this node. */
function checkNames({ url, http }: About, served: X509Certificate): Finding[] {
  const asked = new Set<string>();
  if (url !== null) asked.add(new URL(url).hostname.replace(/^\[|\]$/g, ''));
  const isSpecific = !['0.0.0.0', '::', '::1'].includes(http.host) && !http.host.startsWith('127.');
  if (isSpecific && url === null) asked.add(http.host);
  return [...asked]
    .filter((host) => !(isIP(host) ? served.checkIP(host) : served.checkHost(host)))
    .map((host) =>
      warning(
        'certs',
        `the certificate of the API is not for ${host}, by which it is asked; it is for ${namesOf(served).join(', ')}`,
        `set "url" to one of those, or name a certificate for ${host} in http.tls`,
      ),
    );
}

/** What lies in the file and is not served helps nobody. */
async function checkServed({ http }: About, file: X509Certificate): Promise<Finding[]> {
  if (!http.isHttps) return [];
  const socket = connect({
    host: reachableHost(http.host),
    port: http.port,
    rejectUnauthorized: false,
  });
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.timeout(ANSWER_MS) });
    const shown = socket.getPeerX509Certificate();
    if (!shown || shown.fingerprint256 === file.fingerprint256) return [];
    const detail = `the API shows a certificate until ${dateOf(shown)}, in its file is one until ${dateOf(file)}`;
    return [
      warning('certs', detail, 'wait 3 s; else: countersign status says why it is not taken'),
    ];
  } catch (error) {
    return [
      warning('certs', `the API could not be asked for its certificate: ${explain(error)}`, LOOK),
    ];
  } finally {
    socket.destroy();
  }
}

function namesOf(certificate: X509Certificate): string[] {
  const names = certificate.subjectAltName?.split(', ') ?? [];
  return names.slice(0, 8).map((name) => name.replace(/^(DNS|IP Address):/, ''));
}

function dateOf(certificate: X509Certificate): string {
  return certificate.validToDate.toISOString().slice(0, 10);
}
