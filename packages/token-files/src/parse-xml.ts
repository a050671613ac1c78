import { EntityDecoder } from '@nodable/entities';
import { XMLParser } from 'fast-xml-parser';
import { TokenFileError } from './imported-token.ts';

/** Elements by name, in lists; its text under `#text`, its attributes with an `@`. No prefixes. */
export type XmlElement = { [name: string]: XmlElement[] | string | undefined };

const DEPTH_MAX = 32;
const TEXT_MAX_CHARS = 1024;
// Some 50,000 keys; what is made of it takes seconds and hundreds of megabytes.
const MARKUP_MAX = 1_500_000;

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  removeNSPrefix: true,
  parseTagValue: false,
  parseAttributeValue: false,
  alwaysCreateTextNode: true,
  isArray: (_name, _path, _isLeaf, isAttribute) => !isAttribute,
  ignoreDeclaration: true,
  ignorePiTags: true,
  maxNestedTags: DEPTH_MAX,
  // Without it the parser leaves &#252; as it stands.
  entityDecoder: new EntityDecoder({ numericAllowed: true }),
});

/**
 * Parses an XML text with at most 1,500,000 of `<` and `=`, 32 elements deep. Document types and entities are
 * refused, so that nothing is expanded or fetched.
 * @throws TokenFileError that repeats nothing of the text
 */
export function parseXml(text: string): XmlElement {
  if (/<!(?!--|\[CDATA\[)/.test(text)) {
    throw new TokenFileError('the file has a document type or entities: they are refused');
  }
  if (countMarkup(text) > MARKUP_MAX) throw new TokenFileError('the file has too many elements');
  try {
    return parser.parse(text, true) as XmlElement;
  } catch (error) {
    const line = /:(\d+):\d+$/.exec(error instanceof Error ? error.message : '')?.[1];
    throw new TokenFileError(`not well-formed XML${line ? ` (line ${line})` : ''}`);
  }
}

function countMarkup(text: string): number {
  let count = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === LESS_THAN || code === EQUALS) count += 1;
  }
  return count;
}

const LESS_THAN = 0x3c;
const EQUALS = 0x3d;

export function elements(parent: XmlElement, name: string): XmlElement[] {
  const found = Object.hasOwn(parent, name) ? parent[name] : undefined;
  return Array.isArray(found) ? found : [];
}

/** @throws TokenFileError when there are two: readers would differ in which they take */
export function element(parent: XmlElement | undefined, name: string): XmlElement | undefined {
  const found = parent ? elements(parent, name) : [];
  if (found.length > 1) throw new TokenFileError(`an element has two ${name}`);
  return found[0];
}

/**
 * The text of the element of that name, trimmed; empty counts as absent.
 * @throws TokenFileError beyond 1,024 characters
 */
export function textOf(parent: XmlElement | undefined, name: string): string | undefined {
  const text = element(parent, name)?.['#text'];
  const trimmed = typeof text === 'string' ? text.trim() : '';
  if (trimmed.length > TEXT_MAX_CHARS) throw new TokenFileError(`a value is too long: ${name}`);
  return trimmed || undefined;
}

export function attribute(of: XmlElement | undefined, name: string): string | undefined {
  const value = of?.[`@${name}`];
  return typeof value === 'string' ? value : undefined;
}
