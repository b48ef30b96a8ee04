// Putting foreign text into JavaScript and TypeScript: names, comments and kernel texts may hold anything an author wrote,
// and must stay what they are. In: strings and data. Out: source text.

/** One line for a comment, also where the text stands in an HTML script element. */
export const oneLine = (text: string): string =>
  text.replace(/[\p{Cc}\u2028\u2029]+/gu, " ").replace(/<(?=[/!])/g, "< ");

/** Lines of a `//` comment. */
export const lineComment = (text: string): string =>
  text
    .split(/\r\n|[\r\n\u2028\u2029]/)
    .map((line) => `// ${oneLine(line)}`.trimEnd())
    .join("\n");

/** A JSDoc comment. */
export function docComment(lines: readonly string[], indent = ""): string {
  const safe = lines
    .flatMap((text) => text.split(/\r\n|[\r\n\u2028\u2029]/))
    .map((line) => oneLine(line).replaceAll("*/", "*\\/").trimEnd());
  while (safe.length && safe[safe.length - 1] === "") safe.pop();
  if (safe.length === 0) return "";
  if (safe.length === 1) return `${indent}/** ${safe[0]} */\n`;
  return `${indent}/**\n${safe.map((line) => `${indent} * ${line}`.trimEnd()).join("\n")}\n${indent} */\n`;
}

/**
 * A string literal. `<` before `/` or `!` is written so that the text may stand in an HTML script element; the line
 * separators so that no tool stumbles.
 */
export const quote = (text: string): string =>
  JSON.stringify(text)
    .replace(/<(?=[/!])/g, "\\u003c")
    .replaceAll("\u2028", "\\u2028")
    .replaceAll("\u2029", "\\u2029");

/** A template literal that reads as the text it holds. */
export function template(text: string): string {
  const safe = text
    .replace(/[\\`]|\$(?=\{)/g, "\\$&")
    // A template would turn \r into \n; other control characters are only hard to see.
    .replace(/[^\n\t\x20-\x7e\u00a0-\u2027\u202a-\ud7ff\ue000-\ufffd]/g, (c) => `\\u${hex(c)}`)
    .replace(/<(?=[/!])/g, "<\\");
  return `\`${safe}\``;
}
const hex = (c: string): string => c.charCodeAt(0).toString(16).padStart(4, "0");

/** A property name, quoted where it has to be. */
export const key = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : quote(name));

/** Wide enough for a dispatch on one line. */
const WIDTH = 400;

/** Data as an expression: one line where it fits, else one line an element. */
export function data(value: unknown, indent = ""): string {
  const flat = flatData(value);
  if (flat.length + indent.length <= WIDTH || value === null || typeof value !== "object") return flat;
  const inner = `${indent} `;
  if (Array.isArray(value)) {
    // Tables of numbers and names run on, so that they do not take a line an element.
    if (value.every((v) => v === null || typeof v !== "object")) return flat;
    return `[\n${value.map((v) => inner + data(v, inner)).join(",\n")},\n${indent}]`;
  }
  const rows = fields(value).map(([name, v]) => `${inner}${property(name)}: ${data(v, inner)}`);
  return `{\n${rows.join(",\n")},\n${indent}}`;
}

/** On one line; `gap` stands between its parts. */
export function flatData(value: unknown, gap = " "): string {
  if (typeof value === "string") return quote(value);
  if (value === null || typeof value !== "object") {
    // JSON has no infinity, and a padding value may be one.
    return typeof value === "number" ? (Object.is(value, -0) ? "-0" : String(value)) : JSON.stringify(value);
  }
  const inner = (v: unknown): string => flatData(v, gap);
  if (Array.isArray(value)) return `[${value.map(inner).join(`,${gap}`)}]`;
  const parts = fields(value).map(([name, v]) => `${property(name)}:${gap}${inner(v)}`);
  return `{${gap}${parts.join(`,${gap}`)}${gap}}`;
}

const fields = (value: object): [string, unknown][] =>
  Object.entries(value).filter(([, v]) => v !== undefined);
/** `__proto__: x` would set the prototype; computed, it is a name like another. */
const property = (name: string): string => (name === "__proto__" ? '["__proto__"]' : key(name));
