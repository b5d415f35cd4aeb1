/** Requests to the server that sent this page: all addresses are relative to the page's own. */

export class ApiError extends Error {}

/** JSON of `path`. Throws `ApiError` with the server's sentence, or that of `texts` if there is none. */
async function ask(path, options, { texts, inComfy }) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new ApiError(texts.t(inComfy ? "unreachable_comfy" : "unreachable"));
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    throw new ApiError(texts.t("server_failed", { what: `${path}: HTTP ${response.status}` }));
  }
  if (!response.ok) throw new ApiError(body?.error ?? `${path}: HTTP ${response.status}`);
  return body;
}

export class Api {
  inComfy = false; // whether ComfyUI is the server, once that is known
  #last = Promise.resolve();

  /** `texts` gives the sentences for a server that does not answer. */
  constructor(texts) {
    this.texts = texts;
  }

  /** A promise that is fulfilled once all that was posted is answered. */
  get settled() {
    return this.#last;
  }

  get(path) {
    return ask(path, {}, this);
  }

  /** POST `body`; requests that change something are sent one after the other, in the order of their calls. */
  post(path, body) {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = this.#last.then(() => ask(path, options, this));
    this.#last = answer.catch(() => undefined);
    return answer;
  }
}
