// The process of one node when it is not started through the command line: main.ts CONFIG_FILE
import { explainFailure } from './explain-failure.ts';
import { runNode } from './run-node.ts';
import { tellParent } from './supervisor-events.ts';

try {
  await runNode({ configFile: process.argv[2] ?? '' });
} catch (error) {
  console.error(explainFailure(error));
  await tellParent({ type: 'failed', message: explainFailure(error) });
  process.exitCode = 1;
}
// Nothing of ours is left; end even if some handle is.
if (process.connected) process.disconnect();
setTimeout(() => process.exit(), 1_000).unref();
