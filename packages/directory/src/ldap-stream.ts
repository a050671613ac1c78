import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { LdapFormatError, readMessage, readMessageSize } from './ldap-message.ts';
import type { LdapMessage } from './ldap-message.ts';

/** Of all messages that answer one request. */
export const ANSWER_BYTES_MAX = 128 * 1024 * 1024;

/**
 * Stands between a socket and the LDAP library: whole, checked messages come through, one at a
 * time, in bounded amounts; anything else ends the connection. Only for one request at a time.
 */
export class LdapStream extends Duplex {
  // The library takes this for a socket that is connected.
  readonly connecting = false;
  readonly readyState = 'open';
  /** The last message that ended a request. */
  ending: LdapMessage | undefined;
  /** Why it ended, where it is known. */
  problem: string | undefined;
  /** Whether anything came since the last request. */
  hasAnswered = false;
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #heldBytes = 0;
  #messageBytes: number | null = null;
  #answerBytes = 0;

  constructor(socket: Socket) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => {
      this.problem ??= `the connection broke (${error.message})`;
      this.destroy();
    });
    socket.on('close', () => {
      this.problem ??= 'the connection was closed';
      this.destroy();
    });
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#answerBytes = 0;
    this.ending = undefined;
    this.hasAnswered = false;
    this.#socket.write(chunk, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    this.#chunks = [];
    done(error);
  }

  #take(chunk: Buffer): void {
    if (this.destroyed) return;
    this.hasAnswered = true;
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
    this.#answerBytes += chunk.length;
    try {
      if (this.#answerBytes > ANSWER_BYTES_MAX) {
        throw new LdapFormatError(`an answer has more than ${ANSWER_BYTES_MAX} bytes`);
      }
      this.#giveMessages();
    } catch (error) {
      this.problem = error instanceof LdapFormatError ? error.message : String(error);
      this.destroy();
    }
  }

  #giveMessages(): void {
    while (this.#heldBytes > 0) {
      if (this.#messageBytes === null) {
        this.#messageBytes = readMessageSize(this.#held());
        if (this.#messageBytes === null) return;
      }
      if (this.#heldBytes < this.#messageBytes) return;
      const held = this.#held();
      const bytes = held.subarray(0, this.#messageBytes);
      this.#chunks = held.length > bytes.length ? [held.subarray(bytes.length)] : [];
      this.#heldBytes -= bytes.length;
      this.#messageBytes = null;
      const message = readMessage(bytes);
      // RFC 4511 4.4.1: the server says that it goes away.
      if (message.id === 0) throw new LdapFormatError('the server ended the connection');
      if (message.resultCode !== undefined) this.ending = message;
      this.push(bytes);
    }
  }

  #held(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }
}
