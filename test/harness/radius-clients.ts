import type { ApiClient } from './api-client.ts';

/** Lets whoever sends from loopback sign people in to the application `vpn`. */
export async function addVpn(api: ApiClient, client: { secret: string }): Promise<void> {
  await api.done('POST', '/api/v1/applications', { name: 'vpn' });
  await api.done('POST', '/api/v1/radius/clients', {
    name: 'vpn',
    application: 'vpn',
    addresses: ['127.0.0.1'],
    ...client,
  });
}
