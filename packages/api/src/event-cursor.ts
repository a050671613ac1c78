import type { EventCursor } from './ports.ts';

/** `1-4096`: what a client sends back as `after`. */
export function formatCursor({ incarnation, arrival }: EventCursor): string {
  return `${incarnation}-${arrival}`;
}

/** `start`, `end`, or what {@link formatCursor} made; null for anything else. */
export function parseCursor(text: string): EventCursor | 'end' | null {
  if (text === 'end') return 'end';
  if (text === 'start') return { incarnation: 0, arrival: 0 };
  const [, incarnation, arrival] = /^(\d{1,9})-(\d{1,15})$/.exec(text) ?? [];
  if (incarnation === undefined || arrival === undefined) return null;
  return { incarnation: Number(incarnation), arrival: Number(arrival) };
}
