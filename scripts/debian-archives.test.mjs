import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';

import { findDebianArchives, parseDeb822Entries } from './debian-archives.mjs';

let root;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'countersign-apt-'));
  await put('etc/os-release', 'NAME="Debian GNU/Linux"\nVERSION_CODENAME=bookworm\nID=debian\n');
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function put(path, text) {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

it('the archive is found in a one-line list, past what third parties offer', async () => {
  await put(
    'etc/apt/sources.list',
    `# deb http://old.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/apt/keyrings/x.gpg] https://packages.example/x bookworm main
deb [arch=amd64 signed-by=${keyring}] http://mirror.example/debian/ bookworm main contrib # ours
deb http://mirror.example/debian-security bookworm-security main
`,
  );
  expect(findDebianArchives({ root })).toEqual([
    { uris: 'http://mirror.example/debian/', signedBy: keyring },
  ]);
});

it('the archive is found in deb822 sources, also under another path and without comments', async () => {
  await put(
    'etc/apt/sources.list.d/debian.sources',
    `Types: deb deb-src
# a comment
URIs: https://proxy.example/remote
Suites: bookworm bookworm-updates
Components: main
Signed-By: ${keyring}

Types: deb
URIs: http://deb.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: ${keyring}

Types: deb
Enabled: no
URIs: http://other.example/debian
Suites: bookworm
Components: main
`,
  );
  await put('etc/apt/sources.list.d/x.sources.disabled', 'Types: deb\nURIs: http://a/debian\n');
  expect(findDebianArchives({ root })).toEqual([
    { uris: 'https://proxy.example/remote', signedBy: keyring },
  ]);
});

it('an embedded key keeps its indented lines', () => {
  const key = '-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n -----END PGP PUBLIC KEY BLOCK-----';
  const [entry] = parseDeb822Entries(
    `Types: deb\nURIs: http://a/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n ${key}\n`,
  );
  expect(entry.signedBy).toBe(key);
});

it('another distribution has no Debian archive', async () => {
  await put('etc/os-release', 'ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n');
  await put('etc/apt/sources.list', 'deb http://mirror.example/debian noble main\n');
  expect(findDebianArchives({ root })).toEqual([]);
});
