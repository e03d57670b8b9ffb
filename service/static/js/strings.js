// Every word that the page says. To translate the page, translate this file (index.html holds what must be read without scripts).

const percentOf = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const thousands = new Intl.NumberFormat("en");
const moment = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
const listOf = new Intl.ListFormat("en", { type: "conjunction" });

export const percent = (share) => (share > 0 && share < 0.001 ? "< 0.1%" : percentOf.format(share));
export const integer = (number) => thousands.format(number);
export const decimals = (number, digits = 3) => number.toFixed(digits);
export const when = (iso) => moment.format(new Date(iso));
export const list = (words) => listOf.format(words);
const several = (count, one, many) => `${integer(count)} ${count === 1 ? one : many}`;

/** "Malignant cases" is the name of a class; of one slice a person would say "Malignant". Exports keep the name. */
export const classLabel = (name) => name.replace(/ cases$/, "");

export function bytes(count) {
  if (count < 1e6) return `${Math.max(1, Math.round(count / 1e3))} kB`;
  return `${(count / 1e6).toFixed(1)} MB`;
}

const POINTS = {
  high_sensitivity: "high sensitivity",
  high_specificity: "high specificity",
  specificity_90: "90% specificity",
  specificity_95: "95% specificity",
};
const pointLabel = (name) => POINTS[name] ?? name.replaceAll("_", " ");

