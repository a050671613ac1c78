import { ip, NetworkNamespace } from './network-namespace.ts';

/**
 * Two links: from the nodes here to a balancer, from there to devices. Nodes send what is for a device through the
 * balancer, which takes for itself what comes back to the addresses it sent from.
 */
export class BalancerNetwork implements AsyncDisposable {
  /** Where the nodes listen. */
  readonly nodesAddress: string;
  /** Where devices send to. */
  readonly balancerAddress: string;
  readonly deviceAddresses: readonly [string, string];
  readonly balancer: NetworkNamespace;
  readonly devices: NetworkNamespace;

  private constructor(place: number, balancer: NetworkNamespace, devices: NetworkNamespace) {
    // 198.18.0.0/15 is for tests of networks (RFC 2544).
    this.nodesAddress = `198.18.${place}.1`;
    this.balancerAddress = `198.18.${place + 1}.1`;
    this.deviceAddresses = [`198.18.${place + 1}.11`, `198.18.${place + 1}.12`];
    this.balancer = balancer;
    this.devices = devices;
  }

  static async make(): Promise<BalancerNetwork> {
    const place = (process.pid % 120) * 2;
    const balancer = await NetworkNamespace.make();
    const devices = await NetworkNamespace.make();
    const network = new BalancerNetwork(place, balancer, devices);
    try {
      await network.#link(place);
      return network;
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.devices[Symbol.asyncDispose]();
    await this.balancer[Symbol.asyncDispose]();
  }

  async #link(place: number): Promise<void> {
    const { nodesAddress, balancerAddress, deviceAddresses, balancer, devices } = this;
    const here = `cs${process.pid}`;
    await ip(...veth(here), 'name', 'nodes', 'netns', `${balancer.pid}`);
    await ip('addr', 'add', `${nodesAddress}/24`, 'dev', here);
    await ip('link', 'set', here, 'up');
    await balancer.run('ip', 'addr', 'add', `198.18.${place}.2/24`, 'dev', 'nodes');
    await balancer.run('ip', 'link', 'set', 'nodes', 'up');
    await ip('route', 'add', `198.18.${place + 1}.0/24`, 'via', `198.18.${place}.2`, 'dev', here);

    await balancer.run('ip', ...veth('devices'), 'name', 'uplink', 'netns', `${devices.pid}`);
    await balancer.run('ip', 'addr', 'add', `${balancerAddress}/24`, 'dev', 'devices');
    await balancer.run('ip', 'link', 'set', 'devices', 'up');
    for (const address of deviceAddresses) {
      await devices.run('ip', 'addr', 'add', `${address}/24`, 'dev', 'uplink');
    }
    await devices.run('ip', 'link', 'set', 'uplink', 'up');

    // As docs/integrations/radius.md says.
    await balancer.run('ip', 'rule', 'add', 'iif', 'nodes', 'lookup', '100');
    await balancer.run('ip', 'route', 'add', 'local', 'default', 'dev', 'lo', 'table', '100');
    // A new namespace takes the machine's choice: replies come from where no route leads to their addresses.
    await balancer.run(
      'sh',
      '-c',
      'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done',
    );
  }
}

function veth(name: string): string[] {
  return ['link', 'add', name, 'type', 'veth', 'peer'];
}
