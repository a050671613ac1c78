import { ip, Machine } from './machine.ts';

/**
 * Two cables: from the nodes here to a balancer, from there to devices. Nodes send what is for a device through the
 * balancer, which takes for itself what comes back to the addresses it sent from.
 */
export class BalancerNetwork implements AsyncDisposable {
  /** Where the nodes listen. */
  readonly nodesAddress: string;
  /** Where devices send to. */
  readonly balancerAddress: string;
  readonly deviceAddresses: readonly [string, string];
  readonly balancer: Machine;
  readonly devices: Machine;

  private constructor(balancer: Machine, devices: Machine) {
    this.nodesAddress = balancer.peers[0]!;
    this.balancerAddress = devices.peers[0]!;
    this.deviceAddresses = [devices.address, addressAfter(devices.address)];
    this.balancer = balancer;
    this.devices = devices;
  }

  static async make(): Promise<BalancerNetwork> {
    await using made = new AsyncDisposableStack();
    const balancer = made.use(await Machine.start());
    const devices = made.use(await Machine.start({ at: balancer }));
    const network = new BalancerNetwork(balancer, devices);
    await network.#route();
    made.move();
    return network;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.devices[Symbol.asyncDispose]();
    await this.balancer[Symbol.asyncDispose]();
  }

  async #route(): Promise<void> {
    const { balancer, devices, deviceAddresses } = this;
    await ip(devices, ['address', 'add', `${deviceAddresses[1]}/28`, 'dev', 'cable']);
    for (const device of deviceAddresses) {
      await ip(null, ['route', 'add', device, 'via', balancer.address]);
    }
    // As docs/integrations/radius.md says.
    await ip(balancer, ['rule', 'add', 'iif', 'cable', 'lookup', '100']);
    await ip(balancer, ['route', 'add', 'local', 'default', 'dev', 'lo', 'table', '100']);
    // A new machine takes this one's choice: replies come from where no route leads to their addresses.
    const eachLink = 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done';
    await balancer.run('sh', ['-c', eachLink]);
  }
}

function addressAfter(address: string): string {
  const at = address.lastIndexOf('.') + 1;
  return `${address.slice(0, at)}${Number(address.slice(at)) + 1}`;
}
