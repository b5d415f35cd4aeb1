/** Drawing of the timeline: the ruler and the rows, each on its canvas. */

import { distrustColor, personColor } from "./colors.js";

export const ROW = 20; // pixels
export const GUTTER = 92; // pixels left of the rows, for the names
const STEPS = [0, 1, 2, 3, 4, 5, 6].flatMap((power) => [1, 2, 5].map((step) => step * 10 ** power)); // 1, 2, 5, 10 ...
const BAR = 11; // pixels: height of the distrust in a row

/** A context in CSS pixels, cleared, and the colors of the theme. */
function begin(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const look = getComputedStyle(document.documentElement);
  const color = (name) => look.getPropertyValue(`--${name}`).trim();
  context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  context.textBaseline = "middle";
  return { context, width, height, color };
}

/** The marked range as [left, right] in pixels; null if there is none. */
function rangePixels(timeline) {
  const { range } = timeline.app.state;
  return range && [Math.max(timeline.x(range[0]), GUTTER), Math.max(timeline.x(range[1] + 1), GUTTER)];
}

export function drawRuler(canvas, timeline) {
  const { context, width, height, color } = begin(canvas);
  const step = STEPS.find((frames) => (frames / timeline.span) * timeline.width >= 64) ?? STEPS.at(-1);
  const range = rangePixels(timeline);
  context.fillStyle = color("range");
  if (range) context.fillRect(range[0], 0, range[1] - range[0], height);
  context.fillStyle = color("accent");
  if (range) for (const x of range) context.fillRect(x - 1, 0, 3, height);
  context.fillStyle = color("quiet");
  context.strokeStyle = color("line");
  for (let t = Math.ceil(timeline.from / step) * step; t < timeline.from + timeline.span; t += step) {
    const x = timeline.x(t);
    context.fillRect(x, height - 6, 1, 6);
    if (x < width - 30) context.fillText(String(t + timeline.app.firstNumber), x + 4, height / 2);
  }
}

export function drawLanes(canvas, timeline) {
  const { context, width, height, color } = begin(canvas);
  const top = timeline.rows.scrollTop;
  const rows = timeline.app.timelineRows;
  const last = Math.min(Math.ceil((top + height) / ROW), rows.length);
  for (let number = Math.floor(top / ROW); number < last; number++) {
    const y = number * ROW - top;
    drawName(context, rows[number], y, timeline, color);
    context.save();
    context.beginPath();
    context.rect(GUTTER, y, width - GUTTER, ROW);
    context.clip();
    drawRow(context, rows[number], y, timeline, color);
    context.restore();
  }
  const range = rangePixels(timeline);
  context.fillStyle = color("range");
  if (range) context.fillRect(range[0], 0, range[1] - range[0], height);
}

function drawName(context, row, y, timeline, color) {
  const { state, texts } = timeline.app;
  if (row.id === state.person) {
    context.fillStyle = color("soft");
    context.fillRect(0, y, GUTTER - 4, ROW);
  }
  context.fillStyle = personColor(row.id);
  context.beginPath();
  context.arc(13, y + ROW / 2, 5, 0, 7);
  context.fill();
  context.fillStyle = color("ink");
  context.fillText(texts.person(row.id), 24, y + ROW / 2 + 1, GUTTER - 30);
}

/** One person: distrust as colored bars, a line under checked frames, a tick over edited ones. */
function drawRow(context, row, y, timeline, color) {
  context.fillStyle = color("lane");
  context.fillRect(GUTTER, y + 5, timeline.width, BAR);
  if (!row.distrust) return;
  const bins = row.distrust.length;
  const each = timeline.app.state.clip.frames / bins; // frames of a bin
  const first = Math.max(Math.floor(timeline.from / each), 0);
  const end = Math.min(Math.ceil((timeline.from + timeline.span) / each), bins);
  for (let bin = first; bin < end; bin++) {
    if (row.distrust[bin] === null) continue;
    const [x, right] = [timeline.x(bin * each), timeline.x((bin + 1) * each)];
    const wide = Math.max(right - x, 1) + 0.3;
    context.fillStyle = distrustColor(timeline.app.state.computing ? null : row.distrust[bin]);
    context.fillRect(x, y + 5, wide, BAR);
    if (row.checked[bin]) {
      context.fillStyle = color("check");
      context.fillRect(x, y + 5 + BAR, wide, 3);
    }
    if (row.edited[bin]) drawEdit(context, (x + right) / 2, y, row.edited[bin], wide, color);
  }
}

/** Frames with a point placed by hand: a diamond; frames that follow one: a thin line. */
function drawEdit(context, x, y, kind, wide, color) {
  context.fillStyle = color("mark");
  if (kind === 1) {
    context.fillRect(x - wide / 2, y + 2, wide, 2);
    return;
  }
  context.beginPath();
  context.moveTo(x, y + 1);
  context.lineTo(x + 4, y + 5);
  context.lineTo(x, y + 9);
  context.lineTo(x - 4, y + 5);
  context.fill();
}
