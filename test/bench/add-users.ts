import { randomUUID } from 'node:crypto';
import { encodeBase32 } from '@countersign/verification';
import type { TestCluster } from '../harness/cluster.ts';

const PER_REQUEST = 500;

/** So many users with a TOTP token each, by bulk requests at the master. @returns seconds */
export async function addUsers(cluster: TestCluster, count: number): Promise<number> {
  const api = cluster.api(await cluster.master());
  const chunks = Array.from({ length: Math.ceil(count / PER_REQUEST) }, (_, i) => i);
  const startedAt = performance.now();
  const sendOnAndOn = async () => {
    for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) {
      const size = Math.min(PER_REQUEST, count - chunk * PER_REQUEST);
      const first = chunk * PER_REQUEST;
      const users = Array.from({ length: size }, (_, i) => userOf(first + i));
      const { status, body } = await api.call('POST', '/api/v1/users/bulk', {
        body: users,
        idempotencyKey: randomUUID(),
        timeoutMs: 60_000,
      });
      if (status !== 200) throw new Error(`bulk: ${status} ${JSON.stringify(body).slice(0, 200)}`);
    }
  };
  await Promise.all([sendOnAndOn(), sendOnAndOn()]);
  return (performance.now() - startedAt) / 1000;
}

function userOf(n: number): object {
  const bytes = Buffer.alloc(20, 1);
  bytes.writeUInt32BE(n);
  const secret = encodeBase32(bytes);
  return {
    username: `user.${n}`,
    displayName: `User Number ${n}`,
    email: `user.${n}@example.org`,
    authenticators: [{ type: 'totp', secret }],
  };
}
