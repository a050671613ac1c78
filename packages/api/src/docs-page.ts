import swaggerUi from '@fastify/swagger-ui';
import type { ApiServer } from './api-server.ts';

const DOCS_PATH = '/api/v1/docs';

/** Only from this server, and only what it is; nobody else may frame it. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Whoever watches the node needs no key for the page: what is called from it does. To be called before anything else looks at the routes. */
export function openDocsPage(api: ApiServer): void {
  api.addHook('onRoute', (route) => {
    const isOfPage = route.url === DOCS_PATH || route.url.startsWith(`${DOCS_PATH}/`);
    if (isOfPage) route.config = { ...route.config, access: { monitoring: true } };
  });
}

/** A page to read and try the API, from the description that the server makes of itself. */
export function addDocsPage(api: ApiServer): void {
  api.register(swaggerUi, {
    routePrefix: DOCS_PATH,
    staticCSP: CONTENT_SECURITY_POLICY,
    theme: { title: 'Countersign API' },
    // Without the layout's bar, in which any other description could be loaded.
    uiConfig: { layout: 'BaseLayout', validatorUrl: null, docExpansion: 'none', filter: true },
  });
}
