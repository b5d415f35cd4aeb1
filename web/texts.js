// The text of our nodes: what came out of the last run (`sdpose_text` among the node's results), or why it did not run.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { isOurs } from "./shared.js";

const KEY = "sdpose_text";
const LINES = 5; // more can be scrolled to
const LINE = 17; // pixels
const LETTER = 6.4; // pixels, on average

// A node by the id that the server or the page gives it: "3"; "7:3", node 3 in the subgraph of node 7; or "UUID:3".
function nodeOf(id) {
  const steps = String(id).split(":");
  const last = steps.pop();
  const inside = (graph, step) => graph?.subgraphs?.get?.(step) ?? graph?.getNodeById(step)?.subgraph;
  return steps.reduce(inside, app.rootGraph ?? app.graph)?.getNodeById(last);
}

function element() {
  const made = document.createElement("div");
  made.className = KEY;
  Object.assign(made.style, {
    boxSizing: "border-box", padding: "4px 8px", overflowY: "auto", whiteSpace: "pre-wrap", overflowWrap: "anywhere",
    font: `12px/${LINE}px sans-serif`, color: "var(--input-text)", background: "var(--comfy-input-bg)",
    borderRadius: "6px", userSelect: "text", cursor: "text",
  });
  for (const kind of ["pointerdown", "copy"]) made.addEventListener(kind, (event) => event.stopPropagation());
  return made;
}

// Height in pixels that the text needs in a node of this width.
function heightOf(text, width) {
  const wrapped = (line) => Math.max(1, Math.ceil((line.length * LETTER) / Math.max(width - 46, 1)));
  const lines = text.split("\n").reduce((sum, line) => sum + wrapped(line), 0);
  return Math.min(lines, LINES) * LINE + 10;
}

const widgetOf = (node) => node.widgets?.find((widget) => widget.name === KEY);

function addWidget(node) {
  const box = element();
  const height = () => heightOf(box.textContent, node.size[0]);
  const widget = node.addDOMWidget(KEY, KEY, box, {
    serialize: false, getMinHeight: height, getMaxHeight: height, getValue: () => box.textContent, setValue: () => {},
  });
  widget.serialize = false; // neither in saved graphs nor in prompts
  return widget;
}

function show(node, text, failed = false) {
  const { element: box } = widgetOf(node) ?? addWidget(node);
  box.textContent = text;
  box.style.color = failed ? "var(--error-text)" : "var(--input-text)";
  box.dataset.failed = failed;
  box.style.minHeight = `${heightOf(text, node.size[0])}px`;
  const height = node.computeSize()[1];
  if (node.size[1] < height && !window.LiteGraph?.vueNodesMode) node.setSize([node.size[0], height]); // Nodes 2.0 grow by themselves
  node.setDirtyCanvas?.(true, true);
}

// Of a node that ran once per entry of a list: each text once.
const textIn = (output) => output?.[KEY] && [...new Set(output[KEY])].join("\n\n");

// On the node, and in a message: the page's own message does not have the sentence in every version.
function showError(node, sentence) {
  show(node, sentence, true);
  app.extensionManager?.toast?.add({ severity: "error", summary: node.title, detail: sentence, life: 10000 });
}

// Errors of earlier runs: this run may not reach their nodes.
function forgetErrors() {
  const root = app.rootGraph ?? app.graph;
  for (const graph of [root, ...(root.subgraphs?.values() ?? [])]) {
    for (const node of graph.nodes) if (widgetOf(node)?.element.dataset.failed === "true") show(node, "");
  }
}

// What the server refuses before a run: {id: {class_type, errors}}, with INPUT - SENTENCE for each input that was checked.
function showRefused(nodes) {
  for (const [id, { class_type: kind, errors }] of Object.entries(nodes ?? {})) {
    const ours = isOurs(kind) ? errors.filter((error) => error.type === "custom_validation_failed") : [];
    const sentences = new Set(ours.map((error) => error.details.replace(`${error.extra_info?.input_name} - `, "")));
    const node = sentences.size && nodeOf(id);
    if (!node) continue;
    showError(node, [...sentences].join("\n"));
  }
}

function watchRefusals() {
  const queue = api.queuePrompt;
  api.queuePrompt = async function (...values) {
    try {
      const answer = await queue.apply(this, values);
      showRefused(answer?.node_errors);
      return answer;
    } catch (error) {
      showRefused(error?.response?.node_errors);
      throw error;
    }
  };
}

app.registerExtension({
  name: "sdpose_annotator.texts",
  setup() {
    watchRefusals();
    api.addEventListener("execution_start", forgetErrors);
    api.addEventListener("execution_error", ({ detail }) => {
      if (!isOurs(detail.node_type)) return;
      const node = nodeOf(detail.node_id);
      if (node) showError(node, detail.exception_message.trim());
    });
  },
  nodeCreated(node) {
    if (!isOurs(node.comfyClass)) return;
    const executed = node.onExecuted;
    node.onExecuted = function (output, ...others) {
      executed?.call(this, output, ...others);
      const text = textIn(output);
      if (text !== undefined) show(this, text);
    };
  },
  // Results of an earlier run are shown again: another tab, or a job of the queue.
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs)) {
      const text = textIn(output);
      const node = text !== undefined && nodeOf(id);
      if (node && widgetOf(node)?.element.textContent !== text) show(node, text);
    }
  },
});
