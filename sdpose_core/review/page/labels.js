/** Names of people over the stage: none over another, none outside. */

const HEIGHT = 17; // pixels of a line
const context = document.createElement("canvas").getContext("2d");

function widthOf(text) {
  context.font = '600 13px system-ui, "Noto Sans CJK SC", sans-serif';
  return context.measureText(text).width + 4;
}

const overlaps = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && Math.abs(a.y - b.y) < HEIGHT;

/** Places [{text, x, y, width}] for `wanted` [{text, x, y}] (left end of the base line) on a stage of `size` (w, h).
 * `covered`: right and lower edge of what lies over the stage's upper left corner. */
export function placed(wanted, [w, h], covered) {
  const done = [];
  for (const { text, x, y } of wanted) {
    const width = widthOf(text);
    const place = { text, width, x: Math.max(Math.min(x, w - width - 4), 4), y: Math.max(Math.min(y, h - 6), HEIGHT) };
    const hidden = (top) => place.x < covered[0] && top - HEIGHT < covered[1];
    const free = (top) => !hidden(top) && !done.some((other) => overlaps({ ...place, y: top }, other));
    const steps = Array.from({ length: Math.ceil(h / HEIGHT) }, (_, step) => step * HEIGHT);
    const tops = steps.flatMap((step) => [place.y - step, place.y + step]);
    place.y = tops.find((top) => top >= HEIGHT && top <= h - 6 && free(top)) ?? place.y;
    done.push(place);
  }
  return done;
}
