/**
 * Tree to text: the one formatting of the language. In: a tree, with its comments. Out: source that parses to
 * the same tree up to spans, and that prints as itself. Separate from dump.ts, which shows the tree as a tree.
 *
 * A node is on one line where that fits and nothing in it has a comment; else its kind's broken layout puts
 * the elements on lines of their own. A block keeps the author's choice between `{ a }` and lines. Neighbouring
 * declarations and clauses are aligned.
 */
import type * as ast from "../../syntax/ast.ts";
import { ExprPrinter } from "./print-expr.ts";
import {
  body,
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
import { patternText, quoted, targetText } from "./print-leaf.ts";

export function printAst(node: ast.SourceFile): string {
  return new Printer().file(node);
}

/** One expression, as in a message or a table. */
export function printExpr(node: ast.Expr): string {
  return new ExprPrinter().expr(node, 0, 0, 0);
}

export function printParam(node: ast.Param): string {
  return new ExprPrinter().param(node, 0);
}

export function printType(node: ast.Type | ast.RecordType): string {
  return new ExprPrinter().type(node, 0, 0, 0);
}

// A declaration whose name is much longer than its neighbours' begins columns of its own. Types and fns differ more, and read
// well in columns all the same.
const PARAMS: Columns = { kind: "param", slack: [0, 11, 24, 24], words: true };
const BINDS: Columns = { kind: "bind", slack: [6] };
const FNS: Columns = { kind: "fn", slack: [16] };
const CLAUSES: Columns = { kind: "clause", slack: [8] };
const TRAINS: Columns = { kind: "train", slack: [16, 16] };

/** A body as the author has it where that is one line. */
function oneLine(
  node: ast.LayerDecl | ast.ModelDecl | ast.OptimizerDecl | ast.TrainDecl,
  entries: readonly Entry[],
): string | undefined {
  if (node.oneLine !== true || entries.length === 0 || (node.trivia?.inner.length ?? 0) > 0) return undefined;
  const has = (e: Entry): boolean =>
    e.trivia !== undefined && (e.trivia.leading.length > 0 || e.trivia.trailing !== undefined);
  if (entries.some((e) => e.text.includes("\n") || e.doc !== undefined || has(e))) return undefined;
  return `{ ${entries.map((e) => e.text).join("; ")} }`;
}

const forText = (patterns: readonly ast.Pattern[] | undefined): string =>
  patterns ? ` for ${patterns.map(patternText).join(", ")}` : "";

class Printer extends ExprPrinter {
  file(node: ast.SourceFile): string {
    const lines = body(
      node.items.map((item) => this.item(item)),
      0,
      node.trivia?.inner ?? [],
    );
    return lines === "" ? "" : `${lines}\n`;
  }

  private item(node: ast.Item): Entry {
    switch (node.kind) {
      case "import": {
        const names = node.names.map((n) => ({
          node: n,
          text: n.alias === undefined ? n.name.name : `${n.name.name} as ${n.alias.name}`,
        }));
        const from = ` from ${quoted(node.from.value)}`;
        const inner = node.trivia?.inner ?? [];
        const flat = `import { ${names.map((n) => n.text).join(", ")} }${from}`;
        const comments = inner.length > 0 || names.some((n) => hasComments(n.node));
        const list = names.map((n) => ({ text: n.text, ...triviaOf(n.node) }));
        const text =
          names.length === 0 && inner.length === 0
            ? `import {}${from}`
            : flat.length <= width && !comments
              ? flat
              : `import ${group("{", list, "}", comments, inner, 0, width, 0)}${from}`;
        return { text, ...triviaOf(node) };
      }
      case "layer":
      case "model":
      case "optimizer": {
        const params =
          node.params.length === 0
            ? ""
            : this.params(node.params, 0, node.kind.length + 1 + node.name.name.length, 2);
        const inner = node.trivia?.inner ?? [];
        const members = node.members.map((m) => this.member(m, step));
        const head = `${node.kind} ${node.name.name}${params}`;
        const flat = oneLine(node, members);
        const fits = flat !== undefined && lastLine(head) + 1 + flat.length <= width;
        return { text: `${head} ${fits ? flat : braces(members, 0, inner)}`, ...triviaOf(node) };
      }
      case "fn":
        return this.fn(node, 0);
      case "op": {
        const head = this.head(`op ${node.name.name}`, node, 0);
        const text = head + this.block(node.body, 0, lastLine(head));
        const further: Entry[] = [];
        if (node.grad !== undefined) {
          const start = `grad (${node.grad.cotangent.name}) `;
          further.push({ text: start + this.block(node.grad.body, 0, start.length), ...triviaOf(node.grad) });
        }
        if (node.wgsl !== undefined)
          further.push({ text: `wgsl \`${node.wgsl.text}\``, ...triviaOf(node.wgsl) });
        return { text: [text, ...further.map((e) => body([e], 0, []))].join("\n"), ...triviaOf(node) };
      }
      case "train": {
        const clauses = node.clauses.map((c) => this.clause(c, step));
        const head = [`train ${node.name.name}`, `for ${node.model.name}`];
        const flat = oneLine(node, clauses);
        if (flat === undefined || head.join(" ").length + 1 + flat.length > width) {
          const text = `${head.join(" ")} ${braces(clauses, 0, node.trivia?.inner ?? [])}`;
          return { text, ...triviaOf(node) };
        }
        const cells = [...head, flat];
        return { text: cells.join(" "), cells, columns: TRAINS, ...triviaOf(node) };
      }
      case "bind":
        return this.bind(node, 0);
      case "error":
        return { text: "", ...triviaOf(node) };
    }
  }

  private member(node: ast.Member, indent: number): Entry {
    switch (node.kind) {
      case "param_decl":
      case "buffer_decl": {
        const word = node.kind === "param_decl" ? "param" : node.private ? "private buffer" : "buffer";
        const type = this.type(node.type, indent, indent, 0);
        const name = `${this.called(node, indent)}:`;
        const head = `${word} ${name} ${type}`;
        const when = node.when === undefined ? "" : `if ${this.expr(node.when, indent, indent, 0)}`;
        const init =
          node.init === undefined
            ? ""
            : `= ${this.expr(node.init, indent, indent + head.length + 3, when === "" ? 0 : when.length + 1)}`;
        const cells = [word, name, type, init, when];
        return { text: cells.filter(Boolean).join(" "), cells, columns: PARAMS, ...triviaOf(node) };
      }
      case "frozen":
        return { text: `frozen ${node.patterns.map(patternText).join(", ")}`, ...triviaOf(node) };
      case "bind":
        return this.bind(node, indent);
      case "bind_tuple": {
        const target = targetText(node.target);
        const value = this.expr(node.value, indent, indent + target.length + 3, 0);
        return { text: `${target} = ${value}`, ...triviaOf(node) };
      }
      case "tie": {
        const target = this.expr(node.target, indent, indent, 2);
        const value = this.expr(node.value, indent, indent + target.length + 3, 0);
        return { text: `${target} = ${value}`, ...triviaOf(node) };
      }
      case "fn":
        return this.fn(node, indent);
      case "error":
        return { text: "", ...triviaOf(node) };
    }
  }

  /** A member's name, and what paths call it. */
  private called(node: ast.BindMember | ast.ParamDecl | ast.BufferDecl, indent: number): string {
    const { name } = node.name;
    return node.called === undefined ? name : `${name} as ${this.expr(node.called, indent, indent, 0)}`;
  }

  private bind(node: ast.BindMember, indent: number): Entry {
    const name = this.called(node, indent);
    const value = this.expr(node.value, indent, indent + name.length + 3, 0);
    return { text: `${name} = ${value}`, cells: [name, `= ${value}`], columns: BINDS, ...triviaOf(node) };
  }

  private fn(node: ast.FnDecl, indent: number): Entry {
    const head = this.head(`${node.private ? "private " : ""}fn ${node.name.name}`, node, indent);
    const block = this.block(node.body, indent, indent + lastLine(head));
    return { text: head + block, cells: [head.trimEnd(), block], columns: FNS, ...triviaOf(node) };
  }

  private clause(node: ast.TrainClause, indent: number): Entry {
    const entry = (word: string, rest: string): Entry => ({
      text: `${word} ${rest}`,
      cells: [word, rest],
      columns: CLAUSES,
      ...triviaOf(node),
    });
    const expr = (e: ast.Expr, word: string): string => this.expr(e, indent, indent + word.length + 1, 0);
    switch (node.kind) {
      case "minimize":
        return entry("minimize", expr(node.value, "minimize"));
      case "update":
      case "frozen":
        return entry(node.kind, node.patterns.map(patternText).join(", "));
      case "report":
        return entry("report", node.values.map((v) => expr(v, "report")).join(", "));
      case "with":
        return entry("with", expr(node.optimizer, "with") + forText(node.patterns));
      case "accumulate":
        return entry("accumulate", expr(node.count, "accumulate"));
      case "max_norm":
        return entry("max_norm", expr(node.limit, "max_norm") + forText(node.patterns));
      case "gradients":
        return { text: "gradients", ...triviaOf(node) };
      case "loss_scale":
        return entry("loss_scale", expr(node.initial, "loss_scale"));
      case "batch":
        return entry("batch", expr(node.size, "batch"));
      case "clip":
        return entry("clip", `${node.by} ${expr(node.limit, "clip value")}`);
      case "ema":
        return entry("ema", expr(node.decay, "ema"));
      case "error":
        return { text: "", ...triviaOf(node) };
    }
  }
}
