// All results as a file, made in the browser.

const FORMULA = /^[=+\-@\t\r]/; // what a spreadsheet would run

/** One plain object for each slice, in order. */
export function records(slices) {
  return slices.map(({ name, frame, state, answer, problem }) => ({
    file: name,
    frame,
    state,
    ...(answer ? { result: answer } : {}),
    ...(problem ? { problem: { type: problem.kind, title: problem.title, detail: problem.message, reasons: problem.reasons } } : {}),
  }));
}

export function json(slices) {
  return new Blob([JSON.stringify(records(slices), null, 2)], { type: "application/json" });
}

/** RFC 4180, UTF-8 with a mark that spreadsheets need; a column for each class's probability. */
export function csv(slices) {
  const classes = [...new Set(slices.flatMap(({ answer }) => Object.keys(answer?.all_predictions ?? {})))];
  const header = ["file", "frame", "state", "prediction", "confidence", ...classes, "verdict", "operating_point", "threshold",
    "prediction_set", "model_version", "request_id", "warnings", "problem", "decision_reason", "familiarity_score", "is_familiar",
    "familiarity_reasons"];
  const rows = slices.map(({ name, frame, state, answer, problem }) => [
    name, frame, state, answer?.prediction, answer?.confidence, ...classes.map((one) => answer?.all_predictions[one]),
    answer?.decision?.verdict, answer?.decision?.operating_point, answer?.decision?.threshold,
    answer?.prediction_set?.join("; "), answer?.model_version, answer?.request_id, answer?.warnings.join(" "),
    problem && [problem.message, ...problem.reasons].join(" "),
    answer?.decision?.reason, answer?.familiarity?.score, answer?.familiarity?.is_familiar, answer?.familiarity?.reasons.join(" "),
  ]);
  const lines = [header, ...rows].map((row) => row.map(cell).join(","));
  return new Blob([`\ufeff${lines.join("\r\n")}\r\n`], { type: "text/csv;charset=utf-8" });
}

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const harmless = FORMULA.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
