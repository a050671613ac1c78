import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeChange, EventStream } from '@countersign/cluster';
import {
  beginAttempts,
  listDocuments,
  listEvents,
  outboxSize,
  readEventsEnd,
  readPosition,
  type AuditEvent,
  type ListedEvent,
} from '@countersign/database';
import { createOutbox } from '@countersign/delivery';
import { newEvent, sealerOf } from '@countersign/operations';
import {
  hasSmtpServer,
  startTestSmtp,
  takeFreePorts,
  waitFor,
  type ReceivedMail,
  type TestSmtp,
} from '@countersign/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AgentEvents } from '../events.ts';
import { followEvents } from '../follow-states.ts';
import { publishEvents } from '../publish-events.ts';
import { startTestMaster } from '../testing/start-test-master.ts';
import { silent, useTestLog } from '../testing/use-test-log.ts';
import { MailJob, type MailJobOptions } from './mail-job.ts';
import { readMailJob, runMailJob } from './run-mail-job.ts';

const test = useTestLog();
const signal = new AbortController().signal;
let master: Awaited<ReturnType<typeof startTestMaster>>;
let smtp: TestSmtp;
const folder = mkdtempSync(join(tmpdir(), 'countersign-mail-'));

beforeAll(async () => {
  master = await startTestMaster(test);
  const { db, link, incarnation, keys } = master;
  const stream = new EventStream(link, incarnation.number, sealerOf(keys.event));
  const stop = new AbortController();
  const following = { db, signal: stop.signal, log: silent };
  const running = [
    publishEvents({ ...following, stream, node: 'node-1' }),
    followEvents({ ...following, events: stream }),
  ];
  test.atEnd(() => {
    stop.abort();
    return Promise.allSettled(running);
  });
  if (hasSmtpServer) smtp = await startTestSmtp({ tls: 'starttls' });
}, 60_000);
afterAll(async () => {
  await smtp?.stop();
  rmSync(folder, { recursive: true });
});

async function run(name: string, args: object, commandId: string = randomUUID()): Promise<void> {
  const command = master.command(name, args as Record<string, unknown>, 8000, commandId);
  const reply = await master.mastership.handle(command);
  if (reply.kind !== 'done') throw new Error(JSON.stringify(reply));
}

let users = 0;
async function addUser(email?: string, more: object = {}): Promise<string> {
  users += 1;
  const username = `user-${users}`;
  await run('user.add', { username, email: email ?? `${username}@example.org`, ...more });
  return username;
}

const set = (changes: object) => run('settings.set', { changes });
const phone = (number = '+31612345678') => ({ type: 'phone', number });

let tellings = 0;
/** Events of a job, which writes them while it goes on. */
function jobEvents(): MailJobOptions['events'] {
  const events = new AgentEvents(master.db, 'node-1', (error) => {
    throw error;
  });
  const counted = <T>(tell: (about: T) => void) => {
    return (about: T) => {
      tellings += 1;
      tell(about);
    };
  };
  return {
    mailHandled: counted((about) => events.mailHandled(about)),
    mailsSkipped: counted((about) => events.mailsSkipped(about)),
    mailTurnedOff: counted((about) => events.mailTurnedOff(about)),
    mailUnusable: counted((about) => events.mailUnusable(about)),
  };
}

const countJobEvents = async () =>
  (await master.db.sql`select from events where type like 'mail.%'`).length;

/** Everything that happened has come back through the stream. */
async function settled(): Promise<void> {
  const stream = new EventStream(
    master.link,
    master.incarnation.number,
    sealerOf(master.keys.event),
  );
  await waitFor(
    'the events',
    async () =>
      (await countJobEvents()) >= tellings &&
      (await outboxSize(master.db)) === 0 &&
      (await readPosition(master.db, 'events')) === (await stream.readEnd(1000)),
    { timeoutMs: 10_000 },
  );
}

/** One life of the job, as a master begins it. `hours` later than now. */
function startJob(more: Partial<MailJobOptions> = {}): MailJob {
  const { db, keys, sealer, mastership } = master;
  return new MailJob({
    db,
    keys,
    outbox: null,
    readJob: () => readMailJob(db, sealer),
    writeJob: (document) =>
      mastership.write({ kind: 'job', id: 'mail', document, touches: ['job mail'] }),
    events: jobEvents(),
    log: silent,
    ...more,
  });
}

async function send(job = startJob()): Promise<void> {
  await settled();
  await job.run(signal);
  await settled();
}

const hoursLater = (hours: number) => () => Date.now() + hours * 3_600_000;
const jobNow = () => readMailJob(master.db, master.sealer);

