import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Conversation } from './conversation.ts';
import type { Machine } from './machine.ts';

const run = promisify(execFile);

const SSHD = '/usr/sbin/sshd';
const PAM_SERVICE = '/etc/pam.d/sshd';
const PAM_RADIUS = '/etc/pam_radius_auth.conf';
const USER_ID = 21_812;
const LOGIN_MS = 60_000;

/** Whether Debian's packages `openssh-server` and `libpam-radius-auth` are installed. */
export const hasSshd = [SSHD, PAM_SERVICE, PAM_RADIUS].every(existsSync);

export type SshLogin = {
  /** Of ssh(1): 0 where the command ran. */
  code: number | null;
  /** What the command wrote, or ssh where it could not. */
  said: string;
  prompts: string[];
};

/** What ssh asks in place of the terminal: it keeps the prompt, and types the next answer. */
const ASKPASS = `#!/bin/sh
n=$(ls "$LOGIN" | grep -c prompt-)
printf '%s' "$1" >"$LOGIN/prompt-$n"
cat "$LOGIN/answer-$n"
`;

/**
 * A real sshd that lets people in by pam_radius. Its machine has files of its own over those of /etc that
 * docs/integrations/linux-pam.md changes, and over those that say who has an account.
 */
export class SshServer implements AsyncDisposable {
  readonly #address: string;
  readonly #folder: string;
  readonly #sshd: Conversation;
  #logins = 0;

  private constructor(address: string, folder: string, sshd: Conversation) {
    this.#address = address;
    this.#folder = folder;
    this.#sshd = sshd;
  }

  /**
   * `auth` takes the place of `@include common-auth`, `session` stands behind the rest, `servers` are the lines of
   * pam_radius_auth.conf. It runs in that machine, and ends with it.
   */
  static async start(
    machine: Machine,
    about: { user: string; auth: string; session: string; servers: readonly string[] },
  ): Promise<SshServer> {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-ssh-'));
    try {
      // Who signs in passes through to the home.
      await chmod(folder, 0o711);
      await mkdir(join(folder, 'home'));
      await replaceFiles(machine, folder, about);
      const write = (name: string, text: string, mode = 0o600) =>
        writeFile(join(folder, name), text, { mode });
      await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'key')]);
      const publicKey = await readFile(join(folder, 'key.pub'), 'utf8');
      await write('known-hosts', `${machine.address} ${publicKey}`);
      await write('sshd_config', renderConfig(folder));
      await write('askpass', ASKPASS, 0o700);
      const args = ['-D', '-e', '-f', join(folder, 'sshd_config')];
      const sshd = new Conversation(machine.spawn(SSHD, args));
      await sshd.untilSaid('Server listening');
      return new SshServer(machine.address, folder, sshd);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** What sshd logged. */
  get log(): string {
    return this.#sshd.said;
  }

  /** Runs a command there as that user, who types these, one at each prompt. */
  async run(user: string, typed: readonly string[], command: string): Promise<SshLogin> {
    this.#logins += 1;
    const login = join(this.#folder, `login-${this.#logins}`);
    await mkdir(login);
    await Promise.all(
      typed.map((text, i) => writeFile(join(login, `answer-${i}`), text, { mode: 0o600 })),
    );
    const child = spawn('ssh', [...this.#options, `${user}@${this.#address}`, command], {
      stdio: 'pipe',
      env: {
        PATH: process.env.PATH,
        SSH_ASKPASS: join(this.#folder, 'askpass'),
        SSH_ASKPASS_REQUIRE: 'force',
        LOGIN: login,
      },
    });
    const ssh = new Conversation(child);
    try {
      const code = await ssh.untilEnded(LOGIN_MS);
      const files = (await readdir(login)).filter((name) => name.startsWith('prompt-'));
      const prompts = await Promise.all(
        files.toSorted().map((name) => readFile(join(login, name), 'utf8')),
      );
      return { code, said: ssh.said, prompts };
    } finally {
      child.kill('SIGKILL');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  get #options(): string[] {
    return [
      ...['-F', 'none', '-o', 'StrictHostKeyChecking=yes'],
      ...['-o', `UserKnownHostsFile=${join(this.#folder, 'known-hosts')}`],
      ...['-o', 'PreferredAuthentications=keyboard-interactive'],
      ...['-o', 'NumberOfPasswordPrompts=1'],
    ];
  }
}

async function replaceFiles(
  machine: Machine,
  folder: string,
  about: { user: string; auth: string; session: string; servers: readonly string[] },
): Promise<void> {
  const { user, auth, session, servers } = about;
  const put = async (file: string, text: string, mode: number) => {
    const own = join(folder, file.replaceAll('/', '-'));
    await writeFile(own, text, { mode });
    await machine.run('mount', ['--bind', own, file]);
  };
  const add = async (file: string, line: string, mode: number) =>
    put(file, `${await readFile(file, 'utf8')}${line}\n`, mode);
  await add('/etc/passwd', `${user}:x:${USER_ID}:${USER_ID}::${folder}/home:/bin/sh`, 0o644);
  await add('/etc/group', `${user}:x:${USER_ID}:`, 0o644);
  // No password of the machine's own is right.
  await add('/etc/shadow', `${user}:*:20000::::::`, 0o600);
  const service = await readFile(PAM_SERVICE, 'utf8');
  await put(PAM_SERVICE, `${service.replace('@include common-auth', auth)}${session}\n`, 0o644);
  await put(PAM_RADIUS, `${servers.join('\n')}\n`, 0o600);
  await machine.run('mount', ['-t', 'tmpfs', 'countersign-test', '/run']);
  await machine.run('mkdir', ['-m', '755', '/run/sshd']);
}

function renderConfig(folder: string): string {
  return `HostKey ${folder}/key
PidFile none
UsePAM yes
KbdInteractiveAuthentication yes
PasswordAuthentication no
LoginGraceTime 120
`;
}
