import type {
  Command,
  LogLayout,
  LogServerAddress,
  MasterReply,
  Membership,
} from '@countersign/cluster';
import type { Allowed } from '../authorise.ts';
import type { Mastership } from '../mastership.ts';

type Refused = Extract<MasterReply, { kind: 'refused' }>;

/** Anybody can send a join: only one that a token has signed waits for its turn, and takes one. */
export async function handleJoin(
  command: Command,
  parts: {
    mastership: Pick<Mastership, 'handle' | 'isActive'>;
    authorise(command: Command): Promise<Allowed | Refused>;
  },
): Promise<MasterReply> {
  if (!parts.mastership.isActive) return { kind: 'not_master' };
  const judged = await parts.authorise(command);
  return judged.kind === 'refused' ? judged : parts.mastership.handle(command);
}

const MAX_TOLD = 8;

/** Those of the log first, then others that are heard. */
export function knownLogServers(
  layout: LogLayout,
  membership: Pick<Membership, 'online'>,
): LogServerAddress[] {
  const heard = membership.online().flatMap(({ logServer }) => (logServer ? [logServer] : []));
  const byName = new Map([...heard, ...layout.servers].map((server) => [server.name, server]));
  const inLog = new Set(layout.servers.map(({ name }) => name));
  return [...byName.values()]
    .toSorted((a, b) => Number(inLog.has(b.name)) - Number(inLog.has(a.name)))
    .slice(0, MAX_TOLD);
}
