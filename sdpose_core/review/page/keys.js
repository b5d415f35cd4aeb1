/** The keyboard. Every key is listed here once, with the text that the page shows for it. */

import { byId, element } from "./elements.js";
import { pivotOf, turned } from "./turn.js";

const FIELDS = "input:not([type=checkbox]), textarea, select";
const NUDGE_WAIT_MS = 350;
const TURN = Math.PI / 90; // of a press of a key
const GROW = 1.02;
const MOUSE = ["limb", "group", "part", "look", "timeline_zoom", "timeline_pan"]; // texts "mouse.X" and "mouse_does.X"
const AIM = { // keys while a point is placed or a box drawn: text "key.X" -> keys as shown
  aim_move: "← → ↑ ↓", aim_size: "Shift ← → ↑ ↓", aim_fine: "Alt ← → ↑ ↓", aim_take: "Enter", aim_leave: "Esc",
};

/** [text key, keys as shown, key that is pressed, modifiers, what it does]. */
function bindings(app) {
  const { state, actions, stage, playback } = app;
  const step = (by) => () => app.step(by);
  const side = (id) => byId(id).value;
  const other = (id) => (side(id) === "" ? null : Number(side(id)));
  return {
    keys_time: [
      ["step", "← →", "ArrowLeft", "", step(-1)], ["", "", "ArrowRight", "", step(1)],
      ["step_ten", "Shift ← →", "ArrowLeft", "S", step(-10)], ["", "", "ArrowRight", "S", step(10)],
      ["ends", "Home End", "Home", "", () => app.seek(0)], ["", "", "End", "", () => app.seek(state.clip.frames - 1)],
      ["play", "Space", " ", "", () => playback.toggle()],
      ["mark_in", "I", "i", "", () => app.mark("in")], ["mark_out", "O", "o", "", () => app.mark("out")],
      ["mark_clear", "Esc", "Escape", "", () => app.escape()],
    ],
    keys_check: [
      ["worst_next", "N / Enter", "n", "", () => app.worst.next()], ["", "", "Enter", "", () => app.worst.next()],
      ["looks_right", "Y", "y", "", () => app.worst.looksRight()],
      ["show_distrust", "D", "d", "", () => byId("show-distrust").click()],
    ],
    keys_select: [
      ["next_person", "Tab", "Tab", "", () => app.nextPerson(1)], ["", "", "Tab", "S", () => app.nextPerson(-1)],
      ["next_point", "[ ]", "[", "", () => app.nextPoint(-1)], ["", "", "]", "", () => app.nextPoint(1)],
      ["focus", "F6", "F6", "", () => app.switchFocus()],
      ["zoom", "+ −", "+", "*", () => stage.zoom(1.4)], ["", "", "=", "", () => stage.zoom(1.4)],
      ["", "", "-", "", () => stage.zoom(1 / 1.4)], ["fit", "0", "0", "", () => stage.fit()],
      ["zoom_person", "F", "f", "", () => app.zoomToSelected()],
      ["part", "H", "h", "", () => app.choosePart()],
    ],
    keys_change: [
      ["nudge", "Alt ← → ↑ ↓", "ArrowLeft", "A", () => app.nudger.by(-1, 0)],
      ["", "", "ArrowRight", "A", () => app.nudger.by(1, 0)], ["", "", "ArrowUp", "A", () => app.nudger.by(0, -1)],
      ["", "", "ArrowDown", "A", () => app.nudger.by(0, 1)],
      ["nudge_ten", "Shift Alt ← → ↑ ↓", "ArrowLeft", "AS", () => app.nudger.by(-10, 0)],
      ["", "", "ArrowRight", "AS", () => app.nudger.by(10, 0)], ["", "", "ArrowUp", "AS", () => app.nudger.by(0, -10)],
      ["", "", "ArrowDown", "AS", () => app.nudger.by(0, 10)],
      ["turn", ", .", ",", "*", () => app.nudger.turn(-TURN, 1)], ["", "", ".", "*", () => app.nudger.turn(TURN, 1)],
      ["size", "< >", "<", "*", () => app.nudger.turn(0, 1 / GROW)], ["", "", ">", "*", () => app.nudger.turn(0, GROW)],
      ["delete", "Delete", "Delete", "", () => actions.deletePoint()],
      ["", "", "Backspace", "", () => actions.deletePoint()],
      ["restore", "R", "r", "", () => actions.restore()], ["copy_previous", "C", "c", "", () => actions.copyPrevious()],
      ["exchange_sides", "X", "x", "", () => actions.exchangeSides(side("sides-part"))],
      ["exchange_ids", "E", "e", "", () => actions.exchangeIds(other("exchange-with"))],
      ["split", "B", "b", "", () => actions.split()], ["join", "J", "j", "", () => actions.join(other("join-with"))],
      ["remove", "Shift Delete", "Delete", "S", () => actions.remove()],
      ["add_person", "A", "a", "", () => app.modes.startBox(null)],
      ["estimate_again", "G", "g", "", () => app.modes.startBoxAgain()],
    ],
    keys_file: [
      ["undo", "Ctrl Z", "z", "C", () => actions.undo()],
      ["redo", "Ctrl Shift Z, Ctrl Y", "z", "CS", () => actions.redo()],
      ["", "", "y", "C", () => actions.redo()], ["save", "Ctrl S", "s", "C", () => actions.save()],
      ["save_as", "Ctrl Shift S", "s", "CS", () => app.bars.saveAs()], ["keys", "?", "?", "*", () => app.keys.show()],
    ],
  };
}

