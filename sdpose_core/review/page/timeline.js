/** The clip over time: a row for each person, colored by distrust, with edits, checked frames and the marked range. */

import { Divider } from "./divider.js";
import { byId } from "./elements.js";
import { drawLanes, drawRuler, GUTTER, ROW } from "./lanes.js";

const MOST_BINS = 32768;
const BESIDE_ROWS = 27; // pixels of the timeline that are not rows
const SHORTEST = 20; // frames in view at the largest zoom

export class Timeline {
  #due = false;
  #asked = "";

  constructor(app) {
    this.app = app;
    [this.element, this.rows, this.lanes, this.ruler] = ["timeline", "rows", "lanes", "ruler"].map(byId);
    this.divider = new Divider(byId("divider"), this.element);
    this.from = 0; // frames in view: from this one (a fraction is possible)
    this.span = 1; // this many
    new ResizeObserver(() => this.redraw()).observe(this.element);
    this.rows.addEventListener("scroll", () => this.redraw());
    for (const canvas of [this.lanes, this.ruler]) this.#listen(canvas);
    app.state.watch(["clip", "people", "person", "timeline", "range", "computing", "language"], () => this.redraw());
    app.state.watch(["frame", "clip"], () => this.#follow());
    app.state.watch(["clip", "people"], () => this.divider.suit(app.timelineRows.length * ROW + BESIDE_ROWS));
    app.state.watch(["person", "timeline"], () => this.#showRow());
    app.state.watch(["version"], () => this.load());
  }

  /** Show the whole clip. */
  fit() {
    this.from = 0;
    this.span = Math.max(this.app.state.clip.frames, 1);
    this.load();
    this.redraw();
  }

  get width() {
    return Math.max(this.lanes.clientWidth - GUTTER, 1);
  }

  /** Left edge of frame `t` in pixels of the canvas, and the frame under a pixel. */
  x(t) {
    return GUTTER + ((t - this.from) / this.span) * this.width;
  }

  frameAt(x) {
    const t = Math.floor(this.from + ((x - GUTTER) / this.width) * this.span);
    return Math.min(Math.max(t, 0), this.app.state.clip.frames - 1);
  }

  /** Fetch the rows as finely as they are shown: what is in view sets the number of bins of the whole clip. */
  async load() {
    const { state, api } = this.app;
    if (!state.clip) return;
    const fine = (this.width * state.clip.frames) / this.span;
    const bins = Math.min(2 ** Math.ceil(Math.log2(Math.max(fine, 256))), MOST_BINS, state.clip.frames);
    const key = `${bins}/${state.version}`;
    if (this.#asked === key) return;
    this.#asked = key;
    try {
      const answer = await api.get(`api/timeline?bins=${bins}`);
      if (this.#asked === key) state.set({ timeline: answer });
    } catch (error) {
      this.#asked = "";
      this.app.fail(error);
    }
  }

  #listen(canvas) {
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.app.state.clip || event.button > 1) return;
      canvas.setPointerCapture(event.pointerId);
      held = event.button === 1 || event.shiftKey ? { pan: event.offsetX } : { seek: true };
      if (held.seek) this.#seek(event, canvas === this.lanes);
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (held?.seek) this.#seek(event, false);
      if (held?.pan !== undefined) {
        this.#look(this.from - ((event.offsetX - held.pan) / this.width) * this.span, this.span);
        held.pan = event.offsetX;
      }
    });
    canvas.addEventListener("pointerup", () => (held = null));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Go to the frame under the pointer; a click in a row also selects its person. */
  #seek(event, select) {
    const { state } = this.app;
    const row = this.app.timelineRows[Math.floor((event.offsetY + this.rows.scrollTop) / ROW)];
    if (select && row) state.set({ person: row.id, point: null, part: null });
    if (event.offsetX < GUTTER && select) return;
    this.app.seek(this.frameAt(event.offsetX));
  }

  #wheel(event) {
    if (event.offsetX < GUTTER && event.currentTarget === this.lanes) return; // over the names: the rows scroll
    event.preventDefault();
    const step = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    if (event.shiftKey) return this.#look(this.from + ((step || event.deltaX) / this.width) * this.span, this.span);
    const span = this.span * Math.exp(step * 0.0016);
    const share = (event.offsetX - GUTTER) / this.width;
    this.#look(this.from + share * (this.span - span), span);
  }

  #look(from, span) {
    const total = this.app.state.clip.frames;
    this.span = Math.min(Math.max(span, Math.min(SHORTEST, total)), total);
    this.from = Math.min(Math.max(from, 0), total - this.span);
    this.load();
    this.redraw();
  }

  /** Keep the playhead in view. */
  #follow() {
    const { state } = this.app;
    if (!state.clip) return;
    if (state.frame < this.from) this.#look(state.frame - this.span * 0.1, this.span);
    else if (state.frame >= this.from + this.span) this.#look(state.frame - this.span * 0.1, this.span);
    this.#movePlayhead();
  }

  /** Bring the row of the selected person into view. */
  #showRow() {
    const number = this.app.timelineRows.findIndex(({ id }) => id === this.app.state.person);
    if (number < 0) return;
    const [top, height] = [number * ROW, this.rows.clientHeight];
    if (top < this.rows.scrollTop) this.rows.scrollTop = top;
    else if (top + ROW > this.rows.scrollTop + height) this.rows.scrollTop = top + ROW - height;
  }

  /** Say how many rows are below those in view. */
  #showMore() {
    const below = this.app.timelineRows.length - Math.floor((this.rows.scrollTop + this.rows.clientHeight + 4) / ROW);
    byId("rows-more").hidden = below <= 0;
    byId("rows-more").textContent = this.app.texts.t("rows_more", { n: below });
  }

  #movePlayhead() {
    const x = this.x(this.app.state.frame + 0.5);
    byId("playhead").style.transform = `translateX(${x.toFixed(1)}px)`;
  }

  redraw() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      if (!this.app.state.clip) return;
      byId("rows-height").style.height = `${this.app.timelineRows.length * ROW + 4}px`;
      this.#movePlayhead();
      this.#showMore();
      drawRuler(this.ruler, this);
      drawLanes(this.lanes, this);
    });
  }
}
