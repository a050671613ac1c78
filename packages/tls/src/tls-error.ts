/** One line about a certificate or key that cannot be used. */
export class TlsError extends Error {
  override readonly name = 'TlsError';
}
