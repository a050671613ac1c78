import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { spawnSupervised } from '@countersign/engines';

import { takeFreePorts } from './free-ports.ts';
import { isListening } from './is-listening.ts';
import { waitFor } from './wait-for.ts';

/** A text that arrived at the fake SMSC. */
export interface ReceivedText {
  from: string;
  to: string;
  text: string;
}

export interface TestKannel {
  /** `host:port` of the sendsms HTTP interface. */
  host: string;
  user: string;
  password: string;
  /** All that arrived so far. */
  received(): Promise<ReceivedText[]>;
  stop(): Promise<void>;
}

const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
const find = (name: string, more: readonly string[] = []) =>
  [...folders, ...more].map((folder) => join(folder, name)).find(existsSync);

const binaries = {
  bearerbox: find('bearerbox'),
  smsbox: find('smsbox'),
  fakesmsc: find('fakesmsc', ['/usr/lib/kannel/test']),
};

/** Whether Debian's packages `kannel` and `kannel-extras`, or their like, are installed. */
export const hasKannel = Object.values(binaries).every((path) => path !== undefined);

const startDeadlineMs = 15_000;
const user = 'tester';
const password = 'test-password';

/** A real Kannel (bearerbox and smsbox) on loopback, with its fake SMSC as the phone network. */
export async function startTestKannel(): Promise<TestKannel> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-kannel-'));
  const [admin, boxes, smsc, sendsms] = (await takeFreePorts(4)) as [
    number,
    number,
    number,
    number,
  ];
  const configFile = join(folder, 'kannel.conf');
  await writeFile(configFile, renderConfig({ admin, boxes, smsc, sendsms }), { mode: 0o600 });
  const start = (name: keyof typeof binaries, args: string[]) =>
    spawnSupervised({
      command: binaries[name] ?? name,
      args,
      cwd: folder,
      env: {},
      logFile: join(folder, `${name}.log`),
      stopSignal: 'SIGTERM',
      stopTimeoutMs: 2_000,
    });

  const bearerbox = await start('bearerbox', ['-v', '1', configFile]);
  await untilListening([boxes, smsc]);
  const started = [
    await start('fakesmsc', ['-H', '127.0.0.1', '-r', String(smsc), '-m', '0', '1 2 text none']),
    await start('smsbox', ['-v', '1', configFile]),
  ];
  await untilListening([sendsms]);
  await waitFor(
    'the fake SMSC at Kannel',
    async () => (await readFile(join(folder, 'bearerbox.log'), 'utf8')).includes('Fakesmsc client'),
    { timeoutMs: startDeadlineMs },
  );
  return {
    host: `127.0.0.1:${sendsms}`,
    user,
    password,
    received: async () => readTexts(await readFile(join(folder, 'fakesmsc.log'), 'utf8')),
    stop: async () => {
      await Promise.all([...started, bearerbox].map((box) => box.stop()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function renderConfig(ports: Record<'admin' | 'boxes' | 'smsc' | 'sendsms', number>): string {
  return `
group = core
admin-port = ${ports.admin}
admin-interface = 127.0.0.1
admin-password = ${password}
smsbox-port = ${ports.boxes}
smsbox-interface = 127.0.0.1
box-allow-ip = "127.0.0.1"

group = smsc
smsc = fake
smsc-id = fake
port = ${ports.smsc}
connect-allow-ip = "127.0.0.1"

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = ${ports.sendsms}
sendsms-interface = 127.0.0.1
# The fake SMSC logs what it gets: as it was typed.
mo-recode = false

group = sendsms-user
username = ${user}
password = ${password}
concatenation = true
max-messages = 5

group = sms-service
keyword = default
text = "none"
`;
}

async function untilListening(ports: readonly number[]): Promise<void> {
  for (const port of ports) {
    await waitFor(`Kannel at ${port}`, () => isListening(port), { timeoutMs: startDeadlineMs });
  }
}

// Got message 1: <sender receiver type content>, the content of ucs-2 as UTF-16 in %xx.
function readTexts(log: string): ReceivedText[] {
  const lines = log.matchAll(/Got message \d+: <(\S+) (\S+) (text|ucs-2) (.*)>$/gm);
  return [...lines].map(([, from = '', to = '', type, content = '']) => {
    return { from, to, text: type === 'text' ? content : decodeUtf16(content) };
  });
}

function decodeUtf16(content: string): string {
  const bytes = content
    .replaceAll('+', ' ')
    .replace(/%([0-9A-F]{2})|([^%])/gi, (_whole, hex?: string, character?: string) => {
      return hex ?? (character ?? '').charCodeAt(0).toString(16).padStart(2, '0');
    });
  return Buffer.from(bytes, 'hex').swap16().toString('utf16le');
}
