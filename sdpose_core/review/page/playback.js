/** Plays the clip at its frame rate; frames that are not here in time are left out. */

const PICTURES_PER_SECOND = 4; // of a folder of pictures
const MOST_STRIDE = 8;

export class Playback {
  stride = 1; // every how many frames a picture is fetched: more where the server cannot follow

  constructor(app) {
    this.app = app;
  }

  get rate() {
    const { clip, speed } = this.app.state;
    return (clip.frame_rate ?? PICTURES_PER_SECOND) * speed;
  }

  toggle() {
    if (this.app.state.playing) this.stop();
    else this.start();
  }

  start() {
    const { state } = this.app;
    const [first, last] = this.#ends();
    if (state.frame >= last || state.frame < first) state.set({ frame: first });
    this.#begin();
    this.stride = 1;
    state.set({ playing: true, hover: null });
    requestAnimationFrame(() => this.#tick());
  }

  stop() {
    this.app.state.set({ playing: false });
  }

  /** First and last frame played: the marked range, or the whole clip. */
  #ends() {
    const { clip, range } = this.app.state;
    return range ?? [0, clip.frames - 1];
  }

  #begin() {
    this.origin = { time: performance.now(), frame: this.app.state.frame };
  }

  #tick() {
    const { state } = this.app;
    if (!state.playing) return;
    const last = this.#ends()[1];
    const passed = ((performance.now() - this.origin.time) / 1000) * this.rate;
    const due = Math.min(this.origin.frame + Math.floor(passed), last);
    const next = this.#newest(state.frame, due);
    if (next > state.frame) {
      this.stride = Math.max(this.stride - (next === due ? 1 : 0), 1);
      state.set({ frame: next });
    } else if (due - state.frame > this.rate / 2) {
      this.stride = Math.min(this.stride * 2, MOST_STRIDE); // nothing came for half a second: wait from here
      this.#begin();
      state.set({ pictures: state.pictures + 1 });
    }
    if (state.frame >= last) this.stop();
    else requestAnimationFrame(() => this.#tick());
  }

  /** The newest frame up to `due` that can be shown whole; `shown` if there is none. */
  #newest(shown, due) {
    const { state, cache, pictures } = this.app;
    for (let t = due; t > shown; t--) {
      if (cache.get(t) && (!state.clip.pictures || pictures.settled(t))) return t;
    }
    return shown;
  }
}
