// What scheduling asks of a target, taken down: whoever would have answered alike can have what was made. In: a target, and how
// something is made for it. Out: that, or what was made for another one.
import type { Region } from "../../regions/region.ts";
import type { Target } from "../../targets.ts";

/** A part of a target that is data: what it holds is asked one by one. Lists, and what holds functions, are one answer. */
const isData = (x: unknown): x is Readonly<Record<string, unknown>> =>
  typeof x === "object" &&
  x !== null &&
  !Array.isArray(x) &&
  Object.values(x).every((v) => typeof v !== "function");
/** What a part that is watched is. */
const watchedParts = new WeakMap<object, unknown>();
const plain = (x: unknown): unknown =>
  typeof x === "object" && x !== null && watchedParts.has(x) ? plain(watchedParts.get(x)) : x;
const alike = (a: unknown, b: unknown): boolean =>
  a === b || (Array.isArray(a) && Array.isArray(b) && JSON.stringify(a) === JSON.stringify(b));

export class Asked {
  /** The target, to be asked. */
  readonly target: Target;
  private readonly answers = new Map<
    string,
    { readonly path: readonly string[]; readonly answer: unknown }
  >();

  constructor(target: Target) {
    this.target = this.watched(target, []) as Target;
  }
  /** The other target answers all that was asked as this one did. */
  alike(other: Target): boolean {
    for (const { path, answer } of this.answers.values()) {
      let at: unknown = other;
      for (const name of path) at = (at as Readonly<Record<string, unknown>> | undefined)?.[name];
      if (!alike(at, answer)) return false;
    }
    return true;
  }
  private watched(of: object, path: readonly string[]): object {
    const parts = new Map<PropertyKey, object>();
    const out = new Proxy(of, {
      get: (from, name) => {
        const known = parts.get(name);
        if (known) return known;
        const answer: unknown = Reflect.get(from, name);
        const here = [...path, String(name)];
        if (isData(plain(answer))) {
          const part = this.watched(answer as object, here);
          parts.set(name, part);
          return part;
        }
        const key = here.join(".");
        if (!this.answers.has(key)) this.answers.set(key, { path: here, answer });
        return answer;
      },
    });
    watchedParts.set(out, of);
    return out;
  }
}

/** What is made for targets, once for those that would have answered alike. */
export class ForTargets<T> {
  private readonly list: { readonly asked: Asked; readonly made: T }[] = [];

  of(target: Target, make: (target: Target) => T): T {
    const old = this.list.find((m) => m.asked.alike(target));
    if (old) return old.made;
    const asked = new Asked(target);
    const made = make(asked.target);
    this.list.push({ asked, made });
    return made;
  }
}
/** What is made of a group, by what it is; targets may share a group. */
export class OfGroups<T> {
  private readonly known = new WeakMap<Region, Map<string, ForTargets<T>>>();

  of(group: Region, what: string, target: Target, make: (target: Target) => T): T {
    const own = this.known.get(group) ?? new Map<string, ForTargets<T>>();
    this.known.set(group, own);
    const all = own.get(what) ?? new ForTargets<T>();
    own.set(what, all);
    return all.of(target, make);
  }
}
