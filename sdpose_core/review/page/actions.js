/** What can be done to the poses: each action sends one edit operation, and says in the status line what it did. */

export class Actions {
  #history = []; // frames [from, to] of the edit after which so many can be undone, of those made here

  constructor(app) {
    this.app = app;
  }

  /** Frames that a change applies to: [from, to], both included. */
  get frames() {
    const { state } = this.app;
    if (state.scope === "range" && state.range) return state.range;
    return [state.frame, state.frame];
  }

  /** Send `body` to `path`, take over the state that comes back, and show `note`; null if it failed. */
  async send(path, body, note) {
    const { app } = this;
    app.state.set({ busy: app.state.busy + 1 });
    try {
      const answer = await app.api.post(path, body);
      app.bars.clearError();
      app.takeOver(answer);
      app.say(typeof note === "function" ? note(answer) : note);
      return answer;
    } catch (error) {
      app.preview = null;
      app.fail(error);
      return null;
    } finally {
      app.state.set({ busy: app.state.busy - 1 });
    }
  }

  /** Send one operation; its note is the text `done.KIND` with `values`, or what `values(answer)` gives. */
  edit(op, values = {}) {
    const from = op.from ?? op.t;
    const where = this.app.whereText(from, Array.isArray(op.to) ? from : op.to ?? from);
    const given = typeof values === "function" ? values : () => values;
    const note = (answer) => this.app.texts.t(`done.${op.kind}`, { where, ...given(answer) });
    const frames = op.kind === "join" ? undefined : [from, Array.isArray(op.to) ? from : op.to ?? from];
    return this.#send("api/edit", { op }, note, frames);
  }

