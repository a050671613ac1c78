/** How long a loser of a compare-and-set waits before it reads again: 5 to 20 ms, so that two do not meet twice. */
export function retryJitterMs(): number {
  return 5 + Math.random() * 15;
}
