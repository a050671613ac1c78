import { connect } from 'node:tls';

/** SHA-256 (lower case hex) of the certificate that a TLS server shows, null without one in 1 s. */
export function certificateAt(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    // It is compared, not trusted.
    const socket = connect({ host, port, rejectUnauthorized: false });
    const finish = (answer: string | null) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('secureConnect', () => {
      finish(socket.getPeerCertificate().fingerprint256?.replaceAll(':', '').toLowerCase() ?? null);
    });
    socket.once('error', () => finish(null));
    socket.setTimeout(1_000, () => finish(null));
  });
}
