import { usernameKey } from '@countersign/verification';
import type { ApiKeyDocument, UserDocument } from '@countersign/verification';
import type { ChangeKind, ReceivedChange } from './apply-changes.ts';
import { jsonText } from './json-text.ts';
import type { Transaction } from './open-database.ts';

/** Brings the tables that are queried up to these changes, at most one for each document. */
export async function fillReadModels(tx: Transaction, changes: ReceivedChange[]): Promise<void> {
  await Promise.all([
    fillUsers(tx, ofKind(changes, 'user')),
    fillSettings(tx, ofKind(changes, 'settings')),
    fillApplications(tx, ofKind(changes, 'application')),
    fillApiKeys(tx, ofKind(changes, 'api-key')),
    fillNodes(tx, ofKind(changes, 'node')),
  ]);
}

/** What must go in the shape of JSON rows, apart from the rows that must stand. */
type Split = { removed: { id: string }[]; kept: ReceivedChange[] };

function ofKind(changes: ReceivedChange[], kind: ChangeKind): Split {
  const own = changes.filter((change) => change.kind === kind);
  const removed = own.filter((change) => change.removed).map(({ id }) => ({ id }));
  return { removed, kept: own.filter((change) => !change.removed) };
}

async function fillUsers(tx: Transaction, { removed, kept }: Split): Promise<void> {
  const rows = kept.map(({ id, revision, document }) => {
    const key = usernameKey((document as UserDocument).username);
    return { id, revision, document, username_key: key };
  });
  await Promise.all([
    removed.length > 0 &&
      tx`delete from users using jsonb_to_recordset(${jsonText(removed)}::text::jsonb)
        as gone(id uuid) where users.id = gone.id`,
    rows.length > 0 &&
      tx`
      insert into users (id, username_key, document, revision)
      select id, username_key, document, revision
      from jsonb_to_recordset(${jsonText(rows)}::text::jsonb)
        as input(id uuid, username_key text, document jsonb, revision bigint)
      on conflict (id) do update set
        username_key = excluded.username_key, document = excluded.document,
        revision = excluded.revision`,
  ]);
}

async function fillSettings(tx: Transaction, { removed, kept }: Split): Promise<void> {
  await Promise.all([
    removed.length > 0 &&
      tx`delete from settings_groups using jsonb_to_recordset(${jsonText(removed)}::text::jsonb)
        as gone(id text) where settings_groups.id = gone.id`,
    kept.length > 0 &&
      tx`
      insert into settings_groups (id, document, revision)
      select id, document, revision from jsonb_to_recordset(${documentRows(kept)}::text::jsonb)
        as input(id text, document jsonb, revision bigint)
      on conflict (id) do update set
        document = excluded.document, revision = excluded.revision`,
  ]);
}

async function fillApplications(tx: Transaction, { removed, kept }: Split): Promise<void> {
  await Promise.all([
    removed.length > 0 &&
      tx`delete from applications using jsonb_to_recordset(${jsonText(removed)}::text::jsonb)
        as gone(id uuid) where applications.id = gone.id`,
    kept.length > 0 &&
      tx`
      insert into applications (id, document, revision)
      select id, document, revision from jsonb_to_recordset(${documentRows(kept)}::text::jsonb)
        as input(id uuid, document jsonb, revision bigint)
      on conflict (id) do update set
        document = excluded.document, revision = excluded.revision`,
  ]);
}

async function fillApiKeys(tx: Transaction, { removed, kept }: Split): Promise<void> {
  const rows = kept.map(({ id, revision, document }) => {
    return { id, revision, document, secret_hash: (document as ApiKeyDocument).secretHash };
  });
  await Promise.all([
    removed.length > 0 &&
      tx`delete from api_keys using jsonb_to_recordset(${jsonText(removed)}::text::jsonb)
        as gone(id uuid) where api_keys.id = gone.id`,
    rows.length > 0 &&
      tx`
      insert into api_keys (id, secret_hash, document, revision)
      select id, secret_hash, document, revision
      from jsonb_to_recordset(${jsonText(rows)}::text::jsonb)
        as input(id uuid, secret_hash text, document jsonb, revision bigint)
      on conflict (id) do update set
        secret_hash = excluded.secret_hash, document = excluded.document,
        revision = excluded.revision`,
  ]);
}

async function fillNodes(tx: Transaction, { removed, kept }: Split): Promise<void> {
  await Promise.all([
    removed.length > 0 &&
      tx`delete from nodes using jsonb_to_recordset(${jsonText(removed)}::text::jsonb)
        as gone(id text) where nodes.id = gone.id`,
    kept.length > 0 &&
      tx`
      insert into nodes (id, document, revision)
      select id, document, revision from jsonb_to_recordset(${documentRows(kept)}::text::jsonb)
        as input(id text, document jsonb, revision bigint)
      on conflict (id) do update set
        document = excluded.document, revision = excluded.revision`,
  ]);
}

function documentRows(changes: ReceivedChange[]): string {
  return jsonText(changes.map(({ id, revision, document }) => ({ id, revision, document })));
}
