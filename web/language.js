// The language of our texts in the page.

import { app } from "../../scripts/app.js";

export function language() {
  const chosen = app.extensionManager?.setting?.get("Comfy.Locale") ?? navigator.language;
  return String(chosen).startsWith("zh") ? "zh" : "en";
}
