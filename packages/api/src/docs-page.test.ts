import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApi } from './testing/index.ts';

let server: Awaited<ReturnType<typeof startApi>>;
beforeAll(async () => {
  server = await startApi();
});
afterAll(() => server.close());

type Operation = {
  summary?: string;
  description?: string;
  tags?: string[];
  security?: object[];
  responses: Record<string, object>;
  requestBody?: object;
};

async function readOperations(): Promise<[string, Operation][]> {
  const reply = await fetch(`${server.url}/api/v1/openapi.json`);
  const { paths } = (await reply.json()) as { paths: Record<string, Record<string, Operation>> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, Operation] => [
      `${method.toUpperCase()} ${path}`,
      operation,
    ]),
  );
}

describe('the page to try the API', () => {
  const page = () => fetch(`${server.url}/api/v1/docs`);

  it('needs no key and loads what it needs from the same server', async () => {
    const reply = await page();
    expect(reply.status).toBe(200);
    expect(reply.headers.get('content-type')).toContain('text/html');
    const html = await reply.text();
    const loaded = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address!);
    expect(loaded.filter((address) => address.endsWith('.js'))).toHaveLength(3);
    for (const address of loaded) {
      const url = new URL(address, reply.url);
      expect(url.origin, address).toBe(server.url);
      const asset = await fetch(url);
      expect(asset.status, address).toBe(200);
      expect(asset.headers.get('x-content-type-options')).toBe('nosniff');
      await asset.arrayBuffer();
    }
    // Nothing stands in the page itself that could run, and nothing comes from elsewhere.
    expect(html).not.toMatch(/<script(?![^>]*src=)|<style|\son\w+=|style=|:\/\//);
  });

  it('tells the browser to run, load and ask nothing but this server', async () => {
    for (const path of ['/api/v1/docs', '/api/v1/docs/', '/api/v1/docs/static/swagger-ui.css']) {
      const reply = await fetch(server.url + path);
      const policy = reply.headers.get('content-security-policy') ?? '';
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).not.toMatch(/https?:|\*|unsafe/);
      for (const directive of policy.split('; ')) {
        expect(directive).toMatch(/^[a-z-]+ ('none'|'self'( data:)?)$/);
      }
      await reply.arrayBuffer();
    }
  });

  it('starts with the description of this server, and asks no validator about it', async () => {
    const reply = await fetch(`${server.url}/api/v1/docs/static/swagger-initializer.js`);
    const script = await reply.text();
    expect(script).toContain("url: resolveUrl('./json')");
    expect(script).toMatch(/"validatorUrl":\s*null/);
    expect(script).toContain('BaseLayout');
    const [described, given] = await Promise.all(
      ['/api/v1/docs/json', '/api/v1/openapi.json'].map(async (path) =>
        (await fetch(server.url + path)).json(),
      ),
    );
    expect(described).toEqual(given);
  });

  it('opens nothing else: other files, and whatever lies beside the page', async () => {
    const paths = [
      '/api/v1/docs/static/../package.json',
      '/api/v1/docs/static/%2e%2e/package.json',
      '/api/v1/docs/static/..%2f..%2fpackage.json',
      '/api/v1/docs/nothing',
    ];
    for (const path of paths) {
      const { statusCode, body } = await server.api.inject({ method: 'GET', url: path });
      expect([400, 403, 404], `${path} ${statusCode}`).toContain(statusCode);
      expect(body).not.toContain('"name"');
    }
    for (const path of ['/api/v1/docsx', '/api/v1/users']) {
      expect([401, 404]).toContain((await fetch(server.url + path)).status);
    }
    expect((await fetch(`${server.url}/api/v1/docs`, { method: 'POST' })).status).toBe(404);
  });
});

describe('the description of the API', () => {
  it('has a summary, a tag and replies for every operation, and the scope of those that need a key', async () => {
    const operations = await readOperations();
    expect(operations.length).toBeGreaterThan(20);
    for (const [name, { summary, tags, responses, security, description }] of operations) {
      expect(summary, name).toMatch(/^[A-Z].{8,}/);
      expect(tags, name).toHaveLength(1);
      expect(Object.keys(responses).length, name).toBeGreaterThan(0);
      const open = [
        '/healthz',
        '/readyz',
        '/readyz/master',
        '/metrics',
        '/api/v1/cluster/join',
        '/api/v1/sessions',
        '/api/v1/invitations/look',
        '/api/v1/invitations/accept',
      ];
      const isOpen = open.some((path) => name.endsWith(` ${path}`));
      expect(security, name).toEqual(isOpen ? [] : [{ apiKey: [] }]);
      if (isOpen) continue;
      // Who is asking, and the end of a session: for whoever has any key or session.
      const wanted = name.includes('/sessions/current')
        ? /Needs no scope\.$/
        : /Needs the scope `[a-z:-]+`( or `[a-z:-]+`)*\.$/;
      expect(description, name).toMatch(wanted);
    }
  });

  it('has a schema for the body of every operation that takes one', async () => {
    for (const [name, operation] of await readOperations()) {
      const body = JSON.stringify(operation.requestBody ?? null);
      if (name.startsWith('PATCH ')) expect(body, name).toContain('"application/json"');
      expect(body, name).not.toContain('"schema":{}');
    }
  });
});
