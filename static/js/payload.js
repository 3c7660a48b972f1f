/* The tree of a payload: arrows walk and fold, one bar of buttons moves to the line in use. */

import { copyText } from "./announcements.js";
import { find, findAll, on } from "./dom.js";

function findLine(element) {
  return element.closest?.("[data-tree] .ln");
}

function chooseLine(line) {
  for (const chosen of findAll(".ln.on")) {
    chosen.tabIndex = -1;
    chosen.classList.remove("on");
  }
  line.tabIndex = 0;
  line.classList.add("on");
  line.append(find(".la"));
  line.focus();
  find("#path").textContent = line.dataset.path || "";
}

/** Return the value of a line as it is in the payload: a string without its quotes. */
function readValue(line) {
  const text = find(".s,.n,.l", line)?.textContent ?? "";
  try {
    return String(JSON.parse(text));
  } catch {
    return text.replace(/^"|"$/g, "");
  }
}

function foldOrLeave(line, branch) {
  if (branch?.open) {
    branch.open = false;
    return;
  }
  const parent = (branch || line).parentElement.closest("details");
  if (parent) chooseLine(parent.firstElementChild);
}

function walk(key, line) {
  const lines = findAll("[data-tree] .ln").filter((other) => other.checkVisibility());
  const place = lines.indexOf(line);
  const branch = line.matches("summary") ? line.parentElement : null;
  switch (key) {
    case "ArrowDown":
      chooseLine(lines[place + 1] || line);
      return true;
    case "ArrowUp":
      chooseLine(lines[place - 1] || line);
      return true;
    case "Home":
      chooseLine(lines[0]);
      return true;
    case "End":
      chooseLine(lines.at(-1));
      return true;
    case "ArrowRight":
      if (branch && !branch.open) branch.open = true;
      else chooseLine(lines[place + 1] || line);
      return true;
    case "ArrowLeft":
      foldOrLeave(line, branch);
      return true;
    default:
      return false;
  }
}

on("keydown", (event) => {
  const line = findLine(event.target);
  if (!line || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!walk(event.key, line)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

on("pointerover", (event) => {
  const line = findLine(event.target);
  if (line && !find(".la", line)) line.append(find(".la"));
});

on("click", (event) => {
  const line = findLine(event.target);
  const action = event.target.closest("[data-act]");
  if (action) {
    event.preventDefault();
    copyText(action.dataset.act === "path" ? line.dataset.path : readValue(line));
  } else if (line?.dataset.path) {
    chooseLine(line);
  }
});

on("click", (event) => {
  if (!event.target.closest("[data-fold]")) return;
  const branches = findAll("[data-tree] details:not([data-more])");
  const isAnyOpen = branches.some((branch) => branch.open);
  for (const branch of branches) branch.open = !isAnyOpen;
});

/* A branch that was too long to be sent with the page loads when it is opened. */
on("toggle", (event) => {
  const branch = event.target;
  const url = branch.dataset.more;
  if (!branch.open || !url) return;
  delete branch.dataset.more;
  htmx.ajax("GET", url, { source: branch, target: find(".kids", branch), swap: "innerHTML" });
}, true);

/** After a swap: show the hit that a search in the payload came to. */
export function showHit() {
  if (document.activeElement.id === "pq") find("#payload .on")?.scrollIntoView({ block: "center" });
}
