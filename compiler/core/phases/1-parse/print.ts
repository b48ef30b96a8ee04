/**
 * Tree to text: the one formatting of the language. In: a tree, with its comments. Out: source that parses to
 * the same tree up to spans, and that prints as itself. Separate from dump.ts, which shows the tree as a tree.
 *
 * A node is on one line where that fits and nothing in it has a comment; else its kind's broken layout puts
 * the elements on lines of their own. A block keeps the author's choice between `{ a }` and lines. Neighbouring
 * declarations and clauses are aligned.
 */
import type * as ast from "./ast.ts";
import { compareLevel, levelOf, powerLevel, prefixLevel, rangeLevel } from "./expressions.ts";
import { chains } from "./trivia.ts";

const width = 110;
const step = 2;
const atomLevel = 10;

export function printAst(node: ast.SourceFile): string {
  return new Printer().file(node);
}

/** One expression, as in a message or a table. */
export function printExpr(node: ast.Expr): string {
  return new Printer().expr(node, 0, 0, 0);
}

export function printType(node: ast.Type | ast.RecordType): string {
  return new Printer().type(node, 0, 0, 0);
}

/** A line, or several, of a body; `cells` are there where it is one line that may be aligned. */
interface Entry {
  readonly text: string;
  readonly trivia?: ast.Trivia;
  readonly doc?: string;
  readonly cells?: readonly string[];
  readonly group?: string;
}

class Printer {
  private readonly flats = new Map<ast.Node, string | undefined>();

  // ------------------------------------------------------------------------------------------------ bodies

  file(node: ast.SourceFile): string {
    const lines = this.body(
      node.items.map((item) => this.item(item)),
      0,
      node.trivia?.inner ?? [],
    );
    return lines === "" ? "" : `${lines}\n`;
  }

  /** Entries on their lines, each with what belongs to it, without a newline at the end. */
  private body(entries: readonly Entry[], indent: number, inner: readonly ast.Comment[]): string {
    const pad = " ".repeat(indent);
    const texts = align(entries, width - indent);
    const out: string[] = [];
    const blank = (): void => {
      if (out.length > 0 && out[out.length - 1] !== "") out.push("");
    };
    const comments = (list: readonly ast.Comment[]): void => {
      for (const comment of list) {
        if (comment.blankBefore) blank();
        out.push(`${pad}//${comment.text}`);
      }
    };
    entries.forEach((entry, i) => {
      const { trivia, doc } = entry;
      comments(trivia?.leading ?? []);
      if (trivia?.blankBefore === true) blank();
      for (const line of doc?.split("\n") ?? [])
        out.push(`${pad}///${line === "" ? "" : " "}${line}`.trimEnd());
      const trailing = trivia?.trailing === undefined ? "" : ` //${trivia.trailing.text}`;
      out.push(`${pad}${texts[i]}${trailing}`);
    });
    comments(inner);
    return out.join("\n");
  }

