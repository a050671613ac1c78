/** Attributes of an entry; Buffers and what LDIF cannot hold as text are written in base64. */
export type LdifAttributes = Record<string, string | Buffer | readonly string[]>;

/** One entry to be added (RFC 2849), with `changetype: add` and the empty line behind it. */
export function addEntry(dn: string, attributes: LdifAttributes): string {
  return writeEntry(dn, [['changetype', 'add'], ...flatten(attributes)]);
}

/** One entry of contents, as slapadd(8) reads them. */
export function contentEntry(dn: string, attributes: LdifAttributes): string {
  return writeEntry(dn, flatten(attributes));
}

/** A change that replaces attributes; an empty list removes one. */
export function replaceAttributes(dn: string, attributes: LdifAttributes): string {
  const changes = Object.entries(attributes).map(([name, value]) =>
    [`replace: ${name}`, ...flatten({ [name]: value }).map(writeLine), '-\n'].join('\n'),
  );
  return `${writeLine(['dn', dn])}\nchangetype: modify\n${changes.join('')}\n`;
}

/** A change that adds values to an attribute. */
export function addValues(dn: string, name: string, values: readonly string[]): string {
  const lines = values.map((value) => writeLine([name, value]));
  return `${writeLine(['dn', dn])}\nchangetype: modify\nadd: ${name}\n${lines.join('\n')}\n-\n\n`;
}

export function deleteEntry(dn: string): string {
  return `${writeLine(['dn', dn])}\nchangetype: delete\n\n`;
}

/** A value as it has to be written in a DN (RFC 4514 section 2.4). */
export function escapeDnValue(value: string): string {
  return value
    .replace(/[\\,+"<>;=#]/g, (character) => `\\${character}`)
    .replace(/^ | $/g, '\\ ')
    .replace(/\p{Cc}/gu, (character) =>
      [...Buffer.from(character)].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join(''),
    );
}

type Line = [name: string, value: string | Buffer];

function flatten(attributes: LdifAttributes): Line[] {
  return Object.entries(attributes).flatMap(([name, value]): Line[] =>
    typeof value === 'string' || Buffer.isBuffer(value)
      ? [[name, value]]
      : value.map((one): Line => [name, one]),
  );
}

function writeEntry(dn: string, lines: readonly Line[]): string {
  return `${[['dn', dn] as Line, ...lines].map(writeLine).join('\n')}\n\n`;
}

function writeLine([name, value]: Line): string {
  const isSafe = typeof value === 'string' && /^(?![ :<])[\x20-\x7e]*(?<! )$/.test(value);
  return isSafe ? `${name}: ${value}` : `${name}:: ${Buffer.from(value).toString('base64')}`;
}
