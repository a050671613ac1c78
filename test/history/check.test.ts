import { describe, expect, it } from 'vitest';
import { describeContradictions, findContradictions } from './check.ts';
import type {
  Attempt,
  DumpedDocument,
  DumpedEvent,
  DumpedUser,
  Fault,
  ReplicaDump,
  Write,
} from './records.ts';

const NODES = ['node-1', 'node-2', 'node-3'];

/** Epoch 1 stands at 1-128, alice and bob were added behind it. */
const alice = document('alice', 129, 1);
const bob = document('bob', 130, 1);
const aliceThere = userThere('alice', 129);

function document(id: string, revision: number, epoch: number): DumpedDocument {
  return { kind: 'user', id, revision, epoch, removed: false, hash: `${id}@${revision}` };
}

function userThere(username: string, revision: number, more: Partial<DumpedUser> = {}): DumpedUser {
  const content = { enabled: true };
  return { username, revision, content, authenticators: ['token'], accepted: {}, ...more };
}

function replica(node: string, more: Partial<ReplicaDump> = {}): ReplicaDump {
  return {
    node,
    incarnation: 'first',
    baseRevision: 0,
    revision: 130,
    horizon: 0,
    digest: 'd',
    recomputedDigest: 'd',
    documents: [alice, bob],
    epochs: [{ epoch: 1, firstRevision: 1 }],
    users: [],
    events: [],
    ...more,
  };
}

function everywhere(more: Partial<ReplicaDump> = {}): ReplicaDump[] {
  return NODES.map((node) => replica(node, more));
}

/** On node-3 otherwise than on the other two. */
function exceptOnOne(more: Partial<ReplicaDump>, there: Partial<ReplicaDump>): ReplicaDump[] {
  return NODES.map((node) => replica(node, node === 'node-3' ? { ...more, ...there } : more));
}

function attempt(from: number, more: Partial<Attempt> = {}): Attempt {
  return {
    kind: 'attempt',
    client: 1,
    node: 'node-1',
    username: 'alice',
    item: 'hotp 1',
    idempotencyKey: null,
    from,
    to: from + 20,
    verdict: 'approved',
    id: `attempt at ${from}`,
    reason: null,
    degraded: false,
    ...more,
  };
}

function write(from: number, more: Partial<Write> = {}): Write {
  return {
    kind: 'write',
    client: 1,
    node: 'node-1',
    username: 'alice',
    action: 'add',
    content: { username: 'alice' },
    idempotencyKey: null,
    from,
    to: from + 20,
    outcome: 'acknowledged',
    revision: 129,
    code: null,
    ...more,
  };
}

function eventOf(verification: string, more: Partial<DumpedEvent> = {}): DumpedEvent {
  const event = { verification, node: 'node-1', result: 'approved', degraded: false };
  return { ...event, unanswered: [], ...more };
}

function cutOff(node: string, from: number, to: number): Fault {
  const sides = [[node], NODES.filter((name) => name !== node)];
  return {
    kind: 'fault',
    what: 'cut',
    nodes: [node],
    from,
    to,
    cannotVerify: [],
    sides,
    hasQuorum: true,
  };
}

function unanswered(more: Partial<Write> = {}): Partial<Write> {
  return { outcome: 'unknown', revision: null, code: '504 outcome_unknown', ...more };
}

function refused(more: Partial<Write> = {}): Partial<Write> {
  return { outcome: 'refused', revision: null, code: '503 master_offline', ...more };
}

type Case = [what: string, history: (Attempt | Write | Fault)[], replicas: ReplicaDump[]];

function saysNothing(cases: Case[]): void {
  it.each(cases)('allows %s', (_, history, replicas) => {
    expect(findContradictions(history, replicas)).toEqual([]);
  });
}

function finds(rule: number, cases: [...Case, says: RegExp, records: number][]): void {
  it.each(cases)('finds %s', (_, history, replicas, says, records) => {
    const [shortest] = findContradictions(history, replicas);
    expect(shortest).toMatchObject({ rule, says: expect.stringMatching(says) });
    expect(shortest?.records).toHaveLength(records);
  });
}

