import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import { readNamedFile } from '../read-named-file.ts';
import { addNewNodeOptions, newNodeOf, type NewNodeOptions } from '../new-node-options.ts';
import { printJson, printLines } from '../print.ts';
import { readInputLine } from '../read-input.ts';

const TOKEN_VARIABLE = 'COUNTERSIGN_JOIN_TOKEN';
const TOKEN_FILE_MAX_CHARS = 4_096;

type JoinOptions = NewNodeOptions & { tokenFile?: string; witness?: boolean };

export function addJoinCommand(program: Command): void {
  const join = program
    .command('join')
    .description(
      'make this machine a node of the cluster that --server is of, with a token made there',
    )
    .argument(
      '[token]',
      `from "countersign join-token create"; better "-" for stdin, --token-file or ${TOKEN_VARIABLE}: others see arguments`,
    )
    .option('--token-file <file>', 'file that holds the token')
    .option('--witness', 'join as a witness, which runs a log server only');
  addNewNodeOptions(join).action(
    async (argument: string | undefined, options: JoinOptions, command: Command) => {
      const { server, json } = command.optsWithGlobals<{ server?: string; json?: boolean }>();
      const serverUrl = server ?? process.env.COUNTERSIGN_SERVER;
      if (!serverUrl) throw new CliError('give --server https://HOST:PORT', { exitCode: 2 });
      const token = await readToken(argument, options.tokenFile);
      const { quote } = await import('@countersign/doctor/finding');
      const { joinCluster } = await import('@countersign/node');
      const node = newNodeOf(options);
      const role = options.witness ? 'witness' : 'node';
      const joined = await joinCluster({ ...node, token, serverUrl, role });
      if (json) return printJson(joined);
      const { clusterId, members, isConfigNew, dataDirectory } = joined;
      printLines([
        `${node.name} is a member of the cluster ${clusterId} now: ${members.join(', ')}`,
        `its data:      ${dataDirectory}`,
        `configuration: ${node.configFile}${isConfigNew ? ' (written)' : ''}`,
        `start it:      systemctl enable --now countersign${options.witness ? '-witness' : ''}`,
        `or by hand:    countersign ${role} --config ${quote(node.configFile)}`,
      ]);
    },
  );
}

async function readToken(argument: string | undefined, file: string | undefined): Promise<string> {
  if (argument !== undefined && argument !== '-') return argument;
  if (argument === undefined && file !== undefined) {
    return readNamedFile(file, 'the join token').slice(0, TOKEN_FILE_MAX_CHARS);
  }
  const fromEnvironment = process.env[TOKEN_VARIABLE];
  if (argument === undefined && fromEnvironment) return fromEnvironment;
  return readInputLine('the join token');
}
