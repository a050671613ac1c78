import { makeAttribute, packetCodes, type Attribute } from '@countersign/radius';
import {
  checkReply,
  openUdpPeer,
  signRequest,
  signTestRequest,
  type UdpPeer,
} from '@countersign/radius/testing';
import { waitFor } from '@countersign/testing';
import type { Machine } from './machine.ts';
import { openUdpPeerIn } from './udp-peer-in.ts';

export type DeviceAnswer = { kind: 'accept' | 'reject' | 'challenge' };

const KINDS = {
  [packetCodes.accessAccept]: 'accept',
  [packetCodes.accessReject]: 'reject',
  [packetCodes.accessChallenge]: 'challenge',
} as const;

/** A device with one socket: what it sends again has the same bytes and comes from the same port. */
export class RadiusDevice implements AsyncDisposable {
  readonly #peer: UdpPeer;
  readonly #secret: Buffer;
  #identifier = 0;

  /** `to`: where it sends, `from`: its own address, in a machine if one is given. */
  static async open(options: {
    to: { address: string; port: number };
    from: string;
    secret: string;
    machine?: Machine;
  }): Promise<RadiusDevice> {
    const { to, from, machine } = options;
    const way = { ...to, from };
    const peer = machine ? await openUdpPeerIn(machine, way) : await openUdpPeer(way);
    return new RadiusDevice(peer, Buffer.from(options.secret));
  }

  private constructor(peer: UdpPeer, secret: Buffer) {
    this.#peer = peer;
    this.#secret = secret;
  }

  /** A signed Access-Request (PAP) of this device's, with attributes of its own behind. */
  signIn(username: string, typed: string, more: Attribute[] = []): Buffer {
    const attributes = [makeAttribute('User-Name', username), ...more];
    const [identifier, secret] = [this.#nextIdentifier(), this.#secret];
    return signTestRequest({ identifier, attributes, password: typed, secret });
  }

  /** A Status-Server. */
  status(): Buffer {
    const request = { code: packetCodes.statusServer, identifier: this.#nextIdentifier() };
    return signRequest({ ...request, attributes: [] }, this.#secret);
  }

  send(packet: Buffer): void {
    this.#peer.send(packet);
  }

  /** All that was answered to a request so far and may be believed. */
  answersTo(request: Buffer): DeviceAnswer[] {
    const expected = {
      requestCode: request[0]!,
      requestAuthenticator: request.subarray(4, 20),
      secret: this.#secret,
      messageAuthenticator: 'require' as const,
    };
    return this.#peer.received.flatMap((datagram) => {
      const reply = checkReply(datagram, expected);
      if ('refusal' in reply || reply.packet.identifier !== request[1]) return [];
      return [{ kind: KINDS[reply.packet.code as keyof typeof KINDS] }];
    });
  }

  async untilAnswered(request: Buffer, count = 1): Promise<DeviceAnswer[]> {
    return waitFor(
      `${count} answers to a request`,
      () => {
        const answers = this.answersTo(request);
        return answers.length >= count ? answers : null;
      },
      { timeoutMs: 15_000 },
    );
  }

  /** Sends it every second until it is answered, as devices do. */
  async ask(request: Buffer): Promise<DeviceAnswer> {
    return (await this.askUntil(request, 1))[0]!;
  }

  /** The same, until it has been answered that often. */
  async askUntil(request: Buffer, count: number): Promise<DeviceAnswer[]> {
    let sentAt = -Infinity;
    return waitFor(
      `${count} answers to a request that is sent again`,
      () => {
        const answers = this.answersTo(request);
        if (answers.length >= count) return answers;
        if (performance.now() - sentAt >= 1000) {
          sentAt = performance.now();
          this.send(request);
        }
        return null;
      },
      { timeoutMs: 15_000 },
    );
  }

  #nextIdentifier(): number {
    this.#identifier = (this.#identifier + 1) % 256;
    return this.#identifier;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#peer[Symbol.asyncDispose]();
  }
}
