// Founds the cluster of docker-compose.yml: because all its nodes begin here and at once, each gets its
// identity and the cluster key without a join. From then on it is a cluster like any other: the nodes
// renew their certificates themselves, and others join with tokens.
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import {
  createAuthority,
  createClusterId,
  makeMember,
  signMembers,
  writeMembership,
} from '../../../packages/identity/src/index.ts';
import {
  createClusterKeyFile,
  deriveKeys,
  readClusterKey,
} from '../../../packages/keys/src/index.ts';
import { sealAuthority } from '../../../packages/replication-agent/src/members/member-documents.ts';

const lifeMs = 90 * 24 * 3600 * 1000;

/**
 * `folders`: the data directory of each node by its name. The first is written last: where it is whole, so is
 * everything. `hostsOf` gives what stands in a node's certificate beside its name.
 */
export async function foundCluster({ folders, hostsOf, uid }) {
  const names = Object.keys(folders);
  const [first] = names;
  if (existsSync(join(folders[first], 'identity', 'members.json'))) return;

  const authority = await createAuthority({ clusterId: createClusterId() });
  const made = [];
  for (const name of names) {
    const folder = join(folders[name], 'identity');
    const otherNodes = names.filter((other) => other !== name);
    const about = { folder, name, hosts: hostsOf(name), otherNodes, lifeMs };
    made.push(await makeMember(authority, about));
  }
  const members = signMembers(authority, { version: 1, members: made.map(({ entry }) => entry) });

  const keyFile = join(folders[first], 'cluster.key');
  if (!existsSync(keyFile)) createClusterKeyFile(keyFile);
  const keys = deriveKeys(readClusterKey(keyFile), ['authority']);
  const founding = { authority: sealAuthority(authority, keys.authority), members };
  const foundingFile = join(folders[first], 'identity', 'founding.json');
  writeFileSync(foundingFile, JSON.stringify(founding), { mode: 0o600, flush: true });

  for (const { entry, certificatePem } of made.toReversed()) {
    const folder = folders[entry.name];
    if (entry.name !== first) copyFileSync(keyFile, join(folder, 'cluster.key'));
    chmodSync(join(folder, 'cluster.key'), 0o600);
    giveTo(uid, folder);
    const given = { caPem: authority.certificatePem, certificatePem, members };
    writeMembership(join(folder, 'identity'), given);
    giveTo(uid, join(folder, 'identity'));
  }
}

function giveTo(uid, folder) {
  chownSync(folder, uid, uid);
  for (const name of readdirSync(folder)) chownSync(join(folder, name), uid, uid);
}
