import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createOutbox } from '@countersign/delivery';
import { hasKannel, startTestKannel, waitFor, type TestKannel } from '@countersign/testing';
import type { Settings, UserDocument } from '@countersign/verification';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { WorkerMetrics } from './metrics.ts';
import { TEXT_DEADLINE_MS, TextSending, type SendTextsOptions } from './send-text.ts';
import { settingsWithProviders } from './testing/settings-with-providers.ts';
import type { TextToSend } from './verifier-options.ts';

const seedKey = { keyId: '00000000', key: randomBytes(32) };
const code = '493027';
const number = '+31612345678';
const noGauges = async () => {
  throw new Error('nobody looks');
};

function start(options: Partial<SendTextsOptions> = {}) {
  const alarms: object[] = [];
  const logged: unknown[] = [];
  const metrics = new WorkerMetrics({ node: 'node-1', worker: '0' }, noGauges);
  const texts = new TextSending({
    seedKey,
    workers: 1,
    policy: { clusterAddresses: [], allowedHosts: [] },
    outbox: null,
    events: { textBudgetAlarm: async (alarm) => void alarms.push(alarm) },
    metrics,
    log: { warn: (...line: unknown[]) => void logged.push(line) },
    ...options,
  });
  return { texts, alarms, logged, metrics };
}

function textTo(settings: Settings, differs: Partial<TextToSend> = {}): TextToSend {
  const at = new Date().toISOString();
  const user: UserDocument = {
    id: randomUUID(),
    username: 'alice',
    enabled: true,
    blocked: null,
    unlockedAt: null,
    authenticators: [],
    createdAt: at,
    updatedAt: at,
  };
  return { user, number, code, application: 'VPN', settings, minutes: 5, ...differs };
}

const gateway = (name: string, url: string, more: object = {}) => ({
  kind: 'generic-http',
  name,
  url,
  method: 'POST',
  path: '/',
  body: { kind: 'form', fields: { to: '<$to$>', text: '<$text$>' } },
  secrets: { key: 'secret-of-the-gateway' },
  headers: { authorization: 'Bearer <$secret.key$>' },
  ...more,
});

describe.skipIf(!hasKannel)('texts through a real Kannel (needs kannel, kannel-extras)', () => {
  let kannel: TestKannel;
  beforeAll(async () => {
    kannel = await startTestKannel();
  });
  afterAll(() => kannel.stop());

  const provider = () => ({
    kind: 'generic-http',
    name: 'kannel',
    url: `http://${kannel.host}`,
    method: 'GET',
    path: '/cgi-bin/sendsms',
    query: {
      username: kannel.user,
      password: '<$secret.password$>',
      to: '<$to$>',
      from: 'Acme',
      text: '<$text$>',
      charset: 'UTF-8',
      coding: '0',
    },
    secrets: { password: kannel.password },
    success: { statusFrom: 202, statusTo: 202, bodyMatches: '^0: Accepted' },
    costPerSegment: { amount: 0.08, currency: 'EUR' },
  });

  it("arrives in the user's language, and the event tells provider and cost but not the code", async () => {
    const allowedHosts = [kannel.host];
    const { texts, metrics } = start({ policy: { clusterAddresses: [], allowedHosts } });
    const settings = settingsWithProviders(seedKey, [provider()]);
    settings.company = { ...settings.company, name: 'Acme' };
    const text = textTo(settings);
    const { sent, details } = await texts.send({ ...text, user: { ...text.user, language: 'nl' } });
    expect({ sent, details }).toEqual({
      sent: true,
      details: {
        phone: number,
        text: {
          provider: 'kannel',
          outcome: 'sent',
          segments: 1,
          amount: 0.08,
          currency: 'EUR',
          attempts: [{ provider: 'kannel', ms: expect.any(Number), outcome: 'sent' }],
        },
      },
    });
    const arrived = await waitFor(
      'the text at the phone network',
      async () => (await kannel.received()).at(0),
      { timeoutMs: 10_000 },
    );
    expect(arrived.to).toBe(number);
    expect(arrived.text).toBe(`Acme: uw code voor VPN is ${code}. Deze is 5 minuten geldig.`);
    expect((await metrics.render()).text).toMatch(
      /countersign_text_cost_total\{provider="kannel",currency="EUR".*\} 0\.08/,
    );
  });
});

