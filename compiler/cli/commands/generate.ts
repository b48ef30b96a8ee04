// `mdl generate`: text from a model that scores the next token, as it is drawn. In: a source or a module, weights, a vocabulary, a
// prompt. Out: text on standard output; what it took on standard error.
import { InputError } from "../../../runtime/core/errors.ts";
import {
  bytes,
  characters,
  type Generator,
  generate,
  huggingFace,
  rolesOf,
  type Tokenizer,
  TokenizerError,
} from "../../../runtime/generate/index.ts";
import { requestGpu, runAgainQuietly } from "../../../runtime/node/index.ts";
import { InputFailure, UsageError } from "../failure.ts";
import { readText } from "../files.ts";
import {
  type ChoiceFlags,
  importModule,
  isModule,
  parseSeed,
  type Runnable,
  refuseChoices,
  SourceModel,
} from "../runnable.ts";
import { count, harmless, styleFor } from "../style.ts";
import { byPath, loadWeights } from "../weights.ts";

export interface GenerateFlags extends ChoiceFlags {
  readonly prompt: string;
  readonly weights?: string;
  readonly tokenizer?: string;
  readonly tokens: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly seed?: string;
  readonly entry?: string;
}

export async function generateCommand(path: string, flags: GenerateFlags): Promise<number | undefined> {
  const compiled = isModule(path);
  refuseChoices(path, flags);
  const seed = flags.seed === undefined ? 0n : parseSeed(flags.seed);
  const code = await runAgainQuietly();
  if (code !== undefined) return code;
  const made = compiled ? await importModule(path) : compileEntries(path, flags);
  const { artefact } = made;
  const { entry, scores, context } = asked(() => rolesOf(artefact, flags.entry));
  const size = entry.body.exprs[scores.shape[scores.shape.length - 1]];
  const tokenizer = tokenizerFor(flags.tokenizer, typeof size === "number" ? size : undefined);
  const prompt = asked(() => tokenizer.encode(flags.prompt));
  if (prompt.length === 0) throw new UsageError("--prompt is empty: give at least one token to go on from");
  const weights = flags.weights === undefined ? undefined : await loadWeights(artefact, flags.weights);
  if (!weights)
    process.stderr.write(
      `${artefact.name} runs with parameters as they are initialised: give trained ones with --weights FILE\n`,
    );

  await requestGpu();
  const ended = new AbortController();
  const end = (): void => ended.abort();
  const net = await made.load({
    weights: weights && byPath(weights),
    target: flags.target,
    entries: [entry.name],
  });
  process.once("SIGINT", end);
  let drawn = 0;
  const since = performance.now();
  try {
    // A reader of the text alone gets what is new; a person sees what it goes on from.
    if (process.stdout.isTTY) process.stdout.write(styleFor(process.stdout).dim(shown(flags.prompt)));
    const { tokens, temperature, topK, topP } = flags;
    const options = {
      tokenizer,
      prompt,
      tokens,
      temperature,
      topK,
      topP,
      seed,
      entry: entry.name,
      signal: ended.signal,
    };
    for await (const { text } of generate(net as Generator & typeof net, artefact, options)) {
      drawn++;
      process.stdout.write(shown(text));
    }
  } catch (error) {
    if (!ended.signal.aborted)
      throw error instanceof TokenizerError ? new InputFailure(error.message) : error;
  } finally {
    process.off("SIGINT", end);
    net.dispose();
  }
  process.stdout.write("\n");
  const seconds = (performance.now() - since) / 1000;
  const full = prompt.length + drawn > context ? `; the model's ${context} places are full` : "";
  process.stderr.write(`${count(drawn, "token")}, ${(drawn / seconds).toFixed(1)} a second${full}\n`);
  return undefined;
}

/** Lines stay lines; nothing else moves a terminal's cursor. */
const shown = (text: string): string => (process.stdout.isTTY ? harmless(text) : text);

/** All that can be called but training steps: which one is meant shows by what they take. */
function compileEntries(path: string, flags: GenerateFlags): Runnable {
  const source = new SourceModel(path, flags);
  const names = source.checked.entries.map((e) => e.name);
  if (flags.entry !== undefined) source.pick(flags.entry);
  return source.open(flags.entry === undefined ? names : [flags.entry], flags.target);
}

/** What the library says of what was given is the input's fault. */
function asked<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof InputError || error instanceof TokenizerError) throw new InputFailure(error.message);
    throw error;
  }
}

/** A tokenizer.json of Hugging Face, a JSON list of characters, or a text whose characters are the vocabulary. */
function tokenizerFor(path: string | undefined, size: number | undefined): Tokenizer {
  if (path === undefined) {
    if (size === 256) return bytes();
    throw new UsageError(
      `which ${size ?? ""} tokens are meant? Give --tokenizer FILE: a tokenizer.json of Hugging Face, a JSON list of characters, or the text that a character model was trained on`,
    );
  }
  const text = readText(path);
  const list = !/\.json$/i.test(path);
  let made: Tokenizer;
  try {
    if (list)
      made = characters(
        [...new Set(text)].sort((a, b) => (a.codePointAt(0) as number) - (b.codePointAt(0) as number)),
      );
    else {
      const json: unknown = JSON.parse(text);
      made =
        Array.isArray(json) && json.every((c) => typeof c === "string")
          ? characters(json)
          : huggingFace(json as object);
    }
  } catch (error) {
    if (error instanceof TokenizerError || error instanceof SyntaxError)
      throw new InputFailure(`${path}: ${error.message}`);
    throw error;
  }
  // A larger table than there are tokens is common (rounded up); a smaller one would be asked for what it has not.
  if (size !== undefined && (made.size > size || (list && made.size < size)))
    throw new InputFailure(`${path} has ${count(made.size, "token")}, the model has ${size}`);
  return made;
}
