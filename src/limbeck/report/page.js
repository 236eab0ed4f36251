"use strict";
// The page reads well without this: it only adds sorting, the switch between light and dark, and copying.

const table = document.getElementById("models");
const body = table.tBodies[0];
const recipeOrder = [...body.rows];

function sortBy(heading, column) {
  const before = heading.getAttribute("aria-sort");
  for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  if (before === "descending") {
    body.append(...recipeOrder);
    return;
  }
  const direction = before === "ascending" ? -1 : 1;
  heading.setAttribute("aria-sort", before === "ascending" ? "descending" : "ascending");
  const rows = [...recipeOrder].sort((a, b) => {
    const left = a.cells[column].dataset.value;
    const right = b.cells[column].dataset.value;
    if (left === undefined || right === undefined) return (left === undefined) - (right === undefined);
    const order = column === 0 ? left.localeCompare(right, "en", { numeric: true }) : Number(left) - Number(right);
    return direction * order;
  });
  body.append(...rows);
}

[...table.tHead.rows[1].cells].forEach((heading, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = heading.textContent;
  heading.replaceChildren(button);
  button.addEventListener("click", () => sortBy(heading, column));
});

const theme = document.getElementById("theme");
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : systemDark.matches;
}

function nameTheme() {
  theme.textContent = isDark() ? "Light" : "Dark";
}

theme.hidden = false;
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
systemDark.addEventListener("change", nameTheme);
nameTheme();

const copy = document.getElementById("copy");
if (copy && navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById("command").textContent);
    copy.textContent = "Copied";
  });
}

let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
