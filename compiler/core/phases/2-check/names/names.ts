// Names by the text alone: unknown ones everywhere, also in layers and fns that no model uses, and locals and imports that
// are never read. In: a module. Out: diagnostics. Separate from the interpreter, which only sees what a model reaches; where
// both find the same mistake they say it in the same words, and it is shown once.
import { foreign, foreignModule } from "../../../diagnostics/foreign.ts";
import { closest, didYouMean } from "../../../diagnostics/nearest.ts";
import type { Diagnostics, Span } from "../../../diagnostics/report.ts";
import type * as ast from "../../../syntax/ast.ts";
import { childrenOf, namesOf } from "../../../syntax/walk.ts";
import { type Builtins, type Item, importFor, type Module } from "./modules.ts";
import { capital, inferredHelp, isSymbolName, namesIn, symbolHelp } from "./symbols.ts";
import type { Definition, DefinitionKind, Referrer } from "./table.ts";

interface Local {
  readonly span: Span;
  readonly definition?: Definition | undefined;
  /** Warned about where it is never read. */
  readonly watched: boolean;
  used: boolean;
}

class Names {
  readonly locals = new Map<string, Local>();
  readonly parent: Names | undefined;
  constructor(parent?: Names) {
    this.parent = parent;
  }
  find(name: string): Local | undefined {
    for (let n: Names | undefined = this; n; n = n.parent) {
      const l = n.locals.get(name);
      if (l) return l;
    }
    return undefined;
  }
  *all(): Iterable<string> {
    for (let n: Names | undefined = this; n; n = n.parent) yield* n.locals.keys();
  }
}

export function checkNames(
  module: Module,
  resolve: (path: string) => string | undefined,
  builtins: Builtins,
  out: Diagnostics,
  table?: Referrer,
): void {
  new Pass(module, resolve, builtins, out, table).run();
}

class Pass {
  private readonly module: Module;
  private readonly out: Diagnostics;
  private readonly usedTop = new Set<string>();
  /** Static members that stand below the declaration at hand. */
  private later: ReadonlySet<string> | undefined;

  private readonly resolve: (path: string) => string | undefined;

  private readonly builtins: Builtins;
  private readonly table: Referrer | undefined;

  constructor(
    module: Module,
    resolve: (path: string) => string | undefined,
    builtins: Builtins,
    out: Diagnostics,
    table: Referrer | undefined,
  ) {
    this.table = table;
    this.module = module;
    this.resolve = resolve;
    this.builtins = builtins;
    this.out = out;
  }

  run(): void {
    for (const item of this.module.source.items)
      if (item.kind === "import") for (const n of item.names) this.imported(n);
      else if (item.kind !== "error") this.defined(item);
    for (const item of this.module.source.items) this.item(item);
    for (const item of this.module.source.items) {
      if (item.kind !== "import") continue;
      for (const n of item.names) {
        const name = n.alias ?? n.name;
        if (this.module.names.get(name.name)?.imported && !this.usedTop.has(name.name))
          this.out.report("W0201", `${name.name} is imported and not used`, n.span, { help: "remove it" });
      }
    }
  }

  private item(item: ast.Item): void {
    const top = new Names();
    this.ended = new Set();
    switch (item.kind) {
      case "layer":
      case "model":
      case "optimizer":
        this.layer(item);
        return;
      case "fn":
        this.fns = new Map();
        this.fn(top, item);
        return;
      case "op":
        this.op(item);
        return;
      case "bind":
        this.expr(top, item.value);
        return;
      case "train":
        this.usedTop.add(item.model.name);
        this.top(item.model.span, item.model.name);
        this.members = this.modelOf(item);
        this.mention(item);
        for (const c of item.clauses) if (c.kind === "minimize") this.minimized(c.value);
        this.members = undefined;
        return;
      case "import":
      case "error":
        return;
    }
  }

