import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { spawnSupervised } from '@countersign/engines';

import { takeFreePorts } from './free-ports.ts';
import { isListening } from './is-listening.ts';
import { hasOpenssl, makeTestCertificate, runs } from './make-test-certificate.ts';
import { waitFor } from './wait-for.ts';

export interface ReceivedMail {
  from: string;
  to: string[];
  /** The mail as it came, headers and all. */
  content: string;
  isEncrypted: boolean;
  isAuthenticated: boolean;
}

export interface TestSmtp {
  port: number;
  /** PEM of the authority that signed the server's certificate for 127.0.0.1 and localhost. */
  authority: string;
  received(): Promise<ReceivedMail[]>;
  stop(): Promise<void>;
}

const script = fileURLToPath(new URL('smtp-server.py', import.meta.url));

// Another Python may come first on PATH; Debian's packages belong to Debian's own.
const python = ['/usr/bin/python3', 'python3'].find((path) =>
  runs(path, ['-c', 'import aiosmtpd']),
);

/** Whether Debian's package `python3-aiosmtpd`, or its like, and openssl are installed. */
export const hasSmtpServer = python !== undefined && hasOpenssl;

/**
 * A real SMTP server (aiosmtpd) on loopback. It refuses `refused@…` for good and `later@…` for now, takes
 * the mail to `spam@…` and then refuses it, quoting it; everything else it keeps.
 */
export async function startTestSmtp(options: {
  tls: 'none' | 'starttls' | 'implicit';
  user?: string;
  password?: string;
}): Promise<TestSmtp> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-smtp-'));
  const [port] = (await takeFreePorts(1)) as [number];
  const messages = join(folder, 'messages.jsonl');
  const { authority, certificateFile, keyFile } = await makeTestCertificate(folder);
  const settings = { ...options, port, messages, certificate: certificateFile, key: keyFile };
  const server = await spawnSupervised({
    command: python ?? 'python3',
    args: [script, JSON.stringify(settings)],
    logFile: join(folder, 'smtp.log'),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 2_000,
  });
  await waitFor('the SMTP server', () => server.isRunning() && isListening(port), {
    timeoutMs: 15_000,
  });
  return {
    port,
    authority,
    received: async () => {
      const lines = await readFile(messages, 'utf8').catch(() => '');
      return lines
        .split('\n')
        .filter(Boolean)
        .map((line) => {
          const mail = JSON.parse(line) as ReceivedMail;
          return { ...mail, content: Buffer.from(mail.content, 'base64').toString('utf8') };
        });
    },
    stop: async () => {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
