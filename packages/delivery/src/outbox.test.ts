import { appendFile, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, it } from 'vitest';

import { createOutbox } from './outbox.ts';

const options = { timeoutMs: 1_000 };
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'countersign-outbox-'));
});
afterAll(() => rm(folder, { recursive: true }));

it('the outbox is one file for all, readable by its owner only, oldest first', async () => {
  const file = join(folder, 'shared.jsonl');
  const [one, other] = [createOutbox(file), createOutbox(file)];
  expect(await one.list()).toEqual([]);
  await one.texts.send({ id: '1', to: '+31612345678', text: 'code 1' }, options);
  const mail = { id: '2', to: 'alice@example.org', subject: 'Hello', text: 'Alice\nbye' };
  expect(await other.mails.send(mail, options)).toMatchObject({ sent: true, provider: 'outbox' });
  await appendFile(file, '{"cut sho');
  const at = expect.stringMatching(/^\d{4}-/);
  expect(await one.list()).toEqual([
    { kind: 'text', at, id: '1', to: '+31612345678', subject: null, text: 'code 1' },
    { kind: 'mail', at, ...mail },
  ]);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

it('shows the last 200 and keeps at most two files of about 1 MiB', async () => {
  const file = join(folder, 'big.jsonl');
  const outbox = createOutbox(file);
  const text = 'x'.repeat(60_000);
  for (let id = 1; id <= 60; id += 1) {
    await outbox.mails.send({ id: String(id), to: 'a@b.example', subject: 's', text }, options);
  }
  const kept = await outbox.list();
  expect(kept.at(-1)?.id).toBe('60');
  expect(kept.length).toBeLessThan(40);
  for (let id = 61; id <= 300; id += 1) {
    await outbox.texts.send({ id: String(id), to: '+31612345678', text: 'short' }, options);
  }
  expect(await outbox.list()).toHaveLength(200);
  expect((await stat(file)).size).toBeLessThan(1_200_000);
});

it('says that a message did not go out where the file cannot be written', async () => {
  const outbox = createOutbox(join(folder, 'no-such-folder', 'outbox.jsonl'));
  const result = await outbox.texts.send({ id: '1', to: '+31612345678', text: 'x' }, options);
  expect(result).toMatchObject({ sent: false, outcome: 'failed' });
});
