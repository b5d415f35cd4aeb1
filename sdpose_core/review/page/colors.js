/** Colors of people and of distrust. */

const STOPS = [[54, 169, 141], [242, 182, 50], [226, 55, 63]];

const HUES = [205, 28, 130, 300, 55, 350, 170, 262, 82, 325]; // degrees; any six in a row differ clearly
const LIGHTER = [0, 14, -14];

/** The color of a person: of its hue, and once all hues are used, lighter or darker. */
export function personColor(id, lightness = 60) {
  const shade = lightness + LIGHTER[Math.floor(id / HUES.length) % LIGHTER.length];
  return `hsl(${HUES[id % HUES.length]} 88% ${Math.min(shade, 85)}%)`;
}

/** Green to yellow to red for a probability 0..1 that a point is wrong; gray where it is not known. */
export function distrustColor(probability) {
  if (probability === null || probability === undefined) return "#9aa3ad";
  const at = Math.min(Math.max(probability, 0), 1) * 2;
  const [low, high] = at < 1 ? [STOPS[0], STOPS[1]] : [STOPS[1], STOPS[2]];
  const share = at < 1 ? at : at - 1;
  return `rgb(${low.map((value, i) => Math.round(value + (high[i] - value) * share)).join(" ")})`;
}

/** Distrust in four steps, for dots that are drawn together. */
export function distrustStep(probability) {
  if (probability === null || probability === undefined) return null;
  return Math.min(Math.floor(probability * 4), 3) / 3;
}
