import { usernameKey } from '@countersign/verification';
import type { ApiKeyDocument, UserDocument } from '@countersign/verification';
import type { ChangeKind, ReceivedChange } from './apply-changes.ts';
import { jsonText } from './json-text.ts';
import type { Transaction } from './open-database.ts';
import { namesOf } from './user-names.ts';

/** Brings the tables that are queried up to these changes, at most one for each document. */
export async function fillReadModels(tx: Transaction, changes: ReceivedChange[]): Promise<void> {
  await Promise.all([
    fillUsers(tx, ofKind(changes, 'user')),
    fillDocuments(tx, 'settings_groups', ofKind(changes, 'settings')),
    fillDocuments(tx, 'applications', ofKind(changes, 'application')),
    fillApiKeys(tx, ofKind(changes, 'api-key')),
    fillDocuments(tx, 'administrators', ofKind(changes, 'administrator')),
    fillDocuments(tx, 'nodes', ofKind(changes, 'node')),
    fillDocuments(tx, 'directories', ofKind(changes, 'directory')),
    fillDocuments(tx, 'directory_syncs', ofKind(changes, 'directory-sync')),
    fillDocuments(tx, 'radius_clients', ofKind(changes, 'radius-client')),
    fillDocuments(tx, 'radius_targets', ofKind(changes, 'radius-target')),
  ]);
}

/** What must go in the shape of JSON rows, apart from the rows that must stand. */
type Split = { removed: { id: string }[]; kept: ReceivedChange[] };

function ofKind(changes: ReceivedChange[], kind: ChangeKind): Split {
  const own = changes.filter((change) => change.kind === kind);
  const removed = own.filter((change) => change.removed).map(({ id }) => ({ id }));
  return { removed, kept: own.filter((change) => !change.removed) };
}

/** Users with `removedAt` are kept apart, and found by no name. */
async function fillUsers(tx: Transaction, { removed, kept }: Split): Promise<void> {
  if (removed.length + kept.length === 0) return;
  const [away, present] = [
    kept.filter(({ document }) => isAway(document)),
    kept.filter(({ document }) => !isAway(document)),
  ];
  const rows = present.map(({ id, revision, document }) => {
    const key = usernameKey((document as UserDocument).username);
    return { id, revision, document, username_key: key };
  });
  const gone = [...removed, ...away.map(({ id }) => ({ id }))];
  await Promise.all([
    gone.length > 0 &&
      tx`delete from users using jsonb_to_recordset(${jsonText(gone)}::text::jsonb)
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
    away.length > 0 && fillDocuments(tx, 'removed_users', { removed: [], kept: away }),
    fillNames(tx, { gone: removed, away, present }),
  ]);
}

function isAway(document: unknown): boolean {
  return (document as UserDocument).removedAt !== undefined;
}

/**
 * Takes names away and gives them, and lets nobody stand among those removed who is not. Names that are right already
 * are left alone, so that most changes of a user write none.
 */
async function fillNames(
  tx: Transaction,
  users: { gone: { id: string }[]; away: ReceivedChange[]; present: ReceivedChange[] },
): Promise<void> {
  const { gone, away, present } = users;
  const changed = [
    ...away.map(({ id }) => ({ id, is_away: true })),
    ...[...gone, ...present].map(({ id }) => ({ id, is_away: false })),
  ];
  const names = present.flatMap(({ id, document }) =>
    namesOf(document as UserDocument).map(({ key, isMail }) => {
      return { user_id: id, key, is_mail: isMail };
    }),
  );
  const input = tx`jsonb_to_recordset(${jsonText(names)}::text::jsonb)
    as input(user_id uuid, key text, is_mail boolean)`;
  await Promise.all([
    tx`with changed as (
        select id, is_away from jsonb_to_recordset(${jsonText(changed)}::text::jsonb)
          as changed(id uuid, is_away boolean)
      ), back as (
        delete from removed_users using changed
        where removed_users.id = changed.id and not changed.is_away
      )
      delete from user_names using changed where user_names.user_id = changed.id
        ${
          names.length === 0
            ? tx``
            : tx`and (user_names.user_id, user_names.key, user_names.is_mail) not in (
                select user_id, key, is_mail from ${input})`
        }`,
    names.length > 0 &&
      tx`insert into user_names (user_id, key, is_mail)
        select user_id, key, is_mail from ${input}
        on conflict (user_id, key) do nothing`,
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

type DocumentTable =
  | 'settings_groups'
  | 'applications'
  | 'administrators'
  | 'nodes'
  | 'directories'
  | 'directory_syncs'
  | 'radius_clients'
  | 'radius_targets'
  | 'removed_users';

/** A table that holds nothing but the documents; the types of its rows are its own. */
async function fillDocuments(
  tx: Transaction,
  name: DocumentTable,
  { removed, kept }: Split,
): Promise<void> {
  const table = tx(name);
  const rows = kept.map(({ id, revision, document }) => ({ id, revision, document }));
  await Promise.all([
    removed.length > 0 &&
      tx`delete from ${table} using jsonb_populate_recordset(
          null::${table}, ${jsonText(removed)}::text::jsonb) as gone
        where ${table}.id = gone.id`,
    rows.length > 0 &&
      tx`
      insert into ${table} (id, document, revision)
      select id, document, revision
      from jsonb_populate_recordset(null::${table}, ${jsonText(rows)}::text::jsonb)
      on conflict (id) do update set
        document = excluded.document, revision = excluded.revision`,
  ]);
}