describe('promise 1, one change at a revision, from the newest epoch', () => {
  const second = [
    { epoch: 1, firstRevision: 1 },
    { epoch: 2, firstRevision: 130 },
  ];
  saysNothing([
    ['replicas of one log', [], everywhere()],
    [
      'a change behind each barrier',
      [],
      everywhere({ revision: 260, epochs: second, documents: [alice, document('bob', 258, 2)] }),
    ],
    [
      'what a rebuild carried over before its first barrier',
      [],
      everywhere({
        baseRevision: 1000,
        revision: 1200,
        epochs: [{ epoch: 7, firstRevision: 1010 }],
        documents: [document('old', 1001, 3), document('new', 1150, 7)],
      }),
    ],
  ]);
  finds(1, [
    [
      'a straggler behind the next barrier',
      [],
      everywhere({ revision: 260, epochs: second, documents: [alice, document('bob', 258, 1)] }),
      /accepted from epoch 1 when epoch 2 had begun/,
      2,
    ],
    [
      'a change of an epoch that never began',
      [],
      everywhere({ documents: [alice, document('bob', 130, 2)] }),
      /epoch 2, which never began/,
      1,
    ],
    [
      'a change before the end of its own barrier',
      [],
      everywhere({ revision: 260, epochs: second, documents: [document('bob', 200, 2)] }),
      /before the end of its barrier/,
      2,
    ],
    [
      'a barrier that was broken into',
      [],
      everywhere({ revision: 240, epochs: [second[0]!, { epoch: 2, firstRevision: 100 }] }),
      /begins before the barrier of epoch 1 has ended/,
      2,
    ],
    [
      'two changes at one revision',
      [],
      exceptOnOne({}, { revision: 131, documents: [alice, document('carol', 130, 1)] }),
      /two changes stand at revision 130/,
      2,
    ],
    [
      'two writes acknowledged at one revision',
      [write(1), write(2, { username: 'carol', content: {}, action: 'remove' })],
      everywhere({ users: [aliceThere] }),
      /two writes were acknowledged at revision 129/,
      2,
    ],
    [
      'a later write acknowledged at an earlier revision',
      [write(1, { username: 'bob', revision: 130 }), write(100)],
      everywhere({ users: [aliceThere, userThere('bob', 130)] }),
      /revision 130 was acknowledged before the write began that is at revision 129/,
      2,
    ],
  ]);

  it('finds an older epoch behind a newer one, whatever became of the barriers', () => {
    const documents = [document('alice', 129, 2), document('bob', 130, 1)];
    const found = findContradictions([], everywhere({ documents, epochs: [] }));
    expect(found.map(({ says }) => says)).toContain(
      'epoch 1 wrote at revision 130, after epoch 2 at revision 129 (node-1)',
    );
  });
});

describe('promise 2, nothing acknowledged is lost', () => {
  const set = (from: number, displayName: string | null, more: Partial<Write> = {}) =>
    write(from, { action: 'set', content: { displayName }, revision: 130, ...more });
  const named = (displayName: string, revision = 130) =>
    userThere('alice', revision, { content: { enabled: true, displayName } });

  saysNothing([
    ['an acknowledged write that stands', [write(1)], everywhere({ users: [aliceThere] })],
    ['an open write that was done', [write(1, unanswered())], everywhere({ users: [aliceThere] })],
    ['an open write that was not done', [write(1, unanswered())], everywhere()],
    [
      'the value written last',
      [write(1), set(100, 'A'), set(200, 'B', { revision: 131 })],
      everywhere({ revision: 131, users: [named('B', 131)] }),
    ],
    [
      'an open value in place of the one acknowledged last',
      [write(1), set(50, 'A', unanswered()), set(100, 'B')],
      everywhere({ revision: 131, users: [named('A', 131)] }),
    ],
    [
      'a user that was removed',
      [write(1), write(100, { action: 'remove', content: {}, revision: 130 })],
      everywhere(),
    ],
    [
      'a repeat of the same command',
      [write(1, { idempotencyKey: 'k' }), write(500, { idempotencyKey: 'k' })],
      everywhere({ users: [aliceThere] }),
    ],
  ]);
  finds(2, [
    ['an acknowledged write that is nowhere', [write(1)], everywhere(), /missing on node-1/, 2],
    [
      'an acknowledged write that one node lacks',
      [write(1)],
      exceptOnOne({ users: [aliceThere] }, { users: [] }),
      /missing on node-3/,
      2,
    ],
    [
      'a value that was replaced by an older one',
      [write(1), set(100, 'A'), set(200, 'B', { revision: 131 })],
      everywhere({ revision: 131, users: [named('A', 131)] }),
      /displayName is "A" on node-1, not "B"/,
      2,
    ],
    [
      'a user who stands although the removal was acknowledged',
      [write(1), write(100, { action: 'remove', content: {}, revision: 130 })],
      everywhere({ users: [aliceThere] }),
      /whose removal was acknowledged is on node-1/,
      2,
    ],
    [
      'a replica that ends before an acknowledged write',
      [write(1, { revision: 140 })],
      everywhere({ users: [aliceThere] }),
      /stands at revision 130, before an acknowledged write/,
      2,
    ],
    [
      'one command acknowledged at two revisions',
      [write(1, { idempotencyKey: 'k' }), write(500, { idempotencyKey: 'k', revision: 130 })],
      everywhere({ users: [aliceThere] }),
      /acknowledged at two revisions/,
      2,
    ],
  ]);
});

