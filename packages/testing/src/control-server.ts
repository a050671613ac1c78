import type { SupervisedProcess } from '@countersign/engines';

/** What tests do to a directory server, whichever process it is just now. */
export interface ServerControls {
  pid(): number;
  /** It is there and does not answer: connections are taken by the kernel only. */
  pause(): void;
  resume(): void;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Ends it if it runs, and starts it on the same files, address and ports. */
  restart(): Promise<void>;
}

export function controlServer(
  server: () => SupervisedProcess | undefined,
  start: () => Promise<void>,
): ServerControls {
  return {
    pid: () => server()!.pid,
    pause: () => void server()?.child.kill('SIGSTOP'),
    resume: () => void server()?.child.kill('SIGCONT'),
    kill: async () => {
      server()?.child.kill('SIGKILL');
      await server()?.exited;
    },
    restart: async () => {
      await server()?.stop();
      await start();
    },
  };
}
