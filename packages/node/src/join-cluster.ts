import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import {
  createCertificateRequest,
  fingerprintOf,
  parseJoinToken,
  prepareOwnSecrets,
  publicKeysOf,
  readNodeCertificate,
  readPrivateJson,
  signJoinRequest,
  splitCertificates,
  unwrap,
  verifyMembers,
  writeDurably,
  writeMembership,
  type JoinRequest,
  type JoinToken,
  type MemberList,
  type MemberRole,
  type OwnSecrets,
} from '@countersign/identity';
import { isOperators } from '@countersign/cluster';
import { decodeKeyRing, type KeyRing } from '@countersign/keys';
import { z } from 'zod';

import { fetchPinnedAuthority, postJoin, type Answer } from './ask-to-join.ts';
import { usualServer, writeNodeConfig, type LogServer, type NodeConfig } from './config.ts';
import { installKeyRing } from './key-ring.ts';
import {
  layoutFileIn,
  parseNotedLayout,
  writeLayoutFile,
  type NotedLayout,
} from './layout-file.ts';
import { identityFolderOf } from './log-access.ts';
import { NodeError } from './node-error.ts';
import { clusterKeyContext } from './node-identity.ts';
import { operatorsLayout } from './operators-nats.ts';
import {
  draftFolderOf,
  findConfig,
  finishIdentity,
  firstConfig,
  inNewDataFolder,
  type NewNode,
} from './prepare-membership.ts';

export interface JoinOptions extends NewNode {
  token: string;
  /** Of any node of the cluster: https. */
  serverUrl: string;
  role: MemberRole;
}

const MAX_LOG_SERVERS = 5;
const TRIES = 6;
const PAUSE_MS = 2_000;
const REQUEST_FILE = 'request.json';

/** What a member is told; everything in it is checked against the token's pin. */
const answerShape = z.looseObject({
  certificatePem: z.string().max(32_768),
  caPem: z.string().max(32_768),
  members: z.unknown(),
  layout: z.unknown(),
  logServers: z
    .array(
      // What else is told of them is not for a configuration.
      z.object({
        name: z.string(),
        host: z.string(),
        clientPort: z.int(),
        routePort: z.int(),
      }),
    )
    .max(16),
  clusterKey: z.string().max(262_144).nullable(),
});

type Membership = {
  certificatePem: string;
  caPem: string;
  members: MemberList;
  layout: NotedLayout['layout'];
  logServers: LogServer[];
  ring: KeyRing | null;
};

/**
 * Makes this machine a member of a cluster, with a token that one of its nodes has made. The machine's keys are made
 * here and stay here; the token itself is not sent either, it signs. Interrupted anywhere, a second run with the same
 * token goes on, within 10 minutes of the first.
 * Throws NodeError, KeyError or IdentityError, one line each.
 */
export async function joinCluster(options: JoinOptions): Promise<{
  clusterId: string;
  members: string[];
  isConfigNew: boolean;
  dataDirectory: string;
}> {
  const { configFile, name, hosts, role } = options;
  const token = parseJoinToken(options.token);
  const url = parseServer(options.serverUrl);
  const own = usualServer(name, hosts[0]!);
  const { config, isThere } = findConfig(options, firstConfig(options, [own]));
  const { dataDirectory } = config;
  return inNewDataFolder(config, { kind: 'joining', hosts }, async () => {
    const draft = draftFolderOf(dataDirectory, 'joining');
    if (existsSync(config.clusterKeyFile) && !existsSync(draft)) {
      throw new NodeError(
        `${config.clusterKeyFile} is there already: is this machine a node of another cluster?`,
      );
    }
    const secrets = prepareOwnSecrets(draft);
    const request = await prepareRequest(draft, secrets, { token, name, hosts, role });
    const caPem = await fetchPinnedAuthority(url, token.caFingerprint);
    const answer = await ask(url, caPem, request, token);
    const given = checkAnswer(answer, { token, request, secrets });
    const isOther = isOperators(given.layout) !== (config.nats !== null);
    if (role === 'node' && isOther) refuseMix(config);
    if (role === 'witness' && isOperators(given.layout)) {
      throw new NodeError(
        "the cluster's log is in a NATS of its operator's own: it has no witness",
      );
    }
    if (given.ring) await installKeyRing(config, given.ring);
    const noted = notedBy(config, given, name);
    writeLayoutFile(layoutFileIn(dataDirectory), noted);
    if (!isThere) {
      mkdirSync(dirname(configFile), { recursive: true });
      const others = given.logServers.filter((server) => server.name !== name);
      const servers = [...others.slice(0, MAX_LOG_SERVERS - 1), own];
      const { http, ...rest } = firstConfig(options, servers);
      // A witness listens nowhere else.
      writeNodeConfig(configFile, role === 'witness' ? rest : { ...rest, http });
    }
    writeMembership(draft, given);
    finishIdentity(dataDirectory, 'joining');
    // Not before: with another request the token would be used up already.
    rmSync(join(identityFolderOf(dataDirectory), REQUEST_FILE));
    return {
      clusterId: token.clusterId,
      members: given.members.members.map((member) => member.name),
      isConfigNew: !isThere,
      dataDirectory,
    };
  });
}

