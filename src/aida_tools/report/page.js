"use strict";
// Tables: sort by a heading, filter by words. Figures: enlarge. Without JavaScript the page is complete all the same.
for (const block of document.querySelectorAll("details.block")) {
  const tools = block.querySelector(".tools");
  if (!tools) continue;
  const body = block.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...block.querySelectorAll("thead th")];
  const shown = tools.querySelector("[data-shown]");
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  const missing = (value) => value === "" || Number.isNaN(value);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort((one, two) => {
        const a = key(one, column);
        const b = key(two, column);
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
  const count = () => {
    const n = rows.filter((row) => !row.hidden).length;
    shown.textContent = `${n.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
  };
  tools.querySelector("[data-filter]").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    count();
  });
  tools.hidden = false;
  count();
}
const large = document.getElementById("large");
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => {
    const image = button.querySelector("img");
    const target = large.querySelector("img");
    target.src = image.src;
    target.alt = image.alt;
    large.showModal();
  });
}
// On paper: everything but tables of more than a page, which are for the screen and lie beside the page as files.
window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = part.querySelectorAll("tbody tr").length <= 60;
});
