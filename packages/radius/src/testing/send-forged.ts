import { spawnSync } from 'node:child_process';

import { runTool } from './run-tool.ts';

const openRaw = 'import socket; raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 17)';

/** Whether this process may make up the header of a datagram: with python3, as root. */
export const canForge = spawnSync('python3', ['-c', openRaw]).status === 0;

/** A datagram from a port that no socket has, such as 0, to one on loopback; no checksum. */
export async function sendForged(
  bytes: Buffer,
  { fromPort, port }: { fromPort: number; port: number },
): Promise<void> {
  const header = Buffer.alloc(8);
  for (const [index, field] of [fromPort, port, 8 + bytes.length, 0].entries()) {
    header.writeUInt16BE(field, 2 * index);
  }
  const datagram = Buffer.concat([header, bytes]).toString('hex');
  const send = `raw.sendto(bytes.fromhex('${datagram}'), ('127.0.0.1', 0))`;
  const output = await runTool({ command: 'python3', args: ['-c', `${openRaw}; ${send}`] });
  if (output !== '') throw new Error(output);
}
