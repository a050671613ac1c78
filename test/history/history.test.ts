import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { History } from './history.ts';

const verification = {
  node: 'node-1',
  method: 'POST',
  path: '/api/v1/verifications',
  body: { username: 'Alice', code: '755224' },
};
const addition = {
  node: 'node-1',
  method: 'POST',
  path: '/api/v1/users',
  body: { username: 'Alice' },
};

let folder: string;
let history: History;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-history-'));
  history = new History(join(folder, 'history.jsonl'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function recorded(
  request: Parameters<History['begin']>[1],
  ending: Parameters<ReturnType<History['begin']>>[0],
) {
  history.begin(1, request)(ending);
  return history.records.at(-1);
}

describe('a history', () => {
  it('keeps what a client asked and was told, in memory and in its file', () => {
    history.noteIssued('alice', '755224', 'hotp 0');
    const body = { status: 'approved', id: 'v', degraded: true };
    const attempt = recorded(verification, { status: 200, body });
    expect(attempt).toMatchObject({
      kind: 'attempt',
      username: 'alice',
      item: 'hotp 0',
      verdict: 'approved',
      id: 'v',
      degraded: true,
    });
    const file = readFileSync(history.file, 'utf8');
    expect(JSON.parse(file)).toEqual(attempt);
    expect(file).not.toContain('755224');
  });

  it('calls a code that no token showed by that name', () => {
    const body = { status: 'denied', id: 'v', reason: 'wrong_code', degraded: false };
    expect(recorded(verification, { status: 200, body })).toMatchObject({ item: 'not issued' });
  });

  it.each([
    { told: 'done', ending: { status: 201, body: { revision: 7 } }, outcome: 'acknowledged' },
    { told: 'no', ending: { status: 409, body: { code: 'user_exists' } }, outcome: 'refused' },
    { told: 'nobody there', ending: { status: 503, body: { code: 'x' } }, outcome: 'refused' },
    { told: 'not known', ending: { status: 504, body: { code: 'x' } }, outcome: 'unknown' },
    { told: 'an error', ending: { status: 500, body: {} }, outcome: 'unknown' },
    { told: 'nothing', ending: { broke: new Error('hang-up') }, outcome: 'unknown' },
  ])('takes a write of which its client was told $told for $outcome', ({ ending, outcome }) => {
    expect(recorded(addition, ending)).toMatchObject({ kind: 'write', outcome });
  });

  it('keeps each user of a bulk request with its own outcome', () => {
    const body = [{ username: 'alice' }, { username: 'bob' }, { username: 'carol' }];
    const results = [{ status: 201, revision: 7 }, { status: 409, code: 'x' }, { status: 504 }];
    const request = { ...addition, path: '/api/v1/users/bulk', body, idempotencyKey: 'k' };
    recorded(request, { status: 200, body: { results, revision: 8 } });
    expect(history.records).toMatchObject([
      { username: 'alice', outcome: 'acknowledged', revision: 7, idempotencyKey: 'k 0' },
      { username: 'bob', outcome: 'refused', idempotencyKey: 'k 1' },
      { username: 'carol', outcome: 'unknown', idempotencyKey: 'k 2' },
    ]);
  });

  it('does not keep requests that change nothing', () => {
    history.begin(1, { node: 'node-1', method: 'GET', path: '/api/v1/users/alice' })({
      status: 200,
      body: {},
    });
    expect(history.records).toEqual([]);
  });

  it('keeps a fault open until it ends or everything is whole', () => {
    const first = history.beginFault('first', { nodes: ['node-1'] });
    history.beginFault('second', { nodes: ['node-2'] });
    first.end();
    expect(history.records).toMatchObject([{ to: expect.any(Number) }, { to: null }]);
    history.endFaults();
    expect(history.records).toMatchObject([{ what: 'first' }, { to: expect.any(Number) }]);
  });
});
