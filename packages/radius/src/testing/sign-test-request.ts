import { randomBytes } from 'node:crypto';

import { signRequest } from '../authenticators.ts';
import { hideUserPassword } from '../hidden-attributes.ts';
import { type Attribute, packetCodes } from '../radius-packet.ts';

/** An Access-Request of PAP as a NAS would send it, with an identifier of the test's choice. */
export function signTestRequest(request: {
  identifier: number;
  attributes: readonly Attribute[];
  password: string;
  secret: Buffer;
}): Buffer {
  const { identifier, secret } = request;
  const authenticator = randomBytes(16);
  const hidden = hideUserPassword(Buffer.from(request.password), { secret, authenticator });
  const attributes = [...request.attributes, { type: 2, value: hidden }];
  return signRequest(
    { code: packetCodes.accessRequest, identifier, authenticator, attributes },
    secret,
  );
}
