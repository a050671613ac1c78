import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { spawnSupervised } from '@countersign/engines';

import { takeFreePorts } from './free-ports.ts';
import type { NtlmAuth } from './start-test-samba.ts';
import { waitFor } from './wait-for.ts';

/** A user of the target's users file. */
export interface FreeradiusUser {
  name: string;
  password: string;
  /** Attributes of the accept, as in a users file: `Class := "vpn"`. */
  reply?: readonly string[];
  /** After the right password it asks with this text for this code (Access-Challenge). */
  challenge?: { text: string; code: string };
}

export type FreeradiusRole =
  /**
   * Verifies PAP, CHAP and MSCHAPv2, answers accounting. Before 3.2.5 it puts no
   * Message-Authenticator into replies unless told; `unsigned` leaves it so.
   */
  | {
      role: 'target';
      users: readonly FreeradiusUser[];
      unsigned?: boolean;
      /** MSCHAPv2 is judged, and passwords are changed, by this domain; needs root. */
      ntlmAuth?: NtlmAuth;
    }
  /** Checks codes of rlm_totp alone, sent as the password, and writes nothing about them: for benchmarks. */
  | { role: 'totp'; users: readonly { name: string; base32: string }[] }
  /**
   * Sends everything on to a server on loopback. With `nextPorts` it fails over as FreeRADIUS does: once a sign-in has
   * waited in vain (1 s if it is from 127.0.0.9, else 5 s) it is rejected, the server counts as dead a few seconds
   * later, and what is sent again by others then goes to the next.
   */
  | {
      role: 'proxy';
      to: { port: number; accountingPort: number; secret: string; nextPorts?: readonly number[] };
    };

export interface TestFreeradius {
  port: number;
  accountingPort: number;
  /** Of its clients, any address on loopback. */
  secret: string;
  pid: number;
  /** What it wrote so far. */
  log(): Promise<string>;
  /** As kill -9. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
const find = (name: string) => folders.map((folder) => join(folder, name)).find(existsSync);

const binary = find('freeradius') ?? find('radiusd');

/** Whether Debian's packages `freeradius` and `freeradius-utils`, or their like, are installed. */
export const hasFreeradius = binary !== undefined && find('radclient') !== undefined;

const startDeadlineMs = 15_000;
const secret = 'testing-secret';

/** A real FreeRADIUS 3 on free loopback ports, with a configuration of its own. */
export async function startTestFreeradius(
  options: FreeradiusRole & { ports?: { port: number; accountingPort: number } },
): Promise<TestFreeradius> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-freeradius-'));
  const [freePort = 0, freeAccountingPort = 0] = options.ports ? [] : await takeFreePorts(2);
  const { port, accountingPort } = options.ports ?? {
    port: freePort,
    accountingPort: freeAccountingPort,
  };
  const ports = { port, accountingPort };
  const logFile = join(folder, 'freeradius.log');
  await mkdir(join(folder, 'raddb'));
  const write = (name: string, text: string) =>
    writeFile(join(folder, 'raddb', name), text, { mode: 0o600 });
  await write('users', renderUsers(options));
  await write('dictionary', '');
  await write('radiusd.conf', renderConfig(options, { folder, ...ports }));

  const { command, args } = commandOf(options, join(folder, 'raddb'));
  const server = await spawnSupervised({
    command,
    args,
    cwd: folder,
    env: {},
    logFile,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 2_000,
  });
  const log = () => readFile(logFile, 'utf8');
  const stop = async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const isReady = async () => (await log()).includes('Ready to process requests');
    const ended = server.exited.then(() => Promise.reject(new Error('FreeRADIUS ended')));
    await Promise.race([waitFor('FreeRADIUS', isReady, { timeoutMs: startDeadlineMs }), ended]);
  } catch (error) {
    const text = await log();
    await stop();
    throw new Error(`FreeRADIUS did not start:\n${text.slice(-2_000)}`, { cause: error });
  }
  const kill = async () => {
    process.kill(server.pid, 'SIGKILL');
    await server.exited;
  };
  return { ...ports, secret, pid: server.pid, log, kill, stop };
}

