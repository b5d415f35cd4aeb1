// The button of Review Poses: opens the review page for the poses that were last on the node's wire.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { language } from "./shared.js";

const NODE = "SDPoseAnnotatorReview";
const NAME = "corrections"; // the input with the name under which the corrections are kept
const MADE_HERE = /^[0-9a-f]{16}$/;

const TEXTS = {
  en: {
    open: "Review poses",
    count: (number) => `Review poses (${number === 1 ? "1 correction" : `${number} corrections`})`,
    close: "Close",
    after: "Run the graph again to pass the corrections on.",
    unreachable: "ComfyUI does not answer.",
  },
  zh: {
    open: "检查姿态",
    count: (number) => `检查姿态（${number} 处修正）`,
    close: "关闭",
    after: "再次运行工作流，即可将修正传给后续节点。",
    unreachable: "ComfyUI 没有响应。",
  },
};

const theme = () => (app.extensionManager?.setting?.get("Comfy.ColorPalette") === "light" ? "light" : "dark");

const texts = () => TEXTS[language()];

// 16 hexadecimal digits. crypto.randomUUID needs a secure page, which ComfyUI in a local network is not.
const newName = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const nameWidget = (node) => node.widgets?.find((widget) => widget.name === NAME);

// Gives a node a name of its own: a new node, and a copy, whose corrections are its own from then on.
function ensureName(node) {
  const widget = nameWidget(node);
  if (!widget) return;
  const others = (node.graph?.nodes ?? []).filter((other) => other !== node && other.comfyClass === NODE);
  const taken = others.some((other) => nameWidget(other)?.value === widget.value);
  if (!widget.value || (taken && MADE_HERE.test(widget.value))) widget.value = newName();
}

function say(message, severity = "error") {
  const toast = app.extensionManager?.toast;
  if (toast) toast.add({ severity, summary: texts().open, detail: message, life: 10000 });
  else alert(message);
}

// -> {address} of the page, or {error} in one sentence.
async function askForPage(node) {
  ensureName(node);
  const body = JSON.stringify({ corrections: nameWidget(node)?.value ?? "", node: String(node.id) });
  const headers = { "Content-Type": "application/json" };
  try {
    return await (await api.fetchApi("/sdpose_review", { method: "POST", headers, body })).json();
  } catch {
    return { error: texts().unreachable };
  }
}

async function countOf(address) {
  try {
    return (await (await fetch(`${address}api/clip`)).json()).undo ?? 0;
  } catch {
    return 0; // the label alone
  }
}

function element(name, properties, style) {
  const made = Object.assign(document.createElement(name), properties);
  Object.assign(made.style, style);
  return made;
}

function dialogOf(node, address) {
  const dialog = element("dialog", { ariaLabel: texts().open }, {
    width: "96vw", height: "94vh", maxWidth: "none", maxHeight: "none", padding: "0", border: "1px solid #555",
    borderRadius: "8px", overflow: "hidden", background: "#1b1b1b",
  });
  const bar = element("div", {}, {
    height: "36px", boxSizing: "border-box", padding: "0 8px 0 14px", display: "flex", alignItems: "center",
    justifyContent: "space-between", color: "#ddd", font: "13px sans-serif",
  });
  const close = element("button", { textContent: texts().close, type: "button" }, {
    padding: "4px 14px", cursor: "pointer", color: "#eee", background: "#3a3a3a", border: "1px solid #666",
    borderRadius: "5px", font: "inherit",
  });
  const title = node.title && node.title !== "Review Poses" ? `${node.title}: ${texts().after}` : texts().after;
  const frame = element("iframe", { src: `${address}?lang=${language()}&theme=${theme()}`, title: texts().open }, {
    display: "block", width: "100%", height: "calc(100% - 36px)", border: "0",
  });
  bar.append(element("span", { textContent: title }, {}), close);
  dialog.append(bar, frame);
  close.addEventListener("click", () => dialog.close());
  for (const kind of ["keydown", "keyup", "wheel", "paste", "copy"]) dialog.addEventListener(kind, (event) => event.stopPropagation());
  return { dialog, frame };
}

async function open(node, button) {
  const { address, error } = await askForPage(node);
  if (error) return say(error);
  const page = api.apiURL(address);
  const { dialog, frame } = dialogOf(node, page);
  dialog.addEventListener("close", async () => {
    dialog.remove();
    const number = await countOf(page);
    button.label = number ? texts().count(number) : texts().open;
    app.graph?.setDirtyCanvas(true, true);
  });
  document.body.append(dialog);
  dialog.showModal();
  frame.focus();
}

app.registerExtension({
  name: "sdpose_annotator.review",
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const button = node.addWidget("button", "review", null, () => open(node, button), { serialize: false });
    button.label = texts().open;
    button.serialize = false;
    ensureName(node);
    const widget = nameWidget(node);
    if (widget) { // graphs in the API's form come with an empty name, set after the node was made
      widget.serializeValue = () => {
        ensureName(node);
        return widget.value;
      };
    }
    const configured = node.onConfigure;
    node.onConfigure = function (...values) {
      configured?.apply(this, values);
      ensureName(this);
    };
  },
});
