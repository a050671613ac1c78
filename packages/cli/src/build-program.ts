import { readFileSync } from 'node:fs';
import { Command, Help, type Option } from 'commander';
import { addAdminCommands } from './commands/admin.ts';
import { addApplicationCommands } from './commands/application.ts';
import { addAuthenticatorCommands } from './commands/authenticator.ts';
import { addBackupCommand } from './commands/backup.ts';
import { addDemoCommand } from './commands/demo.ts';
import { addDemoteCommand } from './commands/demote.ts';
import { addDirectoryCommands } from './commands/directory.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addEventsCommand } from './commands/events.ts';
import { addInitCommand } from './commands/init.ts';
import { addJoinCommand } from './commands/join.ts';
import { addJoinTokenCommands } from './commands/join-token.ts';
import { addExportCommand } from './commands/export.ts';
import { addKeyCommands } from './commands/key.ts';
import { addKeysCommands } from './commands/keys.ts';
import { addLoginCommands } from './commands/login.ts';
import { addNatsConfigCommand } from './commands/nats-config.ts';
import { addNodeCommand } from './commands/node.ts';
import { addPromoteCommand } from './commands/promote.ts';
import { addRadiusCommands } from './commands/radius.ts';
import { addRejoinCommand } from './commands/rejoin.ts';
import { addRestoreCommand } from './commands/restore.ts';
import { addSettingsCommands } from './commands/settings.ts';
import { addStatusCommand } from './commands/status.ts';
import { addTokenCommands } from './commands/token.ts';
import { addUserCommands } from './commands/user.ts';
import { addVerifyCommand } from './commands/verify.ts';
import { addWitnessCommand } from './commands/witness.ts';

export function buildProgram(): Command {
  const program = new Command('countersign')
    .description('Two-step verification that keeps verifying')
    .version(readVersion(), '--version', 'print the version of this command line')
    .exitOverride()
    .configureHelp({ showGlobalOptions: true, minWidthToWrap: 24, optionDescription })
    .option('--server <urls>', 'nodes to ask, separated by commas; the first that answers is used')
    .option('--api-key <key>', 'API key (better: --api-key-file or COUNTERSIGN_API_KEY)')
    .option('--api-key-file <file>', 'file that holds the API key')
    .option('--cluster-ca <file>', "the cluster's CA, for https:// (or COUNTERSIGN_CLUSTER_CA)")
    .option('--why <text>', 'why, where a change by a person takes a reason')
    .option('--json', 'print JSON');
  addStatusCommand(program);
  addDoctorCommand(program);
  addPromoteCommand(program);
  addDemoteCommand(program);
  addRejoinCommand(program);
  addLoginCommands(program);
  addAdminCommands(program);
  addUserCommands(program);
  addAuthenticatorCommands(program);
  addTokenCommands(program);
  addKeyCommands(program);
  addKeysCommands(program);
  addVerifyCommand(program);
  addSettingsCommands(program);
  addApplicationCommands(program);
  addDirectoryCommands(program);
  addRadiusCommands(program);
  addEventsCommand(program);
  addInitCommand(program);
  addJoinTokenCommands(program);
  addJoinCommand(program);
  addExportCommand(program);
  addBackupCommand(program);
  addRestoreCommand(program);
  addNodeCommand(program);
  addWitnessCommand(program);
  addNatsConfigCommand(program);
  addDemoCommand(program);
  return program;
}

/** An empty list is no default worth a word. */
function optionDescription(option: Option): string {
  const { defaultValue, description } = option;
  const isNothing = Array.isArray(defaultValue) && defaultValue.length === 0;
  return isNothing ? description : new Help().optionDescription(option);
}

function readVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
