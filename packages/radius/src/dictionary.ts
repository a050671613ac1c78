import { microsoft } from './vendor-attributes.ts';

/** How the bytes of an attribute are meant; `tagged`: a tag in one byte and a number in three (RFC 2868). */
export type AttributeKind = 'text' | 'octets' | 'integer' | 'address' | 'tagged';

export interface NamedAttribute {
  readonly name: string;
  readonly type: number;
  /** Absent: a standard attribute. */
  readonly vendor?: number;
  readonly kind: AttributeKind;
  /** Never shown to anyone. */
  readonly isSecret?: true;
}

const standard = [
  ['User-Name', 1, 'text'],
  ['User-Password', 2, 'octets', 'secret'],
  ['CHAP-Password', 3, 'octets', 'secret'],
  ['NAS-IP-Address', 4, 'address'],
  ['NAS-Port', 5, 'integer'],
  ['Service-Type', 6, 'integer'],
  ['Framed-Protocol', 7, 'integer'],
  ['Framed-IP-Address', 8, 'address'],
  ['Framed-IP-Netmask', 9, 'address'],
  ['Framed-Routing', 10, 'integer'],
  ['Filter-Id', 11, 'text'],
  ['Framed-MTU', 12, 'integer'],
  ['Framed-Compression', 13, 'integer'],
  ['Login-IP-Host', 14, 'address'],
  ['Login-Service', 15, 'integer'],
  ['Login-TCP-Port', 16, 'integer'],
  ['Reply-Message', 18, 'text'],
  ['Callback-Number', 19, 'text'],
  ['Callback-Id', 20, 'text'],
  ['Framed-Route', 22, 'text'],
  ['State', 24, 'octets', 'secret'],
  ['Class', 25, 'octets'],
  ['Vendor-Specific', 26, 'octets'],
  ['Session-Timeout', 27, 'integer'],
  ['Idle-Timeout', 28, 'integer'],
  ['Termination-Action', 29, 'integer'],
  ['Called-Station-Id', 30, 'text'],
  ['Calling-Station-Id', 31, 'text'],
  ['NAS-Identifier', 32, 'text'],
  ['Proxy-State', 33, 'octets'],
  ['Acct-Status-Type', 40, 'integer'],
  ['Acct-Delay-Time', 41, 'integer'],
  ['Acct-Input-Octets', 42, 'integer'],
  ['Acct-Output-Octets', 43, 'integer'],
  ['Acct-Session-Id', 44, 'text'],
  ['Acct-Authentic', 45, 'integer'],
  ['Acct-Session-Time', 46, 'integer'],
  ['Acct-Input-Packets', 47, 'integer'],
  ['Acct-Output-Packets', 48, 'integer'],
  ['Acct-Terminate-Cause', 49, 'integer'],
  ['Acct-Multi-Session-Id', 50, 'text'],
  ['Acct-Link-Count', 51, 'integer'],
  ['Acct-Input-Gigawords', 52, 'integer'],
  ['Acct-Output-Gigawords', 53, 'integer'],
  ['Event-Timestamp', 55, 'integer'],
  ['CHAP-Challenge', 60, 'octets', 'secret'],
  ['NAS-Port-Type', 61, 'integer'],
  ['Port-Limit', 62, 'integer'],
  // Texts of RFC 2868 may begin with a tag, so they are bytes here.
  ['Tunnel-Type', 64, 'tagged'],
  ['Tunnel-Medium-Type', 65, 'tagged'],
  ['Tunnel-Client-Endpoint', 66, 'octets'],
  ['Tunnel-Server-Endpoint', 67, 'octets'],
  ['Tunnel-Password', 69, 'octets', 'secret'],
  ['Connect-Info', 77, 'text'],
  ['EAP-Message', 79, 'octets', 'secret'],
  ['Message-Authenticator', 80, 'octets'],
  ['Tunnel-Private-Group-Id', 81, 'octets'],
  ['Tunnel-Assignment-Id', 82, 'octets'],
  ['Tunnel-Preference', 83, 'tagged'],
  ['Acct-Interim-Interval', 85, 'integer'],
  ['NAS-Port-Id', 87, 'text'],
  ['Framed-Pool', 88, 'text'],
  ['Chargeable-User-Identity', 89, 'octets'],
  ['NAS-IPv6-Address', 95, 'address'],
  ['Framed-Interface-Id', 96, 'octets'],
  ['Framed-IPv6-Prefix', 97, 'octets'],
  ['Login-IPv6-Host', 98, 'address'],
  ['Framed-IPv6-Route', 99, 'text'],
  ['Framed-IPv6-Pool', 100, 'text'],
  ['Error-Cause', 101, 'integer'],
  ['Framed-IPv6-Address', 168, 'address'],
] as const;

