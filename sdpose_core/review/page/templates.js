/** Rough shapes for a hand or a face that the estimator did not find: a start to be dragged into place. */

/** 21 points of a hand, root first, fingertips up; the length from root to middle tip is 1. `mirror` for left. */
function hand(mirror) {
  const bases = [[-0.16, -0.16], [-0.13, -0.5], [-0.02, -0.53], [0.08, -0.5], [0.17, -0.45]];
  const reach = [0.42, 0.42, 0.47, 0.43, 0.34];
  const lean = [-0.75, -0.2, 0, 0.17, 0.36]; // radians from straight up
  const points = [[0, 0]];
  for (let finger = 0; finger < 5; finger++) {
    for (let joint = 0; joint < 4; joint++) {
      const along = (reach[finger] * joint) / 3;
      const [x, y] = bases[finger];
      points.push([x + Math.sin(lean[finger]) * along, y - Math.cos(lean[finger]) * along]);
    }
  }
  return points.map(([x, y]) => [mirror ? -x : x, y]);
}

function arc(count, [cx, cy], [rx, ry], from, to) {
  return Array.from({ length: count }, (_, i) => {
    const angle = from + ((to - from) * i) / (count - 1);
    return [cx + rx * Math.cos(angle), cy + ry * Math.sin(angle)];
  });
}

/** 68 points of a face seen from the front, in the usual order; the face is 1 high and has its center at 0, 0. */
function face() {
  const turn = Math.PI;
  const eye = (cx) => arc(7, [cx, -0.15], [0.08, 0.035], turn, 3 * turn).slice(0, 6);
  return [
    ...arc(17, [0, -0.1], [0.38, 0.6], turn, 0),
    ...arc(5, [-0.18, -0.24], [0.12, 0.06], turn, 2 * turn), ...arc(5, [0.18, -0.24], [0.12, 0.06], turn, 2 * turn),
    ...[0, 1, 2, 3].map((i) => [0, -0.15 + 0.07 * i]), ...arc(5, [0, 0.08], [0.08, 0.03], turn, 0),
    ...eye(-0.18), ...eye(0.18),
    ...arc(13, [0, 0.25], [0.15, 0.08], turn, 3 * turn).slice(0, 12),
    ...arc(9, [0, 0.25], [0.11, 0.03], turn, 3 * turn).slice(0, 8),
  ];
}

/** Points of `part` ("left_hand", "right_hand", "face") around `center`, `size` pixels long, turned by `angle`. */
export function shapeOf(part, center, size, angle) {
  const shape = part === "face" ? face() : hand(part === "left_hand");
  const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
  return shape.map(([x, y]) => [center[0] + size * (x * cos - y * sin), center[1] + size * (x * sin + y * cos)]);
}
