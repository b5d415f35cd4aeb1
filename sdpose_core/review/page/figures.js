/** People of a frame as they stand on the screen: what is drawn, and what a pointer can take hold of. */

const OPEN_AT = { left_hand: 64, right_hand: 64, face: 150 }; // pixels on the screen from which single points show
const NEAR_POINT = 11; // pixels of the screen, radius
const NEAR_LIMB = 7;
const NEAR_HANDLE = 13;

/** Points of `person` on the screen, with the preview of a drag: K entries, null where absent. */
function screenPoints(person, { stage, preview, state }) {
  const moves = preview?.id === person.id && preview.t === state.frame;
  return person.points.map((point, k) => {
    const moved = moves ? preview.to.get(k) : undefined;
    const at = moved ?? point;
    return at ? stage.toScreen(at[0], at[1]) : null;
  });
}

function bounds(points, indices) {
  const here = indices.map((k) => points[k]).filter(Boolean);
  if (!here.length) return null;
  const [xs, ys] = [here.map((p) => p[0]), here.map((p) => p[1])];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** One person: {id, person, at, selected, single: points shown one by one, handles: [...], closed: parts}. */
function figureOf(person, app) {
  const { state, parts } = app;
  const at = screenPoints(person, app);
  const selected = person.id === state.person;
  const figure = { id: person.id, person, at, selected, closed: new Set(), handles: [] };
  for (const [name, indices] of Object.entries(parts.groups)) {
    const box = bounds(at, indices);
    if (!box) continue;
    const size = Math.max(box[2] - box[0], box[3] - box[1]);
    const open = selected && (size >= OPEN_AT[name] || parts.partOf[state.point] === name);
    if (!open) figure.closed.add(name);
    if (selected) figure.handles.push(...handlesOf(name, indices, box, open));
  }
  return figure;
}

/** Handles of a hand or face: one that moves it, and one that turns and sizes it once its points are shown. */
function handlesOf(part, indices, box, open) {
  const center = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  if (!open) return [{ part, indices, kind: "move", at: center }];
  return [
    { part, indices, kind: "move", at: [center[0], box[1] - 20] },
    { part, indices, kind: "turn", at: [box[2] + 18, box[1] - 20] },
  ];
}

/** All people of the frame shown; the selected one last, so that it is drawn on top. */
export function figuresOf(frame, app) {
  const figures = frame.people.map((person) => figureOf(person, app));
  return figures.sort((a, b) => Number(a.selected) - Number(b.selected));
}

function distanceToLimb([x, y], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const share = length ? Math.min(Math.max(((x - ax) * dx + (y - ay) * dy) / length, 0), 1) : 0;
  return Math.hypot(x - ax - share * dx, y - ay - share * dy);
}

/** The nearest of `candidates` [{distance, hit}] within its reach; null if there is none. */
function nearest(candidates, reach) {
  const best = candidates.reduce((a, b) => (b.distance < a.distance ? b : a), { distance: reach, hit: null });
  return best.hit;
}

function hitHandle(figure, x, y) {
  return nearest(
    figure.handles.map((handle) => ({
      distance: Math.hypot(x - handle.at[0], y - handle.at[1]), hit: { kind: "handle", id: figure.id, handle },
    })),
    NEAR_HANDLE,
  );
}

function hitPoint(figure, parts, x, y) {
  const candidates = figure.at.flatMap((p, k) =>
    p && !figure.closed.has(parts.partOf[k])
      ? [{ distance: Math.hypot(x - p[0], y - p[1]), hit: { kind: "point", id: figure.id, points: [k] } }] : []);
  return nearest(candidates, NEAR_POINT);
}

function hitLimb(figure, parts, x, y) {
  const candidates = parts.links.flatMap(([a, b]) => {
    const [p, q] = [figure.at[a], figure.at[b]];
    if (!p || !q) return [];
    return [{ distance: distanceToLimb([x, y], p, q), hit: { kind: "limb", id: figure.id, points: [a, b] } }];
  });
  return nearest(candidates, NEAR_LIMB);
}

/** What is under (x, y) of the screen: {kind: "point"|"limb"|"handle", id, ...}; the selected person comes first. */
export function hitTest(figures, parts, x, y) {
  const ordered = [...figures].reverse();
  const selected = ordered.find((figure) => figure.selected);
  if (selected) {
    const hit = hitPoint(selected, parts, x, y) ?? hitHandle(selected, x, y);
    if (hit) return hit;
  }
  const others = ordered.filter((figure) => !figure.selected);
  const points = others.map((figure) => hitPoint(figure, parts, x, y)).filter(Boolean);
  if (points.length) return points[0];
  const limbs = [...(selected ? [selected] : []), ...others].map((figure) => hitLimb(figure, parts, x, y));
  return limbs.find(Boolean) ?? null;
}
