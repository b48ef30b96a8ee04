// What a file of declarations is for, from its doc comments: for `mdl doc`, docs/std.md and editors. In: a source. Out: its
// declarations as data, in the order of the text. Nothing is checked: a file that parses can be documented.
import { type Diagnostic, MdlError, type Span } from "./diagnostics/index.ts";
import { parse } from "./phases/1-parse/parse.ts";
import { printExpr, printParam, printType } from "./phases/1-parse/print.ts";
import type * as ast from "./syntax/ast.ts";

export interface Documented {
  readonly kind:
    | "layer"
    | "model"
    | "optimizer"
    | "fn"
    | "op"
    | "initialiser"
    | "train"
    | "param"
    | "buffer"
    | "member"
    | "constant";
  readonly name: string;
  /** As it is called or declared: `Linear(cin: int, cout: int, bias: bool = true)`. */
  readonly signature: string;
  readonly doc?: string;
  readonly span: Span;
  /** The heading comment above it, where the file is in parts (`// ---- pooling`). */
  readonly part?: string;
  /** Of layers and models: parameters, buffers, instances and fns, in their order. */
  readonly members: readonly Documented[];
}

export interface DocumentedFile {
  /** The comment that the file begins with. */
  readonly doc?: string;
  readonly items: readonly Documented[];
}

/** Throws MdlError for what does not parse. */
export function documented(source: string, file: string): DocumentedFile {
  const { ast: tree, diagnostics } = parse(source, file);
  if (diagnostics.some((d: Diagnostic) => d.severity === "error")) throw new MdlError(diagnostics);
  let part: string | undefined;
  const items = tree.items.flatMap((item): Documented[] => {
    const leading = item.trivia?.leading ?? [];
    for (const c of leading) part = /^ -{4,} *(.+?) *$/.exec(c.text)?.[1] ?? part;
    const one = documentedItem(item);
    return one ? [{ ...one, ...(part === undefined ? {} : { part }) }] : [];
  });
  // Above the first declaration with a blank line between, or above the imports.
  const doc = (tree.items[0]?.trivia?.leading ?? [])
    .filter((c) => c.text.startsWith("/"))
    .map((c) => c.text.slice(1).replace(/^ /, ""));
  return { ...(doc.length === 0 ? {} : { doc: doc.join("\n") }), items };
}

const made = (
  kind: Documented["kind"],
  name: string,
  signature: string,
  node: { readonly doc?: string; readonly span: Span },
  members: readonly Documented[] = [],
): Documented => ({
  kind,
  name,
  signature,
  span: node.span,
  ...(node.doc === undefined ? {} : { doc: node.doc }),
  members,
});

function documentedItem(item: ast.Item): Documented | undefined {
  switch (item.kind) {
    case "layer":
    case "model":
    case "optimizer":
      return made(
        item.kind,
        item.name.name,
        `${item.name.name}${paramsText(item.params, true)}`,
        item,
        item.members.flatMap(memberOf),
      );
    case "fn":
    case "op":
      return made(item.kind, item.name.name, fnText(item), item);
    case "train":
      return made("train", item.name.name, `${item.name.name} for ${item.model.name}`, item);
    case "bind":
      return made("constant", item.name.name, `${item.name.name} = ${printExpr(item.value)}`, item);
    default:
      return undefined;
  }
}

function memberOf(m: ast.Member): Documented[] {
  switch (m.kind) {
    case "param_decl":
    case "buffer_decl": {
      const when = m.when ? ` if ${printExpr(m.when)}` : "";
      const init = m.init ? ` = ${printExpr(m.init)}` : "";
      if (m.kind === "buffer_decl" && m.private) return [];
      const kind = m.kind === "param_decl" ? "param" : "buffer";
      return [made(kind, m.name.name, `${m.name.name}: ${printType(m.type)}${init}${when}`, m)];
    }
    case "bind":
      return [made("member", m.name.name, `${m.name.name} = ${printExpr(m.value)}`, m)];
    case "fn":
      return m.private ? [] : [made("fn", m.name.name, fnText(m), m)];
    default:
      return [];
  }
}

function paramsText(params: readonly ast.Param[], mayBeNone = false): string {
  if (mayBeNone && params.length === 0) return "";
  return `(${params.map(printParam).join(", ")})`;
}

const fnText = (node: ast.FnDecl | ast.OpDecl): string =>
  `${node.name.name}${paramsText(node.params)}${node.result ? ` -> ${printType(node.result)}` : ""}`;
