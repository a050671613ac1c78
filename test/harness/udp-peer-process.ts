import { createSocket } from 'node:dgram';

/** One UDP socket in a process of its own, which may be in a network namespace; a message in is a datagram out. */
type Out = { port: number; address: string; bytes: string };

const [address = '127.0.0.1'] = process.argv.slice(2);
const socket = createSocket('udp4');
socket.on('message', (bytes) => {
  process.send?.({ bytes: bytes.toString('base64') });
});
socket.bind(0, address, () => process.send?.({ port: socket.address().port }));
process.on('message', (out: Out) => {
  socket.send(Buffer.from(out.bytes, 'base64'), out.port, out.address);
});
process.on('disconnect', () => process.exit());