/** What it is told is good for 10 minutes: time to correct the configuration. */
function refuseMix({ nats, file }: NodeConfig): never {
  const [is, should] = nats
    ? ['on servers that its nodes run', 'take nats.urls out of']
    : ["in a NATS of its operator's own", 'put nats.urls into'];
  throw new NodeError(
    `the cluster's log is ${is}: ${should} ${file.path}, and join again within 10 minutes with the same token`,
  );
}

/** Whoever joins never begins a log, not in the operator's NATS either. */
function notedBy(config: NodeConfig, { layout, members }: Membership, name: string): NotedLayout {
  if (!config.nats) return { layout, runsLogServer: false, leftTags: [] };
  const other = members.members.find((member) => member.name !== name)?.name;
  return operatorsLayout(config, { ...layout, by: layout.by ?? other ?? null });
}

function parseServer(text: string): URL {
  if (!URL.canParse(text)) throw new NodeError('--server: not an address');
  const url = new URL(text);
  if (url.protocol === 'https:') return url;
  throw new NodeError('--server: must begin with https://');
}

/** The same again after an interruption: then it gets the same answer. */
async function prepareRequest(
  draft: string,
  secrets: OwnSecrets,
  about: { token: JoinToken; name: string; hosts: string[]; role: MemberRole },
): Promise<JoinRequest> {
  const { token, name, hosts, role } = about;
  const { clusterId, tokenId } = token;
  const keys = publicKeysOf(secrets, role);
  const known = { clusterId, tokenId, role, name, hosts, ...keys };
  const file = join(draft, REQUEST_FILE);
  const earlier = readPrivateJson(file) as JoinRequest | null;
  if (earlier) {
    const { certificateRequest, ...rest } = earlier;
    if (JSON.stringify(rest) === JSON.stringify(known)) return { ...known, certificateRequest };
  }
  const certificateRequest = await createCertificateRequest({ name, keyPem: secrets.keyPem });
  writeDurably(file, JSON.stringify({ ...known, certificateRequest }));
  return { ...known, certificateRequest };
}

async function ask(
  url: URL,
  caPem: string,
  request: JoinRequest,
  token: JoinToken,
): Promise<Record<string, unknown>> {
  const body = { request, signature: signJoinRequest(request, token.secret) };
  const idempotencyKey = createHash('sha256').update(JSON.stringify(request)).digest('hex');
  for (let tries = 1; ; tries += 1) {
    const answer = await postJoin({ url, caPem, body, idempotencyKey });
    // The master's supervisor alone can add the cluster key; it may just not have answered.
    const isWhole = answer.body.clusterKey !== null || request.role === 'witness';
    if (answer.status === 200 && isWhole) return answer.body;
    const mayCome = answer.status >= 500 || answer.status === 200;
    if (!mayCome || tries >= TRIES) throw new NodeError(describeRefusal(answer));
    await wait(PAUSE_MS);
  }
}

function describeRefusal({ status, body }: Answer): string {
  if (status === 200) return 'the master does not hand out the cluster key: look at its log';
  const { detail, code } = body as { detail?: unknown; code?: unknown };
  const text = typeof detail === 'string' ? detail.slice(0, 500).replace(/[^\x20-\x7e]/g, '?') : '';
  return `${text || 'refused'} (${typeof code === 'string' ? code.slice(0, 60) : status})`;
}

/** Throws NodeError or IdentityError where anything of it is not what this machine asked the pinned CA for. */
function checkAnswer(
  answer: unknown,
  about: { token: JoinToken; request: JoinRequest; secrets: OwnSecrets },
): Membership {
  const { token, request, secrets } = about;
  const parsed = answerShape.safeParse(answer);
  if (!parsed.success) throw new NodeError('the answer is not that of a cluster of this version');
  const { certificatePem, caPem, logServers, clusterKey } = parsed.data;
  const authorities = splitCertificates(caPem);
  // Another CA beside it would be trusted on the word of one server alone.
  if (authorities.length !== 1 || fingerprintOf(authorities[0]!) !== token.caFingerprint) {
    throw new NodeError("the answer does not hold the cluster's CA, or not it alone");
  }
  const certificate = readNodeCertificate(certificatePem, { caPem, keyPem: secrets.keyPem });
  const { clusterId } = token;
  const members = verifyMembers(parsed.data.members, { caPem, clusterId });
  const isIn = members.members.some(
    ({ name, keyDigest }) => name === request.name && keyDigest === certificate.keyDigest,
  );
  if (!isIn || certificate.name !== request.name) {
    throw new NodeError(`${request.name} is not among the members any more: make another token`);
  }
  const { layout } = parseNotedLayout({ layout: parsed.data.layout, runsLogServer: false });
  const given = { certificatePem, caPem, members, layout, logServers };
  if (clusterKey === null) return { ...given, ring: null };
  const wrapped = Buffer.from(clusterKey, 'base64');
  const context = clusterKeyContext(clusterId, request.name);
  const ring = decodeKeyRing(unwrap(secrets.keyPem, wrapped, context).toString('utf8'));
  if (!ring) throw new NodeError('the cluster key in the answer is of another version');
  return { ...given, ring };
}
