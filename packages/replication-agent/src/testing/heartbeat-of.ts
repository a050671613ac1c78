import type { Heartbeat } from '@countersign/cluster';

/** What a subordinate that is well says of itself, but for what `differs`. */
export function heartbeatOf(node: string, differs: Partial<Heartbeat> = {}): Heartbeat {
  return {
    node,
    instance: node,
    role: 'subordinate',
    isHandingOver: false,
    masterSince: null,
    leaseHolder: null,
    epoch: 1,
    incarnation: { number: 1, id: 'one' },
    filling: null,
    logServer: null,
    logServerTag: null,
    storeMark: null,
    revision: 1,
    digest: '',
    isDigestComparable: true,
    isPromotable: true,
    version: '1',
    format: 1,
    url: null,
    isLogWritable: true,
    problems: [],
    wallMs: Date.now(),
    ...differs,
  };
}
