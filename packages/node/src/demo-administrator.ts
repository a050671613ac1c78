import { randomBytes } from 'node:crypto';
import {
  decodeBase32,
  generateSecret,
  hotp,
  otpauthUri,
  totpStep,
} from '@countersign/verification';
import { insist, type DemoApi } from './demo-api.ts';

export type DemoAdministrator = { username: string; password: string; otpauth: string };

const PERIOD_SECONDS = 30;
const OTP = { algorithm: 'SHA1', digits: 6 } as const;

/** A password and a TOTP secret at random, for the name that the first invitation is for. */
export function makeDemoAdministrator(): DemoAdministrator {
  const username = 'admin';
  const about = { issuer: 'Countersign', account: username, ...OTP };
  return {
    username,
    password: randomBytes(18).toString('base64url'),
    otpauth: otpauthUri({
      ...about,
      type: 'totp',
      periodSeconds: PERIOD_SECONDS,
      secret: generateSecret(),
    }),
  };
}

/** Done, too, where an earlier run of the demo was killed just after it. Throws NodeError like `ensureDemoUser`. */
export async function acceptDemoInvitation(
  api: DemoApi,
  invitation: string,
  { password, otpauth }: DemoAdministrator,
): Promise<void> {
  const secret = new URL(otpauth).searchParams.get('secret')!;
  const code = hotp(decodeBase32(secret), totpStep(Date.now(), PERIOD_SECONDS), OTP);
  const accepted = { invitation, password, secret, code };
  await insist(api, 'POST', '/api/v1/invitations/accept', accepted, [401]);
}
