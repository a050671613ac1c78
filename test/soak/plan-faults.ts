import type { NodePart } from '../harness/cluster.ts';
import { seeded } from '../harness/seeded.ts';

export type PlannedFault = { node: string; lastsMs: number } & (
  | { kind: 'kill'; part: Exclude<NodePart, 'supervisor'> }
  | { kind: 'pause'; part: 'agent' | 'workers' | 'nats' | 'everything' }
  | { kind: 'cut' }
  | { kind: 'slow'; delayMs: number }
  | { kind: 'clock'; offsetMs: number }
  | { kind: 'fill'; part: 'nats' | 'postgres' }
);

export type FaultKind = PlannedFault['kind'];

/** Faults that happen at once; the next round begins when everything is whole again. */
export type Round = { calmMs: number; faults: PlannedFault[] };

/** How often each kind comes, of `kill` and `pause` also on which part. */
const CHOICES: { kind: FaultKind; parts?: NodePart[]; weight: number }[] = [
  { kind: 'kill', parts: ['agent', 'workers', 'nats', 'postgres', 'everything'], weight: 5 },
  { kind: 'pause', parts: ['agent', 'workers', 'nats', 'everything'], weight: 4 },
  { kind: 'cut', weight: 2 },
  { kind: 'slow', weight: 2 },
  { kind: 'clock', weight: 1 },
  { kind: 'fill', parts: ['nats', 'postgres'], weight: 1 },
];

/** Rounds without end, the same for the same seed, nodes and kinds. */
export function* planFaults(options: {
  seed: number;
  nodes: string[];
  kinds: FaultKind[];
}): Generator<Round, never> {
  const random = seeded(options.seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const pick = <T>(from: T[]): T => from[below(from.length)]!;
  const choices = CHOICES.filter(({ kind }) => options.kinds.includes(kind)).flatMap((choice) =>
    Array.from({ length: choice.weight }, () => choice),
  );
  const planOne = (node: string): PlannedFault => {
    const { kind, parts } = pick(choices);
    const part = parts ? pick(parts) : undefined;
    const lastsMs = 500 + below(8000);
    const delayMs = 20 + below(1500);
    const offsetMs = (below(2) === 0 ? -1 : 1) * (1000 + below(14_000));
    return { kind, node, lastsMs, part, delayMs, offsetMs } as PlannedFault;
  };
  for (;;) {
    const calmMs = 500 + below(2500);
    const first = pick(options.nodes);
    const others = options.nodes.filter((name) => name !== first);
    // One round in four strikes two nodes at once: with three log servers the quorum may go.
    const second = below(4) === 0 ? pick(others) : null;
    const faults = [planOne(first), ...(second === null ? [] : [planOne(second)])];
    yield { calmMs, faults };
  }
}

export function describeFault(fault: PlannedFault): string {
  const { kind, node, lastsMs } = fault;
  const about = {
    kill: () => (fault.kind === 'kill' ? fault.part : ''),
    pause: () => (fault.kind === 'pause' ? fault.part : ''),
    cut: () => 'links',
    slow: () => (fault.kind === 'slow' ? `links by ${fault.delayMs} ms` : ''),
    clock: () => (fault.kind === 'clock' ? `by ${fault.offsetMs} ms` : ''),
    fill: () => (fault.kind === 'fill' ? `disk of ${fault.part}` : ''),
  }[kind]();
  return `${kind} ${node} ${about} for ${lastsMs} ms`;
}
