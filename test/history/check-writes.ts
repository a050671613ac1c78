import { wasCarriedOver } from './check-replicas.ts';
import type { Contradiction } from './contradiction.ts';
import type { DumpedUser, ReplicaDump, Write } from './records.ts';

/** One command: a request and its repeats under the same Idempotency-Key. */
type Command = Omit<Write, 'kind'>;

type Acknowledged = Command & { revision: number };

/**
 * Promises 2 and 6. The log is one order of all writes: what was acknowledged before another began comes before it,
 * the newest acknowledged write of each field is in every replica, and what was refused is in none. A write without
 * an answer may have happened at any time after it began, or never.
 */
export function checkWrites(
  writes: readonly Write[],
  replicas: readonly ReplicaDump[],
): Contradiction[] {
  const commands = joinRepeats(writes);
  const acknowledged = commands.filter(isAcknowledged);
  return [
    ...checkRepeats(writes),
    ...checkOrder(acknowledged),
    ...checkOneRevisionEach(acknowledged),
    ...replicas.flatMap((replica) => checkReplica(commands, replica)),
  ];
}

function joinRepeats(writes: readonly Write[]): Command[] {
  const commands = new Map<string, Write[]>();
  for (const [i, write] of writes.entries()) {
    const key = write.idempotencyKey ?? `alone ${i}`;
    commands.set(key, [...(commands.get(key) ?? []), write]);
  }
  return [...commands.values()].map((repeats) => {
    const told =
      repeats.find(({ outcome }) => outcome === 'acknowledged') ??
      repeats.find(({ outcome }) => outcome === 'unknown') ??
      repeats[0]!;
    const ends = repeats.filter(({ outcome }) => outcome === told.outcome).map(({ to }) => to);
    return {
      ...told,
      from: Math.min(...repeats.map(({ from }) => from)),
      to: Math.min(...ends),
    };
  });
}

function isAcknowledged(command: Command): command is Acknowledged {
  return command.outcome === 'acknowledged' && command.revision !== null;
}

function checkRepeats(writes: readonly Write[]): Contradiction[] {
  const found: Contradiction[] = [];
  const first = new Map<string, Write>();
  for (const write of writes.filter(({ outcome }) => outcome === 'acknowledged')) {
    if (write.idempotencyKey === null || write.revision === null) continue;
    const earlier = first.get(write.idempotencyKey);
    if (!earlier) first.set(write.idempotencyKey, write);
    else if (earlier.revision !== write.revision) {
      const says = 'one command was acknowledged at two revisions';
      found.push({ rule: 2, says, records: [earlier, write] });
    }
  }
  return found;
}

function checkOrder(acknowledged: Acknowledged[]): Contradiction[] {
  const found: Contradiction[] = [];
  const ended = acknowledged.toSorted((a, b) => a.to - b.to);
  let next = 0;
  let newest: Acknowledged | null = null;
  for (const write of acknowledged.toSorted((a, b) => a.from - b.from)) {
    for (; next < ended.length && ended[next]!.to < write.from; next += 1) {
      if (!newest || ended[next]!.revision > newest.revision) newest = ended[next]!;
    }
    // Equal where it asked for what was so already.
    if (newest && write.revision < newest.revision) {
      const says = `revision ${newest.revision} was acknowledged before the write began that is at revision ${write.revision}`;
      found.push({ rule: 1, says, records: [newest, write] });
    }
  }
  return found;
}

function checkOneRevisionEach(acknowledged: Acknowledged[]): Contradiction[] {
  const found: Contradiction[] = [];
  const at = new Map<number, Acknowledged>();
  for (const write of acknowledged) {
    if (write.action !== 'add' && write.action !== 'remove') continue;
    const other = at.get(write.revision);
    if (other) {
      const says = `two writes were acknowledged at revision ${write.revision}`;
      found.push({ rule: 1, says, records: [other, write] });
    } else at.set(write.revision, write);
  }
  return found;
}

