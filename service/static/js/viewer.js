// The chosen slice as a picture: beside it where the model looked; window, frame, zoom.

import { post, Problem, Unreachable, withQuery } from "./api.js";
import { heatmap } from "./attention.js";
import { find, h } from "./dom.js";
import { classLabel, text } from "./strings.js";
import { Viewport } from "./viewport.js";

const PRESETS = { lung: [-600, 1500], mediastinum: [40, 400], bone: [400, 1800] }; // level and width in HU
const SETTLE_MS = 150;

export class Viewer {
  /** queue: to ask about another frame. */
  constructor(queue) {
    this._queue = queue;
    this._slice = null;
    this._picture = null;
    this._map = null; // of the explanation that is shown
    this._plain = find("canvas-slice");
    this._mapped = find("canvas-attention");
    this._opacity = find("opacity");
    this._viewport = new Viewport([this._plain, this._mapped], (canvas, context) => this._paint(canvas, context));
    this._listen();
  }

  /** Show a slice, or what became of the one that is shown. */
  async show(slice) {
    if (slice === this._slice) return this._explain();
    this._slice = slice;
    this._explaining?.abort();
    this._drawing?.abort();
    clearTimeout(this._settling);
    this._picture = this._map = null;
    this._viewport.show(null);
    find("view-controls").hidden = true;
    find("window-controls").hidden = find("frame-controls").hidden = true;
    if (!slice) return undefined;
    for (const canvas of [this._plain, this._mapped]) canvas.setAttribute("aria-label", text.viewer.label(slice.name));
    this._say(text.viewer.drawing);
    await this._open({});
    return this._explain();
  }

  async _open(query) {
    const slice = this._slice;
    this._drawing?.abort(); // what was asked for before is no longer wanted
    this._drawing = new AbortController();
    const { signal } = this._drawing;
    try {
      const picture = await slice.picture({ ...query, signal });
      if (slice !== this._slice || signal.aborted) return;
      const isFirst = this._picture === null;
      this._picture = picture;
      this._viewport.show(picture.bitmap);
      this._say("");
      find("view-controls").hidden = false;
      if (isFirst) await this._offerControls(slice, picture);
    } catch (error) {
      if (error.name === "AbortError" || slice !== this._slice) return;
      this._say(error instanceof Problem ? error.message : text.viewer.noPicture);
    }
  }

  async _offerControls(slice, { level, width, frames }) {
    const kind = await slice.kind();
    this._opened = { level, width };
    find("window-controls").hidden = level === null;
    if (level !== null) {
      const isHounsfield = kind !== "png16";
      find("level").min = isHounsfield ? -1200 : 0;
      find("level").max = isHounsfield ? 1200 : 65535;
      find("width").max = isHounsfield ? 4000 : 65536;
      find("presets").querySelectorAll("[data-hu]").forEach((button) => (button.hidden = !isHounsfield));
      find("window-unit").textContent = isHounsfield ? text.viewer.unit.dicom : text.viewer.unit.png16;
      this._setWindow(level, width);
    }
    find("frame-controls").hidden = frames < 2;
    find("frame").max = frames;
    find("frame").value = slice.frame ?? 1;
    this._labelFrame();
  }

  // --- attention ------------------------------------------------------------------------------------------------------

  async _explain() {
    const slice = this._slice, mode = this._mode;
    const isWanted = slice?.state === "answered";
    find("attention-controls").hidden = !isWanted;
    find("stage").dataset.mode = isWanted ? mode : "slice";
    find("opacity-control").hidden = mode === "slice";
    this._map = null;
    this._viewport.draw();
    if (!isWanted || !this._picture) return;
    this._offerClasses(slice);
    if (mode === "slice") return;
    const name = find("attention-class").value || slice.answer.prediction;
    this._explaining?.abort();
    this._explaining = new AbortController();
    try {
      if (!slice.explanations.has(name)) {
        this._sayOfAttention(text.viewer.explaining);
        const query = { format: "json", class: name, frame: slice.frame };
        const answer = await post(withQuery("explain", query), slice.file, this._explaining.signal);
        slice.explanations.set(name, await answer.json());
      }
      if (slice !== this._slice || slice.state !== "answered") return;
      const explanation = slice.explanations.get(name);
      this._map = { canvas: heatmap(explanation.grid), ...explanation };
      const more = explanation.warnings.filter((warning) => !slice.answer.warnings.includes(warning));
      this._sayOfAttention([`${text.explanation[explanation.method] ?? explanation.method}.`, text.explanationNote, ...more].join(" "));
      this._viewport.draw();
    } catch (error) {
      if (error.name === "AbortError" || slice !== this._slice) return;
      if (!(error instanceof Problem || error instanceof Unreachable)) throw error;
      const isPassing = error instanceof Problem && [429, 503].includes(error.status);
      this._sayOfAttention(isPassing ? text.viewer.busy(error.message) : text.viewer.noAttention);
      find("attention-retry").hidden = !isPassing;
    }
  }

