// Text, token by token, from a net that scores what comes next: the package export `mdlc/generate`. Modules do not carry it. In:
// a loaded net, its artefact, a tokenizer, a prompt. Out: an async iterator of tokens.
//
// An entry can be generated from where it has
// - one input of integers with axes, each of size 1 (`id: i32[1]`): the token. An open last axis of two (`ids: i32[1, T]`) takes
//   the whole prompt at once;
// - at most one integer without axes (`at: i32`): its place, from 0. The cache of what came before is in the net's buffers;
// - any others only as state that comes back under the same name (`s: f32[B, h]` of a recurrent net), from zeros;
// - one more result, of floats, whose last axis is the vocabulary: the scores.
import type { Signal } from "../core/api.ts";
import { InputError } from "../core/errors.ts";
import { evaluateRows } from "../core/expr.ts";
import type { Artefact, EntryPlan, Packed, Port } from "../core/program.ts";
import { reasonOf } from "../core/signals.ts";
import { arrayOf, sizeOf, type Tensor, typeText } from "../core/tensor.ts";
import { drawKey, fnv1a, randomBits, seedWords, uniformFromBits } from "../core/threefry.ts";
import { unpack } from "../core/unpack.ts";
import { type Sampling, sample } from "./sample.ts";
import type { Tokenizer } from "./tokenizer.ts";

export { type Sampling, sample } from "./sample.ts";
export { bytes, characters, huggingFace, type Tokenizer, TokenizerError } from "./tokenizer.ts";

export interface GenerateOptions extends Sampling {
  readonly tokenizer: Tokenizer;
  /** What the text begins with: text, or tokens. At least one token. */
  readonly prompt: string | readonly number[];
  /** At most so many new tokens (128 without it). */
  readonly tokens?: number;
  /** Of what is drawn: the same seed gives the same text; 0 without it. */
  readonly seed?: number | bigint;
  /** The entry that scores; without it, the only one that can. */
  readonly entry?: string;
  /** Tokens that end the text, and are not given out; those of the tokenizer without it. */
  readonly stop?: readonly number[];
  readonly signal?: Signal;
}

export interface Generated {
  readonly id: number;
  /** What can be said by now: a character whose bytes are not all there comes with the last of them. */
  readonly text: string;
}

/** What is used of a loaded net: a module's own, or one of `mdlc/runtime`. */
export interface Generator {
  reset(): Promise<void>;
  readonly entries: object;
}
/** What a module exports as `artefact`, or `compile` gives. */
export interface Compiled {
  readonly version: number;
  readonly name: string;
}

type Call = (inputs: Readonly<Record<string, unknown>>, options?: object) => Promise<Record<string, Tensor>>;

/** What an entry's ports are for. */
interface Roles {
  readonly entry: EntryPlan;
  readonly token: Port;
  /** Whether the token's last axis takes any number of them. */
  readonly open: boolean;
  readonly place: Port | undefined;
  readonly state: readonly { readonly port: Port; readonly shape: readonly number[] }[];
  readonly scores: Port;
  /** Places that the cache has. */
  readonly context: number;
}

/** Every token as it is drawn; ends after `tokens`, at a token of `stop`, and where the context is full. */
export async function* generate(
  net: Generator,
  artefact: Compiled,
  options: GenerateOptions,
): AsyncGenerator<Generated, void, undefined> {
  const roles = rolesOf(artefact, options.entry);
  const { tokenizer, prompt, tokens = 128, signal } = options;
  checkOptions(options);
  const words = seedWords(options.seed ?? 0);
  if (!words)
    throw new InputError("seed", `seed: expected an integer from 0 to 2^64 - 1, given ${options.seed}`);
  const key = drawKey(words, fnv1a("generate"), 0);
  const stop = new Set(options.stop ?? tokenizer.ends);
  const ids = typeof prompt === "string" ? tokenizer.encode(prompt) : [...prompt];
  if (ids.length === 0)
    throw new InputError("prompt", "the prompt has no tokens: give at least one to go on from");
  if (ids.length > roles.context)
    throw new InputError(
      "prompt",
      `the prompt has ${ids.length} tokens, ${roles.entry.name} takes ${roles.context} at most`,
    );
  const call = (net.entries as Readonly<Record<string, Call>>)[roles.entry.name];
  // Without a place or state of its own, what the net remembers is in its buffers.
  if (!roles.place && roles.state.length === 0) await net.reset();

  const rest = new TextDecoder("utf-8");
  let state: Record<string, unknown> = Object.fromEntries(
    roles.state.map(({ port, shape }) => [
      port.name,
      {
        shape,
        data: arrayOf(port.dtype, sizeOf(shape)),
      },
    ]),
  );
  const step = async (next: readonly number[], at: number, wanted: boolean): Promise<ArrayLike<number>> => {
    const shape = roles.token.shape.map((_, k) => (k === roles.token.shape.length - 1 ? next.length : 1));
    const given: Record<string, unknown> = {
      ...state,
      [roles.token.name]: { shape, data: Int32Array.from(next) },
    };
    if (roles.place) given[roles.place.name] = at;
    const outputs = [...(wanted ? [roles.scores.name] : []), ...roles.state.map((s) => s.port.name)];
    const results = await call(given, { signal, ...(outputs.length ? { outputs } : {}) });
    state = Object.fromEntries(roles.state.map(({ port }) => [port.name, results[port.name]]));
    if (!wanted) return [];
    const { data, shape: all } = results[roles.scores.name];
    // The last token's.
    return data.subarray(data.length - (all.at(-1) as number));
  };

  // The prompt, at once or one by one; then what is drawn.
  let at = 0;
  let scores: ArrayLike<number> = [];
  if (roles.open) {
    scores = await step(ids, 0, true);
    at = ids.length;
  } else for (; at < ids.length; at++) scores = await step([ids[at]], at, at === ids.length - 1);
  for (let n = 0; n < tokens; n++) {
    if (signal?.aborted) throw reasonOf(signal);
    const id = sample(scores, options, uniformFromBits(randomBits(key, n)));
    if (id === undefined) throw new InputError("scores", `${roles.entry.name}: all scores are NaN`);
    if (stop.has(id)) return;
    yield { id, text: rest.decode(tokenizer.bytes(id), { stream: true }) };
    if (at >= roles.context) return;
    if (n + 1 < tokens) scores = await step([id], at++, true);
  }
}

