import type { Command } from 'commander';
import { addRadiusClientCommands } from './radius-client.ts';
import { addRadiusTargetCommands } from './radius-target.ts';
import { addRadiusTestCommand } from './radius-test.ts';
import { addRadiusWatchCommand } from './radius-watch.ts';

export function addRadiusCommands(program: Command): void {
  const radius = program
    .command('radius')
    .description('VPNs, gateways and others that speak RADIUS');
  addRadiusClientCommands(radius);
  addRadiusTargetCommands(radius);
  addRadiusTestCommand(radius);
  addRadiusWatchCommand(radius);
}
