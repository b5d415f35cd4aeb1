/** One short hint at a time, for what is selected: enough to work without a manual. */

import { byId } from "./elements.js";

const MIXED = ["identity", "other_person"]; // reasons that two people may be mixed up
const DOUBTFUL = 0.5;

/** The hint that does not speak of frames around, if none follow. */
const alone = (key, spread) => (spread ? key : `${key}_alone`);

/** Whether most points of a person (`here`, in the frame shown) leave together for where somebody else was. */
function jumpsAsOne(here, { parts, state }) {
  const mask = ["jump", ...MIXED].reduce((bits, name) => bits | (1 << state.clip.reasons.indexOf(name)), 0);
  const single = here.points.filter((point, k) => point && parts.partOf[k] === null);
  const leaving = single.filter(([, , , distrust, reasons]) => distrust >= DOUBTFUL && reasons & mask);
  return leaving.length > single.length / 2;
}

/** The hint for a person who is likely wrong in the frame shown; null if nothing is known of that. */
function hintToCheck(app, here) {
  const { item, frame, person, people, spread } = app.state;
  const isItem = item && item.t === frame && item.id === person;
  const mixed = (isItem && item.reasons.some((name) => MIXED.includes(name))) || (!here.checked && jumpsAsOne(here, app));
  if (people.length > 1 && mixed) return "hint_mixed";
  return isItem ? alone("hint_check", spread) : null;
}

/** The key of the hint that fits the state; `here`: the selected person in the frame shown, or null. */
function hintFor(app, here) {
  const { state } = app;
  if (!state.clip) return "hint_loading";
  if (state.mode === "place") return "hint_place";
  if (state.mode === "box") return state.placing.id === null ? "hint_box" : "hint_box_again";
  if (state.playing) return "hint_playing";
  const ranged = state.range && state.scope === "range";
  if (ranged && state.rangeOpen) return `hint_range_${state.rangeOpen}`;
  if (state.person === null) return state.worst?.items.length ? "hint_start" : "hint_select";
  if (!here) return "hint_absent";
  const { repaired } = state;
  if (repaired?.t === state.frame && repaired.id === state.person && state.worst?.items.length) return "hint_next";
  if (ranged) return "hint_range";
  if (state.hover?.kind === "handle") return state.hover.handle.kind === "turn" ? "hint_turn" : "hint_handle";
  if (state.hover?.kind === "limb") return "hint_limb";
  const toCheck = hintToCheck(app, here);
  if (toCheck) return toCheck;
  if (state.point !== null) return alone("hint_point", state.spread);
  if (state.part !== null) return "hint_part";
  return state.people.length > 1 ? "hint_person" : "hint_one";
}

export function startHints(app) {
  const { state, texts } = app;
  const names = [
    "clip", "mode", "placing", "playing", "person", "point", "part", "range", "rangeOpen", "scope", "hover", "frame",
    "data", "worst", "item", "repaired", "language", "spread",
  ];
  state.watch(names, () => {
    const here = app.personHere(state.person);
    const values = { n: state.spread, range: state.range ? app.whereText(...state.range) : "" };
    byId("hint").textContent = texts.t(hintFor(app, here), values);
  });
}
