// Loaded only where a certificate is made: it costs every start 0.1 s otherwise.
// oxlint-disable-next-line import/no-unassigned-import -- the library wants it in place before itself
import 'reflect-metadata';

export * from '@peculiar/x509';
