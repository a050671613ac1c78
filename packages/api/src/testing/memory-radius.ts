import { randomUUID } from 'node:crypto';
import {
  RADIUS_CLIENT_DEFAULTS,
  RADIUS_TARGET_DEFAULTS,
  usernameKey,
  type NewRadiusClient,
  type NewRadiusTarget,
  type RadiusClientDocument,
  type RadiusTargetDocument,
} from '@countersign/verification';

/** RADIUS clients and targets in memory: what commands on them come to, without what the master checks. */
export class MemoryRadius {
  clients: RadiusClientDocument[] = [];
  targets: RadiusTargetDocument[] = [];

  execute(name: string, args: Record<string, unknown>): Record<string, unknown> {
    if (name === 'radius-client.add') return this.#addClient(args.client as NewRadiusClient);
    if (name === 'radius-target.add') return this.#addTarget(args.target as NewRadiusTarget);
    const all: { id: string; name: string }[] = name.startsWith('radius-client')
      ? this.clients
      : this.targets;
    const at = all.findIndex((each) => usernameKey(each.name) === usernameKey(String(args.name)));
    if (at < 0) throw new Error(`nothing is called ${String(args.name)}`);
    const { id } = all[at]!;
    if (name.endsWith('.remove')) all.splice(at, 1);
    else {
      const { secret: _, firstFactor: _factor, ...changes } = args.changes as NewRadiusClient;
      Object.assign(all[at]!, changes);
    }
    return { id };
  }

  #addClient({ secret: _secret, firstFactor: _factor, ...given }: NewRadiusClient): { id: string } {
    const document: RadiusClientDocument = {
      ...RADIUS_CLIENT_DEFAULTS,
      replies: [],
      ...given,
      ...stamp(),
    };
    this.clients.push(document);
    return { id: document.id };
  }

  #addTarget({ secret: _secret, ...given }: NewRadiusTarget): { id: string } {
    const document: RadiusTargetDocument = { ...RADIUS_TARGET_DEFAULTS, ...given, ...stamp() };
    this.targets.push(document);
    return { id: document.id };
  }
}

function stamp() {
  const at = new Date().toISOString();
  return { id: randomUUID(), sealedSecret: 'c2VhbGVk', createdAt: at, updatedAt: at };
}
