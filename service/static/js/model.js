// The model's own view: how good it is, how it decides, how it was trained, which versions there are.

import { ask } from "./api.js";
import { cardElements } from "./card.js";
import { curves, whisker } from "./charts.js";
import { find, h } from "./dom.js";
import { classLabel, decimals, integer, percent, text, when } from "./strings.js";

const words = text.model;

/** Draw /model-info into the view; null: not read yet. */
export function showModel(info) {
  const body = find("model-body");
  if (!info) return body.replaceChildren(h("p", { class: "pending" }, words.reading));
  const { manifest } = info;
  const parts = manifest
    ? [head(info), results(manifest), instead(manifest), confusion(manifest), calibration(info), points(manifest), familiarity(manifest), refusals(manifest), training(info), figures(info)]
    : [h("div", { class: "panel" }, h("h1", {}, words.none), h("p", {}, words.noneText))];
  return body.replaceChildren(...parts.filter(Boolean), versions(info));
}

const panel = (title, ...children) => h("section", { class: "panel" }, h("h2", {}, title), ...children);

function head(info) {
  const { manifest } = info;
  const { dataset, classes } = manifest;
  const hasCard = info.documents.includes("model-info/card");
  return h("header", { class: "panel model-head" },
    h("h1", {}, words.heading(info.model_name, info.model_version)),
    h("p", {}, words.what(manifest.architecture, dataset.n ?? 0, dataset.kind === "phantoms" ? words.phantom : words.slice), " ",
      words.serves(when(info.loaded_at), info.engine, info.manifest.variants?.[info.variant] ? info.variant : null)),
    h("ul", { class: "chips" }, classes.names.map((name) => h("li", { class: name === classes.target ? "is-target" : "" }, classLabel(name)))),
    h("ul", { class: "warnings" }, info.warnings.map((warning) => h("li", {}, warning))),
    hasCard ? h("p", { class: "actions" }, h("button", { type: "button", onclick: openCard }, words.card)) : null);
}

async function openCard() {
  const dialog = find("card-dialog");
  find("card-body").replaceChildren(...cardElements(await (await ask("model-info/card")).text()));
  dialog.showModal();
  find("card-body").scrollTop = 0;
}

// --- how good -----------------------------------------------------------------------------------------------------------

function results({ metrics, split }) {
  if (metrics.n === undefined) return panel(words.results, h("p", { class: "muted" }, words.noMetrics));
  const ends = metrics.intervals ?? {}, levels = metrics.stress?.as_it_is ?? {};
  const rows = ["accuracy", "balanced_accuracy", "macro_f1"].map((name) => [words.metrics[name], metrics[name], ends[name], levels[name]]);
  for (const [name, one] of Object.entries(metrics.per_class ?? {})) {
    rows.push([words.recall(classLabel(name)), one.recall, ends.recall?.[name], levels.recall?.[name]]);
  }
  for (const [name, label] of Object.entries(words.ofTarget)) {
    if (metrics.target) rows.push([`${classLabel(metrics.target.name)}: ${label}`, metrics.target[name], ends.target?.[name], levels[name]]);
  }
  for (const name of ["brier", "ece"]) rows.push([words.metrics[name], metrics[name], ends[name], levels[name], name === "brier" ? 2 : 1]);
  return panel(words.results,
    h("p", { class: "muted" }, words.resultsText(metrics.n, metrics.n_cases), levels.accuracy ? ` ${words.levels}` : null),
    split.optimistic ? h("p", { class: "caution" }, words.optimistic) : null,
    h("dl", { class: "metrics" }, rows.filter(([, value]) => Number.isFinite(value)).map(([label, value, interval, figure, most]) => {
      const shown = figure?.by_slice.interval ?? interval;
      return h("div", {}, h("dt", {}, label), h("dd", {}, h("strong", {}, decimals(value)),
        h("span", { class: "muted" }, shown ? words.interval(...shown) : ""), whisker(value, shown, most),
        figure ? h("small", { class: "muted" }, byCase(figure)) : null));
    })));
}

const byCase = ({ by_case: { value, interval } }) => words.byCase(value, ...interval);

/** A share with its interval, and below it the same by case where that is known. */
const ratio = (value, interval, ofCases) =>
  h("td", {}, h("strong", {}, decimals(value)), " ", h("small", {}, words.interval(...interval)), ofCases ? h("small", {}, ofCases) : null);

