// All slices as a table: sort, filter, export.

import { decisionOrder, decisionText } from "./decision.js";
import { download, find, h } from "./dom.js";
import { csv, json } from "./export.js";
import { stateText } from "./list.js";
import { classLabel, percent, text } from "./strings.js";

const words = text.table;
const REDRAW_MS = 200; // while two hundred answers come in

const COLUMNS = {
  name: (slice) => slice.name,
  verdict: (slice) => slice.answer && decisionText(slice.answer),
  prediction: (slice) => slice.answer && classLabel(slice.answer.prediction),
  confidence: (slice) => slice.answer?.confidence,
  set: (slice) => slice.answer?.prediction_set?.map(classLabel).join(", "),
  version: (slice) => slice.answer?.model_version,
  state: (slice) => (slice.state === "answered" ? text.states.answered : stateText(slice)),
};
const sortedBy = { ...COLUMNS, verdict: (slice) => slice.answer && decisionOrder(slice.answer) };

export class Table {
  /** onChoose(slice): a person wants to see this one in the viewer. */
  constructor(queue, onChoose) {
    this._queue = queue;
    this._choose = onChoose;
    this._rows = new Map();
    this._sort = { column: "verdict", direction: 1 };
    this._makeHead();
    this._markSorted();
    queue.addEventListener("change", () => this.redrawSoon());
    find("table-search").addEventListener("input", () => this.redraw());
    find("table-show").addEventListener("change", () => this.redraw());
    find("export-csv").addEventListener("click", () => download("lungct-results.csv", csv(this._shown())));
    find("export-json").addEventListener("click", () => download("lungct-results.json", json(this._shown())));
  }

  redrawSoon() {
    this._timer ??= setTimeout(() => this.redraw(), REDRAW_MS);
  }

  redraw() {
    clearTimeout(this._timer);
    this._timer = null;
    if (find("view-table").hidden) return;
    this._offerFilters();
    const shown = this._shown(), { slices } = this._queue;
    const rows = shown.map((slice) => this._row(slice));
    const body = find("table-body");
    const isSame = rows.length === body.children.length && rows.every((row, at) => row === body.children[at]);
    const focused = document.activeElement;
    if (!isSame) body.replaceChildren(...rows);
    if (body.contains(focused)) focused.focus({ preventScroll: true }); // a row that stays keeps the focus
    find("table-count").textContent = slices.length && shown.length ? words.count(shown.length, slices.length) : "";
    find("table-empty").textContent = slices.length ? words.none : words.empty;
    find("table-empty").hidden = shown.length > 0;
    find("table-scroll").hidden = shown.length === 0;
    for (const id of ["export-csv", "export-json"]) find(id).disabled = shown.length === 0;
  }

  _makeHead() {
    find("table-head").replaceChildren(...Object.keys(COLUMNS).map((column) =>
      h("th", { scope: "col", "data-column": column },
        h("button", { type: "button", onclick: () => this._sortBy(column) }, words.columns[column]))));
  }

  _sortBy(column) {
    const isSame = this._sort.column === column;
    this._sort = { column, direction: isSame ? -this._sort.direction : 1 };
    this._markSorted();
    this.redraw();
  }

  _markSorted() {
    for (const head of find("table-head").children) {
      if (head.dataset.column === this._sort.column) head.setAttribute("aria-sort", this._sort.direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }

  _shown() {
    const sought = find("table-search").value.trim().toLowerCase(), show = find("table-show").value;
    const shown = this._queue.slices.filter((slice) => {
      const { answer } = slice;
      const isShown = show === "all" || (show === "unanswered" ? !answer : answer && [decisionOption(answer), classOption(answer.prediction)].includes(show));
      return isShown && slice.name.toLowerCase().includes(sought);
    });
    const { column, direction } = this._sort;
    return shown.sort((a, b) => direction * compare(sortedBy[column](a), sortedBy[column](b)));
  }

  _offerFilters() {
    const select = find("table-show"), chosen = select.value || "all";
    const answers = this._queue.slices.flatMap(({ answer }) => answer ?? []);
    const decided = answers.filter(({ decision }) => decision).sort((a, b) => decisionOrder(a) - decisionOrder(b));
    const decisions = new Map(decided.map((answer) => [decisionOption(answer), decisionText(answer)]));
    const names = answers.flatMap(({ all_predictions: shares }) => Object.keys(shares));
    const classes = new Map(names.map((name) => [classOption(name), classLabel(name)]));
    const offered = [...decisions.keys(), ...classes.keys()].join();
    if (select.dataset.offered === offered) return;
    select.dataset.offered = offered;
    const group = (label, options) => options.size > 0 &&
      h("optgroup", { label }, [...options].map(([value, said]) => h("option", { value }, said)));
    select.replaceChildren(...[
      h("option", { value: "all" }, words.all),
      group(words.decisions, decisions),
      group(words.classes, classes),
      h("option", { value: "unanswered" }, words.unanswered),
    ].filter(Boolean));
    select.value = [...select.options].some((option) => option.value === chosen) ? chosen : "all";
  }

  _row(slice) {
    if (!this._rows.has(slice)) {
      const name = h("button", { type: "button", class: "link", onclick: () => this._choose(slice) }, slice.name);
      const cells = Object.keys(COLUMNS).slice(1).map((column) => h("td", { "data-column": column }));
      this._rows.set(slice, { row: h("tr", {}, h("th", { scope: "row" }, name), ...cells), cells });
    }
    const { row, cells } = this._rows.get(slice);
    row.dataset.state = slice.state;
    row.dataset.verdict = slice.answer?.decision?.verdict ?? "";
    for (const cell of cells) {
      const value = COLUMNS[cell.dataset.column](slice);
      const said = value === null || value === undefined ? "" : cell.dataset.column === "confidence" ? percent(value) : String(value);
      if (cell.textContent !== said) cell.textContent = said;
    }
    return row;
  }
}

const decisionOption = (answer) => answer.decision && `decision:${decisionText(answer)}`;
const classOption = (name) => `class:${name}`;

/** What is not there comes last in either direction of a first click. */
function compare(a, b) {
  const isMissing = (value) => value === null || value === undefined || value === "";
  if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // answers of versions with rules and without
  return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
}
