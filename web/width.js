// Makes room for the names of sockets in Nodes 2.0, whose letters are wider than those that ComfyUI measures.
//
// Only of nodes that are added: graphs keep the widths that they were saved with.

import { app } from "../../scripts/app.js";
import { isOurs } from "./shared.js";

const WIDTH = 360;

app.registerExtension({
  name: "sdpose_annotator.width",
  nodeCreated(node) {
    if (!isOurs(node.comfyClass) || !window.LiteGraph?.vueNodesMode) return;
    node.setSize([Math.max(node.size[0], WIDTH), node.size[1]]);
  },
});
