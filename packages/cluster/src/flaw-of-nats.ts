import type { NatsConnection } from '@nats-io/transport-node';

/** Older servers let more than one of several racing compare-and-set writes win. */
const OLDEST = [2, 10, 23] as const;

/** Why a server that the operator runs cannot keep the log, by what it says of itself; null: it can. */
export function flawOfNats(connection: Pick<NatsConnection, 'info' | 'getServer'>): string | null {
  const { version = 'of no version', jetstream = false } = connection.info ?? {};
  const where = `nats.urls: ${connection.getServer()}`;
  if (isOlder(version)) {
    return `${where} is nats-server ${version}: ${OLDEST.join('.')} or newer is needed`;
  }
  return jetstream ? null : `${where} runs without JetStream`;
}

function isOlder(version: string): boolean {
  const match = /^(\d+)\.(\d+)\.(\d+)(-.+)?$/.exec(version);
  if (!match) return true;
  for (const [index, wanted] of OLDEST.entries()) {
    const found = Number(match[index + 1]);
    if (found !== wanted) return found < wanted;
  }
  // 2.10.23-RC.1 comes before 2.10.23.
  return match[4] !== undefined;
}
