import {
  directoryName,
  itemPlace,
  newSyncItem,
  syncItem,
  syncItemFields,
  usernameKey,
  type ItemEdit,
  type SyncItem,
} from '@countersign/verification';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { directoryParams, findOneDirectory } from '../directory-view.ts';
import type { ApiPorts, DirectoryPorts } from '../ports.ts';
import { invalidRequest, ProblemError } from '../problem.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, writeReply } from '../schemas.ts';

const PATH = '/api/v1/directories/:name/items';
const tags = ['directories'];
const access = { scope: 'settings:write' } as const;

/** By its name or id. */
const itemParams = directoryParams.extend({ item: directoryName });
const itemReply = z.object({ ...writeReply, item: z.string().describe('Its id.') });
const response = { 200: itemReply, ...problemReply };

/** Sync items stand in one ordered list, in the directory's own document: each edit of it is one change. */
export function syncItems(api: ApiServer, ports: ApiPorts, directories: DirectoryPorts): void {
  listItems(api, directories);
  getItem(api, directories);
  addItem(api, ports);
  setItem(api, ports);
  moveItem(api, ports);
  removeItem(api, ports);
}

function listItems(api: ApiServer, directories: DirectoryPorts): void {
  api.get(
    PATH,
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'Sync items in the order of their priority: the first that a person is in decides',
        tags,
        params: directoryParams,
        querystring: noQuery,
        response: { 200: z.object({ items: z.array(syncItem) }), ...problemReply },
      },
    },
    async (request) => {
      const { document } = await findOneDirectory(directories, request.params.name);
      return { items: document.items };
    },
  );
}

function getItem(api: ApiServer, directories: DirectoryPorts): void {
  api.get(
    `${PATH}/:item`,
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'One sync item, by its name or id',
        tags,
        params: itemParams,
        querystring: noQuery,
        response: { 200: syncItem, ...problemReply },
      },
    },
    async (request) => {
      const { document } = await findOneDirectory(directories, request.params.name);
      return itemNamed(document.items, request.params.item);
    },
  );
}

function addItem(api: ApiServer, ports: ApiPorts): void {
  api.post(
    PATH,
    {
      config: { access },
      schema: {
        summary: 'Add a sync item, behind the others or at a place',
        tags,
        params: directoryParams,
        querystring: noQuery,
        body: newSyncItem.extend({ place: itemPlace.optional() }),
        response: { 201: itemReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const { place, ...item } = request.body;
      const edit = { do: 'add', item, ...(place && { place }) } as const;
      return reply.code(201).send(await edited(ports, request, edit));
    },
  );
}

function setItem(api: ApiServer, ports: ApiPorts): void {
  api.patch(
    `${PATH}/:item`,
    {
      config: { access },
      schema: {
        summary: 'Change a sync item; its people are read again with the next synchronisation',
        tags,
        params: itemParams,
        querystring: noQuery,
        body: syncItemFields,
        response,
      },
    },
    async (request) => {
      const { body: changes, params } = request;
      if (Object.keys(changes).length === 0) throw invalidRequest('body names nothing to change');
      return edited(ports, request, { do: 'set', item: params.item, changes });
    },
  );
}

function moveItem(api: ApiServer, ports: ApiPorts): void {
  api.post(
    `${PATH}/:item/move`,
    {
      config: { access },
      schema: {
        summary: 'Give a sync item another place in the order of priority',
        tags,
        params: itemParams,
        querystring: noQuery,
        body: itemPlace,
        response,
      },
    },
    async (request) =>
      edited(ports, request, { do: 'move', item: request.params.item, place: request.body }),
  );
}

function removeItem(api: ApiServer, ports: ApiPorts): void {
  api.delete(
    `${PATH}/:item`,
    {
      config: { access },
      schema: {
        summary:
          'Remove a sync item; whoever no other one takes is disabled with the next synchronisation',
        tags,
        params: itemParams,
        querystring: noQuery,
        response,
      },
    },
    async (request) => edited(ports, request, { do: 'remove', item: request.params.item }),
  );
}

async function edited(
  ports: ApiPorts,
  request: FastifyRequest<{ Params: { name: string } }>,
  edit: ItemEdit,
): Promise<z.output<typeof itemReply>> {
  const { revision, applied, result } = await runCommand(ports, request, {
    name: 'directory.set-items',
    args: { name: request.params.name, edit },
  });
  return { revision, applied, item: String(result.item) };
}

function itemNamed(items: SyncItem[], given: string): SyncItem {
  const key = usernameKey(given);
  const found =
    items.find(({ name }) => usernameKey(name) === key) ?? items.find(({ id }) => id === key);
  if (found) return found;
  throw new ProblemError(404, 'unknown_item', 'There is no such sync item.');
}
