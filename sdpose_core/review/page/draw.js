/** The skeletons as SVG in pixels of the screen. Whoever is not selected is a few paths, however many points. */

import { distrustColor, distrustStep, personColor } from "./colors.js";
import { byId } from "./elements.js";
import { placed } from "./labels.js";

const SVG = "http://www.w3.org/2000/svg";
const MARKS = ["", " follows", " placed", " follows"]; // classes of joints by how they came about

function shape(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const fixed = (value) => value.toFixed(1);
const line = (a, b) => `M${fixed(a[0])} ${fixed(a[1])}L${fixed(b[0])} ${fixed(b[1])}`;
const dot = (p) => `M${fixed(p[0])} ${fixed(p[1])}h0.01`;

/** Whether a point is drawn faint: below the threshold, and not placed by hand. */
function isFaint(point, app) {
  return point[2] < app.state.clip.threshold && point[5] !== 2;
}

/** Limbs of a person as two paths: the sure ones, and those with a faint end. */
function limbs(figure, app) {
  const paths = { sure: [], faint: [] };
  for (const [a, b] of app.parts.links) {
    const [p, q] = [figure.at[a], figure.at[b]];
    if (!p || !q) continue;
    const faint = [a, b].some((k) => figure.person.points[k] && isFaint(figure.person.points[k], app));
    paths[faint ? "faint" : "sure"].push(line(p, q));
  }
  const color = personColor(figure.id);
  const width = figure.selected ? 2.6 : 2;
  return Object.entries(paths).filter(([, list]) => list.length).map(([name, list]) =>
    shape("path", { class: `limb ${name}`, d: list.join(""), stroke: color, "stroke-width": width }));
}

/** Points that are not single joints, as paths of dots: one path for each color. */
function dots(figure, app, indices) {
  const lists = new Map();
  for (const k of indices) {
    const [at, point] = [figure.at[k], figure.person.points[k]];
    if (!at || !point) continue;
    const color = app.state.showDistrust ? distrustColor(distrustStep(point[3])) : personColor(figure.id, 72);
    const small = app.parts.partOf[k] !== null;
    const key = `${color}|${small ? 3 : 6}|${isFaint(point, app) ? "faint" : ""}`;
    if (!lists.has(key)) lists.set(key, []);
    lists.get(key).push(dot(at));
  }
  return [...lists].map(([key, list]) => {
    const [color, width, faint] = key.split("|");
    return shape("path", { class: `dots ${faint}`, d: list.join(""), stroke: color, "stroke-width": width });
  });
}

/** One joint of the selected person that can be dragged. */
function joint(figure, app, k) {
  const [p, point] = [figure.at[k], figure.person.points[k]];
  const color = app.state.showDistrust ? distrustColor(point[3]) : personColor(figure.id);
  const radius = (app.parts.partOf[k] === null ? 5.5 : 3.6) + (app.state.point === k ? 1.5 : 0);
  const mark = MARKS[point[5]] ?? "";
  const classes = `joint${mark}${isFaint(point, app) ? " faint" : ""}`;
  return shape("circle", { class: classes, cx: fixed(p[0]), cy: fixed(p[1]), r: radius, fill: color, "data-k": k });
}

function halo(p, radius) {
  const place = { cx: fixed(p[0]), cy: fixed(p[1]), r: radius };
  return [shape("circle", { class: "halo dark", ...place }), shape("circle", { class: "halo", ...place })];
}

function handle({ kind, at: [x, y], part }) {
  if (kind === "turn") return shape("circle", { class: "handle", cx: fixed(x), cy: fixed(y), r: 6, "data-part": part });
  const square = { x: fixed(x - 6), y: fixed(y - 6), width: 12, height: 12, rx: 2 };
  return shape("rect", { class: "handle", ...square, "data-part": part });
}

/** A frame around the selected hand, face or limb. */
function partBox(figure, indices) {
  const here = indices.map((k) => figure.at[k]).filter(Boolean);
  if (!here.length) return [];
  const [xs, ys] = [0, 1].map((axis) => here.map((p) => p[axis]));
  const [x, y] = [Math.min(...xs) - 10, Math.min(...ys) - 10];
  return [shape("rect", { class: "part-box", x, y, width: Math.max(...xs) + 10 - x, height: Math.max(...ys) + 10 - y, rx: 6 })];
}

/** The cross or the box that the arrow keys move: corners in source pixels. */
function aimShapes(aim, stage) {
  const [x, y] = stage.toScreen(aim[0], aim[1]);
  if (aim.length === 4) return [drawnBox([x, y, ...stage.toScreen(aim[2], aim[3])])];
  const d = `M${fixed(x - 14)} ${fixed(y)}h28M${fixed(x)} ${fixed(y - 14)}v28`;
  return [shape("path", { class: "halo dark", d }), shape("path", { class: "halo cross", d })];
}

function drawnBox([x1, y1, x2, y2]) {
  const size = { width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) };
  return shape("rect", { class: "drawn-box", x: Math.min(x1, x2), y: Math.min(y1, y2), ...size });
}

