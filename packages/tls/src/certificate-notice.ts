/** How a certificate of a node stands, for whoever tells people. */
export type CertificateNotice = {
  /** `https`: the operator's own, for the API. `node`: the node's by the cluster's CA. `ca`: that CA's. */
  name: 'https' | 'node' | 'ca';
  /** ISO 8601. */
  expiresAt: string;
  /** What to know or do, in a line. */
  problem: string | null;
};
