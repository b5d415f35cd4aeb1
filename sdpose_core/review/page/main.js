/** Puts the page together: what its modules share is the `App`. */

import { Actions } from "./actions.js";
import { Api } from "./api.js";
import { Bars, useTheme } from "./bars.js";
import { FrameCache, PictureCache } from "./cache.js";
import { byId } from "./elements.js";
import { testHandle } from "./handle.js";
import { startHints } from "./hints.js";
import { Keys, Nudger } from "./keys.js";
import { Modes } from "./modes.js";
import { Parts } from "./parts.js";
import { PeoplePanel } from "./people.js";
import { Playback } from "./playback.js";
import { PointPanel } from "./points.js";
import { Pointer } from "./pointer.js";
import { Stage } from "./stage.js";
import { firstState, State } from "./state.js";
import { remembered, Texts } from "./texts.js";
import { Timeline } from "./timeline.js";
import { WorstPanel } from "./worst.js";

const ASK_AGAIN_MS = 1000;

const asSentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

class App {
  preview = null; // points that are being moved: {id, t, to: Map(point -> [x, y]), held: still in hand}

  constructor(texts) {
    this.texts = texts;
    this.state = new State({ ...firstState(), language: texts.language });
    this.api = new Api(texts);
    const changed = () => this.#dataCame();
    this.pictures = new PictureCache(() => this.state.set({ pictures: this.state.pictures + 1 }), () => undefined);
    this.cache = new FrameCache((from, to) => this.#frames(from, to), changed, (error) => this.fail(error));
    this.actions = new Actions(this);
    this.playback = new Playback(this);
    this.stage = new Stage(this);
    this.pointer = new Pointer(this);
    this.modes = new Modes(this);
    this.timeline = new Timeline(this);
    this.worst = new WorstPanel(this);
    this.bars = new Bars(this);
    this.people = new PeoplePanel(this);
    this.points = new PointPanel(this);
    this.nudger = new Nudger(this);
    this.keys = new Keys(this);
    startHints(this);
  }

  /** Ask the server what is reviewed, and show it. */
  async open() {
    const clip = await this.api.get("api/clip");
    this.api.inComfy = clip.in_comfy;
    this.parts = new Parts(clip.points);
    this.cache.begin(clip.frames, clip.people.reduce((sum, person) => sum + person.frames, 0) / clip.frames);
    this.state.set({ clip, spread: clip.frame_rate === null ? 0 : this.state.spread }); // pictures have no motion
    this.takeOver(clip);
    this.stage.fit();
    this.timeline.fit();
    this.seek(Number(new URLSearchParams(location.search).get("frame") ?? 0));
    if (clip.notes.length) this.bars.say(clip.notes.map(asSentence).join(" "), true);
  }

  /** Fetch frames. If they are of another version, another window edits the same file: all is read again. */
  async #frames(from, to) {
    const { state } = this;
    const answer = await this.api.get(`api/frames?from=${from}&to=${to}`);
    if (answer.version > state.version && !state.busy) {
      state.set({ version: answer.version });
      this.cache.drop(0, state.clip.frames);
      this.api.get("api/clip").then((clip) => this.takeOver(clip)).catch((error) => this.fail(error));
    }
    return answer;
  }

