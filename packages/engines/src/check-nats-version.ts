import { EngineError } from './engine-error.ts';

/** Older servers let more than one of several racing compare-and-set writes win. */
export const minimumNatsVersion = '2.10.23';

/**
 * The version in what `nats-server --version` printed. Throws EngineError, naming where the server
 * was found, when it is older than the minimum or cannot be read.
 */
export function checkNatsVersion(printed: string, where: string): string {
  const match = /(\d+)\.(\d+)\.(\d+)(-[\w.]+)?/.exec(printed);
  if (!match) {
    throw new EngineError(
      `${where} did not tell its version: nats-server ${minimumNatsVersion} or newer is needed`,
    );
  }
  const version = match[0];
  if (isOlder(match)) {
    throw new EngineError(
      `${where} is nats-server ${version}: ${minimumNatsVersion} or newer is needed`,
    );
  }
  return version;
}

function isOlder(match: RegExpExecArray): boolean {
  const minimum = minimumNatsVersion.split('.').map(Number);
  for (const [index, wanted] of minimum.entries()) {
    const found = Number(match[index + 1]);
    if (found !== wanted) return found < wanted;
  }
  // 2.10.23-RC.1 comes before 2.10.23.
  return match[4] !== undefined;
}
