import { expect, it } from 'vitest';

import { checkNatsVersion } from './check-nats-version.ts';
import { EngineError } from './engine-error.ts';

it.each(['2.9.10', '2.10.22', '2.10.23-RC.1', '1.4.1', '0.99.99'])(
  'nats-server %s is refused in one line that names the minimum and where it was found',
  (version) => {
    const check = () => checkNatsVersion(`nats-server: v${version}\n`, '/opt/nats-server');
    expect(check).toThrow(EngineError);
    expect(check).toThrow(`/opt/nats-server is nats-server ${version}: 2.10.23 or newer is needed`);
  },
);

it.each(['2.10.23', '2.10.27', '2.11.0-preview.1', '2.15.1', '3.0.0'])(
  'nats-server %s is good enough',
  (version) => {
    expect(checkNatsVersion(`nats-server: v${version}\n`, 'PATH')).toBe(version);
  },
);

it('a program that tells no version is refused', () => {
  expect(() => checkNatsVersion('', '/bin/true')).toThrow('/bin/true did not tell its version');
});
