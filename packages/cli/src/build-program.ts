import { Command } from 'commander';
import { addApplicationCommands } from './commands/application.ts';
import { addAuthenticatorCommands } from './commands/authenticator.ts';
import { addDemoCommand } from './commands/demo.ts';
import { addDemoteCommand } from './commands/demote.ts';
import { addDirectoryCommands } from './commands/directory.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addEventsCommand } from './commands/events.ts';
import { addKeyCommands } from './commands/key.ts';
import { addNodeCommand } from './commands/node.ts';
import { addPromoteCommand } from './commands/promote.ts';
import { addRadiusCommands } from './commands/radius.ts';
import { addRejoinCommand } from './commands/rejoin.ts';
import { addSettingsCommands } from './commands/settings.ts';
import { addStatusCommand } from './commands/status.ts';
import { addTokenCommands } from './commands/token.ts';
import { addUserCommands } from './commands/user.ts';
import { addVerifyCommand } from './commands/verify.ts';

export function buildProgram(): Command {
  const program = new Command('countersign')
    .description('Two-step verification that keeps verifying')
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .option('--server <urls>', 'nodes to ask, separated by commas; the first that answers is used')
    .option('--api-key <key>', 'API key (better: --api-key-file or COUNTERSIGN_API_KEY)')
    .option('--api-key-file <file>', 'file that holds the API key')
    .option('--json', 'print JSON');
  addStatusCommand(program);
  addDoctorCommand(program);
  addPromoteCommand(program);
  addDemoteCommand(program);
  addRejoinCommand(program);
  addUserCommands(program);
  addAuthenticatorCommands(program);
  addTokenCommands(program);
  addKeyCommands(program);
  addVerifyCommand(program);
  addSettingsCommands(program);
  addApplicationCommands(program);
  addDirectoryCommands(program);
  addRadiusCommands(program);
  addEventsCommand(program);
  addNodeCommand(program);
  addDemoCommand(program);
  return program;
}
