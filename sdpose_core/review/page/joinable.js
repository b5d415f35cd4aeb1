/** Who may be the same person as the one selected. */

/** Frames between two people, each from `first` to `last`; 0 or less if these overlap. */
const between = (a, b) => Math.max(a.first, b.first) - Math.min(a.last, b.last);

/** Whether two rows of the timeline have a bin in common. */
const meets = (a, b) => a.distrust.some((value, bin) => value !== null && b.distrust[bin] !== null);

/** Who shares no frame with the selected person, the nearest in time first: [{id, sure}]; not sure: they may share one. */
export function joinable({ person, people, timeline, version, clip }) {
  const selected = people.find(({ id }) => id === person);
  if (!selected) return [];
  const row = (id) => (timeline?.version === version ? timeline.rows.find((other) => other.id === id) : undefined);
  const own = row(person);
  return people.filter(({ id }) => id !== person).flatMap((other) => {
    const apart = between(selected, other);
    if (apart > 0) return [{ id: other.id, sure: true, apart }];
    const theirs = row(other.id);
    const known = own && theirs;
    if (known && !meets(own, theirs)) return [{ id: other.id, sure: true, apart }];
    return known && own.distrust.length === clip.frames ? [] : [{ id: other.id, sure: false, apart: Infinity }];
  }).sort((a, b) => a.apart - b.apart || a.id - b.id);
}