const tableOf = (label, columns, rows) => scrolling(label, h("table", {},
  h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
  h("tbody", {}, rows.map(([name, ...cells]) => h("tr", {}, h("th", { scope: "row" }, name), cells)))));

/** What tells the classes without a look at the lungs, and what views of the same slices change. */
function instead({ metrics }) {
  const { shortcuts = [], stress } = metrics;
  if (!shortcuts.length && !stress) return null;
  const parts = [];
  if (shortcuts.length) {
    const own = metrics.intervals?.balanced_accuracy;
    const rows = shortcuts.map((one) => [one.clue, ratio(one.balanced_accuracy, one.interval)]);
    if (own) rows.push([words.thisModel, ratio(metrics.balanced_accuracy, own)]);
    parts.push(h("p", { class: "muted" }, words.shortcutsText(shortcuts[0].chance)), tableOf(words.instead, words.shortcutColumns, rows));
  }
  if (stress) {
    const views = Object.entries(stress.views), seen = [stress.as_it_is, ...views.map(([, one]) => one)];
    const cell = (figure) => (figure ? ratio(figure.by_slice.value, figure.by_slice.interval, byCase(figure)) : h("td", {}, "-"));
    const rows = Object.entries(words.stressRows).map(([name, label]) => [label, ...seen.map((one) => cell(one[name]))]);
    parts.push(h("p", { class: "muted" }, words.stressText), tableOf(words.stress, words.stressColumns(views.map(([name]) => name)), rows));
  }
  return panel(words.instead, ...parts);
}

function confusion({ metrics, classes }) {
  if (!metrics.confusion) return null;
  const labels = classes.names.map(classLabel);
  return panel(words.confusion,
    h("p", { class: "muted" }, words.confusionText),
    scrolling(words.confusion, h("table", { class: "confusion" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, words.labelled), labels.map((label) => h("th", { scope: "col" }, label)))),
      h("tbody", {}, metrics.confusion.map((row, i) => {
        const total = row.reduce((sum, count) => sum + count, 0);
        return h("tr", {}, h("th", { scope: "row" }, labels[i]), row.map((count, j) => {
          const cell = h("td", { class: i === j ? "is-right" : "is-wrong" }, h("strong", {}, integer(count)), h("small", {}, percent(total ? count / total : 0)));
          cell.style.setProperty("--share", total ? count / total : 0);
          return cell;
        }));
      })))));
}

function calibration(info) {
  const { temperature, ece_before: before, ece_after: after } = info.manifest.metrics.calibration ?? {};
  const figure = info.documents.find((path) => path.endsWith("/reliability.png"));
  return panel(words.calibration,
    h("p", { class: "muted" }, temperature === undefined ? words.noCalibration : words.calibrationText(temperature, before, after)),
    figure ? drawing(figure) : null);
}

function points({ thresholds: rules }) {
  if (!rules) return null;
  const share = (point, name) => {
    const ofCases = point[`${name}_by_case_interval`];
    return ratio(point[name], point[`${name}_interval`], ofCases && words.byCase(point[`${name}_by_case`], ...ofCases));
  };
  return panel(words.points,
    tableOf(words.points, words.pointColumns, Object.entries(rules.operating_points).map(([name, point]) => [
      name === rules.operating_point ? words.pointInForce(name) : words.pointName(name),
      h("td", {}, percent(point.threshold)), share(point, "sensitivity"), share(point, "specificity"),
    ])),
    h("p", { class: "muted" }, words.pointsText(rules.uncertain.rule_out, rules.uncertain.rule_in)),
    ...sets(rules.prediction_sets));
}

function sets({ coverage, measured_coverage: shares, measured_size: size }) {
  return [
    h("h3", {}, words.sets),
    h("p", { class: "muted" }, words.setsText(coverage, size), " ",
      words.setsMeasured(Object.entries(shares).map(([name, share]) => words.share(classLabel(name), share)))),
  ];
}

function familiarity({ familiarity: known }) {
  if (!known) return null;
  return panel(words.familiarity,
    h("p", { class: "muted" }, words.familiarityText, " ", Number.isFinite(known.limit) ? words.familiarityLimit(known.limit) : null),
    numbers(words.familiarity, known.figures));
}

