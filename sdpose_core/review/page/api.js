/** Requests to the server that sent this page: all addresses are relative to the page's own. */

export class ApiError extends Error {}

/** JSON of `path`. Throws `ApiError` with the server's sentence, or `unreachable` if there is no answer. */
async function ask(path, options, unreachable) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new ApiError(unreachable());
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    throw new ApiError(`${unreachable()} (${path}: HTTP ${response.status})`);
  }
  if (!response.ok) throw new ApiError(body?.error ?? `${path}: HTTP ${response.status}`);
  return body;
}

export class Api {
  #last = Promise.resolve();

  /** `unreachable`: function that gives the sentence for a server that does not answer. */
  constructor(unreachable) {
    this.unreachable = unreachable;
  }

  get(path) {
    return ask(path, {}, this.unreachable);
  }

  /** POST `body`; requests that change something are sent one after the other, in the order of their calls. */
  post(path, body) {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = this.#last.then(() => ask(path, options, this.unreachable));
    this.#last = answer.catch(() => undefined);
    return answer;
  }
}
