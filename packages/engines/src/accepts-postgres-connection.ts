import { connect } from 'node:net';
import { join } from 'node:path';

/**
 * Whether a PostgreSQL lets us in through its socket and is ready for a query: a start-up message
 * out, messages in up to ReadyForQuery (protocol 3.0, PostgreSQL manual 54.2.1).
 * A server that is still recovering answers with an error, which is a no.
 */
export function acceptsPostgresConnection(connection: {
  host: string;
  port: number;
  user: string;
  database: string;
}): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(join(connection.host, `.s.PGSQL.${connection.port}`));
    let received = Buffer.alloc(0);
    const finish = (accepted: boolean) => {
      // Terminate, so that the server's log shows no broken connection.
      if (accepted) socket.end(Buffer.from([0x58, 0, 0, 0, 4]));
      else socket.destroy();
      resolve(accepted);
    };
    socket.setTimeout(1_000, () => finish(false));
    socket.on('error', () => finish(false));
    socket.on('close', () => finish(false));
    socket.on('connect', () => socket.write(startupMessage(connection)));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      const types = messageTypes(received);
      if (types.includes('Z')) finish(true);
      else if (types.includes('E') || received.length > 65_536) finish(false);
    });
  });
}

function startupMessage({ user, database }: { user: string; database: string }): Buffer {
  const fields = ['user', user, 'database', database, ''].map((text) => `${text}\0`).join('');
  const message = Buffer.alloc(8 + Buffer.byteLength(fields));
  message.writeInt32BE(message.length, 0);
  message.writeInt32BE(0x0003_0000, 4);
  message.write(fields, 8);
  return message;
}

/** The type letters of the whole messages in what was received. */
function messageTypes(received: Buffer): string[] {
  const types: string[] = [];
  let offset = 0;
  while (offset + 5 <= received.length) {
    const end = offset + 1 + received.readInt32BE(offset + 1);
    if (end > received.length || end <= offset) break;
    types.push(String.fromCharCode(received.readUInt8(offset)));
    offset = end;
  }
  return types;
}
