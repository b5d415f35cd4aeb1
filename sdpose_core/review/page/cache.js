/** Points of frames and pictures, fetched around the playhead; memory stays the same however long the clip is. */

const WINDOW = 32; // frames of one request, at most: about 300 kB for two whole-body people
const LEAST_WINDOW = 4; // of a crowd
const PEOPLE = 64; // of all frames of a request
const MOST_WINDOWS = 32;
const MOST_FRAMES = 512;
const MOST_PICTURES = 48;
const AT_ONCE = 3;
const RETRY_MS = 2000; // after a request that failed

export class FrameCache {
  #windows = new Map(); // number of the window -> {frames, fresh, generation, loading}

  /** `load(from, to)`: promise of {version, frames}; `changed()` is called after frames came; `failed(error)`. */
  constructor(load, changed, failed) {
    Object.assign(this, { load, changed, failed, total: 0, window: WINDOW });
  }

  /** Begin with a clip of `total` frames that has `people` in a frame on average. */
  begin(total, people) {
    this.total = total;
    this.window = Math.min(Math.max(Math.round(PEOPLE / Math.max(people, 1)), LEAST_WINDOW), WINDOW);
    this.most = Math.min(MOST_WINDOWS, Math.floor(MOST_FRAMES / this.window));
  }

  /** Frames that can be fetched ahead without forgetting those just shown. */
  get reach() {
    return (this.window * this.most) / 2;
  }

  /** The frame at position `t`, or null if it is not here yet; after an edit the old one until the new one came. */
  get(t) {
    return this.#windows.get(Math.floor(t / this.window))?.frames?.[t % this.window] ?? null;
  }

  /** Whether frame `t` is here and no edit has changed it since. */
  fresh(t) {
    const held = this.#windows.get(Math.floor(t / this.window));
    return Boolean(held?.frames && held.fresh);
  }

  /** Fetch what is missing of frames `from` to `to` (inclusive), and forget what was not used for longest. */
  want(from, to) {
    const last = Math.floor(Math.min(to, this.total - 1) / this.window);
    for (let number = Math.floor(Math.max(from, 0) / this.window); number <= last; number++) {
      const held = this.#windows.get(number) ?? { frames: null, fresh: false, generation: 0, retry: 0, loading: false };
      this.#windows.delete(number); // the order of a Map is that of insertion: the last used is the last
      this.#windows.set(number, held);
      if (!held.fresh && !held.loading && performance.now() >= held.retry) this.#fetch(number, held);
    }
    for (const number of this.#windows.keys()) {
      if (this.#windows.size <= this.most) break;
      this.#windows.delete(number);
    }
  }

  async #fetch(number, held) {
    held.loading = true;
    const generation = held.generation;
    try {
      const answer = await this.load(number * this.window, Math.min((number + 1) * this.window, this.total));
      held.frames = answer.frames;
      held.fresh = generation === held.generation;
      held.retry = 0;
    } catch (error) {
      held.retry = performance.now() + RETRY_MS;
      this.failed(error);
    }
    held.loading = false;
    this.changed(); // who draws asks again for what is not fresh
  }

  /** Frames `from` to `to` (inclusive) were changed: fetch them again when they are wanted. */
  drop(from, to) {
    for (const [number, held] of this.#windows) {
      if ((number + 1) * this.window <= from || number * this.window > to) continue;
      held.fresh = false;
      held.generation += 1;
    }
  }
}

export class PictureCache {
  #held = new Map(); // "t/width" -> HTMLImageElement, ready to draw
  #loading = new Map();
  #wanted = [];

  /** `changed()` is called after a picture came, `failed(t)` for one that cannot be shown. */
  constructor(changed, failed) {
    Object.assign(this, { changed, failed, broken: new Set() });
  }

  /** The picture of frame `t`, of any width; null if it is not here yet. */
  get(t) {
    for (const width of this.widths ?? []) {
      const picture = this.#held.get(`${t}/${width}`);
      if (picture) return picture;
    }
    return null;
  }

  /** Whether the picture is here, or can never come. */
  settled(t) {
    return this.broken.has(t) || this.get(t) !== null;
  }

  /** Fetch pictures of `frames`, the most urgent first, at most `width` pixels wide (0: as they are); others wait. */
  want(frames, width) {
    this.widths = [width, ...(this.widths ?? []).filter((other) => other !== width)].slice(0, 4);
    this.#wanted = frames.slice(0, MOST_PICTURES).map((t) => ({ t, key: `${t}/${width}`, width }));
    const keys = new Set(this.#wanted.map((entry) => entry.key));
    for (const [key, picture] of this.#loading) {
      if (keys.has(key)) continue;
      this.#loading.delete(key);
      picture.src = ""; // ends a request that nobody waits for
    }
    this.#pump();
  }

  #pump() {
    for (const { t, key, width } of this.#wanted) {
      if (this.#loading.size >= AT_ONCE) return;
      if (this.#held.has(key) || this.#loading.has(key) || this.broken.has(t)) continue;
      this.#fetch(t, key, width);
    }
  }

  async #fetch(t, key, width) {
    const picture = new Image();
    this.#loading.set(key, picture);
    picture.src = width ? `picture/${t}?width=${width}` : `picture/${t}`;
    let ready = true;
    try {
      await picture.decode();
    } catch {
      ready = false; // decode() says nothing about why: the frame is shown without a picture
    }
    if (this.#loading.get(key) !== picture) return;
    this.#loading.delete(key);
    if (ready) this.#keep(key, picture);
    else {
      this.broken.add(t);
      this.failed(t);
    }
    this.#pump();
    this.changed();
  }

  #keep(key, picture) {
    this.#held.set(key, picture);
    const wanted = new Set(this.#wanted.map((entry) => entry.key));
    for (const other of this.#held.keys()) {
      if (this.#held.size <= MOST_PICTURES) return;
      if (!wanted.has(other)) this.#held.delete(other);
    }
  }
}
