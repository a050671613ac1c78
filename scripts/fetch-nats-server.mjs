// Fetches a nats-server binary: the project's own release, checked against a pinned checksum, else
// Debian's package, checked by apt's signature chain. The system's own package lists stay untouched.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { findDebianArchives } from './debian-archives.mjs';

// Version and checksums as in the Dockerfile of the NATS project's own container image.
const release = {
  version: '2.10.29',
  sha256: {
    x64: ['amd64', 'e314da74a83a1d3876db8814c27eb990fe729640fd6452025b441bcede8390da'],
    arm64: ['arm64', 'da4b27942ecfb4c5f0c54553d2e7f470ddda9d7581cfe8131b351a0e223ed401'],
  },
};
const releaseHeadersDeadlineMs = 10_000;
const releaseDeadlineMs = 120_000;
const debianSuite = 'trixie';
const aptDeadlineMs = 180_000;

/**
 * Puts a nats-server at `destination` and returns [], or returns why each way failed.
 * A binary counts only when `isGoodEnough` says so after it was run.
 */
export async function fetchNatsServer({ destination, isGoodEnough }) {
  const reasons = [];
  for (const fetchInto of [fetchRelease, fetchDebianPackage]) {
    const folder = mkdtempSync(join(tmpdir(), 'countersign-setup-'));
    try {
      const binary = await fetchInto(folder);
      if (!isGoodEnough(binary)) throw new Error(`${fetchInto.name}: does not run here or is old`);
      placeBinary(binary, destination);
      return [];
    } catch (error) {
      reasons.push(error.message);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return reasons;
}

// Copied next to its place and renamed: nobody ever runs half a file.
function placeBinary(binary, destination) {
  mkdirSync(dirname(destination), { recursive: true });
  const temporary = `${destination}.${process.pid}.tmp`;
  copyFileSync(binary, temporary);
  chmodSync(temporary, 0o755);
  renameSync(temporary, destination);
}

async function fetchRelease(folder) {
  const [arch, sha256] = release.sha256[process.arch] ?? [];
  if (!arch || process.platform !== 'linux')
    throw new Error('no release is pinned for this machine');
  const name = `nats-server-v${release.version}-linux-${arch}`;
  const base = 'https://github.com/nats-io/nats-server/releases/download';
  const archive = await download(`${base}/v${release.version}/${name}.tar.gz`);
  if (createHash('sha256').update(archive).digest('hex') !== sha256) {
    throw new Error(`the release ${release.version} does not have the pinned checksum`);
  }
  writeFileSync(join(folder, 'release.tar.gz'), archive);
  run('tar', ['-xzf', 'release.tar.gz'], folder, 'the release cannot be unpacked');
  return join(folder, name, 'nats-server');
}

async function download(url) {
  const abort = new AbortController();
  const timers = [setTimeout(() => abort.abort(), releaseDeadlineMs)];
  const headersTimer = setTimeout(() => abort.abort(), releaseHeadersDeadlineMs);
  timers.push(headersTimer);
  try {
    const response = await fetch(url, { signal: abort.signal });
    clearTimeout(headersTimer);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  } catch (error) {
    const why = error.cause?.code ?? error.message;
    throw new Error(`the release download failed: ${why}`, { cause: error });
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

async function fetchDebianPackage(folder) {
  const archives = findDebianArchives();
  if (archives.length === 0) throw new Error('this is not a Debian with a package archive');
  let reason;
  for (const archive of archives) {
    try {
      return downloadPackage(folder, archive);
    } catch (error) {
      reason = error;
    }
  }
  throw reason;
}

function downloadPackage(folder, archive) {
  for (const path of ['lists/partial', 'cache/archives/partial', 'package']) {
    mkdirSync(join(folder, path), { recursive: true });
  }
  const source = join(folder, 'archive.sources');
  writeFileSync(source, renderSource(archive));
  const settings = {
    'Dir::Etc::sourcelist': source,
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::Cache': join(folder, 'cache'),
    'Debug::NoLocking': '1',
    'APT::Sandbox::User': '',
    'Acquire::Languages': 'none',
    'Acquire::http::Timeout': '20',
    'Acquire::Retries': '1',
    // A pin or default release of the system's must not hide the suite.
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'APT::Default-Release': '',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const failure = `Debian's package (${debianSuite}) cannot be had`;
  run('apt-get', [...options, '-qq', '--error-on=any', 'update'], folder, failure);
  run('apt-get', [...options, '-qq', 'download', 'nats-server'], folder, failure);
  const file = readdirSync(folder).find((name) => name.endsWith('.deb'));
  if (!file) throw new Error(failure);
  run('dpkg-deb', ['-x', file, 'package'], folder, 'the Debian package cannot be unpacked');
  const places = ['usr/sbin/nats-server', 'usr/bin/nats-server'];
  const binary = places.map((place) => join(folder, 'package', place)).find(existsSync);
  if (!binary) throw new Error('the Debian package holds no nats-server');
  return binary;
}

function renderSource({ uris, signedBy }) {
  const lines = ['Types: deb', `URIs: ${uris}`, `Suites: ${debianSuite}`, 'Components: main'];
  if (signedBy) lines.push(`Signed-By: ${signedBy}`);
  return `${lines.join('\n')}\n`;
}

function run(command, args, cwd, failure) {
  const { status, error, stderr, signal } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: aptDeadlineMs,
    env: { ...process.env, LC_ALL: 'C' },
  });
  if (status === 0) return;
  const lines = (stderr ?? '').trim().split('\n');
  const line = lines.find((text) => /^E:|error/i.test(text)) ?? lines.at(-1);
  throw new Error(`${failure}: ${error?.message ?? (line || `${command} ended by ${signal}`)}`);
}
