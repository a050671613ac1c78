import type { SendAttempt } from '@countersign/delivery';
import type { RadiusServer } from '@countersign/radius';
import type { Verdict } from '@countersign/verification';
import type { CertificateNotice } from '@countersign/tls';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export type GaugeSource = () => Promise<{
  revision: number;
  epoch: number;
  isCircuitOpen: boolean;
  outboxSize: number;
  clockOffsetMs: number;
  isMaster: boolean;
  isConnected: boolean;
  /** Infinity: there is none yet; null: none are planned. */
  backupAgeSeconds: number | null;
}>;

type Witness = { name: string; online: boolean; certificateExpiresAt: string };

/** Prometheus metrics of one worker; names start with `countersign_`. */
export class WorkerMetrics {
  readonly #registry = new Registry();
  readonly #verifications = new Counter({
    name: 'countersign_verifications_total',
    help: 'Verifications by result, reason and whether they were judged without the quorum',
    labelNames: ['result', 'reason', 'degraded'],
    registers: [this.#registry],
  });
  readonly #duration = new Histogram({
    name: 'countersign_verification_seconds',
    help: 'Time to a verdict',
    labelNames: ['result'],
    buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2],
    registers: [this.#registry],
  });
  readonly #writes = new Counter({
    name: 'countersign_state_writes_total',
    help: 'Compare-and-set writes of user states by outcome',
    labelNames: ['outcome'],
    registers: [this.#registry],
  });
  readonly #degraded = new Counter({
    name: 'countersign_degraded_approvals_total',
    help: 'Approvals given without the quorum by this node',
    labelNames: ['node'],
    registers: [this.#registry],
  });

  readonly #malformedStopFacts = new Counter({
    name: 'countersign_stop_facts_malformed_total',
    help: 'Told stop facts that did not open or were none',
    registers: [this.#registry],
  });

  readonly #texts = new Counter({
    name: 'countersign_text_attempts_total',
    help: 'Texts handed to a provider, by what came of it',
    labelNames: ['provider', 'outcome'],
    registers: [this.#registry],
  });
  readonly #textSeconds = new Histogram({
    name: 'countersign_text_seconds',
    help: 'Time a provider took for a text',
    labelNames: ['provider'],
    buckets: [0.05, 0.1, 0.2, 0.5, 1, 2, 4, 8],
    registers: [this.#registry],
  });
  readonly #textSegments = new Counter({
    name: 'countersign_text_segments_total',
    help: 'Parts of texts that were sent: what providers charge for',
    labelNames: ['provider'],
    registers: [this.#registry],
  });
  readonly #textCost = new Counter({
    name: 'countersign_text_cost_total',
    help: 'Price of texts that were sent, where the provider or the settings tell it',
    labelNames: ['provider', 'currency'],
    registers: [this.#registry],
  });
  readonly #textsRefused = new Counter({
    name: 'countersign_texts_refused_total',
    help: 'Texts that went to no provider, by why',
    labelNames: ['reason'],
    registers: [this.#registry],
  });

  constructor(labels: { node: string; worker: string }, read: GaugeSource) {
    this.#registry.setDefaultLabels(labels);
    collectDefaultMetrics({ register: this.#registry });
    const gauge = (name: string, help: string) =>
      new Gauge({ name: `countersign_${name}`, help, registers: [this.#registry] });
    const revision = gauge('applied_revision', 'Revision of the change log applied on this node');
    const epoch = gauge('applied_epoch', 'Newest epoch applied on this node');
    const circuit = gauge('circuit_open', '1 while this node verifies without the quorum');
    const outbox = gauge('outbox_events', 'Events of this node not yet in the log');
    const clock = gauge('clock_offset_seconds', 'The cluster median clock minus this node');
    const master = gauge('is_master', '1 on the master');
    const connected = gauge('log_connected', '1 while connected to a log server');
    const up = gauge('database_up', '1 while PostgreSQL of this node answers');
    const backup = gauge(
      'backup_age_seconds',
      'Since the newest backup of this node, +Inf where there is none; only where some are planned',
    );
    for (const one of [revision, backup]) one.reset();
    this.#collect = async () => {
      try {
        const now = await read();
        up.set(1);
        revision.set(now.revision);
        epoch.set(now.epoch);
        circuit.set(Number(now.isCircuitOpen));
        outbox.set(now.outboxSize);
        clock.set(now.clockOffsetMs / 1000);
        master.set(Number(now.isMaster));
        connected.set(Number(now.isConnected));
        if (now.backupAgeSeconds !== null) backup.set(now.backupAgeSeconds);
      } catch {
        up.set(0);
      }
    };
  }

  readonly #collect: () => Promise<void>;

  countVerdict(verdict: Verdict, degraded: boolean, durationMs: number): void {
    const result = verdict.approved ? 'approved' : 'denied';
    const reason = verdict.approved ? '' : verdict.reason;
    this.#verifications.inc({ result, reason, degraded: String(degraded) });
    this.#duration.observe({ result }, durationMs / 1000);
  }

  countWrite(outcome: string): void {
    this.#writes.inc({ outcome });
  }

  countDegradedApproval(node: string): void {
    this.#degraded.inc({ node });
  }

  countMalformedStopFact(): void {
    this.#malformedStopFacts.inc();
  }

  countTextAttempt({ provider, ms, result }: SendAttempt): void {
    this.#texts.inc({ provider, outcome: result.sent ? 'sent' : result.outcome });
    this.#textSeconds.observe({ provider }, ms / 1000);
    if (!result.sent || !result.cost) return;
    const { segments, amount, currency } = result.cost;
    this.#textSegments.inc({ provider }, segments);
    if (amount !== undefined && currency) this.#textCost.inc({ provider, currency }, amount);
  }

  countTextRefused(reason: string): void {
    this.#textsRefused.inc({ reason });
  }

  /** Figures of this worker's RADIUS server, read whenever somebody asks for metrics. */
  watchRadius(read: () => ReturnType<RadiusServer['counts']>): void {
    const counter = (name: string, help: string, of: 'received' | 'answered' | 'duplicates') =>
      new Counter({
        name: `countersign_radius_${name}_total`,
        help,
        registers: [],
        collect() {
          this.reset();
          this.inc(read()[of]);
        },
      });
    const refused = new Counter({
      name: 'countersign_radius_refused_total',
      help: 'RADIUS datagrams of known clients that were dropped, by why',
      labelNames: ['client', 'reason'],
      registers: [],
      collect() {
        this.reset();
        for (const { source: client, reason, count } of read().refused) {
          this.inc({ client, reason }, count);
        }
      },
    });
    const pending = new Gauge({
      name: 'countersign_radius_pending',
      help: 'RADIUS requests that wait for a verdict',
      registers: [],
      collect() {
        this.set(read().pending);
      },
    });
    const all = [
      counter('received', 'RADIUS datagrams that arrived', 'received'),
      counter('answered', 'RADIUS replies that were sent', 'answered'),
      counter('duplicates', 'RADIUS requests sent again from the same port', 'duplicates'),
      refused,
      pending,
    ];
    for (const metric of all) this.#registry.registerMetric(metric);
  }

  /** Read whenever somebody asks for metrics. */
  watchCertificates(read: () => CertificateNotice[]): void {
    this.#registry.registerMetric(
      new Gauge({
        name: 'countersign_certificate_expires_seconds',
        help: 'Time until a certificate of this node ends; below 0 it has',
        labelNames: ['certificate'],
        registers: [],
        collect() {
          this.reset();
          for (const { name, expiresAt } of read()) {
            this.set({ certificate: name }, (Date.parse(expiresAt) - Date.now()) / 1000);
          }
        },
      }),
    );
  }

  /** Read whenever somebody asks for metrics: the same at every node that hears the master. */
  watchWitnesses(read: () => Witness[]): void {
    const gauge = (name: string, help: string, valueOf: (witness: Witness) => number) =>
      new Gauge({
        name: `countersign_witness_${name}`,
        help,
        labelNames: ['witness'],
        registers: [],
        collect() {
          this.reset();
          for (const witness of read()) this.set({ witness: witness.name }, valueOf(witness));
        },
      });
    const all = [
      gauge('up', 'The witness is heard', ({ online }) => Number(online)),
      gauge(
        'certificate_expires_seconds',
        "Time until the witness's certificate ends; below 0 it has",
        ({ certificateExpiresAt }) => (Date.parse(certificateExpiresAt) - Date.now()) / 1000,
      ),
    ];
    for (const metric of all) this.#registry.registerMetric(metric);
  }

  async render(): Promise<{ contentType: string; text: string }> {
    await this.#collect();
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }
}
