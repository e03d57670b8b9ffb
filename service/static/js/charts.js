// Small drawings of figures, as SVG: an interval on a scale, curves over epochs. Their numbers stand beside them as text.

import { s } from "./dom.js";

/** A value with its 95 % interval on a scale 0 to `most`. */
export function whisker(value, interval, most = 1) {
  const x = (number) => 4 + (192 * Math.min(number, most)) / most;
  const parts = [s("line", { x1: 4, x2: 196, y1: 9, y2: 9, class: "axis" })];
  if (interval) {
    parts.push(s("line", { x1: x(interval[0]), x2: x(interval[1]), y1: 9, y2: 9, class: "whisker" }));
    for (const end of interval) parts.push(s("line", { x1: x(end), x2: x(end), y1: 5, y2: 13, class: "whisker" }));
  }
  parts.push(s("circle", { cx: x(value), cy: 9, r: 4, class: "point" }));
  return s("svg", { viewBox: "0 0 200 18", class: "whiskers", "aria-hidden": "true" }, ...parts);
}

/** Two curves over epochs 1 to n, with the epoch that was kept; `label` describes it for those who do not see it. */
export function curves(training, validation, keptEpoch, label) {
  const most = Math.max(...training, ...validation, 1e-9), n = training.length;
  const x = (epoch) => 28 + (n > 1 ? ((epoch - 1) * 362) / (n - 1) : 181);
  const y = (value) => 150 - (140 * value) / most;
  const line = (values, name) =>
    s("polyline", { points: values.map((value, at) => `${x(at + 1).toFixed(1)},${y(value).toFixed(1)}`).join(" "), class: name });
  const note = (at, above, said) => {
    const made = s("text", { x: at, y: above, class: "tick" });
    made.textContent = said;
    return made;
  };
  return s("svg", { viewBox: "0 0 400 172", class: "curves", role: "img", "aria-label": label },
    s("line", { x1: 28, x2: 390, y1: 150, y2: 150, class: "axis" }),
    s("line", { x1: x(keptEpoch), x2: x(keptEpoch), y1: 10, y2: 150, class: "kept" }),
    line(training, "curve training"), line(validation, "curve validation"),
    note(0, 14, most.toFixed(most < 10 ? 1 : 0)), note(8, 154, "0"), note(28, 168, "1"), note(376, 168, String(n)));
}
