/**
 * Expressions, blocks and types as text. In: nodes. Out: text, on one line where that fits and nothing in it has
 * a comment, else in the broken layout of the node's kind. Separate from print.ts, which prints declarations.
 */
import type * as ast from "../../syntax/ast.ts";
import { prefixLevel } from "./expressions.ts";
import {
  after,
  braces,
  type Columns,
  type Entry,
  group,
  hasComments,
  lastLine,
  step,
  triviaOf,
  width,
} from "./print-layout.ts";
import {
  atomLevel,
  leaf,
  leftParens,
  levelOfNode,
  operation,
  quoted,
  rightParens,
  targetText,
} from "./print-leaf.ts";
import { chains } from "./trivia.ts";

export class ExprPrinter {
  private readonly flats = new Map<ast.Node, string | undefined>();

  // -------------------------------------------------------------------------------------------- statements

  protected block(node: ast.Block, indent: number, column: number): string {
    const flat = node.multiline ? undefined : this.flatBlock(node);
    if (flat !== undefined && column + flat.length <= width) return flat;
    return braces(
      this.stmts(node, (s) => this.stmt(s, indent + step)),
      indent,
      node.trivia?.inner ?? [],
    );
  }

  private flatBlock(node: ast.Block): string | undefined {
    if (hasComments(node)) return undefined;
    const list = this.stmts(node, (s) => ({ text: this.flatStmt(s) ?? "\n", ...triviaOf(s) }));
    if (list.some((e) => e.text.includes("\n") || e.trivia?.blankBefore === true)) return undefined;
    return list.length === 0 ? "{}" : `{ ${list.map((e) => e.text).join("; ")} }`;
  }

  private stmts(node: ast.Block, print: (node: ast.Stmt | ast.Expr) => Entry): Entry[] {
    const list: (ast.Stmt | ast.Expr)[] = [...node.statements];
    if (node.result !== undefined) list.push(node.result);
    return list.map(print);
  }

  private stmt(node: ast.Stmt | ast.Expr, indent: number): Entry {
    const { start, columns, value } = stmtParts(node);
    const text = this.expr(value, indent, indent + start.length, 0);
    const plain = { text: start + text, ...triviaOf(node) };
    if (columns === undefined) return plain;
    const at = start.lastIndexOf(" ", start.length - 2);
    return { ...plain, cells: [start.slice(0, at), start.slice(at + 1) + text], columns };
  }

  private flatStmt(node: ast.Stmt | ast.Expr): string | undefined {
    if (hasComments(node)) return undefined;
    const parts = stmtParts(node);
    const value = this.flat(parts.value);
    return value === undefined ? undefined : parts.start + value;
  }

  // ------------------------------------------------------------------------------------------- expressions

  /**
   * `column` is where the first line begins, `tail` what follows on the last one. The comments of the node
   * itself are its list's to print.
   */
  expr(node: ast.Expr, indent: number, column: number, tail: number): string {
    const flat = this.flat(node);
    if (flat !== undefined && column + lastLine(flat) + tail <= width) return flat;
    return this.broken(node, indent, column, tail);
  }

  /** Everything on one line; undefined where a comment or a block of lines forbids it. */
  private flat(node: ast.Expr): string | undefined {
    if (!this.flats.has(node)) this.flats.set(node, this.flatten(node));
    return this.flats.get(node);
  }

