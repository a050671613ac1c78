import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { flawOfDatabaseUrl, readDatabaseAddress } from './database-url.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-database-url-'));
afterAll(() => rmSync(folder, { recursive: true }));
const authorityFile = join(folder, 'ca.pem');
const passwordFile = join(folder, 'password');
writeFileSync(authorityFile, 'a certificate');
writeFileSync(passwordFile, 'p@ss word\n');

describe("a database of the operator's own", () => {
  it.each([
    ['postgres://me@db.example/main', { authorityFile }],
    ['postgres://me@192.0.2.7:6543/main?sslmode=verify-full', { authorityFile, passwordFile }],
    ['postgresql://me:secret@127.0.0.1/main?sslmode=disable', {}],
    ['postgres://me@[::1]/main?sslmode=disable', { passwordFile }],
  ])('is taken as %s', (url, files) => {
    expect(flawOfDatabaseUrl(url, files)).toBeNull();
  });

  it.each([
    ['postgres://me@db.example/main', {}, 'needs authorityFile'],
    ['postgres://me@db.example/main?sslmode=require', { authorityFile }, 'must be verify-full'],
    ['postgres://me@db.example/main?sslmode=prefer', {}, 'must be verify-full'],
    ['postgres://me@db.example/main?sslmode=disable', {}, 'for loopback only'],
    ['postgres://me@127.0.0.1.example/main?sslmode=disable', {}, 'for loopback only'],
    ['postgres://me@localhost/main?sslmode=disable', {}, 'for loopback only'],
    ['postgres://me@127.0.0.1/main?sslmode=disable', { authorityFile }, 'is an authorityFile'],
    ['postgres://me:x@db.example/main', { authorityFile, passwordFile }, 'is a passwordFile'],
    ['postgres://me@db.example/main?host=/tmp', { authorityFile }, 'takes no host'],
    ['postgres://db.example/main', { authorityFile }, 'must be postgres://USER@HOST'],
    ['postgres://me@db.example/', { authorityFile }, 'must be postgres://USER@HOST'],
  ])('is refused as %s with %o', (url, files, why) => {
    expect(flawOfDatabaseUrl(url, files)).toContain(why);
  });

  it('is reached with what its files hold', () => {
    const url = 'postgres://m%40e@db.example:6543/main%20one';
    expect(readDatabaseAddress({ url, authorityFile, passwordFile })).toEqual({
      host: 'db.example',
      port: 6543,
      user: 'm@e',
      database: 'main one',
      password: 'p@ss word',
      authority: 'a certificate',
    });
    const missing = join(folder, 'missing');
    expect(() => readDatabaseAddress({ url, authorityFile: missing })).toThrow(
      `database.authorityFile: cannot read ${missing} (ENOENT)`,
    );
  });
});
