// Folds the advanced widgets of our nodes in classic rendering, as ComfyUI itself does in Nodes 2.0.
//
// A button under the widgets unfolds them (Nodes 2.0 has one of its own). `showAdvanced` is ComfyUI's flag for both, and
// graphs keep it. Values, saved graphs and prompts stay as they are: only what is laid out and drawn changes.

import { app } from "../../scripts/app.js";
import { isOurs, language } from "./shared.js";

const FEWEST = 2; // with one advanced widget the button would take the place that it saves

const TEXTS = {
  en: { more: "More settings", changed: (number) => `More settings (${number} changed)`, fewer: "Fewer settings" },
  zh: { more: "更多设置", changed: (number) => `更多设置（已更改 ${number} 项）`, fewer: "收起设置" },
};

const alwaysShown = () => app.extensionManager?.setting?.get("Comfy.Node.AlwaysShowAdvancedWidgets") ?? false;

const linked = (node, widget) => node.inputs?.some((input) => input.widget?.name === widget.name && input.link != null);

// What the button of one node does; null where there is too little to fold, or a page that lays out nodes otherwise.
function folding(node) {
  const advanced = (node.widgets ?? []).filter((widget) => widget.options?.advanced);
  if (advanced.length < FEWEST || !node.isWidgetVisible || !node.getLayoutWidgets) return null;
  const defaults = new Map(advanced.map((widget) => [widget, widget.value]));
  const changed = () => advanced.filter((widget) => widget.value !== defaults.get(widget) && !linked(node, widget)).length;
  const label = () => {
    const texts = TEXTS[language()];
    if (node.showAdvanced) return texts.fewer;
    return changed() ? texts.changed(changed()) : texts.more;
  };
  const folded = (widget) => defaults.has(widget) && !node.showAdvanced && !alwaysShown() && !linked(node, widget);
  return { changed, folded, label };
}

function addButton(node, label) {
  const button = node.addWidget("button", "more settings", null, () => toggle(node), { serialize: false, canvasOnly: true });
  button.serialize = false;
  Object.defineProperty(button, "label", { get: label, set() {}, configurable: true });
  return button;
}

// Keeps what the user added to the height, such as room for a picture.
function resized(node, change) {
  const [[width, height], before] = [[...node.size], node.computeSize()[1]];
  change();
  node.setSize([width, height + node.computeSize()[1] - before]);
}

function toggle(node) {
  resized(node, () => { node.showAdvanced = !node.showAdvanced; });
  node.setDirtyCanvas(true, true);
}

function fold(node, { folded }, button) {
  const shown = (widget) => (widget === button ? !alwaysShown() : !folded(widget));
  for (const name of ["isWidgetVisible", "isWidgetRowVisible"]) {
    const asked = node[name];
    if (asked) node[name] = function (widget) { return asked.call(this, widget) && shown(widget); };
  }
  const laidOut = node.getLayoutWidgets;
  node.getLayoutWidgets = function () {
    const widgets = laidOut.call(this);
    for (const widget of widgets) if (!shown(widget)) widget.y = button.y; // sockets of folded widgets lie behind the button
    return widgets.filter(shown);
  };
}

app.registerExtension({
  name: "sdpose_annotator.advanced",
  nodeCreated(node) {
    if (!isOurs(node.comfyClass)) return;
    const its = folding(node);
    if (!its) return;
    resized(node, () => fold(node, its, addButton(node, its.label)));
    const configured = node.onConfigure;
    node.onConfigure = function (saved) {
      configured?.call(this, saved);
      // a graph that does not say so: nothing that was changed is hidden
      if (saved.showAdvanced === undefined && its.changed()) this.showAdvanced = true;
    };
  },
});
