import { PresenceFilter } from 'ldapts';
import { Circuit } from './circuit.ts';
import { Connection } from './connection.ts';
import { DirectoryError } from './directory-error.ts';
import { parseServer } from './open-socket.ts';
import type { ServerAddress } from './open-socket.ts';
import type { DirectoryConfig } from './types.ts';

type Server = {
  address: ServerAddress;
  circuit: Circuit;
  problem: DirectoryError | undefined;
  trial: Promise<void> | undefined;
};

/** The servers of a directory, in order. Who fails is passed over for a while. */
export class Servers {
  readonly #config: DirectoryConfig;
  readonly #servers: Server[];

  constructor(config: DirectoryConfig) {
    this.#config = config;
    this.#servers = config.servers.map((url) => ({
      address: parseServer(url),
      circuit: new Circuit(),
      problem: undefined,
      trial: undefined,
    }));
  }

  get addresses(): ServerAddress[] {
    return this.#servers.map(({ address }) => address);
  }

  /** A connection to the first server that takes one, not bound. Throws DirectoryError. */
  async connect(): Promise<Connection> {
    const connection = await this.#connectToClosed();
    if (connection) return connection;
    // All are passed over: what is on trial may come back, and there is nobody else to ask.
    const trials = this.#servers.flatMap(({ trial }) => (trial ? [trial] : []));
    await Promise.all(trials);
    const again = trials.length > 0 ? await this.#connectToClosed() : null;
    if (again) return again;
    throw this.#nobody();
  }

  /** Whether this one is passed over while another is not: what lies idle of it would only be waited for. */
  isOutdone(address: ServerAddress): boolean {
    const isOpen = this.#servers.find((one) => one.address === address)?.circuit.isOpen;
    return isOpen === true && this.#servers.some(({ circuit }) => !circuit.isOpen);
  }

  /** A connection of this server broke off a request, or nothing came. */
  reportFailure(address: ServerAddress, problem: DirectoryError): void {
    const server = this.#servers.find((one) => one.address === address);
    if (!server) return;
    server.problem = problem;
    server.circuit.fail(performance.now());
  }

  async #connectToClosed(): Promise<Connection | null> {
    for (const server of this.#servers) {
      if (server.circuit.isOpen) {
        this.#tryAgain(server);
        continue;
      }
      try {
        return await Connection.open(server.address, this.#config);
      } catch (error) {
        this.reportFailure(server.address, error as DirectoryError);
      }
    }
    return null;
  }

  /** Beside the request that found it due: that one goes to the next server meanwhile. */
  #tryAgain(server: Server): void {
    if (server.trial || !server.circuit.isDueForTrial(performance.now())) return;
    server.trial = this.#isBack(server).finally(() => {
      server.trial = undefined;
    });
  }

  async #isBack(server: Server): Promise<void> {
    try {
      await using connection = await Connection.open(server.address, this.#config);
      await readRoot(connection, ['1.1']);
      server.circuit.succeed();
      server.problem = undefined;
    } catch (error) {
      this.reportFailure(server.address, error as DirectoryError);
    }
  }

  #nobody(): DirectoryError {
    const problems = this.#servers.flatMap(({ problem }) => problem ?? []);
    const untrusted = problems.find(({ fault }) => fault === 'certificate');
    const lines = problems.map(({ message }) => message).join('; ');
    const message = `no server can be used: ${lines}`.slice(0, 1000);
    return new DirectoryError(untrusted ? 'certificate' : 'unreachable', message);
  }
}

/** The root of a server (RFC 4512 5.1), which every server shows to everybody. */
export async function readRoot(connection: Connection, attributes: string[]) {
  const filter = new PresenceFilter({ attribute: 'objectClass' });
  const { entries } = await connection.search('', { scope: 'base', filter, attributes });
  return entries[0];
}
