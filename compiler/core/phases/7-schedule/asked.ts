// What scheduling asks of a target, taken down: whoever would have answered alike can have what was made. In: a target. Out:
// the same to ask, and what it was asked.
import type { Target } from "../../targets.ts";

/** A part of a target that is data: what it holds is asked one by one. Lists, and what holds functions, are one answer. */
const isData = (x: unknown): x is Readonly<Record<string, unknown>> =>
  typeof x === "object" &&
  x !== null &&
  !Array.isArray(x) &&
  Object.values(x).every((v) => typeof v !== "function");
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
    return new Proxy(of, {
      get: (from, name) => {
        const known = parts.get(name);
        if (known) return known;
        const answer: unknown = Reflect.get(from, name);
        const here = [...path, String(name)];
        if (isData(answer)) {
          const part = this.watched(answer, here);
          parts.set(name, part);
          return part;
        }
        const key = here.join(".");
        if (!this.answers.has(key)) this.answers.set(key, { path: here, answer });
        return answer;
      },
    });
  }
}
