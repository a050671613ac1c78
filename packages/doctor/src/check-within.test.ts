import { describe, expect, it } from 'vitest';
import { checkWithin } from './check-within.ts';
import { fine } from './finding.ts';

const about = { name: 'disk', withinMs: 50, otherwise: 'df -h' };

describe('a check', () => {
  it('is a finding of its own where it hangs, and says what to type instead', async () => {
    const look = () => new Promise<never>(() => undefined);
    expect(await checkWithin({ ...about, look })).toEqual([
      {
        name: 'disk',
        ok: false,
        severity: 'warning',
        detail: 'could not be checked: no answer in 0.05 s',
        fix: 'df -h',
      },
    ]);
  });

  it('is a finding of its own where it fails', async () => {
    const look = () => Promise.reject(new Error('EIO: i/o error'));
    expect(await checkWithin({ ...about, look })).toMatchObject([
      { ok: false, detail: 'could not be checked: EIO: i/o error' },
    ]);
  });

  it('says what it found', async () => {
    const look = async () => [fine('disk', '7 GiB free')];
    expect(await checkWithin({ ...about, look })).toEqual([fine('disk', '7 GiB free')]);
  });
});
