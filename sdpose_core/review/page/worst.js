/** What to check next: people in frames that are most likely wrong, worst first. */

import { distrustColor } from "./colors.js";
import { byId, element } from "./elements.js";

const SHOWN = 60;
const FEW = 5; // items that are shown without scrolling
const WAIT_MS = 250; // after an edit, so that a burst of edits asks once

export class WorstPanel {
  #visited = new Map(); // "id:second" -> frame of an item that was gone to
  #timer = 0;
  #asked = null; // {version, done: promise} of the request under way
  #going = Promise.resolve();
  #led = null; // {person, point, part} that an item selected, until the user selects something else

  constructor(app) {
    this.app = app;
    byId("worst-next").onclick = () => this.next();
    byId("looks-right").onclick = () => this.looksRight();
    app.state.watch(["version"], () => this.#later());
    app.state.watch(["person", "point", "part"], () => this.#selected());
    app.state.watch(["clip", "worst", "item", "computing", "language"], () => this.#show());
    app.state.watch(["item", "frame", "language", "person", "playing"], () => this.#showCard());
  }

  #later() {
    if (!this.app.state.clip) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.load(), WAIT_MS);
  }

  /** Fetch the list again; a request of the same version that is under way is not sent twice. */
  load() {
    const { version } = this.app.state;
    if (this.#asked?.version !== version) this.#asked = { version, done: this.#fetch(version) };
    return this.#asked.done;
  }

  async #fetch(version) {
    try {
      const worst = await this.app.api.get(`api/worst?count=${SHOWN}`);
      if (version === this.app.state.version) this.#take(worst);
    } catch (error) {
      this.app.fail(error);
    } finally {
      if (this.#asked?.version === version) this.#asked = null;
    }
  }

  /** Take over a new list; what is said of the frame shown is that of the list, or nothing. */
  #take(worst) {
    const { state } = this.app;
    const item = state.item && (worst.items.find(({ t, id }) => t === state.item.t && id === state.item.id) ?? null);
    state.set({ worst, item });
  }

  /** Frames `from` to `to` were changed: what was seen there is to be seen again, and is no longer described. */
  forget(from, to) {
    const { state } = this.app;
    for (const [key, t] of this.#visited) if (t >= from && t <= to) this.#visited.delete(key);
    if (state.item && state.item.t >= from && state.item.t <= to) {
      const { t, id } = state.item;
      state.set({ item: null, repaired: { t, id } });
    }
  }

  #selected() {
    const { state } = this.app;
    if (Object.entries(this.#led ?? {}).some(([name, value]) => state[name] !== value)) this.#led = null;
  }

  #key(item) {
    const near = Math.max(Math.round(this.app.state.clip.frame_rate ?? 1), 1);
    return `${item.id}:${Math.floor(item.t / near)}`;
  }

  /** Go to the worst that was not gone to since it changed; after the last one again to the first. */
  next() {
    this.app.nudger.flush();
    this.#going = this.#going.then(() => this.#next());
    return this.#going;
  }

  async #next() {
    const { state, api } = this.app;
    await api.settled; // the list of after the edits that are under way
    if ((state.worst?.version ?? -1) < state.version) await this.load();
    const items = state.worst?.items ?? [];
    if (!items.length) return this.app.say(byId("worst-empty").textContent);
    if (items.every((item) => this.#visited.has(this.#key(item)))) this.#visited.clear();
    return this.goTo(items.find((item) => !this.#visited.has(this.#key(item))));
  }

  /** Show an item: its frame, its person, its points large. */
  goTo(item) {
    const { app } = this;
    this.#visited.set(this.#key(item), item.t);
    app.playback.stop();
    const point = item.points.find((k) => app.parts.partOf[k] === null) ?? null;
    this.#led = { person: item.id, point, part: null };
    app.state.set({ item, ...this.#led, repaired: null, scope: "frame" });
    app.seek(item.t);
    app.whenHere(item.t, () => queueMicrotask(() => app.zoomTo(item.id, item.points))); // once the card is shown
  }

  /** The selected person is right in this frame: mark it as checked, and go on. */
  async looksRight() {
    const { app } = this;
    if (app.actions.isChecked()) return app.say(app.texts.t("already_right"));
    if (this.isDone && app.state.scope === "frame") return app.say(byId("worst-empty").textContent);
    if (this.isDone && this.#led) app.state.set({ person: null, point: null, part: null }); // the user chose nobody
    return (await app.actions.check()) && this.next();
  }

  /** Whether the list is known, and empty. */
  get isDone() {
    const { worst, computing } = this.app.state;
    return Boolean(worst && !worst.items.length && !computing);
  }

  #show() {
    const { worst, item, clip, computing } = this.app.state;
    if (!clip) return;
    byId("worst-total").textContent = worst && !computing ? String(worst.total) : "…";
    const items = worst?.items ?? [];
    byId("worst").classList.toggle("many", items.length > FEW);
    byId("worst-empty").hidden = !worst || items.length > 0;
    const done = clip.in_comfy ? "worst_empty_comfy" : "worst_empty";
    byId("worst-empty").textContent = this.app.texts.t(computing ? "computing" : done);
    byId("worst-next").disabled = items.length === 0;
    const list = byId("worst-list");
    const top = list.scrollTop;
    list.replaceChildren(...items.map((entry) => this.#row(entry, item)));
    list.scrollTop = top;
    list.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  }

  #row(entry, current) {
    const { app } = this;
    const made = element("button");
    made.type = "button";
    const swatch = element("i", "", "swatch");
    swatch.style.backgroundColor = distrustColor(entry.distrust);
    const where = `${app.frameText(entry.t)} · ${app.texts.person(entry.id)}`;
    made.append(swatch, element("span", where), element("span", `${Math.round(entry.distrust * 100)}%`, "quiet"));
    made.title = app.texts.list(entry.reasons.map((name) => app.texts.reason(name)));
    made.setAttribute("aria-current", String(current?.t === entry.t && current?.id === entry.id));
    made.addEventListener("click", () => this.goTo(entry));
    const row = element("li");
    row.append(made);
    return row;
  }

  /** Why this person is suspected, over the stage, while the item's frame is shown. */
  #showCard() {
    const { state, texts } = this.app;
    const card = byId("reason-card");
    const { item } = state;
    const shown = item && item.t === state.frame && item.id === state.person && !state.playing;
    card.hidden = !shown;
    if (!shown) return;
    const title = texts.t("card_title", { name: texts.person(item.id), percent: Math.round(item.distrust * 100) });
    const lines = [this.#pointsLine(item), this.#reasonsLine(item)].map((line) => element("span", line));
    card.replaceChildren(element("b", title), ...lines);
  }

  #pointsLine(item) {
    const { texts, parts } = this.app;
    const names = texts.list(item.points.slice(0, 3).map((k) => texts.pointName(parts.names[k])));
    return item.points.length > 3 ? texts.t("card_more", { names, n: item.points.length - 3 }) : names;
  }

  #reasonsLine(item) {
    return item.reasons.map((name) => this.app.texts.reason(name)).join(" · ");
  }
}