  private flatten(node: ast.Expr): string | undefined {
    const join = (texts: readonly (string | undefined)[], by: string): string | undefined =>
      texts.includes(undefined) ? undefined : texts.join(by);
    const list = (nodes: readonly ast.Expr[]): string | undefined =>
      nodes.some(hasComments)
        ? undefined
        : join(
            nodes.map((n) => this.flat(n)),
            ", ",
          );
    const plain = (text: string | undefined, level: boolean): string | undefined =>
      text === undefined ? undefined : level ? `(${text})` : text;
    const child = (e: ast.Expr, parens: boolean): string | undefined => plain(this.flat(e), parens);
    if ((node.trivia?.inner.length ?? 0) > 0) return undefined;
    switch (node.kind) {
      case "call": {
        const args = node.args.some(hasComments)
          ? undefined
          : join(
              node.args.map((a) => this.arg(a)),
              ", ",
            );
        return join([child(node.callee, levelOfNode(node.callee) < atomLevel), "(", args, ")"], "");
      }
      case "index": {
        const items = node.items.some(hasComments)
          ? undefined
          : join(
              node.items.map((i) => this.indexItem(i)),
              ", ",
            );
        return join([child(node.object, levelOfNode(node.object) < atomLevel), "[", items, "]"], "");
      }
      case "member":
        return join([child(node.object, levelOfNode(node.object) < atomLevel), ".", node.name.name], "");
      case "unary":
        return join([node.op, child(node.operand, levelOfNode(node.operand) < prefixLevel)], "");
      case "binary":
      case "pipe":
      case "range": {
        const { op, left, right } = operation(node);
        if (node.kind === "pipe" && node.newLine === true) return undefined;
        if (node.kind !== "range" && (hasComments(left) || hasComments(right))) return undefined;
        const by = op === ".." ? ".." : ` ${op} `;
        return join([child(left, leftParens(op, left)), child(right, rightParens(op, right))], by);
      }
      case "list":
        return join(["[", list(node.items), "]"], "");
      case "tuple":
        return join(["(", list(node.items), ")"], "");
      case "record": {
        const fields = node.fields.some(hasComments)
          ? undefined
          : join(
              node.fields.map((f) => join([f.name.name, this.flat(f.value)], " = ")),
              ", ",
            );
        return join(["(", fields, ")"], "");
      }
      case "comprehension": {
        const condition = node.condition === undefined ? "" : join([" if ", this.flat(node.condition)], "");
        const loop = ` for ${targetText(node.target)} in `;
        return join(["[", this.flat(node.element), loop, this.flat(node.iterable), condition, "]"], "");
      }
      case "if": {
        if (node.then.multiline || (node.else?.kind === "block" && node.else.multiline)) return undefined;
        const other =
          node.else === undefined
            ? ""
            : node.else.kind === "if"
              ? this.flat(node.else)
              : this.flatBlock(node.else);
        const then = this.flatBlock(node.then);
        const tail = node.else === undefined ? "" : join([" else ", other], "");
        return join(["if ", this.flat(node.condition), " ", then, tail], "");
      }
      case "for":
      case "scan": {
        const body = node.body.multiline ? undefined : this.flatBlock(node.body);
        return join([this.loopHead(node), body], " ");
      }
      case "fn_expr": {
        if (node.params.some(hasComments)) return undefined;
        const body = node.body.multiline ? undefined : this.flatBlock(node.body);
        const head = this.head("fn", node, 0);
        return head.includes("\n") ? undefined : join([head, body], "");
      }
      default:
        return leaf(node);
    }
  }

  /** `fn name(params) -> result `, with the space before the body. */
  protected head(start: string, node: ast.FnDecl | ast.FnExpr | ast.OpDecl, indent: number): string {
    const result = node.result === undefined ? "" : ` -> ${this.type(node.result, indent, 0, 0)}`;
    const params = this.params(node.params, indent, indent + start.length, lastLine(result) + 2);
    return `${start}${params}${result} `;
  }

  protected params(params: readonly ast.Param[], indent: number, column: number, tail: number): string {
    const texts = params.map((p) => ({ text: this.param(p, indent + step), ...triviaOf(p) }));
    return group("(", texts, ")", params.some(hasComments), [], indent, column, tail);
  }

  param(p: ast.Param, indent: number): string {
    const type = p.type.kind === "any_type" ? "" : `: ${this.type(p.type, indent, 0, 0)}`;
    const value = p.default === undefined ? "" : ` = ${this.expr(p.default, indent, 0, 0)}`;
    return `${p.name.name}${type}${value}`;
  }

  private loopHead(node: ast.ForExpr | ast.ScanExpr): string | undefined {
    const over = node.kind === "for" ? this.flat(node.iterable) : this.flat(node.sequence);
    const axis = node.kind === "for" ? "" : this.flat(node.axis);
    const carries = node.carries.map((c) => {
      const value = this.flat(c.value);
      return value === undefined ? undefined : `${c.name.name} = ${value}`;
    });
    if (over === undefined || axis === undefined || carries.includes(undefined)) return undefined;
    const target = targetText(node.target);
    const start =
      node.kind === "for" ? `for ${target} in ${over}` : `scan ${target} over ${over} axis ${axis}`;
    return carries.length === 0 ? start : `${start} with ${carries.join(", ")}`;
  }

