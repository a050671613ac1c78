import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { addRadiusClient } from './add-radius-client.ts';
import { addRadiusTarget } from './add-radius-target.ts';
import { getRadiusClient } from './get-radius-client.ts';
import { getRadiusTarget } from './get-radius-target.ts';
import { listRadiusClients } from './list-radius-clients.ts';
import { listRadiusTargets } from './list-radius-targets.ts';
import { removeRadiusClient } from './remove-radius-client.ts';
import { removeRadiusTarget } from './remove-radius-target.ts';
import { setRadiusClient } from './set-radius-client.ts';
import { setRadiusTarget } from './set-radius-target.ts';
import { testRadiusClient } from './test-radius-client.ts';
import { watchRadius } from './watch-radius.ts';

/** Who asks over RADIUS, and the RADIUS servers that are asked for a first factor. */
export function addRadiusOperations(api: ApiServer, ports: ApiPorts): void {
  addRadiusClient(api, ports);
  listRadiusClients(api, ports);
  getRadiusClient(api, ports);
  setRadiusClient(api, ports);
  removeRadiusClient(api, ports);
  addRadiusTarget(api, ports);
  listRadiusTargets(api, ports);
  getRadiusTarget(api, ports);
  setRadiusTarget(api, ports);
  removeRadiusTarget(api, ports);
  testRadiusClient(api, ports);
  watchRadius(api, ports);
}
