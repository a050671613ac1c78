import { findNatsServer } from '@countersign/engines';

/** The nats-server to run. Throws EngineError where there is none, or only one that is too old. */
export async function findNats(): Promise<string> {
  const toolBinary = new URL('../../../.tools/nats-server/nats-server', import.meta.url).pathname;
  const { binary } = await findNatsServer({ toolBinary: decodeURIComponent(toolBinary) });
  return binary;
}
