import { randomUUID } from 'node:crypto';
import { directoryDefaults } from '@countersign/directory';
import { OpenDirectories, sealDirectoryPassword } from '@countersign/operations';
import { startTestSlapd, type TestSlapd } from '@countersign/testing';
import type { DirectoryDocument, UserDocument } from '@countersign/verification';
import type { VerifierOptions } from '../verifier.ts';
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
  },
): Promise<{
  slapd: TestSlapd;
  directory: DirectoryDocument;
  directories: OpenDirectories;
  /** A user with a HOTP token of the secret, and more. */
  enrol(uid: string, more?: Partial<UserDocument>): Promise<UserDocument>;
  stop(): Promise<void>;
}> {
  const { keys, secret, people = 12, pair } = options;
  const slapd = await startTestSlapd({ tls: false, people });
  const second = pair && (await startTestSlapd({ tls: false, people, copyOf: slapd }));
  const at = new Date().toISOString();
  const defaults = directoryDefaults('ldap');
  const plain = {
    ...defaults,
    id: randomUUID(),
    name: 'people',
    type: 'ldap' as const,
    domains: ['example', 'example.test'],
    servers: [slapd.ldapUrl, ...(second ? [second.ldapUrl] : [])],
    ...(pair && { connectMs: pair.answerMs, answerMs: pair.answerMs }),
    account: { name: slapd.reader.name, sealedPassword: '' },
    baseDn: slapd.baseDn,
    defaultCountry: 'NL',
    sync: { ...defaults.sync, enabled: false, intervalMinutes: 5, fullHours: 24 },
    items: [],
    createdAt: at,
    updatedAt: at,
  };
  const sealedPassword = sealDirectoryPassword(keys.seed, plain, slapd.reader.password);
  const directory = { ...plain, account: { name: slapd.reader.name, sealedPassword } };
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