describe('sending texts', () => {
  it('goes on with the next provider, tells both, and stays below its deadline', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    const working = createServer((_request, response) => response.end('ok')).listen(0, '127.0.0.1');
    await Promise.all([once(silent, 'listening'), once(working, 'listening')]);
    const hosts = [silent, working].map((s) => `127.0.0.1:${(s.address() as AddressInfo).port}`);
    const { texts, metrics } = start({ policy: { clusterAddresses: [], allowedHosts: hosts } });
    const settings = settingsWithProviders(seedKey, [
      gateway('hangs', `http://${hosts[0]}`),
      gateway('works', `http://${hosts[1]}`),
    ]);
    settings.events = { ...settings.events, recordPhones: false };
    const startedAt = performance.now();
    const { sent, details } = await texts.send(textTo(settings));
    expect(performance.now() - startedAt).toBeLessThan(TEXT_DEADLINE_MS);
    expect(sent).toBe(true);
    expect(details).toMatchObject({
      text: {
        provider: 'works',
        attempts: [
          { provider: 'hangs', outcome: 'unknown' },
          { provider: 'works', outcome: 'sent' },
        ],
      },
    });
    const told = JSON.stringify(details) + (await metrics.render()).text;
    for (const secret of [code, number, 'secret-of-the-gateway'])
      expect(told).not.toContain(secret);
    silent.closeAllConnections();
    for (const server of [silent, working]) server.close();
  }, 15_000);

  it('without a provider, or where none can be used, says so', async () => {
    const { texts, logged } = start();
    const none = await texts.send(textTo(settingsWithProviders(seedKey, [])));
    expect(none).toMatchObject({ sent: false, details: { error: 'no_text_provider' } });
    const bad = [{ kind: 'twilio', name: 'bad', secret: 'secret-of-twilio' }];
    const unusable = await texts.send(textTo(settingsWithProviders(seedKey, bad)));
    expect(unusable).toMatchObject({ sent: false, details: { error: 'no_text_provider' } });
    expect(logged).toHaveLength(1);
    expect(JSON.stringify(logged)).toContain('set it again');
    expect(JSON.stringify(logged)).not.toContain('secret-of-twilio');
  });

  it('a new setting is used at once, and the loopback is no place for a gateway', async () => {
    const { texts } = start();
    const old = settingsWithProviders(seedKey, [gateway('one', 'http://127.0.0.1:9')]);
    const now = settingsWithProviders(seedKey, [gateway('two', 'https://127.0.0.1:9')]);
    for (const [settings, provider] of [
      [old, 'one'],
      [now, 'two'],
    ] as const) {
      const { sent, details } = await texts.send(textTo(settings));
      expect(sent).toBe(false);
      expect(details).toMatchObject({ text: { provider } });
    }
  });

  it('refuses numbers of other countries and premium ones before anybody is asked', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'countersign-texts-'));
    const outbox = createOutbox(join(folder, 'outbox.jsonl'));
    const { texts } = start({ outbox: outbox.texts });
    const settings = settingsWithProviders(seedKey, []);
    for (const [to, error] of [
      ['+4915112345678', 'country_not_allowed'],
      ['+31900123456', 'premium'],
    ] as const) {
      const outcome = await texts.send(textTo(settings, { number: to }));
      expect(outcome).toMatchObject({ sent: false, details: { error } });
    }
    settings.text = { ...settings.text, countries: ['NL', 'DE'] };
    const sent = await texts.send(textTo(settings, { number: '+4915112345678' }));
    expect(sent).toMatchObject({ sent: true, details: { text: { provider: 'outbox' } } });
    expect(await outbox.list()).toMatchObject([
      { kind: 'text', to: '+4915112345678', text: expect.stringContaining(code) },
    ]);
    rmSync(folder, { recursive: true });
  });

  it('alarms at four fifths of a limit and at its end, then refuses; workers share the limit', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'countersign-texts-'));
    const outbox = createOutbox(join(folder, 'outbox.jsonl'));
    const { texts, alarms } = start({ outbox: outbox.texts, workers: 2 });
    const settings = settingsWithProviders(seedKey, []);
    settings.texts = { ...settings.texts, perPrefixAndHour: 10 };
    const outcomes = [];
    // All in one hour.
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-01-05T10:05:00Z') });
    try {
      for (let i = 0; i < 6; i += 1) {
        outcomes.push(await texts.send(textTo(settings, { number: `+3161234567${i}` })));
      }
    } finally {
      vi.useRealTimers();
    }
    expect(outcomes.map(({ sent }) => sent)).toEqual([true, true, true, true, true, false]);
    expect(outcomes[5]?.details).toMatchObject({ error: 'text_budget_prefix' });
    const alarm = { limit: 'prefix', prefix: '+3161234', perHour: 10 };
    expect(alarms).toEqual([
      { ...alarm, level: 'nearly', prefix: '+3161234'.slice(0, 8) },
      { ...alarm, level: 'reached', prefix: '+3161234'.slice(0, 8) },
    ]);
    rmSync(folder, { recursive: true });
  });
});
