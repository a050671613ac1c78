import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { findLockHolder, lockFolder } from './lock-folder.ts';
import { processIdentity } from './process-identity.ts';

const children: ChildProcess[] = [];
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-lock-'));
});
afterEach(async () => {
  await Promise.all(children.splice(0).map(kill));
  rmSync(folder, { recursive: true });
});

describe('the lock on a folder', () => {
  it('keeps a second process out and names the first', async () => {
    const first = await startHolder();
    expect(first.answer).toBe('locked');
    const wish = lockFolder({ folder, kind: 'supervisor', patienceMs: 100 });
    await expect(wish).rejects.toThrow(
      `${folder} is in use by another supervisor (process ${first.child.pid})`,
    );
  });

  it('is free again when its holder was killed', async () => {
    const { child } = await startHolder();
    await kill(child);
    const lock = await lockFolder({ folder, kind: 'supervisor', patienceMs: 0 });
    expect(readdirSync(folder)).toEqual([expect.stringContaining(`.${process.pid}.`)]);
    lock.release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('waits for a holder that is about to end', async () => {
    const { child } = await startHolder();
    const wish = lockFolder({ folder, kind: 'supervisor', patienceMs: 10_000 });
    await kill(child);
    const lock = await wish;
    expect(readdirSync(folder).length).toBe(1);
    lock.release();
  });

  it('is not held by a later process with the same number', async () => {
    // What this very number would have left had another process carried it before.
    const identity = processIdentity(process.ppid) as string;
    const earlier = identity.replace(/\.\d+$/, '.1');
    writeFileSync(join(folder, `.supervisor.${earlier}.lock`), '');
    writeFileSync(join(folder, `.supervisor.00000000.${process.ppid}.1.lock`), '');
    expect(findLockHolder(folder, 'supervisor')).toBeUndefined();
    expect(readdirSync(folder)).toEqual([]);

    writeFileSync(join(folder, `.supervisor.${identity}.lock`), '');
    expect(findLockHolder(folder, 'supervisor')).toBe(process.ppid);
  });

  it('of one kind does not hinder the other', async () => {
    await startHolder();
    const lock = await lockFolder({ folder, kind: 'demo', patienceMs: 0 });
    expect(readdirSync(folder).length).toBe(2);
    lock.release();
  });

  it('is never given to two of several who come at once', async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => startHolder()));
    const winners = answers.filter(({ answer }) => answer === 'locked');
    expect(winners.length).toBe(1);
    for (const { answer } of answers) expect(answer).toMatch(/^locked$|is in use by another/);
  });

  it('names the folder that cannot be written', async () => {
    const wish = lockFolder({ folder: '/proc', kind: 'demo', patienceMs: 0 });
    await expect(wish).rejects.toThrow(/^cannot write into \/proc \(/);
  });
});

/** A process that asks for the lock, says what came of it and lives on. */
async function startHolder(): Promise<{ child: ChildProcess; answer: string }> {
  const module = new URL('./lock-folder.ts', import.meta.url).href;
  const script = `
    const { lockFolder } = await import(${JSON.stringify(module)});
    const answer = await lockFolder({ folder: process.argv[1], kind: 'supervisor', patienceMs: 3000 })
      .then(() => 'locked', (error) => error.message);
    process.send(answer);
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, folder], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  children.push(child);
  const [answer] = (await once(child, 'message')) as [string];
  return { child, answer };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