  /** A loss is of the model's fns: what they are of has no name in the block. */
  private minimized(e: ast.Node): void {
    // Arguments of the model's own fns are judged where these are called.
    if (e.kind === "call" && e.callee.kind === "name" && this.members?.has(e.callee.name)) return;
    for (const child of childrenOf(e)) {
      const callee = e.kind === "call" && child === e.callee;
      if (child.kind !== "name") this.minimized(child);
      else if (!callee && this.members && !this.members.has(child.name) && !this.topKnown(child.name))
        this.out.report("E0201", `there is no ${child.name} here`, child.span, {
          help:
            didYouMean(child.name, this.members.keys()) ??
            "a block names fns of its model, without their inputs: give the model a fn loss(x: …, y: …), and minimize loss",
        });
    }
  }
  private topKnown(name: string): boolean {
    return this.module.names.has(name) || this.module.missing.has(name) || this.builtins.has(name);
  }

  /** Names in places that are judged elsewhere count as used. */
  private mention(node: ast.Node): void {
    if (node.kind === "name") {
      this.usedTop.add(node.name);
      this.member(node.span, node.name);
    } else if (node.kind === "pattern") {
      const [first] = node.segments;
      this.member({ ...node.span, end: node.span.start + first.length }, first);
    }
    for (const child of childrenOf(node)) this.mention(child);
  }

  private bind(
    names: Names,
    ident: ast.Ident,
    watched: boolean,
    kind: DefinitionKind = "local",
    doc?: string,
  ): void {
    if (ident.name === "_") return;
    // A carry's next value is the carry.
    const old = names.locals.get(ident.name);
    const carry = kind === "local" && old && !old.watched ? old.definition : undefined;
    if (carry) this.table?.refer(ident.span, carry);
    const definition = carry ?? this.table?.define(ident.span, kind, ident.name, doc);
    names.locals.set(ident.name, { span: ident.span, definition, watched, used: false });
  }

  private defined(item: Item | ast.TrainDecl): Definition | undefined {
    const kind = item.kind === "bind" ? "constant" : item.kind;
    return this.table?.define(item.name.span, kind, item.name.name, item.doc);
  }
  private imported(n: ast.ImportName): void {
    const found = this.module.names.get((n.alias ?? n.name).name);
    if (!found) this.top(n.name.span, n.name.name);
    if (!this.table || !found?.imported) return;
    const definition = this.defined(found.item);
    this.table.refer(n.name.span, definition);
    if (n.alias) this.table.refer(n.alias.span, definition);
  }
  /** A name of the file, an import, or the language's own. */
  private top(span: Span, name: string): void {
    const found = this.module.names.get(name);
    if (found) this.table?.refer(span, this.defined(found.item));
    else if (this.builtins.has(name)) this.table?.referToBuiltin(span, name);
  }
  /** Fns of the layer at hand. */
  private fns: ReadonlyMap<string, ast.FnDecl> = new Map();
  /** The members of the model that the train block at hand is for. */
  private members: ReadonlyMap<string, Span> | undefined;
  private modelOf(train: ast.TrainDecl): ReadonlyMap<string, Span> | undefined {
    const model = this.module.names.get(train.model.name)?.item;
    if (model?.kind !== "model") return undefined;
    const named = model.members.flatMap((m) => ("name" in m ? [m.name] : []));
    return new Map([...model.params.map((p) => p.name), ...named].map((n) => [n.name, n.span]));
  }
  private member(span: Span, name: string): void {
    const at = this.members?.get(name);
    if (at) this.table?.referTo(span, at);
    else this.top(span, name);
  }

  /** Names of blocks of the fn at hand that have ended. */
  private ended = new Set<string>();

  /** Warns of locals that were never read, when their scope ends. */
  private close(names: Names): void {
    for (const name of names.locals.keys()) this.ended.add(name);
    for (const [name, l] of names.locals)
      if (l.watched && !l.used) this.out.report("W0201", `${name} is bound and never read`, l.span);
  }

