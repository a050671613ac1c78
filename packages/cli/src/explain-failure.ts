import { isIP } from 'node:net';
import { connect } from 'node:tls';
import { CliError } from './cli-error.ts';
import type { Server } from './find-servers.ts';

/** What happened before a connection stood. */
const NOT_SENT: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there',
  ENOENT: 'no such socket',
  EACCES: 'no permission',
  ENOTFOUND: 'ENOTFOUND',
  EAI_AGAIN: 'EAI_AGAIN',
  EHOSTUNREACH: 'EHOSTUNREACH',
  ENETUNREACH: 'ENETUNREACH',
  UND_ERR_CONNECT_TIMEOUT: 'silent',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet: is a clock wrong?',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it speaks no TLS there: http://, or another port?',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it speaks no TLS there: http://, or another port?',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'it takes no version of TLS that is spoken here',
  'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE': 'it takes no cipher that is spoken here',
};
const UNKNOWN_AUTHORITY = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
]);
/** What a TLS server does when it hears plain HTTP. */
const HANGS_UP = /^(UND_ERR_SOCKET|ECONNRESET|EPIPE|HPE_.*)$/;
const PROBE_MS = 1_000;

/** Why a call to a server came to nothing, and whether it may have got the request all the same. */
export async function explainFailure(
  server: Server,
  error: unknown,
): Promise<{ reason: string; wasSent: boolean }> {
  if (error instanceof CliError) return { reason: error.message, wasSent: true };
  const code = codeOf(error);
  const reason = NOT_SENT[code] ?? explainCertificate(code, error);
  if (reason) return { reason, wasSent: false };
  if ('url' in server && HANGS_UP.test(code) && (await speaksTls(server.url))) {
    const url = server.url.replace(/^http:/, 'https:');
    return { reason: `it speaks HTTPS: give ${url}`, wasSent: false };
  }
  if (code.endsWith('TIMEOUT')) return { reason: 'silent', wasSent: true };
  return { reason: code === '' ? String(error) : code, wasSent: true };
}

function explainCertificate(code: string, error: unknown): string | null {
  if (UNKNOWN_AUTHORITY.has(code)) {
    return "its certificate is by nobody trusted here: give the cluster's CA with --cluster-ca FILE, which is identity/ca.pem of a node";
  }
  if (code !== 'ERR_TLS_CERT_ALTNAME_INVALID') return null;
  const { cert } = error as { cert?: { subjectaltname?: string } };
  return `its certificate is for other names: ${cert?.subjectaltname ?? 'none'}`;
}

/** Of a server that was asked in plain HTTP. */
function speaksTls(url: string): Promise<boolean> {
  const { protocol, hostname, port } = new URL(url);
  if (protocol !== 'http:') return Promise.resolve(false);
  const host = hostname.replace(/^\[|\]$/g, '');
  return new Promise((resolve) => {
    const servername = isIP(host) ? '' : host;
    // Nothing is said to it but that.
    const socket = connect({
      host,
      port: Number(port || 80),
      servername,
      rejectUnauthorized: false,
    });
    const finish = (speaks: boolean) => {
      socket.destroy();
      resolve(speaks);
    };
    socket.once('secureConnect', () => finish(true));
    socket.once('error', () => finish(false));
    socket.setTimeout(PROBE_MS, () => finish(false));
  });
}

// Where a name has several addresses, Node collects their errors in one.
function codeOf(error: unknown): string {
  const { code, errors } = error as { code?: string; errors?: { code?: string }[] };
  return code ?? errors?.[0]?.code ?? '';
}
