import { writeFileSync } from 'node:fs';
import { TestCluster } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { TextGateway } from '../harness/text-gateway.ts';
import { percentile, type Series } from './percentile.ts';

/**
 * Codes of tokens alone, then 70 % of them beside 20 % that begin with a text and answer it (two requests and a
 * gateway) and 10 % with a PIN (Argon2 off the event loop): verifications per second and the wait of codes in the
 * same run. Gateway, clients and three nodes share the machine's cores.
 */
const SECONDS = Number(process.env.BENCH_SECONDS ?? 12);
const CONCURRENCY = Number(process.env.BENCH_CONCURRENCY ?? 48);
const PEOPLE = 240;
const PIN = '8024';

await using gateway = await TextGateway.start();
await using cluster = await TestCluster.start({
  configure: (config) => ({ ...config, texts: { gateways: [gateway.host] } }),
});
const admin = cluster.api(await cluster.master());
const settings = [
  { 'text.providers': JSON.stringify([gateway.provider]) },
  { 'texts.perPrefixAndHour': 1_000_000, 'texts.perNodeAndHour': 1_000_000 },
];
for (const body of settings) await done(admin.call('PATCH', '/api/v1/settings', { body }));
const withCodes = await enrolPeople(admin, 'codes', PEOPLE);
const withPins = await enrolPeople(admin, 'pins', PEOPLE / 4);
// A user is sent 40 texts in a day at most, so there have to be many.
const withTexts = await enrolPeople(admin, 'texts', 600);
await inTurns(withPins, async ({ username }) => {
  const path = `/api/v1/users/${username}`;
  await done(admin.call('PUT', `${path}/pin`, { body: { pin: PIN, mustChange: false } }));
  await done(admin.call('PATCH', path, { body: { modes: { oath: 'code+pin' } } }));
});
await inTurns(withTexts, async ({ username }, index) => {
  const number = `+3161${String(index).padStart(7, '0')}`;
  const body = { type: 'phone', number, use: 'primary' };
  await done(admin.call('POST', `/api/v1/users/${username}/authenticators`, { body }));
});
await cluster.untilDigestsEqual();

const clients = cluster.nodes.map((node) => cluster.api(node));
let texted = 0;

await run(3000, () => 'code');
const alone = await run(SECONDS * 1000, () => 'code');
const mixed = await run(
  SECONDS * 1000,
  (n) => (['text', 'text', 'pin'] as const)[n % 10] ?? 'code',
);

const rows = [
  toRow('codes alone', alone.code),
  toRow('codes in the mix', mixed.code),
  toRow('texts in the mix, begun and answered', mixed.text),
  toRow('PIN and code in the mix', mixed.pin),
];
const sum = (kinds: Record<Kind, Series>) =>
  Object.values(kinds).reduce((all, { latencies }) => all + latencies.length, 0) / SECONDS;
const figures = {
  seconds: SECONDS,
  concurrency: CONCURRENCY,
  alonePerSecond: Math.round(sum(alone)),
  mixedPerSecond: Math.round(sum(mixed)),
  rows,
};
console.table(rows);
console.log(JSON.stringify(figures));
if (process.env.BENCH_FILE) writeFileSync(process.env.BENCH_FILE, JSON.stringify(figures, null, 2));

type Kind = 'code' | 'text' | 'pin';

/** Each of `CONCURRENCY` loops verifies without a pause, round the nodes. */
async function run(durationMs: number, kindOf: (n: number) => Kind): Promise<Record<Kind, Series>> {
  const series = () => ({ latencies: [], errors: 0, durationMs });
  const kinds: Record<Kind, Series> = { code: series(), text: series(), pin: series() };
  const end = performance.now() + durationMs;
  let turn = 0;
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async (_, i) => {
      for (let n = i; performance.now() < end; n += 1) {
        const kind = kindOf((turn += 1));
        const own = kind === 'pin' ? withPins : withCodes;
        const mine = own.filter((_person, index) => index % CONCURRENCY === i);
        const api = clients[n % clients.length]!;
        const startedAt = performance.now();
        const isApproved =
          kind === 'text'
            ? await verifyByText(api, (texted += 1))
            : await verifyByCode(api, mine[n % mine.length]!, kind === 'pin' ? PIN : undefined);
        if (isApproved) kinds[kind].latencies.push(performance.now() - startedAt);
        else kinds[kind].errors += 1;
      }
    }),
  );
  return kinds;
}

type Api = ReturnType<TestCluster['api']>;

async function verifyByCode(api: Api, person: Person, pin?: string): Promise<boolean> {
  const body = { username: person.username, code: person.nextCode(), pin };
  const reply = await api.call<{ status: string }>('POST', '/api/v1/verifications', { body });
  return reply.body.status === 'approved';
}

async function verifyByText(api: Api, number: number): Promise<boolean> {
  const index = number % withTexts.length;
  const { username } = withTexts[index]!;
  const begun = await api.call<{ id: string; challenge: string }>('POST', '/api/v1/verifications', {
    body: { username, method: 'text' },
  });
  const code = gateway.codeFor(`+3161${String(index).padStart(7, '0')}`);
  const { id, challenge } = begun.body;
  if (!challenge || code === null) return false;
  const path = `/api/v1/verifications/${id}/answer`;
  const reply = await api.call<{ status: string }>('POST', path, { body: { challenge, code } });
  return reply.body.status === 'approved';
}

async function inTurns(
  people: Person[],
  work: (person: Person, index: number) => Promise<void>,
): Promise<void> {
  const waiting = people.entries();
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (const [index, person] of waiting) await work(person, index);
    }),
  );
}

function toRow(what: string, series: Series) {
  return {
    what,
    'per second': Math.round(series.latencies.length / SECONDS),
    'p50 ms': Math.round(percentile(series.latencies, 0.5)),
    'p99 ms': Math.round(percentile(series.latencies, 0.99)),
    errors: series.errors,
  };
}

async function done(call: Promise<{ status: number; body: unknown }>): Promise<void> {
  const { status, body } = await call;
  if (status >= 300) throw new Error(`${status} ${JSON.stringify(body)}`);
}
