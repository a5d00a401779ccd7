// Tables that can be sorted, filtered and folded. Each <table class="live"> stands in a <div class="scroll"> after a
// <div class="tools"> with a field to filter by and, where rows were not run, a button that shows them.
"use strict";

const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** A cell's number: that it is given, or all of its text; undefined where it has none. */
function numberOf(cell) {
  if (cell?.dataset.v !== undefined) return Number(cell.dataset.v);
  const text = cell?.textContent.trim();
  return text && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
}

/** How each of some cells compares: by numbers where there are any, else by text. What has none comes last, always. */
function sortKeys(rows, column) {
  const numbers = rows.map((row) => numberOf(row.cells[column]));
  if (numbers.some((number) => number !== undefined)) {
    return numbers.map((number) => ({ value: number, missing: number === undefined }));
  }
  return rows.map((row) => row.cells[column]?.textContent.trim() ?? "")
    .map((text) => ({ value: text, missing: text === "" }));
}

const compare = (a, b) => (typeof a === "number" ? a - b : words.compare(a, b));

/** Sorts the rows of the first body; means and the like stand in a body of their own, below. */
function sort(table, column, direction) {
  const body = table.tBodies[0];
  const keys = sortKeys([...body.rows], column);
  const rows = [...body.rows].map((row, number) => ({
    row,
    place: Number((row.dataset.place ??= number)),
    key: keys[number],
  }));
  rows.sort((a, b) => {
    if (direction === "none") return a.place - b.place;
    if (a.key.missing || b.key.missing) return a.key.missing - b.key.missing || a.place - b.place;
    return (direction === "ascending" ? 1 : -1) * compare(a.key.value, b.key.value) || a.place - b.place;
  });
  body.append(...rows.map(({ row }) => row));
  table.classList.toggle("sorted", direction !== "none");
}

/** Rising, falling, and as it was; numbers fall first, since the best is mostly the highest. */
function nextDirection(table, head, column) {
  const now = head.getAttribute("aria-sort");
  const numbers = [...table.tBodies[0].rows].some((row) => numberOf(row.cells[column]) !== undefined);
  const first = numbers ? "descending" : "ascending";
  const second = first === "ascending" ? "descending" : "ascending";
  return now === "none" ? first : now === first ? second : "none";
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const direction = nextDirection(table, head, column);
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", direction);
      sort(table, column, direction);
    });
  });
}

/** Shows the rows that hold every word of the filter; those that were not run only when they are asked for. */
function show(table, tools) {
  const wanted = tools.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fold = tools.querySelector("button.fold");
  const unfolded = fold && fold.getAttribute("aria-expanded") === "true";
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const text = wanted.length ? row.textContent.toLowerCase() : "";
    const matches = wanted.every((word) => text.includes(word));
    row.hidden = !matches || (row.classList.contains("unrun") && !unfolded);
    shown += row.hidden ? 0 : 1;
  }
  tools.querySelector("output").textContent = wanted.length ? `${shown} of ${table.tBodies[0].rows.length} rows` : "";
}

function makeFilterable(table, tools) {
  tools.hidden = false;
  tools.querySelector("input").addEventListener("input", () => show(table, tools));
  const fold = tools.querySelector("button.fold");
  if (fold) {
    fold.addEventListener("click", () => {
      const unfolded = fold.getAttribute("aria-expanded") === "true";
      fold.setAttribute("aria-expanded", String(!unfolded));
      show(table, tools);
    });
  }
  show(table, tools);
}

/** Key columns stay in sight: each stands where those before it end. On a narrow screen only the first does. */
function placeKeys(table) {
  const keys = window.innerWidth < 640 ? 1 : Number(table.dataset.keys);
  const widths = [...table.tHead.rows[0].cells].map((head) => head.getBoundingClientRect().width);
  let left = 0;
  widths.slice(0, Number(table.dataset.keys)).forEach((width, column) => {
    table.style.setProperty(`--key${column}`, column < keys ? `${left}px` : "auto");
    left += width;
  });
}

const tables = [...document.querySelectorAll("table.live")];
for (const table of tables) {
  makeSortable(table);
  makeFilterable(table, table.closest(".scroll").previousElementSibling);
}

// Widths are measured when a table comes into sight: those of a folded part are not known before.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) placeKeys(entry.target);
});
tables.filter((table) => Number(table.dataset.keys) > 1).forEach((table) => seen.observe(table));
window.addEventListener("resize", () => tables.forEach(placeKeys));

// A link to something within a folded part unfolds it.
function unfold() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target && target.closest("details"); part; part = part.parentElement.closest("details")) {
    part.open = true;
  }
  if (target) target.scrollIntoView();
}
window.addEventListener("hashchange", unfold);
unfold();