  _offerClasses(slice) {
    const select = find("attention-class");
    if (select.dataset.of === slice.answer.request_id) return;
    select.dataset.of = slice.answer.request_id;
    const names = Object.keys(slice.answer.all_predictions);
    select.replaceChildren(...names.map((name) => h("option", { value: name }, classLabel(name))));
    select.value = slice.answer.prediction;
  }

  _paint(canvas, context) {
    if (canvas !== this._mapped || !this._map) return;
    const { canvas: map, box, slice } = this._map, { bitmap } = this._picture;
    context.save();
    context.beginPath();
    context.rect(0, 0, bitmap.width, bitmap.height);
    context.clip();
    context.scale(bitmap.width / slice.width, bitmap.height / slice.height);
    context.globalAlpha = this._opacity.value / 100;
    context.imageSmoothingEnabled = true;
    context.drawImage(map, box.left, box.top, box.width, box.height);
    context.restore();
  }

  // --- controls -------------------------------------------------------------------------------------------------------

  get _mode() {
    return document.querySelector("input[name=mode]:checked").value;
  }

  _listen() {
    find("zoom-in").addEventListener("click", () => this._viewport.zoomBy(1.5));
    find("zoom-out").addEventListener("click", () => this._viewport.zoomBy(1 / 1.5));
    find("zoom-fit").addEventListener("click", () => this._viewport.fit());
    this._opacity.addEventListener("input", () => {
      find("opacity-value").textContent = `${this._opacity.value}%`;
      this._viewport.draw();
    });
    for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", () => this._explain());
    find("attention-class").addEventListener("change", () => this._explain());
    find("attention-retry").addEventListener("click", () => this._explain());
    for (const id of ["level", "width"]) find(id).addEventListener("input", () => this._windowChanged());
    find("presets").addEventListener("click", ({ target }) => {
      if (!target.dataset.preset) return;
      const { level, width } = this._opened;
      this._setWindow(...(PRESETS[target.dataset.preset] ?? [level, width]));
      this._windowChanged();
    });
    find("frame").addEventListener("input", () => {
      this._labelFrame();
      this._reopenSoon();
    });
    find("frame-classify").addEventListener("click", () => {
      this._slice.frame = Number(find("frame").value);
      this._slice.explanations.clear();
      this._queue.restart(this._slice);
    });
  }

  _setWindow(level, width) {
    find("level").value = level;
    find("width").value = width;
    this._labelWindow();
  }

  _labelWindow() {
    for (const id of ["level", "width"]) find(`${id}-value`).textContent = find(id).value;
  }

  _windowChanged() {
    this._labelWindow();
    this._reopenSoon();
  }

  _labelFrame() {
    const frame = Number(find("frame").value);
    find("frame-value").textContent = `${frame} / ${find("frame").max}`;
    find("frame-classify").textContent = text.viewer.classifyFrame(frame);
    find("frame-classify").disabled = frame === (this._slice.frame ?? 1);
  }

  _reopenSoon() {
    clearTimeout(this._settling);
    this._settling = setTimeout(() => {
      const isWindowed = !find("window-controls").hidden, isFramed = !find("frame-controls").hidden;
      this._open({
        ...(isWindowed ? { level: find("level").value, width: find("width").value } : {}),
        ...(isFramed ? { frame: find("frame").value } : {}),
      });
    }, SETTLE_MS);
  }

  _say(sentence) {
    find("stage-note").textContent = sentence;
    find("stage-note").hidden = !sentence;
  }

  _sayOfAttention(sentence) {
    find("attention-note").textContent = sentence;
    find("attention-retry").hidden = true;
  }
}
