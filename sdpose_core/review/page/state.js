/** What the page shows, in one place: set values, and watchers are told once per change, after the current task. */

export class State {
  #watchers = [];
  #changed = new Set();

  constructor(values) {
    Object.assign(this, values);
  }

  /** Set values by name; only those that differ count as changed. */
  set(changes) {
    const waiting = this.#changed.size > 0;
    for (const [name, value] of Object.entries(changes)) {
      if (this[name] === value) continue;
      this[name] = value;
      this.#changed.add(name);
    }
    if (!waiting && this.#changed.size) queueMicrotask(() => this.#tell());
  }

  /** Call `call` after any of `names` changed, and once now. */
  watch(names, call) {
    this.#watchers.push({ names, call });
    call();
  }

  #tell() {
    const changed = this.#changed;
    this.#changed = new Set();
    for (const { names, call } of this.#watchers) if (names.some((name) => changed.has(name))) call();
  }
}

/** The values of a page that shows nothing yet. Frames are positions 0..T-1, ids track ids, points indices. */
export function firstState() {
  return {
    clip: null, version: -1, undo: 0, redo: 0, saved: true, computing: false, people: [],
    frame: 0, person: null, point: null, part: null, hover: null, range: null, rangeOpen: null, scope: "frame", spread: 5,
    mode: "edit", placing: null, aim: null, repaired: null, playing: false, speed: 1, showDistrust: true, spaceHeld: false,
    data: 0, pictures: 0, view: 0, busy: 0, language: "en", worst: null, item: null, timeline: null,
  };
}
