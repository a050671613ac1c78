import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { waitFor } from '@countersign/testing';

/** A program as somebody at its terminal has it: what it says, and what is typed. */
export class Conversation {
  readonly program: ChildProcessWithoutNullStreams;
  said = '';
  #heard = 0;
  #hasEnded = false;

  constructor(program: ChildProcessWithoutNullStreams) {
    this.program = program;
    for (const output of [program.stdout, program.stderr]) {
      output.setEncoding('utf8').on('data', (text: string) => (this.said += text));
    }
    // It may have ended by the time that something is typed.
    program.stdin.on('error', () => null);
    program.once('close', () => (this.#hasEnded = true));
  }

  type(line: string): void {
    this.program.stdin.write(`${line}\n`);
  }

  /** Waits for this text behind what was waited for before; throws with all that was said instead. */
  async untilSaid(text: string, timeoutMs = 10_000): Promise<void> {
    const isSaid = () => this.said.includes(text, this.#heard);
    await this.#wait(`“${text}”`, () => isSaid() || this.#hasEnded, timeoutMs);
    if (!isSaid()) throw new Error(`it ended without “${text}”:\n${this.said}`);
    this.#heard = this.said.indexOf(text, this.#heard) + text.length;
  }

  /** Waits until it has ended, and gives its exit code; null where a signal ended it. */
  async untilEnded(timeoutMs = 10_000): Promise<number | null> {
    await this.#wait('its end', () => this.#hasEnded, timeoutMs);
    return this.program.exitCode;
  }

  async #wait(what: string, condition: () => boolean, timeoutMs: number): Promise<void> {
    try {
      await waitFor(what, condition, { timeoutMs });
    } catch (error) {
      throw new Error(`${(error as Error).message}; it said:\n${this.said}`, { cause: error });
    }
  }
}
