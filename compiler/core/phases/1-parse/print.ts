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
import { body, braces, type Entry, hasComments, lastLine, step, triviaOf, width } from "./print-layout.ts";
import { patternText, quoted, targetText } from "./print-leaf.ts";

export function printAst(node: ast.SourceFile): string {
  return new Printer().file(node);
}

/** One expression, as in a message or a table. */
export function printExpr(node: ast.Expr): string {
  return new ExprPrinter().expr(node, 0, 0, 0);
}

export function printType(node: ast.Type | ast.RecordType): string {
  return new ExprPrinter().type(node, 0, 0, 0);
}

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
        const fits = flat.length <= width && inner.length === 0 && !names.some((n) => hasComments(n.node));
        const list = names.map((n) => ({ text: `${n.text},`, ...triviaOf(n.node) }));
        const text =
          names.length === 0 && inner.length === 0
            ? `import {}${from}`
            : fits
              ? flat
              : `import ${braces(list, 0, inner)}${from}`;
        return { text, ...triviaOf(node) };
      }
      case "layer":
      case "model": {
        const params = node.params.length === 0 ? "" : this.params(node.params, 0, node.kind.length + 1, 2);
        const inner = node.trivia?.inner ?? [];
        const members = braces(
          node.members.map((m) => this.member(m, step)),
          0,
          inner,
        );
        return { text: `${node.kind} ${node.name.name}${params} ${members}`, ...triviaOf(node) };
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
        const clauses = braces(
          node.clauses.map((c) => this.clause(c, step)),
          0,
          node.trivia?.inner ?? [],
        );
        return { text: `train ${node.name.name} for ${node.model.name} ${clauses}`, ...triviaOf(node) };
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
        const word = node.kind === "param_decl" ? "param" : "buffer";
        const type = this.type(node.type, indent, indent, 0);
        const name = `${word} ${this.called(node, indent)}:`;
        const head = `${name} ${type}`;
        const when = node.when === undefined ? "" : ` if ${this.expr(node.when, indent, indent, 0)}`;
        if (node.init === undefined) return { text: `${head}${when}`, ...triviaOf(node) };
        const init = this.expr(node.init, indent, indent + head.length + 3, when.length);
        const cells = [name, type, `= ${init}${when}`];
        return { text: `${head} = ${init}${when}`, cells, group: word, ...triviaOf(node) };
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
    return { text: `${name} = ${value}`, cells: [name, `= ${value}`], group: "bind", ...triviaOf(node) };
  }

  private fn(node: ast.FnDecl, indent: number): Entry {
    const head = this.head(`${node.private ? "private " : ""}fn ${node.name.name}`, node, indent);
    return { text: `${head}${this.block(node.body, indent, indent + lastLine(head))}`, ...triviaOf(node) };
  }

  private clause(node: ast.TrainClause, indent: number): Entry {
    const entry = (word: string, rest: string): Entry => ({
      text: `${word} ${rest}`,
      cells: [word, rest],
      group: "clause",
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
        return entry("with", expr(node.optimizer, "with"));
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
