// Graphs that were saved when our nodes had other widgets: ComfyUI gives saved values to widgets by their place, so
// here they are brought to the widgets of the same names first. New widgets keep their defaults.

import { app } from "../../scripts/app.js";
import { isOurs } from "./shared.js";

const SWITCHES = ["body", "head", "hands", "face", "feet"]; // what `parts` stands for now

// The choice of `parts` for the switches of an older graph.
function partsOf({ body, head, hands, face }) {
  if (!body) return hands && face ? "hands and face" : hands ? "hands" : face ? "face" : "all";
  if (!head && !face) return hands ? "body and hands, no head" : "body";
  if (hands) return face ? "all" : "body and hands";
  return face ? "body and face" : "body";
}

// What was saved of a node, with its values in the order of the node's widgets, without inputs that are gone.
function byName(node, saved) {
  const named = (saved.inputs ?? []).filter((input) => input.widget);
  const widgets = (node.widgets ?? []).filter((widget) => widget.serialize !== false);
  const values = saved.widgets_values;
  const same = named.length === widgets.length && named.every(({ widget }, place) => widget.name === widgets[place].name);
  if (same || !named.length || !Array.isArray(values) || values.length < named.length) return saved;
  const known = new Map(named.map(({ widget }, place) => [widget.name, values[place]]));
  if (SWITCHES.every((name) => known.has(name)) && !known.has("parts")) {
    known.set("parts", partsOf(Object.fromEntries(known)));
  }
  const names = new Set(widgets.map((widget) => widget.name));
  return {
    ...saved,
    inputs: saved.inputs.filter((input) => !input.widget || names.has(input.widget.name)),
    widgets_values: widgets.map((widget) => (known.has(widget.name) ? known.get(widget.name) : widget.value)),
  };
}

app.registerExtension({
  name: "sdpose_annotator.saved_graphs",
  nodeCreated(node) {
    if (!isOurs(node.comfyClass)) return;
    const configure = node.configure;
    node.configure = function (saved) {
      return configure.call(this, byName(this, saved));
    };
  },
});
