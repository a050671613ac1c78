import type { ClusterView } from '@countersign/api';
import { fine, warning, type Finding } from '@countersign/doctor/finding';

/** Nodes of different versions work together for the time of an upgrade, not for good. */
export function checkVersions(view: ClusterView): Finding[] {
  const running = view.nodes.filter(({ online }) => online);
  const byVersion = [...Map.groupBy(running, ({ version }) => version)].toSorted(([a], [b]) =>
    b.localeCompare(a, 'en', { numeric: true }),
  );
  const [newest, ...older] = byVersion;
  if (!newest) return [];
  if (older.length === 0) return [fine('versions', `all that are there run ${newest[0]}`)];
  const told = byVersion.map(
    ([version, nodes]) => `${nodes.map(({ name }) => name).join(', ')}: ${version}`,
  );
  // The master last: it writes nothing that an older node cannot read.
  const behind = older
    .flatMap(([, nodes]) => nodes)
    .toSorted((a, b) => Number(a.role === 'master') - Number(b.role === 'master'))
    .map(({ name }) => name);
  const fix = `bring these to ${newest[0]}, one after the other in this order: ${behind.join(', ')}; docs/operating.md, "Upgrade"`;
  return [warning('versions', told.join('; '), fix)];
}
