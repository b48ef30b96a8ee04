/**
 * Comments and blank lines, put where they belong in the tree. In: the tree, the text and the comment tokens.
 * Out: the same tree with `trivia` and `doc` fields. Separate from the grammar, which never sees a comment.
 *
 * A comment belongs to an element of a list of some kind: an item, member, clause or statement, an argument,
 * a parameter, an element of a list, tuple or record, an operand of a chain. It trails the element that ends
 * on its line, else leads the next one, else is the list's own (`inner`). A comment anywhere else leads the
 * element it is in. No comment is ever lost.
 *
 * `///` lines directly above a declaration are its doc; anywhere else they are comments like others.
 */
import type { IToken } from "chevrotain";
import { LineMap } from "../../diagnostics/span.ts";
import type { BinaryExpr, Comment, Expr, Node, SourceFile, Trivia } from "../../syntax/ast.ts";
import { childrenOf } from "../../syntax/walk.ts";
import { compareLevel, levelOf, powerLevel } from "./expressions.ts";
import { tokenEnd } from "./tokens.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Building = {
  leading: Comment[];
  inner: Comment[];
  trailing?: Comment;
  blankBefore: boolean;
};

/** Declarations that `///` lines directly above them document. */
export const documented: ReadonlySet<string> = new Set([
  "layer",
  "model",
  "optimizer",
  "fn",
  "op",
  "train",
  "param_decl",
  "buffer_decl",
  "bind",
]);

export function attachTrivia(root: SourceFile, text: string, comments: readonly IToken[]): SourceFile {
  const attacher = new Attacher(text, root.span.file);
  for (const token of comments) attacher.place(root, attacher.comment(token));
  attacher.finish(root);
  return root;
}

class Attacher {
  private readonly text: string;
  private readonly file: string;
  private readonly lines: LineMap;
  private readonly slots = new Map<Node, Node[]>();
  private readonly children = new Map<Node, Node[]>();
  private readonly built = new Map<Node, Building>();
  /** Expressions that end a block. */
  private readonly results = new Set<Node>();

  constructor(text: string, file: string) {
    this.text = text;
    this.file = file;
    this.lines = new LineMap(text);
  }

  comment(token: IToken): Comment {
    return {
      text: token.image.slice(2).trimEnd(),
      span: { file: this.file, start: token.startOffset, end: tokenEnd(token) },
      blankBefore: this.blankBefore(token.startOffset),
    };
  }

  /** False where neither the node nor anything in it has room for the comment. */
  place(node: Node, comment: Comment): boolean {
    const { start } = comment.span;
    const around = nearest(this.childrenOf(node), start).inside;
    const slots = this.slotsOf(node);
    if (around !== undefined) {
      if (this.place(around, comment)) return true;
      if (slots === undefined || !slots.includes(around)) return false;
      this.of(around).leading.push(comment);
      return true;
    }
    if (slots === undefined) return false;
    const { before, after } = nearest(slots, start);
    if (before !== undefined && this.trails(before, start)) {
      // One line has one comment, so there is none yet.
      this.of(before).trailing = comment;
    } else if (after !== undefined) this.of(after).leading.push(comment);
    // Behind the parameters of a fn there is no list to hold it.
    else if (node.kind === "fn" || node.kind === "fn_expr" || node.kind === "op") return false;
    else this.of(node).inner.push(comment);
    return true;
  }

  private trails(before: Node, start: number): boolean {
    if (this.lineOf(before.span.end) !== this.lineOf(start)) return false;
    // Behind the brace that follows a list of parameters a comment is the body's.
    return before.kind !== "param" || !this.text.slice(before.span.end, start).includes("{");
  }

  /** Docs, blank lines, and everything onto the nodes. */
  finish(node: Node): void {
    this.keepLines(node);
    const own = this.built.get(node);
    let start = node.span.start;
    if (documented.has(node.kind) && own !== undefined) {
      const doc = this.takeDoc(own, start);
      if (doc.length > 0) {
        start = doc[0].span.start;
        (node as { doc?: string }).doc = doc.map((c) => c.text.slice(1).replace(/^ /, "")).join("\n");
      }
    }
    const isLine = lineKinds.has(node.kind) || this.results.has(node);
    const blankBefore = isLine && this.blankBefore(start);
    if (own !== undefined || blankBefore) {
      const { leading, inner, trailing } = own ?? { leading: [], inner: [], trailing: undefined };
      if (leading.length > 0 || inner.length > 0 || trailing !== undefined || blankBefore) {
        const trivia: Mutable<Trivia> = { leading, inner, blankBefore };
        if (trailing !== undefined) trivia.trailing = trailing;
        (node as { trivia?: Trivia }).trivia = trivia;
      }
    }
    if (node.kind === "block" && node.result !== undefined) this.results.add(node.result);
    for (const child of this.childrenOf(node)) this.finish(child);
  }

