import { outboxSize, type Database } from '@countersign/database';
import { fine, warning, type Finding } from '@countersign/doctor/finding';

const OUTBOX_WARN = 10_000;

/** Events that the log has not taken yet. */
export async function checkOutbox(db: Database): Promise<Finding[]> {
  const size = await outboxSize(db);
  const detail = `${size} events wait for the log`;
  if (size <= OUTBOX_WARN) return [fine('outbox', detail)];
  const fix = 'countersign status: they go by themselves once the log has its quorum and room';
  return [warning('outbox', detail, fix)];
}