function refusals({ chest_gate: gate }) {
  const { refused_views: views = {}, ...figures } = gate?.figures ?? {};
  for (const [name, share] of Object.entries(views)) figures[words.refusedView(name)] = share;
  const table = numbers(words.refusals, figures);
  return table && panel(words.refusals, h("p", { class: "muted" }, words.refusalsText), table);
}

/** Figures that are numbers, by the names that the trainer gave them. */
function numbers(label, figures = {}) {
  const rows = Object.entries(figures).filter(([, value]) => Number.isFinite(value))
    .map(([name, value]) => [words.figureLabel(name), h("td", {}, Number.isInteger(value) ? integer(value) : decimals(value))]);
  return rows.length ? tableOf(label, words.figureColumns, rows) : null;
}

// --- how it was trained -------------------------------------------------------------------------------------------------

function training({ manifest, documents }) {
  const facts = Object.entries(words.facts).map(([name, label]) => [label, manifest.training[name]]);
  facts.push([words.seed, manifest.seed], [words.duration, words.trained(manifest.duration_s)], [words.split, manifest.split.protocol]);
  const said = facts.filter(([, value]) => typeof value === "string" || Number.isFinite(value));
  return panel(words.training,
    h("dl", { class: "facts" }, said.map(([label, value]) =>
      h("div", {}, h("dt", {}, label), h("dd", {}, Number.isInteger(value) ? integer(value) : String(value))))),
    manifest.training.weights_licence ? h("p", { class: "muted" }, words.licence(manifest.training.weights_licence)) : null,
    ...history(manifest.training.history, documents));
}

function history(kept, documents) {
  const figure = documents.find((path) => path.endsWith("/training_history.png"));
  if (!kept?.loss) return figure ? [drawing(figure)] : [h("p", { class: "muted" }, words.noHistory)];
  const { curves: names } = words;
  const chart = (title, of, held) => h("figure", {}, h("figcaption", {}, title),
    curves(of, held, kept.best_epoch, `${title}: ${names.training} ${decimals(of.at(-1))}, ${names.validation} ${decimals(held.at(-1))}, ${words.kept(kept.best_epoch)}`));
  return [
    h("h3", {}, words.history),
    h("div", { class: "charts" }, chart(names.loss, kept.loss, kept.validation_loss), chart(names.accuracy, kept.accuracy, kept.validation_accuracy)),
    h("p", { class: "legend" }, h("span", { class: "key training" }, names.training), h("span", { class: "key validation" }, names.validation),
      h("span", { class: "muted" }, words.kept(kept.best_epoch))),
  ];
}

const SHOWN_ABOVE = /\/(reliability|training_history)\.png$/;

function figures({ documents }) {
  const others = documents.filter((path) => path.endsWith(".png") && !SHOWN_ABOVE.test(path));
  return others.length ? panel(words.figures, h("div", { class: "charts" }, others.map(drawing))) : null;
}

/** A figure of the trainer; fetched and not linked, because the service may want a key. */
function drawing(path) {
  const image = h("img", { alt: words.figure(path), loading: "lazy" });
  ask(path).then(async (response) => {
    image.src = URL.createObjectURL(await response.blob());
    await image.decode().catch(() => {});
    URL.revokeObjectURL(image.src);
  }).catch(() => image.remove());
  return h("figure", { class: "drawing" }, image);
}

// --- versions -----------------------------------------------------------------------------------------------------------

function versions(info) {
  if (!info.versions.length) return "";
  const failures = new Map(info.failures.map((failure) => [failure.model_version, failure]));
  const state = (version) => {
    const said = [];
    if (version === info.model_version) said.push(words.versionServes);
    if (version === info.loading) said.push(words.versionLoading);
    if (version === info.pinned) said.push(words.versionPinned);
    const failure = failures.get(version);
    if (failure) said.push(words.versionBad(failure.reason, failure.retried));
    return said.join(", ") || words.versionReady;
  };
  return panel(words.versions, scrolling(words.versions, h("table", {},
    h("thead", {}, h("tr", {}, words.versionColumns.map((label) => h("th", { scope: "col" }, label)))),
    h("tbody", {}, info.versions.toReversed().map((version) =>
      h("tr", { class: version === info.model_version ? "is-current" : "" }, h("th", { scope: "row" }, String(version)), h("td", {}, state(version))))))));
}

/** A table that scrolls by itself where the screen is narrow, also by keys. */
const scrolling = (label, table) => h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label }, table);