let since = '';
/** Events of the mailing since the test began, oldest first. */
async function told(): Promise<ListedEvent[]> {
  const all = await listEvents(master.db, { limit: 1000, sinceMs: Date.parse(since) });
  return all.filter(({ type }) => type.startsWith('mail.')).toReversed();
}

let before = 0;
async function received(): Promise<ReceivedMail[]> {
  return (await smtp.received()).slice(before);
}
const recipients = async () => (await received()).map(({ to }) => to[0]);
const headerOf = ({ content }: ReceivedMail, name: string) =>
  new RegExp(`^${name}: (.*)$`, 'im').exec(content)?.[1]?.trim();

/** A mail server that takes a mail and is gone before it says so. */
function takeAndHangUp(socket: Socket): void {
  let isData = false;
  socket.on('error', () => undefined).write('220 mail\r\n');
  socket.on('data', (chunk) => {
    const text = chunk.toString();
    if (isData) return text.endsWith('\r\n.\r\n') && socket.destroy();
    isData = text.startsWith('DATA');
    socket.write(isData ? '354 go on\r\n' : '250 yes\r\n');
  });
}

const SERVER = () => ({
  'mail.host': '127.0.0.1',
  'mail.port': smtp.port,
  'mail.security': 'starttls',
  'mail.trustedCertificates': smtp.authority,
  'mail.from': 'mfa@example.com',
  'mail.toUsers': true,
  'mail.administrators': [],
});