describe('promise 3, equal revisions are equal replicas', () => {
  saysNothing([
    [
      'a node that is behind',
      [],
      exceptOnOne({}, { revision: 129, documents: [alice], digest: 'e', recomputedDigest: 'e' }),
    ],
    ['a node that is still catching up', [], exceptOnOne({}, { horizon: 200, documents: [alice] })],
  ]);
  finds(3, [
    [
      'a change that one node skipped',
      [],
      exceptOnOne({}, { documents: [alice], digest: 'e', recomputedDigest: 'e' }),
      /node-1 and node-3 differ in user bob/,
      2,
    ],
    [
      'a digest that is not that of the rows',
      [],
      exceptOnOne({}, { recomputedDigest: 'e' }),
      /the digest that node-3 keeps is not that of its documents/,
      1,
    ],
    [
      'different epochs',
      [],
      exceptOnOne({}, { epochs: [{ epoch: 1, firstRevision: 0 }] }),
      /the same documents and yet differ/,
      2,
    ],
    ['different incarnations', [], exceptOnOne({}, { incarnation: 'second' }), /incarnations/, 2],
  ]);
});

describe('promise 4, a code lets in once', () => {
  const degraded = { degraded: true, node: 'node-3' };
  saysNothing([
    ['a code used once', [attempt(1), attempt(100, { item: 'hotp 2' })], everywhere()],
    [
      'a code denied the second time',
      [attempt(1), attempt(100, { verdict: 'denied' })],
      everywhere(),
    ],
    [
      'the same attempt told again',
      [attempt(1, { id: 'a' }), attempt(9000, { id: 'a' })],
      everywhere(),
    ],
    [
      'one approval on each side of a cut, marked degraded',
      [cutOff('node-3', 0, 1000), attempt(10), attempt(500, degraded)],
      everywhere(),
    ],
    [
      'another by a node that was not answered in time, and says so',
      [attempt(10), attempt(20, { ...degraded, id: 'alone' })],
      everywhere({
        events: [eventOf('alone', { ...degraded, unanswered: ['node-1'] })],
      }),
    ],
    [
      'a used code that every node knows of',
      [attempt(1)],
      everywhere({ users: [userThere('alice', 129, { accepted: { token: 1 } })] }),
    ],
  ]);
  finds(4, [
    ['a code used twice', [attempt(1), attempt(100)], everywhere(), /hotp 1 was approved twice/, 2],
    [
      'a code used twice where only a third node did not answer',
      [attempt(10), attempt(20, { ...degraded, id: 'alone' })],
      everywhere({
        events: [eventOf('alone', { ...degraded, unanswered: ['node-2'] })],
      }),
      /hotp 1 was approved twice/,
      2,
    ],
    [
      'a counter behind one that was used',
      [attempt(1, { item: 'hotp 2' }), attempt(100)],
      everywhere(),
      /hotp 1 was approved after hotp 2/,
      2,
    ],
    [
      'one approval on each side of a cut that is not marked',
      [cutOff('node-3', 0, 1000), attempt(10), attempt(500, { node: 'node-3' })],
      everywhere(),
      /approved twice/,
      2,
    ],
    [
      'two approvals on one side of a cut',
      [cutOff('node-3', 0, 1000), attempt(10), attempt(500, { ...degraded, node: 'node-2' })],
      everywhere(),
      /approved twice/,
      2,
    ],
    [
      'an approval of what the other side had approved before the cut',
      [attempt(1), cutOff('node-3', 100, 1000), attempt(500, degraded)],
      everywhere(),
      /approved twice/,
      2,
    ],
    [
      'an attempt told again too late',
      [attempt(1, { id: 'a' }), attempt(10_100, { id: 'a' })],
      everywhere(),
      /approved again 10079 ms after/,
      2,
    ],
    [
      'a used code that a node does not know of',
      [attempt(1)],
      everywhere({ users: [userThere('alice', 129, { accepted: { token: 0 } })] }),
      /does not know that it is used up/,
      2,
    ],
    ['a code no token showed', [attempt(1, { item: 'not issued' })], everywhere(), /no token/, 1],
    [
      'an approval that its event calls a denial',
      [attempt(1, { id: 'a' })],
      everywhere({
        events: [eventOf('a', { result: 'denied' })],
      }),
      /other than the event/,
      2,
    ],
    [
      'a degraded approval that its event does not mark',
      [attempt(1, { id: 'a', degraded: true })],
      everywhere({
        events: [eventOf('a')],
      }),
      /other than the event/,
      2,
    ],
  ]);
});

