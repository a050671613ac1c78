import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readPskc } from './index.ts';
import { writePskc } from './testing/write-pskc.ts';
import type { WrittenKey } from './testing/write-pskc.ts';

/** Others' programs for the same files: OATH Toolkit's in C, python-pskc's with its own AES and MAC. */

const folder = mkdtempSync(join(tmpdir(), 'countersign-pskc-'));
afterAll(() => rmSync(folder, { recursive: true }));

const KEYS: WrittenKey[] = [
  { secret: Buffer.from('12345678901234567890'), data: value('Counter', '5') },
  {
    secret: Buffer.alloc(32, 7),
    algorithm: 'totp',
    parameters: '<Suite>HMAC-SHA256</Suite><ResponseFormat Length="8" Encoding="DECIMAL"/>',
    data: value('TimeInterval', '60'),
  },
];

describe.skipIf(!hasTools('pskctool', 'openssl'))('pskctool of OATH Toolkit', () => {
  it('finds in our files what we put into them, and nothing against the schema', () => {
    const path = write('plain.xml', writePskc(KEYS));
    expect(run('pskctool', '--validate', path)).toBe('OK\n');
    const info = run('pskctool', '--info', '--strict', path);
    expect(info).toContain('Key Secret (base64): MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=');
    expect(info).toContain('Key Counter: 5');
    expect(info).toContain(`Key Secret (base64): ${Buffer.alloc(32, 7).toString('base64')}`);
    expect(info).toContain('Key TimeInterval: 60');
    expect(info).toContain('Algorithm Parameters Suite: HMAC-SHA256');
  });

  it.each(['sha1', 'sha256'] as const)('finds our encrypted files in order, with %s', (mac) => {
    const path = write('encrypted.xml', writePskc(KEYS, { key: Buffer.alloc(16, 1), mac }));
    expect(run('pskctool', '--validate', path)).toBe('OK\n');
  });

  it('signs a file that we then read as signed', async () => {
    const path = write('unsigned.xml', writePskc(KEYS));
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
    const subject = ['-subj', '/CN=test', '-keyout', key, '-out', certificate];
    run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject);
    const signed = run('pskctool', '--sign', '--sign-key', key, '--sign-crt', certificate, path);
    const read = await readPskc(signed);
    expect(read.hasUncheckedSignature).toBe(true);
    expect(read.tokens.map(({ token }) => token)).toEqual([
      {
        type: 'hotp',
        initialCounter: 5,
        serial: '1001',
        manufacturer: 'Contoso',
        secret: KEYS[0]?.secret,
        algorithm: 'SHA1',
        digits: 6,
      },
      {
        type: 'totp',
        periodSeconds: 60,
        serial: '1002',
        manufacturer: 'Contoso',
        secret: KEYS[1]?.secret,
        algorithm: 'SHA256',
        digits: 8,
      },
    ]);
  });
});

describe.skipIf(!hasTools('csv2pskc', 'pskc2csv'))('csv2pskc and pskc2csv of python-pskc', () => {
  const password = 'correct horse';
  const preSharedKey = Buffer.alloc(16, 0xa5);
  const key = preSharedKey.toString('hex');

  it.each([
    ['in the plain', [], {}],
    ['under a pre-shared key', ['-s', key], { preSharedKey }],
    ['under a password', ['-p', password], { password }],
  ])('make a file %s that we read', async (_, options, opener) => {
    const rows = [0, 1, 2].map((index) => `SN${index},${secretOf(index).toString('hex')},Contoso`);
    const csv = write('in.csv', ['serial,secret,manufacturer', ...rows, ''].join('\n'));
    const moves = ['-x', 'algorithm=totp', '-x', 'time_interval=60', '-x', 'response_length=8'];
    const { tokens, refused } = await readPskc(
      run('csv2pskc', '-e', 'hex', ...moves, ...options, csv),
      opener,
    );
    expect(refused).toEqual([]);
    expect(tokens.map(({ token }) => token)).toEqual(
      [0, 1, 2].map((index) => ({
        type: 'totp',
        periodSeconds: 60,
        serial: `SN${index}`,
        manufacturer: 'Contoso',
        secret: secretOf(index),
        algorithm: 'SHA1',
        digits: 8,
      })),
    );
  });

  it.each([
    ['under a pre-shared key, HMAC-SHA1', preSharedKey, 'sha1', ['-s', key]],
    ['under a pre-shared key, HMAC-SHA256', preSharedKey, 'sha256', ['-s', key]],
    [
      'under a password',
      { password, salt: Buffer.alloc(16, 3), iterations: 5000 },
      'sha256',
      ['-p', password],
    ],
  ] as const)('read our file %s', (_, from, mac, options) => {
    const path = write('ours.xml', writePskc(KEYS, { key: from, mac }));
    const csv = run('pskc2csv', '-e', 'hex', '-c', 'serial,secret,counter', ...options, path);
    expect(csv.trimEnd().split(/\r?\n/)).toEqual([
      'serial,secret,counter',
      '1001,3132333435363738393031323334353637383930,5',
      `1002,${'07'.repeat(32)},`,
    ]);
  });
});

function secretOf(index: number): Buffer {
  return Buffer.from(`12345678901234567890${index}`);
}

function value(name: string, text: string): string {
  return `<${name}><PlainValue>${text}</PlainValue></${name}>`;
}

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: 'pipe', timeout: 15_000 });
}

function hasTools(...commands: string[]): boolean {
  return commands.every(
    (command) => spawnSync(command, ['--help'], { stdio: 'ignore' }).error === undefined,
  );
}
