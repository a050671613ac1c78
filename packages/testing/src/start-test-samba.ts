import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { spawnSupervised, type SupervisedProcess } from '@countersign/engines';

import { certificateAt } from './certificate-at.ts';
import { controlServer, type ServerControls } from './control-server.ts';
import { modifyDirectory } from './modify-directory.ts';
import { isListening } from './is-listening.ts';
import { hasOpenssl, makeTestCertificate, runs } from './make-test-certificate.ts';
import {
  renderSambaConfig,
  sambaAdministratorPassword,
  unpackSambaDomain,
} from './samba-domain.ts';
import {
  sambaBaseDn,
  sambaPersonPassword,
  sambaReader,
  sambaStaff,
  type SambaPeople,
  type SambaStaffMember,
} from './samba-people.ts';
import { waitFor } from './wait-for.ts';

const run = promisify(execFile);

/** Where ntlm_auth finds a domain controller's winbindd. */
export interface NtlmAuth {
  domain: string;
  configFile: string;
  /** Holds winbindd's socket, which clients look for in a folder that is compiled in. */
  socketFolder: string;
}

export interface TestSamba extends ServerControls {
  /** 127.x.y.z; the certificate is for it and for {@link TestSamba.host}. */
  address: string;
  /** The name in the certificate; no resolver knows it. */
  host: string;
  ldapsUrl: string;
  ldapUrl: string;
  realm: string;
  netbios: string;
  baseDn: string;
  /** PEM. */
  authority: string;
  /** Of the server's certificate, in lower case hex. */
  sha256: string;
  administrator: { name: string; password: string };
  /** An ordinary account without special rights. */
  reader: { dn: string; name: string; password: string };
  /** Of everybody of `staff`, and of every 50th of the 2,500 (many0000, many0050 …). */
  personPassword: string;
  /** Empty unless they are in it. */
  staff: SambaStaffMember[];
  folder: string;
  /** For a FreeRADIUS that asks this domain through ntlm_auth, where it was started with `winbind`. */
  ntlmAuth: NtlmAuth;
  /** Changes (LDIF) over LDAPS as administrator, in one connection. Throws with what the server said. */
  modify(ldif: string): Promise<void>;
  /** The same as somebody else: a DN, a user principal name or CORP\name. */
  modifyAs(name: string, password: string, ldif: string): Promise<void>;
  /** samba-tool on this domain's files, which the running server sees at once; what it printed. */
  samba(...args: string[]): Promise<string>;
  stop(): Promise<void>;
}

/** Whether root may start Samba as a domain controller here, with all that is needed for it. */
export const hasSamba =
  process.getuid?.() === 0 &&
  hasOpenssl &&
  runs('samba', ['--version']) &&
  runs('samba-tool', ['--version']) &&
  runs('ldbmodify', ['--version']) &&
  runs('ldapmodify', ['-VV']);

/** Whether such a Samba can also be asked by ntlm_auth: Debian's package `winbind`. */
export const hasNtlmAuth =
  hasSamba && runs('ntlm_auth', ['--version']) && runs('winbindd', ['--version']);

/**
 * A real Samba as Active Directory domain controller CORP.TEST, of which only LDAP runs, with
 * `winbind` also RPC and winbindd. Its ports
 * are 389 and 636, so each has an address of its own. The first of a kind on a machine takes up to
 * 20 s; it is kept in COUNTERSIGN_TEST_CACHE (~/.cache/countersign-tests).
 */
export async function startTestSamba(
  options: { people?: SambaPeople; address?: string; winbind?: boolean } = {},
): Promise<TestSamba> {
  const people = options.people ?? 'staff';
  const folder = await mkdtemp(join(tmpdir(), 'countersign-samba-'));
  const address = options.address ?? (await findFreeAddress());
  const host = 'dc1.corp.test';
  const configFile = join(folder, 'etc', 'smb.conf');
  const { winbind = false } = options;
  const ntlmAuth = { domain: 'CORP', configFile, socketFolder: join(folder, 'winbindd') };
  const administrator = { name: 'CORP\\Administrator', password: sambaAdministratorPassword };
  let server: SupervisedProcess | undefined;

  const start = async () => {
    await rm(join(ntlmAuth.socketFolder, 'pipe'), { force: true });
    server = await startServer(folder, configFile);
    const { pid } = server;
    await waitFor(
      `Samba at ${address}`,
      async () => {
        if (!server?.isRunning()) throw new Error(`Samba ${pid} ended, see ${folder}/samba.log`);
        const isWinbindUp = !winbind || existsSync(join(ntlmAuth.socketFolder, 'pipe'));
        return isWinbindUp && (await certificateAt(address, 636)) === certificate.sha256;
      },
      { timeoutMs: 30_000 },
    );
  };
  const stop = async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  };
  const certificate = await makeTestCertificate(folder, { hosts: [host], addresses: [address] });
  try {
    await unpackSambaDomain(people, folder);
    await writeFile(configFile, renderSambaConfig(folder, { address, winbind }));
    await Promise.all(['run', 'cache'].map((name) => mkdir(join(folder, name))));
    await start();
  } catch (error) {
    await stop();
    throw error;
  }

  const ldapsUrl = `ldaps://${address}:636`;
  const modifyAs = (name: string, password: string, ldif: string) =>
    modifyDirectory({
      url: ldapsUrl,
      authorityFile: certificate.authorityFile,
      name,
      password,
      ldif,
    });
  return {
    address,
    host,
    ldapsUrl,
    ldapUrl: `ldap://${address}:389`,
    realm: 'CORP.TEST',
    netbios: 'CORP',
    baseDn: sambaBaseDn,
    authority: certificate.authority,
    sha256: certificate.sha256,
    administrator,
    reader: sambaReader,
    personPassword: sambaPersonPassword,
    staff: people === 'none' ? [] : sambaStaff,
    folder,
    ntlmAuth,
    modify: (ldif) => modifyAs(administrator.name, administrator.password, ldif),
    modifyAs,
    samba: async (...args) => {
      const { stdout } = await run('samba-tool', [...args, `--configfile=${configFile}`], {
        timeout: 60_000,
      });
      return stdout;
    },
    ...controlServer(() => server, start),
    stop,
  };
}

async function startServer(folder: string, configFile: string): Promise<SupervisedProcess> {
  return await spawnSupervised({
    command: 'samba',
    args: [
      ...['-F', '-M', 'single', '--no-process-group', `--configfile=${configFile}`],
      ...['--debug-stdout', '-d', '1'],
    ],
    logFile: join(folder, 'samba.log'),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 3_000,
  });
}

/** A loopback address where nobody has LDAP's ports. */
async function findFreeAddress(): Promise<string> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const address = `127.${randomInt(16, 250)}.${randomInt(1, 250)}.${randomInt(1, 250)}`;
    const inUse = await Promise.all([isListening(389, address), isListening(636, address)]);
    if (!inUse.includes(true)) return address;
  }
  throw new Error('no loopback address has the ports 389 and 636 free: who listens at 0.0.0.0?');
}
