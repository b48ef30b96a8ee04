// Every error that the runtime rejects with. In: a code and a message. Out: classes whose names survive minification.
// Messages are one sentence in lower case that says what was expected, what was given, and where it helps, the fix.
import type * as api from "./api.ts";

export class MdlRuntimeError extends Error implements api.MdlRuntimeError {
  static override readonly name: string = "MdlRuntimeError";
  readonly code: string;
  constructor(code: string, message: string, cause?: unknown) {
    super(message.replace(/[^\P{C}\n\t]/gu, spelledOut), cause === undefined ? undefined : { cause });
    this.code = code;
  }
  /** On the prototype, so that the stack begins with it. */
  override get name(): string {
    return this.constructor.name;
  }
}

export class InputError extends MdlRuntimeError {
  static override readonly name: string = "InputError";
}

export class WeightsError extends MdlRuntimeError {
  static override readonly name: string = "WeightsError";
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly misshapen: readonly string[];
  constructor(
    code: string,
    message: string,
    lists: { missing?: string[]; unexpected?: string[]; misshapen?: string[] } = {},
    cause?: unknown,
  ) {
    super(code, message, cause);
    this.missing = lists.missing ?? [];
    this.unexpected = lists.unexpected ?? [];
    this.misshapen = lists.misshapen ?? [];
  }
}

export class UnsupportedError extends MdlRuntimeError {
  static override readonly name: string = "UnsupportedError";
}

export class LimitError extends MdlRuntimeError {
  static override readonly name: string = "LimitError";
}

export class GpuError extends MdlRuntimeError {
  static override readonly name: string = "GpuError";
}

export class DeviceLostError extends MdlRuntimeError {
  static override readonly name: string = "DeviceLostError";
}

export class DisposedError extends MdlRuntimeError {
  static override readonly name: string = "DisposedError";
  constructor(model: string) {
    super("disposed", `${model} was disposed of: load it again`);
  }
}

export class NonFiniteError extends MdlRuntimeError {
  static override readonly name: string = "NonFiniteError";
  readonly step: number;
  readonly block: string;
  constructor(step: number, block: string) {
    super(
      "non-finite",
      `${block}: step ${step} met an infinity or NaN. Nothing was changed: look at its batch, or lower the learning rate`,
    );
    this.step = step;
    this.block = block;
  }
}

/** What cannot be. */
export const bug = (what: string): MdlRuntimeError =>
  new MdlRuntimeError("internal", `${what}; this is a bug of mdl`);

/** What a thrown value says. */
export function reason(cause: unknown): string {
  const { message } = (cause ?? {}) as { readonly message?: unknown };
  return typeof message === "string" ? message : `${typeof cause} was thrown`;
}

const spelledOut = (c: string): string => `\\u{${c.codePointAt(0)?.toString(16)}}`;

/**
 * A text from outside (a file, a caller) for a message: what is not seen, moves the cursor or turns the line around is
 * spelled out, a long one cut.
 */
export function shown(text: string, most = 200): string {
  const part = text.length > most ? `${text.slice(0, most)}…` : text;
  return part.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, spelledOut);
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether a value is short to say. */
export const isPlain = (value: unknown): boolean =>
  ["string", "number", "bigint", "boolean"].includes(typeof value);

/** A value that is not what was expected: itself where that is short to say, else its type. */
export function told(value: unknown): string {
  if (value === null) return "null";
  return isPlain(value) ? shown(String(value)) : typeof value;
}

/** For lists that may be long, of names that may be anything. */
export function few(items: readonly string[], most = 8): string {
  const listed = items.slice(0, most).map((item) => shown(item));
  return `${listed.join(", ")}${items.length > most ? ` and ${items.length - most} more` : ""}`;
}

/** The name among `names` that `wrong` was perhaps meant to be, as a hint for the end of a message. */
export function didYouMean(wrong: string, names: readonly string[]): string {
  let best = "";
  let bestDistance = Math.max(1, Math.floor(wrong.length / 3)) + 1;
  for (const name of names) {
    const d = distance(wrong.toLowerCase(), name.toLowerCase());
    if (d < bestDistance) [best, bestDistance] = [name, d];
  }
  return best ? `; did you mean ${shown(best)}?` : "";
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
