// A model card's Markdown as elements: headings, paragraphs, lists, tables, bold and code, which is all that the trainer writes.

import { h } from "./dom.js";

/** Elements of a card; headings begin at level 3, because the page's own come before. */
export function cardElements(markdown) {
  return markdown.replaceAll("\r\n", "\n").split(/\n{2,}/).map((block) => block.trim()).filter(Boolean).map(element);
}

function element(block) {
  const lines = block.split("\n");
  const [, marks, title] = /^(#{1,4}) (.*)$/.exec(lines[0]) ?? [];
  if (marks && lines.length === 1) return h(`h${Math.min(6, marks.length + 2)}`, {}, ...inline(title));
  if (lines.every((line) => line.startsWith("- "))) return h("ul", {}, lines.map((line) => h("li", {}, ...inline(line.slice(2)))));
  if (lines.length > 1 && lines.every((line) => line.startsWith("|"))) return table(lines);
  return h("p", {}, ...inline(lines.join(" ")));
}

function table([head, , ...body]) {
  const cells = (line) => line.split("|").slice(1, -1).map((cell) => cell.trim());
  const [first, ...others] = cells(head);
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": others.join(", ") },
    h("table", {},
      h("thead", {}, h("tr", {}, first ? h("th", { scope: "col" }, first) : h("td"), others.map((cell) => h("th", { scope: "col" }, ...inline(cell))))),
      h("tbody", {}, body.map((line) => {
        const [name, ...values] = cells(line);
        return h("tr", {}, h("th", { scope: "row" }, ...inline(name)), values.map((cell) => h("td", {}, ...inline(cell))));
      }))));
}

function inline(words) {
  return words.split(/(\*\*[^*]+\*\*|`[^`]+`)/).map((part) => {
    if (part.startsWith("**")) return h("strong", {}, part.slice(2, -2));
    return part.startsWith("`") ? h("code", {}, part.slice(1, -1)) : part;
  });
}
