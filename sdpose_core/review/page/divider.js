/** The edge between the frame and the timeline: dragged, or moved with the arrow keys, it sets the timeline's height. */

import { remember, remembered } from "./texts.js";

const STEP = 20; // pixels of one key press
const LEAST = 67;
const SHARE = 0.6; // of the window, at most
const UNASKED = 0.2; // of the window, at most, until somebody moves the edge

export class Divider {
  #held = null;

  /** `element` is dragged, the height of `below` follows. */
  constructor(element, below) {
    Object.assign(this, { element, below, chosen: Number(remembered("timeline")) || null, wish: LEAST });
    element.addEventListener("pointerdown", (event) => this.#down(event));
    element.addEventListener("pointermove", (event) => this.#held && this.#choose(this.#held - event.clientY));
    element.addEventListener("pointerup", () => (this.#held = null));
    element.addEventListener("pointercancel", () => (this.#held = null));
    element.addEventListener("dblclick", () => this.#choose(null));
    element.addEventListener("keydown", (event) => this.#key(event));
    window.addEventListener("resize", () => this.#show());
  }

  /** The height at which everything is seen. */
  suit(height) {
    this.wish = height;
    this.#show();
  }

  #down(event) {
    this.element.setPointerCapture(event.pointerId);
    this.#held = event.clientY + this.below.clientHeight;
    event.preventDefault();
  }

  #key(event) {
    const step = { ArrowUp: STEP, ArrowDown: -STEP }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    this.#choose(this.below.clientHeight + step);
  }

  #choose(height) {
    this.chosen = height && Math.round(Math.min(Math.max(height, LEAST), window.innerHeight * SHARE));
    remember("timeline", this.chosen ?? "");
    this.#show();
  }

  #show() {
    const most = window.innerHeight * (this.chosen ? SHARE : UNASKED);
    const height = Math.min(Math.max(this.chosen ?? this.wish, LEAST), Math.max(most, LEAST));
    this.below.style.height = `${Math.round(height)}px`;
  }
}
