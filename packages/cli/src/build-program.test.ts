import type { Command } from 'commander';
import { expect, it } from 'vitest';
import { buildProgram } from './build-program.ts';
import { runCountersign } from './testing/run-countersign.ts';

const program = buildProgram();
const commands = [program, ...below(program)];

function below(command: Command): Command[] {
  return command.commands.flatMap((each) => [each, ...below(each)]);
}

function nameOf(command: Command): string {
  return command.parent ? `${nameOf(command.parent)} ${command.name()}` : command.name();
}

it('--version prints the version and ends well', async () => {
  const run = await runCountersign(['--version'], { directory: '/', env: {} });
  expect(run).toEqual({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), stderr: '' });
});

it('no option of a command is called like one of all commands, which would take its value', () => {
  const common = new Set(program.options.map(({ long }) => long));
  const taken = commands
    .slice(1)
    .flatMap((command) => command.options.map(({ long }) => ({ command, long })))
    .filter(({ long }) => common.has(long))
    .map(({ command, long }) => `${nameOf(command)} ${long}`);
  expect(taken).toEqual([]);
});

it('every command says what it is for, and its help fits 100 columns and shows no empty list', () => {
  const silent = commands.filter((command) => command.description() === '').map(nameOf);
  expect(silent).toEqual([]);
  const ugly = commands.flatMap((command) => {
    let help = '';
    command.configureOutput({ getOutHelpWidth: () => 80, writeOut: (text) => (help += text) });
    command.outputHelp();
    const lines = help.split('\n').filter((line) => line.length > 100 || line.includes('[])'));
    return lines.map((line) => `${nameOf(command)}: ${line}`);
  });
  expect(ugly).toEqual([]);
});
