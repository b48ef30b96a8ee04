// Documentation as text and as markdown. In: declarations with their doc comments. Out: text. The page docs/std.md is made of it
// (`npm run docs`), as is what `mdl doc` prints.
import { type Documented, type DocumentedFile, libraryModules } from "../core/index.ts";
import type { Style } from "./style.ts";

const oneLine = (text: string): string => text.replace(/\n\s*/g, " ");

/** The first sentence, for lists. */
const firstSentence = (doc: string | undefined): string =>
  oneLine(/^[\s\S]*?[^.][.](?=\s|$)/.exec(doc ?? "")?.[0] ?? doc ?? "");

/** Paragraphs that were wrapped for a source, wrapped for a terminal; what is indented stays as it is. */
function wrapped(doc: string, indent: string, width: number): string[] {
  const out: string[] = [];
  for (const paragraph of doc.split(/\n\s*\n/)) {
    if (out.length > 0) out.push("");
    if (/^\s/.test(paragraph)) {
      out.push(...paragraph.split("\n").map((line) => indent + line));
      continue;
    }
    let line = "";
    for (const word of oneLine(paragraph).split(" ")) {
      if (line !== "" && indent.length + line.length + word.length >= width) {
        out.push(indent + line);
        line = "";
      }
      line += line === "" ? word : ` ${word}`;
    }
    out.push(indent + line);
  }
  return out;
}

// ------------------------------------------------------------------------------------------------- text

export function fileText({ doc, items }: DocumentedFile, name: string, style: Style): string {
  const lines = [style.bold(name), ...(doc ? wrapped(doc, "  ", 100) : [])];
  let part: string | undefined;
  for (const item of items) {
    if (item.part !== part) {
      part = item.part;
      lines.push("", style.bold(part ?? ""));
    }
    lines.push("", ...itemText(item, style));
  }
  return `${lines.join("\n")}\n`;
}

/** One declaration with all that it has. */
export function itemText(item: Documented, style: Style): string[] {
  const named = (d: Documented): string => oneLine(d.signature).replace(d.name, style.cyan(d.name));
  const lines = [`${style.dim(item.kind)} ${named(item)}`];
  if (item.doc) lines.push(...wrapped(item.doc, "    ", 100));
  for (const m of item.members) {
    if (m.kind === "member" && !m.doc) continue;
    lines.push(`  ${style.dim(m.kind === "member" ? "has" : m.kind)} ${named(m)}`);
    if (m.doc) lines.push(...wrapped(m.doc, "      ", 100));
  }
  return lines;
}

/** A line a declaration. */
export function listText({ doc, items }: DocumentedFile, name: string, style: Style): string {
  const widest = Math.max(0, ...items.map((i) => i.name.length));
  const rows = items.map(
    (i) => `  ${style.cyan(i.name)}${" ".repeat(widest - i.name.length)}  ${style.dim(firstSentence(i.doc))}`,
  );
  return `${[`${style.bold(name)}  ${firstSentence(doc)}`, ...rows].join("\n").trimEnd()}\n`;
}

// --------------------------------------------------------------------------------------------- markdown

/** `level` is that of the file's own heading. */
export function fileMarkdown({ doc, items }: DocumentedFile, name: string, level = 1): string {
  const parts = [`${"#".repeat(level)} ${name}`, ...(doc ? [paragraphs(doc)] : [])];
  let part: string | undefined;
  for (const item of items) {
    if (item.part !== part) {
      part = item.part;
      if (part) parts.push(`${"#".repeat(level + 1)} ${part[0].toUpperCase()}${part.slice(1)}`);
    }
    parts.push(itemMarkdown(item));
  }
  return `${parts.join("\n\n")}\n`;
}

/** What is indented in a doc comment is code. */
const paragraphs = (doc: string): string =>
  doc
    .split(/\n\s*\n/)
    .map((p) => (/^\s/.test(p) ? `\`\`\`text\n${p}\n\`\`\`` : oneLine(p)))
    .join("\n\n");

export function itemMarkdown(item: Documented): string {
  const members = item.members.filter((m) => m.kind !== "member" || m.doc);
  const list = members.map((m) => {
    const kind = m.kind === "member" ? "" : `${m.kind} `;
    return `- ${kind}\`${oneLine(m.signature)}\`${m.doc ? `: ${oneLine(m.doc)}` : ""}`;
  });
  return [
    `**${item.kind} \`${oneLine(item.signature)}\`**`,
    ...(item.doc ? [paragraphs(item.doc)] : []),
    ...(list.length ? [list.join("\n")] : []),
  ].join("\n\n");
}

/** docs/std.md: the library as it is now. */
export function stdPage(): string {
  const modules = libraryModules().map(([name, file]) => fileMarkdown(file, name, 2));
  return [
    "# The standard library",
    "",
    "Written by `npm run docs` from the doc comments of `compiler/core/std` and the table of initialisers; do not edit. `mdl doc NAME` prints the same of one name, `mdl ops NAME` its source.",
    "",
    modules.join("\n"),
  ].join("\n");
}
