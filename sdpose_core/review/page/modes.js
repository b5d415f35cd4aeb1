/** Placing a point and drawing a box: what comes of them, and how arrow keys and Enter do the same as the mouse. */

import { byId } from "./elements.js";
import { shapeOf } from "./templates.js";

const STEP = 10; // pixels of the screen for a press of an arrow key; with Alt it is one pixel of the source
const SMALLEST = 4; // source pixels, side of a box
const LARGER = 1.1; // a person's own box is enlarged by this factor
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** What the keys move is `state.aim`, in source pixels: (x, y) of a cross, (x1, y1, x2, y2) of a box, or null. */
export class Modes {
  constructor(app) {
    this.app = app;
    app.state.watch(["frame"], () => this.#frameChanged());
  }

  /** Place absent points of person `id`: one, or all those of `part`. */
  startPlacing(id, points, part) {
    const { app } = this;
    app.playback.stop();
    app.state.set({ mode: "place", placing: { id, points, part }, hover: null, aim: this.#middle });
    app.stage.element.focus();
  }

  /** Draw a box in which a person is estimated: a new one, or some points of the selected one. */
  startBox(id) {
    const { app } = this;
    const { clip } = app.state;
    if (!clip.can_estimate) {
      const why = clip.in_comfy ? "no_estimate_comfy" : "no_estimate_pictures";
      return app.say(app.texts.t(clip.pictures && !clip.in_comfy ? "no_estimate" : why));
    }
    const part = id === null ? "all" : byId("estimate-part").value;
    const points = part === "all" ? null : clip.points.parts[part];
    app.playback.stop();
    app.stage.element.focus();
    return app.state.set({ mode: "box", placing: { id, points }, hover: null, aim: this.#firstBox(id) });
  }

  /** Estimate the selected person again; not a new one where nobody is selected. */
  startBoxAgain() {
    const { state, texts } = this.app;
    if (state.person === null) return this.app.say(texts.t("choose_person"));
    return this.startBox(state.person);
  }

  /** Back to editing, with nothing to aim. */
  end(more = {}) {
    this.app.state.set({ mode: "edit", placing: null, aim: null, ...more });
  }

  /** A point is placed in the frame in which it is missing; a box may go to another frame. */
  #frameChanged() {
    const { state } = this.app;
    if (state.mode === "place") this.end();
    if (state.mode === "box") state.set({ aim: this.#firstBox(state.placing.id) });
  }

  /** The middle of the view in source pixels. */
  get #middle() {
    const { stage } = this.app;
    return stage.toSource(stage.element.clientWidth / 2, stage.element.clientHeight / 2);
  }

  /** The box of person `id`, somewhat larger; for nobody, or who is not in this frame, one in the middle of the view. */
  #firstBox(id) {
    const { stage } = this.app;
    const person = id === null ? null : this.app.personHere(id);
    if (person) {
      const [x1, y1, x2, y2] = person.box;
      return around([(x1 + x2) / 2, (y1 + y2) / 2], (x2 - x1) * LARGER, (y2 - y1) * LARGER);
    }
    const height = 0.6 * Math.min(stage.size[1], stage.element.clientHeight / stage.view.scale);
    return around(this.#middle, height / 2, height);
  }

  /** In a mode: move what is aimed, or take it. Whether the key was for that. */
  key(event) {
    if (this.app.state.mode === "edit" || event.ctrlKey || event.metaKey) return false;
    if (event.key === "Enter") {
      if (!event.repeat) this.#take(); // the key that began the mode may still be down
      return true;
    }
    if (!(event.key in ARROWS)) return false;
    const step = event.altKey ? 1 : STEP / this.app.stage.view.scale;
    this.#move(...ARROWS[event.key].map((by) => by * step), event.shiftKey);
    return true;
  }

  #move(dx, dy, resizes) {
    const [x1, y1, x2, y2] = this.app.state.aim;
    let aim = [x1 + dx, y1 + dy];
    if (x2 !== undefined && resizes) aim = [x1, y1, Math.max(x2 + dx, x1 + SMALLEST), Math.max(y2 + dy, y1 + SMALLEST)];
    else if (x2 !== undefined) aim = [...aim, x2 + dx, y2 + dy];
    this.app.state.set({ aim });
  }

  #take() {
    const { mode, aim } = this.app.state;
    return mode === "box" ? this.estimateIn(aim) : this.place(aim);
  }

  /** Estimate in a box, source pixels, as far as it is inside the frame. */
  estimateIn([x1, y1, x2, y2]) {
    const { app } = this;
    const [width, height] = app.stage.size;
    const box = [Math.max(x1, 0), Math.max(y1, 0), Math.min(x2, width), Math.min(y2, height)];
    if (box[2] - box[0] < SMALLEST || box[3] - box[1] < SMALLEST) return app.say(app.texts.t("box_small"));
    const { id, points } = app.state.placing;
    this.end();
    return app.actions.estimate(id, box, points);
  }

  /** Place the absent point, or a rough hand or face, at `center`, source pixels. */
  place(center) {
    const { app } = this;
    const { id, points, part } = app.state.placing;
    const to = part ? shapeOf(part, center, ...this.#sizeOf(id, part)) : [center];
    this.end({ person: id, point: part ? null : points[0], part: part ?? null });
    app.actions.move(id, points, to);
  }

  /** Length in source pixels and angle of a new hand or face, from the person's box and forearm. */
  #sizeOf(id, part) {
    const person = this.app.personHere(id);
    const [x1, y1, x2, y2] = person.box;
    const height = Math.max(y2 - y1, (x2 - x1) / 2, 20);
    const side = part.split("_")[0];
    const [elbow, wrist] = ["elbow", "wrist"].map((end) => person.points[this.app.parts.index(`${side}_${end}`)]);
    if (part === "face" || !elbow || !wrist) return [height * 0.11, part === "face" ? 0 : Math.PI];
    const forearm = Math.hypot(wrist[0] - elbow[0], wrist[1] - elbow[1]);
    return [Math.max(forearm * 0.7, 8), Math.atan2(wrist[0] - elbow[0], -(wrist[1] - elbow[1]))];
  }
}

/** (x1, y1, x2, y2) of a box of a size about its center. */
function around([x, y], width, height) {
  return [x - width / 2, y - height / 2, x + width / 2, y + height / 2];
}
