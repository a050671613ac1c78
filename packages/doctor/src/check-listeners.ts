import { tryToBind } from '@countersign/engines';
import { askHealth } from './ask-health.ts';
import type { ExaminedNode } from './examined-node.ts';
import { critical, explain, fine, quote, type Finding } from './finding.ts';

type Listening = Pick<ExaminedNode, 'name' | 'http' | 'radius' | 'dataDirectory'>;

/** Of a node that runs: whether its own workers answer where clients ask. */
export async function checkListeners(node: Listening): Promise<Finding[]> {
  return [...(await checkHttp(node)), ...(await checkRadius(node))];
}

async function checkHttp(node: Listening): Promise<Finding[]> {
  const { name, http } = node;
  const where = `${http.host}:${http.port}`;
  const logs = `tail -n 50 ${quote(`${node.dataDirectory}/logs/worker-0.log`)}`;
  try {
    const health = await askHealth(node, '/healthz');
    if (health.node !== name) {
      const who = typeof health.node === 'string' ? health.node.slice(0, 63) : 'another program';
      return [critical('http', `${where} answers, but as ${who}`, holderOf('t', http.port))];
    }
    const { ready, problems } = await askHealth(node, '/readyz');
    if (ready === true) return [fine('http', `${where} answers, and its worker can verify`)];
    const told = Array.isArray(problems) ? problems.map(String).join('; ') : 'it does not say why';
    return [critical('http', `the worker at ${where} cannot verify: ${told}`, logs)];
  } catch (error) {
    const detail = `${where} does not answer from here: ${explain(error)}`;
    return [critical('http', detail, `${holderOf('t', http.port)}; ${logs}`)];
  }
}

/** The kernel knows who is bound, so nothing is sent that clients of the node would see counted. */
async function checkRadius({ radius, dataDirectory }: Listening): Promise<Finding[]> {
  if (!radius) return [];
  const logs = `tail -n 50 ${quote(`${dataDirectory}/logs/worker-0.log`)}`;
  const found: Finding[] = [];
  for (const host of radius.host) {
    for (const port of [radius.authenticationPort, radius.accountingPort]) {
      const code = await tryToBind({ host, port, transport: 'udp' });
      if (code === 'EADDRINUSE' || code === 'EACCES') continue;
      const why =
        code === 'EADDRNOTAVAIL' ? 'is no address of this machine' : 'nothing listens there';
      const fix = code === 'EADDRNOTAVAIL' ? 'ip -brief address; then set radius.host' : logs;
      found.push(critical('radius', `${host}:${port} (UDP): ${why}`, fix));
    }
  }
  const at = `${radius.host.join(', ')}, ports ${radius.authenticationPort} and ${radius.accountingPort}`;
  return found.length > 0 ? found : [fine('radius', `listens at ${at}`)];
}

/** Who holds a port. */
export function holderOf(transport: 't' | 'u', port: number): string {
  return `ss -ln${transport}p 'sport = :${port}'`;
}