describe.skipIf(!hasSmtpServer)('mail (needs python3-aiosmtpd and openssl)', () => {
  beforeEach(async () => {
    // Off and on again: what earlier tests left is not mailed.
    await set({ 'mail.host': '' });
    await send();
    await set(SERVER());
    await send();
    since = new Date().toISOString();
    before = (await smtp.received()).length;
  });

  it('is sent once, whoever is master after that, and an idle job writes nothing', async () => {
    const username = await addUser();
    const commandId = randomUUID();
    await run('user.make-enrolment-code', { username }, commandId);
    await send();
    const [mail, ...others] = await received();
    expect(others).toEqual([]);
    expect(mail).toMatchObject({ to: [`${username}@example.org`], isEncrypted: true });
    const code = /[2-9A-Z]{4}(-[2-9A-Z]{4}){3}/.exec(mail!.content)?.[0];
    await run('authenticator.enroll-with-code', { username, enrolmentCode: code, type: 'totp' });
    expect(await told()).toMatchObject([
      {
        type: 'mail.sent',
        user: username,
        details: { situation: 'enrolmentCode', to: `${username}@example.org`, attempt: 1 },
      },
    ]);
    await send();
    expect((await received()).map((each) => headerOf(each, 'Subject'))).toEqual([
      'Your enrolment code for two-step verification',
      'You verify with a code from now on',
    ]);
    const end = await master.readLogEnd();
    for (let life = 0; life < 3; life += 1) await send();
    expect(await received()).toHaveLength(2);
    expect(await master.readLogEnd()).toBe(end);
  });

  it('leaves no code in events, documents or the job', async () => {
    const username = await addUser();
    await run('user.make-enrolment-code', { username });
    await send();
    const [mail] = await received();
    const code = /[2-9A-Z]{4}(-[2-9A-Z]{4}){3}/.exec(mail!.content)![0];
    const { db, sealer } = master;
    const documents = await listDocuments(db, { after: null, limit: 1000 });
    const decoded = documents.map(({ bytes }) => decodeChange(bytes, sealer));
    const events = await listEvents(db, { limit: 1000 });
    const stored = JSON.stringify([decoded, events, await jobNow()]);
    expect(stored).toContain(username);
    for (const form of [code, code.replaceAll('-', '')]) expect(stored).not.toContain(form);
    // The job's own document names nobody.
    expect(JSON.stringify(await jobNow())).not.toContain('example.org');
  });

  it('a code that is spent or replaced before its mail leaves is not sent', async () => {
    const username = await addUser();
    await run('user.make-enrolment-code', { username });
    await run('user.make-enrolment-code', { username });
    await send();
    expect(await received()).toHaveLength(1);
  });

  it('a master that dies before a mail leaves: the next one sends it and says so', async () => {
    const username = await addUser(undefined, { authenticators: [phone()] });
    const dying = startJob({
      async writeJob(document) {
        const { mastership } = master;
        const isWritten = await mastership.write({ kind: 'job', id: 'mail', document });
        if (document.sending) throw new Error('killed');
        return isWritten;
      },
    });
    await settled();
    await expect(dying.run(signal)).rejects.toThrow('killed');
    expect(await received()).toEqual([]);
    await send();
    expect(await recipients()).toEqual([`${username}@example.org`]);
    expect(await told()).toMatchObject([
      { type: 'mail.sent', details: { attempt: 2, sentAgain: expect.stringContaining('lost') } },
    ]);
    await send();
    expect(await received()).toHaveLength(1);
  });

  it('one that dies after a mail left: it comes again under the same Message-ID', async () => {
    await addUser(undefined, { authenticators: [phone()] });
    let hasBegun = false;
    const dying = startJob({
      async writeJob(document) {
        if (hasBegun) throw new Error('killed');
        hasBegun = document.sending !== null;
        return master.mastership.write({ kind: 'job', id: 'mail', document });
      },
    });
    await settled();
    await expect(dying.run(signal)).rejects.toThrow('killed');
    await send();
    const ids = (await received()).map((mail) => headerOf(mail, 'Message-ID'));
    expect(ids).toHaveLength(2);
    expect(ids[0]).toBe(ids[1]);
    expect((await told()).map(({ details }) => 'sentAgain' in details)).toEqual([false, true]);
  });

  it('a change that failed and not the mail: this life knows better than to send it again', async () => {
    await addUser(undefined, { authenticators: [phone()] });
    let failing = false;
    const job = startJob({
      async writeJob(document) {
        if (failing && document.sending === null) return false;
        failing = document.sending !== null;
        return master.mastership.write({ kind: 'job', id: 'mail', document });
      },
    });
    await send(job);
    expect((await jobNow())?.sending).not.toBe(null);
    failing = false;
    await send(job);
    expect((await jobNow())?.sending).toBe(null);
    expect(await received()).toHaveLength(1);
  });

  it('an answer that is lost on its way: the mail comes again, and its event says so', async () => {
    const server = createServer(takeAndHangUp).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await set({ 'mail.port': port, 'mail.security': 'plain' });
    const username = await addUser(undefined, { authenticators: [phone()] });
    await send();
    expect(await told()).toMatchObject([
      { type: 'mail.failed', reason: expect.stringContaining('no answer came') },
    ]);
    server.close();
    await set(SERVER());
    await send(startJob({ now: hoursLater(0.1) }));
    expect(await recipients()).toEqual([`${username}@example.org`]);
    expect((await told()).at(-1)).toMatchObject({
      type: 'mail.sent',
      details: { attempt: 2, sentAgain: expect.any(String) },
    });
  });

  it('waits while the mail server is away, and then all of it arrives once', async () => {
    const [nowhere] = (await takeFreePorts(1)) as [number];
    await set({ 'mail.port': nowhere });
    const names: string[] = [];
    for (let i = 0; i < 5; i += 1) {
      names.push(await addUser(undefined, { authenticators: [phone(`+3161234567${i}`)] }));
    }
    await send();
    const failed = await told();
    expect(failed.map(({ type }) => type)).toEqual(['mail.failed', 'mail.failed', 'mail.failed']);
    expect(failed[0]!.reason).toContain('could not be used');
    expect((await jobNow())?.retries).toHaveLength(3);
    await set({ 'mail.port': smtp.port });
    await send(startJob({ now: hoursLater(0.1) }));
    expect((await recipients()).sort()).toEqual(names.map((name) => `${name}@example.org`).sort());
    expect(await jobNow()).toMatchObject({ sending: null, retries: [] });
    expect((await told()).filter(({ type }) => type === 'mail.sent')).toHaveLength(5);
  });

  it('one bad address is given up, one that is not ready is tried again, and nobody waits for them', async () => {
    const phones = { authenticators: [phone()] };
    await addUser('refused@example.org', phones);
    // As many as would make the job wait, did the server not answer.
    for (let i = 0; i < 3; i += 1) await addUser('later@example.org', phones);
    await addUser('no address', phones);
    const good = await addUser(undefined, phones);
    await send();
    expect(await recipients()).toEqual([`${good}@example.org`]);
    expect((await told()).map(({ type }) => type)).toEqual([
      'mail.given_up',
      'mail.failed',
      'mail.failed',
      'mail.failed',
      'mail.sent',
    ]);
    const attempts: number[] = [];
    for (let hours = 0; hours < 30; hours += 0.5) {
      await startJob({ now: hoursLater(hours) }).run(signal);
      attempts.push((await jobNow())?.retries[0]?.attempts ?? 0);
    }
    expect(attempts.at(-1)).toBe(0);
    await settled();
    const last = (await told()).at(-1);
    expect(last).toMatchObject({ type: 'mail.given_up' });
    expect(Math.max(...attempts)).toBeGreaterThan(5);
    expect(await received()).toHaveLength(1);
  });

  it('users get none where that is off, not even later; administrators do', async () => {
    await set({ 'mail.toUsers': false, 'mail.administrators': ['chief@example.com'] });
    const username = await addUser(undefined, { authenticators: [phone()] });
    await run('user.report-fraud', { username });
    const job = startJob();
    await send(job);
    expect(await recipients()).toEqual(['chief@example.com']);
    await set({ 'mail.toUsers': true });
    await send(job);
    await send();
    expect(await recipients()).toEqual(['chief@example.com']);
  });

  it('is not about what happened more than a day ago', async () => {
    await addUser(undefined, { authenticators: [phone()] });
    await send(startJob({ now: hoursLater(25) }));
    expect(await received()).toEqual([]);
    expect(await told()).toMatchObject([{ type: 'mail.skipped', reason: 'too_old' }]);
  });

  it('runs only while this node is master', async () => {
    const username = await addUser(undefined, { authenticators: [phone()] });
    await settled();
    const stop = new AbortController();
    const { db, keys, sealer, mastership } = master;
    const events = jobEvents();
    const shared = { db, keys, sealer, events, outbox: null, log: silent, signal: stop.signal };
    const write = () => Promise.reject(new Error('a subordinate writes'));
    const asSubordinate = runMailJob({
      ...shared,
      mastership: { isActive: false, term: null, write },
    });
    const asMaster = runMailJob({ ...shared, mastership });
    await waitFor('the mail', async () => (await received()).length > 0, { timeoutMs: 10_000 });
    stop.abort();
    await Promise.all([asSubordinate, asMaster]);
    expect(await recipients()).toEqual([`${username}@example.org`]);
  });

  it('settings that cannot be used are told once, and nothing is lost by them', async () => {
    await set({ 'mail.user': 'somebody' });
    const username = await addUser(undefined, { authenticators: [phone()] });
    const job = startJob();
    for (let i = 0; i < 3; i += 1) await send(job);
    expect(await told()).toMatchObject([
      { type: 'mail.unusable', details: { problem: expect.stringContaining('password') } },
    ]);
    await set({ 'mail.user': '' });
    await send(job);
    expect(await recipients()).toEqual([`${username}@example.org`]);
  });
});

