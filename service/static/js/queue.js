// Which slice is asked about when. Knows nothing of the page: `send` is given, changes are events.

import { Problem, Unreachable } from "./api.js";

export const PARALLEL = 4;
const UNREACHABLE_RETRY_S = 3;

/** waiting → sending → computing → answered | refused | failed | cancelled. Only what is passing makes it wait again. */
export const isOpen = (slice) => ["waiting", "sending", "computing"].includes(slice.state);

/** Events: "change" (detail: a slice), "pause" (detail: see `pause`). */
export class Queue extends EventTarget {
  /** send(slice, {onProgress, onSent, signal}) resolves with an answer, or rejects with Problem, Unreachable, AbortError. */
  constructor(send) {
    super();
    this.slices = [];
    /** Why nothing is sent: {why: "busy"|"unreachable"|"key"|"no-model", untilMs, problem}, or null. */
    this.pause = null;
    this._send = send;
    this._running = new Map();
    this._timer = null;
  }

  add(slices) {
    this.slices.push(...slices);
    for (const slice of slices) this._become(slice, "waiting");
    this._fill();
  }

  cancel(slice) {
    if (!isOpen(slice)) return;
    this._become(slice, "cancelled");
    this._running.get(slice)?.abort();
  }

  retry(slice) {
    if (isOpen(slice)) return;
    slice.answer = slice.problem = null;
    this._become(slice, "waiting");
    this._fill();
  }

  /** Ask about it anew, whatever it is doing: it is another frame that is meant now. */
  restart(slice) {
    slice.answer = slice.problem = null;
    this._become(slice, "waiting");
    this._running.get(slice)?.abort();
    this._fill();
  }

  remove(slice) {
    this.cancel(slice);
    this.slices = this.slices.filter((one) => one !== slice);
    this._become(slice, "removed");
  }

  /** Try now, whatever the pause was for: a key was entered, a model came, the network is back. */
  resume() {
    clearTimeout(this._timer);
    this._setPause(null);
    this._fill();
  }

  _fill() {
    while (!this.pause && this._running.size < PARALLEL) {
      const next = this.slices.find((slice) => slice.state === "waiting" && !this._running.has(slice));
      if (!next) return;
      this._run(next);
    }
  }

  async _run(slice) {
    const controller = new AbortController();
    this._running.set(slice, controller);
    slice.progress = 0;
    this._become(slice, "sending");
    try {
      const answer = await this._send(slice, {
        signal: controller.signal,
        onProgress: (share) => {
          slice.progress = share;
          this._tell(slice);
        },
        onSent: () => slice.state === "sending" && this._become(slice, "computing"),
      });
      if (controller.signal.aborted) return;
      slice.answer = answer;
      this._become(slice, "answered");
    } catch (error) {
      if (!controller.signal.aborted) this._failed(slice, error);
    } finally {
      this._running.delete(slice);
      this._fill();
    }
  }

  _failed(slice, error) {
    if (error instanceof Unreachable) return this._wait(slice, "unreachable", UNREACHABLE_RETRY_S);
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return this._wait(slice, "key", null, error);
    if (error.kind === "no-model") return this._wait(slice, "no-model", error.retryAfterS || 2, error);
    if (error.status === 429 || error.status === 503) return this._wait(slice, "busy", error.retryAfterS || 2, error);
    slice.problem = error;
    this._become(slice, error.status < 500 ? "refused" : "failed");
  }

  /** Back into the line, and nobody is sent before the service said so. The longest wait counts. */
  _wait(slice, why, seconds, problem = null) {
    this._become(slice, "waiting");
    const untilMs = seconds === null ? Infinity : performance.now() + 1000 * seconds;
    if (this.pause && this.pause.untilMs >= untilMs) return;
    clearTimeout(this._timer);
    this._setPause({ why, untilMs, problem });
    if (seconds !== null) this._timer = setTimeout(() => this.resume(), 1000 * seconds);
  }

  _setPause(pause) {
    this.pause = pause;
    this.dispatchEvent(new CustomEvent("pause", { detail: pause }));
  }

  _become(slice, state) {
    slice.state = state;
    this._tell(slice);
  }

  _tell(slice) {
    this.dispatchEvent(new CustomEvent("change", { detail: slice }));
  }
}
