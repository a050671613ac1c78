import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { checkNatsVersion } from '@countersign/engines';
import { readIdentity, type Identity } from '@countersign/identity';
import type { ExaminedLogServer, ExaminedNode } from './examined-node.ts';
import { critical, explain, fine, warning, type Finding } from './finding.ts';

const ANSWER_MS = 2_000;
const GREETING_MAX_LENGTH = 64 * 1024;

/** Whether every log server answers when it is asked from here, and is new enough. */
export async function checkLogServers(
  {
    name,
    dataDirectory,
    isOperatorsNats,
  }: Pick<ExaminedNode, 'name' | 'dataDirectory' | 'isOperatorsNats'>,
  servers: readonly ExaminedLogServer[],
): Promise<Finding[]> {
  if (isOperatorsNats) return Promise.all(servers.map(checkOperators));
  const identity = readIdentity(join(dataDirectory, 'identity'));
  return Promise.all(
    servers.map((server) => check(server, { isOwn: server.name === name, identity })),
  );
}

async function check(
  { name, host, clientPort: port }: ExaminedLogServer,
  { isOwn, identity }: { isOwn: boolean; identity: Identity | null },
): Promise<Finding> {
  const where = `the log server of ${name} (${host}:${port})`;
  try {
    const version = await readVersion({ host, port }, identity);
    const isOld = explainOld(version, where);
    if (isOld) {
      return critical('log', isOld, `npm run setup on ${name}, then restart it; docs/operating.md`);
    }
    return fine('log', `${where} answers: nats-server ${version}`);
  } catch (error) {
    const detail = `${where} cannot be reached from here: ${explain(error)}`;
    const fix = isOwn
      ? 'tail -n 50 logs/nats-server.log in the data directory; systemctl restart countersign'
      : `on ${name}: systemctl status countersign; from here: nc -vz ${host} ${port}; docs/firewall.md`;
    return warning('log', detail, fix);
  }
}

/** They greet in the clear, and then go on encrypted: their version is all that is looked at here. */
async function checkOperators({ host, clientPort: port }: ExaminedLogServer): Promise<Finding> {
  const where = `your own NATS server ${host}:${port}`;
  try {
    const version = await readVersion({ host, port }, null);
    const isOld = explainOld(version, where);
    if (isOld) return critical('log', isOld, 'install a newer nats-server there');
    return fine('log', `${where} answers: nats-server ${version}`);
  } catch (error) {
    const detail = `${where} cannot be reached from here: ${explain(error)}`;
    return warning('log', detail, `start it; from here: nc -vz ${host} ${port}`);
  }
}

function explainOld(version: string, where: string): string | null {
  try {
    checkNatsVersion(version, where);
    return null;
  } catch (error) {
    return explain(error);
  }
}

/** A nats-server greets whoever connects before anything else; one of a secured cluster after the TLS handshake. */
async function readVersion(
  at: { host: string; port: number },
  identity: Identity | null,
): Promise<string> {
  const signal = AbortSignal.timeout(ANSWER_MS);
  const socket: Socket = identity ? connectAs(identity, at) : connect(at);
  socket.setEncoding('utf8');
  try {
    let text = '';
    await once(socket, identity ? 'secureConnect' : 'connect', { signal });
    while (!text.includes('\r\n') && text.length < GREETING_MAX_LENGTH) {
      const [chunk] = (await once(socket, 'data', { signal })) as [string];
      text += chunk;
    }
    const [, json] = /^INFO (\{.*\}) ?\r\n/.exec(text) ?? [];
    const { version } = JSON.parse(json ?? '{}') as { version?: unknown };
    if (typeof version !== 'string') throw new Error('what listens there is no nats-server');
    return version;
  } catch (error) {
    throw signal.aborted ? new Error(`silent for ${ANSWER_MS / 1000} s`) : error;
  } finally {
    socket.destroy();
  }
}

function connectAs(
  { caPem, certificatePem, keyPem }: Identity,
  at: { host: string; port: number },
) {
  return connectTls({ ...at, ca: caPem, cert: certificatePem, key: keyPem });
}