  private arg(node: ast.Arg): string | undefined {
    const value = this.flat(node.value);
    return value === undefined || node.name === undefined ? value : `${node.name.name} = ${value}`;
  }

  private indexItem(node: ast.IndexItem): string | undefined {
    if (node.kind === "ellipsis") return "...";
    if (node.kind === "new") return "new";
    if (node.kind === "at") return this.flat(node.value);
    const parts = [node.start, node.stop, node.step].map((e) => (e === undefined ? "" : this.flat(e)));
    if (parts.includes(undefined)) return undefined;
    return node.step === undefined ? `${parts[0]}:${parts[1]}` : parts.join(":");
  }

  private broken(node: ast.Expr, indent: number, column: number, tail: number): string {
    const parens = (e: ast.Expr, needed: boolean, at: number, col: number, rest: number): string =>
      needed ? `(${this.expr(e, at, col + 1, rest + 1)})` : this.expr(e, at, col, rest);
    const inner = node.trivia?.inner ?? [];
    switch (node.kind) {
      case "call": {
        const callee = parens(node.callee, levelOfNode(node.callee) < atomLevel, indent, column, 1);
        return callee + this.argList(node, indent, after(column, callee), tail);
      }
      case "index": {
        const object = parens(node.object, levelOfNode(node.object) < atomLevel, indent, column, 1);
        const items = node.items.map((i) => ({
          text: this.indexItemBroken(i, indent + step),
          ...triviaOf(i),
        }));
        const comments = node.items.some(hasComments);
        return object + group("[", items, "]", comments, inner, indent, after(column, object), tail);
      }
      case "member": {
        const rest = node.name.name.length + 1 + tail;
        return `${parens(node.object, levelOfNode(node.object) < atomLevel, indent, column, rest)}.${node.name.name}`;
      }
      case "unary":
        return `${node.op}${parens(node.operand, levelOfNode(node.operand) < prefixLevel, indent, column + 1, tail)}`;
      case "range": {
        const left = parens(node.start, leftParens("..", node.start), indent, column, 2);
        return `${left}..${parens(node.stop, rightParens("..", node.stop), indent, after(column, left) + 2, tail)}`;
      }
      case "pipe":
        return this.pipe(node, indent, column, tail);
      case "binary":
        return this.chain(node, indent, column, tail);
      case "list":
      case "tuple": {
        const items = node.items.map((e) => ({
          text: this.expr(e, indent + step, indent + step, 1),
          ...triviaOf(e),
        }));
        const comments = node.items.some(hasComments);
        const [open, close] = node.kind === "list" ? ["[", "]"] : ["(", ")"];
        return group(open, items, close, comments, inner, indent, column, tail);
      }
      case "record": {
        const items = node.fields.map((f) => {
          const at = indent + step + f.name.name.length + 3;
          return { text: `${f.name.name} = ${this.expr(f.value, indent + step, at, 1)}`, ...triviaOf(f) };
        });
        return group("(", items, ")", node.fields.some(hasComments), inner, indent, column, tail);
      }
      case "comprehension": {
        const at = indent + step;
        const pad = " ".repeat(at);
        const loop = `for ${targetText(node.target)} in `;
        const lines = [
          `${pad}${this.expr(node.element, at, at, 0)}`,
          `${pad}${loop}${this.expr(node.iterable, at, at + loop.length, 0)}`,
        ];
        if (node.condition !== undefined) lines.push(`${pad}if ${this.expr(node.condition, at, at + 3, 0)}`);
        return `[\n${lines.join("\n")}\n${" ".repeat(indent)}]`;
      }
      case "if": {
        const head = `if ${this.expr(node.condition, indent, column + 3, 2)} `;
        const then = this.lineBlock(node.then, indent);
        if (node.else === undefined) return head + then;
        const other =
          node.else.kind === "if"
            ? this.broken(node.else, indent, indent, tail)
            : this.lineBlock(node.else, indent);
        return `${head}${then} else ${other}`;
      }
      case "for":
      case "scan": {
        const flat = this.loopHead(node);
        const fits = flat !== undefined && column + flat.length + 2 <= width;
        const head = fits ? flat : this.brokenLoopHead(node, indent, column);
        return `${head} ${this.block(node.body, indent, after(column, head) + 1)}`;
      }
      case "fn_expr": {
        const head = this.head("fn", node, indent);
        return head + this.block(node.body, indent, after(column, head));
      }
      default:
        return leaf(node);
    }
  }