/**
 * ntlm_auth looks for winbindd in /run/samba and nowhere else: there, but only in a mount namespace
 * of FreeRADIUS and its children, stands the domain's folder.
 */
function commandOf(options: FreeradiusRole, raddb: string): { command: string; args: string[] } {
  const verbosity = options.role === 'totp' ? '-f' : '-fxx';
  const [command, args] = [binary ?? 'freeradius', [verbosity, '-l', 'stdout', '-d', raddb]];
  const ntlmAuth = options.role === 'target' ? options.ntlmAuth : undefined;
  if (!ntlmAuth) return { command, args };
  const script = [
    'set -e',
    'mount -t tmpfs tmpfs /run',
    'mkdir -p /run/samba/winbindd',
    'mount --bind "$1" /run/samba/winbindd',
    'shift',
    'exec "$@"',
  ].join('\n');
  const wrapped = ['--mount', 'sh', '-c', script, 'sh', ntlmAuth.socketFolder, command, ...args];
  return { command: 'unshare', args: wrapped };
}

function renderUsers(options: FreeradiusRole): string {
  if (options.role === 'proxy') return '';
  if (options.role === 'target') return options.users.map(renderUser).join('\n');
  const render = ({ name, base32 }: { name: string; base32: string }) =>
    `"${name}" TOTP-Secret := "${base32}", Auth-Type := totp\n`;
  return options.users.map(render).join('\n');
}

function renderUser({ name, password, reply = [] }: FreeradiusUser): string {
  const lines = reply.map((line) => `\t${line}`).join(',\n');
  return `"${name}" Cleartext-Password := "${password}"\n${lines}\n`;
}

// FreeRADIUS 3 wants one statement a line.
function renderConfig(
  options: FreeradiusRole,
  { folder, port, accountingPort }: { folder: string; port: number; accountingPort: number },
): string {
  return `
prefix = /usr
localstatedir = ${folder}
logdir = ${folder}
radacctdir = ${folder}
run_dir = ${folder}
libdir = ${['/usr/lib/freeradius', '/usr/lib64/freeradius'].find(existsSync) ?? '/usr/lib/freeradius'}
name = test
max_request_time = 30
cleanup_delay = 2
max_requests = 65536
hostname_lookups = no
log {
  auth = no
}
security {
  max_attributes = 200
  reject_delay = 0
  status_server = yes
}
thread pool {
  start_servers = 2
  max_servers = 4
  min_spare_servers = 1
  max_spare_servers = 2
  max_requests_per_server = 0
}
client loopback {
  ipaddr = 127.0.0.0/8
  secret = ${secret}
  nas_type = other
}
client hasty {
  ipaddr = 127.0.0.9
  secret = ${secret}
  response_window = 1
}
modules {
  pap {
  }
  chap {
  }
  mschap {
    use_mppe = yes
${options.role === 'target' && options.ntlmAuth ? renderNtlmAuth(options.ntlmAuth) : ''}
  }
  always ok {
    rcode = ok
  }
  files {
    filename = ${folder}/raddb/users
  }
${options.role === 'totp' ? '  totp {\n  }' : ''}
}
${options.role === 'proxy' ? renderProxy(options.to) : 'proxy_requests = no'}
server default {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = ${port}
  }
  listen {
    type = acct
    ipaddr = 127.0.0.1
    port = ${accountingPort}
  }
${renderSections(options)}
}
`;
}

function renderNtlmAuth({ domain, configFile }: NtlmAuth): string {
  const command = `${find('ntlm_auth')} --configfile=${configFile} --allow-mschapv2`;
  const asked = [
    '--request-nt-key',
    `--domain=${domain}`,
    '--username=%{%{mschap:User-Name}:-nobody}',
    '--challenge=%{%{mschap:Challenge}:-00}',
    '--nt-response=%{%{mschap:NT-Response}:-00}',
  ].join(' ');
  return `
    ntlm_auth = "${command} ${asked}"
    passchange {
      ntlm_auth = "${command} --helper-protocol=ntlm-change-password-1"
      ntlm_auth_username = "username: %{mschap:User-Name}"
      ntlm_auth_domain = "nt-domain: ${domain}"
    }
`;
}

