// Makes what one installation of docker-compose.yml keeps secret, each thing once: an authority of its
// own for the servers round the nodes, their certificates, and passwords. Every file belongs to the one
// service that reads it. Runs at every "docker compose up"; certificates that end within 30 days are
// made anew. The nodes' own certificates are none of this: they come from the cluster's own CA.
import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { resolve } from 'node:path';

import {
  createAuthority,
  createCertificateRequest,
  createClusterId,
  issueCertificate,
} from '../../../packages/identity/src/index.ts';
import { foundCluster } from './found-cluster.mjs';

const top = '/run/secrets';
const dayMs = 24 * 3600 * 1000;
const lifeMs = 365 * dayMs;
const renewBeforeMs = 30 * dayMs;

/** Users of the images. */
const uids = {
  root: 0,
  postgres: 999,
  directory: 10_389,
  haproxy: 99,
  nginx: 10_101,
  node: 10_001,
};
const numbers = [1, 2, 3];

folder('/run/trust', uids.node, 0o755);
const authority = await prepareAuthority();

for (const number of numbers) {
  const [postgres, node] = [`postgres-${number}`, `node-${number}`];
  folder(postgres, uids.postgres);
  await certificateFor(postgres, uids.postgres);
  write(`${postgres}/pg_hba.conf`, uids.postgres, hostsOfPostgres, { always: true });
  folder(node, uids.node);
  // The same password on both sides.
  const password = once(`${postgres}/password`, uids.postgres, newPassword);
  write(`${node}/database-password`, uids.node, () => password);
}

folder('directory', uids.directory);
await certificateFor('directory', uids.directory);
folder('operator', uids.node);
once('operator/radius-secret', uids.node, newPassword);
for (const whose of ['reader-password', 'person-password']) {
  const password = once(`directory/${whose}`, uids.directory, newPassword);
  write(`operator/${whose}`, uids.node, () => password);
}

for (const balancer of ['haproxy', 'nginx']) {
  const uid = uids[balancer];
  folder(balancer, uid);
  await certificateFor(balancer, uid, ['localhost', '127.0.0.1', '::1', ...extraNames()]);
}
await foundCluster({
  folders: Object.fromEntries(
    numbers.map((number) => [`node-${number}`, `/run/data/node-${number}`]),
  ),
  hostsOf: (name) => ['nodes', `${name}.engines`],
  uid: uids.node,
});
const clusterAuthority = () => readFileSync('/run/data/node-1/identity/ca.pem', 'utf8');
write('/run/trust/cluster-ca.pem', uids.node, clusterAuthority, { always: true, mode: 0o644 });
console.log('setup: the secrets of this installation are there');

/** Names that people will use for this cluster, beside localhost. */
function extraNames() {
  return (process.env.COUNTERSIGN_HOSTS ?? '').split(/[\s,]+/).filter(Boolean);
}

async function prepareAuthority() {
  folder('/run/authority', uids.root);
  const file = '/run/authority/authority.json';
  const text = once(file, uids.root, await newAuthority());
  const made = JSON.parse(text);
  // For whoever connects to one of these servers; nodes add the cluster's CA ("operator").
  write('/run/trust/installation-ca.pem', uids.node, () => made.certificatePem, { mode: 0o644 });
  return made;

  async function newAuthority() {
    if (existsSync(resolve(top, file))) return () => '';
    const fresh = await createAuthority({ clusterId: createClusterId() });
    return () => JSON.stringify(fresh);
  }
}

/** certificate.pem, key.pem and both in site.pem. */
async function certificateFor(name, uid, hosts = []) {
  const file = `${name}/certificate.pem`;
  if (isGood(file)) return;
  const keyPem = newKey();
  const requestPem = await createCertificateRequest({ name, keyPem });
  const { certificatePem } = await issueCertificate({
    authority,
    requestPem,
    name,
    hosts,
    otherNodes: [],
    lifeMs,
  });
  const always = { always: true };
  write(`${name}/key.pem`, uid, () => keyPem, always);
  write(`${name}/site.pem`, uid, () => `${certificatePem}${keyPem}`, always);
  write(file, uid, () => certificatePem, always);
}

function isGood(file) {
  if (!existsSync(resolve(top, file))) return false;
  const { validTo } = new X509Certificate(readFileSync(resolve(top, file)));
  return Date.parse(validTo) - Date.now() > renewBeforeMs;
}

function newKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' });
}

function newPassword() {
  return randomBytes(24).toString('base64url');
}

function folder(name, uid, mode = 0o700) {
  const path = resolve(top, name);
  mkdirSync(path, { recursive: true });
  chownSync(path, uid, uid);
  chmodSync(path, mode);
}

/** What stands in the file; made now where it is missing. */
function once(name, uid, make) {
  write(name, uid, make);
  return readFileSync(resolve(top, name), 'utf8');
}

function write(name, uid, make, { always = false, mode = 0o600 } = {}) {
  const path = resolve(top, name);
  if (existsSync(path) && !always) return;
  const unfinished = `${path}.new`;
  writeFileSync(unfinished, make(), { mode, flush: true });
  chownSync(unfinished, uid, uid);
  chmodSync(unfinished, mode);
  renameSync(unfinished, path);
}

/** Over the network only encrypted and with the password; the socket is the container's own. */
function hostsOfPostgres() {
  return 'local all all trust\nhostssl all all all scram-sha-256\n';
}