export const text = {
  views: { slices: "Slices", table: "Table", model: "Model" },
  viewCount: (label, count) => (count ? `${label} (${integer(count)})` : label),
  theme: { auto: "Theme: as the system", dark: "Theme: dark", light: "Theme: light" },

  empty: {
    title: "Drop lung CT slices here",
    hint: "or paste them, or choose files. One slice is one answer; a folder works too.",
    formats: "JPEG, PNG (8 or 16 bit), DICOM",
    choose: "Choose files",
    private: "Images go to this service and nowhere else. No image is stored, here or there.",
    ledger: "The service keeps a line about every answer: what it said, when, and a fingerprint from which no image can be made.",
    phantoms: "No slice at hand? The model that serves was trained on drawn phantoms. Try one:",
    phantom: (kind) => `A phantom drawn as ${kind}`,
  },
  dropping: "Let go to classify",

  queue: {
    heading: "Your slices",
    add: "Add slices",
    progress: (done, all) => `${integer(done)} of ${several(all, "slice", "slices")} done`,
    cancelAll: "Cancel all",
    retryAll: "Retry those without an answer",
    clear: "Remove all",
  },
  states: {
    waiting: "Waiting",
    sending: "Uploading",
    computing: "Classifying",
    answered: "Answered",
    refused: "Refused",
    failed: "Failed",
    cancelled: "Cancelled",
  },
  verdicts: {
    positive: (name) => `Called ${name.toLowerCase()}`,
    negative: (name) => `Not called ${name.toLowerCase()}`,
    uncertain: () => "Uncertain",
  },
  unfamiliar: (decision) => `${decision}: unlike the training slices`,
  mostProbable: (name, share) => `Most probable: ${name},\u00a0${percent(share)}`,
  sending: (share) => `Uploading, ${percentOf.format(share)}`,
  actions: { cancel: "Cancel", retry: "Retry", remove: "Remove", copy: "Copy", close: "Close" },

  viewer: {
    heading: "Viewer",
    slice: "Slice",
    attention: "Slice with attention",
    label: (name) => `${name}. Arrow keys pan, plus and minus zoom, 0 fits.`,
    modes: { slice: "Slice", attention: "Attention", both: "Both" },
    modesLabel: "What is shown",
    opacity: "Opacity",
    ofClass: "Attention for",
    legend: ["less", "more attention"],
    zoomIn: "Zoom in",
    zoomOut: "Zoom out",
    fit: "Fit to view",
    drawing: "Drawing the slice…",
    noPicture: "This file cannot be shown as a picture.",
    explaining: "Asking where the model looked…",
    noAttention: "There is no attention map for this slice.",
    busy: (detail) => `No attention map yet: ${detail}`,
    window: "Window",
    level: "Level",
    width: "Width",
    unit: { dicom: "HU", png16: "sample values" },
    presets: { lung: "Lung", mediastinum: "Mediastinum", bone: "Bone", reset: "As opened" },
    frame: "Frame",
    classifyFrame: (frame) => `Classify frame ${frame}`,
  },
  explanation: {
    "class-activation": "Class activation map",
    occlusion: "Occlusion map",
  },
  explanationNote: "Where the model looked. It says nothing about where a lesion is.",

  result: {
    heading: "Result",
    classifying: "The model looks at this slice…",
    waitingText: "This slice waits for its turn.",
    cancelledText: "You cancelled this slice.",
    confidence: (share) => `${percent(share)} probability`,
    point: (share) => `Operating point: ${percent(share)}`,
    because: (decision, share) => {
      const at = `the operating point for ${pointLabel(decision.operating_point)}, ${percent(decision.threshold)}`;
      const name = classLabel(decision.target_class).toLowerCase();
      if (decision.verdict === "uncertain") return `The probability of ${name}, ${percent(share)}, lies between what is ruled out and what is ruled in.`;
      return `The probability of ${name} is ${percent(share)}, ${decision.verdict === "positive" ? "at or above" : "below"} ${at}.`;
    },
    noRules: "This model carries no operating point: there is no decision, only probabilities.",
    probabilities: "Probabilities",
    set: "Cannot be ruled out",
    setText: (labels) => `${list(labels)}.`,
    setHint: (coverage) => `A set of classes that holds the right one for about ${percentOf.format(coverage)} of the slices of each class.`,
    warnings: "Keep in mind",
    olderVersion: (version) => `Version ${version} gave this answer; another version serves now.`,
    familiarity: "Is it like the training slices?",
    familiar: (score) => `At least as familiar as ${percent(score)} of the training slices.`,
    unfamiliar: "No: this slice is unlike those that the model was trained on.",
    noFigureHolds: "What this model says about how good it is does not hold for this slice.",
    score: (score, limit) => `It is as familiar as ${percent(score)} of the training slices; below ${percent(limit)} a slice is unfamiliar.`,
    refused: "Not classified",
    reasons: "Why",
    refusedText: "There is no answer, but the slice itself can be seen.",
    look: "Look at it all the same",
    file: "File",
    version: "Model",
    versionText: (version) => `version ${version}`,
    card: "Model card",
    request: "Request",
  },

  table: {
    heading: "All results",
    search: "Filter by file name",
    show: "Show",
    all: "Everything",
    unanswered: "Without an answer",
    columns: {
      name: "File", verdict: "Decision", prediction: "Most probable", confidence: "Probability", set: "Not ruled out", version: "Version", state: "State",
    },
    count: (shown, all) => (shown === all ? several(all, "slice", "slices") : `${integer(shown)} of ${several(all, "slice", "slices")}`),
    empty: "No results yet. Drop slices anywhere on this page.",
    none: "No slice fits this filter.",
    csv: "Export CSV",
    json: "Export JSON",
    decisions: "By decision",
    classes: "By most probable class",
  },

  model: {
    heading: (name, version) => `${name}, version ${version}`,
    none: "No model yet",
    noneText: "No valid model version is published. Train one with `python -m trainer run`; this page sees it by itself.",
    reading: "Reading the model…",
    serves: (since, engine, variant) =>
      `Serves since ${since}, run by ${engine}${variant ? `, as its variant ${variant}, whose figures these are` : ""}.`,
    what: (architecture, count, kind) => `A ${architecture} network, trained on ${several(count, kind, `${kind}s`)}.`,
    slice: "labelled slice",
    phantom: "drawn phantom",
    card: "Read the model card",
    results: "How good is it?",
    resultsText: (n, cases) => `Measured on ${several(n, "held-out slice", "held-out slices")}${cases ? ` of ${several(cases, "case", "cases")}` : ""}. Whiskers are 95% intervals.`,
    levels: "Figures are by slice; by case, each case weighs alike.",
    byCase: (value, low, high) => `by case ${decimals(value)} (${decimals(low)} to ${decimals(high)})`,
    optimistic: "Slices of one case may be on both sides of this split: these figures are too good to be true for new patients.",
    noMetrics: "This version says nothing about how good it is.",
    metrics: {
      accuracy: "Accuracy", balanced_accuracy: "Balanced accuracy", macro_f1: "Macro F1",
      brier: "Brier score (0 best, 2 worst)", ece: "Calibration error (0 best)",
    },
    ofTarget: { auc: "AUC", sensitivity_at_specificity_90: "Sensitivity at 90% specificity", sensitivity_at_specificity_95: "Sensitivity at 95% specificity" },
    target: (name) => `${name} against the rest`,
    recall: (name) => `Recall, ${name.toLowerCase()}`,
    interval: (low, high) => `${decimals(low)} to ${decimals(high)}`,
    instead: "What it could have learnt instead",
    shortcutsText: (chance) =>
      `What a small program tells about the class of new cases from one kind of number alone, without a look at the lungs. Chance is ${decimals(chance, 2)}; what lies above it is no knowledge of disease.`,
    shortcutColumns: ["From this alone", "Balanced accuracy"],
    thisModel: "this model",
    stress: "The same slices, as other scanners might show them",
    stressText: "Held-out slices as they are, and changed as other scanners, kernels, doses and windows might show them.",
    stressColumns: (views) => ["Figure", "As they are", ...views.map((name) => `View “${name}”`)],
    stressRows: {
      accuracy: "Accuracy", balanced_accuracy: "Balanced accuracy", sensitivity: "Sensitivity", specificity: "Specificity",
      flips: "Answers that flip",
    },
    confusion: "What was called what",
    confusionText: "Rows: what the slices are. Columns: what the model called them.",
    labelled: "Is",
    total: "Slices",
    calibration: "Do probabilities mean what they say?",
    calibrationText: (temperature, before, after) => `One temperature, ${decimals(temperature, 2)}, divides the logits. Calibration error ${decimals(before)} before, ${decimals(after)} after.`,
    noCalibration: "This version is not calibrated.",
    points: "Operating points",
    pointsText: (low, high) => `From ${percent(low)} to ${percent(high)} the verdict is “uncertain”.`,
    pointColumns: ["Name", "Threshold", "Sensitivity", "Specificity"],
    pointInForce: (name) => `${pointLabel(name)} (in force)`,
    pointName: pointLabel,
    sets: "Prediction sets",
    setsText: (coverage, size) =>
      `A set holds every class that cannot be ruled out. It is made to hold the right one for ${percent(coverage)} of each class's slices. On held-out slices a set has ${decimals(size, 2)} classes on average.`,
    setsMeasured: (shares) => `Share of held-out slices whose set held the right class: ${list(shares)}.`,
    share: (name, share) => `${name} ${percent(share)}`,
    familiarity: "Does it know what it sees?",
    familiarityText: "Each slice is compared with those that this version was trained on. Its score is the share of training slices that are as unlike the others, or more.",
    familiarityLimit: (limit) => `Below ${percent(limit)} a slice is unfamiliar: no figure on this page holds for it.`,
    figureColumns: ["Figure", "Value"],
    refusals: "What does it refuse?",
    refusalsText: "A picture that looks like no chest CT slice is refused. So many training slices would be, too: the less, the better.",
    refusedView: (name) => `refused of view “${name}”`,
    figureLabel: (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " "),
    licence: (said) => `Licence of the pretrained weights: ${said}`,
    training: "How it was trained",
    history: "Loss and accuracy by epoch",
    noHistory: "Its members were trained fold by fold; no single history describes them.",
    curves: { loss: "Loss", accuracy: "Accuracy", training: "training", validation: "held out" },
    kept: (epoch) => `kept: epoch ${epoch}`,
    epoch: "Epoch",
    trained: (seconds) => `${integer(Math.round(seconds))} s`,
    facts: {
      learning: "Learning", balance: "Balance", augmentation: "Augmentation", epochs: "Epochs", members: "Members", parameters: "Parameters",
      optimizer: "Optimizer", learning_rate: "Learning rate", batch_size: "Batch size",
    },
    seed: "Seed",
    duration: "Duration",
    split: "Split",
    figures: "Figures of the trainer",
    figure: (name) => name.replace(/^.*\//, "").replace(".png", "").replaceAll("_", " "),
    versions: "Versions",
    versionColumns: ["Version", "State"],
    versionServes: "serves",
    versionLoading: "is being loaded",
    versionPinned: "pinned",
    versionReady: "published",
    versionBad: (reason, isRetried) => `cannot be loaded: ${reason}${isRetried ? "; tried again" : ""}`,
    cardTitle: "Model card",
  },

  status: {
    asking: "Asking for the model…",
    serves: (version) => `Model version ${version}`,
    short: { ok: "ready", degraded: "degraded", unavailable: "not ready", unreachable: "offline", key: "key needed", asking: "…" },
    noModel: ["No model yet", "Slices that you add wait here and are classified as soon as a version is published."],
    loading: (version) => ["Loading the model", `Version ${version} is being checked and loaded. Slices that you add wait here meanwhile.`],
    unavailable: (reasons) => ["The service cannot answer now", `${reasons.join("; ")}.`],
    degraded: (reasons) => ["Answers come, but not all is as wanted", `${reasons.join("; ")}.`],
    unreachable: ["The service cannot be reached", "Nothing is lost: your slices wait here, and the page tries again by itself."],
    key: ["This service needs an API key", "It is kept in this tab only and sent to this service only."],
    keyWrong: ["This API key is not accepted", "Check it with whoever runs this service."],
    keyLabel: "API key",
    keySave: "Use key",
    keyForget: "Forget the API key",
    busy: (waiting) => ["The service is busy", `${several(waiting, "slice waits", "slices wait")} here; the service said when to try again.`],
    limited: (waiting) => ["You have reached your rate limit", `${several(waiting, "slice waits", "slices wait")} here; the service said when to try again.`],
    again: (seconds) => `Again in ${integer(seconds)} s`,
    tryNow: "Try now",
    changed: (version) => `Model version ${version} serves now.`,
  },
  docs: "API",
  skip: "Skip to content",
};
