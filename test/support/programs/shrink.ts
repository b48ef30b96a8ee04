// Makes a failing program small: cuts and replacements in its syntax tree, as long as it passes the checker and fails in the
// same way. In: a source and a question. Out: the smallest source found. It knows nothing of how the program was made, so it
// shrinks a person's program as well.
import { parse } from "../../../compiler/core/phases/1-parse/parse.ts";

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}
interface Node {
  readonly kind: string;
  readonly span: { readonly start: number; readonly end: number };
}
const isNode = (x: unknown): x is Node =>
  typeof x === "object" &&
  x !== null &&
  typeof (x as Node).kind === "string" &&
  (x as Node).span !== undefined;

/** Nodes directly below, arguments and the like seen through. */
function childrenOf(node: Node): Node[] {
  const out: Node[] = [];
  const visit = (x: unknown): void => {
    if (isNode(x)) out.push(x);
    else if (Array.isArray(x)) x.forEach(visit);
  };
  for (const [key, value] of Object.entries(node)) if (key !== "span" && key !== "trivia") visit(value);
  return out;
}
/** Lists whose members may go, each with what separates it. */
function listsOf(node: Node): Node[][] {
  return Object.entries(node).flatMap(([key, value]) =>
    key !== "trivia" && Array.isArray(value) && value.every(isNode) && value.length > 0
      ? [value as Node[]]
      : [],
  );
}
const REPLACED = new Set([
  "call",
  "binary",
  "unary",
  "index",
  "member",
  "if",
  "for",
  "scan",
  "list",
  "tuple",
  "record",
  "paren",
]);
const PIECES = new Set(["name", "int", "float", ...REPLACED]);

function cut(source: string, node: Node): Edit {
  let { start, end } = node.span;
  const after = /^\s*,\s*/.exec(source.slice(end));
  const before = /,\s*$/.exec(source.slice(0, start));
  if (after) end += after[0].length;
  else if (before) start -= before[0].length;
  return { start, end, text: "" };
}

/** Edits that make it shorter, large ones first. */
function edits(source: string): Edit[] {
  const out: Edit[] = [];
  const add = (e: Edit): void => {
    if (e.text.length < e.end - e.start) out.push(e);
  };
  const visit = (node: Node): void => {
    for (const list of listsOf(node)) for (const member of list) add(cut(source, member));
    const children = childrenOf(node);
    if (REPLACED.has(node.kind)) {
      const pieces = children.flatMap((c) =>
        PIECES.has(c.kind) ? [c] : childrenOf(c).filter((d) => PIECES.has(d.kind)),
      );
      for (const p of pieces) {
        const text = source.slice(p.span.start, p.span.end);
        add({
          start: node.span.start,
          end: node.span.end,
          text: p.kind === "binary" || p.kind === "unary" ? `(${text})` : text,
        });
      }
      if (node.kind !== "list" && node.kind !== "tuple")
        add({ start: node.span.start, end: node.span.end, text: "0.5" });
    }
    children.forEach(visit);
  };
  visit(parse(source, "shrink.mdl").ast as unknown as Node);
  // Sizes are shrunk, too.
  const sizes = /^\/\/ sizes [^;\n]*(;[^\n]*)?/m.exec(source);
  if (sizes?.[1]) {
    const at = sizes.index + sizes[0].length - sizes[1].length;
    out.push({ start: at, end: at + sizes[1].length, text: "" });
    out.push({
      start: sizes.index,
      end: sizes.index + sizes[0].length,
      text: `// sizes${sizes[1].slice(1)}`,
    });
  }
  const length = (e: Edit): number => e.end - e.start - e.text.length;
  return out.sort((a, b) => length(b) - length(a));
}

/** Without lines that hold nothing. */
const tidy = (source: string): string =>
  source
    .replace(/[ \t]+$/gm, "")
    .replace(/\n{3,}/g, "\n\n")
    .replace(/\n\s*\n(\s*\})/g, "\n$1");

export async function shrink(
  source: string,
  fails: (source: string) => Promise<boolean>,
  seconds = 180,
): Promise<string> {
  const end = Date.now() + seconds * 1000;
  let best = source;
  const tried = new Set<string>();
  for (let progress = true; progress && Date.now() < end; ) {
    progress = false;
    for (const e of edits(best)) {
      if (Date.now() > end) break;
      const text = tidy(best.slice(0, e.start) + e.text + best.slice(e.end));
      if (tried.has(text)) continue;
      tried.add(text);
      if (await fails(text)) {
        best = text;
        progress = true;
        break;
      }
    }
  }
  return best;
}
