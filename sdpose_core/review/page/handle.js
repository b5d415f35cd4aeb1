/** A small handle for tests: read only. */

/** What tests read: where things are on the screen, and whether all is drawn. */
export function testHandle(app) {
  const { state, stage } = app;
  return Object.freeze({
    get frame() { return state.frame; },
    get person() { return state.person; },
    get point() { return state.point; },
    get part() { return state.part; },
    get aim() { return state.aim; },
    get range() { return state.range; },
    get version() { return state.version; },
    get people() { return state.people; },
    get ready() {
      return Boolean(stage.drawn?.whole && stage.drawn.frame === state.frame && !state.busy && !app.preview);
    },
    /** Position in the window, in CSS pixels, of point `k` of person `id` in frame `t`; null if it is not here. */
    screen(t, id, k) {
      const point = app.cache.get(t)?.people.find((person) => person.id === id)?.points[k];
      if (!point) return null;
      return this.toWindow(point[0], point[1]);
    },
    /** The same of a place in the source. */
    toWindow(sourceX, sourceY) {
      const box = stage.element.getBoundingClientRect();
      const [x, y] = stage.toScreen(sourceX, sourceY);
      return { x: x + box.left, y: y + box.top };
    },
    /** Pixels of the screen for one pixel of the source. */
    get scale() { return stage.view.scale; },
  });
}
