import { healthyCluster } from '@countersign/api/testing';
import type { ClusterNode, ClusterView } from '@countersign/api';
import { isSafeText } from '@countersign/verification';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeStatus } from './describe-status.ts';

const NOW_MS = Date.parse('2026-03-01T03:24:45Z');

let timeZone: string | undefined;
beforeAll(() => {
  timeZone = process.env.TZ;
  process.env.TZ = 'UTC';
});
afterAll(() => {
  if (timeZone === undefined) delete process.env.TZ;
  else process.env.TZ = timeZone;
});

/** The healthy cluster with some facts changed, of the cluster and of nodes by name. */
function cluster(
  changes: Partial<ClusterView> = {},
  nodes: Record<string, Partial<ClusterNode>> = {},
): ClusterView {
  const view = { ...healthyCluster(NOW_MS), ...changes };
  return { ...view, nodes: view.nodes.map((node) => ({ ...node, ...nodes[node.name] })) };
}

const status = (view: ClusterView) => describeStatus(view, NOW_MS, { colour: false });
const offline = { online: false, lastSeen: '2026-03-01T03:19:45Z' };
const withoutServer = (...down: string[]) =>
  ['node-1', 'node-2', 'node-3'].map((name) => ({ name, online: !down.includes(name) }));
const adviceOf = (text: string) => text.slice(text.indexOf('what to do next:')).trim();