export class Keys {
  #table = new Map();
  #byPointer = false;
  #focused = null; // the element that had the focus last

  constructor(app) {
    this.app = app;
    this.groups = bindings(app);
    for (const list of Object.values(this.groups)) {
      for (const [, , key, modifiers, call] of list) this.#table.set(`${modifiers} ${key}`, call);
    }
    document.addEventListener("keydown", (event) => this.#down(event));
    document.addEventListener("focusin", (event) => (this.#focused = event.target));
    document.addEventListener("keyup", (event) => {
      if (event.key === " ") this.#releaseSpace(event);
    });
    document.addEventListener("pointerdown", () => (this.#byPointer = true), true);
    document.addEventListener("change", (event) => this.#backToStage(event.target), true);
    document.addEventListener("click", (event) => event.detail && this.#backToStage(event.target.closest("button")));
    window.addEventListener("blur", () => app.state.set({ spaceHeld: false }));
  }

  /** After a click on a control, the keys are those of the stage again; whoever came by keyboard stays there. */
  #backToStage(control) {
    if (control && this.#byPointer && !control.closest("dialog")) this.app.stage.element.focus({ preventScroll: true });
  }

  /** Whether the key belongs to the element that has the focus: a field that is typed in, a button, a dialog. */
  #belongsToFocus(event) {
    const { target, key } = event;
    if (document.querySelector("dialog[open]")) return true;
    if (key === "Tab" && this.#focusIsLost()) return true;
    if (event.ctrlKey || event.metaKey) return false;
    if (target.matches(FIELDS)) return key !== "Escape";
    const onStage = target === document.body || target.id === "stage";
    return !onStage && ["Enter", " ", "Tab"].includes(key);
  }

  /** Whether the control with the focus was disabled, hidden or taken away: Tab goes on from where it was. */
  #focusIsLost() {
    const control = this.#focused;
    if (!control || document.activeElement !== document.body) return false;
    return !control.isConnected || control.matches(":disabled") || control.closest("[hidden]") !== null;
  }

  #down(event) {
    this.#byPointer = false;
    if (!this.app.state.clip || this.#belongsToFocus(event)) return;
    if (event.key === " " && !event.ctrlKey && !event.altKey) return this.#holdSpace(event);
    if (this.app.modes.key(event)) return event.preventDefault();
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const control = event.ctrlKey || event.metaKey;
    const modifiers = `${control ? "C" : ""}${event.altKey ? "A" : ""}${event.shiftKey ? "S" : ""}`;
    const anyway = control || event.altKey ? undefined : this.#table.get(`* ${key}`);
    const call = this.#table.get(`${modifiers} ${key}`) ?? anyway;
    if (!call) return undefined;
    event.preventDefault();
    if (document.activeElement?.matches(FIELDS)) document.activeElement.blur();
    return call();
  }

  /** Space held moves the picture with the pointer; pressed and let go without that, it plays. */
  #holdSpace(event) {
    event.preventDefault();
    if (event.repeat) return;
    this.spaceView = this.app.state.view;
    this.app.state.set({ spaceHeld: true });
  }

  #releaseSpace(event) {
    if (!this.app.state.spaceHeld) return;
    event.preventDefault();
    this.app.state.set({ spaceHeld: false });
    if (this.spaceView === this.app.state.view) this.app.playback.toggle();
  }

  /** The list of all keys, and what the mouse does with them. */
  show() {
    const { texts } = this.app;
    const sections = Object.entries(this.groups).map(([group, list]) => this.#section(
      texts.t(group), list.filter(([name]) => name).map(([name, shown]) => [shown, texts.t(`key.${name}`)]),
    ));
    const aim = Object.entries(AIM).map(([name, shown]) => [shown, texts.t(`key.${name}`)]);
    const mouse = MOUSE.map((name) => [texts.t(`mouse.${name}`), texts.t(`mouse_does.${name}`)]);
    byId("keys-list").replaceChildren(
      ...sections, this.#section(texts.t("keys_aim"), aim), this.#section(texts.t("keys_mouse"), mouse),
    );
    byId("keys-dialog").showModal();
  }

  /** A heading and its rows [keys, what they do]. */
  #section(heading, rows) {
    const section = element("section");
    const table = element("dl");
    for (const [shown, does] of rows) {
      const keys = element("dt");
      keys.append(element("kbd", shown));
      table.append(keys, element("dd", does));
    }
    section.append(element("h2", heading), table);
    return section;
  }
}

/** Moves the selected point, moves and turns the selected hand, face or limb; one edit is sent when the keys rest. */
export class Nudger {
  #timer = 0;
  #target = null;

  constructor(app) {
    this.app = app;
  }

  /** Move by (dx, dy) source pixels. */
  by(dx, dy) {
    return this.#change((points) => points.map(([x, y]) => [x + dx, y + dy]));
  }

  /** Turn the selected part by `angle` (radians, clockwise) and size it by `factor`. */
  turn(angle, factor) {
    const { part } = this.app.state;
    if (part === null) return this.app.say(this.app.texts.t("choose_part"));
    return this.#change((points) => turned(points, pivotOf(part, points), angle, factor));
  }

  #change(changed) {
    const { app } = this;
    const { person: id, point, part, frame: t } = app.state;
    const here = app.personHere(id);
    const points = app.actions.chosen.filter((k) => here?.points[k]);
    if (!points.length) return app.say(app.texts.t("choose_point"));
    const chosen = { id, point, part, t };
    const same = this.#target && Object.keys(chosen).every((name) => this.#target[name] === chosen[name]);
    if (!same) {
      this.flush();
      const shown = app.preview?.id === id && app.preview.t === t ? app.preview.to : new Map();
      this.#target = { ...chosen, points, to: points.map((k) => shown.get(k) ?? here.points[k].slice(0, 2)) };
    }
    this.#target.to = changed(this.#target.to);
    this.#show(this.#target);
    return undefined;
  }

  #show({ id, t, points, to }) {
    this.app.preview = { id, t, held: true, to: new Map(points.map((k, i) => [k, to[i]])) };
    this.app.stage.redraw();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), NUDGE_WAIT_MS);
  }

  /** Send what is waiting. */
  flush() {
    const target = this.#target;
    this.#target = null;
    clearTimeout(this.#timer);
    if (target) this.app.actions.move(target.id, target.points, target.to, target.t);
  }
}
