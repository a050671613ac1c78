/** What State carries: the id of a question, then the question as it was sealed. 155 bytes of the 253 that fit. */
const ID_BYTES = 16;

export function encodeState({ id, sealed }: { id: string; sealed: string }): Buffer {
  const idBytes = Buffer.from(id.replaceAll('-', ''), 'hex');
  return Buffer.concat([idBytes, Buffer.from(sealed, 'base64url')]);
}

/** Whatever the bytes are: those that are no question do not open. */
export function decodeState(state: Buffer): { id: string; sealed: string } {
  const hex = state
    .subarray(0, ID_BYTES)
    .toString('hex')
    .padEnd(ID_BYTES * 2, '0');
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  return { id, sealed: state.subarray(ID_BYTES).toString('base64url') };
}