  private braces(entries: readonly Entry[], indent: number, inner: readonly ast.Comment[] = []): string {
    if (entries.length === 0 && inner.length === 0) return "{}";
    return `{\n${this.body(entries, indent + step, inner)}\n${" ".repeat(indent)}}`;
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
              : `import ${this.braces(list, 0, inner)}${from}`;
        return { text, ...triviaOf(node) };
      }
      case "layer":
      case "model": {
        const params = node.params.length === 0 ? "" : this.params(node.params, 0, node.kind.length + 1, 2);
        const inner = node.trivia?.inner ?? [];
        const members = this.braces(
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
        return { text: [text, ...further.map((e) => this.body([e], 0, []))].join("\n"), ...triviaOf(node) };
      }
      case "train": {
        const clauses = this.braces(
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
        const head = `${word} ${node.name.name}: ${type}`;
        const when = node.when === undefined ? "" : ` if ${this.expr(node.when, indent, indent, 0)}`;
        if (node.init === undefined) return { text: `${head}${when}`, ...triviaOf(node) };
        const init = this.expr(node.init, indent, indent + head.length + 3, when.length);
        const cells = [`${word} ${node.name.name}:`, type, `= ${init}${when}`];
        return { text: `${head} = ${init}${when}`, cells, group: word, ...triviaOf(node) };
      }
      case "frozen":
        return { text: `frozen ${node.patterns.map(patternText).join(", ")}`, ...triviaOf(node) };
      case "bind":
        return this.bind(node, indent);
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

  private bind(node: ast.BindMember, indent: number): Entry {
    const { name } = node.name;
    const value = this.expr(node.value, indent, indent + name.length + 3, 0);
    return { text: `${name} = ${value}`, cells: [name, `= ${value}`], group: "bind", ...triviaOf(node) };
  }

  private fn(node: ast.FnDecl, indent: number): Entry {
    const head = this.head(`${node.private ? "private " : ""}fn ${node.name.name}`, node, indent);
    return { text: `${head}${this.block(node.body, indent, indent + lastLine(head))}`, ...triviaOf(node) };
  }

  /** `fn name(params) -> result `, with the space before the body. */
  private head(start: string, node: ast.FnDecl | ast.OpDecl, indent: number): string {
    const result = node.result === undefined ? "" : ` -> ${this.type(node.result, indent, 0, 0)}`;
    const params = this.params(node.params, indent, indent + start.length, lastLine(result) + 2);
    return `${start}${params}${result} `;
  }

  private params(params: readonly ast.Param[], indent: number, column: number, tail: number): string {
    const texts = params.map((p) => {
      const type = this.type(p.type, indent + step, 0, 0);
      const value = p.default === undefined ? "" : ` = ${this.expr(p.default, indent + step, 0, 0)}`;
      return { text: `${p.name.name}: ${type}${value}`, ...triviaOf(p) };
    });
    return this.group("(", texts, ")", params.some(hasComments), [], indent, column, tail);
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

  // -------------------------------------------------------------------------------------------- statements

  private block(node: ast.Block, indent: number, column: number): string {
    const flat = node.multiline ? undefined : this.flatBlock(node);
    if (flat !== undefined && column + flat.length <= width) return flat;
    return this.braces(
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
    const parts = stmtParts(node);
    const value = this.expr(parts.value, indent, indent + parts.start.length, 0);
    return { text: parts.start + value, ...triviaOf(node) };
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
      default:
        return leaf(node);
    }
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
        return object + this.group("[", items, "]", comments, inner, indent, after(column, object), tail);
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
        return this.group(open, items, close, comments, inner, indent, column, tail);
      }
      case "record": {
        const items = node.fields.map((f) => {
          const at = indent + step + f.name.name.length + 3;
          return { text: `${f.name.name} = ${this.expr(f.value, indent + step, at, 1)}`, ...triviaOf(f) };
        });
        return this.group("(", items, ")", node.fields.some(hasComments), inner, indent, column, tail);
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
        const head = this.loopHead(node) ?? this.brokenLoopHead(node, indent);
        return `${head} ${this.block(node.body, indent, after(column, head) + 1)}`;
      }
      default:
        return leaf(node);
    }
  }

  private lineBlock(node: ast.Block, indent: number): string {
    return this.block({ ...node, multiline: true }, indent, 0);
  }

  private brokenLoopHead(node: ast.ForExpr | ast.ScanExpr, indent: number): string {
    const target = targetText(node.target);
    const expr = (e: ast.Expr): string => this.expr(e, indent, indent + 8, 2);
    const start =
      node.kind === "for"
        ? `for ${target} in ${expr(node.iterable)}`
        : `scan ${target} over ${expr(node.sequence)} axis ${expr(node.axis)}`;
    const carries = node.carries.map((c) => `${c.name.name} = ${expr(c.value)}`).join(", ");
    return carries === "" ? start : `${start} with ${carries}`;
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
    return this.group("(", args, ")", node.args.some(hasComments), inner, indent, column, tail);
  }

  private indexItemBroken(node: ast.IndexItem, indent: number): string {
    if (node.kind === "at") return this.expr(node.value, indent, indent, 1);
    if (node.kind !== "slice") return node.kind === "new" ? "new" : "...";
    const part = (e: ast.Expr | undefined): string =>
      e === undefined ? "" : this.expr(e, indent, indent, 1);
    const end = node.step === undefined ? "" : `:${part(node.step)}`;
    return `${part(node.start)}:${part(node.stop)}${end}`;
  }

  /** One line if it fits, else an element a line with a comma after each. */
  private group(
    open: string,
    items: readonly Entry[],
    close: string,
    comments: boolean,
    inner: readonly ast.Comment[],
    indent: number,
    column: number,
    tail: number,
  ): string {
    const flat = `${open}${items.map((i) => i.text).join(", ")}${close}`;
    const fits = !flat.includes("\n") && column + flat.length + tail <= width;
    if ((fits || items.length === 0) && !comments && inner.length === 0) return flat;
    const list = items.map((i) => ({ ...i, text: `${i.text},` }));
    return `${open}\n${this.body(list, indent + step, inner)}\n${" ".repeat(indent)}${close}`;
  }

  /** A stage a line; the first on the line it is on. */
  private pipe(node: ast.PipeExpr, indent: number, column: number, tail: number): string {
    const stages: ast.Expr[] = [node.right];
    let first: ast.Expr = node.left;
    while (first.kind === "pipe") {
      stages.push(first.right);
      first = first.left;
    }
    const at = indent + step;
    const pad = " ".repeat(at);
    const out = [this.operandText(first, false, indent, column, 0)];
    for (const stage of stages.reverse()) {
      for (const c of stage.trivia?.leading ?? []) out.push(`${pad}//${c.text}`);
      const last = stage === node.right;
      const text = this.operandText(stage, rightParens("|>", stage), at, at + 3, last ? tail : 0, last);
      out.push(`${pad}|> ${text}`);
    }
    return out.join("\n");
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
      out.push(`${text} ${link.op}${comment === undefined ? "" : ` //${comment.text}`}`);
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
    return trailing === undefined ? text : `${text} //${trailing.text}`;
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
        return this.group("(", fields, ")", node.fields.some(hasComments), inner, indent, column, tail);
      }
      case "error":
        return "";
    }
  }
}

