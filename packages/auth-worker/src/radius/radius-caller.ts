import type { Caller } from '@countersign/api';
import type { RadiusClientDocument } from '@countersign/verification';

/** A RADIUS client as whoever asks for a verification: for one application, and with no right to anything else. */
export function radiusCaller(
  client: Pick<RadiusClientDocument, 'id' | 'name' | 'application'>,
): Caller {
  return {
    id: `radius ${client.id}`,
    name: client.name,
    scopes: new Set(),
    applications: [client.application],
    // Worth nothing to the master's agent: no command comes from here.
    proof: { kind: 'api-key', secret: '' },
  };
}
