import { encodeBase32, generateSecret } from '@countersign/verification';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startApi } from './testing/index.ts';

let server: Awaited<ReturnType<typeof startApi>>;

beforeAll(async () => {
  server = await startApi();
});
afterAll(() => server.close());
beforeEach(() => {
  server.ports.commandReply = null;
});

const secret = () => encodeBase32(generateSecret());
const HEADER = 'upn,serial number,secret key,time interval,manufacturer,model';

async function addUser(username: string): Promise<void> {
  await post('/api/v1/users', { username });
}

async function post(path: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(server.url + path, {
    method: 'POST',
    headers: { authorization: 'Bearer all', 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

function importCsv(rows: string[], more: object = {}, headers?: Record<string, string>) {
  const content = [HEADER, ...rows].join('\r\n');
  return post('/api/v1/tokens/import', { format: 'csv', content, ...more }, headers);
}

describe('an import of tokens', () => {
  it('enrols each row by itself and gives back the bad ones without their secrets', async () => {
    await addUser('alice');
    await addUser('bob');
    const secrets = [secret(), secret(), secret(), secret()];
    const rows = [
      `alice,A-1,${secrets[0]},30,Acme,T1`,
      `nobody,A-2,${secrets[1]},30,Acme,T1`,
      `bob,A-3,${secrets[2]},45,Acme,T1`,
      `bob,A-4,${secrets[3]},60,Acme,T1`,
    ];
    const { status, json } = await importCsv(rows, { linesBefore: 1000 });
    expect(status).toBe(200);
    expect(json.results).toEqual([
      { at: 1002, status: 201, username: 'alice', id: expect.any(String) },
      {
        at: 1003,
        status: 404,
        username: 'nobody',
        code: 'unknown_user',
        detail: expect.any(String),
      },
      { at: 1004, status: 422, code: 'invalid_token', detail: expect.any(String) },
      { at: 1005, status: 201, username: 'bob', id: expect.any(String) },
    ]);
    const errorLines = String(json.errorCsv).trim().split('\r\n');
    expect(errorLines).toHaveLength(3);
    expect(errorLines[1]).toMatch(/^"nobody","A-2","\*\*\*","30","Acme","T1","line 1003: /);
    for (const each of secrets) expect(JSON.stringify(json)).not.toContain(each);
    expect(json).toMatchObject({ applied: true, revision: expect.any(Number), notes: [] });
    expect(server.ports.commands.at(-1)?.args).toEqual({
      username: 'bob',
      type: 'totp',
      secret: secrets[3],
      algorithm: 'SHA1',
      digits: 6,
      periodSeconds: 60,
      serial: 'A-4',
      manufacturer: 'Acme',
      model: 'T1',
      awaitsActivation: true,
    });
  });

  it('gives each row a key of its own, which no request can have', async () => {
    await addUser('carol');
    await importCsv([`carol,C-1,${secret()},30,,`], {}, { 'idempotency-key': 'once' });
    expect(server.ports.commands.at(-1)?.idempotencyKey).toBe('once 2');
  });

  it('reads URIs, one a line, for the user in them', async () => {
    await addUser('dave');
    const uri = `otpauth://hotp/Acme:dave?secret=${secret()}&counter=7`;
    const content = `${uri}\n\nnot a uri\n`;
    const body = { format: 'otpauth', content, awaitsActivation: false };
    const { json } = await post('/api/v1/tokens/import', body);
    expect(json.results).toMatchObject([
      { at: 1, status: 201, username: 'dave' },
      { at: 3, status: 422 },
    ]);
    expect(server.ports.commands.at(-1)?.args).toMatchObject({
      type: 'hotp',
      initialCounter: 7,
      awaitsActivation: false,
    });
  });

  it('reads PSKC for the named user, and leaves out what its maker says has expired', async () => {
    await addUser('erin');
    const key = (
      serial: string,
      more = '',
    ) => `<KeyPackage><DeviceInfo><SerialNo>${serial}</SerialNo>
      </DeviceInfo><Key Id="${serial}" Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:totp">
      <AlgorithmParameters><ResponseFormat Length="8" Encoding="DECIMAL"/></AlgorithmParameters>
      <Data><Secret><PlainValue>${generateSecret().toString('base64')}</PlainValue></Secret>
      <TimeInterval><PlainValue>30</PlainValue></TimeInterval></Data>${more}</Key></KeyPackage>`;
    const expired = '<Policy><ExpiryDate>2001-01-01T00:00:00Z</ExpiryDate></Policy>';
    const content = `<?xml version="1.0"?><KeyContainer Version="1.0"
      xmlns="urn:ietf:params:xml:ns:keyprov:pskc">${key('P1')}${key('P2', expired)}</KeyContainer>`;
    const body = { format: 'pskc', content };
    const forNobody = await post('/api/v1/tokens/import', body);
    expect(forNobody.json.results).toMatchObject([
      { at: 1, status: 422, detail: 'names no user' },
      { at: 2, status: 422 },
    ]);
    const { json } = await post('/api/v1/tokens/import', { ...body, username: 'erin' });
    expect(json.results).toMatchObject([
      { at: 1, status: 201, username: 'erin' },
      { at: 2, status: 422, detail: 'has expired, says its maker' },
    ]);
    expect(json.errorCsv).toContain('key 2: has expired');
  });

  it('is refused as a whole where the file cannot be read or holds too many', async () => {
    const refusedWith = async (body: object) => {
      const { status, json } = await post('/api/v1/tokens/import', body);
      return `${status} ${String(json.code)}: ${String(json.detail)}`;
    };
    const content = 'no header at all';
    expect(await refusedWith({ format: 'csv', content })).toMatch(/^400 invalid_request: content/);
    expect(await refusedWith({ format: 'pskc', content })).toMatch(/^400 invalid_request: content/);
    expect(await refusedWith({ format: 'xls', content })).toMatch(/^400/);
    expect(await refusedWith({ format: 'pskc', content, key: 'zz' })).toMatch(/^400/);
    const huge = 'x'.repeat(512 * 1024 + 1);
    expect(await refusedWith({ format: 'csv', content: huge })).toMatch(/^400|^413/);
    const rows = Array.from({ length: 201 }, (_, n) => `u${n},S${n},${secret()},30,,`);
    const many = await importCsv(rows);
    expect(many.json.detail).toBe('content: at most 200 tokens are taken in one request');
  });

  it('stops at the first row without a master, and says so of each', async () => {
    server.ports.commandReply = { kind: 'master_offline', lastMaster: null, since: null };
    const before = server.ports.commands.length;
    const rows = Array.from({ length: 50 }, (_, n) => `u${n},S${n},${secret()},30,,`);
    const { json } = await importCsv(rows);
    const codes = (json.results as { status: number; code: string }[]).map(({ code }) => code);
    expect(new Set(codes)).toEqual(new Set(['master_offline', 'not_run']));
    expect(server.ports.commands.length - before).toBeLessThanOrEqual(16);
  });
});
