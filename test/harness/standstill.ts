/**
 * A machine that is shared may let any process stand still for so long. That is no part of what the product takes, so it
 * comes on top of what a test allows.
 */
export const STANDSTILL_MS = 1000;
