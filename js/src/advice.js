/** The server does not want this client back before a person has acted (docs/protocol.md, "Close codes"). */
const FOR_GOOD = new Set([4003, 4004, 4009]);
const EXPIRED = 4002;
/** "Later": in these cases a first retry after half a second would only add to the trouble. */
const LATER = new Set([1011, 1013]);
const LONGEST_ADVICE = 300_000; // ms; a larger number is a mistake, and would look like a client that is dead

/**
 * What a close frame tells about coming back: `stop`, `renew` (get a new token first), or `least`, the ms to wait.
 * @param {number|null} code
 * @param {string} [reason]
 */
export function advice(code, reason = '') {
  if (FOR_GOOD.has(code)) return { stop: true, renew: false, least: 0 };
  if (code === EXPIRED) return { stop: false, renew: true, least: 0 };
  if (code === 1012) return { stop: false, renew: false, least: retryAfter(reason) };
  return { stop: false, renew: false, least: LATER.has(code) ? 1000 : 0 };
}

function retryAfter(reason) {
  try {
    const seconds = Number(JSON.parse(reason).retry_after);
    return seconds > 0 ? Math.min(seconds * 1000, LONGEST_ADVICE) : 0;
  } catch {
    return 0; // words for people
  }
}

/**
 * Full jitter: after *failures* in a row, anything from `min` up to a bound that doubles until it is `max`. So many
 * clients that lost one server at the same moment come back evenly spread.
 */
export function backoff(failures, min, max, random) {
  const bound = Math.min(max, min * 2 ** Math.min(failures + 1, 32));
  return Math.round(min + random * Math.max(0, bound - min));
}