describe('promise 5, a node that can verify does', () => {
  const failed: Partial<Attempt> = { verdict: 'refused', reason: '503 not_ready', id: null };
  const down: Fault = { ...cutOff('node-1', 0, 500), sides: null, cannotVerify: ['node-1'] };
  const slow = [1, 2, 3, 4, 5].map((n) =>
    attempt(n * 1000, { item: `hotp ${n}`, to: n * 1000 + 200 }),
  );
  saysNothing([
    [
      'a late verdict on a slow machine',
      [...slow, attempt(99_000, { item: 'hotp 99', to: 103_400 })],
      everywhere(),
    ],
    ['a failure on a node that was killed', [down, attempt(10, failed)], everywhere()],
    ['what a client hung up on', [attempt(1, { verdict: 'abandoned' })], everywhere()],
    [
      'a bad request',
      [attempt(1, { ...failed, reason: '422 idempotency_conflict' })],
      everywhere(),
    ],
  ]);
  finds(5, [
    ['a failure', [attempt(1, failed)], everywhere(), /gave no verdict .503 not_ready/, 1],
    ['silence', [attempt(1, { verdict: 'unknown' })], everywhere(), /gave no verdict/, 1],
    [
      'a failure after the fault was over',
      [down, attempt(600, failed)],
      everywhere(),
      /gave no verdict/,
      1,
    ],
    [
      'a failure on another node than the one that was killed',
      [down, attempt(10, { ...failed, node: 'node-2' })],
      everywhere(),
      /node-2 gave no verdict/,
      1,
    ],
    ['a late verdict', [attempt(1, { to: 3600 })], everywhere(), /took 3599 ms/, 1],
    [
      'a verdict later than others on a slow machine',
      [...slow, attempt(99_000, { item: 'hotp 99', to: 103_600 })],
      everywhere(),
      /took 4600 ms for a verdict \(4500 allowed\)/,
      1,
    ],
  ]);
});

describe('promise 6, what was refused is not done', () => {
  saysNothing([
    ['a refused write that is nowhere', [write(1, refused())], everywhere()],
    [
      'a user whom a rebuild moved to another revision',
      [write(1)],
      everywhere({
        baseRevision: 1000,
        revision: 1200,
        epochs: [{ epoch: 7, firstRevision: 1010 }],
        documents: [],
        users: [userThere('alice', 1003)],
      }),
    ],
  ]);
  finds(6, [
    [
      'a refused write that was done',
      [write(1, refused())],
      exceptOnOne({}, { users: [aliceThere] }),
      /a refused write was done on node-3/,
      2,
    ],
    [
      'a change that nobody asked for',
      [write(1)],
      everywhere({ users: [userThere('alice', 130)] }),
      /nobody asked for it/,
      2,
    ],
    [
      'a value that was refused',
      [
        write(1),
        write(50, { action: 'other', content: {}, revision: 130 }),
        write(100, refused({ action: 'set', content: { displayName: 'A' } })),
      ],
      everywhere({
        users: [userThere('alice', 130, { content: { enabled: true, displayName: 'A' } })],
      }),
      /displayName is "A" on node-1/,
      2,
    ],
  ]);
});

it('tells the contradiction with the fewest records first, and counts the others', () => {
  const history = [attempt(1), attempt(100), attempt(200, { verdict: 'unknown', id: null })];
  const text = describeContradictions(findContradictions(history, everywhere()));
  expect(text.split('\n')[0]).toMatch(/^promise 5 is broken: node-1 gave no verdict/);
  expect(text).toContain('contradictions: promise 4: 1, promise 5: 1');
});
