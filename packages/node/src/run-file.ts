import { readFileSync, rmSync } from 'node:fs';
import { writePrivateFile } from '@countersign/private-files';

/** The processes of a node as they are now; null = not running, or not on this node. */
export interface NodePids {
  supervisorPid: number;
  agentPid: number | null;
  workerPids: number[];
  natsPid: number | null;
  postgresPid: number | null;
}

const retryMs = 1_000;

/** `run.json` in the data directory: there as long as the supervisor runs, or if it was killed. */
export class RunFile {
  readonly #path: string;
  #retry: NodeJS.Timeout | undefined;
  #pids: NodePids = {
    supervisorPid: process.pid,
    agentPid: null,
    workerPids: [],
    natsPid: null,
    postgresPid: null,
  };

  constructor(path: string) {
    this.#path = path;
    this.update({});
  }

  /** A full disk is no reason to end: what could not be written is tried again every second. */
  update(changed: Partial<NodePids>): void {
    this.#pids = { ...this.#pids, ...changed };
    clearTimeout(this.#retry);
    try {
      // After a power cut none of these run.
      writePrivateFile(this.#path, `${JSON.stringify(this.#pids)}\n`, { isDurable: false });
    } catch {
      this.#retry = setTimeout(() => this.update({}), retryMs).unref();
    }
  }

  remove(): void {
    clearTimeout(this.#retry);
    rmSync(this.#path, { force: true });
  }
}

/** Undefined when there is none. */
export function readRunFile(path: string): NodePids | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as NodePids;
  } catch {
    return undefined;
  }
}
