import { randomUUID } from 'node:crypto';
import { applyChanges, initApplied, type Database } from '@countersign/database';
import { API_SCOPES, checkDocument } from '@countersign/verification';
import { beforeAll, beforeEach } from 'vitest';
import type { Plan } from '../commands/plan.ts';
import { planCommand } from '../plan-command.ts';
import { WrongTries } from '../wrong-tries.ts';
import { makeIncarnation, type useTestLog } from './use-test-log.ts';

type Change = Extract<Plan, { kind: 'change' }>;

const rights = { scopes: [...API_SCOPES], applications: null, networks: null, expiresAt: null };

/** Commands of a test file, against a database of its own in which these tables are empty before each test. */
export function useTestCommands(
  test: ReturnType<typeof useTestLog>,
  { tables, now }: { tables: readonly string[]; now: Date },
) {
  let db: Database;
  let keys: ReturnType<typeof test.makeKeys>;
  let revision = 0;

  beforeAll(async () => {
    db = await test.openDatabase();
    keys = test.makeKeys();
  });
  beforeEach(async () => {
    await db.sql`truncate ${db.sql(tables)}`;
    await initApplied(db, makeIncarnation());
    revision = 0;
  });

  function plan(name: string, args: object, commandId: string = randomUUID()): Promise<Plan> {
    const wrongTries = new WrongTries();
    const context = { db, keys, wrongTries, commandId, actor: 'test', rights, now };
    return planCommand(context, name, { ...args });
  }

  async function apply({ kind, id, removed, content }: Change['document']): Promise<void> {
    revision += 1;
    const document = removed ? null : checkDocument(kind, JSON.parse(JSON.stringify(content)));
    const bytes = Buffer.from(JSON.stringify(content));
    const at = now.toISOString();
    await applyChanges(db, [
      { revision, epoch: 1, kind, id, at, removed, bytes, document, commands: [] },
    ]);
  }

  return {
    db: () => db,
    keys: () => keys,
    plan,
    /** As every replica would. */
    apply,
    /** Plans a command and applies the change it comes to. */
    async run(name: string, args: object): Promise<Change> {
      const planned = await plan(name, args);
      if (planned.kind !== 'change') throw new Error(JSON.stringify(planned));
      await apply(planned.document);
      return planned;
    },
    async refusalOf(name: string, args: object): Promise<string> {
      const planned = await plan(name, args);
      return planned.kind === 'refused' ? `${planned.status} ${planned.code}` : planned.kind;
    },
  };
}
