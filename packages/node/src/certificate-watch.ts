import type { X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';

import { IDENTITY_FILES } from '@countersign/identity';
import {
  checkPair,
  readCertificate,
  describeExpiry,
  TlsError,
  type CertificateKind,
  type CertificateNotice,
  type CertificatePair,
} from '@countersign/tls';

import { isSecured } from './check-exposure.ts';
import type { NodeConfig } from './config.ts';
import { identityFolderOf } from './log-access.ts';
import { NodeError } from './node-error.ts';
import type { SupervisorEvents } from './supervisor-events.ts';

const usualEveryMs = 3_000;
const longestFileBytes = 1024 * 1024;

/** What the node's processes are told: what HTTPS shows (null: plain HTTP), and how all certificates stand. */
export interface Certificates {
  pair: CertificatePair | null;
  notices: CertificateNotice[];
}

interface Source {
  name: CertificateNotice['name'];
  kind: CertificateKind;
  /** For people. */
  what: string;
  certificateFile: string;
  /** Null: only looked at, as an authority's. */
  keyFile: string | null;
}

interface Watched {
  source: Source;
  held: { pair: CertificatePair | null; certificate: X509Certificate };
  /** What lies in the files now is not taken. */
  fault: { why: string; looks: number } | null;
}

/**
 * The node's certificates as they were last whole. Files are looked at every few seconds: a new pair is served without
 * a restart; one that is broken, or does not count now while its predecessor does, is not, and the old one stays.
 */
export class CertificateWatch {
  readonly #config: NodeConfig;
  readonly #events: Pick<SupervisorEvents, 'certificates'>;
  readonly #watched: Watched[];
  #onChange: () => void = () => undefined;
  #told: Certificates = { pair: null, notices: [] };
  readonly #everyMs: number;
  #timer: NodeJS.Timeout | undefined;

  private constructor(
    config: NodeConfig,
    watched: Watched[],
    options: { events: Pick<SupervisorEvents, 'certificates'>; everyMs?: number },
  ) {
    this.#config = config;
    this.#watched = watched;
    this.#events = options.events;
    this.#everyMs = options.everyMs ?? usualEveryMs;
  }

  /** Throws NodeError, naming the file, where there is nothing whole to begin with. */
  static async open(
    config: NodeConfig,
    options: { events: Pick<SupervisorEvents, 'certificates'>; everyMs?: number },
  ): Promise<CertificateWatch> {
    const watched: Watched[] = [];
    for (const source of sourcesOf(config)) {
      try {
        watched.push({ source, held: await readSource(source, config), fault: null });
      } catch (error) {
        if (!(error instanceof TlsError)) throw error;
        const files = [source.certificateFile, source.keyFile].filter((file) => file !== null);
        throw new NodeError(`${files.join(' with ')}: ${error.message}`, { cause: error });
      }
    }
    const watch = new CertificateWatch(config, watched, options);
    watch.#tell();
    if (watched.length > 0) watch.#lookAgain();
    return watch;
  }

  /** Called whenever `current` says something else than before. */
  follow(onChange: () => void): void {
    this.#onChange = onChange;
  }

  get current(): Certificates {
    const now = new Date();
    // The operator's own comes first.
    const [pair = null] = this.#watched.flatMap(({ held }) => held.pair ?? []);
    return { pair, notices: this.#watched.map((watched) => noticeOf(watched, now)) };
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** One look after the other: a disk that hangs keeps one waiting. */
  #lookAgain(): void {
    this.#timer = setTimeout(() => {
      void this.#look().finally(() => {
        if (this.#timer) this.#lookAgain();
      });
    }, this.#everyMs);
    // A start that fails elsewhere must end.
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    for (const watched of this.#watched) {
      watched.fault = await this.#take(watched);
    }
    if (this.#timer) this.#tell();
  }

  #tell(): void {
    const now = this.current;
    if (isDeepStrictEqual(now, this.#told)) return;
    this.#events.certificates(this.#told, now);
    this.#told = now;
    this.#onChange();
  }

  async #take(watched: Watched): Promise<Watched['fault']> {
    try {
      const found = await readSource(watched.source, this.#config);
      const flaw = flawNow(found.certificate);
      if (flaw && !flawNow(watched.held.certificate)) throw new TlsError(flaw);
      watched.held = found;
      return null;
    } catch (error) {
      const why = error instanceof TlsError ? error.message : String(error);
      return { why, looks: (watched.fault?.looks ?? 0) + 1 };
    }
  }
}

function sourcesOf(config: NodeConfig): Source[] {
  const sources: Source[] = [];
  if (config.http.tls) {
    const what = `its HTTPS certificate ${config.http.tls.certificateFile}`;
    sources.push({ name: 'https', kind: 'own', what, ...config.http.tls });
  }
  if (!isSecured(config)) return sources;
  const inIdentity = (name: string) => join(identityFolderOf(config.dataDirectory), name);
  return [
    ...sources,
    {
      name: 'node',
      kind: 'renewed',
      what: 'its certificate in the cluster, which should have been renewed by now,',
      certificateFile: inIdentity(IDENTITY_FILES.certificatePem),
      keyFile: inIdentity(IDENTITY_FILES.keyPem),
    },
    {
      name: 'ca',
      kind: 'authority',
      what: "the certificate of the cluster's CA",
      certificateFile: inIdentity(IDENTITY_FILES.caPem),
      keyFile: null,
    },
  ];
}

async function readSource(source: Source, config: NodeConfig): Promise<Watched['held']> {
  const certificatePem = await readSmall(source.certificateFile);
  // The newest stands first.
  if (source.keyFile === null) return { pair: null, certificate: readCertificate(certificatePem) };
  const pair = { certificatePem, keyPem: await readSmall(source.keyFile) };
  return { pair, certificate: checkPair(pair, config.tls) };
}

async function readSmall(file: string): Promise<string> {
  try {
    const about = await stat(file);
    if (!about.isFile() || about.size > longestFileBytes)
      throw new TlsError(`${file} is no PEM file`);
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (cause instanceof TlsError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    throw new TlsError(`cannot read ${file} (${code})`, { cause });
  }
}

/** Worse than none that counts, better than none at all: RADIUS goes on, and a clock may be wrong. */
function flawNow({ validFromDate, validToDate }: X509Certificate): string | null {
  const now = new Date();
  if (validToDate <= now) return 'it has expired';
  return validFromDate > now ? 'it does not count yet' : null;
}

function noticeOf({ source, held, fault }: Watched, now: Date): CertificateNotice {
  const { name, kind, what, certificateFile } = source;
  const expiry = describeExpiry(held.certificate, kind, now);
  const expiresAt = held.certificate.validToDate.toISOString();
  // Two files are rarely replaced in one moment.
  if (fault && fault.looks > 1) {
    const old = `the one before it, until ${expiresAt.slice(0, 10)}, is served on`;
    const problem = `its new certificate ${certificateFile} is not taken: ${fault.why}; ${old}`;
    return { name, expiresAt, problem };
  }
  return { name, expiresAt, problem: expiry && `${what} ${expiry}` };
}
