/** Private enterprise number of Microsoft (RFC 2548). */
export const microsoft = 311;

export interface VendorAttribute {
  readonly vendor: number;
  readonly type: number;
  readonly value: Buffer;
}

/** Vendor and data of a Vendor-Specific attribute's value; null without at least a byte of data. */
export function readVendorValue(value: Buffer): { vendor: number; data: Buffer } | null {
  if (value.length < 5) return null;
  return { vendor: value.readUInt32BE(0), data: value.subarray(4) };
}

/**
 * The type-length-values in a vendor's data of the recommended form (RFC 2865 §5.26), or null
 * when they do not fill it exactly. A Vendor-Specific attribute among them is bytes like any.
 */
export function splitVendorValue(data: Buffer): { type: number; value: Buffer }[] | null {
  const parts: { type: number; value: Buffer }[] = [];
  for (let at = 0; at < data.length;) {
    const size = data[at + 1] ?? 0;
    if (size < 2 || at + size > data.length) return null;
    parts.push({ type: data[at] ?? 0, value: data.subarray(at + 2, at + size) });
    at += size;
  }
  return parts;
}

/** The value of a Vendor-Specific attribute that holds these; the caller minds the 253 bytes. */
export function makeVendorValue(
  vendor: number,
  parts: readonly { type: number; value: Buffer }[],
): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(vendor, 0);
  const pieces = parts.flatMap(({ type, value }) => [Buffer.from([type, value.length + 2]), value]);
  return Buffer.concat([head, ...pieces]);
}
