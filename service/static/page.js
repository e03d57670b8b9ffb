"use strict";

const form = document.getElementById("form");
const state = document.getElementById("state");
const answer = document.getElementById("answer");

function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function showModel() {
  try {
    const info = await (await fetch("model-info")).json();
    state.textContent = info.model_version === null
      ? "No model is published yet; this page looks again by itself."
      : `Model version ${info.model_version} answers.`;
    for (const warning of info.warnings.slice(1)) state.append(element("p", warning, "warning"));
    if (info.model_version === null) setTimeout(showModel, 2000);
  } catch {
    state.textContent = "The service cannot be reached.";
  }
}

function showPrediction(prediction) {
  answer.append(element("h2", prediction.prediction));
  for (const [name, probability] of Object.entries(prediction.all_predictions)) {
    const row = element("div", "", "row");
    const bar = document.createElement("progress");
    bar.max = 1;
    bar.value = probability;
    bar.setAttribute("aria-label", name);
    row.append(element("span", name), bar, element("span", `${(100 * probability).toFixed(1)} %`, "number"));
    answer.append(row);
  }
  for (const warning of prediction.warnings) answer.append(element("p", warning, "warning"));
  answer.append(element("p", `Model version ${prediction.model_version}, request ${prediction.request_id}`));
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  answer.replaceChildren(element("p", "Classifying…"));
  try {
    const response = await fetch("predict", { method: "POST", body: new FormData(form) });
    const body = await response.json();
    answer.replaceChildren();
    if (response.ok) showPrediction(body);
    else answer.append(element("p", `${body.title}: ${body.detail}`, "problem"));
  } catch {
    answer.replaceChildren(element("p", "The service cannot be reached.", "problem"));
  } finally {
    button.disabled = false;
  }
});

showModel();
