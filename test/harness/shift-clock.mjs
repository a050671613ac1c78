// Loaded into a node's processes by NODE_OPTIONS: their wall clock is off by COUNTERSIGN_TEST_CLOCK_MS.
const offMs = Number(process.env.COUNTERSIGN_TEST_CLOCK_MS ?? 0);
const TrueDate = globalThis.Date;

globalThis.Date = class Date extends TrueDate {
  constructor(...given) {
    if (given.length === 0) super(TrueDate.now() + offMs);
    else super(...given);
  }

  static now() {
    return TrueDate.now() + offMs;
  }
};
