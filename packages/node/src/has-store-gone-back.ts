import { readStoreMark, surveyLogServers, type LogSignIn, type Sealer } from '@countersign/cluster';

import type { NodeConfig } from './config.ts';

/**
 * Whether other nodes have heard more of this node's log server than its store knows: the disk was replaced by an
 * older copy. Such a server has agreed to messages that it knows nothing of; with it as a majority the log servers
 * would put others at the same places, and never notice. False where nobody answers.
 */
export async function hasStoreGoneBack(options: {
  config: NodeConfig;
  signIn: LogSignIn;
  sealer: Sealer;
  tag: string;
  storeDirectory: string;
}): Promise<boolean> {
  const { config, signIn, sealer, tag, storeDirectory } = options;
  const servers = config.logServers.filter(({ name }) => name !== config.name);
  const mark = readStoreMark(storeDirectory);
  const surveys = await surveyLogServers({ servers, signIn, name: config.name, sealer });
  return surveys
    .flatMap(({ hellos }) => hellos)
    .some((hello) => hello.layout.tag === tag && (hello.storeMarks[config.name] ?? 0) > mark);
}
