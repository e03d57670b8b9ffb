// How the service is: asked every few seconds, said in one banner and one chip.

import { ask, isKeySet, Problem, setKey } from "./api.js";
import { find, h } from "./dom.js";
import { text } from "./strings.js";

const words = text.status;
const CALM_MS = 5000, EAGER_MS = 1500;

/** Events: "model" (detail: /model-info) whenever what it says has changed. */
export class Status extends EventTarget {
  constructor(queue) {
    super();
    this._queue = queue;
    this._said = null;
    this._banner = null;
    /** /model-info as last seen. */
    this.info = null;
    /** null, or why it cannot be seen: "unreachable", "key". */
    this.trouble = "asking";
    queue.addEventListener("pause", () => this.draw());
    queue.addEventListener("change", () => queue.pause && this.draw());
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
    find("key-forget").addEventListener("click", () => {
      setKey(null);
      this.look();
    });
    setInterval(() => this._countDown(), 250);
  }

  /** Ask once, and again later for as long as somebody looks. */
  async look() {
    clearTimeout(this._timer);
    try {
      const said = await (await ask("model-info")).text();
      const wasTrouble = this.trouble !== null;
      this.trouble = null;
      if (said !== this._said) this._changed(said);
      if (wasTrouble && this._queue.pause && this._queue.pause.why !== "busy") this._queue.resume();
    } catch (error) {
      this.trouble = !(error instanceof Problem) ? "unreachable" : error.status === 401 ? "key" : "unreachable";
    }
    this.draw();
    const isCalm = this.trouble === null && this.info.model_version !== null && this.info.loading === null;
    if (!document.hidden && this.trouble !== "key") this._timer = setTimeout(() => this.look(), isCalm ? CALM_MS : EAGER_MS);
  }

  _changed(said) {
    const before = this.info;
    this._said = said;
    this.info = asServed(JSON.parse(said));
    const { model_version: version } = this.info;
    if (before && version && version !== before.model_version) find("announcement").textContent = words.changed(version);
    if (version && this._queue.pause?.why === "no-model") this._queue.resume();
    this.dispatchEvent(new CustomEvent("model", { detail: this.info }));
  }

  // --- what is said ---------------------------------------------------------------------------------------------------

  /** The one state that counts now: its name, its words, and what can be done about it. */
  _state() {
    const pause = this._queue.pause, info = this.info;
    const waiting = this._queue.slices.filter((slice) => slice.state === "waiting").length;
    if (this.trouble === "key" || pause?.why === "key") return ["key", isKeySet() ? words.keyWrong : words.key];
    if (this.trouble === "unreachable" || pause?.why === "unreachable") return ["unreachable", words.unreachable];
    if (!info) return ["asking", null];
    if (info.model_version === null && info.loading !== null) return ["loading", words.loading(info.loading)];
    if (info.model_version === null) return ["no-model", words.noModel];
    if (pause?.why === "busy") return ["busy", pause.problem?.status === 429 ? words.limited(waiting) : words.busy(waiting)];
    if (info.health.status === "unavailable") return ["unavailable", words.unavailable(info.health.reasons)];
    if (info.health.status === "degraded") return ["degraded", words.degraded(info.health.reasons)];
    return ["ok", null];
  }

  draw() {
    const [state, said] = this._state();
    document.body.dataset.state = state;
    const version = this.info?.model_version;
    find("chip").textContent = version && state === "ok" ? words.serves(version) : chipText(state);
    find("key-forget").hidden = !isKeySet();
    const banner = `${state} ${said}`;
    if (banner === this._banner) return;
    this._banner = banner;
    find("banner").hidden = !said;
    if (!said) return;
    find("banner-title").textContent = said[0];
    find("banner-text").textContent = said[1];
    this._offer(state);
  }

  _offer(state) {
    const actions = find("banner-actions");
    if (state === "key") {
      if (actions.querySelector("form")) return;
      const input = h("input", { id: "key", type: "password", autocomplete: "off", required: true, spellcheck: "false" });
      actions.replaceChildren(h("form", { class: "key-form", onsubmit: (event) => this._useKey(event, input) },
        h("label", { for: "key" }, words.keyLabel), input, h("button", { type: "submit", class: "primary" }, words.keySave)));
    } else if (state === "busy" || state === "unreachable") {
      actions.replaceChildren(h("span", { id: "countdown", class: "countdown" }),
        // who is told to wait waits; only where nobody answered may a person know better
        state === "unreachable" ? h("button", { type: "button", onclick: () => this._tryNow() }, words.tryNow) : "");
    } else actions.replaceChildren();
    this._countDown();
  }

  _countDown() {
    const left = this._queue.pause ? Math.ceil((this._queue.pause.untilMs - performance.now()) / 1000) : NaN;
    const element = find("countdown");
    if (element) element.textContent = Number.isFinite(left) ? words.again(Math.max(0, left)) : "";
  }

  async _useKey(event, input) {
    event.preventDefault();
    setKey(input.value);
    await this.look();
    if (this.trouble === null) this._queue.resume();
    else input.select();
    this.draw();
  }

  _tryNow() {
    this.look();
    this._queue.resume();
  }
}

function chipText(state) {
  const { short } = words;
  return { ...short, busy: short.ok, loading: short.unavailable, "no-model": short.unavailable }[state];
}

/** Where a variant serves, its figures, rules and limits instead of the manifest's own. */
function asServed(info) {
  const own = info.manifest?.variants?.[info.variant];
  return own ? { ...info, manifest: { ...info.manifest, ...own } } : info;
}