  private layer(decl: ast.LayerDecl | ast.ModelDecl | ast.OptimizerDecl): void {
    this.fns = new Map(decl.members.flatMap((m) => (m.kind === "fn" ? [[m.name.name, m] as const] : [])));
    const params = new Names();
    for (const p of decl.params) {
      this.type(params, p.type, false);
      if (p.default) this.expr(params, p.default);
      this.bind(params, p.name, false, "parameter");
    }
    const members = new Names(params);
    // Declarations of params and buffers see the static members before them.
    const statics = new Names(params);
    const later = new Set(
      decl.members.flatMap((m) =>
        m.kind === "bind"
          ? [m.name.name]
          : m.kind === "bind_tuple"
            ? namesOf(m.target).map((n) => n.name)
            : [],
      ),
    );
    for (const m of decl.members) {
      if (m.kind === "param_decl" || m.kind === "buffer_decl") {
        this.later = later;
        if (m.called) this.expr(statics, m.called);
        this.type(statics, m.type, false);
        if (m.init) this.expr(statics, m.init);
        if (m.when) this.expr(statics, m.when);
        this.bind(members, m.name, false, m.kind === "param_decl" ? "param" : "buffer", m.doc);
        this.later = undefined;
      } else if (m.kind === "bind") {
        this.expr(members, m.value);
        if (m.called) this.expr(members, m.called);
        this.bind(members, m.name, false, "member", m.doc);
        this.bind(statics, m.name, false, "member");
        later.delete(m.name.name);
      } else if (m.kind === "bind_tuple") {
        this.expr(members, m.value);
        for (const n of namesOf(m.target)) {
          this.bind(members, n, false, "member");
          this.bind(statics, n, false, "member");
          later.delete(n.name);
        }
      } else if (m.kind === "fn") this.bind(members, m.name, false, "fn", m.doc);
    }
    for (const m of decl.members) {
      if (m.kind === "tie") {
        this.expr(members, m.target);
        this.expr(members, m.value);
      } else if (m.kind === "fn") this.fn(members, m);
    }
  }

  private fn(outer: Names, decl: ast.FnDecl | ast.FnExpr): void {
    if (decl.kind === "fn") this.ended = new Set();
    const names = new Names(outer);
    for (const p of decl.params) this.symbols(names, p.type);
    // Sizes may name static parameters, wherever these stand.
    const isStatic = (p: ast.Param): boolean => p.type.kind === "static_type";
    for (const p of decl.params) if (isStatic(p)) this.bind(names, p.name, false, "parameter");
    for (const p of decl.params) {
      this.type(names, p.type, true);
      if (p.default) this.expr(names, p.default);
      if (!isStatic(p)) this.bind(names, p.name, false, "parameter");
    }
    if (decl.result) this.type(names, decl.result, true);
    this.block(names, decl.body);
  }

  private op(decl: ast.OpDecl): void {
    const names = new Names();
    for (const p of decl.params) {
      if (p.default) this.expr(names, p.default);
      this.bind(names, p.name, false, "parameter");
    }
    this.block(new Names(names), decl.body);
    if (!decl.grad) return;
    const inside = new Names(names);
    this.bind(inside, decl.grad.cotangent, false);
    this.block(inside, decl.grad.body);
  }

  /** Symbols of a parameter's type come into being there; whether its sizes can bind them shows at the call. */
  private symbols(names: Names, type: ast.Type): void {
    if (type.kind === "optional_type" || type.kind === "list_type") this.symbols(names, type.element);
    if (type.kind !== "tensor_type") return;
    for (const d of type.dims)
      for (const n of d.kind === "ellipsis" ? [] : namesIn(d))
        if (isSymbolName(n.name) && !names.locals.has(n.name) && this.unbound(names, n))
          names.locals.set(n.name, {
            span: n.span,
            definition: this.table?.define(n.span, "symbol", n.name),
            watched: false,
            used: true,
          });
  }

  private type(names: Names, type: ast.Type | ast.RecordType, inFn: boolean): void {
    switch (type.kind) {
      case "tensor_type":
        for (const d of type.dims) {
          if (d.kind === "ellipsis") continue;
          const unbound = inFn ? namesIn(d).filter((n) => this.unbound(names, n)) : [];
          for (const n of unbound)
            this.out.report("E0501", `the symbol ${n.name} is not bound here`, n.span, {
              help: symbolHelp(n.name, names.all()),
            });
          if (inFn) for (const n of namesIn(d)) this.size(names, n);
          if (unbound.length === 0) this.expr(names, d);
        }
        return;
      case "record_type":
        for (const f of type.fields) this.type(names, f.type, inFn);
        return;
      case "list_type":
      case "optional_type":
        this.type(names, type.element, inFn);
        return;
      case "union_type":
        for (const t of type.types) this.type(names, t, inFn);
        return;
      case "static_type":
        this.usedTop.add(type.name.name);
        if (this.module.names.has(type.name.name)) this.top(type.name.span, type.name.name);
        return;
      default:
        return;
    }
  }