// ------------------------------------------------------------------------------------------------- pieces

function operation(node: ast.BinaryExpr | ast.PipeExpr | ast.RangeExpr): {
  readonly op: string;
  readonly left: ast.Expr;
  readonly right: ast.Expr;
} {
  if (node.kind === "range") return { op: "..", left: node.start, right: node.stop };
  return { op: node.kind === "pipe" ? "|>" : node.op, left: node.left, right: node.right };
}

/** How tightly a node holds together; blocks and loops get parentheses wherever they are operands. */
function levelOfNode(node: ast.Expr): number {
  switch (node.kind) {
    case "binary":
    case "pipe":
    case "range":
      return levelOf(operation(node).op);
    case "unary":
      return prefixLevel;
    case "if":
    case "for":
    case "scan":
      return 0;
    default:
      return atomLevel;
  }
}

function leftParens(op: string, left: ast.Expr): boolean {
  const own = levelOf(op);
  const level = levelOfNode(left);
  if (level !== own) return level < own;
  return own === compareLevel || own === rangeLevel || own === powerLevel;
}

function rightParens(op: string, right: ast.Expr): boolean {
  const own = levelOf(op);
  const level = levelOfNode(right);
  if (own === powerLevel && level === prefixLevel) return false;
  return level === own ? own !== powerLevel : level < own;
}

function leaf(node: ast.Expr): string {
  switch (node.kind) {
    case "int":
    case "float":
      return node.raw;
    case "bool":
      return String(node.value);
    case "string":
      return quoted(node.value);
    case "name":
      return node.name;
    case "pattern":
      return pathText(node.segments);
    default:
      return "";
  }
}

/** A pattern in an expression, where a number between dots is an index. */
function pathText(segments: readonly string[]): string {
  let out = "";
  segments.forEach((s, i) => {
    if (/^\d/.test(s)) out += `[${s}]`;
    else out += i === 0 ? s : `.${s}`;
  });
  return out;
}

/** A pattern in a clause: bare where the grammar can read it so, else as a string. */
function patternText(node: ast.Pattern): string {
  const { segments } = node;
  const bare =
    segments.every((s) => s === "*" || /^(?:[A-Za-z_][A-Za-z0-9_]*|\d+)$/.test(s)) &&
    !segments.every((s) => s === "*") &&
    !segments.some(
      (s, i) => s === "*" && segments[i + 1] === "*" && segments.slice(0, i).some((t) => t !== "*"),
    ) &&
    !segments.some((s) => reservedWords.has(s)) &&
    !/^\d/.test(segments[0]);
  return bare ? segments.join(".") : quoted(segments.join("."));
}

