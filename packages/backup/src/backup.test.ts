import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  beginNextTables,
  dropNextTables,
  findUser,
  isDatabaseUnused,
  listApiKeyNames,
  listNodes,
  readApplied,
  readStopFacts,
  readUserState,
  recomputeDigest,
  unmergedClaims,
} from '@countersign/database';
import type { KeyRing } from '@countersign/keys';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeLine } from './backup-lines.ts';
import { readBackupHeader } from './open-backup.ts';
import { readBackup } from './read-backup.ts';
import { readCluster, type BackupSource } from './read-cluster.ts';
import { restoreDatabase } from './restore-database.ts';
import { sealBackup } from './seal-backup.ts';
import type { OpenWith, SealTo } from './secrets.ts';
import {
  makeExampleCluster,
  openEmptyDatabase,
  planted,
  type ExampleCluster,
} from './testing/example-cluster.ts';
import { writeNewFile } from './write-new-file.ts';

let cluster: ExampleCluster;
let folder: string;
let identity: string;
let recipient: string;
let backup: string;
let names = 0;

const newFile = () => join(folder, `backup-${(names += 1)}`);

beforeAll(async () => {
  cluster = await makeExampleCluster();
  folder = mkdtempSync(join(tmpdir(), 'countersign-backups-'));
  identity = await generateIdentity();
  recipient = await identityToRecipient(identity);
  backup = await makeBackup({ recipient });
});
afterAll(async () => {
  await cluster.close();
  rmSync(folder, { recursive: true, force: true });
});

async function makeBackup(to: SealTo, source: Partial<BackupSource> = {}, path = newFile()) {
  await readCluster(cluster.db, { ...cluster.source, ...source }, (lines) =>
    writeNewFile(path, sealBackup(lines, to)),
  );
  return path;
}

function withBytes(change: (bytes: Buffer) => Buffer): string {
  const path = newFile();
  writeFileSync(path, change(readFileSync(backup)));
  return path;
}

const errorOf = async (work: Promise<unknown>): Promise<{ code: string; message: string }> =>
  work.then(
    () => ({ code: 'none', message: 'it worked' }),
    (error: { code: string; message: string }) => error,
  );

describe('a backup', () => {
  it('says what it holds, and its digest is the one that every node has at that revision', async () => {
    const applied = (await readApplied(cluster.db))!;
    const summary = await readBackup(backup, { identity });
    expect(summary).toMatchObject({
      manifest: { node: 'node-1', version: '1.2.3', revision: applied.revision },
      counts: { documents: 8, userStates: 3, stopFacts: 1, reservations: 1, events: 1 },
      users: 3,
      review: { blockedUsers: ['user-2'], apiKeys: [planted.keyName], administrators: [] },
    });
    expect(summary.manifest.digest).toBe((await recomputeDigest(cluster.db)).digest);
    const { id, revision } = await readBackupHeader(backup);
    expect({ id, revision }).toEqual({ id: summary.manifest.id, revision: applied.revision });
  });

  it('is readable by its owner alone, and shows no name, seed or key to anybody else', async () => {
    expect(statSync(backup).mode & 0o777).toBe(0o600);
    const bytes = readFileSync(backup);
    const secrets = Object.values(planted).flatMap((text) => [
      text,
      Buffer.from(text).toString('base64'),
    ]);
    for (const secret of secrets) expect(bytes.includes(secret)).toBe(false);
    const [key] = cluster.keys.generations;
    expect(bytes.includes(key!.bytes!)).toBe(false);
    expect(bytes.includes(key!.bytes!.toString('base64url'))).toBe(false);
  });

  it('leaves events out unless they are wanted', async () => {
    const path = await makeBackup({ recipient }, { withEvents: false });
    const { manifest, counts } = await readBackup(path, { identity });
    expect([manifest.withEvents, counts.events]).toEqual([false, 0]);
  });

  it('opens with the passphrase it was made with, and with no other', async () => {
    const passphrase = 'correct horse battery staple';
    const path = await makeBackup({ passphrase });
    expect((await readBackup(path, { passphrase })).users).toBe(3);
    const wrong = await errorOf(readBackup(path, { passphrase: `${passphrase}!` }));
    expect(wrong).toMatchObject({ code: 'wrong_secret' });
    expect(wrong.message).not.toContain(passphrase);
    expect(await errorOf(readBackup(path, { identity }))).toMatchObject({
      code: 'wrong_secret',
      message: expect.stringContaining('a passphrase opens this backup'),
    });
  }, 120_000);

  it('does not open with the identity of another, or with none', async () => {
    const other = await generateIdentity();
    const cases: [OpenWith, string][] = [
      [{ identity: other }, 'wrong_secret'],
      [{ identity: 'AGE-SECRET-KEY-1NOTONE' }, 'bad_secret'],
      [{ identity: '' }, 'bad_secret'],
    ];
    for (const [secret, code] of cases) {
      expect((await errorOf(readBackup(backup, secret))).code).toBe(code);
    }
  });

  it('is not made to a short passphrase or to what is no public key', async () => {
    for (const to of [{ passphrase: 'short' }, { recipient: 'age1nobody' }]) {
      const path = newFile();
      expect((await errorOf(makeBackup(to, {}, path))).code).toBe('bad_secret');
      expect(readdirSync(folder).filter((name) => path.endsWith(name))).toEqual([]);
    }
  });

  it('overwrites nothing', async () => {
    const path = newFile();
    writeFileSync(path, 'precious');
    expect((await errorOf(makeBackup({ recipient }, {}, path))).code).toBe('exists');
    expect(readFileSync(path, 'utf8')).toBe('precious');
  });

  it('leaves nothing behind where its folder cannot be written to, or what it reads breaks off', async () => {
    const nowhere = join(folder, 'missing', 'backup');
    expect((await errorOf(makeBackup({ recipient }, {}, nowhere))).code).toBe('unwritable');
    let reads = 0;
    const readKeys = async () => `${await cluster.source.readKeys()}${(reads += 1) > 1 ? ' ' : ''}`;
    const before = readdirSync(folder);
    expect(await errorOf(makeBackup({ recipient }, { readKeys }))).toMatchObject({
      code: 'not_now',
      message: expect.stringContaining('keys changed meanwhile'),
    });
    expect(readdirSync(folder)).toEqual(before);
  });

  it('is refused while the node catches up, is filled, or belongs to no cluster', async () => {
    const { db } = cluster;
    const { incarnation } = (await readApplied(db))!;
    await beginNextTables(db, { ...incarnation, id: 'next' });
    const filling = await errorOf(makeBackup({ recipient }));
    await dropNextTables(db);
    await db.sql`update applied set horizon = revision + 5`;
    const catchingUp = await errorOf(makeBackup({ recipient }));
    await db.sql`update applied set horizon = 0`;
    const empty = await openEmptyDatabase();
    const unfounded = await errorOf(
      readCluster(empty, cluster.source, (lines) =>
        writeNewFile(newFile(), sealBackup(lines, { recipient })),
      ),
    );
    await empty.drop();
    expect([filling, catchingUp, unfounded].map(({ code }) => code)).toEqual(
      Array(3).fill('not_now'),
    );
    expect(filling.message).toContain('another incarnation');
    expect(catchingUp.message).toContain('catches up');
    expect(unfounded.message).toContain('no cluster yet');
  });
});

