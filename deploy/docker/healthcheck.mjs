// The image's health check: healthcheck.mjs CONFIG [/healthz|/readyz]. Exits 0 when the node's own
// API answers 200 within 4 s. Small on purpose: it runs every few seconds.
import { existsSync, readFileSync } from 'node:fs';
import { request as overHttp } from 'node:http';
import { request as overHttps } from 'node:https';
import { resolve } from 'node:path';

import { parseYaml } from '../../packages/node/src/parse-yaml.ts';

const [configFile = '/etc/countersign/countersign.yaml', path = '/healthz'] = process.argv.slice(2);
const config = parseYaml(readFileSync(configFile, 'utf8'));
const { host = '127.0.0.1', port = 8080 } = config.http ?? {};
const isHttps = config.http?.tls || existsSync(resolve(config.dataDirectory, 'identity'));
const request = isHttps ? overHttps : overHttp;
const any = { '0.0.0.0': '127.0.0.1', '::': '::1' };

request(
  {
    host: any[host] ?? host,
    port,
    path,
    timeout: 4_000,
    // It asks itself, by an address that the certificate need not name, and tells no secret.
    rejectUnauthorized: false,
  },
  (answer) => {
    answer.resume();
    process.exit(answer.statusCode === 200 ? 0 : 1);
  },
)
  .on('timeout', () => process.exit(1))
  .on('error', (error) => {
    console.error(error.message);
    process.exit(1);
  })
  .end();
