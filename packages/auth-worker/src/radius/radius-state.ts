/**
 * What State carries: the id of a question, then the question as it was sealed. As text, though any bytes may stand
 * there: ocserv 1.1.6 sends back what stands before the first zero byte. 207 characters of the 253 that fit.
 */
const ID_BYTES = 16;

export function encodeState({ id, sealed }: { id: string; sealed: string }): Buffer {
  const idBytes = Buffer.from(id.replaceAll('-', ''), 'hex');
  const bytes = Buffer.concat([idBytes, Buffer.from(sealed, 'base64url')]);
  return Buffer.from(bytes.toString('base64url'), 'latin1');
}

/** Whatever the bytes are: those that are no question do not open. */
export function decodeState(state: Buffer): { id: string; sealed: string } {
  const text = state.toString('latin1');
  const bytes = Buffer.from(text, 'base64url');
  // Node skips what is no base64url; then many States would be one.
  const isWhole = bytes.toString('base64url') === text;
  const hex = bytes
    .subarray(0, isWhole ? ID_BYTES : 0)
    .toString('hex')
    .padEnd(ID_BYTES * 2, '0');
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  return { id, sealed: isWhole ? bytes.subarray(ID_BYTES).toString('base64url') : '' };
}