describe('what is not a whole backup', () => {
  it('is known wherever one bit of it was turned', async () => {
    const { length } = readFileSync(backup);
    const header = readFileSync(backup).indexOf('\n--- ');
    const places = Array.from({ length }, (_, i) => i).filter(
      (i) => (i < header && i % 7 === 0) || i % 61 === 0 || i > length - 4,
    );
    const survived: number[] = [];
    for (const place of places) {
      const path = join(folder, 'flipped');
      const bytes = readFileSync(backup);
      bytes[place]! ^= 1 << (place % 8);
      writeFileSync(path, bytes);
      const { code } = await errorOf(readBackup(path, { identity }));
      if (!['damaged', 'foreign', 'newer', 'wrong_secret'].includes(code)) survived.push(place);
    }
    expect(survived).toEqual([]);
  }, 120_000);

  it('is known wherever it was cut off, and where something was added', async () => {
    const { length } = readFileSync(backup);
    for (const end of [0, 5, 200, 300, 500, length >> 1, length - 17, length - 1]) {
      const { code } = await errorOf(
        readBackup(
          withBytes((bytes) => bytes.subarray(0, end)),
          { identity },
        ),
      );
      expect([end, code]).toEqual([end, expect.stringMatching(/^(damaged|foreign)$/)]);
    }
    const longer = withBytes((bytes) => Buffer.concat([bytes, Buffer.of(0)]));
    expect((await errorOf(readBackup(longer, { identity }))).code).toBe('damaged');
  });

  it('is refused as foreign, missing or of a newer version before anything is decrypted', async () => {
    const foreign = newFile();
    writeFileSync(foreign, 'PK\u0003\u0004 some archive\n'.repeat(500));
    const newer = withBytes((bytes) =>
      Buffer.from(bytes.toString('latin1').replace('"format":1', '"format":2'), 'latin1'),
    );
    expect((await errorOf(readBackup(foreign, { identity }))).code).toBe('foreign');
    expect((await errorOf(readBackup(folder, { identity }))).code).toBe('unreadable');
    expect((await errorOf(readBackup(newFile(), { identity }))).code).toBe('unreadable');
    expect(await errorOf(readBackup(newer, { identity }))).toMatchObject({
      code: 'newer',
      message: expect.stringContaining('format 2'),
    });
  });

  it('hands nothing on before its key, for a restore has nowhere to put it then', async () => {
    const lines: string[] = [];
    await readCluster(cluster.db, cluster.source, async (read) => {
      for await (const text of read) lines.push(...text.split('\n').filter(Boolean));
    });
    const path = newFile();
    const rest = lines.filter((line) => !/^\{"(clusterKey|document)"/.test(line));
    expect(rest.some((line) => line.startsWith('{"userState"'))).toBe(true);
    await writeNewFile(path, sealBackup(linesOf(rest), { recipient }));
    const taken: unknown[] = [];
    const reading = readBackup(
      path,
      { identity },
      { userStates: async (rows) => void taken.push(rows) },
    );
    expect((await errorOf(reading)).code).toBe('damaged');
    expect(taken).toEqual([]);
  });

  it('is known where whoever holds the secret left something out or added something', async () => {
    const lines: string[] = [];
    await readCluster(cluster.db, cluster.source, async (read) => {
      for await (const text of read) lines.push(...text.split('\n').filter(Boolean));
    });
    const without = (start: string) => lines.filter((line) => !line.startsWith(start));
    const first = (start: string) => lines.find((line) => line.startsWith(start))!;
    const cases: [string, string[]][] = [
      ['no user', lines.filter((line) => !line.startsWith('{"document":["user"'))],
      ['no state', without('{"userState"')],
      ['no key', without('{"clusterKey"')],
      ['a document twice', lines.flatMap((l) => (l === first('{"document"') ? [l, l] : [l]))],
      ['a second end', [...lines, first('{"end"')]],
      ['states first', lines.toSorted((a, b) => rank(a) - rank(b))],
    ];
    for (const [what, changed] of cases) {
      const path = newFile();
      await writeNewFile(path, sealBackup(linesOf(changed), { recipient }));
      expect([what, (await errorOf(readBackup(path, { identity }))).code]).toEqual([
        what,
        'damaged',
      ]);
    }
    const cut = errorOf(
      writeNewFile(newFile(), sealBackup(linesOf(without('{"end"')), { recipient })),
    );
    expect((await cut).code).toBe('not_now');
  });
});

function rank(line: string): number {
  if (line.startsWith('{"manifest"')) return 0;
  if (line.startsWith('{"clusterKey"')) return 1;
  if (line.startsWith('{"end"')) return 4;
  return line.startsWith('{"userState"') ? 2 : 3;
}

async function* linesOf(lines: string[]): AsyncGenerator<string> {
  for (const line of lines) yield `${line}\n`;
}

describe('a restored database', () => {
  it('holds users, states, stop facts and claims, in an incarnation of its own that refuses codes of the past', async () => {
    const db = await openEmptyDatabase();
    try {
      expect(await isDatabaseUnused(db)).toBe(true);
      let keys: KeyRing | null = null;
      const restoredAt = new Date();
      await restoreDatabase({
        path: backup,
        secret: { identity },
        restoredAt,
        async prepare(ring) {
          keys = ring;
          return db;
        },
      });
      expect(keys).toEqual(cluster.keys);
      expect(await isDatabaseUnused(db)).toBe(false);
      const [before, after] = [(await readApplied(cluster.db))!, (await readApplied(db))!];
      expect(after).toMatchObject({ revision: before.revision, epoch: 3, isFilled: true });
      expect(after.incarnation).toMatchObject({
        number: before.incarnation.number,
        ancestors: [],
        disasterAt: restoredAt.toISOString(),
      });
      expect(after.incarnation.id).not.toBe(before.incarnation.id);
      const { digest, stored } = await recomputeDigest(db);
      expect(digest).toBe(stored);
      for (const user of cluster.users) {
        const found = await findUser(db, user.username);
        expect(found).toMatchObject({ document: user });
        const state = await readUserState(db, user.id);
        expect(state?.state).toEqual((await readUserState(cluster.db, user.id))?.state);
      }
      expect(await readStopFacts(db)).toEqual(await readStopFacts(cluster.db));
      expect(await unmergedClaims(db, 'node-1', 10)).toEqual(
        await unmergedClaims(cluster.db, 'node-1', 10),
      );
      expect(await listApiKeyNames(db, 10)).toEqual([planted.keyName]);
      expect(await listNodes(db)).toEqual([]);
      const events = await db.sql`select type, arrival from events`;
      expect([...events]).toEqual([{ type: 'verification', arrival: 17 }]);
    } finally {
      await db.drop();
    }
  });

  it('is no replica where the backup turned out to be damaged', async () => {
    const db = await openEmptyDatabase();
    try {
      const damaged = withBytes((bytes) => bytes.subarray(0, bytes.length - 1));
      const options = { secret: { identity }, restoredAt: new Date(), prepare: async () => db };
      const { code } = await errorOf(restoreDatabase({ ...options, path: damaged }));
      expect(code).toBe('damaged');
      expect(await readApplied(db)).toBeNull();
    } finally {
      await db.drop();
    }
  });
});

it('a line that says why the node gave up is what the operator reads', async () => {
  const failed = [encodeLine({ failed: { message: 'the node was stopped' } })];
  const work = writeNewFile(newFile(), sealBackup(linesOf(failed), { recipient }));
  expect(await errorOf(work)).toMatchObject({ code: 'not_now', message: 'the node was stopped' });
});
