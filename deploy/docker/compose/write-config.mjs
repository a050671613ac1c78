// Prints the configuration of a node of docker-compose.yml: write-config.mjs NAME. Beside the node's data it notes
// the networks that it is in, for whoever sets up who may ask from there.
import { lookup } from 'node:dns/promises';
import { writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';

const dataDirectory = '/var/lib/countersign';
const [name] = process.argv.slice(2);
const number = name.split('-')[1];
const balancers = await networkOf(`${name}.balancers`);
const clients = await networkOf(`${name}.clients`);
writeFileSync(`${dataDirectory}/networks`, `balancers=${balancers}\nclients=${clients}\n`);

const config = {
  name,
  dataDirectory,
  http: {
    host: '0.0.0.0',
    port: 8443,
    trustedProxies: [balancers],
    // Whoever can reach a published port of this machine may read the page of the API and the metrics.
    monitoringFrom: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '127.0.0.0/8'],
  },
  radius: { host: '0.0.0.0' },
  // All of them share one machine.
  workers: 1,
  url: `https://${name}:8443`,
  database: {
    url: `postgres://countersign@postgres-${number}/countersign`,
    passwordFile: `/run/secrets/${name}/database-password`,
    authorityFile: '/run/trust/installation-ca.pem',
  },
  logServers: [1, 2, 3].map((other) => ({
    name: `node-${other}`,
    host: `node-${other}.engines`,
    clientPort: 4222,
    routePort: 6222,
  })),
};
console.log(JSON.stringify(config, null, 2));

/** The network (CIDR) in which this node has that name. */
async function networkOf(alias) {
  const { address } = await lookup(alias, 4);
  const own = Object.values(networkInterfaces()).flat();
  const { cidr } = own.find((one) => one.address === address);
  const bits = Number(cidr.split('/')[1]);
  const value = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - bits);
  const first = Math.floor(value / size) * size;
  return `${[24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join('.')}/${bits}`;
}
