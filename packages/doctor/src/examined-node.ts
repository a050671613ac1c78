import type { TlsTerms } from '@countersign/tls';

/** What a node's configuration says of its machine; paths are absolute. */
export type ExaminedNode = {
  name: string;
  dataDirectory: string;
  /** Beside those in the data directory. */
  secretFiles: string[];
  http: {
    host: string;
    port: number;
    /** The operator's own certificate. */
    tls: { certificateFile: string; keyFile: string } | null;
    isHttps: boolean;
  };
  tls: TlsTerms;
  url: string | null;
  radius: { host: string[]; authenticationPort: number; accountingPort: number } | null;
  limits: { changesBytes: number; statesBytes: number; eventsBytes: number };
  /** As configured, in use or not. */
  logServers: ExaminedLogServer[];
  /** They are the operator's own. */
  isOperatorsNats?: boolean;
  /** The configuration and what stood in it when it was read. */
  file: { path: string; sha256: string };
};

export type ExaminedLogServer = {
  name: string;
  host: string;
  clientPort: number;
  routePort: number;
};
