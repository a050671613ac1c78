import type { AuditEvent, Finish } from '@countersign/database';
import { describe, expect, it } from 'vitest';
import { countBusyTogether } from './count-busy-together.ts';

let lastId = 0;

function denial(changed: Partial<AuditEvent> = {}): Finish {
  lastId += 1;
  const event: AuditEvent = {
    id: `event-${lastId}`,
    at: '2026-03-01T12:00:00.000Z',
    type: 'verification',
    node: 'node-1',
    userId: null,
    username: null,
    actor: 'vpn',
    application: null,
    clientAddress: '192.0.2.1',
    result: 'denied',
    reason: 'busy',
    degraded: false,
    durationMs: 0,
    details: { method: 'oath' },
    ...changed,
  };
  return { event };
}

describe('denials recorded together', () => {
  it('are one event per client for `busy`, which says how many', () => {
    const flood = [denial(), denial(), denial()];
    const other = denial({ clientAddress: '192.0.2.9' });
    const recorded = countBusyTogether([flood[0]!, other, ...flood.slice(1)]);
    expect(recorded.map(({ event }) => [event.id, event.details.count])).toEqual([
      [flood[0]!.event.id, 3],
      [other.event.id, undefined],
    ]);
  });

  it('stay one event each where something was looked up', () => {
    const finishes = [
      denial({ reason: 'locked_out', userId: 'a' }),
      denial({ reason: 'locked_out', userId: 'a' }),
      denial({ reason: 'busy', userId: 'a' }),
      denial({ reason: 'unknown_user' }),
    ];
    expect(countBusyTogether(finishes)).toEqual(finishes);
  });

  it('of different applications or callers are counted apart', () => {
    const finishes = [denial(), denial({ application: 'mail' }), denial({ actor: 'portal' })];
    expect(countBusyTogether(finishes)).toEqual(finishes);
  });
});