const reservedWords = new Set([
  ...["import", "private", "fn", "if", "else", "for", "in", "scan", "new", "true", "false"],
]);

function targetText(node: ast.Target): string {
  return node.kind === "ident" ? node.name : `(${node.names.map((n) => n.name).join(", ")})`;
}

function stmtParts(node: ast.Stmt | ast.Expr): { readonly start: string; readonly value: ast.Expr } {
  switch (node.kind) {
    case "let":
      return { start: `${targetText(node.target)} = `, value: node.value };
    case "store":
      return { start: `${printExpr(node.target)} <- `, value: node.value };
    case "emit":
      return { start: `emit ${node.name.name} = `, value: node.value };
    case "expr_stmt":
      return { start: "", value: node.value };
    default:
      return { start: "", value: node };
  }
}

const escapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

function quoted(text: string): string {
  let body = "";
  for (const c of text) {
    const code = c.charCodeAt(0);
    body += escapes[c] ?? (code < 0x20 || code === 0x7f ? `\\u{${code.toString(16)}}` : c);
  }
  return `"${body}"`;
}

function hasComments(node: ast.Node): boolean {
  const { trivia } = node;
  return (
    trivia !== undefined &&
    (trivia.leading.length > 0 || trivia.inner.length > 0 || trivia.trailing !== undefined)
  );
}

function triviaOf(node: ast.Node): { readonly trivia?: ast.Trivia; readonly doc?: string } {
  const doc = "doc" in node ? node.doc : undefined;
  return {
    ...(node.trivia === undefined ? {} : { trivia: node.trivia }),
    ...(doc === undefined ? {} : { doc }),
  };
}

/** The length of a text's last line. */
function lastLine(text: string): number {
  return text.length - text.lastIndexOf("\n") - 1;
}

/** The column behind a text that began at `column`. */
function after(column: number, text: string): number {
  return text.includes("\n") ? lastLine(text) : column + text.length;
}

// ------------------------------------------------------------------------------------------------ aligning

/** A name this much longer than its neighbours' begins a run of its own. */
const maxPadding = 4;

/** The entries' texts, with the cells of neighbours of one group in columns. */
function align(entries: readonly Entry[], room: number): string[] {
  const texts = entries.map((e) => e.text);
  let from = 0;
  while (from < entries.length) {
    const columns = (entries[from].cells?.length ?? 0) - 1;
    let low = widths(entries[from], columns);
    let high = low;
    let to = from + 1;
    for (; to < entries.length && alignable(entries[from], entries[to]); to++) {
      const own = widths(entries[to], columns);
      const shorter = low.map((w, c) => Math.min(w, own[c]));
      const longer = high.map((w, c) => Math.max(w, own[c]));
      const limit = entries[from].group === "bind" ? maxPadding : 4 * maxPadding;
      if (longer.some((w, c) => w - shorter[c] > limit)) break;
      low = shorter;
      high = longer;
    }
    if (to > from + 1) {
      const padded = entries
        .slice(from, to)
        .map((e) => (e.cells ?? []).map((t, c) => t.padEnd(high[c] ?? 0)).join(" "));
      if (padded.every((line) => line.length <= room)) {
        for (let i = from; i < to; i++) texts[i] = padded[i - from];
      }
    }
    from = to;
  }
  return texts;
}

/** Of all cells but the last, which needs no padding. */
function widths(entry: Entry, columns: number): number[] {
  return (entry.cells ?? []).slice(0, Math.max(0, columns)).map((cell) => cell.length);
}

function alignable(first: Entry, entry: Entry): boolean {
  if (entry.cells === undefined || entry.group !== first.group || entry.doc !== undefined) return false;
  if (entry.trivia !== undefined && (entry.trivia.blankBefore || entry.trivia.leading.length > 0))
    return false;
  return !entry.text.includes("\n") && !first.text.includes("\n");
}
