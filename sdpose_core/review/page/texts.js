/** Texts in two languages. `{name}` is replaced by a value, `{n:frame|frames}` by "1 frame" or "5 frames". */

const LANGUAGES = ["en", "zh"];

export class Texts {
  #tables = {};
  language = "en";

  /** Load both languages; start with that of the address (`?lang=`), the last choice, or the browser's. */
  async load() {
    const read = async (name) => (await fetch(`page/${name}.json`)).json();
    const tables = await Promise.all(LANGUAGES.map(read));
    LANGUAGES.forEach((name, i) => (this.#tables[name] = tables[i]));
    const wanted = new URLSearchParams(location.search).get("lang") ?? remembered("language") ?? navigator.language;
    this.language = wanted.startsWith("zh") ? "zh" : "en";
  }

  /** The other language, by its code. */
  get other() {
    return this.language === "en" ? "zh" : "en";
  }

  use(language) {
    this.language = language;
    remember("language", language);
  }

  has(key) {
    return key in this.#tables[this.language];
  }

  /** The text `key` with `values` filled in; the key itself if there is no such text. */
  t(key, values = {}) {
    const text = this.#tables[this.language][key] ?? this.#tables.en[key] ?? key;
    return text.replace(/\{(\w+)(?::([^|}]*)\|([^}]*))?\}/g, (_, name, one, many) => {
      const value = values[name] ?? "";
      return one === undefined ? String(value) : `${value} ${Number(value) === 1 ? one : many}`;
    });
  }

  /** Fill every element that names its text: data-text, data-tip (title and label), data-label. */
  apply(root = document) {
    document.documentElement.lang = this.language === "zh" ? "zh-CN" : "en";
    for (const element of root.querySelectorAll("[data-text]")) element.textContent = this.t(element.dataset.text);
    for (const element of root.querySelectorAll("[data-label]")) {
      element.setAttribute("aria-label", this.t(element.dataset.label));
    }
    for (const element of root.querySelectorAll("[data-tip]")) {
      element.title = this.t(element.dataset.tip);
      if (!element.dataset.text) element.setAttribute("aria-label", element.title);
    }
  }

  /** A keypoint's name in the language of the page ("left_wrist" -> "left wrist", "左手腕"). */
  pointName(name) {
    if (this.has(`point.${name}`)) return this.t(`point.${name}`);
    const face = name.match(/^face-(\d+)$/);
    if (face) return this.t("point.face", { n: face[1] });
    const finger = name.match(/^(left|right)_([a-z_]+?)(\d)$/);
    if (finger && this.has(`finger.${finger[2]}`)) {
      const values = { side: this.t(`side.${finger[1]}`), finger: this.t(`finger.${finger[2]}`), n: finger[3] };
      return this.t("point.finger", values);
    }
    return name.replaceAll("_", " ");
  }

  /** Several names in a row. */
  list(names) {
    return names.join(this.t("list_comma"));
  }

  /** A part's name inside a sentence: "left hand". */
  partName(part) {
    const name = this.t(`part.${part}`);
    return name.charAt(0).toLowerCase() + name.slice(1);
  }

  /** A reason to distrust a point in words; a reason that has no text is shown by its name. */
  reason(name) {
    const key = `reason.${name}`;
    return this.has(key) ? this.t(key) : name.replaceAll("_", " ");
  }

  /** A track id as people are called on the page. */
  person(id) {
    return this.t("person", { id });
  }
}

/** A choice of an earlier visit; null where the browser keeps none. */
export function remembered(name) {
  try {
    return localStorage.getItem(`sdpose-review-${name}`);
  } catch (error) {
    if (error instanceof DOMException) return null; // storage is switched off: the page works without it
    throw error;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`sdpose-review-${name}`, value);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}