  private lineBlock(node: ast.Block, indent: number): string {
    return this.block({ ...node, multiline: true }, indent, 0);
  }

  private brokenLoopHead(node: ast.ForExpr | ast.ScanExpr, indent: number, column: number): string {
    const target = targetText(node.target);
    let text = node.kind === "for" ? `for ${target} in ` : `scan ${target} over `;
    const more = (e: ast.Expr): void => {
      text += this.expr(e, indent, after(column, text), 2);
    };
    more(node.kind === "for" ? node.iterable : node.sequence);
    if (node.kind === "scan") {
      text += " axis ";
      more(node.axis);
    }
    node.carries.forEach((c, i) => {
      text += `${i === 0 ? " with" : ","} ${c.name.name} = `;
      more(c.value);
    });
    return text;
  }

  private argList(node: ast.CallExpr, indent: number, column: number, tail: number): string {
    const inner = node.trivia?.inner ?? [];
    const only = node.args[0];
    // A call whose one argument is a bracket of its own hugs it.
    if (node.args.length === 1 && inner.length === 0 && !hasComments(only) && only.name === undefined) {
      const kind = only.value.kind;
      if (kind === "list" || kind === "record" || kind === "tuple" || kind === "comprehension") {
        return `(${this.expr(only.value, indent, column + 1, tail + 1)})`;
      }
    }
    const args = node.args.map((a) => {
      const name = a.name === undefined ? "" : `${a.name.name} = `;
      const at = indent + step;
      return { text: `${name}${this.expr(a.value, at, at + name.length, 1)}`, ...triviaOf(a) };
    });
    return group("(", args, ")", node.args.some(hasComments), inner, indent, column, tail);
  }

  private indexItemBroken(node: ast.IndexItem, indent: number): string {
    if (node.kind === "at") return this.expr(node.value, indent, indent, 1);
    if (node.kind !== "slice") return node.kind === "new" ? "new" : "...";
    const part = (e: ast.Expr | undefined): string =>
      e === undefined ? "" : this.expr(e, indent, indent, 1);
    const end = node.step === undefined ? "" : `:${part(node.step)}`;
    return `${part(node.start)}:${part(node.stop)}${end}`;
  }

  /** Lines as the author broke them, where each fits; else a stage a line, the first on the line it is on. */
  private pipe(node: ast.PipeExpr, indent: number, column: number, tail: number): string {
    const links: ast.PipeExpr[] = [node];
    let first: ast.Expr = node.left;
    while (first.kind === "pipe") {
      links.push(first);
      first = first.left;
    }
    links.reverse();
    const at = indent + step;
    const pad = " ".repeat(at);
    const own = this.ownLines(first, links);
    if (
      own?.every(
        (line, i) => (i === 0 ? column : at) + line.length + (i < own.length - 1 ? 0 : tail) <= width,
      )
    )
      return own.join(`\n${pad}`);
    const out = [this.operandText(first, false, indent, column, 0)];
    for (const { right: stage } of links) {
      for (const c of stage.trivia?.leading ?? []) out.push(`${pad}//${c.text}`);
      const last = stage === node.right;
      const text = this.operandText(stage, rightParens("|>", stage), at, at + 3, last ? tail : 0, last);
      out.push(`${pad}|> ${text}`);
    }
    return out.join("\n");
  }

