// Step: the rest is inlined or stored, decided from the readers back: a value is computed by who reads it where that is one
// kernel, or costs next to nothing.
import type { Node, Value } from "../../ir/types.ts";
import { type Draft, isView, LONGEST_CHAIN, type Partition } from "./partition.ts";

/** Different places at which one kernel computes an inlined value: what reads shifted copies of itself doubles them. */
const MOST_PLACES = 16;
/** Operands of a view that a kernel picks from in its innermost loop. */
const MOST_PICKED = 3;

export interface Reading {
  /** Kernels that would compute the value, through whatever is inlined in them. */
  readonly groups: Set<Draft>;
  /** Distinct coordinates at which they would compute it. */
  readonly places: Set<number>;
  hot: boolean;
  /** Inlined values between it and the kernel that stores something, this one counted. */
  chain: number;
  /** Somebody who is not derived reads it. */
  outside: boolean;
}

/** Who computes what is inlined. */
export class Readings {
  readonly known = new Map<Node, Reading>();
  private readonly placeIds = new Map<string, number>();
  private readonly p: Partition;

  constructor(p: Partition) {
    this.p = p;
  }
  private placeId(key: string): number {
    const id = this.placeIds.get(key) ?? this.placeIds.size;
    this.placeIds.set(key, id);
    return id;
  }
  /** Who reads v, views looked through. */
  of(v: Value): Reading {
    const { p } = this;
    const out: Reading = { groups: new Set(), places: new Set(), hot: false, chain: 1, outside: false };
    for (const u of p.usersOf(v)) {
      const g = p.region.get(u);
      if (g) {
        out.groups.add(g);
        if (p.anchors.has(u)) out.hot = true;
        out.outside ||= !p.isDerived(u);
        if (u.op.fuses === "map") out.places.add(this.placeId(`${g.id}`));
        else
          u.inputs.forEach((x, i) => {
            if (x === v) out.places.add(this.placeId(`${g.id}:${u.id}.${i}`));
          });
        continue;
      }
      const r = this.known.get(u);
      if (!r) continue;
      for (const x of r.groups) out.groups.add(x);
      out.hot ||= r.hot;
      out.outside ||= isView(u) ? r.outside : !p.isDerived(u);
      out.chain = Math.max(out.chain, r.chain + 1);
      if (!isView(u)) for (const q of r.places) out.places.add(q);
      else
        u.inputs.forEach((x, i) => {
          if (x === v) for (const q of r.places) out.places.add(this.placeId(`${u.id}.${i}@${q}`));
        });
    }
    return out;
  }
}
/** An expression grows with its depth, and with the places it is computed at: both have an end. */
const tooFar = (n: Node, r: Reading): boolean =>
  n.inputs.length > 0 &&
  (r.chain > LONGEST_CHAIN || r.places.size > MOST_PLACES * Math.max(1, r.groups.size));
export function inlineOrStore(p: Partition): Readings {
  const readings = new Readings(p);
  for (let i = p.nodes.length - 1; i >= 0; i--) {
    const n = p.nodes[i];
    if (n.op.fuses === "source") continue;
    const v = n.outs[0];
    const within = p.region.get(n);
    if (within) {
      // A view that a pack or sink names is stored as its base, or by a kernel of its own where it lies otherwise.
      if (isView(n) && !p.home.has(v) && p.isNamed(v)) {
        const base = p.orderKeepingBase(v);
        if (base && p.home.has(base)) p.alias.set(v, base);
        else {
          p.drop(within, n);
          p.store(n);
        }
      }
      continue;
    }
    const named = p.isNamed(v);
    if (isView(n)) {
      if (p.home.has(v)) continue;
      const r = readings.of(v);
      if (named) {
        const base = p.orderKeepingBase(v);
        if (base && base.node.op.fuses !== "source") {
          p.alias.set(v, base);
          if (!p.home.has(base) && !p.region.has(base.node)) p.store(base.node);
        } else {
          p.store(n);
          continue;
        }
      } else if (tooFar(n, r) || (r.hot && n.inputs.length > MOST_PICKED)) {
        p.store(n);
        continue;
      }
      readings.known.set(n, r);
      continue;
    }
    if (named || p.alias.has(v)) {
      p.store(n);
      continue;
    }
    const r = readings.of(v);
    if (r.groups.size === 0) {
      // Only reads by inlined nodes that were inlined nowhere: dead, or reached through views of sinks.
      if (p.shownBySinks.has(v)) p.store(n);
      continue;
    }
    if (p.isDerived(n) && p.isFromParams(n) && r.outside) {
      p.store(n);
      continue;
    }
    if (tooFar(n, r)) {
      p.store(n);
      continue;
    }
    const cost = p.costOf(v);
    const cheap = cost.loads <= 1 && cost.heavy === 0;
    if ((r.groups.size === 1 && !r.hot) || cheap) readings.known.set(n, r);
    else if (r.groups.size === 1 && r.hot && cost.loads <= 1 && cost.heavy <= 1) readings.known.set(n, r);
    else p.store(n);
  }
  p.decided = true;
  return readings;
}