  #dataCame() {
    const { state, preview, cache } = this;
    if (preview && !preview.held && !state.busy && cache.fresh(preview.t)) this.preview = null;
    state.set({ data: state.data + 1 });
  }

  /** Take over what the server says: {version, undo, redo, saved, computing, people, changed: [from, to]}. */
  takeOver(answer) {
    if (answer.changed) {
      this.cache.drop(...answer.changed);
      this.worst.forget(...answer.changed);
    }
    const names = ["version", "undo", "redo", "saved", "computing", "people"];
    this.state.set(Object.fromEntries(names.filter((name) => name in answer).map((name) => [name, answer[name]])));
    this.state.set({ data: this.state.data + 1 });
    this.#leaveGone();
    if (answer.computing) this.#askLater();
  }

  /** Nobody can be changed who is no longer there. */
  #leaveGone() {
    const { state } = this;
    const gone = (id) => id !== null && id !== undefined && !state.people.some((person) => person.id === id);
    if (gone(state.placing?.id)) this.pointer.cancel();
    if (gone(state.person)) state.set({ person: null, point: null, part: null, hover: null });
  }

  /** Ask for the state again while the server still computes the distrust of a long clip. */
  #askLater() {
    clearTimeout(this.asking);
    this.asking = setTimeout(async () => {
      try {
        const answer = await this.api.get("api/state");
        this.takeOver(answer.computing ? answer : { ...answer, changed: [0, this.state.clip.frames] });
      } catch (error) {
        this.fail(error);
      }
    }, ASK_AGAIN_MS);
  }

  say(text) {
    this.bars.say(text);
  }

  fail(error) {
    this.bars.fail(asSentence(error.message));
  }

  // --- where we are -------------------------------------------------------------------------------------------------

  /** Number of the first frame in the source, if the numbers rise by one; else frames are counted from 0. */
  get firstNumber() {
    const { frame_numbers: [first, last], frames } = this.state.clip;
    return last - first === frames - 1 ? first : 0;
  }

  number(t) {
    return t + this.firstNumber;
  }

  seek(t) {
    this.nudger.flush();
    this.state.set({ frame: Math.min(Math.max(Math.round(t) || 0, 0), this.state.clip.frames - 1) });
    if (this.state.playing) this.playback.start();
  }

  step(by) {
    this.playback.stop();
    this.seek(this.state.frame + by);
  }

  /** Mark the first or last frame of the range; one mark alone reaches to the clip's end, or from its start. */
  mark(which) {
    const { frame, range, clip, rangeOpen } = this.state;
    const other = which === "in" ? "out" : "in";
    const kept = range && (which === "in" ? range[1] >= frame : range[0] <= frame);
    const next = which === "in" ? [frame, kept ? range[1] : clip.frames - 1] : [kept ? range[0] : 0, frame];
    this.state.set({ range: next, scope: "range", repaired: null, rangeOpen: kept && rangeOpen !== other ? null : other });
  }

  /** Leave what is going on: a mode, the range, the point, the person, in this order. */
  escape() {
    const { state } = this;
    if (state.mode !== "edit" || this.preview?.held) this.pointer.cancel();
    else if (state.playing) this.playback.stop();
    else if (state.range) state.set({ range: null, scope: "frame" });
    else if (state.point !== null || state.part !== null) state.set({ point: null, part: null });
    else state.set({ person: null });
  }

  /** The person `id` in the frame shown; null if not there, or not here yet. */
  personHere(id) {
    return this.cache.get(this.state.frame)?.people.find((person) => person.id === id) ?? null;
  }

  /** Whether person `id` is in one of the frames `from` to `to`; of several, only their first and last are known. */
  isIn(id, from, to) {
    const frame = from === to ? this.cache.get(from) : null;
    if (frame) return frame.people.some((person) => person.id === id);
    const person = this.state.people.find((other) => other.id === id);
    return Boolean(person && person.first <= to && person.last >= from);
  }

  /** Call `call` once frame `t` is here as it is now, unless another frame is shown by then. */
  whenHere(t, call) {
    if (this.cache.fresh(t)) return call();
    if (this.state.frame !== t) return undefined;
    this.cache.want(t, t);
    return setTimeout(() => this.whenHere(t, call), 30);
  }

  nextPerson(by) {
    const ids = (this.cache.get(this.state.frame)?.people ?? []).map((person) => person.id).sort((a, b) => a - b);
    if (!ids.length) return;
    const at = ids.indexOf(this.state.person);
    const next = at < 0 ? (by > 0 ? 0 : ids.length - 1) : (at + by + ids.length) % ids.length;
    this.state.set({ person: ids[next], point: null, part: null });
  }

  nextPoint(by) {
    if (this.state.person === null) this.nextPerson(1);
    this.state.set({ point: this.parts.step(this.state.point, by), part: null });
  }

  /** Select the whole hand, face or limb of the selected point; of a selected hand or face, the arm or head. */
  choosePart() {
    const { state, texts, parts } = this;
    if (this.personHere(state.person) === null) return this.say(texts.t("choose_person"));
    if (!this.actions.chosen.length) return this.say(texts.t("choose_point"));
    const part = parts.around(this.actions.chosen, state.part);
    return part === null ? this.say(texts.t("no_part")) : state.set({ point: null, part });
  }

  switchFocus() {
    if (byId("side").contains(document.activeElement)) this.stage.element.focus();
    else byId(byId("worst-next").disabled ? "side" : "worst-next").focus();
  }

  /** Zoom on the selected hand, face or limb, or else on the selected person. */
  zoomToSelected() {
    const { person, part } = this.state;
    this.zoomTo(person, part === null ? null : this.parts.pointsOf(part));
  }

  /** Zoom on some points of a person; null: on the whole person. */
  zoomTo(id, points) {
    const person = this.personHere(id);
    if (!person) return;
    const indices = points?.length ? points : person.points.map((_, k) => k);
    const chosen = indices.map((k) => person.points[k]).filter(Boolean);
    const corners = points?.length && chosen.length ? [] : [person.box.slice(0, 2), person.box.slice(2)];
    const all = [...chosen, ...corners];
    const [xs, ys] = [all.map((p) => p[0]), all.map((p) => p[1])];
    const room = points?.length ? Math.max(person.box[3] - person.box[1], person.box[2] - person.box[0]) * 0.2 : 0;
    this.stage.show([Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)], room);
  }

  useLanguage(language) {
    this.texts.use(language);
    this.texts.apply();
    this.state.set({ language });
  }

  // --- in words -----------------------------------------------------------------------------------------------------

  /** A frame by its number, a picture of a folder by its name. */
  frameText(t) {
    const name = this.state.clip.frame_rate === null && this.state.clip.names?.[t];
    return name || this.texts.t("frame_number", { frame: this.number(t) });
  }

  whereText(from, to) {
    const values = { from: this.number(from), to: this.number(to) };
    return this.texts.t(from === to ? "where_frame" : "where_frames", values);
  }

  pointsText(points) {
    if (points.length === 1) return this.texts.pointName(this.parts.names[points[0]]);
    const isWhole = ([, all]) => all.length === points.length && all[0] === points[0];
    const group = this.parts.named.find(isWhole);
    return group ? this.texts.partName(group[0]) : this.texts.t("n_points", { n: points.length });
  }

  reasonsOf(mask) {
    return this.state.clip.reasons.filter((_, bit) => mask & (1 << bit));
  }

  /** The rows of the timeline: those of the server; before they came, everybody's names. */
  get timelineRows() {
    return this.state.timeline?.rows ?? this.state.people.map(({ id }) => ({ id }));
  }
}

async function start() {
  const wanted = new URLSearchParams(location.search).get("theme") ?? remembered("theme");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  useTheme(wanted ?? (dark.matches ? "dark" : "light"), null, false);
  const texts = new Texts();
  await texts.load();
  texts.apply();
  const app = new App(texts);
  window.sdposeReview = testHandle(app);
  if (!wanted) dark.addEventListener("change", () => useTheme(dark.matches ? "dark" : "light", app, false));
  try {
    await app.open();
  } catch (error) {
    app.fail(error);
    throw error;
  }
}

start();
