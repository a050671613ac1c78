// Loaded into every process of a node (NODE_OPTIONS): shows it a wall clock that is off by what a file says.
// Monotonic clocks, PostgreSQL and nats-server are left alone.
import { readFileSync } from 'node:fs';

const READ_EVERY_MS = 200;
let offsetMs = 0;

function readOffset() {
  try {
    offsetMs = Number(readFileSync(process.env.COUNTERSIGN_TEST_CLOCK_FILE, 'utf8')) || 0;
  } catch {
    offsetMs = 0;
  }
}

const RealDate = Date;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args) =>
    Reflect.construct(target, args.length === 0 ? [target.now() + offsetMs] : args),
  get: (target, name) =>
    name === 'now' ? () => target.now() + offsetMs : Reflect.get(target, name),
});
readOffset();
setInterval(readOffset, READ_EVERY_MS).unref();
