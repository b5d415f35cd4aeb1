// What our scripts in the page share.

import { app } from "../../scripts/app.js";

// Whether nodes of a class are of this pack.
export const isOurs = (kind) => Boolean(kind?.startsWith("SDPoseAnnotator"));

// The language of our texts.
export function language() {
  const chosen = app.extensionManager?.setting?.get("Comfy.Locale") ?? navigator.language;
  return String(chosen).startsWith("zh") ? "zh" : "en";
}
