import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type GatewayManner = 'delivers' | 'hangs' | 'fails' | 'garbage';

/** An SMS gateway as nodes reach one over HTTP: it keeps what it was given, and misbehaves on demand. */
export class TextGateway {
  manner: GatewayManner = 'delivers';
  readonly received: { to: string; text: string }[] = [];
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<TextGateway> {
    const server = createServer((request, response) => {
      const { searchParams } = new URL(request.url ?? '/', 'http://gateway');
      gateway.#answer(searchParams, response);
    });
    const gateway = new TextGateway(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return gateway;
  }

  /** As the nodes' configuration names it. */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A value of the setting `text.providers`. */
  get provider(): object {
    return {
      kind: 'generic-http',
      name: `gateway-${(this.#server.address() as AddressInfo).port}`,
      url: `http://${this.host}`,
      method: 'GET',
      path: '/send',
      query: { to: '<$to$>', text: '<$text$>' },
    };
  }

  /** The last code sent to a number; null where none was. */
  codeFor(number: string): string | null {
    const text = this.received.findLast(({ to }) => to === number)?.text;
    return /\b\d{6,8}\b/.exec(text ?? '')?.[0] ?? null;
  }

  #answer(query: URLSearchParams, response: ServerResponse): void {
    const { manner } = this;
    if (manner === 'hangs') return;
    if (manner === 'delivers') {
      this.received.push({ to: query.get('to') ?? '', text: query.get('text') ?? '' });
    }
    response.statusCode = manner === 'fails' ? 500 : 200;
    if (manner === 'garbage') response.socket?.end('what\r\n\r\n');
    else response.end('ok');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
