import { hasFreeradius, hasSlapd } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RIGHT_PASSWORD, startTestPeople } from '../testing/start-test-people.ts';
import { ACCEPT, pap, useTestFronts } from '../testing/use-test-fronts.ts';
import { useTestStates } from '../testing/use-test-states.ts';

const test = useTestStates();
const door = useTestFronts(test);
const ANSWER_MS = 5000;

describe.skipIf(!hasFreeradius || !hasSlapd)(
  'a directory of two servers behind the RADIUS front door (needs slapd, freeradius-utils)',
  () => {
    let people: Awaited<ReturnType<typeof startTestPeople>>;
    beforeAll(async () => {
      const { keys, seed } = door;
      people = await startTestPeople(test, { keys, secret: seed, pair: { answerMs: ANSWER_MS } });
      await test.addApplication('vpn', {});
      const firstFactor = { kind: 'directory' as const, directories: null };
      await test.addRadiusClient(door.clientAt('127.0.0.1', '', { firstFactor }));
      await people.enrol('alice');
      await door.open('node-1', { directories: people.directories });
    }, 60_000);
    afterAll(async () => {
      await people?.stop();
    });

    it('waits once for a first one that falls silent, and for one that is killed not at all', async () => {
      const { slapd: first } = people;
      let counter = 0;
      const signInMs = async () => {
        const startedAt = performance.now();
        const typed = pap('alice', `${RIGHT_PASSWORD},${door.code(counter)}`);
        counter += 1;
        expect(await door.send('127.0.0.1', typed, { waitMs: 14_000 })).toContain(ACCEPT);
        return Math.round(performance.now() - startedAt);
      };
      await signInMs();
      first.pause();
      const tookMs = [await signInMs(), await signInMs(), await signInMs()];
      await first.kill();
      tookMs.push(await signInMs(), await signInMs());
      console.log(
        `sign-ins past a dead directory server of ${ANSWER_MS} ms: ${tookMs.join(', ')} ms`,
      );
      expect(tookMs[0]).toBeGreaterThan(ANSWER_MS * 0.9);
      expect(tookMs[0]).toBeLessThan(ANSWER_MS * 1.9);
      expect(Math.max(...tookMs.slice(1))).toBeLessThan(ANSWER_MS * 0.8);
    });
  },
);
