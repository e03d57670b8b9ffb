// Puts the parts together.

import { ask, upload, withQuery } from "./api.js";
import { find, h, oncePerFrame } from "./dom.js";
import { watchIntake } from "./intake.js";
import { List } from "./list.js";
import { isOpen, Queue } from "./queue.js";
import { Result } from "./result.js";
import { Slice } from "./slice.js";
import { Status } from "./status.js";
import { text } from "./strings.js";
import { Table } from "./table.js";
import { Viewer } from "./viewer.js";

const AT_A_TIME = 25; // slices that are added in one task: two hundred at once never freeze the page
const PHANTOMS = [
  ["normal", "normal-001"], ["normal", "normal-002"], ["benign", "benign-003"],
  ["benign", "benign-004"], ["malignant", "malignant-005"], ["malignant", "malignant-006"],
];
const VIEWS = ["slices", "table", "model"];

const queue = new Queue((slice, events) => upload(withQuery("predict", { frame: slice.frame }), slice.file, events));
const status = new Status(queue);
const list = new List(queue, choose);
const table = new Table(queue, (slice) => {
  choose(slice);
  location.hash = "slices";
});
const result = new Result(queue, () => status.info);
const viewer = new Viewer(queue);
let chosen = null;

/** The slice that the viewer and the result show. */
function choose(slice) {
  chosen = slice;
  list.choose(slice);
  result.show(slice);
  viewer.show(slice);
}

async function add(files) {
  for (let at = 0; at < files.length; at += AT_A_TIME) {
    const slices = files.slice(at, at + AT_A_TIME).map(({ file, path }) => new Slice(file, path));
    queue.add(slices);
    if (!chosen) choose(slices[0]);
    location.hash ||= "slices";
    await new Promise((resolve) => setTimeout(resolve));
  }
}

// --- what changes -------------------------------------------------------------------------------------------------------

const drawQueue = oncePerFrame(() => {
  const { slices } = queue, open = slices.filter(isOpen).length, done = slices.length - open;
  find("empty").hidden = slices.length > 0;
  find("workspace").hidden = slices.length === 0;
  find("queue-text").textContent = text.queue.progress(done, slices.length);
  find("queue-progress").value = slices.length ? done / slices.length : 0;
  find("queue-progress").hidden = open === 0;
  find("cancel-all").hidden = open === 0;
  find("retry-all").hidden = !slices.some(lacksAnswer);
  find("clear").hidden = slices.length < 2;
  document.querySelector("[data-view=table]").textContent = text.viewCount(text.views.table, slices.length);
});
const lacksAnswer = (slice) => ["failed", "refused", "cancelled"].includes(slice.state);

queue.addEventListener("change", ({ detail: slice }) => {
  drawQueue();
  if (slice !== chosen) return;
  if (slice.state === "removed") choose(queue.slices[0] ?? null);
  else {
    result.show(slice);
    if (slice.state === "answered" || slice.state === "waiting") viewer.show(slice);
  }
});

status.addEventListener("model", async ({ detail: info }) => {
  find("ledger").hidden = !info.ledger;
  offerPhantoms(info.manifest?.dataset.kind === "phantoms");
  result.show(chosen);
  drawModel();
});

async function drawModel() {
  if (find("view-model").hidden) return;
  const { showModel } = await import("./model.js");
  showModel(status.info);
}

function offerPhantoms(isDemo) {
  find("phantoms").hidden = !isDemo;
  if (!isDemo || find("phantom-list").children.length) return;
  find("phantom-list").replaceChildren(...PHANTOMS.map(([kind, name]) => {
    const address = `static/phantoms/${name}.jpg`;
    const image = h("img", { src: address, alt: "", width: 96, height: 96, loading: "lazy", decoding: "async" });
    return h("li", {}, h("button", { type: "button", "aria-label": text.empty.phantom(kind), onclick: () => tryPhantom(address, name) }, image, h("span", {}, kind)));
  }));
}

async function tryPhantom(address, name) {
  const content = await (await ask(address)).blob();
  add([{ file: new File([content], `${name}.jpg`, { type: content.type }), path: `${name}.jpg` }]);
}

// --- views and theme ----------------------------------------------------------------------------------------------------

function showView() {
  const view = VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "slices";
  for (const name of VIEWS) {
    find(`view-${name}`).hidden = name !== view;
    const link = document.querySelector(`[data-view=${name}]`);
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  table.redraw();
  drawModel();
}

const THEMES = ["auto", "dark", "light"];

function setTheme(theme) {
  if (theme === "auto") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("lungct-theme");
  } else {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("lungct-theme", theme);
  }
  find("theme").setAttribute("aria-label", text.theme[theme]);
  find("theme").title = text.theme[theme];
}

const theme = () => document.documentElement.dataset.theme ?? "auto";

/** "queue.add" → text.queue.add */
const say = (path) => path.split(".").reduce((words, name) => words[name], text);

for (const element of document.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label));
for (const name of VIEWS) document.querySelector(`[data-view=${name}]`).textContent = text.views[name];
find("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]));
for (const button of document.querySelectorAll(".choose")) button.addEventListener("click", () => find("file").click());
find("cancel-all").addEventListener("click", () => queue.slices.filter(isOpen).forEach((slice) => queue.cancel(slice)));
find("retry-all").addEventListener("click", () => queue.slices.filter(lacksAnswer).forEach((slice) => queue.retry(slice)));
find("clear").addEventListener("click", () => [...queue.slices].forEach((slice) => queue.remove(slice)));
addEventListener("hashchange", showView);
addEventListener("beforeunload", (event) => queue.slices.some(isOpen) && event.preventDefault());

if (innerWidth < 1200) document.querySelector("input[name=mode][value=attention]").checked = true; // no room for both
setTheme(theme());
status.draw();
showView();
watchIntake(add);
status.look();
