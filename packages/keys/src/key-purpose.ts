/**
 * What a derived key may be used for. A process is handed the purposes it needs and nothing it
 * could derive the others from.
 */
export type KeyPurpose =
  | 'document'
  | 'seed'
  | 'command'
  | 'command-id'
  | 'event'
  | 'wrong-code'
  | 'attempt-id'
  | 'challenge'
  | 'pin'
  | 'spare-code'
  | 'parked'
  | 'new-secret'
  | 'nats-password'
  | 'socket-proof'
  | 'session'
  | 'session-proof'
  | 'key-ring'
  | 'authority';
