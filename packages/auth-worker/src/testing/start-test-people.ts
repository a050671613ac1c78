import { OpenDirectories } from '@countersign/operations';
import { startTestSlapd, type TestSlapd } from '@countersign/testing';
import type { DirectoryDocument, UserDocument } from '@countersign/verification';
import type { VerifierOptions } from '../verifier-options.ts';
import { testDirectory } from './test-directory.ts';
import type { useTestStates } from './use-test-states.ts';

export const RIGHT_PASSWORD = 'Wachtwoord.1';

/** A real slapd with people, as a directory of the settings; whoever is enrolled is one of them. */
export async function startTestPeople(
  test: ReturnType<typeof useTestStates>,
  options: {
    keys: VerifierOptions['keys'];
    secret: Uint8Array;
    people?: number;
    /** Two servers of one directory, and how long each is waited for. */
    pair?: { answerMs: number };
    /** The URL by which the first server is asked; its own unless told. */
    reach?: (slapd: TestSlapd) => Promise<string>;
  },
): Promise<{
  slapd: TestSlapd;
  directory: DirectoryDocument;
  directories: OpenDirectories;
  /** A user with a HOTP token of the secret, and more. */
  enrol(uid: string, more?: Partial<UserDocument>): Promise<UserDocument>;
  stop(): Promise<void>;
}> {
  const { keys, secret, people = 12, pair, reach = async ({ ldapUrl }) => ldapUrl } = options;
  const slapd = await startTestSlapd({ tls: false, people });
  const second = pair && (await startTestSlapd({ tls: false, people, copyOf: slapd }));
  const directory = testDirectory(keys.seed, slapd.reader, {
    name: 'people',
    type: 'ldap',
    domains: ['example', 'example.test'],
    servers: [await reach(slapd), ...(second ? [second.ldapUrl] : [])],
    ...(pair && { connectMs: pair.answerMs, answerMs: pair.answerMs }),
    baseDn: slapd.baseDn,
  });
  await test.addDirectory(directory);
  const directories = new OpenDirectories({ db: test.db(), node: 'node-1', seedKey: keys.seed });
  const found = await directories.previewPeople(directory, { limit: people + 8 });
  const objects = new Map(
    found.people.map(({ username, object }) => [username!.toLowerCase(), object]),
  );
  return {
    slapd,
    directory,
    directories,
    enrol(uid, more = {}) {
      const link = {
        id: directory.id,
        object: objects.get(uid)!,
        dn: slapd.people.find((person) => person.uid === uid)!.dn,
        item: null,
        names: [`${uid}@example.test`, `example\\${uid}`],
        mails: [],
      };
      const fields = { username: uid, directory: link, ...more };
      return test.addUser(keys.seed, secret, async () => fields);
    },
    async stop() {
      await directories[Symbol.asyncDispose]();
      await slapd.stop();
      await second?.stop();
    },
  };
}
