// 3GPP TS 23.038, 6.2.1: the default alphabet, and the extension table, whose characters take two.
const basic = new Set(
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ' +
    'ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà',
);
const extension = new Set('\f^{}\\[~]|€');

export interface SegmentCount {
  encoding: 'gsm7' | 'ucs2';
  segments: number;
  /** Septets or UTF-16 units, without the headers of a text in parts. */
  units: number;
}

/**
 * How many texts are charged for one: 160 septets in one or 153 in each of several, or 70 and 67
 * UTF-16 units as soon as one character is outside the default alphabet (3GPP TS 23.040, 9.2.3.24).
 * A character is never split over two parts.
 */
export function countSegments(text: string): SegmentCount {
  const characters = Array.from(text);
  const isGsm = characters.every((character) => basic.has(character) || extension.has(character));
  const sizes = characters.map((character) => {
    if (isGsm) return extension.has(character) ? 2 : 1;
    return character.length;
  });
  const units = sizes.reduce((sum, size) => sum + size, 0);
  const [single, part] = isGsm ? [160, 153] : [70, 67];
  const segments = units <= single ? 1 : countParts(sizes, part);
  return { encoding: isGsm ? 'gsm7' : 'ucs2', segments, units };
}

function countParts(sizes: readonly number[], partSize: number): number {
  let parts = 1;
  let used = 0;
  for (const size of sizes) {
    if (used + size > partSize) {
      parts += 1;
      used = 0;
    }
    used += size;
  }
  return parts;
}
