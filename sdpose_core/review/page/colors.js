/** Colors of people and of distrust. */

const STOPS = [[54, 169, 141], [242, 182, 50], [226, 55, 63]];

/** Hue of a person in degrees: neighbors in number are far apart in color. */
export function hueOf(id) {
  return (205 + id * 137.508) % 360;
}

export function personColor(id, lightness = 60, alpha = 1) {
  return `hsl(${hueOf(id).toFixed(1)} 88% ${lightness}% / ${alpha})`;
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
