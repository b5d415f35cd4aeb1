/** Mouse, pen and touch on the stage: select, drag, place, draw a box, pan and zoom. */

import { hitTest } from "./figures.js";

const STARTS_AT = 3; // pixels: shorter movements are clicks

export class Pointer {
  #held = null;

  constructor(app) {
    this.app = app;
    this.element = app.stage.element;
    const on = (name, call, options) => this.element.addEventListener(name, call, options);
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", () => this.cancel());
    on("pointerleave", () => app.state.set({ hover: null }));
    on("wheel", (event) => this.#wheel(event), { passive: false });
    on("dblclick", (event) => this.#doubleClick(event));
    app.state.watch(["mode", "hover", "spaceHeld"], () => this.#cursor());
  }

  #at(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #hit(at) {
    return hitTest(this.app.stage.figures, this.app.parts, ...at);
  }

  #cursor() {
    const { mode, hover, spaceHeld } = this.app.state;
    let cursor = mode === "edit" ? "default" : "crosshair";
    if (mode === "edit" && hover) cursor = "move";
    if (spaceHeld) cursor = "grab";
    if (this.#held?.kind === "pan") cursor = "grabbing";
    this.element.dataset.cursor = cursor;
  }

  #down(event) {
    const { app } = this;
    if (event.target.closest("button, #errors") || !app.state.clip || this.#held) return;
    this.element.focus({ preventScroll: true });
    if (app.state.playing) app.playback.stop();
    const at = this.#at(event);
    this.element.setPointerCapture(event.pointerId);
    if (event.button === 1 || app.state.spaceHeld) this.#held = { kind: "pan", last: at };
    else if (event.button !== 0) return;
    else if (app.state.mode === "box") this.#held = { kind: "box", start: at };
    else if (app.state.mode === "place") this.#held = { kind: "place", at };
    else this.#take(at, event.shiftKey);
    event.preventDefault();
    this.#cursor();
  }

  /** Take hold of what is under the pointer; nothing: the picture itself. */
  #take(at, whole) {
    const { app } = this;
    const hit = this.#hit(at);
    if (!hit) {
      this.#held = { kind: "pan", last: at, start: at, click: true };
      return;
    }
    const points = hit.kind === "handle" ? hit.handle.indices : whole ? app.parts.groupOf(hit.points) : hit.points;
    const person = app.personHere(hit.id);
    const here = points.filter((k) => person.points[k]);
    const base = here.map((k) => person.points[k].slice(0, 2));
    const turn = hit.kind === "handle" && hit.handle.kind === "turn";
    this.#held = { kind: "drag", id: hit.id, points: here, base, turn, start: at, moved: false, hit };
    const part = hit.kind === "handle" ? hit.handle.part : null;
    app.state.set({ person: hit.id, point: hit.kind === "point" ? hit.points[0] : null, part });
  }

  #move(event) {
    const at = this.#at(event);
    const held = this.#held;
    if (!held) {
      const { mode, playing } = this.app.state;
      if (mode === "edit" && !playing) this.#hover(at);
      if (mode === "place") this.app.state.set({ aim: this.app.stage.toSource(...at) });
    } else if (held.kind === "pan") {
      this.app.stage.pan(at[0] - held.last[0], at[1] - held.last[1]);
      held.last = at;
    } else if (held.kind === "box") {
      this.app.stage.box = [...held.start, ...at];
      this.app.stage.redraw();
    } else if (held.kind === "drag") this.#drag(held, at);
  }