function checkOptions({ temperature, topK, topP, tokens }: GenerateOptions): void {
  const refuse = (name: string, what: string, value: unknown): never => {
    throw new InputError("option", `${name}: expected ${what}, given ${value}`);
  };
  if (temperature !== undefined && !(temperature >= 0))
    refuse("temperature", "a number of at least 0", temperature);
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1))
    refuse("topK", "an integer of at least 1", topK);
  if (topP !== undefined && !(topP > 0 && topP <= 1)) refuse("topP", "a number above 0, of at most 1", topP);
  if (tokens !== undefined && !(Number.isInteger(tokens) && tokens >= 0)) refuse("tokens", "a count", tokens);
}

/** The entry that can be generated from, and what its ports are. */
export function rolesOf(given: Compiled, name?: string): Roles {
  const artefact = "calls" in given ? unpack(given as Packed) : (given as Artefact);
  if (!artefact.programs?.length)
    throw new InputError("artefact", "expected what a module exports as artefact, or compile gives");
  const { entries } = artefact.programs[0];
  const reasons: string[] = [];
  const able: Roles[] = [];
  for (const entry of entries) {
    if (entry.train || (name !== undefined && entry.name !== name)) continue;
    const roles = rolesIn(entry);
    if (typeof roles === "string") reasons.push(`${entry.name}: ${roles}`);
    else able.push(roles);
  }
  if (name !== undefined && able.length + reasons.length === 0)
    throw new InputError(
      "entry",
      `${artefact.name} has no entry ${name}: it has ${entries.map((e) => e.name).join(", ")}`,
    );
  // One that keeps what came before is meant where others score whole texts.
  const kept = able.filter((r) => r.place || r.state.length > 0);
  const picked = kept.length ? kept : able;
  if (picked.length === 1) return picked[0];
  if (picked.length > 1)
    throw new InputError(
      "entry",
      `${artefact.name} can be generated from by ${picked.map((r) => r.entry.name).join(", ")}: say which entry`,
    );
  throw new InputError(
    "entry",
    `${artefact.name} has no entry that text can be generated from, such as next(id: i32[1], at: i32) -> f32[1, vocab] (${reasons.join("; ") || "it has none"})`,
  );
}

const isInteger = (port: Port): boolean => port.dtype === "i32" || port.dtype === "u32";

function rolesIn(entry: EntryPlan): Roles | string {
  const sizes = evaluateRows(entry.body.exprs, new Map(entry.symbols.map((s) => [s.name, 1])), []);
  const shapeOf = (port: Port): number[] => port.shape.map((id) => sizes[id]);
  const result = (port: Port): Port | undefined =>
    entry.outputs.find(
      (o) => o.name === port.name && o.dtype === port.dtype && shapeOf(o).join() === shapeOf(port).join(),
    );
  const state = entry.inputs.filter((p) => result(p));
  const others = entry.inputs.filter((p) => !result(p));
  const tokens = others.filter((p) => isInteger(p) && p.shape.length > 0);
  const places = others.filter((p) => isInteger(p) && p.shape.length === 0);
  const strange = others.find((p) => !isInteger(p));
  const text = (p: Port): string => `${p.name}: ${typeText(p.dtype, p.shapeText)}`;
  if (tokens.length !== 1) return tokens.length ? "it takes several inputs of tokens" : "it takes no tokens";
  if (places.length > 1) return "it takes several integers";
  if (strange) return `${text(strange)} is neither a token nor state that comes back`;
  const [token] = tokens;
  const size = shapeOf(token);
  if (size.some((n) => n !== 1)) return `${text(token)} is more than a token`;
  const scores = entry.outputs.filter(
    (o) => !state.some((p) => p.name === o.name) && (o.dtype === "f32" || o.dtype === "f16"),
  );
  if (scores.length !== 1 || scores[0].shape.length === 0) return "it gives no scores, or several";
  // Two axes of which the second is open are one text of any length.
  const last = entry.body.exprs[token.shape[token.shape.length - 1]];
  const open = size.length === 2 && typeof last !== "number";
  if (open && !places[0]) return `${text(token)} is a whole text, and nothing says at which place it goes on`;
  const context = Math.min(
    Number.POSITIVE_INFINITY,
    ...(places[0]?.indexes ?? []).map((x) => sizes[x.extent]),
  );
  return {
    entry,
    token,
    open,
    place: places[0],
    state: state.map((port) => ({ port, shape: shapeOf(port) })),
    scores: scores[0],
    context,
  };
}
