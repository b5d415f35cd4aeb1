/** The side panel's cards about people: who is there, which frames a change applies to, ids, left and right. */

import { personColor } from "./colors.js";
import { byId, button, fillSelect } from "./elements.js";
import { joinable } from "./joinable.js";

const SIDES = ["all", "arms", "hands", "legs", "feet", "head"];

export class PeoplePanel {
  constructor(app) {
    this.app = app;
    const { state } = app;
    this.#listen();
    state.watch(["clip", "frame", "data", "person", "people", "language"], () => this.#showPeople());
    state.watch(["clip", "frame", "scope", "range", "language"], () => this.#showScope());
    const ids = ["clip", "person", "people", "language", "data", "frame", "scope", "range", "timeline", "worst", "version"];
    state.watch(ids, () => this.#showIds());
    state.watch(["clip", "language"], () => this.#showParts());
  }

  #listen() {
    const { actions, state } = this.app;
    const chosen = (name) => (byId(name).value === "" ? null : Number(byId(name).value));
    byId("exchange-ids").onclick = () => actions.exchangeIds(chosen("exchange-with"));
    byId("join").onclick = () => actions.join(chosen("join-with"));
    byId("split").onclick = () => actions.split();
    byId("remove").onclick = () => actions.remove();
    byId("exchange-sides").onclick = () => actions.exchangeSides(byId("sides-part").value);
    byId("scope-frame").onclick = () => state.set({ scope: "frame" });
    byId("scope-range").onclick = () => state.set({ scope: "range" });
    byId("people-elsewhere").onchange = (event) => this.#goTo(Number(event.target.value));
    byId("add-person").onclick = () => this.app.modes.startBox(null);
  }

  get here() {
    return (this.app.cache?.get(this.app.state.frame)?.people ?? []).map((person) => person.id);
  }

  /** Select somebody who is not in this frame, and go to their nearest end. */
  #goTo(id) {
    const { state, seek } = this.app;
    const person = state.people.find((other) => other.id === id);
    if (!person) return;
    state.set({ person: id, point: null, part: null });
    if (state.frame < person.first) seek(person.first);
    else if (state.frame > person.last) seek(person.last);
  }

  #showPeople() {
    const { state, texts } = this.app;
    if (!state.clip || state.playing) return;
    const here = this.here;
    const chips = here.map((id) => {
      const chip = button(texts.person(id), () => state.set({ person: id, point: null, part: null }));
      const swatch = document.createElement("i");
      swatch.className = "swatch";
      swatch.style.backgroundColor = personColor(id);
      chip.prepend(swatch);
      chip.setAttribute("aria-pressed", String(id === state.person));
      chip.dataset.testid = `person-${id}`;
      return chip;
    });
    const focused = document.activeElement?.dataset?.testid;
    byId("people-here").replaceChildren(...(chips.length ? chips : [texts.t("nobody_here")]));
    if (focused) document.querySelector(`[data-testid="${CSS.escape(focused)}"]`)?.focus();
    const others = state.people.filter((person) => !here.includes(person.id));
    byId("people-elsewhere-label").hidden = others.length === 0;
    const name = (person) => texts.t("person_frames", {
      name: texts.person(person.id), from: person.first + this.app.firstNumber, to: person.last + this.app.firstNumber,
    });
    const selected = others.some((person) => person.id === state.person) ? state.person : "";
    fillSelect(byId("people-elsewhere"), [["", "…"], ...others.map((other) => [other.id, name(other)])], selected);
    byId("add-person").hidden = !state.clip.can_estimate;
  }

  #showScope() {
    const { state, texts } = this.app;
    if (!state.clip) return;
    const marked = state.range !== null;
    byId("scope-frame").textContent = texts.t("scope_frame", { frame: this.app.number(state.frame) });
    const [from, to] = (state.range ?? []).map((t) => this.app.number(t));
    byId("scope-range").textContent = texts.t(marked ? "scope_frames" : "scope_range", { from, to });
    byId("scope-range").disabled = !marked;
    const ranged = marked && state.scope === "range";
    byId("scope-frame").setAttribute("aria-pressed", String(!ranged));
    byId("scope-range").setAttribute("aria-pressed", String(ranged));
    byId("scope-note").textContent = texts.t(marked ? "scope_marked" : "scope_unmarked");
    byId("mark-clear").disabled = !marked;
  }

  #showIds() {
    const { state, texts, actions } = this.app;
    if (!state.clip || state.playing) return;
    const here = this.here;
    const others = state.people.filter((person) => person.id !== state.person)
      .sort((a, b) => Number(here.includes(b.id)) - Number(here.includes(a.id)) || a.id - b.id);
    const options = others.map((person) => [person.id, texts.person(person.id)]);
    const chosenAnew = state.person !== this.shown && this.app.personHere(state.person);
    const near = chosenAnew ? this.#partner() : null;
    fillSelect(byId("exchange-with"), options, near ?? byId("exchange-with").value);
    if (chosenAnew) this.shown = state.person;
    byId("exchange-ids").parentElement.hidden = !others.length;
    for (const name of ["exchange-ids", "remove", "exchange-sides"]) byId(name).disabled = !actions.applies;
    byId("split").disabled = !this.app.personHere(state.person);
    const done = this.app.worst?.isDone && state.scope === "frame";
    byId("looks-right").disabled = !actions.applies || actions.isChecked() || done;
    this.#showJoin();
  }

  /** Offer those who may be the same as the selected person: nobody who is in a frame with them. */
  #showJoin() {
    const { state, texts } = this.app;
    const partners = joinable(state);
    const options = partners.map(({ id, sure }) =>
      [id, sure ? texts.person(id) : texts.t("join_unsure", { name: texts.person(id) })]);
    const chosen = this.joined === state.person ? byId("join-with").value : partners[0]?.id;
    this.joined = state.person;
    fillSelect(byId("join-with"), options, chosen);
    byId("join").parentElement.hidden = !options.length;
    byId("join").disabled = !options.length;
  }

  /** Id of who most likely was mixed up with the selected person: in a frame around, they stand where they stood. */
  #partner() {
    const { cache, state } = this.app;
    const middle = ([x1, y1, x2, y2]) => [(x1 + x2) / 2, (y1 + y2) / 2];
    const middles = (frame) => new Map((frame?.people ?? []).map(({ id, box }) => [id, middle(box)]));
    const apart = (a, b) => (a && b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : Infinity);
    const now = middles(cache.get(state.frame));
    let best = { id: null, cost: Infinity };
    for (let t = state.frame - 16; t <= state.frame + 16; t++) {
      const then = middles(cache.get(t));
      for (const id of now.keys()) {
        const cost = apart(then.get(id), now.get(state.person)) + apart(then.get(state.person), now.get(id));
        if (id !== state.person && cost < best.cost) best = { id, cost };
      }
    }
    return best.id;
  }

  #showParts() {
    const { clip } = this.app.state;
    if (!clip) return;
    const known = { hands: clip.points.parts.left_hand, feet: clip.points.parts.feet };
    const parts = SIDES.filter((name) => !(name in known) || known[name]);
    const options = parts.map((name) => [name, this.app.texts.t(`sides.${name}`)]);
    fillSelect(byId("sides-part"), options, byId("sides-part").value || "all");
  }
}
