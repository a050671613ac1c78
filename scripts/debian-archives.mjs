// Reads from /etc/apt where this Debian gets its own packages: the mirror and the keyring that
// vouches for it. Both forms are understood: one-line (*.list) and deb822 (*.sources).
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/**
 * The entries that point at the distribution's own archive, the surest first; [] elsewhere than on
 * Debian. `signedBy` may be a path, an embedded key, or undefined for apt's own trusted keys.
 */
export function findDebianArchives({ root = '/' } = {}) {
  const release = readRelease(join(root, 'etc/os-release'));
  if (release.ID !== 'debian') return [];
  const suites = new Set([release.VERSION_CODENAME, 'stable', 'oldstable', 'testing', 'sid']);
  return readEntries(join(root, 'etc/apt'))
    .filter((entry) => entry.types.includes('deb') && entry.components.includes('main'))
    .filter((entry) => entry.suites.some((suite) => suites.has(suite)))
    .filter((entry) => isDebianKeyring(entry.signedBy) || isDebianPath(entry.uris))
    .sort((a, b) => Number(isDebianKeyring(b.signedBy)) - Number(isDebianKeyring(a.signedBy)))
    .map(({ uris, signedBy }) => ({ uris, signedBy }));
}

function isDebianKeyring(signedBy) {
  return signedBy !== undefined && basename(signedBy).startsWith('debian-archive-');
}

// Third parties use the same suite names: only a mirror's path tells the archive from them.
function isDebianPath(uris) {
  return uris.split(/\s+/).every((uri) => /\/debian\/?$/.test(uri));
}

function readRelease(path) {
  const pairs = readText(path).matchAll(/^(\w+)="?([^"\n]*)"?$/gm);
  return Object.fromEntries([...pairs].map(([, name, value]) => [name, value]));
}

function readEntries(folder) {
  const parts = join(folder, 'sources.list.d');
  const names = existsSync(parts) ? readdirSync(parts).sort() : [];
  const files = [join(folder, 'sources.list'), ...names.map((name) => join(parts, name))];
  return files.flatMap((file) => {
    if (file.endsWith('.list')) return parseOneLineEntries(readText(file));
    if (file.endsWith('.sources')) return parseDeb822Entries(readText(file));
    return [];
  });
}

/** `deb [signed-by=KEYRING] URI SUITE COMPONENT…`, sources.list(5). */
export function parseOneLineEntries(text) {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*(deb)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line);
    if (!match) return [];
    const [, type, options = '', uris, suite, components] = match;
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1];
    const lists = { types: [type], suites: [suite], components: components.trim().split(/\s+/) };
    return [{ ...lists, uris, signedBy }];
  });
}

/** Stanzas of `Field: value`, a value going on in indented lines, sources.list(5). */
export function parseDeb822Entries(text) {
  const withoutComments = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n');
  return withoutComments.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = {};
    for (const [, name, value] of stanza.matchAll(/^(\S+?):(.*(?:\n[ \t].*)*)/gm)) {
      fields[name.toLowerCase()] = value.trim();
    }
    if (!fields.uris || /^no$/i.test(fields.enabled ?? '')) return [];
    const list = (name) => (fields[name] ?? '').split(/\s+/);
    const lists = { types: list('types'), suites: list('suites'), components: list('components') };
    // An embedded key goes on in indented lines and must keep them.
    const signedBy = fields['signed-by']?.replace(/\n(?=\S)/g, '\n ');
    return [{ ...lists, uris: fields.uris.replace(/\s+/g, ' '), signedBy }];
  });
}

function readText(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}
