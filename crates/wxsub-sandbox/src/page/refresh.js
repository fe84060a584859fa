// Refreshes the marked parts of the home page every two seconds, and adds copy buttons to commands.
"use strict";

const state = document.getElementById("live-state");
const busy = (part) => part.contains(document.activeElement) || !getSelection().isCollapsed;

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch("/", { cache: "no-store" });
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (next && next.innerHTML !== part.innerHTML && !busy(part)) part.replaceChildren(...next.childNodes);
    }
    state.textContent = "live";
    state.classList.remove("gone");
  } catch {
    state.textContent = "the sandbox has stopped";
    state.classList.add("gone");
  }
}

function offerCopy(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.textContent);
    button.textContent = "Copied";
    button.addEventListener("blur", () => { button.textContent = "Copy"; }, { once: true });
  });
  const frame = document.createElement("div");
  frame.className = "copyable";
  block.replaceWith(frame);
  frame.append(block, button);
}

state.hidden = false;
// Removes the result of a form from the address, so that a reload does not show it again.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);
setInterval(refresh, 2000);
document.addEventListener("visibilitychange", refresh);
if (navigator.clipboard) document.querySelectorAll("pre > code").forEach((code) => offerCopy(code.parentElement));
