// What a module of a debug build (`mdl compile --debug`) does with each call: it shows what `print` was handed, and refuses the
// call where an `assert` does not hold. In: what loads the net, and what is noted in its entries. Out: what loads one like it.
// No other module has it: the emitter puts it behind the runtime (compiler/core/phases/9-emit).
import type { MdlRuntimeError } from "./errors.ts";
import type { Call, Net } from "./net.ts";
import type { Note, Noted, Notes } from "./program.ts";
import type { Tensor } from "./tensor.ts";

interface Options {
  readonly entries?: readonly string[];
  readonly seed?: unknown;
  readonly signal?: unknown;
}

export function noting(
  start: (artefact: object, options?: object) => Promise<Net>,
  notes: Notes,
  Failure: typeof MdlRuntimeError,
): (artefact: object, options?: Options) => Promise<object> {
  const of = (name: string): Noted | undefined => (Object.hasOwn(notes, name) ? notes[name] : undefined);
  const hidden = new Set(Object.values(notes).map(({ by }) => by));
  return async (artefact, options) => {
    const entries = options?.entries?.flatMap?.((name) => [name, of(name)?.by ?? []].flat());
    const net = await start(artefact, entries ? { ...options, entries: [...new Set(entries)] } : options);
    const calls: Record<string, Call> = Object.create(null);
    for (const [name, call] of Object.entries(net.entries)) {
      if (hidden.has(name)) continue;
      const noted = of(name);
      calls[name] = noted ? (inputs, given) => both(net, call, noted, inputs, given, Failure) : call;
    }
    return new Proxy(
      {},
      {
        has: (_, key) => key in net,
        get(_, key) {
          if (key === "entries") return calls;
          const value: unknown = Reflect.get(net, key, net);
          if (typeof key !== "string" || !calls[key] || value !== net.entries[key])
            return typeof value === "function" ? value.bind(net) : value;
          return calls[key];
        },
      },
    );
  };
}

/** The notes' entry first, so that it sees what the call sees; its inputs are taken now, as the call's are. */
async function both(
  net: Net,
  call: Call,
  { by, notes }: Noted,
  inputs: Parameters<Call>[0],
  options: Options | undefined,
  Failure: typeof MdlRuntimeError,
): Promise<unknown> {
  const { seed, signal } = options ?? {};
  const own = { ...(seed === undefined ? {} : { seed }), ...(signal === undefined ? {} : { signal }) };
  const noted = by === undefined ? Promise.resolve({}) : net.entries[by](inputs, own);
  const result = call(inputs, options);
  result.catch(() => undefined); // told below
  let trouble: { readonly why: unknown } | undefined;
  const found = await noted.catch((why: unknown) => {
    trouble = { why };
  });
  if (!trouble) tell(notes, found as Readonly<Record<string, Tensor>>, Failure);
  // What is wrong with the call is told by the call.
  const value = await result;
  if (trouble) throw trouble.why;
  return value;
}

function tell(
  notes: readonly Note[],
  found: Readonly<Record<string, Tensor>>,
  Failure: typeof MdlRuntimeError,
): void {
  for (const { kind, at, text, output, passes } of notes) {
    const value = output === undefined ? undefined : found[output];
    if (kind === "print") {
      const each = passes > 0 ? " (each pass)" : "";
      console.log(value ? `${at}: ${text}${each}: ${value}` : `${at}: ${text}`);
      continue;
    }
    if (!value) continue;
    const { data, shape } = value;
    const wrong = data.filter((x: number) => !x).length;
    if (wrong === 0) continue;
    let rest = data.indexOf(0);
    const place = [...shape].reverse().map((n) => {
      const here = rest % n;
      rest = Math.floor(rest / n);
      return here;
    });
    const where =
      shape.length > 0 ? ` in ${wrong} of ${data.length}, first at [${place.reverse().join(", ")}]` : "";
    throw new Failure("assert", `${at}: ${text}: false${where}`);
  }
}
