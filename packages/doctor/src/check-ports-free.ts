import { tryToBind } from '@countersign/engines';
import { holderOf } from './check-listeners.ts';
import type { ExaminedNode } from './examined-node.ts';
import { critical, fine, type Finding } from './finding.ts';

type Port = { key: string; host: string; port: number; transport: 'tcp' | 'udp' };

/** Of a node that does not run: whether it could listen where its configuration says. */
export async function checkPortsFree(
  node: Pick<ExaminedNode, 'name' | 'http' | 'radius' | 'logServers'>,
  { without = [] }: { without?: string[] } = {},
): Promise<Finding[]> {
  const found: Finding[] = [];
  const ports = listPorts(node).filter(({ key }) => !without.includes(key));
  for (const wanted of ports) {
    const code = await tryToBind(wanted);
    if (code !== undefined) found.push(explainTaken(wanted, code));
  }
  return found.length > 0 ? found : [fine('ports', `all ${ports.length} are free for the node`)];
}

function listPorts(node: Pick<ExaminedNode, 'name' | 'http' | 'radius' | 'logServers'>): Port[] {
  const { http, radius, logServers } = node;
  const own = logServers.find(({ name }) => name === node.name);
  const tcp = (key: string, host: string, port: number) => [
    { key, host, port, transport: 'tcp' as const },
  ];
  return [
    ...tcp('http.port', http.host, http.port),
    ...(own ? tcp('logServers clientPort', own.host, own.clientPort) : []),
    ...(own && logServers.length > 1 ? tcp('logServers routePort', own.host, own.routePort) : []),
    ...(radius?.host ?? []).flatMap((host) =>
      (['authenticationPort', 'accountingPort'] as const).map((key) => ({
        key: `radius.${key}`,
        host,
        port: radius![key],
        transport: 'udp' as const,
      })),
    ),
  ];
}

function explainTaken({ key, host, port, transport }: Port, code: string): Finding {
  const where = `${host}:${port} (${transport.toUpperCase()}, ${key})`;
  const holder = holderOf(transport === 'udp' ? 'u' : 't', port);
  if (code === 'EADDRINUSE') {
    const fix = `${holder}; stop that program, or set another ${key}`;
    return critical('ports', `${where} is taken by another program`, fix);
  }
  if (code === 'EADDRNOTAVAIL') {
    const fix = `ip -brief address; then set the host of ${key}`;
    return critical('ports', `${where}: ${host} is no address of this machine`, fix);
  }
  if (code === 'EACCES') {
    const fix = `sysctl net.ipv4.ip_unprivileged_port_start; or set ${key} above 1023`;
    return critical('ports', `${where} may only be opened by root`, fix);
  }
  return critical('ports', `${where} cannot be opened: ${code}`, holder);
}
