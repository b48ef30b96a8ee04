// Parameters and buffers of a model once it is built: their paths, ties and what is frozen, and patterns that name them.
// In: the tree of instances. Out: slots in the order of declaration. Separate from building: nothing is evaluated here.
import { didYouMean } from "../../../diagnostics/nearest.ts";
import { bytesPer } from "../../../ir/data.ts";
import type { LayerInfo } from "../../../model.ts";
import type * as ast from "../../../syntax/ast.ts";
import { baseCtx, type Ctx, fail, LIMITS, recover, type Shared, step } from "../values/context.ts";
import { calledParts, type Instance, owner, type Slot, type Val } from "../values/values.ts";

/** All values in the order of declaration, instances, lists and slots alike. */
export function place(
  root: Instance,
  shared: Shared,
): { readonly slots: readonly Slot[]; readonly layers: readonly LayerInfo[] } {
  const layers: LayerInfo[] = [];
  const slots: Slot[] = [];
  const seen = new Set<Slot>();
  const ctx = baseCtx(shared, root.module);
  const join = (path: string, name: string): string =>
    path === "" || name === "" ? path + name : `${path}.${name}`;
  const visitInstance = (instance: Instance, path: string): void => {
    const first = instance.path === undefined;
    if (first) {
      instance.path = path;
      if (instance !== root) layers.push({ path, layer: instance.decl.name.name });
    }
    for (const name of instance.members.keys())
      for (const [word, val] of calledParts(instance, name)) visit(val, join(path, word));
    for (const [name, val] of instance.args) visit(val, join(path, name));
  };
  const visit = (val: Val, path: string): void => {
    // A list of lists may hold one list many times, and an instance be reached by many paths.
    step(ctx, root.decl.name.span);
    if (val.kind === "slot") {
      const slot = val.slot;
      // A slot that is a member of another instance (a plain re-binding of it) is a further path of the same.
      if (!slot.paths.includes(path)) slot.paths.push(path);
      if (!seen.has(slot)) {
        seen.add(slot);
        slots.push(slot);
      }
    } else if (val.kind === "instance") visitInstance(val.instance, path);
    else if (val.kind === "list" || val.kind === "tuple")
      for (const [i, v] of val.items.entries()) visit(v, join(path, String(i)));
    else if (val.kind === "record") for (const [k, v] of val.fields) visit(v, join(path, k));
    else if (val.kind === "partial") for (const a of val.args) visit(a.val, path);
  };
  visitInstance(root, "");
  // A tie is one tensor: the paths of both, in the order of declaration.
  const order = new Map(slots.map((s, i) => [s, i]));
  const owners: Slot[] = [];
  const members = new Map<Slot, Slot[]>();
  for (const s of slots) {
    const o = owner(s);
    const list = members.get(o);
    if (list) list.push(s);
    else {
      members.set(o, [s]);
      owners.push(o);
    }
  }
  for (const [o, list] of members) {
    if (list.length === 1 && list[0] === o) continue;
    const all = list.sort((x, y) => (order.get(x) ?? 0) - (order.get(y) ?? 0)).flatMap((s) => s.paths);
    o.paths = [...new Set(all)];
    for (const s of list) s.paths = o.paths;
  }
  const called = new Map<string, Slot>();
  for (const o of owners)
    for (const path of o.paths) {
      const other = called.get(path);
      if (other)
        fail(ctx, "E0707", `two ${o.kind}s are called ${path}`, o.span, {
          secondary: [{ span: other.span, text: "the other one" }],
        });
      called.set(path, o);
    }
  for (const kind of ["param", "buffer"] as const) {
    const bytes = owners
      .filter((s) => s.kind === kind)
      .reduce((n, s) => n + s.shape.reduce((a, b) => a * b, 1) * bytesPer(s.dtype), 0);
    const largest = owners.filter((s) => s.kind === kind).sort((a, b) => elements(b) - elements(a))[0];
    if (bytes > LIMITS.bytes)
      fail(
        ctx,
        "E1006",
        `the ${kind}s of ${root.decl.name.name} take ${(bytes / 2 ** 30).toFixed(1)} GiB, more than ${LIMITS.bytes / 2 ** 30} GiB`,
        largest.span,
        { help: "the largest is declared here" },
      );
  }
  freeze(root, owners, shared);
  return { slots: owners, layers };
}