describe('status', () => {
  it('of a healthy cluster fits on a screen and says that nothing is to be done', () => {
    expect(status(cluster())).toBe(
      [
        'OK: verification and changes work',
        '',
        'master: node-1 since 2026-03-01 03:12:45 (12 min ago)',
        'failover automatic, epoch 3, incarnation 1, seen from node-1',
        'log: 3 of 3 servers up',
        'writes: 1 of 3 log servers may fail',
        'verification: 2 of 3 nodes may fail',
        '',
        'NODE    ROLE         STATE   REVISION  BEHIND  DIGEST  VERSION  CLOCK',
        'node-1  master       online  1042      0       ok      0.1.0    ok',
        'node-2  subordinate  online  1042      0       ok      0.1.0    ok',
        'node-3  subordinate  online  1042      0       ok      0.1.0    ok',
        '',
        'what to do next:',
        '  nothing to do',
        '',
      ].join('\n'),
    );
  });

  it('names RADIUS clients that need no Message-Authenticator, and is silent where there is none', () => {
    expect(status(cluster({ unsignedRadius: [] }))).not.toContain('RADIUS');
    const unsignedRadius = Array.from({ length: 7 }, (_, index) => ({
      name: `vpn-${index}`,
      messageAuthenticator: index === 0 ? ('off' as const) : ('observe' as const),
    }));
    expect(status(cluster({ unsignedRadius }))).toContain(
      '\nRADIUS without Message-Authenticator: vpn-0 (off), vpn-1 (observe), vpn-2 (observe), vpn-3 (observe), vpn-4 (observe), and 2 more\n',
    );
  });

  it('names RADIUS clients that let strangers in with nothing checked', () => {
    expect(status(cluster({ uncheckedRadius: [] }))).not.toContain('RADIUS');
    expect(status(cluster({ uncheckedRadius: ['a', 'b', 'c', 'd', 'e', 'f'] }))).toContain(
      'RADIUS that passes whoever is no user, nothing checked: a, b, c, d, e, and 1 more\n',
    );
  });

  it('names who skips the second step', () => {
    expect(status(cluster())).not.toContain('second step');
    expect(status(cluster({ exemptUsers: ['bot'] }))).toContain('\nwithout a second step: bot\n');
    const many = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
    expect(status(cluster({ exemptUsers: many }))).toContain(
      '\nwithout a second step: a, b, c, d, e, and 2 more\n',
    );
  });

  it('tells stop facts that are no changes yet, and to wait only where there is a master', () => {
    const text = status(cluster({ pendingStopFacts: 1 }));
    expect(text).toMatch(/^DEGRADED/);
    expect(text).toContain('a stop fact is in force on node-1 and no change of the cluster yet');
    expect(adviceOf(text)).toContain('the master makes changes of stop facts by itself');
    const alone = status(cluster({ pendingStopFacts: 2, master: null, masterSince: null }));
    expect(alone).toContain('2 stop facts are in force on node-1');
    expect(adviceOf(alone)).not.toContain('stop facts');
  });

  it('with a dead master and manual failover names the node to promote', () => {
    const text = status(
      cluster(
        {
          master: null,
          masterSince: null,
          failover: 'manual',
          logServers: withoutServer('node-1'),
        },
        { 'node-1': { ...offline, role: 'subordinate' }, 'node-2': { revision: 1040 } },
      ),
    );
    expect(text).toMatch(/^NO MASTER: verification goes on, nothing can be changed\n/);
    expect(text).toContain('master: none, the last one was node-1');
    expect(text).toContain('writes: 0 of 3 log servers may fail, 1 is down');
    expect(text).toContain('verification: 1 of 3 nodes may fail, 1 does not verify now');
    expect(text).toContain('OFFLINE (5 min ago)');
    expect(adviceOf(text)).toBe(
      [
        'what to do next:',
        '  - countersign promote node-3',
        '  - start node-1 again; it catches up by itself',
      ].join('\n'),
    );
  });

  it('never advises to promote a node that may not become master', () => {
    const text = status(
      cluster(
        { master: null, failover: 'manual' },
        { 'node-1': offline, 'node-2': { promotable: false }, 'node-3': { revision: 5 } },
      ),
    );
    expect(text).toContain('countersign promote node-3');
    expect(text).toContain('never becomes master: node-2');
  });

  it('while a new master is being elected says to wait, and what if it takes long', () => {
    const text = status(
      cluster({ master: null, logServers: withoutServer('node-1') }, { 'node-1': offline }),
    );
    expect(text).toMatch(/^NO MASTER/);
    expect(adviceOf(text)).toContain(
      'wait 15 s: a node takes over by itself. If none does: countersign promote node-2',
    );
  });

  it('with a subordinate down is degraded and says since when', () => {
    const text = status(cluster({ logServers: withoutServer('node-3') }, { 'node-3': offline }));
    expect(text).toMatch(/^DEGRADED: /);
    expect(text).toContain('writes: 0 of 3 log servers may fail, 1 is down');
    expect(text).toContain('verification: 1 of 3 nodes may fail, 1 does not verify now');
    expect(adviceOf(text)).toBe(
      'what to do next:\n  - start node-3 again; it catches up by itself',
    );
  });

  it('with only a log server down points at its log', () => {
    const text = status(cluster({ logServers: withoutServer('node-3') }));
    expect(text).toContain('the log server node-3 is down');
    expect(adviceOf(text)).toContain('nats-server log of node-3');
  });

  it('names the node whose data differs at the same revision', () => {
    const text = status(cluster({}, { 'node-2': { digest: 'cd'.repeat(32) } }));
    expect(text).toMatch(/^DEGRADED: /);
    expect(text).toMatch(/node-2 .*DIFFERS/);
    expect(text).toMatch(/node-1 .* ok /);
    expect(text).toMatch(/node-3 .* ok /);
    expect(adviceOf(text)).toContain('take node-2 out of the load balancer');
  });

  it('takes the side of the master between two, and of neither without one', () => {
    const two = (master: string | null) => {
      const view = cluster({ master }, { 'node-2': { digest: 'cd'.repeat(32) } });
      const nodes = view.nodes.slice(0, 2).map((node) => ({
        ...node,
        role: node.name === master ? ('master' as const) : ('subordinate' as const),
      }));
      return status({ ...view, nodes });
    };
    expect(two('node-1')).toMatch(/node-2 .*DIFFERS/);
    expect(two('node-1')).not.toMatch(/node-1 .*DIFFERS/);
    expect(two(null)).toMatch(/node-1 .*DIFFERS[^]*node-2 .*DIFFERS/);
  });

  it('compares no digest with one of another revision or of a node that catches up', () => {
    const other = { digest: 'cd'.repeat(32) };
    const text = status(
      cluster(
        {},
        {
          'node-2': { ...other, revision: 1000, behind: 42 },
          'node-3': { ...other, digestComparable: false },
        },
      ),
    );
    expect(text).not.toContain('DIFFERS');
    expect(text).toMatch(/node-2 .* 42 /);
    expect(text).toMatch(/node-3 .*catching up/);
    expect(text).toMatch(/^OK/);
  });

  it('names the node whose tables do not match its digest, and what to type', () => {
    const damage = 'user 0190d6a2 is not what was received';
    const text = status(cluster({}, { 'node-2': { damage } }));
    expect(text).toMatch(/^DEGRADED: /);
    expect(text).toContain(`node-2's tables do not match its digest: ${damage}`);
    expect(adviceOf(text)).toContain('countersign doctor node-2');
    expect(adviceOf(text)).not.toContain('demote');
    expect(adviceOf(status(cluster({}, { 'node-1': { damage } })))).toContain('countersign demote');
    const headless = cluster(
      { master: null, failover: 'manual' },
      { 'node-1': offline, 'node-2': { damage } },
    );
    expect(status(headless)).toContain('countersign promote node-3');
  });

  it('does not count a node that cannot verify among those that may', () => {
    const text = status(cluster({}, { 'node-2': { verifies: false } }));
    expect(text).toContain('verification: 1 of 3 nodes may fail, 1 does not verify now');
  });

  it('tells who is far behind', () => {
    const text = status(cluster({}, { 'node-2': { revision: 42, behind: 1000 } }));
    expect(text).toContain('node-2 is 1000 changes behind');
    expect(adviceOf(text)).toContain('wait for node-2 to catch up');
  });

  it('warns of a clock that is 5 s off', () => {
    expect(status(cluster({}, { 'node-3': { clockOffsetMs: 4_999 } }))).toMatch(/^OK/);
    const text = status(cluster({}, { 'node-3': { clockOffsetMs: -7_200 } }));
    expect(text).toMatch(/node-3 .*-7\.2 s/);
    expect(text).toContain('the clock of node-3 is 7.2 s behind');
    expect(adviceOf(text)).toContain('set the clock of node-3 (NTP)');
  });

  it('advises to promote no node whose data differs', () => {
    const other = { digest: 'cd'.repeat(32) };
    const text = status(
      cluster({ master: null, failover: 'manual' }, { 'node-1': offline, 'node-2': other }),
    );
    expect(text).not.toContain('countersign promote');
    expect(adviceOf(text)).toContain('start the last master or another promotable node again');
  });

  it('with no word from the log at all says where to look', () => {
    const text = status(cluster({ master: null, quorum: false, logReplicas: 0, logServers: [] }));
    expect(text).toContain('quorum lost: the log does not answer');
    expect(adviceOf(text)).toContain('nats-server');
  });

  it('with the quorum lost names the servers to start', () => {
    const text = status(
      cluster(
        {
          master: null,
          quorum: false,
          degraded: true,
          logServers: withoutServer('node-1', 'node-2'),
        },
        { 'node-1': offline, 'node-2': offline },
      ),
    );
    expect(text).toMatch(/^NO MASTER/);
    expect(text).toContain('log: 1 of 3 servers up\n');
    expect(text).toContain('writes: refused until the log has its quorum again');
    expect(text).toContain(
      'verification: 0 of 3 nodes may fail, 2 do not verify now (degraded: each by what it knows)',
    );
    expect(text).toContain('1 of 3 log servers answer, 2 are needed');
    expect(adviceOf(text)).toBe(
      'what to do next:\n  - start node-1 or node-2 again, or mend the network to it',
    );
  });

  it('is degraded while the quorum is lost under a master, or out of reach of this node', () => {
    expect(status(cluster({ quorum: false }))).toMatch(/^DEGRADED: quorum lost/);
    const text = status(cluster({ degraded: true }));
    expect(text).toMatch(/^DEGRADED: /);
    expect(text).toContain('node-1 verifies without the quorum');
  });

  it('of a single node says that only its disk protects the changes', () => {
    const view = cluster({ logReplicas: 1, logServers: [] });
    const text = status({ ...view, nodes: view.nodes.slice(0, 1) });
    expect(text).toMatch(/^OK/);
    expect(text).toContain(
      'writes: 0 of 1 log server may fail: nothing protects acknowledged changes but its disk (join two more nodes)',
    );
    expect(text).toContain('nothing to do');
  });

  describe('with a witness', () => {
    const witness = {
      name: 'witness-1',
      online: true,
      lastSeen: '2026-03-01T03:24:44Z',
      version: '0.1.0',
      runsLogServer: true,
      certificateExpiresAt: '2026-05-01T00:00:00Z',
      problems: [],
    };
    const logServers = ['node-1', 'node-2', 'witness-1'].map((name) => ({ name, online: true }));
    const two = (changes: Partial<ClusterView> = {}): ClusterView => {
      const view = cluster({ logServers, witnesses: [witness], ...changes });
      return { ...view, nodes: view.nodes.slice(0, 2) };
    };

    it('counts its log server, and not the witness as a node', () => {
      const text = status(two());
      expect(text).toMatch(/^OK/);
      expect(text).toContain('witness: witness-1 runs a log server, certificate until 2026-05-01');
      expect(text).toContain('writes: 1 of 3 log servers may fail');
      expect(text).toContain('verification: 1 of 2 nodes may fail');
      expect(text).not.toMatch(/^witness-1 /m);
    });

    it('says that the log will move there while it has not', () => {
      const lone = { logReplicas: 1, logServers: [{ name: 'node-1', online: true }] };
      const text = status(two({ ...lone, witnesses: [{ ...witness, runsLogServer: false }] }));
      expect(text).toContain('witness-1 waits for the log to move there');
      expect(text).toContain('(the log moves to both nodes and the witness once both have all');
    });

    it('that is down says so once, and what to do', () => {
      const down = logServers.map((one) => ({ ...one, online: one.name !== 'witness-1' }));
      const text = status(two({ logServers: down, witnesses: [{ ...witness, online: false }] }));
      expect(text).toMatch(/^DEGRADED/);
      expect(text).toContain('the witness witness-1 is OFFLINE (1 s ago)');
      expect(text).not.toContain('the log server witness-1 is down');
      expect(adviceOf(text)).toContain('systemctl start countersign-witness');
    });

    it('warns a week before its certificate ends', () => {
      const endsAt = (ms: number) => new Date(NOW_MS + ms).toISOString();
      const day = 86_400_000;
      const text = (ms: number) =>
        status(two({ witnesses: [{ ...witness, certificateExpiresAt: endsAt(ms) }] }));
      expect(text(8 * day)).toMatch(/^OK/);
      expect(text(6.5 * day)).toContain('certificate of the witness witness-1 expires in 6 days');
      expect(text(-day)).toContain('has expired');
    });
  });

  it('of two nodes without a witness says that no server may fail for writes', () => {
    const view = cluster({ logReplicas: 1, logServers: [{ name: 'node-1', online: true }] });
    const text = status({ ...view, nodes: view.nodes.slice(0, 2) });
    expect(text).toContain('log: 1 of 1 server up, 1 copy of each change');
    expect(text).toContain('writes: 0 of 1 log server may fail (add a third node or a witness)');
    expect(text).toContain('verification: 1 of 2 nodes may fail');
  });

  it('repeats what a node says of itself', () => {
    const text = status(cluster({}, { 'node-2': { problems: ['disk 91 % full'] } }));
    expect(text).toContain('  - node-2: disk 91 % full');
    expect(adviceOf(text)).toContain('look at the logs of node-2');
  });

  it.each([
    ['its HTTPS certificate /a/web.pem expires in 3 days (2026-06-30 12:00 UTC)', 'put a good'],
    ['its new certificate /a/web.pem is not taken: no certificate in PEM; …', 'put a good'],
    [
      'its certificate in the cluster, which should have been renewed by now, expires in 3 days',
      'see in the logs of node-2 and of the master why it was not renewed',
    ],
  ])('says what to do when %s', (problem, advice) => {
    const text = status(cluster({}, { 'node-2': { problems: [problem] } }));
    expect(text).toContain(`  - node-2: ${problem}`);
    expect(adviceOf(text)).toContain(advice);
  });

  it('with a node that lives in another log says to decide, not to start that node', () => {
    const conflict = 'node-3 lives in another log: incarnation 2 (0a0a0a0a) at revision 1200';
    const text = status(cluster({}, { 'node-3': offline, 'node-1': { problems: [conflict] } }));
    expect(text).toContain(`node-1: ${conflict}`);
    expect(text).toContain('node-3 is OFFLINE');
    expect(adviceOf(text)).toBe(
      'what to do next:\n' +
        '  - decide which log is right, then type on each node of the other: countersign rejoin',
    );
  });

  it('of a log that is about to move to three servers asks for nothing more', () => {
    const text = status(
      cluster({ logReplicas: 1, logServers: [{ name: 'node-1', online: true }] }),
    );
    expect(text).toContain('writes: 0 of 1 log server may fail (the log moves to three nodes');
  });

  it('uses colour only when asked, and lets no text from outside through (rule 28)', () => {
    const view = cluster({}, { 'node-2': { problems: ['\u001b[2J\u202egone'] } });
    expect(isSafeText(status(view).replaceAll('\n', ''))).toBe(true);
    const coloured = describeStatus(cluster(), NOW_MS, { colour: true });
    const escape = '\u001b';
    expect(coloured.startsWith(`${escape}[1;32mOK: `)).toBe(true);
    expect(coloured.split(escape)).toHaveLength(3);
  });

  it('stays within 100 columns when all is wrong', () => {
    const text = status(
      cluster(
        {
          master: null,
          quorum: false,
          degraded: true,
          logServers: withoutServer('node-1', 'node-2', 'node-3'),
        },
        {
          'node-1': { ...offline, revision: 123_456_789 },
          'node-2': { digest: 'x', clockOffsetMs: 25_000, behind: 5_000 },
          'node-3': { digestComparable: false, clockOffsetMs: -25_000 },
        },
      ),
    );
    expect(text.split('\n').filter((line) => line.length > 100)).toEqual([]);
  });
});
