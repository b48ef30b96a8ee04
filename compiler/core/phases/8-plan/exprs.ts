// Sizes as rows of an expression table. In: Dims. Out: the Program's Expr rows, shared where equal. A loop's table
// continues its parent's numbering, so that a body can use both.

import type { Expr, ExprId } from "../../../../runtime/core/program.ts";
import { type Dim, type DimLike, dim } from "../../dims/dim.ts";

export class ExprTable {
  readonly rows: Expr[] = [];
  private readonly base: number;
  private readonly parent: ExprTable | undefined;
  private readonly known = new Map<string, ExprId>();

  constructor(parent?: ExprTable) {
    this.parent = parent;
    this.base = parent ? parent.base + parent.rows.length : 0;
  }
  /** A table for the body of a loop. No row may be added to this one while the child is in use. */
  child(): ExprTable {
    return new ExprTable(this);
  }
  private lookup(key: string): ExprId | undefined {
    return this.known.get(key) ?? this.parent?.lookup(key);
  }
  private row(key: string, e: Expr): ExprId {
    const old = this.lookup(key);
    if (old !== undefined) return old;
    const id = this.base + this.rows.length;
    this.rows.push(e);
    this.known.set(key, id);
    return id;
  }
  private op(op: "+" | "-" | "*" | "/" | "%" | "min" | "max", a: ExprId, b: ExprId): ExprId {
    return this.row(`${op} ${a} ${b}`, [op, a, b]);
  }
  literal(n: number): ExprId {
    return this.row(`#${n}`, n);
  }
  id(d: DimLike): ExprId {
    const e = dim(d);
    const old = this.lookup(`=${e.key}`);
    if (old !== undefined) return old;
    const out = this.build(e);
    this.known.set(`=${e.key}`, out);
    return out;
  }
  private build(d: Dim): ExprId {
    if (d.terms.length === 0) return this.literal(0);
    let sum: ExprId | undefined;
    for (const t of d.terms) {
      let p: ExprId | undefined;
      for (const a of t.atoms) {
        const x =
          a.kind === "symbol"
            ? this.row(`s${a.name}`, a.name)
            : a.kind === "floor"
              ? this.op("/", this.id(a.num), this.id(a.den))
              : this.op(a.kind, this.id(a.a), this.id(a.b));
        p = p === undefined ? x : this.op("*", p, x);
      }
      const term =
        p === undefined ? this.literal(t.coef) : t.coef === 1 ? p : this.op("*", p, this.literal(t.coef));
      sum = sum === undefined ? term : this.op("+", sum, term);
    }
    return sum as ExprId;
  }
}
