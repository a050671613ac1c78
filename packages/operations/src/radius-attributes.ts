import { findAttributeByName, parseAttribute, RadiusError } from '@countersign/radius';
import type { RadiusReply } from '@countersign/verification';

/** So much of an answer is left for all else that stands in it: a packet holds 4,096 bytes. */
const REPLIES_MAX_BYTES = 2048;

/** What goes from one hop to the next alone, or holds others in itself. */
const PER_HOP = new Set([
  'User-Name',
  'User-Password',
  'CHAP-Password',
  'CHAP-Challenge',
  'State',
  'Vendor-Specific',
  'Proxy-State',
  'EAP-Message',
  'Message-Authenticator',
]);

/**
 * Attributes that a client is answered with, each under the name it has; or in one line what is wrong with one that there
 * is not, that must not be set, or whose value does not fit.
 */
export function checkReplies(
  replies: readonly RadiusReply[],
): { checked: RadiusReply[] } | { flaw: string } {
  return orFlaw(() => {
    let bytes = 0;
    const checked = replies.map((reply) => {
      const entry = attributeNamed(reply.attribute);
      if (entry.isSecret) throw new RadiusError(`${entry.name} cannot be a fixed reply`);
      bytes += 2 + parseAttribute(entry.name, reply.value).value.length;
      return { ...reply, attribute: entry.name };
    });
    if (bytes <= REPLIES_MAX_BYTES) return checked;
    throw new RadiusError(`all replies together have more than ${REPLIES_MAX_BYTES} bytes`);
  });
}

/** The same for names of attributes that pass from a target to clients. */
export function checkPassAttributes(
  names: readonly string[],
): { checked: string[] } | { flaw: string } {
  return orFlaw(() => [...new Set(names.map((name) => attributeNamed(name).name))]);
}

function orFlaw<T>(check: () => T): { checked: T } | { flaw: string } {
  try {
    return { checked: check() };
  } catch (error) {
    if (error instanceof RadiusError) return { flaw: error.message };
    throw error;
  }
}

function attributeNamed(name: string): NonNullable<ReturnType<typeof findAttributeByName>> {
  const entry = findAttributeByName(name);
  if (!entry) {
    throw new RadiusError(`no attribute is called ${name}: one of a vendor is written as 9/1`);
  }
  if (PER_HOP.has(entry.name)) throw new RadiusError(`${entry.name} is never passed on`);
  return entry;
}
