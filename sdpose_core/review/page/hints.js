/** One short hint at a time, for what is selected: enough to work without a manual. */

import { byId } from "./elements.js";

const MIXED = ["identity", "other_person"]; // reasons that two people may be mixed up

/** The hint that does not speak of frames around, if none follow. */
const alone = (key, spread) => (spread ? key : `${key}_alone`);

/** The hint for what is to be checked; null if something else is shown. */
function hintToCheck({ item, frame, person, people, range, spread }) {
  if (!item || item.t !== frame || item.id !== person || range) return null;
  const mixed = people.length > 1 && item.reasons.some((name) => MIXED.includes(name));
  return mixed ? "hint_mixed" : alone("hint_check", spread);
}

/** The key of the hint that fits the state. */
function hintFor(state, here) {
  if (!state.clip) return "hint_loading";
  if (state.mode === "place") return "hint_place";
  if (state.mode === "box") return "hint_box";
  if (state.playing) return "hint_playing";
  if (state.person === null) return state.worst?.items.length ? "hint_start" : "hint_select";
  if (!here) return "hint_absent";
  if (state.range && state.scope === "range") return "hint_range";
  if (state.hover?.kind === "handle") return state.hover.handle.kind === "turn" ? "hint_turn" : "hint_handle";
  if (state.hover?.kind === "limb") return "hint_limb";
  if (hintToCheck(state)) return hintToCheck(state);
  if (state.point !== null) return alone("hint_point", state.spread);
  if (state.part !== null) return "hint_part";
  return state.people.length > 1 ? "hint_person" : "hint_one";
}

export function startHints(app) {
  const { state, texts } = app;
  const names = [
    "clip", "mode", "playing", "person", "point", "part", "range", "scope", "hover", "frame", "data", "worst", "item",
    "language", "spread",
  ];
  state.watch(names, () => {
    const here = app.personHere(state.person) !== null;
    const values = { n: state.spread, range: state.range ? app.whereText(...state.range) : "" };
    byId("hint").textContent = texts.t(hintFor(state, here), values);
  });
}
