import { escapeUntrusted } from '@countersign/verification';
import { CliError } from '../cli-error.ts';
import { readPassword } from '../directory/fields.ts';
import { printWrite } from '../print-write.ts';
import type { Session } from '../session.ts';

const PATH = '/api/v1/radius';

export function radiusPath(kind: 'clients' | 'targets', name?: string): string {
  return name === undefined ? `${PATH}/${kind}` : `${PATH}/${kind}/${encodeURIComponent(name)}`;
}

/** The shared secret from the first line of a file, of stdin where that is -, or asked for. */
export async function readSharedSecret(file: string | undefined, name: string): Promise<string> {
  return readPassword(file, `secret shared with ${name}`);
}

/** Adds or changes, tells how it went, and on stderr what is not advised. */
export async function writeRadius(
  session: Session,
  request: { method: 'POST' | 'PATCH'; path: string; body: object },
  done: string,
): Promise<void> {
  const reply = await send(session, request);
  printWrite(session, reply, done);
  for (const warning of (reply as { warnings: string[] }).warnings) {
    process.stderr.write(`countersign: ${escapeUntrusted(warning, 300)}\n`);
  }
}

async function send(
  session: Session,
  request: { method: 'POST' | 'PATCH'; path: string; body: object },
): Promise<unknown> {
  try {
    return await session.call(request);
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== 'secret_required') throw error;
    throw new CliError(`${error.message}: with --secret-file FILE, or - for stdin`);
  }
}
