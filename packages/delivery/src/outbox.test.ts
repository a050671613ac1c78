import { expect, it } from 'vitest';

import { createOutbox, type OutboxEntry } from './outbox.ts';

const options = { timeoutMs: 1_000 };

it('the outbox keeps the last messages of both kinds, oldest first', async () => {
  const handed: OutboxEntry[] = [];
  const outbox = createOutbox({ keep: 3, onEntry: (entry) => handed.push(entry) });
  for (const id of ['1', '2', '3']) {
    await outbox.texts.send({ id, to: '+31612345678', text: `code ${id}` }, options);
  }
  const mail = { id: '4', to: 'alice@example.org', subject: 'Hello', text: 'Alice' };
  expect(await outbox.mails.send(mail, options)).toMatchObject({ sent: true, provider: 'outbox' });
  expect(outbox.list().map(({ kind, id }) => `${kind} ${id}`)).toEqual([
    'text 2',
    'text 3',
    'mail 4',
  ]);
  expect(outbox.list().at(-1)).toMatchObject({ ...mail, at: expect.stringMatching(/^\d{4}-/) });
  expect(handed).toHaveLength(4);
});
