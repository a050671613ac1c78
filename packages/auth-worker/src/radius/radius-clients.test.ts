import { randomBytes, randomUUID } from 'node:crypto';
import { sealRadiusSecret } from '@countersign/operations';
import { defaultSettings, type RadiusClientDocument } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { makeRadiusClients } from './radius-clients.ts';

const seedKey = { keyId: '00000000', key: randomBytes(32) };

function client(
  addresses: string[],
  fields: Partial<RadiusClientDocument> = {},
): RadiusClientDocument {
  const at = new Date().toISOString();
  const place = { id: randomUUID(), addresses };
  return {
    ...place,
    name: addresses.join(' '),
    application: 'vpn',
    enabled: true,
    sealedSecret: sealRadiusSecret(seedKey, place, 'shared'),
    messageAuthenticator: 'require',
    firstFactor: { kind: 'none' },
    canChallenge: true,
    codeLength: 6,
    commaCode: true,
    appendedCode: false,
    callingStation: 'ignore',
    isBalancer: false,
    waitSeconds: 30,
    replies: [],
    createdAt: at,
    updatedAt: at,
    ...fields,
  };
}

function make(radiusClients: RadiusClientDocument[], secrets = new Map<string, Buffer>()) {
  const settings = { settings: defaultSettings, applications: new Map(), directories: [] };
  const read = { ...settings, radiusClients, radiusTargets: [], revision: 1 };
  return makeRadiusClients(read, { seedKey, secrets });
}

describe('the clients of the settings', () => {
  it('are found by the longest network, with the secret they were given', () => {
    const { find } = make([client(['10.0.0.0/8']), client(['10.1.0.0/16'])]);
    expect(find('10.1.2.3')).toMatchObject({ name: '10.1.0.0/16', secret: Buffer.from('shared') });
    expect(find('10.2.2.3')).toMatchObject({ name: '10.0.0.0/8' });
    expect(find('192.0.2.1')).toBeNull();
  });

  it('that are balancers must be told from which device each request is', () => {
    const { find } = make([client(['10.0.0.1']), client(['10.0.0.2'], { isBalancer: true })]);
    expect(find('10.0.0.1')).toMatchObject({ needsNas: false });
    expect(find('10.0.0.2')).toMatchObject({ needsNas: true });
  });

  it('keep the same Buffer while the secret stays, and forget those that went', () => {
    const secrets = new Map<string, Buffer>();
    const documents = [client(['10.0.0.1']), client(['10.0.0.2'])];
    const before = make(documents, secrets).find('10.0.0.1')?.secret;
    expect(make(documents.slice(0, 1), secrets).find('10.0.0.1')?.secret).toBe(before);
    expect(secrets.size).toBe(1);
  });

  it('whose secret was sealed to other addresses are not served, and neither is the secret told', () => {
    const moved = { ...client(['10.0.0.1']), addresses: ['10.0.0.9'] };
    const { find, unusable } = make([moved, client(['10.0.0.2'])]);
    expect(find('10.0.0.9')).toBeNull();
    expect(find('10.0.0.2')).not.toBeNull();
    expect(unusable).toEqual([
      { client: '10.0.0.1', problem: 'its secret does not open: set it again' },
    ]);
  });

  it('are not served without an attribute that may be what limits somebody', () => {
    const replies = [{ group: null, attribute: 'Framed-IP-Address', value: 'nowhere' }];
    const { find, unusable } = make([client(['10.0.0.1'], { replies })]);
    expect(find('10.0.0.1')).toBeNull();
    expect(unusable).toMatchObject([{ problem: 'Framed-IP-Address takes an IPv4 address' }]);
  });

  it('that cannot be served are not taken for one whose network is wider', () => {
    const replies = [{ group: null, attribute: 'Framed-IP-Address', value: 'nowhere' }];
    const { find } = make([client(['10.0.0.0/8']), client(['10.1.0.0/16'], { replies })]);
    expect(find('10.1.0.1')).toBeNull();
    expect(find('10.2.0.1')).not.toBeNull();
  });

  it('of which two have one network while a change arrives do not end the others', () => {
    const { find } = make([client(['10.0.0.1']), client(['10.0.0.1', '10.0.0.2'])]);
    expect(find('10.0.0.2')).not.toBeNull();
    expect(find('10.0.0.1')).toMatchObject({ name: '10.0.0.1' });
  });
});
