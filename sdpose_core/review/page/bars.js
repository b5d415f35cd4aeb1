/** The bars of the page: clip and saving at the top, errors, playback, hints at the bottom, and the dialogs. */

import { byId } from "./elements.js";
import { remember } from "./texts.js";

const READ_MS = 4000; // a note stays so long, and so long more for each letter
const READ_LETTER_MS = 80;

export class Bars {
  constructor(app) {
    this.app = app;
    this.#listenTop();
    this.#listenTransport();
    const { state } = app;
    state.watch(["clip", "undo", "redo", "saved", "busy", "language"], () => this.#showTop());
    state.watch(["clip", "frame", "playing", "language"], () => this.#showTransport());
    state.watch(["mode", "placing", "language"], () => this.#showMode());
    state.watch(["frame", "person", "mode"], () => this.clearError());
  }

  #listenTop() {
    const { actions } = this.app;
    byId("undo").onclick = () => actions.undo();
    byId("redo").onclick = () => actions.redo();
    byId("save").onclick = () => actions.save();
    byId("save-as").onclick = () => this.saveAs();
    byId("save-training").onclick = () => this.saveTraining();
    byId("error-close").onclick = () => this.clearError();
    byId("help").onclick = () => this.app.keys.show();
    byId("mode-cancel").onclick = () => this.app.pointer.cancel();
    for (const dialog of document.querySelectorAll("dialog")) {
      dialog.addEventListener("close", () => this.app.stage.element.focus());
    }
    byId("ask-cancel").onclick = () => byId("ask-dialog").close("");
    byId("language").onclick = () => this.app.useLanguage(this.app.texts.other);
    const { dataset } = document.documentElement;
    byId("theme").onclick = () => useTheme(dataset.theme === "dark" ? "light" : "dark", this.app);
  }

  #listenTransport() {
    const { app } = this;
    byId("play").onclick = () => app.playback.toggle();
    byId("step-back").onclick = () => app.step(-1);
    byId("step-forward").onclick = () => app.step(1);
    byId("frame-number").onchange = (event) => app.seek(Math.round(Number(event.target.value) || 0) - app.firstNumber);
    byId("frame-number").onkeydown = (event) => event.key === "Enter" && app.stage.element.focus();
    byId("speed").onchange = (event) => app.state.set({ speed: Number(event.target.value) });
    byId("mark-in").onclick = () => app.mark("in");
    byId("mark-out").onclick = () => app.mark("out");
    byId("mark-clear").onclick = () => app.state.set({ range: null, scope: "frame" });
    byId("show-distrust").onchange = (event) => app.state.set({ showDistrust: event.target.checked });
    byId("zoom-in").onclick = () => app.stage.zoom(1.4);
    byId("zoom-out").onclick = () => app.stage.zoom(1 / 1.4);
    byId("zoom-fit").onclick = () => app.stage.fit();
    byId("zoom-person").onclick = () => app.zoomToSelected();
  }

  #showTop() {
    const { state, texts } = this.app;
    if (!state.clip) return;
    const { clip } = state;
    byId("clip-name").textContent = clip.name;
    byId("clip-name").title = clip.source || clip.name;
    const facts = { w: clip.size[0], h: clip.size[1], n: clip.frames };
    const model = clip.model ? texts.t("clip_model", { name: clip.model }) : "";
    byId("clip-facts").textContent = texts.t(clip.sizes ? "clip_facts_pictures" : "clip_facts", facts) + model;
    byId("clip-facts").title = byId("clip-facts").textContent; // it may be cut off
    byId("undo").disabled = !state.undo;
    byId("redo").disabled = !state.redo;
    const canSave = clip.can_save ?? true;
    for (const name of ["save", "save-as", "save-training"]) byId(name).hidden = !canSave;
    const kept = clip.in_comfy ? "kept_comfy" : state.saved ? "kept_saved" : "kept_unsaved";
    byId("kept").textContent = texts.t(state.busy ? "busy" : kept);
    byId("kept").dataset.tip = clip.in_comfy ? "kept_tip_comfy" : "kept_tip";
    byId("kept").title = texts.t(byId("kept").dataset.tip);
    byId("kept").setAttribute("aria-label", byId("kept").title);
    byId("language").textContent = texts.t("language");
    document.title = texts.t("title", { name: clip.name });
  }

  #showTransport() {
    const { app } = this;
    const { clip, frame, playing } = app.state;
    if (!clip) return;
    byId("play").textContent = app.texts.t(playing ? "pause" : "play");
    const input = byId("frame-number");
    if (document.activeElement !== input) input.value = frame + app.firstNumber;
    const rate = clip.frame_rate;
    const picture = clip.names?.[frame] ?? `${frame + 1} / ${clip.frames}`;
    byId("frame-facts").textContent = rate ? `${clock(frame / rate)} / ${clock(clip.frames / rate)}` : picture;
    byId("frame-facts").title = clip.names?.[frame] ?? "";
  }

  #showMode() {
    const { mode, placing } = this.app.state;
    const { texts, parts } = this.app;
    byId("mode-banner").hidden = mode === "edit";
    if (mode === "box") byId("mode-text").textContent = texts.t(placing.id === null ? "mode_add" : "mode_estimate");
    if (mode !== "place") return;
    const name = placing.part ? texts.partName(placing.part) : texts.pointName(parts.names[placing.points[0]]);
    byId("mode-text").textContent = texts.t("mode_place", { name });
  }

  /** Show a sentence until it is closed, something else succeeds, or the user goes elsewhere. */
  fail(text) {
    this.say("");
    byId("error-text").textContent = text;
    byId("errors").hidden = false;
  }

  clearError() {
    byId("errors").hidden = true;
  }

  /** Show a note for as long as it takes to read it; `stays`: until the next one. */
  say(text, stays = false) {
    const status = byId("status");
    if (text) this.clearError();
    status.textContent = text;
    status.title = text;
    clearTimeout(this.fading);
    if (!stays) this.fading = setTimeout(() => (status.textContent = ""), READ_MS + text.length * READ_LETTER_MS);
  }

  /** Ask for one line of text; null if the dialog was left. */
  ask(name, value) {
    const { texts } = this.app;
    const dialog = byId("ask-dialog");
    for (const part of ["title", "text", "label"]) byId(`ask-${part}`).textContent = texts.t(`${name}_${part}`);
    byId("ask-ok").textContent = texts.t(`${name}_ok`);
    byId("ask-value").value = value;
    dialog.returnValue = "";
    dialog.showModal();
    byId("ask-value").select();
    return new Promise((resolve) => {
      const answer = () => resolve(dialog.returnValue === "ok" ? byId("ask-value").value.trim() : null);
      dialog.addEventListener("close", answer, { once: true });
    });
  }

  async saveAs() {
    const name = await this.ask("ask_save", this.app.state.clip.save_name ?? this.app.state.clip.name);
    if (name) await this.app.actions.save(name);
  }

  async saveTraining() {
    const folder = await this.ask("ask_training", "");
    if (folder !== null) await this.app.actions.saveTraining(folder);
  }
}

/** Seconds as 1:02.5. */
function clock(seconds) {
  const tenths = Math.floor(seconds * 10 + 1e-6);
  const rest = (tenths % 600) / 10;
  return `${Math.floor(tenths / 600)}:${rest.toFixed(1).padStart(4, "0")}`;
}

/** "light" or "dark", remembered; the canvases are drawn again in its colors. */
export function useTheme(theme, app, keep = true) {
  document.documentElement.dataset.theme = theme;
  if (keep) remember("theme", theme);
  app?.timeline?.redraw();
}
