/** Small helpers for elements. Texts go in as text, never as HTML: names of files may hold anything. */

export const byId = (id) => document.getElementById(id);

/** An element `tag` with `text` and a class. */
export function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** A button that calls `call`. */
export function button(text, call, className = "") {
  const made = element("button", text, className);
  made.type = "button";
  made.addEventListener("click", call);
  return made;
}

/** Give a select its options [[value, text]], only if they differ; `value` stays chosen if it is among them. */
export function fillSelect(select, options, value) {
  const key = JSON.stringify(options);
  if (select.dataset.options !== key) {
    select.dataset.options = key;
    select.replaceChildren(...options.map(([given, text]) => new Option(text, given)));
  }
  if (options.some(([given]) => String(given) === String(value))) select.value = String(value);
  select.disabled = options.length === 0;
}
