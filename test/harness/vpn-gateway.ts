import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeTestCertificate } from '@countersign/testing';
import { Conversation } from './conversation.ts';
import { Machine } from './machine.ts';

const OCSERV = '/usr/sbin/ocserv';
const OPENCONNECT = '/usr/sbin/openconnect';
const NAME = 'vpn.example.test';
const INSIDE = { address: '10.99.0.1', port: 8080 };

/** Whether Debian's packages `ocserv` and `openconnect` are installed. */
export const hasVpn = [OCSERV, OPENCONNECT, '/etc/radcli/dictionary'].every(existsSync);

export type Radcli = {
  servers: readonly string[];
  secret: string;
  /** Further lines of radiusclient.conf. */
  more?: readonly string[];
};

/** A web server inside: it says who asks, and the hash of what it is sent. */
const SERVE_INSIDE = `
  const { createHash } = require('node:crypto');
  const server = require('node:http').createServer((request, response) => {
    const hash = createHash('sha256');
    request.on('data', (chunk) => hash.update(chunk));
    request.on('end', () => {
      const from = request.socket.remoteAddress;
      response.end(JSON.stringify({ from, sha256: hash.digest('hex') }));
    });
  });
  server.listen(${INSIDE.port}, '${INSIDE.address}', () => console.log('serving'));
`;

const SEND_INSIDE = `
  const body = Buffer.from(process.argv[1], 'base64');
  const signal = AbortSignal.timeout(5000);
  fetch('http://${INSIDE.address}:${INSIDE.port}/', { method: 'POST', body, signal })
    .then((reply) => reply.text()).then(console.log);
`;

/** What openconnect runs to set up the tunnel's interface, in place of vpnc-script. */
const SET_UP_TUNNEL = `#!/bin/sh
[ "$reason" = connect ] || exit 0
ip address add "$INTERNAL_IP4_ADDRESS" dev "$TUNDEV"
ip link set "$TUNDEV" up
ip route add "$CISCO_SPLIT_INC_0_ADDR/$CISCO_SPLIT_INC_0_MASKLEN" dev "$TUNDEV"
`;

/** A real ocserv that asks by RADIUS. Behind it is a web server that nobody reaches but through the tunnel. */
export class VpnGateway implements AsyncDisposable {
  readonly #machine: Machine;
  readonly #folder: string;
  readonly #ocserv: Conversation;
  readonly #authorityFile: string;

  private constructor(about: {
    machine: Machine;
    folder: string;
    ocserv: Conversation;
    authorityFile: string;
  }) {
    this.#machine = about.machine;
    this.#folder = about.folder;
    this.#ocserv = about.ocserv;
    this.#authorityFile = about.authorityFile;
  }

  /** It runs in that machine, and ends with it. */
  static async start(machine: Machine, radcli: Radcli): Promise<VpnGateway> {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-vpn-'));
    try {
      // ocserv's workers are nobody, and talk through a socket in here.
      await chmod(folder, 0o711);
      const certificate = await makeTestCertificate(folder, { hosts: [NAME], addresses: [] });
      const write = (name: string, text: string, mode = 0o600) =>
        writeFile(join(folder, name), text, { mode });
      await write('radiusclient.conf', renderRadcli(folder, radcli));
      const { servers, secret } = radcli;
      await write('servers', servers.map((server) => `${server} ${secret}\n`).join(''));
      await write('ocserv.conf', renderOcserv(folder, certificate));
      await write('set-up-tunnel', SET_UP_TUNNEL, 0o700);

      await machine.run('ip', ['address', 'add', `${INSIDE.address}/32`, 'dev', 'lo']);
      const inside = new Conversation(machine.spawn(process.execPath, ['-e', SERVE_INSIDE]));
      await inside.untilSaid('serving');
      const args = ['-f', '-d', '2', '-c', join(folder, 'ocserv.conf')];
      const ocserv = new Conversation(machine.spawn(OCSERV, args));
      await ocserv.untilSaid('initialized ocserv');
      return new VpnGateway({ machine, folder, ocserv, ...certificate });
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** What ocserv logged. */
  get log(): string {
    return this.#ocserv.said;
  }

  /** Starts openconnect at somebody's home, which asks for the password then. */
  async dial(user: string): Promise<VpnClient> {
    const home = await Machine.start({ at: this.#machine });
    const args = [
      ...['--user', user, '--cafile', this.#authorityFile],
      ...['--script', join(this.#folder, 'set-up-tunnel')],
      ...['--resolve', `${NAME}:${home.peers[0]}`, NAME],
    ];
    return new VpnClient(home, home.spawn(OPENCONNECT, args));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** An openconnect in a machine of its own, whose cable leads to the gateway. */
export class VpnClient extends Conversation implements AsyncDisposable {
  readonly #home: Machine;

  constructor(home: Machine, program: Conversation['program']) {
    super(program);
    this.#home = home;
  }

  /** Sends that much to the server inside; throws where no way leads there. */
  async sendInside(bytes: Buffer): Promise<{ from: string; sha256: string }> {
    const args = ['-e', SEND_INSIDE, '--', bytes.toString('base64')];
    return JSON.parse(await this.#home.run(process.execPath, args));
  }

  /** Ctrl-C: openconnect signs off. */
  async hangUp(): Promise<void> {
    this.#home.signal(this.program, 'SIGINT');
    await this.untilEnded();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#home[Symbol.asyncDispose]();
  }
}

function renderRadcli(folder: string, { servers, more = [] }: Radcli): string {
  return `nas-identifier ocserv-1
authserver ${servers.join()}
acctserver ${servers.join()}
servers ${folder}/servers
dictionary /etc/radcli/dictionary
default_realm
bindaddr *
${more.join('\n')}
`;
}

function renderOcserv(
  folder: string,
  { certificateFile, keyFile }: { certificateFile: string; keyFile: string },
): string {
  return `auth = "radius[config=${folder}/radiusclient.conf]"
acct = "radius[config=${folder}/radiusclient.conf]"
tcp-port = 443
udp-port = 443
run-as-user = nobody
run-as-group = nogroup
socket-file = ${folder}/socket
pid-file = ${folder}/ocserv.pid
server-cert = ${certificateFile}
server-key = ${keyFile}
isolate-workers = true
max-clients = 16
sec-mod-scale = 4
max-same-clients = 2
auth-timeout = 240
# All that is typed here comes from few addresses.
max-ban-score = 0
use-occtl = false
device = vpns
predictable-ips = false
ipv4-network = 10.98.0.0
ipv4-netmask = 255.255.255.0
route = ${INSIDE.address}/32
`;
}