const elements = (s: Slot): number => s.shape.reduce((a, b) => a * b, 1);

function freeze(root: Instance, slots: readonly Slot[], shared: Shared): void {
  const done = new Set<Instance>();
  const stack: Instance[] = [root];
  const met = new Set<Val>();
  const push = (v: Val): void => {
    if (met.has(v)) return;
    met.add(v);
    if (v.kind === "instance") stack.push(v.instance);
    else if (v.kind === "list" || v.kind === "tuple") v.items.forEach(push);
    else if (v.kind === "record") for (const f of v.fields.values()) push(f);
  };
  for (let i = stack.pop(); i; i = stack.pop()) {
    if (done.has(i)) continue;
    done.add(i);
    for (const v of i.members.values()) push(v);
    for (const v of i.args.values()) push(v);
    for (const m of i.decl.members) {
      if (m.kind !== "frozen") continue;
      const ctx: Ctx = { ...baseCtx(shared, i.module), path: i.path ?? "" };
      for (const p of m.patterns)
        recover(() => {
          for (const s of matchSlots(ctx, slots, p, i.path ?? "")) s.frozen = true;
        }, undefined);
    }
  }
}

const segmentMatches = (glob: string, text: string): boolean => {
  const [first, ...rest] = glob.split("*");
  const last = rest.pop();
  if (last === undefined) return glob === text;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  // Each part as early as it can be: linear, whatever the pattern is.
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
};
/** A pattern's segments against a path's; a lone `*` first or last stands for one or more segments. */
export function pathMatches(glob: readonly string[], path: string): boolean {
  const text = path.split(".");
  const from = (g: number, t: number): boolean => {
    if (g === glob.length) return t === text.length;
    if (t === text.length) return false;
    if (glob[g] === "*" && (g === 0 || g === glob.length - 1)) {
      for (let n = t + 1; n <= text.length; n++) if (from(g + 1, n)) return true;
      return false;
    }
    return segmentMatches(glob[g], text[t]) && from(g + 1, t + 1);
  };
  return from(0, 0);
}

/** The parameters a pattern names, by any of their paths, relative to the instance at `prefix`. */
export function matchSlots(
  ctx: Ctx,
  slots: readonly Slot[],
  pattern: ast.Pattern,
  prefix: string,
): readonly Slot[] {
  const glob = [...(prefix === "" ? [] : prefix.split(".")), ...pattern.segments];
  const free = prefix === "" ? glob : undefined;
  const hits = (path: string, deeper: readonly string[]): boolean => {
    if (free) return pathMatches([...free, ...deeper], path);
    if (!path.startsWith(`${prefix}.`)) return false;
    return pathMatches([...pattern.segments, ...deeper], path.slice(prefix.length + 1));
  };
  step(ctx, pattern.span, slots.length);
  const params = slots.filter((s) => s.kind === "param");
  const found = params.filter((s) => s.paths.some((path) => hits(path, [])));
  if (found.length === 0) {
    const text = pattern.segments.join(".");
    const known = params.flatMap((s) => s.paths.map((p) => p.slice(prefix === "" ? 0 : prefix.length + 1)));
    const heads = [...new Set(known.map((p) => p.split(".")[0]))];
    const within = params.some((s) => s.paths.some((path) => hits(path, ["*"])));
    const near = within
      ? `the parameters in it are ${text}.*`
      : (didYouMean(text, known) ?? didYouMean(pattern.segments[0] ?? "", heads));
    const some = known.filter((p) => p.split(".")[0] === pattern.segments[0]);
    const list = some.length > 0 ? some : heads;
    const help =
      near ?? (list.length > 0 ? `there is ${list.slice(0, 8).join(", ")}` : "there are no parameters here");
    fail(ctx, "E0704", `no parameter is called ${text}`, pattern.span, { help });
  }
  return found;
}
