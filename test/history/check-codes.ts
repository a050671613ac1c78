import type { Contradiction } from './contradiction.ts';
import type { Attempt, DumpedEvent, Fault, ReplicaDump } from './records.ts';

/** For so long the same attempt gets its own verdict again. */
const KEPT_MS = 10_000;

type Approval = Attempt & { id: string };

/** Promise 4: no code lets anybody in twice, and what was used is known to be used on every node. */
export function checkCodes(
  attempts: readonly Attempt[],
  faults: readonly Fault[],
  replicas: readonly ReplicaDump[],
): Contradiction[] {
  const approvals = attempts.filter((one): one is Approval => one.verdict === 'approved');
  return [
    ...approvals.filter(({ item }) => item === 'not issued').map(tellNotIssued),
    ...checkRedelivery(approvals),
    ...checkOnce(
      firstOfEach(approvals),
      (one, other) => wereApart(one, other, faults) || wasUnheard(one, other, replicas),
    ),
    ...replicas.flatMap((replica) => checkStates(approvals, replica)),
    ...replicas.flatMap((replica) => checkEvents(attempts, replica)),
  ];
}

function tellNotIssued(approval: Approval): Contradiction {
  return { rule: 4, says: 'a code that no token showed was approved', records: [approval] };
}

/** Told again is not used again, as long as it is soon. */
function checkRedelivery(approvals: Approval[]): Contradiction[] {
  const found: Contradiction[] = [];
  for (const told of Map.groupBy(approvals, ({ id }) => id).values()) {
    const first = told.reduce((one, other) => (other.to < one.to ? other : one));
    for (const again of told) {
      if (again.from <= first.to + KEPT_MS) continue;
      const says = `an attempt was approved again ${Math.round(again.from - first.to)} ms after its approval`;
      found.push({ rule: 4, says, records: [first, again] });
    }
  }
  return found;
}

/** One for each attempt id: the telling that ended first, degraded if any was. */
function firstOfEach(approvals: Approval[]): Approval[] {
  return [...Map.groupBy(approvals, ({ id }) => id).values()].map((told) => {
    const first = told.reduce((one, other) => (other.to < one.to ? other : one));
    return { ...first, degraded: told.some(({ degraded }) => degraded) };
  });
}

/** Each counter is approved once and they only grow, except on sides that could not reach each other. */
function checkOnce(
  approvals: Approval[],
  wereTwoSides: (one: Approval, other: Approval) => boolean,
): Contradiction[] {
  const found: Contradiction[] = [];
  const tell = (says: string, one: Approval, other: Approval) => {
    if ((one.degraded || other.degraded) && wereTwoSides(one, other)) return;
    found.push({ rule: 4, says, records: [one, other] });
  };
  for (const same of Map.groupBy(approvals, (one) => `${one.username} ${one.item}`).values()) {
    for (const [i, one] of same.entries()) {
      for (const other of same.slice(i + 1)) {
        tell(`${one.username}'s ${one.item} was approved twice`, one, other);
      }
    }
  }
  for (const ofOne of Map.groupBy(approvals, tokenOf).values()) {
    for (const [one, other] of findBackwards(ofOne)) {
      tell(`${one.username}'s ${other.item} was approved after ${one.item}`, one, other);
    }
  }
  return found;
}

/** Pairs of which the first had ended before the second with its lower counter began. */
function findBackwards(approvals: Approval[]): [Approval, Approval][] {
  const found: [Approval, Approval][] = [];
  const ended = approvals.toSorted((a, b) => a.to - b.to);
  const highest = new Map<string, Approval>();
  let next = 0;
  for (const one of approvals.toSorted((a, b) => a.from - b.from)) {
    for (; next < ended.length && ended[next]!.to < one.from; next += 1) {
      const { node } = ended[next]!;
      const known = highest.get(node);
      if (!known || counterOf(ended[next]!) > counterOf(known)) highest.set(node, ended[next]!);
    }
    for (const earlier of highest.values()) {
      if (counterOf(one) < counterOf(earlier)) found.push([earlier, one]);
    }
  }
  return found;
}

function tokenOf({ username, item }: Attempt): string {
  return `${username} ${item.split(' ')[0]}`;
}

function counterOf({ item }: Attempt): number {
  return Number(item.split(' ')[1]);
}

/** On nodes of different sides of one fault, both while it lasted. */
function wereApart(one: Attempt, other: Attempt, faults: readonly Fault[]): boolean {
  return faults.some((fault) => {
    if (!fault.sides) return false;
    const sideOf = ({ node }: Attempt) => fault.sides!.findIndex((side) => side.includes(node));
    const isDuring = (attempt: Attempt) =>
      attempt.to >= fault.from && attempt.from <= (fault.to ?? Infinity);
    return sideOf(one) !== sideOf(other) && isDuring(one) && isDuring(other);
  });
}

/** One asked while the other stood still for longer than it has to answer, and its event says so. */
function wasUnheard(one: Approval, other: Approval, replicas: readonly ReplicaDump[]): boolean {
  const asked = (asker: Approval, silent: Approval) =>
    asker.degraded &&
    replicas.some(({ events }) =>
      events.some(
        (event) => event.verification === asker.id && event.unanswered.includes(silent.node),
      ),
    );
  return asked(one, other) || asked(other, one);
}

/** Once all is quiet, every node knows the highest counter that was approved. */
function checkStates(approvals: Approval[], replica: ReplicaDump): Contradiction[] {
  const found: Contradiction[] = [];
  const users = new Map(replica.users.map((user) => [user.username, user]));
  for (const ofOne of Map.groupBy(approvals, tokenOf).values()) {
    const last = ofOne.reduce((one, other) => (counterOf(other) > counterOf(one) ? other : one));
    const user = users.get(last.username);
    // With several tokens the history does not say which of them it was.
    const [authenticator, second] = user?.authenticators ?? [];
    if (!user || authenticator === undefined || second !== undefined) continue;
    const accepted = user.accepted[authenticator] ?? -1;
    if (accepted >= counterOf(last)) continue;
    const says = `${last.username}'s ${last.item} was approved, and ${replica.node} does not know that it is used up`;
    const { node } = replica;
    found.push({ rule: 4, says, records: [last, { node, username: user.username, accepted }] });
  }
  return found;
}

/** What a client was told is what its node wrote down. */
function checkEvents(attempts: readonly Attempt[], replica: ReplicaDump): Contradiction[] {
  const found: Contradiction[] = [];
  const events = Map.groupBy(replica.events, ({ verification }) => verification);
  for (const attempt of attempts) {
    if (attempt.verdict !== 'approved' && attempt.verdict !== 'denied') continue;
    // A worker that died before it could say how it ended leaves its event `unknown`.
    const told = (events.get(attempt.id ?? '') ?? []).filter(
      ({ node, result }) => node === attempt.node && result !== 'unknown',
    );
    const isTheSame = (event: DumpedEvent) =>
      event.result === attempt.verdict && event.degraded === attempt.degraded;
    if (told.length === 0 || told.some(isTheSame)) continue;
    const says = `the client was told other than the event of its verification says (${replica.node})`;
    found.push({ rule: 4, says, records: [attempt, told[0]] });
  }
  return found;
}