  /** Where the author chose between one line and several, the tree says which. */
  private keepLines(node: Node): void {
    const { start, end } = node.span;
    if (ONE_LINE.has(node.kind)) {
      if (this.lineOf(start) === this.lineOf(end)) (node as { oneLine?: boolean }).oneLine = true;
    } else if (node.kind === "pipe") {
      if (this.lineOf(node.left.span.end) !== this.lineOf(node.right.span.start))
        (node as { newLine?: boolean }).newLine = true;
    }
  }

  /** The run of doc comments that ends on the line above the node, removed from its leading comments. */
  private takeDoc(own: Building, start: number): Comment[] {
    let from = own.leading.length;
    let next = this.lineOf(start);
    while (from > 0) {
      const comment = own.leading[from - 1];
      if (!/^\/(?!\/)/.test(comment.text) || this.lineOf(comment.span.start) !== next - 1) break;
      next--;
      from--;
    }
    return own.leading.splice(from);
  }

  private of(node: Node): Building {
    let own = this.built.get(node);
    if (own === undefined) {
      own = { leading: [], inner: [], blankBefore: false };
      this.built.set(node, own);
    }
    return own;
  }

  private childrenOf(node: Node): Node[] {
    let list = this.children.get(node);
    if (list === undefined) {
      list = childrenOf(node);
      this.children.set(node, list);
    }
    return list;
  }

  private slotsOf(node: Node): Node[] | undefined {
    let list = this.slots.get(node);
    if (list === undefined) {
      const found = slotsOf(node);
      if (found === undefined) return undefined;
      list = found;
      this.slots.set(node, list);
    }
    return list;
  }

  private lineOf(offset: number): number {
    return this.lines.position(offset).line;
  }

  /** Whether the line above is blank; the first line of a file or block never has one. */
  private blankBefore(offset: number): boolean {
    let newlines = 0;
    for (let i = offset - 1; i >= 0; i--) {
      const c = this.text[i];
      if (c === "\n" || (c === "\r" && this.text[i + 1] !== "\n")) newlines++;
      else if (c === "{") return false;
      else if (c !== " " && c !== "\t" && c !== "\r") return newlines > 1;
    }
    return false;
  }
}

/** Whose author chose between one line and several. */
const ONE_LINE = new Set<Node["kind"]>(["layer", "model", "optimizer", "train"]);

/** What stands on a line of its own, beside the expressions that end blocks. */
const lineKinds = new Set<Node["kind"]>([
  ...(["import", "layer", "model", "optimizer", "fn", "op", "train", "bind", "bind_tuple", "tie"] as const),
  ...(["param_decl", "buffer_decl", "frozen", "let", "store", "emit", "expr_stmt"] as const),
  ...([
    "minimize",
    "update",
    "report",
    "with",
    "batch",
    "clip",
    "ema",
    "accumulate",
    "max_norm",
    "loss_scale",
    "gradients",
  ] as const),
]);

/** The elements of a node that comments may belong to; undefined where a node has no room for comments. */
function slotsOf(node: Node): Node[] | undefined {
  switch (node.kind) {
    case "source_file":
      return [...node.items];
    case "import":
      return [...node.names];
    case "layer":
    case "model":
    case "optimizer":
      return [...node.params, ...node.members];
    case "fn":
    case "fn_expr":
      return [...node.params];
    case "op":
      return [...node.params, node.grad, node.wgsl].filter((n) => n !== undefined);
    case "train":
      return [...node.clauses];
    case "block":
      return node.result === undefined ? [...node.statements] : [...node.statements, node.result];
    case "call":
      return [...node.args];
    case "index":
    case "list":
    case "tuple":
      return [...node.items];
    case "record":
    case "record_type":
      return [...node.fields];
    case "pipe":
      return [node.left.kind === "pipe" ? node.left.right : node.left, node.right];
    case "binary":
      return [lastOperand(node), node.right];
    default:
      return undefined;
  }
}

/** The operand before the operator, in a chain of operators of one level. */
function lastOperand(node: BinaryExpr): Expr {
  return chains(node, node.left) ? node.left.right : node.left;
}

/** Whether `left` and `node` are one chain: operators of one level that group to the left without parentheses. */
export function chains(node: BinaryExpr, left: Expr): left is BinaryExpr {
  const level = levelOf(node.op);
  if (level === powerLevel || level === compareLevel) return false;
  return left.kind === "binary" && levelOf(left.op) === level;
}

/** By binary search: the node around an offset, or the ones before and after it. */
function nearest(
  nodes: readonly Node[],
  offset: number,
): { readonly inside?: Node; readonly before?: Node; readonly after?: Node } {
  let low = 0;
  let high = nodes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (nodes[middle].span.start <= offset) low = middle + 1;
    else high = middle;
  }
  const before = nodes[low - 1];
  const after = nodes[low];
  if (before !== undefined && before.span.end > offset) return { inside: before };
  return { before, after };
}
