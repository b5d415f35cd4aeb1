/** The side panel's card about the selected point, the absent points, and estimating again. */

import { button, byId, fillSelect } from "./elements.js";

export class PointPanel {
  constructor(app) {
    this.app = app;
    const { state, actions } = app;
    byId("delete").onclick = () => actions.deletePoint();
    byId("restore").onclick = () => actions.restore();
    byId("copy-previous").onclick = () => actions.copyPrevious();
    byId("estimate-again").onclick = () => this.app.modes.startBoxAgain();
    byId("spread").onchange = (event) => {
      const value = Math.round(Number(event.target.value));
      state.set({ spread: Math.min(Math.max(Number.isFinite(value) ? value : 0, 0), 500) });
      byId("spread").value = state.spread;
    };
    const names = ["clip", "frame", "data", "person", "point", "part", "scope", "language", "playing"];
    state.watch(names, () => this.#show());
    state.watch(["language", "spread"], () => {
      byId("spread").value = state.spread;
      byId("spread-unit").textContent = app.texts.t(state.spread ? "spread_unit" : "spread_none");
    });
    state.watch(["clip", "person", "language"], () => this.#showEstimate());
  }

  #show() {
    const { state, texts, parts } = this.app;
    if (!state.clip || state.playing) return;
    const person = this.app.personHere(state.person);
    byId("point-title").textContent = this.#title();
    byId("point-facts").textContent = this.#facts(person);
    const nobody = state.person === null || (!person && state.scope === "frame");
    byId("delete").disabled = nobody || (state.point === null && state.part === null);
    byId("restore").disabled = nobody;
    byId("copy-previous").disabled = nobody || state.frame === 0;
    const absent = person ? parts.names.map((_, k) => k).filter((k) => !person.points[k]) : [];
    byId("absent").hidden = absent.length === 0;
    byId("absent-title").textContent = texts.t("absent", { n: absent.length });
    const chips = this.#chips(absent, person);
    const focused = document.activeElement?.dataset?.testid;
    byId("absent-list").replaceChildren(...chips);
    chips.find((chip) => chip.dataset.testid === focused)?.focus();
  }

  #title() {
    const { state, texts, parts } = this.app;
    if (state.person === null) return texts.t("points");
    const name = texts.person(state.person);
    if (state.point === null && !state.part) return texts.t("points_of", { name });
    const what = state.point !== null ? texts.pointName(parts.names[state.point]) : texts.t(`part.${state.part}`);
    return texts.t("point_of", { name, what });
  }

  #facts(person) {
    const { state, texts } = this.app;
    if (state.person === null) return texts.t("choose_person");
    const where = this.app.whereText(state.frame, state.frame);
    if (!person) return texts.t("person_absent", { name: texts.person(state.person), where });
    if (state.part !== null) return texts.t("n_points", { n: this.app.parts.pointsOf(state.part).length });
    if (state.point === null) return texts.t("choose_point");
    const point = person.points[state.point];
    if (!point) return texts.t("point_absent");
    const [x, y, score, distrust, reasons, mark] = point;
    const facts = [`x ${x.toFixed(1)}, y ${y.toFixed(1)}`, texts.t("fact_score", { score: score.toFixed(2) })];
    if (distrust !== null) facts.push(texts.t("fact_distrust", { percent: Math.round(distrust * 100) }));
    facts.push(...this.app.reasonsOf(reasons).map((name) => texts.reason(name)));
    if (mark) facts.push(texts.t(`mark.${mark}`));
    return facts.join(" · ");
  }

  /** Absent points as buttons; a hand or face that is absent as a whole is one button. */
  #chips(absent, person) {
    const { parts, texts } = this.app;
    const whole = Object.entries(parts.groups).filter(([, indices]) => indices.every((k) => absent.includes(k)));
    const covered = new Set(whole.flatMap(([, indices]) => indices));
    const start = (points, part) => this.app.modes.startPlacing(person.id, points, part);
    return [
      ...whole.map(([name, indices]) => this.#chip(texts.t(`part.${name}`), name, () => start(indices, name))),
      ...absent.filter((k) => !covered.has(k))
        .map((k) => this.#chip(texts.pointName(parts.names[k]), parts.names[k], () => start([k], null))),
    ];
  }

  #chip(text, name, call) {
    const chip = button(text, call);
    chip.dataset.testid = `absent-${name}`;
    chip.title = this.app.texts.t("absent_tip");
    return chip;
  }

  #showEstimate() {
    const { state, texts, parts } = this.app;
    if (!state.clip) return;
    byId("estimate").hidden = !state.clip.can_estimate;
    const names = ["all", "body", "feet", "face", "left_hand", "right_hand"];
    const known = names.filter((name) => name === "all" || state.clip.points.parts[name]?.length);
    const options = known.map((name) => [name, texts.t(name === "all" ? "part.all" : `part.${name}`)]);
    fillSelect(byId("estimate-part"), options, byId("estimate-part").value || "all");
    byId("estimate-again").disabled = state.person === null || !parts;
  }
}
