import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import {
  assertNotOlder,
  publicKeyOfSeed,
  readIdentity,
  readNodeCertificate,
  readPrivateJson,
  replaceCertificate,
  replaceMembers,
  verifyMembers,
  wrapFor,
  type Identity,
  type MemberList,
} from '@countersign/identity';
import { encodeKeyRing, type KeyRing } from '@countersign/keys';
import type {
  AgentConfig,
  Founding,
  MemberMessage,
  WrappedKeyMessage,
} from '@countersign/replication-agent';

import { identityFolderOf } from './log-access.ts';
import { NodeError } from './node-error.ts';
import { refuseHalfDone } from './prepare-membership.ts';
import { roleOf } from './role-of.ts';
import type { SupervisorEvents } from './supervisor-events.ts';

/** Beside the identity of the node that founded the cluster, until its content stands in the log. */
const FOUNDING_FILE = 'founding.json';

export const foundingFileOf = (identityFolder: string) => join(identityFolder, FOUNDING_FILE);

/** What the cluster key is wrapped for: another node, or another cluster, cannot take it for its own. */
export function clusterKeyContext(clusterId: string, nodeName: string): string {
  return `cluster-key/${clusterId}/${nodeName}`;
}

/** Who this node is: the only one who writes its files, and never what the cluster's CA has not signed. */
export class NodeIdentity {
  readonly #folder: string;
  readonly #events: Pick<
    SupervisorEvents,
    'membersChanged' | 'certificateRenewed' | 'refusedFromAgent'
  >;
  #identity: Identity;

  private constructor(folder: string, identity: Identity, events: SupervisorEvents) {
    this.#folder = folder;
    this.#identity = identity;
    this.#events = events;
  }

  /**
   * Null where there is none: the node is open on loopback. Throws NodeError for another node's, IdentityError for one
   * that cannot be used.
   */
  static open(
    { name, dataDirectory }: { name: string; dataDirectory: string },
    events: SupervisorEvents,
  ): NodeIdentity | null {
    const folder = identityFolderOf(dataDirectory);
    const identity = readIdentity(folder);
    if (!identity) refuseHalfDone(dataDirectory);
    if (!identity) return null;
    if (identity.nodeName !== name) {
      throw new NodeError(
        `${folder} is the identity of ${identity.nodeName}, and the configuration is of ${name}`,
      );
    }
    if (!isMember(identity)) throw removedError(identity);
    if (roleOf(identity) === 'witness') {
      throw new NodeError(
        `${folder} is the identity of a witness, which runs a log server only: start it with countersign witness`,
      );
    }
    return new NodeIdentity(folder, identity, events);
  }

  get current(): Identity {
    return this.#identity;
  }

  /** Why this node must not go on: the cluster has removed it; null while it belongs to it. */
  get removal(): NodeError | null {
    return isMember(this.#identity) ? null : removedError(this.#identity);
  }

  /** For the agent. */
  handOver(): NonNullable<AgentConfig['identity']> {
    const { caPem, certificatePem, keyPem, clusterId } = this.#identity;
    const file = foundingFileOf(this.#folder);
    const founding = existsSync(file) ? (readPrivateJson(file) as Founding) : null;
    return { caPem, certificatePem, keyPem, clusterId, founding };
  }

  /** Whoever watches the files takes up what is new in them. */
  handle(
    message: MemberMessage,
    options: { ring: KeyRing; answer(message: WrappedKeyMessage): void },
  ): void {
    try {
      if (message.type === 'wrap-cluster-key') {
        const wrapped = this.#wrap(message, options.ring);
        return options.answer({ type: 'wrapped-cluster-key', id: message.id, wrapped });
      }
      if (message.type === 'founded') {
        return rmSync(foundingFileOf(this.#folder), { force: true });
      }
      if (message.type === 'members') {
        if (!replaceMembers(this.#folder, message.list)) return;
        this.#events.membersChanged(message.list);
      } else {
        replaceCertificate(this.#folder, message.certificatePem);
        this.#events.certificateRenewed();
      }
      this.#identity = readIdentity(this.#folder)!;
    } catch (error) {
      this.#events.refusedFromAgent(message.type, error);
    }
  }

  /** Null: not for a node that the CA has let in. */
  #wrap(
    { certificatePem, list }: { certificatePem: string; list: MemberList },
    ring: KeyRing,
  ): string | null {
    const { caPem, clusterId } = this.#identity;
    const { members } = verifyMembers(list, { caPem, clusterId });
    assertNotOlder(list, this.#identity.members);
    const { name, serial } = readNodeCertificate(certificatePem, { caPem });
    const isNode = members.some(
      (member) =>
        member.role === 'node' && member.name === name && member.certificateSerial === serial,
    );
    if (!isNode) return null;
    const text = Buffer.from(encodeKeyRing(ring), 'utf8');
    return wrapFor(certificatePem, text, clusterKeyContext(clusterId, name)).toString('base64');
  }
}

/** By name and key: another machine may have joined under the name since. */
function isMember({ nodeName, supervisorSeed, members }: Identity): boolean {
  const own = publicKeyOfSeed(supervisorSeed);
  return members.members.some((one) => one.name === nodeName && one.supervisorKey === own);
}

function removedError({ nodeName, clusterId }: Identity): NodeError {
  return new NodeError(
    `${nodeName} was removed from the cluster ${clusterId} and verifies nobody any more: ` +
      'to bring the machine back, join it anew with an empty data directory',
  );
}

export function isMemberMessage(message: { type: string }): message is MemberMessage {
  return ['members', 'certificate', 'founded', 'wrap-cluster-key'].includes(message.type);
}
