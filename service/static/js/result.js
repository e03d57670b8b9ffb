// What the service said about the chosen slice, in words and bars.

import { decisionText, isUnfamiliar } from "./decision.js";
import { find, h } from "./dom.js";
import { isOpen } from "./queue.js";
import { bytes, classLabel, percent, text } from "./strings.js";

const words = text.result;

export class Result {
  /** queue: for cancel, retry and remove; model(): /model-info as last seen, or null. */
  constructor(queue, model) {
    this._queue = queue;
    this._model = model;
    this._shown = null;
  }

  show(slice) {
    const body = find("result-body");
    if (!slice) return body.replaceChildren();
    // a progress event must not tear the button away under a finger
    const state = `${slice.id} ${slice.state} ${slice.answer?.request_id} ${this._model()?.model_version}`;
    if (state === this._shown) return undefined;
    this._shown = state;
    const actions = this._actions(slice), hadFocus = body.contains(document.activeElement);
    body.replaceChildren(...this._parts(slice), this._meta(slice), actions);
    if (hadFocus) actions.querySelector("button").focus();
    return undefined;
  }

  _parts(slice) {
    if (slice.state === "answered") return this._answer(slice);
    if (slice.problem && !isOpen(slice)) return refusal(slice.problem);
    const sentence = { waiting: words.waitingText, cancelled: words.cancelledText }[slice.state] ?? words.classifying;
    return [h("p", { class: isOpen(slice) ? "pending" : "muted" }, sentence)];
  }

  _answer({ answer }) {
    const info = this._model();
    const isCurrent = info?.model_version === answer.model_version;
    const rules = isCurrent && info.variant === answer.variant ? info.manifest?.thresholds : null;
    const { decision, prediction, confidence } = answer;
    return [
      h("p", { class: "answer" },
        h("strong", { class: "answer-class", "data-verdict": decision?.verdict }, decisionText(answer)),
        h("span", { class: "answer-share" },
          decision ? text.mostProbable(classLabel(prediction), confidence) : words.confidence(confidence))),
      ...why(answer),
      ...familiarity(answer),
      h("h3", {}, words.probabilities),
      h("ul", { class: "bars" }, Object.entries(answer.all_predictions).map(([name, share]) => bar(name, share, answer, rules))),
      ...predictionSet(answer, isUnfamiliar(answer) ? null : rules), // what a set promises does not hold there
      h("h3", {}, words.warnings),
      h("ul", { class: "warnings" },
        answer.warnings.map((warning) => h("li", {}, warning)),
        info?.model_version && !isCurrent ? h("li", {}, words.olderVersion(answer.model_version)) : null),
    ];
  }

  _meta({ name, file, answer, problem }) {
    const request = answer?.request_id ?? problem?.requestId;
    return h("dl", { class: "meta" },
      h("dt", {}, words.file), h("dd", {}, `${name} (${bytes(file.size)})`),
      answer ? [h("dt", {}, words.version), h("dd", {}, h("a", { href: "#model" }, words.versionText(answer.model_version)))] : null,
      request ? [h("dt", {}, words.request), h("dd", { class: "code" }, request)] : null);
  }

  _actions(slice) {
    const button = (label, act) => h("button", { type: "button", onclick: act }, label);
    return h("p", { class: "actions" },
      isOpen(slice)
        ? button(text.actions.cancel, () => this._queue.cancel(slice))
        : button(text.actions.retry, () => this._queue.retry(slice)),
      button(text.actions.remove, () => this._queue.remove(slice)));
  }
}

function refusal(problem) {
  return [
    h("p", { class: "answer" }, h("strong", { class: "answer-class is-refused" }, words.refused)),
    h("p", {}, h("strong", {}, `${problem.title}. `), problem.message),
    problem.reasons.length ? [h("h3", {}, words.reasons), listOf(problem.reasons)] : [],
    CAN_BE_LOOKED_AT.includes(problem.kind)
      ? [h("p", { class: "muted" }, words.refusedText),
        h("p", { class: "actions" }, h("button", { type: "button", onclick: () => find("canvas-slice").focus() }, words.look))]
      : [],
  ].flat();
}

const CAN_BE_LOOKED_AT = ["not-a-chest-ct", "unfamiliar-slice"]; // pictures that were read, and are not answered

const listOf = (sentences) => h("ul", { class: "warnings" }, sentences.map((sentence) => h("li", {}, sentence)));

/** Why the verdict is what it is: what the service says, and where the target's probability lies if that decided. */
function why(answer) {
  if (!answer.decision) return [h("p", { class: "muted" }, words.noRules)];
  const { verdict, reason, target_class: target } = answer.decision;
  const isByBand = verdict !== "uncertain" || !(reason || isUnfamiliar(answer));
  return [
    reason && h("p", {}, reason),
    isByBand && h("p", { class: "muted" }, words.because(answer.decision, answer.all_predictions[target])),
  ].filter(Boolean);
}

function familiarity({ familiarity: found }) {
  if (!found) return [];
  const { score, limit, reasons } = found;
  return [
    h("h3", {}, words.familiarity),
    found.is_familiar
      ? h("p", { class: "muted" }, words.familiar(score))
      : h("div", { class: "notice" },
        h("p", {}, h("strong", {}, words.unfamiliar), " ", words.noFigureHolds), listOf(reasons), h("p", {}, words.score(score, limit))),
  ];
}

/** A bar; on the target class's, a mark at the operating point and the band that is called uncertain. */
function bar(name, share, answer, rules) {
  const isTarget = answer.decision?.target_class === name;
  const fill = h("span", { class: "bar-fill" });
  fill.style.setProperty("inline-size", `${100 * share}%`);
  const track = h("span", { class: "bar-track", "aria-hidden": "true" }, fill);
  let note = null;
  if (isTarget) {
    if (rules) {
      const band = h("span", { class: "bar-band" });
      band.style.setProperty("inset-inline-start", `${100 * rules.uncertain.rule_out}%`);
      band.style.setProperty("inline-size", `${100 * (rules.uncertain.rule_in - rules.uncertain.rule_out)}%`);
      track.append(band);
    }
    const mark = h("span", { class: "bar-mark" });
    mark.style.setProperty("inset-inline-start", `${100 * answer.decision.threshold}%`);
    track.append(mark);
    note = h("span", { class: "bar-note" }, words.point(answer.decision.threshold));
  }
  return h("li", { class: `bar${isTarget ? " is-target" : ""}${answer.prediction === name ? " is-top" : ""}` },
    h("span", { class: "bar-name" }, classLabel(name)), h("span", { class: "bar-value" }, percent(share)), track, note);
}

function predictionSet(answer, rules) {
  if (!answer.prediction_set) return [];
  return [
    h("h3", {}, words.set),
    h("p", {}, words.setText(answer.prediction_set.map(classLabel)), " ",
      rules ? h("span", { class: "muted" }, words.setHint(rules.prediction_sets.coverage)) : null),
  ];
}