function label(text, [x, y], color, small = "") {
  return shape("text", { class: `label ${small}`, x: fixed(x), y: fixed(y), fill: color }, text);
}

/** The path of the selected point through the frames around, as far as they are here. */
function trail(figure, app) {
  const { state, cache, stage } = app;
  if (state.point === null || state.playing || state.clip.frame_rate === null) return [];
  const points = [];
  for (let t = state.frame - 8; t <= state.frame + 8; t++) {
    const person = cache.get(t)?.people.find((other) => other.id === figure.id);
    const at = t === state.frame ? figure.at[state.point] : person?.points[state.point];
    if (at) points.push(t === state.frame ? at : stage.toScreen(at[0], at[1]));
  }
  if (points.length < 2) return [];
  return [shape("polyline", { class: "trail", points: points.map((p) => p.map(fixed).join(",")).join(" ") })];
}

/** The names of all who are seen on the stage; the selected person's stands where it wants to. */
function nameLabels(figures, app) {
  const { clientWidth: width, clientHeight: height } = app.stage.element;
  const seen = ([x, y]) => x >= 0 && y >= 0 && x <= width && y <= height;
  const wanted = [...figures].reverse().flatMap(({ id, at }) => {
    const here = at.filter((p) => p && seen(p));
    if (!here.length) return [];
    const [x, y] = [0, 1].map((axis) => Math.min(...here.map((p) => p[axis])));
    return [{ id, text: app.texts.person(id), x, y: y - 14 }];
  });
  const card = byId("reason-card");
  const covered = card.hidden ? [0, 0] : [card.offsetLeft + card.offsetWidth, card.offsetTop + card.offsetHeight];
  return placed(wanted, [width, height], covered)
    .map(({ text, x, y }, i) => label(text, [x, y], personColor(wanted[i].id, 75), "name"));
}

function figureShapes(figure, app) {
  const all = figure.at.map((_, k) => k);
  const closed = (k) => !figure.selected || figure.closed.has(app.parts.partOf[k]);
  const single = all.filter((k) => figure.at[k] && figure.person.points[k] && !closed(k));
  const rest = all.filter(closed);
  const shapes = [...limbs(figure, app), ...dots(figure, app, rest)];
  if (figure.selected) shapes.push(...trail(figure, app));
  shapes.push(...single.map((k) => joint(figure, app, k)), ...figure.handles.map(handle));
  if (figure.selected && figure.at[app.state.point]) shapes.push(...halo(figure.at[app.state.point], 11));
  if (figure.selected && app.state.part) shapes.push(...partBox(figure, app.parts.pointsOf(app.state.part)));
  return shapes;
}

/** What the pointer is over: the point's or part's name beside it. */
function hoverShapes(figures, app) {
  const { hover } = app.state;
  const figure = hover && figures.find((other) => other.id === hover.id);
  if (!figure) return [];
  if (hover.kind === "handle") {
    const key = hover.handle.kind === "turn" ? "turn_handle" : `part.${hover.handle.part}`;
    return [label(app.texts.t(key), [hover.handle.at[0] + 14, hover.handle.at[1] + 4], "#fff", "small")];
  }
  const places = hover.points.map((k) => figure.at[k]).filter(Boolean);
  if (!places.length) return [];
  const at = [0, 1].map((axis) => places.reduce((sum, p) => sum + p[axis], 0) / places.length);
  const text = hover.points.map((k) => app.texts.pointName(app.parts.names[k])).join(" – ");
  const shapes = [label(text, [at[0] + 14, at[1] - 10], "#fff", "small")];
  return hover.kind === "point" ? [...halo(at, 9), ...shapes] : [...places.flatMap((p) => halo(p, 9)), ...shapes];
}

/** Draw `figures` into `svg`, and the box that is being drawn: (x1, y1, x2, y2) of the screen, or null. */
export function draw(svg, app, figures, box) {
  const shapes = figures.flatMap((figure) => figureShapes(figure, app));
  shapes.push(...nameLabels(figures, app), ...hoverShapes(figures, app));
  if (box) shapes.push(drawnBox(box));
  else if (app.state.aim) shapes.push(...aimShapes(app.state.aim, app.stage));
  svg.replaceChildren(...shapes);
}
