export { describeStatus } from './describe-status.ts';
export { runCli } from './run-cli.ts';
