import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { sambaBaseDn, writeSambaPeople, type SambaPeople } from './samba-people.ts';

const run = promisify(execFile);

export const sambaAdministratorPassword = 'Passw0rd.Admin1';

// Times on a machine that does much else at once.
const provisionTimeoutMs = 120_000;
const loadTimeoutMs = 300_000;
const unusedForMs = 14 * 24 * 3_600_000;

const provisionArgs = [
  ...['domain', 'provision', '--realm=CORP.TEST', '--domain=CORP', '--host-name=dc1'],
  ...['--server-role=dc', '--dns-backend=NONE', '--use-rfc2307', '--host-ip=127.0.0.10'],
  `--adminpass=${sambaAdministratorPassword}`,
  // Neither this machine's addresses nor the extended attributes of its file system matter.
  ...['--option=interfaces=127.0.0.10/8', '--option=bind interfaces only=yes'],
  '--option=vfs objects=dfs_samba4 acl_xattr',
];

// A domain that lay in the cache for months is as it was made: passwords do not grow old.
const ageless = `dn: ${sambaBaseDn}
changetype: modify
replace: maxPwdAge
maxPwdAge: -9223372036854775808
-
replace: minPwdAge
minPwdAge: 0
-

`;

/** Unpacks a domain into an empty folder; the first time it is provisioned (5-20 s), then kept. */
export async function unpackSambaDomain(people: SambaPeople, folder: string): Promise<void> {
  const tar = await cachedDomain(people);
  await run('tar', ['-C', folder, '-xf', tar], { timeout: 60_000 });
}

/**
 * The configuration of a domain in `folder` that serves LDAP at `address`, with `winbind` also what
 * ntlm_auth needs to judge and change passwords by MSCHAPv2, and writes nowhere but in the folder.
 */
export function renderSambaConfig(
  folder: string,
  { address, winbind }: { address: string; winbind: boolean },
): string {
  return `[global]
netbios name = DC1
realm = CORP.TEST
workgroup = CORP
server role = active directory domain controller
server services = ${winbind ? 'ldap, rpc, winbindd' : 'ldap'}
ntlm auth = mschapv2-and-ntlmv2-only
interfaces = ${address}/8
bind interfaces only = yes
private dir = ${folder}/private
state directory = ${folder}/state
cache directory = ${folder}/cache
lock directory = ${folder}
pid directory = ${folder}/run
ncalrpc dir = ${folder}/ncalrpc
winbindd socket directory = ${folder}/winbindd
binddns dir = ${folder}/bind-dns
usershare path =
log file = ${folder}/samba.log
idmap_ldb:use rfc2307 = yes
vfs objects = dfs_samba4 acl_xattr
tls enabled = yes
tls keyfile = ${folder}/server.key
tls certfile = ${folder}/server.pem
tls cafile =
`;
}

/** The tar of a domain. Of several processes that want the same new one, one makes it. */
async function cachedDomain(people: SambaPeople): Promise<string> {
  const cache =
    process.env['COUNTERSIGN_TEST_CACHE'] || join(homedir(), '.cache', 'countersign-tests');
  const tar = join(cache, `samba-${people}-${await hashRecipe(people)}.tar`);
  if (!existsSync(tar)) {
    await mkdir(cache, { recursive: true, mode: 0o700 });
    const script = fileURLToPath(new URL('make-samba-domain.ts', import.meta.url));
    await run('flock', [`${tar}.lock`, process.execPath, script, people, tar], {
      timeout: provisionTimeoutMs + loadTimeoutMs,
    });
  }
  const now = new Date();
  await utimes(tar, now, now);
  return tar;
}

async function hashRecipe(people: SambaPeople): Promise<string> {
  const { stdout: version } = await run('samba', ['--version'], { timeout: 10_000 });
  const recipe = [version, ...provisionArgs, ageless, writeSambaPeople(people)];
  return createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 16);
}

/** Makes the domain unless it is there by now. Called with the lock held. */
export async function makeSambaDomain(people: SambaPeople, tar: string): Promise<void> {
  if (existsSync(tar)) return;
  await removeUnused(join(tar, '..'));
  const folder = await mkdtemp(join(tmpdir(), 'countersign-samba-new-'));
  try {
    await run('samba-tool', [...provisionArgs, `--targetdir=${folder}`], {
      timeout: provisionTimeoutMs,
    });
    const changes = join(folder, 'people.ldif');
    await writeFile(changes, ageless + writeSambaPeople(people));
    // Straight into the files, in one transaction.
    const sam = join(folder, 'private', 'sam.ldb');
    const config = `--configfile=${join(folder, 'etc', 'smb.conf')}`;
    await run('ldbmodify', ['--nosync', '-H', sam, config, changes], { timeout: loadTimeoutMs });
    await rm(changes);
    await run('tar', ['-C', folder, '-cf', `${tar}.new`, '.'], { timeout: 60_000 });
    await rename(`${tar}.new`, tar);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function removeUnused(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (!/^samba-.*\.tar$/.test(name)) continue;
    const { mtimeMs } = await stat(join(cache, name));
    if (Date.now() - mtimeMs > unusedForMs) await rm(join(cache, name), { force: true });
  }
}
