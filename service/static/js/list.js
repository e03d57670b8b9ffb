// The slices that were given, as tiles: thumbnail, name, state. Arrow keys go from one to the next.

import { decisionText } from "./decision.js";
import { find, h, oncePerFrame } from "./dom.js";
import { isOpen } from "./queue.js";
import { classLabel, percent, text } from "./strings.js";

const THUMBNAILS_AT_A_TIME = 3;

export class List {
  /** onChoose(slice): a person wants to see this one. */
  constructor(queue, onChoose) {
    this._queue = queue;
    this._choose = onChoose;
    this._tiles = new Map();
    this._dirty = new Set();
    this._chosen = null;
    this._undrawn = [];
    this._drawing = 0;
    this._element = find("list");
    this._element.addEventListener("keydown", (event) => this._key(event));
    this._refresh = oncePerFrame(() => this._drawDirty());
    queue.addEventListener("change", ({ detail: slice }) => {
      this._dirty.add(slice);
      this._refresh();
    });
  }

  choose(slice) {
    for (const one of [this._chosen, slice]) if (one) this._dirty.add(one);
    this._chosen = slice;
    this._refresh();
  }

  _drawDirty() {
    for (const slice of this._dirty) {
      if (slice.state === "removed") {
        this._tiles.get(slice)?.item.remove();
        this._tiles.delete(slice);
        continue;
      }
      if (!this._tiles.has(slice)) this._add(slice);
      this._update(slice, this._tiles.get(slice));
    }
    this._dirty.clear();
    this._drawNext();
  }

  _add(slice) {
    const canvas = h("canvas", { width: 88, height: 88, "aria-hidden": "true" });
    const state = h("span", { class: "tile-state" }), top = h("span", { class: "tile-top" });
    const bar = h("span", { class: "tile-bar", "aria-hidden": "true" }, h("span"));
    const button = h("button", { type: "button", class: "tile", onclick: () => this._choose(slice) },
      canvas, h("span", { class: "tile-text" }, h("span", { class: "tile-name", title: slice.name }, slice.name), state, top, bar));
    const tile = { item: h("li", {}, button), button, canvas, state, top, bar };
    this._tiles.set(slice, tile);
    this._element.append(tile.item);
    this._undrawn.push(slice);
  }

  _update(slice, tile) {
    const isChosen = slice === this._chosen;
    const { prediction, confidence, decision } = (slice.state === "answered" && slice.answer) || {};
    tile.button.dataset.state = slice.state;
    tile.button.dataset.verdict = decision?.verdict ?? "";
    tile.button.setAttribute("aria-current", isChosen ? "true" : "false");
    tile.button.tabIndex = isChosen || !this._chosen ? 0 : -1; // one stop for Tab, arrows from there
    tile.state.textContent = stateText(slice);
    tile.top.textContent = decision ? text.mostProbable(classLabel(prediction), confidence) : "";
    tile.bar.firstChild.style.setProperty("inline-size", `${100 * slice.progress}%`);
  }

  _drawNext() {
    while (this._drawing < THUMBNAILS_AT_A_TIME && this._undrawn.length) {
      const slice = this._undrawn.shift();
      this._drawing += 1;
      this._drawThumbnail(slice).finally(() => {
        this._drawing -= 1;
        this._drawNext();
      });
    }
  }

  async _drawThumbnail(slice) {
    try {
      const bitmap = await slice.thumbnail();
      const canvas = this._tiles.get(slice)?.canvas;
      if (!canvas) return;
      const scale = Math.min(canvas.width / bitmap.width, canvas.height / bitmap.height);
      const width = scale * bitmap.width, height = scale * bitmap.height;
      canvas.getContext("2d").drawImage(bitmap, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
      bitmap.close();
    } catch {
      this._tiles.get(slice)?.canvas.classList.add("is-blank"); // the service says what is wrong with the file
    }
  }

  _key(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const { slices } = this._queue;
    const at = slices.indexOf(this._chosen);
    const to = event.key === "Home" ? 0 : event.key === "End" ? slices.length - 1 : step ? at + step : -1;
    if (!slices[to]) return;
    event.preventDefault();
    this._choose(slices[to]);
    const { button } = this._tiles.get(slices[to]);
    button.tabIndex = 0;
    button.focus();
  }
}

/** A slice's state in a few words. */
export function stateText(slice) {
  if (slice.state === "answered") {
    const { answer } = slice;
    return answer.decision ? decisionText(answer) : `${decisionText(answer)}, ${percent(answer.confidence)}`;
  }
  if (slice.state === "sending") return text.sending(slice.progress);
  if (slice.problem && !isOpen(slice)) return `${text.states[slice.state]}: ${slice.problem.title}`;
  return text.states[slice.state];
}
