/** The frame on the screen: its picture, the skeletons over it, zoom and pan. */

import { draw } from "./draw.js";
import { byId } from "./elements.js";
import { figuresOf } from "./figures.js";

const MOST_ZOOM = 40; // pixels of the screen for one of the source
const WIDTHS = [640, 960, 1280, 1920, 2560];
const AHEAD = 24; // pictures fetched ahead in playback

export class Stage {
  figures = [];
  box = null; // the box that is being drawn, in pixels of the screen
  #due = false;

  constructor(app) {
    this.app = app;
    this.element = byId("stage");
    this.canvas = byId("picture");
    this.svg = byId("overlay");
    this.view = { scale: 1, x: 0, y: 0, fitted: true, shown: null }; // shown: what `show` was asked for
    this.last = [0, 0]; // size of the stage
    new ResizeObserver(() => this.#resize()).observe(this.element);
    const shown = ["frame", "person", "point", "part", "hover", "data", "pictures", "view", "aim"];
    app.state.watch([...shown, "showDistrust", "language", "playing"], () => this.redraw());
  }

  /** Source pixels -> pixels of the stage, and back. */
  toScreen(x, y) {
    return [x * this.view.scale + this.view.x, y * this.view.scale + this.view.y];
  }

  toSource(x, y) {
    return [(x - this.view.x) / this.view.scale, (y - this.view.y) / this.view.scale];
  }

  /** (w, h) of the frame shown: the pictures of a folder may differ. */
  get size() {
    const { clip, frame } = this.app.state;
    return clip.sizes?.[frame] ?? clip.size;
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const [dx, dy] = [(width - this.last[0]) / 2, (height - this.last[1]) / 2];
    this.last = [width, height];
    if (this.view.fitted) this.fit();
    else if (this.view.shown) this.show(...this.view.shown);
    else this.#look({ ...this.view, x: this.view.x + dx, y: this.view.y + dy });
    this.redraw();
  }

  #look(view) {
    this.view = view;
    this.app.state.set({ view: this.app.state.view + 1 });
  }

  /** Show the whole frame. */
  fit() {
    const { clip } = this.app.state;
    if (!clip) return;
    this.fittedSize = this.size;
    const { clientWidth: width, clientHeight: height } = this.element;
    const [w, h] = this.size;
    const scale = this.wholeScale;
    this.#look({ scale, x: (width - w * scale) / 2, y: (height - h * scale) / 2, fitted: true, shown: null });
  }

  /** Pixels of the stage for one of the source, with which the whole frame is seen. */
  get wholeScale() {
    const [w, h] = this.size;
    return Math.max(Math.min((this.element.clientWidth - 16) / w, (this.element.clientHeight - 16) / h), 0.01);
  }

  /** Zoom by `factor`; what is under (x, y) of the stage stays there (default: its middle). */
  zoom(factor, x = this.element.clientWidth / 2, y = this.element.clientHeight / 2) {
    const scale = Math.min(Math.max(this.view.scale * factor, 0.02), MOST_ZOOM);
    const [sx, sy] = this.toSource(x, y);
    this.#look({ scale, x: x - sx * scale, y: y - sy * scale, fitted: false, shown: null });
  }

  pan(dx, dy) {
    this.#look({ ...this.view, x: this.view.x + dx, y: this.view.y + dy, fitted: false, shown: null });
  }

  /** Show (x1, y1, x2, y2), source pixels, with `room` around; if that is more than the whole frame, the whole frame. */
  show([x1, y1, x2, y2], room, share = 0.8, most = 6) {
    const card = byId("reason-card");
    const top = card.hidden ? 0 : card.offsetTop + card.offsetHeight; // what lies over the stage hides nothing
    const [width, height] = [this.element.clientWidth, Math.max(this.element.clientHeight - top, 1)];
    const [w, h] = [x2 - x1 + 2 * room, y2 - y1 + 2 * room];
    const fitted = Math.min((width * share) / Math.max(w, 1), (height * share) / Math.max(h, 1));
    const scale = Math.min(fitted, most, MOST_ZOOM);
    if (scale <= this.wholeScale && this.#isInside(x1, y1, x2, y2)) return this.fit();
    const [x, y] = [width / 2 - ((x1 + x2) / 2) * scale, top + height / 2 - ((y1 + y2) / 2) * scale];
    return this.#look({ scale, x, y, fitted: false, shown: [[x1, y1, x2, y2], room] });
  }

  #isInside(x1, y1, x2, y2) {
    const [w, h] = this.size;
    return x1 >= 0 && y1 >= 0 && x2 <= w && y2 <= h;
  }

  /** Ask for a drawing before the next frame of the screen. */
  redraw() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#draw();
    });
  }

  /** Width to ask pictures in: a step that is as fine as the screen shows it; 0 for the source's own. */
  get pictureWidth() {
    const [width] = this.size;
    const shown = width * this.view.scale * (window.devicePixelRatio || 1);
    return WIDTHS.find((step) => step >= shown && step < width) ?? 0;
  }

  /** Fetch the points and the picture of the frame shown, then those that come next. */
  #want() {
    const { state, cache, pictures } = this.app;
    const last = state.clip.frames - 1;
    cache.want(state.frame, state.frame);
    cache.want(state.frame - 8, state.frame + Math.min(state.playing ? 96 : 24, cache.reach));
    if (!state.clip.pictures) return;
    const step = state.playing ? this.app.playback.stride : 1;
    const count = state.playing ? AHEAD : 3;
    const base = Math.floor(state.frame / step) * step; // the same frames from drawing to drawing
    const frames = [state.frame, ...Array.from({ length: count }, (_, i) => base + (i + 1) * step)];
    if (!state.playing) frames.push(state.frame - 1, state.frame - 2);
    pictures.want(frames.filter((t) => t >= 0 && t <= last), this.pictureWidth);
  }

  #draw() {
    const { state, cache, pictures } = this.app;
    if (!state.clip) return;
    if (this.view.fitted && this.size !== this.fittedSize) this.fit();
    this.#want();
    const frame = cache.get(state.frame);
    const picture = state.clip.pictures ? pictures.get(state.frame) : null;
    const missing = state.clip.pictures && pictures.broken.has(state.frame);
    byId("no-picture").hidden = state.clip.pictures && !missing;
    const waits = !frame || (state.clip.pictures && !picture && !missing);
    byId("loading").hidden = !waits || state.playing;
    if (!waits || !state.playing) this.#paint(picture, !state.clip.pictures || missing);
    this.figures = frame ? figuresOf(frame, this.app) : [];
    draw(this.svg, this.app, this.figures, this.box);
    this.drawn = { frame: state.frame, whole: !waits && cache.fresh(state.frame) };
  }

  /** Draw the picture; `none`: there is none, and the ground is gray. */
  #paint(picture, none) {
    const context = this.canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    const { scale, x, y } = this.view;
    const [width, height] = this.size;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.element.clientWidth, this.element.clientHeight);
    context.fillStyle = none ? "#5c6167" : "#202327";
    context.fillRect(x, y, width * scale, height * scale);
    context.imageSmoothingEnabled = scale < 8; // beyond, the pixels themselves are of interest
    if (picture) context.drawImage(picture, x, y, width * scale, height * scale);
  }
}