function checkReplica(commands: Command[], replica: ReplicaDump): Contradiction[] {
  const { node, revision } = replica;
  if (revision < replica.horizon) return [];
  const users = new Map(replica.users.map((user) => [user.username, user]));
  const bySubject = Map.groupBy(commands, ({ username }) => username);
  return [...bySubject].flatMap(([username, writes]) => {
    // Users of the test's making only, and never renamed: the name is what joins history and replica.
    if (!writes.some(({ action }) => action === 'add')) return [];
    if (writes.some(({ action }) => action === 'rename')) return [];
    const late = writes.filter(isAcknowledged).find((write) => write.revision > revision);
    if (late) {
      const says = `${node} stands at revision ${revision}, before an acknowledged write`;
      return [{ rule: 2, says, records: [late, { node, revision }] }];
    }
    const user = users.get(username) ?? null;
    const isMoved = user !== null && wasCarriedOver(replica, user.revision);
    return checkUser(writes, user, { node, isMoved });
  });
}

function checkUser(
  writes: Command[],
  user: DumpedUser | null,
  { node, isMoved }: { node: string; isMoved: boolean },
): Contradiction[] {
  const acknowledged = writes.filter(isAcknowledged).toSorted((a, b) => a.revision - b.revision);
  const last = acknowledged.at(-1) ?? null;
  const isOpen = (...actions: Write['action'][]) =>
    writes.some(({ outcome, action }) => outcome === 'unknown' && actions.includes(action));

  if (!user) {
    if (!last || last.action === 'remove' || isOpen('remove')) return [];
    const says = `an acknowledged write is missing on ${node}`;
    return [{ rule: 2, says, records: [last, { node, absent: last.username }] }];
  }
  const stands = { node, user };
  if (!last && !isOpen('add')) {
    const says = `a refused write was done on ${node}`;
    return [{ rule: 6, says, records: [writes[0], stands] }];
  }
  if (last?.action === 'remove' && !isOpen('add')) {
    const says = `a user whose removal was acknowledged is on ${node}`;
    return [{ rule: 2, says, records: [last, stands] }];
  }
  if (last && user.revision < last.revision && last.action !== 'set') {
    const says = `${node} has the user as it was before an acknowledged write`;
    return [{ rule: 2, says, records: [last, stands] }];
  }
  const hasOther = isMoved || writes.some(({ action }) => action === 'other');
  if (last && user.revision > last.revision && !hasOther && !isOpen('add', 'set', 'remove')) {
    const says = `the user changed at revision ${user.revision} on ${node}, and nobody asked for it`;
    return [{ rule: 6, says, records: [last, stands] }];
  }
  return checkFields(writes, acknowledged, user, node);
}

function checkFields(
  writes: Command[],
  acknowledged: Acknowledged[],
  user: DumpedUser,
  node: string,
): Contradiction[] {
  const removedAt = acknowledged.findLast(({ action }) => action === 'remove')?.revision ?? 0;
  const standing = acknowledged.filter(({ revision }) => revision > removedAt);
  const open = writes.filter(({ outcome }) => outcome === 'unknown');
  const fields = new Set(writes.flatMap(({ content }) => Object.keys(content)));
  fields.delete('username');
  for (const field of fields) {
    const newest = standing.findLast(({ content }) => field in content) ?? null;
    const is = user.content[field] ?? null;
    const wanted = newest ? (newest.content[field] ?? null) : null;
    // A field nobody was told is set may hold what it is made with.
    const isExplained =
      is === wanted ||
      open.some(({ content }) => field in content && (content[field] ?? null) === is);
    if (isExplained || (!newest && !isRefusedValue(writes, field, is))) continue;
    const says = `${field} is ${JSON.stringify(is)} on ${node}, not ${JSON.stringify(wanted)} as acknowledged last`;
    const blamed = newest ?? writes.find(({ content }) => content[field] === is);
    return [{ rule: newest ? 2 : 6, says, records: [blamed, { node, user }] }];
  }
  return [];
}

function isRefusedValue(writes: Command[], field: string, is: unknown): boolean {
  return writes.some(({ outcome, content }) => outcome === 'refused' && content[field] === is);
}
