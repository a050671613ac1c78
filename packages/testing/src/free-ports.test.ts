import { expect, it } from 'vitest';

import { takeFreePorts } from './free-ports.ts';

it('ports are never given twice and lie below the range of outgoing connections', async () => {
  const ports = (await Promise.all([takeFreePorts(20), takeFreePorts(20)])).flat();
  expect(new Set(ports).size).toBe(40);
  expect(Math.max(...ports)).toBeLessThan(32_768);
});
