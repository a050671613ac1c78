import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '@countersign/cluster';
import {
  createCertificateRequest,
  isDueForRenewal,
  readNodeCertificate,
} from '@countersign/identity';

type OwnIdentity = { caPem: string; certificatePem: string; keyPem: string };

export type Renewal = {
  node: string;
  /** As it is now; the supervisor writes the file. */
  identity: OwnIdentity;
  /** Asks the master for `node.renew`: the certificate, or why there is none. */
  ask(args: Record<string, unknown>): Promise<{ certificatePem: string } | { why: string }>;
  keep(certificatePem: string): void;
  log: Log;
};

const LOOK_EVERY_MS = 60_000;
const LOOK_FIRST_AFTER_MS = 5_000;

/** For ever: a certificate of which less than a third is left is replaced by a new one for the same key. */
export async function renewOwnCertificateForEver(
  renewal: Renewal,
  signal: AbortSignal,
): Promise<void> {
  let pauseMs = LOOK_FIRST_AFTER_MS;
  while (!signal.aborted) {
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    pauseMs = LOOK_EVERY_MS;
    await renewOwnCertificate(renewal, Date.now()).catch((error: unknown) => {
      renewal.log.warn({ error: String(error) }, 'the certificate was not renewed');
    });
  }
}

/** True: it was renewed. The next look tries again what went wrong. */
export async function renewOwnCertificate(renewal: Renewal, nowMs: number): Promise<boolean> {
  const { node, identity, log } = renewal;
  const { certificatePem, keyPem } = identity;
  const now = readNodeCertificate(certificatePem, identity);
  if (!isDueForRenewal(now, nowMs)) return false;
  const certificateRequest = await createCertificateRequest({ name: node, keyPem });
  const answer = await renewal.ask({ name: node, certificateRequest });
  const endsAt = new Date(now.endsAtMs).toISOString();
  if ('why' in answer) {
    log.warn({ why: answer.why, endsAt }, 'the certificate was not renewed');
    return false;
  }
  const renewed = readNodeCertificate(answer.certificatePem, identity);
  renewal.keep(answer.certificatePem);
  log.info({ endsAt: new Date(renewed.endsAtMs).toISOString() }, 'the certificate was renewed');
  return true;
}
