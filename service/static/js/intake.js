// Files that come in: dropped (folders too), pasted or chosen.

import { find } from "./dom.js";

/** Calls onFiles([{file, path}]) whenever a person hands files over. */
export function watchIntake(onFiles) {
  const input = find("file");
  input.addEventListener("change", () => {
    onFiles([...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
    input.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    onFiles(files.map((file) => ({ file, path: file.name })));
  });
  watchDrops(onFiles);
}

function watchDrops(onFiles) {
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const show = (isOver) => document.body.classList.toggle("is-dropping", isOver);
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    show(true);
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) show(false);
  });
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(false);
    // entries are only there while the event is: taken now, read later
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
    const files = [...event.dataTransfer.files];
    const hasFolder = entries.some((entry) => entry?.isDirectory);
    onFiles(hasFolder ? await inFolders(entries) : files.map((file) => ({ file, path: file.name })));
  });
}

async function inFolders(entries) {
  const found = [];
  for (const entry of entries) {
    if (entry?.isFile) found.push({ file: await fileOf(entry), path: entry.fullPath.slice(1) });
    else if (entry?.isDirectory) found.push(...(await inFolders(await childrenOf(entry))));
  }
  return found.filter(({ file }) => !file.name.startsWith(".")); // .DS_Store is nobody's slice
}

const fileOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));

async function childrenOf(folder) {
  const reader = folder.createReader(), all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // 100 at a time
    if (!some.length) return all.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    all.push(...some);
  }
}
