/** Which points belong together: limbs, hands, the face, for a keypoint set as `api/clip` describes it. */

const SIDES = ["left", "right"];
const BIG = ["face", "left_hand", "right_hand"]; // parts of many points, moved as one until they are zoomed

export class Parts {
  /** `points`: {names, links, flip_pairs, parts} of `api/clip`. */
  constructor(points) {
    this.names = points.names;
    this.links = points.links;
    this.groups = {};
    for (const name of BIG) if (points.parts[name]?.length) this.groups[name] = points.parts[name];
    this.partOf = new Array(this.names.length).fill(null);
    for (const [name, indices] of Object.entries(this.groups)) for (const k of indices) this.partOf[k] = name;
    this.chains = this.#chains(points.parts);
    this.links = this.#withHandRoots(this.links);
  }

  /** Links with those that join a wrist and its hand, so that a hand that is off is seen. */
  #withHandRoots(links) {
    const more = SIDES.map((side) => [this.index(`${side}_wrist`), this.index(`${side}_hand_root`)]);
    return [...links, ...more.filter(([wrist, root]) => wrist >= 0 && root >= 0)];
  }

  index(name) {
    return this.names.indexOf(name);
  }

  #find(names) {
    return names.map((name) => this.index(name)).filter((k) => k >= 0);
  }

  /** Groups that move as one: arms with hands, legs with feet, the head with the face. */
  #chains(parts) {
    const chains = {};
    for (const side of SIDES) {
      const named = (...ends) => this.#find(ends.map((end) => `${side}_${end}`));
      chains[`${side}_arm`] = [...named("shoulder", "elbow", "wrist"), ...(parts[`${side}_hand`] ?? [])];
      chains[`${side}_leg`] = named("hip", "knee", "ankle", "big_toe", "small_toe", "heel");
    }
    chains.head = [...this.#find(["nose", "left_eye", "right_eye", "left_ear", "right_ear"]), ...(parts.face ?? [])];
    return Object.fromEntries(Object.entries(chains).filter(([, indices]) => indices.length > 1));
  }

  /** [name, points] of the hands, the face, the arms, the legs and the head, the smallest first. */
  get named() {
    return Object.entries({ ...this.groups, ...this.chains }).sort(([, a], [, b]) => a.length - b.length);
  }

  /** Points of a hand, the face, an arm, a leg or the head by its name. */
  pointsOf(name) {
    return this.groups[name] ?? this.chains[name];
  }

  /** Name of the smallest part that has all of `points` and is larger than `part`; else `part`, which may be null. */
  around(points, part) {
    const fits = ([name, all]) => name !== part && points.every((k) => all.includes(k));
    return this.named.find(fits)?.[0] ?? part;
  }

  /** The smallest group that has all of `points`: a hand, an arm, a leg, the head; all points if there is none. */
  groupOf(points) {
    return this.pointsOf(this.around(points, null)) ?? this.names.map((_, k) => k);
  }

  /** Neighbors of a point in the skeleton: {previous, next} by number, round the end. */
  step(point, by) {
    const count = this.names.length;
    return point === null ? (by > 0 ? 0 : count - 1) : (point + by + count) % count;
  }
}