  /** A lower-case size that nothing binds was meant to be inferred: said once, for its capital too. */
  private size(names: Names, n: ast.NameExpr): void {
    if (isSymbolName(n.name) || names.find(n.name)) return;
    if (this.topKnown(n.name)) return;
    this.out.report("E0201", `there is no ${n.name} here`, n.span, {
      help: inferredHelp(n.name, names.all()),
    });
    for (const name of [n.name, capital(n.name)])
      names.locals.set(name, { span: n.span, watched: false, used: true });
  }

  private unbound(names: Names, d: ast.NameExpr): boolean {
    return isSymbolName(d.name) && !names.find(d.name) && this.module.names.get(d.name)?.item.kind !== "bind";
  }

  /** Statements and the result, in `names`; its locals end with it. */
  private block(names: Names, block: ast.Block): void {
    for (const s of block.statements) {
      switch (s.kind) {
        case "let":
          this.expr(names, s.value);
          for (const n of namesOf(s.target)) {
            // A carry's next value is read by the loop.
            const carry = names.locals.get(n.name)?.watched === false;
            const old = names.locals.get(n.name);
            if (old?.watched && !old.used)
              this.out.report("W0201", `${n.name} is bound and never read`, old.span);
            this.bind(names, n, !carry);
          }
          break;
        case "store":
          this.expr(names, s.target);
          this.expr(names, s.value);
          break;
        case "emit":
        case "expr_stmt":
          this.expr(names, s.value);
          break;
        case "error":
          // What is missing here may be what reads a name.
          for (const l of names.locals.values()) l.used = true;
          break;
      }
    }
    if (block.result) this.expr(names, block.result);
    this.close(names);
  }

  private expr(names: Names, e: ast.Expr): void {
    switch (e.kind) {
      case "name":
        this.name(names, e);
        return;
      case "call":
        this.expr(names, e.callee);
        for (const a of e.args) {
          // grad's wrt names a parameter of the other fn.
          if (a.name?.name === "wrt") this.quietly(names, a.value, this.fnNamed(names, e.args[0]?.value));
          else this.expr(names, a.value);
        }
        return;
      case "index":
        this.expr(names, e.object);
        for (const i of e.items) {
          if (i.kind === "at" && isNothing(i.value)) this.noAxis(names, i.value);
          else if (i.kind === "at") this.expr(names, i.value);
          else if (i.kind === "slice") for (const x of [i.start, i.stop, i.step]) if (x) this.expr(names, x);
        }
        return;
      case "binary":
      case "pipe": {
        // Long chains lean to the left: walked, not recursed into.
        const rights: ast.Expr[] = [];
        let first: ast.Expr = e;
        while (first.kind === "binary" || first.kind === "pipe") {
          rights.push(first.right);
          first = first.left;
        }
        this.expr(names, first);
        for (const r of rights.reverse()) this.expr(names, r);
        return;
      }
      case "comprehension": {
        this.expr(names, e.iterable);
        const inside = new Names(names);
        for (const n of namesOf(e.target)) this.bind(inside, n, false);
        if (e.condition) this.expr(inside, e.condition);
        this.expr(inside, e.element);
        return;
      }
      case "if": {
        this.expr(names, e.condition);
        this.block(new Names(names), e.then);
        if (e.else?.kind === "if") this.expr(names, e.else);
        else if (e.else) this.block(new Names(names), e.else);
        return;
      }
      case "for":
      case "scan": {
        this.expr(names, e.kind === "for" ? e.iterable : e.sequence);
        if (e.kind === "scan") this.expr(names, e.axis);
        for (const c of e.carries) this.expr(names, c.value);
        const inside = new Names(names);
        for (const n of namesOf(e.target)) this.bind(inside, n, false);
        for (const c of e.carries) this.bind(inside, c.name, false);
        this.block(inside, e.body);
        return;
      }
      case "fn_expr":
        this.fn(names, e);
        return;
      case "member":
        if (!this.ofModule(names, e)) this.expr(names, e.object);
        return;
      case "record":
        for (const f of e.fields) this.expr(names, f.value);
        return;
      default:
        for (const child of childrenOf(e)) if (isExpr(child)) this.expr(names, child);
    }
  }