/** RFC 2548. */
const microsofts = [
  ['MS-CHAP-Response', 1, 'octets', 'secret'],
  ['MS-CHAP-Error', 2, 'octets'],
  ['MS-CHAP-CPW-1', 3, 'octets', 'secret'],
  ['MS-CHAP-CPW-2', 4, 'octets', 'secret'],
  ['MS-CHAP-NT-Enc-PW', 6, 'octets', 'secret'],
  ['MS-MPPE-Encryption-Policy', 7, 'integer'],
  ['MS-MPPE-Encryption-Types', 8, 'integer'],
  ['MS-CHAP-Domain', 10, 'octets'],
  ['MS-CHAP-Challenge', 11, 'octets', 'secret'],
  ['MS-CHAP-MPPE-Keys', 12, 'octets', 'secret'],
  ['MS-MPPE-Send-Key', 16, 'octets', 'secret'],
  ['MS-MPPE-Recv-Key', 17, 'octets', 'secret'],
  ['MS-CHAP2-Response', 25, 'octets', 'secret'],
  ['MS-CHAP2-Success', 26, 'octets', 'secret'],
  ['MS-CHAP2-CPW', 27, 'octets', 'secret'],
] as const;

type Row = readonly [name: string, type: number, kind: AttributeKind, secret?: 'secret'];

const makeEntry = ([name, type, kind, secret]: Row, vendor?: number): NamedAttribute => ({
  name,
  type,
  kind,
  ...(vendor !== undefined && { vendor }),
  ...(secret && { isSecret: true as const }),
});

export type AttributeName = (typeof standard | typeof microsofts)[number][0];

/** Every attribute that has a name here. */
export const dictionary: readonly NamedAttribute[] = [
  ...standard.map((row) => makeEntry(row)),
  ...microsofts.map((row) => makeEntry(row, microsoft)),
];

const byName = new Map(dictionary.map((entry) => [entry.name.toLowerCase(), entry]));
const byType = new Map(dictionary.map((entry) => [keyOf(entry.type, entry.vendor), entry]));

/** The attribute of this name, in any case of letters; `9/1` is a vendor's by the numbers of both. */
export function findAttributeByName(name: string): NamedAttribute | undefined {
  const [, vendor, type] = /^(\d{1,8})\/(\d{1,3})$/.exec(name)?.map(Number) ?? [];
  if (vendor === undefined || type === undefined) return byName.get(name.toLowerCase());
  if (vendor < 1 || vendor > 0xff_ff_ff || type < 1 || type > 255) return undefined;
  const known = findAttributeByType(type, vendor);
  return known ?? { name: `${vendor}/${type}`, type, vendor, kind: 'octets' };
}

/** The attribute of this number; `vendor` for one of a vendor. */
export function findAttributeByType(type: number, vendor?: number): NamedAttribute | undefined {
  return byType.get(keyOf(type, vendor));
}

/** As above for a name written in the code, which is always there. */
export function attributeOf(name: AttributeName): NamedAttribute {
  return byName.get(name.toLowerCase()) as NamedAttribute;
}

function keyOf(type: number, vendor = 0): number {
  return vendor * 256 + type;
}
