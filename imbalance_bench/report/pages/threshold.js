// The threshold of a cell's page: decisions and their numbers, counted again from the saved scores, as metrics/ and
// metrics/thresholds.py count them. Scores are log-probabilities of float32; all that is computed is float64.
"use strict";

const saved = JSON.parse(document.getElementById("predictions").textContent);
const LOWEST = -745; // thresholds.LOWEST
const SATURATED = -1e-4; // metrics.SATURATED

function decoded(text, Type) {
  return new Type(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

const labels = decoded(saved.labels, Int32Array);
const runOf = decoded(saved.runs, Int32Array);
const classes = saved.classes.length;
const scores = Object.fromEntries(
  Object.entries(saved.scores).map(([readout, text]) => [readout, decoded(text, Float32Array)]),
);
const runs = saved.names.map((name, number) => ({ name, rows: [] }));
runOf.forEach((run, row) => runs[run].rows.push(row));

const at = (readout, row, c) => scores[readout][row * classes + c];

/** The class of highest log-probability, the first one on a tie. */
function decision(readout, row) {
  let best = 0;
  for (let c = 1; c < classes; c++) if (at(readout, row, c) > at(readout, row, best)) best = c;
  return best;
}

/** log p - log(1 - p) of a class among several: metrics.ranking_scores. */
function logOdds(readout, row, c) {
  const own = at(readout, row, c);
  if (own <= SATURATED) return own - Math.log(-Math.expm1(own));
  let highest = -Infinity, sum = 0;
  for (let k = 0; k < classes; k++) if (k !== c) highest = Math.max(highest, at(readout, row, k));
  if (highest === -Infinity) return Infinity;
  for (let k = 0; k < classes; k++) if (k !== c) sum += Math.exp(at(readout, row, k) - highest);
  return own - (highest + Math.log(sum));
}

/** Whether a row is decided for class c with this offset added to its log-odds; offset null: the plain decision. */
function decided(readout, row, c, offset) {
  if (offset === null) return decision(readout, row) === c;
  if (classes > 2) return logOdds(readout, row, c) + offset > 0;
  return Math.max(at(readout, row, c), LOWEST) + offset > Math.max(at(readout, row, 1 - c), LOWEST);
}

/** True and false positives and negatives of one run, and what follows from them; NaN where it is not defined. */
function counted(readout, run, c, offset, cost) {
  let tp = 0, fp = 0, fn = 0, tn = 0;
  for (const row of run.rows) {
    const positive = labels[row] === c, called = decided(readout, row, c, offset);
    if (positive) called ? tp++ : fn++;
    else called ? fp++ : tn++;
  }
  const positives = tp + fn, negatives = fp + tn;
  const recall = positives ? tp / positives : NaN;
  const specificity = negatives ? 1 - fp / negatives : NaN;
  return {
    tp, fp, fn, tn,
    precision: positives ? (tp ? tp / (tp + fp) : 0) : NaN,
    recall,
    specificity,
    f1: positives ? (2 * tp) / (positives + tp + fp) : NaN,
    g_mean: Math.sqrt(recall * specificity),
    cost: (cost * fn + fp) / (positives + negatives),
  };
}

const COUNTS = ["tp", "fp", "fn", "tn"];
const NUMBERS = ["precision", "recall", "specificity", "f1", "g_mean", "cost"];
const field = (name) => document.getElementById(`threshold-${name}`);
const slider = field("slider"), probability = field("p"), cost = field("cost"), output = field("numbers");
let tuned = null; // the objective whose threshold each run has of its own
let plain = true; // decisions as metrics/ has them

const chosenClass = () => Number(field("class").value);
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

function offsetOf(number) {
  if (tuned !== null) return saved.tuned[field("readout").value][tuned][number];
  return plain ? (classes > 2 ? null : 0) : -Number(slider.dataset.logit);
}

function written(value) {
  return Number.isNaN(value) ? "–" : value.toFixed(3);
}

function cell(text, value, kind = "td") {
  const made = document.createElement(kind);
  made.textContent = text;
  if (value !== undefined && !Number.isNaN(value)) made.dataset.v = value;
  return made;
}

function line(name, thresholdText, found) {
  const row = document.createElement("tr");
  const head = cell(name, undefined, "th");
  head.scope = "row";
  head.className = "text k0";
  row.append(head, cell(thresholdText));
  row.append(...COUNTS.map((key) => cell(String(found[key]), found[key])));
  row.append(...NUMBERS.map((key) => cell(written(found[key]), found[key])));
  return row;
}

/** Mean ± sd (n - 1) over the runs in which it is defined. */
function averaged(results, key) {
  const values = results.map((found) => found[key]).filter((value) => !Number.isNaN(value));
  if (!values.length) return { text: "–" };
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const sd = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / (values.length - 1));
  return { text: written(mean) + (values.length > 1 ? ` ± ${written(sd)}` : ""), mean };
}

/** Why no run stands on a curve at this threshold; "" where each does. */
function offCurves() {
  if (saved.curved.readout === null) return "their ranks are the method's own, and its probabilities no thresholds of them";
  if (field("readout").value !== saved.curved.readout) {
    const shown = [...field("readout").options].find((option) => option.value === saved.curved.readout);
    return `they are of the readout “${shown.text}”`;
  }
  return runs.some((_, number) => offsetOf(number) === null) ? "the likeliest class is no threshold" : "";
}

/** Where each run stands on its curves. */
function mark(results, c) {
  const off = offCurves();
  field("dots").textContent = off ? `No dots on the curves: ${off}.` : "The dots on the curves are the runs at this threshold.";
  for (const curves of document.querySelectorAll(".curves")) curves.hidden = Number(curves.dataset.class) !== c;
  for (const [kind, x, y] of [["pr", "recall", "precision"], ["roc", "fpr", "recall"]]) {
    const drawing = document.querySelector(`.curves[data-class="${c}"] .${kind} svg`);
    if (!drawing) continue;
    drawing.querySelectorAll("circle").forEach((dot) => dot.remove());
    const [left, top, width, height] = drawing.dataset.plot.split(" ").map(Number);
    for (const found of off ? [] : results.slice(0, saved.curved.runs)) {
      const values = { ...found, fpr: 1 - found.specificity };
      if (Number.isNaN(found.recall) || Number.isNaN(found.specificity)) continue; // without curves
      if (kind === "pr" && !(found.tp + found.fp)) continue; // without precision
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      dot.setAttribute("cx", left + width * values[x]);
      dot.setAttribute("cy", top + height * (1 - values[y]));
      dot.setAttribute("r", 4);
      drawing.append(dot);
    }
  }
}

function update() {
  const readout = field("readout").value, c = chosenClass(), each = Number(cost.value);
  const results = runs.map((run, number) => counted(readout, run, c, offsetOf(number), each));
  const shown = (offset) => (offset === null ? "highest" : sigmoid(-offset).toPrecision(3));
  output.tBodies[0].replaceChildren(
    ...results.map((found, number) => line(runs[number].name, shown(offsetOf(number)), found)),
  );
  const total = document.createElement("tr");
  const head = cell(runs.length > 1 ? "mean ± sd; counts: sum" : "mean", undefined, "th");
  head.scope = "row";
  head.className = "text k0";
  total.append(head, cell(""));
  for (const key of COUNTS) {
    const sum = results.reduce((a, found) => a + found[key], 0);
    total.append(cell(String(sum), sum));
  }
  for (const key of NUMBERS) {
    const { text, mean } = averaged(results, key);
    total.append(cell(text, mean));
  }
  output.tBodies[1].replaceChildren(total);
  for (const button of document.querySelectorAll("#threshold button")) {
    const on = button.value === "plain" ? plain && tuned === null : button.value === tuned;
    button.setAttribute("aria-pressed", String(on));
  }
  if (!tuned && plain) {
    slider.value = 0;
    slider.dataset.logit = 0;
    probability.value = 0.5;
  }
  mark(results, c);
}

function moveTo(logit) {
  tuned = null;
  plain = false;
  slider.dataset.logit = logit;
  update();
}

slider.addEventListener("input", () => {
  probability.value = sigmoid(Number(slider.value)).toPrecision(6);
  moveTo(Number(slider.value));
});
probability.addEventListener("input", () => {
  const p = Number(probability.value);
  if (!(p > 0 && p < 1)) return;
  slider.value = Math.log(p / (1 - p));
  moveTo(Math.log(p / (1 - p)));
});
for (const button of document.querySelectorAll("#threshold button")) {
  button.addEventListener("click", () => {
    plain = button.value === "plain";
    tuned = plain ? null : button.value;
    update();
  });
}
field("class").addEventListener("change", () => {
  tuned = null;
  update();
});
field("readout").addEventListener("change", () => {
  tuned = null;
  update();
});
cost.addEventListener("input", update);
document.getElementById("threshold").hidden = false;
update();