  /** The fn that an expression names, where it does. */
  private fnNamed(names: Names, e: ast.Expr | undefined): ast.FnDecl | undefined {
    if (e?.kind !== "name") return undefined;
    if (names.find(e.name)) return this.fns.get(e.name);
    const item = this.module.names.get(e.name)?.item;
    return item?.kind === "fn" ? item : undefined;
  }
  private quietly(names: Names, e: ast.Expr, fn: ast.FnDecl | undefined): void {
    if (e.kind === "name") {
      const l = names.find(e.name);
      if (l) l.used = true;
      const param = fn?.params.find((p) => p.name.name === e.name);
      const of = param ? this.table?.define(param.name.span, "parameter", e.name) : l?.definition;
      this.table?.refer(e.span, of);
    } else if (e.kind === "list" || e.kind === "tuple") for (const i of e.items) this.quietly(names, i, fn);
    else this.mention(e);
  }

  private *known(names: Names): Iterable<string> {
    yield* names.all();
    yield* this.module.names.keys();
    yield* this.builtins.names();
  }

  private name(names: Names, e: ast.NameExpr): void {
    const local = names.find(e.name);
    if (local) {
      local.used = true;
      this.table?.refer(e.span, local.definition);
      return;
    }
    this.usedTop.add(e.name);
    this.top(e.span, e.name);
    if (this.topKnown(e.name)) return;
    const message = `there is no ${e.name} here`;
    // Many mistakes are told of without a search for what was meant.
    const help = this.out.knows("E0201", message, e.span) ? undefined : this.unknown(names, e.name);
    this.out.report("E0201", message, e.span, help === undefined ? {} : { help });
  }

  /** `nn.Linear`, `torch.nn.functional.relu`: what is meant is the last name, which has no module before it here. */
  private ofModule(names: Names, e: ast.MemberExpr): boolean {
    let root: ast.Expr = e.object;
    while (root.kind === "member" && foreignModule(root.name.name)) root = root.object;
    if (root.kind !== "name" || !foreignModule(root.name) || names.find(root.name)) return false;
    if (this.module.names.has(root.name) || this.module.missing.has(root.name)) return false;
    const { name } = e.name;
    const own = this.module.names.has(name) || this.builtins.has(name);
    this.usedTop.add(name);
    const help = own
      ? `no module stands before it: write ${name}`
      : (importFor(name, this.resolve) ?? foreign(name) ?? foreign(root.name));
    this.out.report("E0201", `there is no ${root.name} here`, root.span, help === undefined ? {} : { help });
    return true;
  }

  /** NumPy's `x[:, None]`. */
  private noAxis(names: Names, e: ast.NameExpr): void {
    if (names.find(e.name) || this.builtins.has(e.name)) this.name(names, e);
    else
      this.out.report("E0201", `there is no ${e.name} here`, e.span, {
        help: "an axis of 1 is made by new: x[:, new]",
      });
  }

  private unknown(names: Names, name: string): string | undefined {
    if (this.later?.has(name)) return `${name} is bound below; bind it before this declaration`;
    if (this.ended.has(name))
      return `${name} is bound in a block that has ended, whose value is what it ends with: ${name} = if c { a } else { b }`;
    // What is here and differs by its case is meant, rather than another library's.
    const told = importFor(name, this.resolve) ?? (names.find(capital(name)) ? undefined : foreign(name));
    if (told !== undefined) return told;
    const near = closest(name, this.known(names));
    if (near === undefined) return undefined;
    // An import that was meant here is not one too many.
    this.usedTop.add(near);
    return `did you mean ${near}?`;
  }
}

const isNothing = (e: ast.Expr): e is ast.NameExpr =>
  e.kind === "name" && (e.name === "None" || e.name === "newaxis");

const EXPRS: ReadonlySet<string> = new Set(
  "int float bool string name pattern call member index unary binary pipe range list tuple record comprehension if for scan fn_expr error".split(
    " ",
  ),
);
const isExpr = (n: ast.Node): n is ast.Expr => EXPRS.has(n.kind);