  #hover(at) {
    const hit = this.#hit(at);
    const old = this.app.state.hover;
    const same = JSON.stringify([hit?.id, hit?.points, hit?.handle?.kind, hit?.handle?.part]);
    if (same !== JSON.stringify([old?.id, old?.points, old?.handle?.kind, old?.handle?.part])) {
      this.app.state.set({ hover: hit });
    }
  }

  #drag(held, at) {
    const { app } = this;
    if (!held.moved && Math.hypot(at[0] - held.start[0], at[1] - held.start[1]) < STARTS_AT) return;
    held.moved = true;
    const to = held.turn ? this.#turned(held, at) : this.#shifted(held, at);
    held.to = to;
    app.preview = { id: held.id, t: app.state.frame, held: true, to: new Map(held.points.map((k, i) => [k, to[i]])) };
    app.state.set({ hover: null });
    app.stage.redraw();
  }

  #shifted({ start, base }, at) {
    const { scale } = this.app.stage.view;
    return base.map(([x, y]) => [x + (at[0] - start[0]) / scale, y + (at[1] - start[1]) / scale]);
  }

  /** The points turned and sized about their middle (a face) or their first point (a hand's root). */
  #turned({ start, base, hit }, at) {
    const mean = (axis) => base.reduce((sum, p) => sum + p[axis], 0) / base.length;
    const pivot = hit.handle.part === "face" ? [mean(0), mean(1)] : base[0];
    const fromPivot = ([x, y]) => [x - pivot[0], y - pivot[1]];
    const [from, to] = [start, at].map((p) => fromPivot(this.app.stage.toSource(...p)));
    const size = Math.max(Math.hypot(...from), 1e-6);
    const factor = Math.min(Math.max(Math.hypot(...to) / size, 0.05), 20);
    const angle = Math.atan2(to[1], to[0]) - Math.atan2(from[1], from[0]);
    const [cos, sin] = [Math.cos(angle) * factor, Math.sin(angle) * factor];
    return base.map(fromPivot)
      .map(([x, y]) => [pivot[0] + x * cos - y * sin, pivot[1] + x * sin + y * cos]);
  }

  #up(event) {
    const { app } = this;
    const [held, at] = [this.#held, this.#at(event)];
    this.#held = null;
    if (held?.kind === "drag" && held.moved) {
      this.#drag({ ...held, moved: true }, at);
      app.actions.move(held.id, held.points, held.turn ? this.#turned(held, at) : this.#shifted(held, at));
    } else if (held?.click && Math.hypot(at[0] - held.start[0], at[1] - held.start[1]) < STARTS_AT) {
      this.#selectAt(at);
    } else if (held?.kind === "box") this.#endBox(held, at);
    else if (held?.kind === "place") app.modes.place(app.stage.toSource(...at));
    this.#cursor();
  }

  /** Select whose box is under the pointer, the smallest; outside of all, first the point, then the person is left. */
  #selectAt(at) {
    const { state, cache, stage } = this.app;
    const [x, y] = stage.toSource(...at);
    const around = (cache.get(state.frame)?.people ?? [])
      .filter(({ box: [x1, y1, x2, y2] }) => x >= x1 && x <= x2 && y >= y1 && y <= y2)
      .sort(({ box: a }, { box: b }) => (a[2] - a[0]) * (a[3] - a[1]) - (b[2] - b[0]) * (b[3] - b[1]));
    const chosen = state.point !== null || state.part !== null;
    state.set({ point: null, part: null, person: around[0]?.id ?? (chosen ? state.person : null) });
  }

  #endBox({ start }, at) {
    const { app } = this;
    app.stage.box = null;
    app.stage.redraw();
    const [x1, y1] = app.stage.toSource(Math.min(start[0], at[0]), Math.min(start[1], at[1]));
    const [x2, y2] = app.stage.toSource(Math.max(start[0], at[0]), Math.max(start[1], at[1]));
    return app.modes.estimateIn([x1, y1, x2, y2]);
  }

  #wheel(event) {
    event.preventDefault();
    const step = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    this.app.stage.zoom(Math.exp(-step * 0.0016), ...this.#at(event));
  }

  /** A double click on a hand or face shows it large; elsewhere on a person, the person. */
  #doubleClick(event) {
    const hit = this.#hit(this.#at(event));
    if (!hit || this.app.state.mode !== "edit") return;
    const part = hit.handle?.part ?? this.app.parts.partOf[hit.points?.[0]];
    this.app.zoomTo(hit.id, part ? this.app.parts.groups[part] : null);
  }

  /** Let go without a change. */
  cancel() {
    if (this.#held?.kind === "drag") this.app.preview = null;
    this.#held = null;
    this.app.stage.box = null;
    this.app.modes.end();
    this.app.stage.redraw();
  }
}