  /** Send one operation with a note made from the answer; what it changes is found again by undo and redo. */
  async #send(path, body, note, frames) {
    const answer = await this.send(path, body, note);
    if (answer) this.#history[answer.undo] = frames;
    return answer;
  }

  /** Whether the selected person is in one of the frames that a change applies to, as far as the page knows. */
  get applies() {
    return this.app.isIn(this.app.state.person, ...this.frames);
  }

  /** Whether the selected person is marked as right in all these frames; of a range only the frame shown is known. */
  isChecked() {
    const { app } = this;
    return app.state.scope === "frame" && Boolean(app.personHere(app.state.person)?.checked);
  }

  /** Id of the selected person; null, with a hint, if nobody is selected or they are not in `frames`. */
  #person([from, to] = this.frames) {
    const { app } = this;
    const { person } = app.state;
    if (app.isIn(person, from, to)) return person;
    const values = { name: app.texts.person(person), where: app.whereText(from, to) };
    app.say(app.texts.t(person === null ? "choose_person" : "person_absent", values));
    return null;
  }

  /** The selected point, or the points of the selected hand, face or limb; none if nothing is selected. */
  get chosen() {
    const { state, parts } = this.app;
    if (state.point !== null) return [state.point];
    return state.part !== null ? parts.pointsOf(state.part) : [];
  }

  /** Points that point actions apply to; null, with a hint, if none is selected. */
  #points() {
    if (this.chosen.length) return this.chosen;
    this.app.say(this.app.texts.t("choose_point"));
    return null;
  }

  /** Place points of frame `t` by hand: `to` are source pixels; frames within the follow range follow. */
  move(id, points, to, t = this.app.state.frame) {
    const { app } = this;
    const { state } = app;
    const rounded = to.map((at) => at.map((value) => Math.round(value * 100) / 100));
    app.preview = { id, t, to: new Map(points.map((k, i) => [k, rounded[i]])) };
    const op = { kind: "move", t, id, points, to: rounded, spread: state.spread };
    const shown = app.cache.get(t)?.people.find((person) => person.id === id);
    const done = app.texts.t(points.some((k) => shown?.points[k]) ? "done.moved" : "done.placed");
    return this.edit(op, (answer) => ({ done, points: app.pointsText(points), follow: this.#follow(t, answer) }));
  }

  /** Which frames follow a correction in frame `t`, in words. */
  #follow(t, { changed: [from, to] }) {
    const { app } = this;
    if (from === to) return "";
    if (t - from === to - t) return app.texts.t("done.follow", { n: to - t });
    return app.texts.t("done.follow_frames", { from: app.number(from), to: app.number(to) });
  }

  #pointsOrAll() {
    return this.chosen.length ? this.chosen : this.app.parts.names.map((_, k) => k);
  }

  /** Of the points chosen, those that frame `t` shows. */
  #pointsThere(t, id) {
    const person = this.app.cache.get(t)?.people.find((other) => other.id === id);
    return this.#pointsOrAll().filter((k) => person?.points[k]);
  }

  deletePoint() {
    return this.#onPoints("delete");
  }

  /** Bring the estimate back: of the selected point, or of all points of the person. */
  restore() {
    const id = this.#person();
    if (id === null) return null;
    return this.#onRange("restore", id, this.#pointsOrAll());
  }

  #onPoints(kind) {
    const id = this.#person();
    const points = id === null ? null : this.#points();
    return points && this.#onRange(kind, id, points);
  }

  #onRange(kind, id, points) {
    const [from, to] = this.frames;
    return this.edit({ kind, from, to, id, points }, { points: this.app.pointsText(points) });
  }

  /** Copy the selected point, or the whole person, from the frame before into the frames of the scope. */
  copyPrevious() {
    const id = this.#person();
    if (id === null) return null;
    const [from, to] = this.frames;
    if (from === 0) return this.app.say(this.app.texts.t("no_previous"));
    const points = this.#pointsThere(from - 1, id);
    if (!points.length) return this.app.say(this.app.texts.t("previous_absent"));
    return this.edit({ kind: "copy", t: from - 1, from, to, id, points }, { points: this.app.pointsText(points) });
  }

  exchangeSides(part) {
    const id = this.#person();
    if (id === null) return null;
    const [from, to] = this.frames;
    const values = { name: this.app.texts.person(id), part: this.app.texts.t(`sides.${part}`).toLowerCase() };
    return this.edit({ kind: "exchange_sides", from, to, id, part }, values);
  }

  exchangeIds(other) {
    const id = this.#person();
    if (id === null || other === null) return null;
    const [from, to] = this.frames;
    const values = { a: this.app.texts.person(id), b: this.app.texts.person(other) };
    return this.edit({ kind: "exchange_ids", from, to, ids: [id, other] }, values);
  }

  /** From this frame on the selected person gets a new id, and stays selected under it. */
  async split() {
    const { state, texts } = this.app;
    const id = this.#person([state.frame, state.frame]);
    if (id === null) return;
    const before = new Set(state.people.map((person) => person.id));
    const added = ({ people }) => people.find((person) => !before.has(person.id))?.id ?? id;
    const values = (answer) => ({ name: texts.person(id), added: texts.person(added(answer)) });
    await this.#selectNew(() => this.edit({ kind: "split", t: state.frame, id }, values));
  }

  /** Do what makes a new person, and select that one. */
  async #selectNew(make) {
    const { state } = this.app;
    const before = new Set(state.people.map((person) => person.id));
    if (!(await make())) return;
    const added = state.people.find((person) => !before.has(person.id));
    if (added) state.set({ person: added.id, point: null, part: null });
  }

  /** The selected person becomes `other` in all frames, and stays selected under that id. */
  async join(other) {
    const id = this.#person([0, this.app.state.clip.frames - 1]);
    if (id === null || other === null) return;
    const { texts, state } = this.app;
    const values = { a: texts.person(other), b: texts.person(id) };
    if (await this.edit({ kind: "join", ids: [other, id] }, values)) {
      state.set({ person: other });
    }
  }

  remove() {
    const id = this.#person();
    if (id === null) return null;
    const [from, to] = this.frames;
    return this.edit({ kind: "remove", from, to, id }, { name: this.app.texts.person(id) });
  }

  /** Looked at and right: no longer suggested. */
  check(checked = true) {
    const id = this.#person();
    if (id === null) return null;
    const [from, to] = this.frames;
    return this.edit({ kind: "check", from, to, id, checked }, { name: this.app.texts.person(id) });
  }

  /** Estimate `points` (null: all) of person `id` (null: a new one) in `box` (source pixels). */
  estimate(id, box, points) {
    const { state, texts } = this.app;
    const body = { t: state.frame, id, box: box.map((value) => Math.round(value * 10) / 10) };
    if (points) body.points = points;
    this.app.say(texts.t("estimating"));
    const done = texts.t(id === null ? "done.add" : "done.estimate");
    return this.#selectNew(() => this.#send("api/estimate", body, done, [state.frame, state.frame]));
  }

  undo() {
    return this.app.state.undo ? this.#inHistory("undo") : null;
  }

  redo() {
    return this.app.state.redo ? this.#inHistory("redo") : null;
  }

  /** Undo or redo, and go to where something changed if it is not in the frame shown. */
  async #inHistory(name) {
    const { state, texts } = this.app;
    const framesOf = ({ undo, changed }) => this.#history[name === "undo" ? undo + 1 : undo] ?? changed;
    const note = (answer) => texts.t(`done.${name}`, { where: this.app.whereText(...framesOf(answer)) });
    const answer = await this.send(`api/${name}`, {}, note);
    if (!answer) return;
    const [from, to] = framesOf(answer);
    if (state.frame < from || state.frame > to) this.app.seek(Math.floor((from + to) / 2));
  }

  save(name) {
    if (this.app.state.clip.in_comfy) return this.app.say(this.app.texts.t("save_comfy"));
    const note = (answer) => this.app.texts.t("done.save", { name: answer.name });
    return this.send("api/save", name ? { name } : {}, note);
  }

  saveTraining(folder) {
    const note = (answer) => this.app.texts.t("done.training", { ...answer, people: answer.people_written });
    return this.send("api/training", folder ? { folder } : {}, note);
  }
}
