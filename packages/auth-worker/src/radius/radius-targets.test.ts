import { randomBytes, randomUUID } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { sealRadiusSecret } from '@countersign/operations';
import { makeAttribute, RadiusServer, type Attribute } from '@countersign/radius';
import type { RadiusTargetDocument } from '@countersign/verification';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { RadiusTargets } from './radius-targets.ts';

const seedKey = { keyId: '00000000', key: randomBytes(32) };
const secret = 'shared with a target';
const log = pino({ level: 'silent' });

function targetAt(port: number, fields: Partial<RadiusTargetDocument> = {}): RadiusTargetDocument {
  const at = new Date().toISOString();
  const place = { id: randomUUID(), servers: [{ host: '127.0.0.1', port }] };
  return {
    ...place,
    name: 'nps',
    sealedSecret: sealRadiusSecret(seedKey, place, secret),
    messageAuthenticator: 'require',
    timeoutMs: 10_000,
    passAttributes: [],
    createdAt: at,
    updatedAt: at,
    ...fields,
  };
}

/** A server that accepts everything with these, and where each request came from. */
async function openServer(replies: Attribute[]) {
  const seen: { port: number; attributes: readonly Attribute[]; password: Buffer | null }[] = [];
  const server = await RadiusServer.start({
    listen: [{ address: '127.0.0.1', port: 0, service: 'authentication' }],
    findClient: () => ({
      name: 'us',
      secret: Buffer.from(secret),
      messageAuthenticator: 'require',
    }),
    handle: async ({ from, attributes, password }) => {
      seen.push({ port: from.port, attributes, password });
      return { code: 2, attributes: replies };
    },
  });
  return {
    port: server.ports[0]!,
    seen,
    [Symbol.asyncDispose]: () => server.close({ timeoutMs: 100 }),
  };
}

const asked = {
  attributes: [makeAttribute('User-Name', 'anna')],
  password: Buffer.from('pässword'),
};

describe('RADIUS targets', () => {
  it('keep their sockets over revisions, until servers, secret or deadlines are others', async () => {
    await using server = await openServer([]);
    await using targets = new RadiusTargets({ seedKey, log });
    const document = targetAt(server.port);
    const askOf = async (one: RadiusTargetDocument) => {
      expect(targets.use([one])).toEqual([]);
      expect((await targets.find(one.id)!.ask(asked)).kind).toBe('accepted');
    };
    await askOf(document);
    await askOf({ ...document, name: 'other', passAttributes: ['Class'] });
    await askOf({ ...document, timeoutMs: 15_000 });
    const [first, second, third] = server.seen.map(({ port }) => port);
    expect(second).toBe(first);
    expect(third).not.toBe(first);
  });

  it('are not found once they are gone, and end what is still under way', async () => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    await once(silent, 'listening');
    const targets = new RadiusTargets({ seedKey, log });
    const document = targetAt(silent.address().port, { timeoutMs: 60_000 });
    targets.use([document]);
    const answer = targets.find(document.id)!.ask(asked);
    await once(silent, 'message');
    targets.use([]);
    expect(targets.find(document.id)).toBeNull();
    await targets[Symbol.asyncDispose]();
    // It was heard, so it may have been counted as a wrong one there.
    expect(await answer).toEqual({ kind: 'unavailable', mayBeWrong: true });
    silent.close();
  });

  it('are not asked with a secret that was sealed for other servers, or with a list that has no meaning', () => {
    const targets = new RadiusTargets({ seedKey, log });
    const moved = { ...targetAt(1812), servers: [{ host: '127.0.0.9', port: 1812 }] };
    const odd = targetAt(1812, { name: 'odd', passAttributes: ['No-Such-Thing'] });
    expect(targets.use([moved, odd])).toEqual([
      { target: 'nps', problem: 'its secret does not open: set it again' },
      { target: 'odd', problem: 'no attribute is called "No-Such-Thing"' },
    ]);
    expect(targets.find(moved.id)).toBeNull();
    expect(targets.find(odd.id)).toBeNull();
  });

  it('get what the client sent but for what is one hop’s, and give back what is listed alone', async () => {
    const filter = makeAttribute('Filter-Id', 'inside');
    const vendor = { type: 26, value: Buffer.from('00000009010461620203ff', 'hex') };
    const state = makeAttribute('State', Buffer.from('theirs'));
    await using server = await openServer([state, filter, makeAttribute('Class', 'x'), vendor]);
    await using targets = new RadiusTargets({ seedKey, log });
    const document = targetAt(server.port, { passAttributes: ['filter-id', '9/2', 'State'] });
    targets.use([document]);
    const name = makeAttribute('User-Name', 'anna');
    const attributes = [
      name,
      { type: 33, value: Buffer.from('proxy') },
      makeAttribute('State', Buffer.from('ours')),
      makeAttribute('User-Password', Buffer.alloc(16)),
    ];
    const answer = await targets.find(document.id)!.ask({ ...asked, attributes });
    expect(answer).toMatchObject({
      kind: 'accepted',
      attributes: [filter, { type: 26, value: Buffer.from('000000090203ff', 'hex') }],
    });
    const [request] = server.seen;
    expect(request!.password).toEqual(asked.password);
    const types = request!.attributes.map(({ type }) => type).toSorted((a, b) => a - b);
    expect(types).toEqual([1, 2, 80]);
  });
});
