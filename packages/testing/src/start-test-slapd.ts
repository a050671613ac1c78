import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { spawnSupervised, type SupervisedProcess } from '@countersign/engines';

import { controlServer, type ServerControls } from './control-server.ts';
import { takeFreePorts } from './free-ports.ts';
import { isListening } from './is-listening.ts';
import {
  hasOpenssl,
  makeTestCertificate,
  runs,
  type TestCertificate,
} from './make-test-certificate.ts';
import { modifyDirectory } from './modify-directory.ts';
import { slapdPersonPassword, writeSlapdTree, type SlapdPerson } from './slapd-people.ts';
import { waitFor } from './wait-for.ts';

const run = promisify(execFile);

export interface TestSlapd extends ServerControls {
  ldapUrl: string;
  /** Of the same server; without TLS nothing listens there. */
  ldapsUrl: string;
  baseDn: string;
  /** PEM; empty without TLS. */
  authority: string;
  /** Of the server's certificate (for 127.0.0.1 and localhost), in lower case hex; empty without TLS. */
  sha256: string;
  administrator: { name: string; password: string };
  reader: { name: string; password: string };
  /** Everybody's. */
  personPassword: string;
  people: SlapdPerson[];
  folder: string;
  /** Changes (LDIF) as administrator, in one connection. Throws with what the server said. */
  modify(ldif: string): Promise<void>;
  /** The same as somebody else, by DN. */
  modifyAs(name: string, password: string, ldif: string): Promise<void>;
  stop(): Promise<void>;
}

// sbin is not on everybody's PATH.
const slapd = ['/usr/sbin/slapd', '/usr/local/libexec/slapd'].find(existsSync);
const slapadd = ['/usr/sbin/slapadd', '/usr/local/sbin/slapadd'].find(existsSync);
const slapcat = ['/usr/sbin/slapcat', '/usr/local/sbin/slapcat'].find(existsSync);
const modules = '/usr/lib/ldap';
const schemas = '/etc/ldap/schema';

/** Whether Debian's packages `slapd` and `ldap-utils`, and openssl, are installed. */
export const hasSlapd =
  slapd !== undefined &&
  slapadd !== undefined &&
  [modules, schemas].every(existsSync) &&
  hasOpenssl &&
  runs('ldapmodify', ['-VV']);

/**
 * A real OpenLDAP on loopback: memberOf, password policy (accounts can be locked), people who may
 * write their own mobile number and password, a reader who may read all but passwords.
 */
export async function startTestSlapd(
  options: {
    /** How many; 25 unless told. The first ten differ from each other, see slapd-people.ts. */
    people?: number;
    suffix?: string;
    /** How many entries a search gives the reader and people at most, over all its pages. */
    sizeLimit?: number;
    tls?: boolean;
    certificate?: 'good' | 'expired';
    /** The same entries as this one has now, down to their ids: two servers of one directory. */
    copyOf?: TestSlapd;
  } = {},
): Promise<TestSlapd> {
  const suffix = options.suffix ?? 'dc=example,dc=test';
  const administrator = { name: `cn=admin,${suffix}`, password: 'Beheer.2026' };
  const reader = { name: `cn=reader,ou=services,${suffix}`, password: 'Leesrecht.2026' };
  const folder = await mkdtemp(join(tmpdir(), 'countersign-slapd-'));
  const [port, tlsPort] = (await takeFreePorts(2)) as [number, number];
  const [ldapUrl, ldapsUrl] = [`ldap://127.0.0.1:${port}`, `ldaps://127.0.0.1:${tlsPort}`];
  const configFile = join(folder, 'slapd.conf');
  const certificate =
    options.tls === false
      ? null
      : await makeTestCertificate(folder, { days: options.certificate === 'expired' ? -1 : 2 });
  const tree = writeSlapdTree({ suffix, count: options.people ?? 25, reader });
  let server: SupervisedProcess | undefined;

  const start = async () => {
    server = await spawnSupervised({
      command: slapd ?? 'slapd',
      args: ['-d', '0', '-f', configFile, '-h', certificate ? `${ldapUrl} ${ldapsUrl}` : ldapUrl],
      logFile: join(folder, 'slapd.log'),
      stopSignal: 'SIGTERM',
      stopTimeoutMs: 3_000,
    });
    const { pid, isRunning } = server;
    await waitFor(
      `slapd at ${port}`,
      async () => {
        if (!isRunning()) throw new Error(`slapd ${pid} ended, see ${folder}/slapd.log`);
        return (await isListening(port)) && (!certificate || (await isListening(tlsPort)));
      },
      { timeoutMs: 15_000 },
    );
  };
  const stop = async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await mkdir(join(folder, 'data'));
    const about = { folder, suffix, administrator, reader, certificate };
    await writeFile(configFile, renderConfig({ ...about, sizeLimit: options.sizeLimit }), {
      mode: 0o600,
    });
    const { copyOf } = options;
    await load(configFile, copyOf ? await readEntries(copyOf) : tree.ldif, folder);
    await start();
  } catch (error) {
    await stop();
    throw error;
  }

  const modifyAs = (name: string, password: string, ldif: string) =>
    modifyDirectory({ url: ldapUrl, name, password, ldif });
  return {
    ldapUrl,
    ldapsUrl,
    baseDn: suffix,
    authority: certificate?.authority ?? '',
    sha256: certificate?.sha256 ?? '',
    administrator,
    reader,
    personPassword: slapdPersonPassword,
    people: tree.people,
    folder,
    modify: (ldif) => modifyAs(administrator.name, administrator.password, ldif),
    modifyAs,
    ...controlServer(() => server, start),
    stop,
  };
}