  /** The lines of a pipe that its author broke; undefined where nobody did, and where a stage is more than a line. */
  private ownLines(first: ast.Expr, links: readonly ast.PipeExpr[]): string[] | undefined {
    if (!links.some((l) => l.newLine === true)) return undefined;
    const lines: string[] = [];
    for (const [stage, newLine] of [[first, true], ...links.map((l) => [l.right, l.newLine === true])] as [
      ast.Expr,
      boolean,
    ][]) {
      const flat = hasComments(stage) ? undefined : this.flat(stage);
      if (flat === undefined) return undefined;
      const text = stage === first ? flat : `|> ${rightParens("|>", stage) ? `(${flat})` : flat}`;
      if (newLine) lines.push(text);
      else lines[lines.length - 1] += ` ${text}`;
    }
    return lines;
  }

  /** Operators of one level, with a line's end behind each. */
  private chain(node: ast.BinaryExpr, indent: number, column: number, tail: number): string {
    const rest: ast.BinaryExpr[] = [node];
    let first = node.left;
    while (chains(node, first)) {
      rest.push(first);
      first = first.left;
    }
    const at = indent + step;
    const pad = " ".repeat(at);
    let text = this.operandText(first, leftParens(node.op, first), indent, column, 3, true);
    let comment = first.trivia?.trailing;
    const out: string[] = [];
    for (const link of rest.reverse()) {
      out.push(`${text} ${link.op}${comment === undefined ? "" : `  //${comment.text}`}`);
      const { right } = link;
      for (const c of right.trivia?.leading ?? []) out.push(`${pad}//${c.text}`);
      text =
        pad + this.operandText(right, rightParens(link.op, right), at, at, link === node ? tail : 3, true);
      comment = right.trivia?.trailing;
    }
    // What trails the last operand stands behind the whole, which is the list's to print.
    out.push(text);
    return out.join("\n");
  }

  /** An operand, with the comment that trails it unless it is the last one. */
  private operandText(
    node: ast.Expr,
    parens: boolean,
    indent: number,
    column: number,
    tail: number,
    bare = false,
  ): string {
    const text = parens
      ? `(${this.expr(node, indent, column + 1, tail + 1)})`
      : this.expr(node, indent, column, tail);
    const trailing = bare ? undefined : node.trivia?.trailing;
    return trailing === undefined ? text : `${text}  //${trailing.text}`;
  }

  // ------------------------------------------------------------------------------------------------- types

  type(node: ast.Type | ast.RecordType, indent: number, column: number, tail: number): string {
    switch (node.kind) {
      case "tensor_type": {
        if (node.dims.length === 0) return node.dtype.name === "bool" ? "bool[]" : node.dtype.name;
        const dims = node.dims.map((d) => (d.kind === "ellipsis" ? "..." : this.expr(d, indent, 0, 0)));
        return `${node.dtype.name}[${dims.join(", ")}]`;
      }
      case "static_type":
        return node.name.name;
      case "enum_type":
        return node.values.map((v) => quoted(v.value)).join(" | ");
      case "union_type":
        return node.types.map((t) => this.type(t, indent, column, tail)).join(" | ");
      case "list_type":
        return `[${this.type(node.element, indent, column, tail)}]`;
      case "optional_type":
        return `${this.type(node.element, indent, column, tail)}?`;
      case "record_type": {
        const fields = node.fields.map((f) => ({
          text: `${f.name.name}: ${this.type(f.type, indent + step, 0, 0)}`,
          ...triviaOf(f),
        }));
        const inner = node.trivia?.inner ?? [];
        return group("(", fields, ")", node.fields.some(hasComments), inner, indent, column, tail);
      }
      case "any_type":
      case "error":
        return "";
    }
  }
}

const LETS: Columns = { kind: "let", slack: [2] };
const STORES: Columns = { kind: "store", slack: [4] };

function stmtParts(node: ast.Stmt | ast.Expr): {
  readonly start: string;
  readonly value: ast.Expr;
  readonly columns?: Columns;
} {
  switch (node.kind) {
    case "let":
      return {
        start: `${targetText(node.target)} = `,
        value: node.value,
        ...(node.target.kind === "ident" ? { columns: LETS } : {}),
      };
    case "store":
      return {
        start: `${new ExprPrinter().expr(node.target, 0, 0, 0)} <- `,
        value: node.value,
        columns: STORES,
      };
    case "emit":
      return { start: `emit ${node.name.name} = `, value: node.value };
    case "expr_stmt":
      return { start: "", value: node.value };
    default:
      return { start: "", value: node };
  }
}
