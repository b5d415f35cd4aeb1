/** Turning and sizing the points of a hand, a face or a limb. */

/** What `points` [[x, y]] of `part` turn about: the middle of a face or head, else the first point (a hand's root). */
export function pivotOf(part, points) {
  const mean = (axis) => points.reduce((sum, p) => sum + p[axis], 0) / points.length;
  return part === "face" || part === "head" ? [mean(0), mean(1)] : points[0];
}

/** `points` turned about `pivot` by `angle` (radians, clockwise on the screen) and sized by `factor`. */
export function turned(points, [px, py], angle, factor) {
  const [cos, sin] = [Math.cos(angle) * factor, Math.sin(angle) * factor];
  return points.map(([x, y]) => [x - px, y - py]).map(([x, y]) => [px + x * cos - y * sin, py + x * sin + y * cos]);
}
