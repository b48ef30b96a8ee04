// Options as callers give them. In: values of any kind. Out: plain copies of our own, so that nothing of the
// caller's is read later than the call; or an InputError that says what was expected and what was given.
import type * as api from "./api.ts";
import { didYouMean, InputError, isObject, isPlain } from "./errors.ts";
import { describe } from "./inputs.ts";
import type { Artefact, EntryPlan } from "./program.ts";
import { seedWords, type Words } from "./threefry.ts";

/** A value's copy; undefined where it is not what the option takes. */
type Take = (value: unknown) => unknown;
/** What an option takes, in words and as a function. */
export type Kind = readonly [string, Take];

const when = (text: string, test: (value: unknown) => boolean): Kind => [
  text,
  (value) => (test(value) ? value : undefined),
];

const TEXT = when("a string", (v) => typeof v === "string");
const TEXTS: Kind = [
  "a list of names",
  (v) => (Array.isArray(v) && v.every((name) => typeof name === "string") ? [...v] : undefined),
];
const FLAG = when("true or false", (v) => typeof v === "boolean");
const FUNCTION = when("a function", (v) => typeof v === "function");
/** Whether it is finite is asked where the step is known. */
const NUMBER = when("a number", (v) => typeof v === "number");
const COUNT = when("a positive integer", (v) => Number.isSafeInteger(v) && (v as number) > 0);
const POSITIVE = when("a positive number", (v) => typeof v === "number" && v > 0);
const SIZE = when("a size (an integer from 0)", (v) => Number.isSafeInteger(v) && (v as number) >= 0);
const SIGNAL = when(
  "an AbortSignal",
  (v) => isObject(v) && typeof v["aborted"] === "boolean" && typeof v["addEventListener"] === "function",
);
const SEED: Kind = [
  "an integer from 0 to 2^53 - 1, or a bigint below 2^64",
  (v) => ((typeof v === "number" || typeof v === "bigint") && seedWords(v) ? v : undefined),
];
const fields = (what: string, kinds: Readonly<Record<string, Kind>>): Kind => [
  "an object",
  (v) => (isObject(v) ? takeFields(what, v, kinds) : undefined),
];

/** The fields of an options object that are there, each copied and of its kind. Without a prototype: names may be any. */
export function takeFields(
  what: string,
  given: unknown,
  kinds: Readonly<Record<string, Kind>>,
): Record<string, unknown> {
  const taken: Record<string, unknown> = Object.create(null);
  if (given === undefined) return taken;
  if (!isObject(given))
    throw new InputError("option", `${what}: options are an object, given ${describe(given)}`);
  for (const name of Object.keys(given)) {
    const value = given[name];
    if (value === undefined) continue;
    if (!Object.hasOwn(kinds, name)) {
      const hint = didYouMean(name, Object.keys(kinds));
      throw new InputError("unknown-option", `${what} has no option ${name}${hint}`);
    }
    taken[name] = takeOne(`${what}: ${name}`, value, kinds[name]);
  }
  return taken;
}

function takeOne(what: string, value: unknown, kind: Kind): unknown {
  const [text, take] = kind;
  const taken = take(value);
  if (taken === undefined)
    throw new InputError(kind === SEED ? "seed" : "option", `${what} is ${text}, given ${show(value)}`);
  return taken;
}

const show = (value: unknown): string =>
  isPlain(value) ? JSON.stringify(typeof value === "bigint" ? Number(value) : value) : describe(value);

export const takeSeed = (what: string, value: unknown): Words =>
  seedWords(takeOne(what, value, SEED) as number | bigint) as Words;

/** The name of an entry, a parameter. */
export const takeText = (what: string, value: unknown): string => takeOne(what, value, TEXT) as string;

// -------------------------------------------------------------------------------------------------- load

export function takeLoadOptions(artefact: Artefact, given: unknown): api.LoadOptions {
  const what = `load of ${artefact.name}`;
  const symbols = artefact.programs.flatMap((p) => p.entries.flatMap((e) => e.symbols.map((s) => s.name)));
  const sizes = Object.fromEntries(symbols.map((name) => [name, SIZE]));
  const options = takeFields(what, given, {
    // Read, and its memory copied, by readWeights.
    weights: ["weights", (v) => v],
    strict: FLAG,
    partial: FLAG,
    onIgnored: FUNCTION,
    device: when(
      "a GPUDevice",
      (v) =>
        isObject(v) &&
        typeof v["createBuffer"] === "function" &&
        ["queue", "limits", "features", "lost"].every((name) => isObject(v[name])),
    ),
    gpu: when("a GPU", (v) => isObject(v) && typeof v["requestAdapter"] === "function"),
    powerPreference: when("high-performance or low-power", (v) =>
      ["high-performance", "low-power"].includes(v as string),
    ),
    target: TEXT,
    seed: SEED,
    checks: FLAG,
    entries: TEXTS,
    bind: fields(`${what}: bind`, sizes),
    train: fields(`${what}: train`, { totalSteps: COUNT }),
    snapshotEvery: [
      "a number of steps, or { steps } or { ms }",
      (v) =>
        isObject(v)
          ? takeFields(`${what}: snapshotEvery`, v, { steps: COUNT, ms: POSITIVE })
          : COUNT[1](v) && { steps: v },
    ],
    maxSubmitMs: POSITIVE,
    signal: SIGNAL,
    onProgress: FUNCTION,
  });
  return options as api.LoadOptions;
}

// ------------------------------------------------------------------------------------------------- calls

/** What every call takes. */
export interface CallOptions {
  readonly seed?: Words;
  readonly signal?: api.Signal;
  readonly checks?: boolean;
  readonly outputs?: readonly string[];
  readonly gpu?: boolean;
  /** Numbers in place of the host's scalars of a step. */
  readonly hyper: Readonly<Record<string, number>>;
}

export function takeCallOptions(entry: EntryPlan, given: unknown): CallOptions {
  const hypers = entry.implicit.filter((i) => i.value !== undefined).map((i) => i.name);
  const kinds: Record<string, Kind> = { seed: SEED, signal: SIGNAL, checks: FLAG };
  if (entry.train) for (const name of hypers) kinds[name] = NUMBER;
  else {
    kinds["outputs"] = TEXTS;
    kinds["gpu"] = FLAG;
  }
  const { seed, signal, checks, outputs, gpu, ...hyper } = takeFields(entry.name, given, kinds) as {
    seed?: number | bigint;
    signal?: api.Signal;
    checks?: boolean;
    outputs?: readonly string[];
    gpu?: boolean;
  };
  const names = entry.outputs.map((p) => p.name);
  for (const name of outputs ?? []) {
    if (names.includes(name)) continue;
    throw new InputError(
      "unknown-output",
      `${entry.name} has no result ${name}: its results are ${names.join(", ")}${didYouMean(name, names)}`,
    );
  }
  const words = seed === undefined ? undefined : (seedWords(seed) as Words);
  return { seed: words, signal, checks, outputs, gpu, hyper: hyper as Record<string, number> };
}

export const takeWeightsOptions = (
  what: string,
  given: unknown,
): api.WeightsOptions & { readonly signal?: api.Signal } =>
  takeFields(what, given, { strict: FLAG, partial: FLAG, signal: SIGNAL });
