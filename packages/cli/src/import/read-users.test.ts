import { describe, expect, it } from 'vitest';
import { readUsers, type ImportFormat, type ReadUser } from './read-users.ts';

async function read(text: string, format: ImportFormat, mayMakeSecrets = false) {
  const found: ReadUser[] = [];
  // In pieces that end anywhere.
  const pieces = text.match(/[^]{1,7}/g) ?? [];
  async function* inPieces() {
    yield* pieces;
  }
  for await (const each of readUsers(inPieces(), format, { mayMakeSecrets })) found.push(each);
  return found;
}

const SECRET = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';

describe('a file of users', () => {
  it('is read as CSV with quotes, line breaks in cells, and the line of each user', async () => {
    const text =
      '\uFEFFusername,Display_Name,email,enabled,type,secret,digits\r\n' +
      `alice,"Alice ""A"" Adams,\r\nProf.",a@example.org,yes,totp,${SECRET},8\r\n` +
      '\r\n' +
      'bob,,,no,,,\r\n';
    expect(await read(text, 'csv')).toEqual([
      {
        line: 2,
        user: {
          username: 'alice',
          displayName: 'Alice "A" Adams,\r\nProf.',
          email: 'a@example.org',
          enabled: true,
          authenticators: [{ type: 'totp', secret: SECRET, digits: 8 }],
        },
      },
      { line: 5, user: { username: 'bob', enabled: false } },
    ]);
  });

  it('may separate its cells by semicolons', async () => {
    expect(await read('username;email\nalice;a,b@example.org', 'csv')).toEqual([
      { line: 2, user: { username: 'alice', email: 'a,b@example.org' } },
    ]);
  });

  it('is read as one JSON object a line', async () => {
    const text = `{"username":"alice"}\n\nno json\n[1]\n{"username":"bob","enabled":false}`;
    expect(await read(text, 'ndjson')).toEqual([
      { line: 1, user: { username: 'alice' } },
      { line: 3, problem: 'is not a JSON object' },
      { line: 4, problem: 'is not a JSON object' },
      { line: 5, user: { username: 'bob', enabled: false } },
    ]);
  });

  it('has its flaws named by line, and never their values', async () => {
    const text = [
      'username,enabled,type,secret',
      'alice,maybe,,',
      ',yes,,',
      'carol,yes,totp,TOOSHORT',
      'dave,yes,totp,',
      'erin,yes,pigeon,',
      'frank,yes',
      'grace,,,',
      'GRACE,,,',
    ].join('\n');
    const problems = await read(text, 'csv');
    expect(problems).toEqual([
      { line: 2, problem: 'enabled must be true or false' },
      { line: 3, problem: 'has no username' },
      { line: 4, problem: expect.stringMatching(/^secret: /) },
      { line: 5, problem: expect.stringMatching(/^has no secret/) },
      { line: 6, problem: 'type must be totp or hotp' },
      { line: 7, problem: 'has 2 cells, the header has 4' },
      { line: 8, user: { username: 'grace' } },
      { line: 9, problem: 'has the same username as line 8' },
    ]);
    expect(JSON.stringify(problems)).not.toContain('TOOSHORT');
    expect((await read(text, 'csv', true))[3]).toMatchObject({ line: 5, user: {} });
  });

  it('is refused as a whole where the header is wrong or a quote never ends', async () => {
    await expect(read('name,phone\n', 'csv')).rejects.toThrow(/column 2 of the header/);
    await expect(read('email\n', 'csv')).rejects.toThrow(/no column username/);
    await expect(read('', 'csv')).rejects.toThrow(/empty/);
    await expect(read('username\n"alice\nbob\n', 'csv')).rejects.toThrow(/line 2: a quote/);
    await expect(read(`username\n${'x'.repeat(70_000)}`, 'csv')).rejects.toThrow(/too long/);
    await expect(read('x'.repeat(70_000), 'ndjson')).rejects.toThrow(/longer than 64/);
  });
});
