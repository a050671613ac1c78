import { readSettings } from '@countersign/database';
import {
  checkCertificateRequest,
  IdentityError,
  signNextMembers,
  splitCertificates,
} from '@countersign/identity';
import type { MembersDocument } from '@countersign/verification';
import { z } from 'zod';
import { openAuthority, readAuthority, readMembers } from '../members/member-documents.ts';
import { NOT_SECURED } from './add-join-token.ts';
import { issueOrRefuse } from './join-node.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const renewCertificateArgs = z.strictObject({
  name: z.string().max(63),
  certificateRequest: z.string().min(1).max(2048),
});

const DAY_MS = 86_400_000;

/**
 * Another certificate for the key, the name and the hosts of a member. Only who holds that key can ask: the request
 * is signed with it.
 */
export async function renewCertificate(
  context: PlanContext,
  { name, certificateRequest }: z.output<typeof renewCertificateArgs>,
): Promise<Plan> {
  const [authority, stored] = await Promise.all([readAuthority(context), readMembers(context)]);
  if (!authority || !stored) return NOT_SECURED;
  const { document } = stored;
  const { members } = document.list;
  const member = members.find((one) => one.name === name);
  if (!member) return refuse(404, 'unknown_node', `${name} is no member of this cluster`);
  if ((await digestOf(certificateRequest)) !== member.keyDigest) {
    return refuse(403, 'forbidden', `this was not asked for with the key of ${name}`);
  }
  const { settings } = await readSettings(context.db);
  const opened = openAuthority(authority, context.keys.authority);
  const nowMs = context.now.getTime();
  const issued = await issueOrRefuse({
    authority: opened,
    requestPem: certificateRequest,
    name,
    hosts: member.hosts,
    otherNodes: [],
    lifeMs: settings.certificates.nodeDays * DAY_MS,
    nowMs,
  });
  if ('kind' in issued) return issued;
  const renewed = {
    ...member,
    certificateSerial: issued.serial,
    certificateExpiresAt: issued.expiresAt,
  };
  const next = members.map((one) => (one === member ? renewed : one));
  const content: MembersDocument = {
    ...document,
    list: signNextMembers(opened, document.list, next, nowMs),
  };
  return {
    kind: 'change',
    document: { kind: 'members', id: 'members', removed: false, content },
    result: { name, certificatePem: splitCertificates(issued.certificatePem)[0] },
    event: {
      userId: null,
      username: null,
      details: { node: name, serial: issued.serial, expiresAt: issued.expiresAt },
    },
  };
}

/** Null: nobody's. */
async function digestOf(certificateRequest: string): Promise<string | null> {
  try {
    return (await checkCertificateRequest(certificateRequest)).keyDigest;
  } catch (error) {
    if (error instanceof IdentityError) return null;
    throw error;
  }
}