describe('what is mailed about', () => {
  const outbox = createOutbox(join(folder, 'outbox.jsonl'));
  let known = 0;
  const toOutbox = () => startJob({ outbox: outbox.mails });
  async function subjects(): Promise<string[]> {
    await send(toOutbox());
    const fresh = (await outbox.list()).slice(known);
    known += fresh.length;
    return fresh.map(({ to, subject }) => `${to.split('@')[0]}: ${subject}`);
  }

  beforeAll(async () => {
    await set({ 'mail.toUsers': true, 'mail.administrators': ['chief@example.com'] });
    await send(toOutbox());
    await subjects();
  });

  it('users hear of every change of what they verify with, in their language', async () => {
    const username = await addUser('ann@example.org', {
      authenticators: [phone()],
      method: 'text',
      displayName: 'Ann',
    });
    await run('authenticator.enroll', { username, type: 'totp', name: 'app' });
    await run('authenticator.enroll', { username, type: 'totp', name: 'spare' });
    await run('authenticator.enroll', { username, ...phone('+31687654321') });
    await run('user.set-pin', { username, pin: '7391' });
    await run('user.change-pin', { username, pin: '7391', newPin: '8264' });
    await run('user.set', { username, changes: { method: 'oath' } });
    await run('user.set', { username, changes: { displayName: 'Anna' } });
    await run('user.set', { username, changes: { language: 'nl' } });
    await run('user.remove-pin', { username });
    expect(await subjects()).toEqual([
      // Written when it is sent, and so in the language that she has now.
      'ann: Verificatie in twee stappen bij Countersign',
      'ann: U verifieert voortaan met een code',
      'ann: Er is een authenticator aan uw account toegevoegd',
      'ann: Het telefoonnummer van uw account is gewijzigd',
      'ann: De pincode van uw account is gewijzigd',
      'ann: De pincode van uw account is gewijzigd',
      'ann: Uw manier van verifiëren is gewijzigd',
      'ann: De pincode van uw account is gewijzigd',
    ]);
  });

  it('a PIN is mailed only where that is on, is stored nowhere, and not sent once it is replaced', async () => {
    const username = await addUser('pia@example.org');
    await expect(run('user.set-pin', { username, mail: true })).rejects.toThrow('pin_mails_off');
    await set({ 'mail.pinMails': true });
    await set({ 'pin.minLength': 6 });
    await run('user.set-pin', { username, mail: true });
    expect(await subjects()).toEqual(['pia: Your PIN for two-step verification']);
    const pin = /first PIN is (\d{6})\n/.exec((await outbox.list()).at(-1)!.text)![1]!;
    const { db, sealer } = master;
    const decoded = (await listDocuments(db, { after: null, limit: 1000 })).map(
      ({ bytes }) => decodeChange(bytes, sealer).document,
    );
    const events = (await listEvents(db, { limit: 1000 })).map(({ details }) => details);
    expect(JSON.stringify(decoded)).toContain(username);
    // Times and hashes have digits of their own: as a word.
    expect(JSON.stringify([decoded, events])).not.toMatch(new RegExp(`"${pin}"|\\b${pin}\\b`));
    await run('user.change-pin', { username, pin, newPin: '730418' });
    await run('user.set-pin', { username, mail: true });
    await run('user.set-pin', { username, pin: '915273' });
    expect(await subjects()).toEqual([
      'pia: The PIN of your account was changed',
      'pia: The PIN of your account was changed',
    ]);
    const nobody = await addUser('', {});
    await expect(run('user.set-pin', { username: nobody, mail: true })).rejects.toThrow(
      'no_mail_address',
    );
  });

  it('administrators hear of fraud, of a lockout once, and of text budgets', async () => {
    const username = await addUser('bob@example.org');
    await run('user.report-fraud', { username });
    const event = (fields: Partial<AuditEvent>) =>
      newEvent({ type: 'verification', node: 'node-2', username, ...fields });
    const details = { limit: 'prefix', prefix: '+3161234', perHour: 10, level: 'nearly' };
    const events = [
      event({ result: 'denied', reason: 'wrong_code', details: { beginsLockout: true } }),
      event({ result: 'denied', reason: 'locked_out' }),
      event({ result: 'denied', reason: 'locked_out' }),
      event({ type: 'text.budget_alarm', username: null, details }),
    ];
    for (const each of events) {
      await beginAttempts(master.db, [{ reservation: null, event: each, isFinal: true }]);
    }
    expect(await subjects()).toEqual([
      `chief: Fraud reported by ${username}`,
      `chief: Locked out: ${username}`,
      'chief: Many text messages: +3161234…',
    ]);
  });

  it('many users at once are each mailed once, for about one change each', async () => {
    const many = Array.from({ length: 40 }, (_, i) => ({
      username: `bulk-${i}`,
      ...(i % 4 > 0 && { email: `bulk-${i}@example.org` }),
      authenticators: [phone(`+316123456${String(i).padStart(2, '0')}`)],
    }));
    await run('user.add-many', { users: many });
    const end = await master.readLogEnd();
    const mailed = await subjects();
    expect(mailed).toHaveLength(30);
    expect(new Set(mailed)).toHaveLength(30);
    expect((await master.readLogEnd()) - end).toBeLessThanOrEqual(32);
  });

  it('an event that no mail can be made of holds up nobody', async () => {
    const strange = [
      newEvent({ type: 'text.budget_alarm', node: 'node-1', details: { perHour: 'many' } }),
      newEvent({ type: 'user.add-many', node: 'node-1', details: { userIds: ['x', 7, null] } }),
      newEvent({ type: 'user.make-enrolment-code', node: 'node-1', userId: randomUUID() }),
    ];
    for (const event of strange) {
      await beginAttempts(master.db, [{ reservation: null, event, isFinal: true }]);
    }
    await addUser('after@example.org', { authenticators: [phone()] });
    expect(await subjects()).toEqual(['after: Two-step verification at Countersign']);
  });

  it('at most 50 events of administrators are mailed in an hour', async () => {
    const reports = Array.from({ length: 60 }, () =>
      newEvent({ type: 'fraud', node: 'node-1', username: 'x', result: 'done' }),
    );
    await beginAttempts(
      master.db,
      reports.map((event) => ({ reservation: null, event, isFinal: true })),
    );
    since = new Date().toISOString();
    expect(await subjects()).toHaveLength(50);
    expect((await told()).filter(({ reason }) => reason === 'too_many')).toHaveLength(10);
    expect((await readEventsEnd(master.db)).arrival).toBeGreaterThan(0);
  });
});
