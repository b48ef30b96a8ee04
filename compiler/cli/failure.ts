// What can go wrong in a command, and the exit code each thing ends with. In: anything thrown. Out: what to print and the
// code. A module from elsewhere has error classes of its own, so errors of the runtime are told by their names.
import {
  type Diagnostic,
  EvaluateError,
  InternalError,
  MdlError,
  type Painter,
  renderAll,
} from "../core/index.ts";
import { sourceStack } from "./stack.ts";
import { harmless } from "./style.ts";

export const EXIT = { done: 0, input: 1, usage: 2, machine: 3, bug: 70 } as const;

/** The command line is not one that mdl understands. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** A file or a value that the user gave is not what was expected. */
export class InputFailure extends Error {
  override name = "InputFailure";
}

/** A source with its diagnostics, and the texts they point into. */
export class SourceFailure extends Error {
  override name = "SourceFailure";
  readonly diagnostics: readonly Diagnostic[];
  readonly sources: (file: string) => string | undefined;
  constructor(diagnostics: readonly Diagnostic[], sources: (file: string) => string | undefined) {
    super("the source has errors");
    this.diagnostics = diagnostics;
    this.sources = sources;
  }
}

/** Gives MdlErrors the texts that they point into. */
export function withSources<T>(sources: (file: string) => string | undefined, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw error instanceof MdlError ? new SourceFailure(error.diagnostics, sources) : error;
  }
}

const MACHINE = ["UnsupportedError", "LimitError", "GpuError", "DeviceLostError"];
const INPUT = ["InputError", "WeightsError", "NonFiniteError", "MdlRuntimeError", "DataError"];

/** What to print for an error, without a final line break, and the exit code. */
export function explain(error: unknown, paint: Painter, command: string): { text: string; code: number } {
  const say = (text: string, code: number): { text: string; code: number } => ({
    text: `${paint.error("error")}${paint.strong(`: ${harmless(text)}`)}`,
    code,
  });
  if (error instanceof SourceFailure) {
    return { text: renderAll(error.diagnostics, error.sources, paint).trimEnd(), code: EXIT.input };
  }
  if (error instanceof UsageError) return say(error.message, EXIT.usage);
  if (error instanceof InputFailure || error instanceof EvaluateError) return say(error.message, EXIT.input);
  if (error instanceof Error && "code" in error && error.code !== "internal") {
    if (MACHINE.includes(error.name)) return say(error.message, EXIT.machine);
    if (INPUT.includes(error.name)) return say(error.message, EXIT.input);
    if (typeof error.code === "string" && "syscall" in error) return say(fileTrouble(error), EXIT.input);
  }
  return bug(error, paint, command);
}

function bug(error: unknown, paint: Painter, command: string): { text: string; code: number } {
  const message = error instanceof Error ? error.message : String(error);
  const pass = passOf(error) ?? `the command ${command}`;
  const what =
    error instanceof InternalError ? message : `internal error in ${pass}: ${message}; this is a bug in mdl`;
  const from = error instanceof InternalError && error.cause instanceof Error ? error.cause : error;
  const stack = framesOf(from);
  const text = [
    `${paint.error("internal error")}${paint.strong(harmless(what).replace(/^internal error/, ""))}`,
    `${paint.help("help:")} please report it with the source and this text`,
    ...stack.slice(0, 12).map((line) => paint.gutter(harmless(line))),
  ].join("\n");
  return { text, code: EXIT.bug };
}

const framesOf = (error: unknown): string[] =>
  error instanceof Error
    ? sourceStack(error.stack ?? "")
        .split("\n")
        .filter((line) => /^\s+at /.test(line))
    : [];

/** The pass that an exception comes from, by the folder of the innermost phase on its stack. */
const passOf = (error: unknown): string | undefined =>
  /phases[\\/]\d-(\w+)[\\/]/.exec(framesOf(error).join("\n"))?.[1];

/** A failed system call in words. */
export function fileTrouble(error: unknown, path?: string): string {
  const { code, message, path: own } = error as { code?: string; message: string; path?: string };
  const place = path ?? own ?? "file";
  switch (code) {
    case "ENOENT":
      return `${place}: no such file`;
    case "EISDIR":
      return `${place} is a folder, expected a file`;
    case "EACCES":
    case "EPERM":
      return `${place}: no permission`;
    case "ENOTDIR":
      return `${place}: a part of this path is not a folder`;
    case "ENOSPC":
      return `${place}: the disk is full`;
    case "EROFS":
      return `${place}: the disk is read-only`;
    default:
      return `${place}: ${message}`;
  }
}
