import type { AuditEvent } from '@countersign/database';
import { v7 as uuidv7 } from 'uuid';

/** An event of now; what is not told is not known, or does not apply. */
export function newEvent(
  fields: Pick<AuditEvent, 'type' | 'node'> & Partial<AuditEvent>,
): AuditEvent {
  return {
    id: uuidv7(),
    at: new Date().toISOString(),
    userId: null,
    username: null,
    actor: null,
    application: null,
    clientAddress: null,
    result: null,
    reason: null,
    degraded: false,
    durationMs: null,
    details: {},
    ...fields,
  };
}