async function readEntries({ folder }: TestSlapd): Promise<string> {
  const options = { timeout: 60_000, maxBuffer: 64 * 1024 * 1024 };
  const { stdout } = await run(slapcat ?? 'slapcat', ['-f', join(folder, 'slapd.conf')], options);
  return stdout;
}

/** Straight into the files of a server that does not run yet. */
async function load(configFile: string, ldif: string, folder: string): Promise<void> {
  const file = join(folder, 'tree.ldif');
  await writeFile(file, ldif);
  await run(slapadd ?? 'slapadd', ['-q', '-f', configFile, '-l', file], { timeout: 120_000 });
  await rm(file);
}

function renderConfig(about: {
  folder: string;
  suffix: string;
  administrator: { name: string; password: string };
  reader: { name: string };
  certificate: TestCertificate | null;
  sizeLimit: number | undefined;
}): string {
  const { folder, suffix, administrator, reader, certificate, sizeLimit } = about;
  return `
${['core', 'cosine', 'inetorgperson'].map((name) => `include ${schemas}/${name}.schema`).join('\n')}
modulepath ${modules}
${['back_mdb', 'memberof', 'ppolicy'].map((name) => `moduleload ${name}`).join('\n')}
pidfile ${folder}/slapd.pid
argsfile ${folder}/slapd.args
sizelimit ${sizeLimit ?? 'unlimited'}
${certificate ? renderTls(certificate) : ''}
access to dn.base="" by * read
access to dn.base="cn=Subschema" by * read

database mdb
suffix "${suffix}"
rootdn "${administrator.name}"
rootpw ${administrator.password}
directory ${folder}/data
maxsize 2147483648
# What is lost with the machine's power is of no worth; kill -9 loses nothing.
dbnosync
index objectClass,entryUUID,member,memberOf eq
index uid,cn,sn,mail eq,sub
index modifyTimestamp,entryCSN eq
access to attrs=userPassword by self write by anonymous auth by * none
access to attrs=mobile by self write by users read by * none
access to * by dn.exact="${reader.name}" read by users read by * none
overlay memberof
memberof-refint TRUE
overlay ppolicy
ppolicy_default "cn=policy,ou=services,${suffix}"
ppolicy_use_lockout
`;
}

function renderTls(certificate: TestCertificate): string {
  return `TLSCACertificateFile ${certificate.authorityFile}
TLSCertificateFile ${certificate.certificateFile}
TLSCertificateKeyFile ${certificate.keyFile}`;
}
