/** What to check next: people in frames that are most likely wrong, worst first. */

import { distrustColor } from "./colors.js";
import { byId, element } from "./elements.js";

const SHOWN = 60;
const WAIT_MS = 250; // after an edit, so that a burst of edits asks once

export class WorstPanel {
  #visited = new Set(); // "id:second" of items that were gone to
  #timer = 0;
  #generation = 0;

  constructor(app) {
    this.app = app;
    byId("worst-next").onclick = () => this.next();
    byId("looks-right").onclick = () => this.looksRight();
    app.state.watch(["version"], () => this.#later());
    app.state.watch(["clip", "worst", "item", "computing", "language"], () => this.#show());
    app.state.watch(["item", "frame", "language", "data", "person", "playing"], () => this.#showCard());
  }

  #later() {
    if (!this.app.state.clip) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.load(), WAIT_MS);
  }

  /** Fetch the list again; the newest answer counts. */
  async load() {
    const generation = ++this.#generation;
    try {
      const worst = await this.app.api.get(`api/worst?count=${SHOWN}`);
      if (generation === this.#generation) this.app.state.set({ worst });
    } catch (error) {
      this.app.fail(error);
    }
  }

  #key(item) {
    const near = Math.max(Math.round(this.app.state.clip.frame_rate ?? 1), 1);
    return `${item.id}:${Math.floor(item.t / near)}`;
  }

  /** Go to the worst that was not gone to yet; after the last one again to the first. */
  next() {
    const items = this.app.state.worst?.items ?? [];
    if (!items.length) return this.app.say(byId("worst-empty").textContent);
    if (items.every((item) => this.#visited.has(this.#key(item)))) this.#visited.clear();
    return this.goTo(items.find((item) => !this.#visited.has(this.#key(item))));
  }

  /** Show an item: its frame, its person, its points large. */
  goTo(item) {
    const { app } = this;
    this.#visited.add(this.#key(item));
    app.playback.stop();
    const point = item.points.find((k) => app.parts.partOf[k] === null) ?? null;
    app.state.set({ item, person: item.id, point: item.points.length ? point : null, part: null, scope: "frame" });
    app.seek(item.t);
    app.whenHere(item.t, () => queueMicrotask(() => app.zoomTo(item.id, item.points))); // once the card is shown
  }

  /** The selected person is right in this frame: mark it as checked, and go on. */
  async looksRight() {
    if (!(await this.app.actions.check())) return;
    await this.load();
    if (this.app.state.worst?.items.length) this.next();
    else this.app.state.set({ item: null });
  }

  #show() {
    const { worst, item, clip, computing } = this.app.state;
    if (!clip) return;
    byId("worst-total").textContent = worst && !computing ? String(worst.total) : "…";
    const items = worst?.items ?? [];
    byId("worst-empty").hidden = !worst || items.length > 0;
    byId("worst-empty").textContent = this.app.texts.t(computing ? "computing" : "worst_empty");
    byId("worst-next").disabled = items.length === 0;
    byId("worst-list").replaceChildren(...items.map((entry) => this.#row(entry, item)));
  }

  #row(entry, current) {
    const { app } = this;
    const made = element("button");
    made.type = "button";
    const swatch = element("i", "", "swatch");
    swatch.style.backgroundColor = distrustColor(entry.distrust);
    const where = `${app.frameText(entry.t)} · ${app.texts.person(entry.id)}`;
    made.append(swatch, element("span", where), element("span", `${Math.round(entry.distrust * 100)} %`, "quiet"));
    made.title = entry.reasons.map((name) => app.texts.reason(name)).join(", ");
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
    const names = item.points.slice(0, 3).map((k) => texts.pointName(parts.names[k])).join(", ");
    return item.points.length > 3 ? texts.t("card_more", { names, n: item.points.length - 3 }) : names;
  }

  #reasonsLine(item) {
    return item.reasons.map((name) => this.app.texts.reason(name)).join(" · ");
  }
}
