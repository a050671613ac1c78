/** Of a cluster that is open on loopback. */
export const noWitnesses = {
  isWitness: () => false,
  isGone: () => false,
  online: () => [],
  reports: () => [],
  tellMove: () => undefined,
};