function renderSections(options: FreeradiusRole): string {
  if (options.role === 'proxy') return proxySections;
  return options.role === 'totp' ? totpSections : renderTargetSections(options);
}

function renderProxy({
  port,
  accountingPort,
  secret: theirs,
  nextPorts = [],
}: Extract<FreeradiusRole, { role: 'proxy' }>['to']): string {
  const [windowSeconds, zombieSeconds] = nextPorts.length > 0 ? [5, 1] : [10, 20];
  const home = (name: string, type: string, at: number) => `
home_server ${name} {
  type = ${type}
  ipaddr = 127.0.0.1
  port = ${at}
  secret = "${theirs}"
  response_window = ${windowSeconds}
  zombie_period = ${zombieSeconds}
  status_check = none
}
`;
  const pool = (name: string, homes: readonly string[]) => `
home_server_pool ${name} {
  type = fail-over
${homes.map((one) => `  home_server = ${one}`).join('\n')}
}
`;
  const homes = [port, ...nextPorts].map((at, i) => ({ name: `home_auth_${i}`, at }));
  return `
proxy_requests = yes
proxy server {
  default_fallback = no
}
${homes.map(({ name, at }) => home(name, 'auth', at)).join('')}
${home('home_acct', 'acct', accountingPort)}
${pool(
  'home_auth_pool',
  homes.map(({ name }) => name),
)}
${pool('home_acct_pool', ['home_acct'])}
realm home {
  auth_pool = home_auth_pool
  acct_pool = home_acct_pool
  nostrip
}
`;
}

const proxySections = `
  authorize {
    update control {
      &Proxy-To-Realm := "home"
    }
  }
  preacct {
    update control {
      &Proxy-To-Realm := "home"
    }
  }
  accounting {
    ok
  }
`;

const totpSections = `
  authorize {
    files
    update request {
      &TOTP-Password := &User-Password
    }
  }
  authenticate {
    Auth-Type totp {
      totp
    }
  }
  post-auth {
    update reply {
      &Message-Authenticator := 0x00
    }
    Post-Auth-Type REJECT {
      update reply {
        &Message-Authenticator := 0x00
      }
    }
  }
`;

function renderTargetSections({
  users,
  unsigned = false,
}: {
  users: readonly FreeradiusUser[];
  unsigned?: boolean;
}): string {
  const sign = unsigned
    ? 'ok'
    : `update reply {
      &Message-Authenticator := 0x00
    }`;
  return `
  authorize {
    chap
    mschap
    files
${users.map(renderExpectedCode).join('')}
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap {
        ok = 1
      }
${users.map(renderQuestion).join('')}
    }
    Auth-Type CHAP {
      chap
    }
    Auth-Type MS-CHAP {
      mschap
    }
  }
  preacct {
    ok
  }
  accounting {
    ok
  }
  post-auth {
    ${sign}
    Post-Auth-Type REJECT {
      ${sign}
    }
    Post-Auth-Type Challenge {
      ${sign}
    }
  }
`;
}

// With a State the answer to the question takes the password's place.
function renderExpectedCode({ name, challenge }: FreeradiusUser): string {
  if (!challenge) return '';
  return `
    if (&User-Name == "${name}" && &State) {
      update control {
        &Cleartext-Password := "${challenge.code}"
      }
    }
`;
}

function renderQuestion({ name, challenge }: FreeradiusUser): string {
  if (!challenge) return '';
  return `
      if (&User-Name == "${name}" && !&State) {
        update reply {
          &State := 0x61736b6564
          &Reply-Message := "${challenge.text}"
        }
        update control {
          &Response-Packet-Type := Access-Challenge
        }
      }
`;
}
