/** What may succeed when it is tried again later. */
const TEMPORARY = new Set([
  'connection-lost', 'expired', 'overloaded', 'queue-full', 'room-full', 'timed-out', 'timeout', 'token',
]);

/** What went wrong: `code` is for programs, `message` for people, `temporary` says whether to try again. */
export class ZephError extends Error {
  /**
   * @param {string} code one of docs/reference/zephclient.md, or what a task gave to fail()
   * @param {string} message
   * @param {object} [details] more fields, as `task`, `room`, `closeCode`, `dropped`, `cause`
   */
  constructor(code, message, details = {}) {
    super(message);
    this.name = code === 'aborted' ? 'AbortError' : 'ZephError'; // as fetch() calls it, so that one check finds both
    this.code = code;
    this.temporary = TEMPORARY.has(code);
    Object.assign(this, details);
  }
}

/** The error that the server told in a message. */
export function errorOf(message) {
  const { code, message: text } = message.error ?? {};
  const details = {};
  if (message.task) details.task = message.task;
  if (message.room !== undefined) details.room = message.room;
  return new ZephError(String(code ?? 'unknown'), String(text ?? code ?? 'the server told no reason'), details);
}
