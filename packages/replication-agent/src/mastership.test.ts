import { countDocuments, findUser } from '@countersign/database';
import { describe, expect, it } from 'vitest';
import { startTestMaster } from './testing/start-test-master.ts';
import { useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const node = 'node-1';

describe('a master', () => {
  it('judges no command before its replica has applied all earlier ones', async () => {
    const { db, replica, mastership, command, stallApplying } = await startTestMaster(test);
    await mastership.handle(command('user.add', { username: 'alice' }));
    const stall = await stallApplying();
    const block = { username: 'alice', reason: 'stolen token', days: 1 };
    expect(await mastership.handle(command('user.block', block, 3000))).toEqual({
      kind: 'unknown',
    });
    const changes = { displayName: 'Alice' };
    const tooEarly = command(
      'user.set',
      { username: 'alice', changes: { email: 'a@b.example' } },
      500,
    );
    expect(await mastership.handle(tooEarly)).toMatchObject({ kind: 'refused', code: 'busy' });
    const { revision } = replica.applied;
    await stall.release();
    const renamed = await mastership.handle(command('user.set', { username: 'alice', changes }));
    expect(renamed).toMatchObject({ kind: 'done', revision: revision + 2 });
    const user = await findUser(db, 'alice');
    if (user === null || user === 'ambiguous') throw new Error('alice is gone');
    expect(user.document.displayName).toBe('Alice');
    expect(user.document.blocked?.reason).toBe('stolen token');
  }, 30_000);

  it('has applied a change of its own when it says that it is written', async () => {
    const { db, mastership, stallApplying } = await startTestMaster(test);
    const document = { id: node, name: node, addedAt: new Date().toISOString(), version: '1' };
    const stall = await stallApplying();
    const written = mastership.write({ kind: 'node', id: node, document });
    const first = await Promise.race([written, wait(700)]);
    await stall.release();
    expect(first).toBe('later');
    expect(await written).toBe(true);
    expect(await countDocuments(db, 'node')).toBe(1);
  }, 30_000);

  it('refuses a document that no replica could read, and goes on', async () => {
    const { replica, mastership, command } = await startTestMaster(test);
    const bell = command('user.add', { username: 'alice', displayName: 'ring \u0007' });
    expect(await mastership.handle(bell)).toMatchObject({
      kind: 'refused',
      status: 400,
      code: 'invalid_request',
    });
    expect(await mastership.write({ kind: 'node', id: 'No Name', document: {} })).toBe(false);
    const added = await mastership.handle(command('user.add', { username: 'bob' }));
    expect(added).toMatchObject({ kind: 'done' });
    expect(replica.problem).toBeNull();
  }, 30_000);

  it('tells the result of an earlier command only to who may give that command', async () => {
    const { mastership, command } = await startTestMaster(test);
    await mastership.handle(command('user.add', { username: 'alice' }));
    const enrolment = command('authenticator.enroll', { username: 'alice', type: 'totp' });
    const first = await mastership.handle(enrolment);
    expect(first).toMatchObject({ result: { otpauth: expect.stringMatching(/^otpauth:/) } });
    expect(await mastership.handle(enrolment)).toEqual(first);
    const forged = { ...enrolment, proof: { ...enrolment.proof, token: 'AAAA' } };
    expect(await mastership.handle(forged)).toMatchObject({ kind: 'refused', status: 401 });
  }, 30_000);
});

function wait(ms: number): Promise<'later'> {
  return new Promise((resolve) => setTimeout(resolve, ms, 'later'));
}
