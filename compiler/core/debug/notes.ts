// A model whose module prints and asserts: a debug build that is loaded and called as any module. In: a model that was checked
// for debugging. Out: the same model, with an entry more for each entry and train block that has a `print` or an `assert`; it
// computes what they are handed, of the same inputs and with the same draws, and writes nothing. So the author's entries are the
// ordinary build's, and the module's own code (runtime/core/notes.ts) calls the two together.
import type { Note, Noted, Notes } from "../../../runtime/core/program.ts";
import { LineMap } from "../diagnostics/index.ts";
import { blockEntry, type CheckedEntry, type CheckedModel, type Sight } from "../model.ts";
import { debugEntry, keeping } from "./entry.ts";

export function withNotes(
  model: CheckedModel,
  sources: (file: string) => string | undefined,
): { readonly model: CheckedModel; readonly notes: Notes } {
  const notes: Record<string, Noted> = {};
  const entries: CheckedEntry[] = [];
  const names = [...model.entries.map((e) => e.name), ...model.trains.map(blockEntry)];
  for (const name of names) {
    const { entry, sights } = debugEntry(model, name);
    if (sights.length === 0) continue;
    const bare = { ...entry, graph: { ...entry.graph, results: [], writes: [] }, outputs: [] };
    const values = sights.flatMap((s) => s.value ?? []);
    const { entry: kept, outputs } = keeping(bare, values);
    const by = `${name}$notes`;
    const noted: Noted = {
      ...(values.length ? { by } : {}),
      notes: sights.map((s) => noteOf(s, s.value && outputs.get(s.value), sources)),
    };
    if (values.length) entries.push({ ...kept, name: by, graph: { ...kept.graph, name: by } });
    notes[name] = noted;
    if (model.trains.length === 1 && name === blockEntry(model.trains[0]) && !names.includes("train_step"))
      notes["train_step"] = noted;
  }
  return { model: { ...model, entries: [...model.entries, ...entries] }, notes };
}

function noteOf(
  { kind, name, text, value, passes, span, path }: Sight,
  output: string | undefined,
  sources: (file: string) => string | undefined,
): Note {
  const source = sources(span.file);
  const line = source === undefined ? "" : `:${new LineMap(source).position(span.start).line}`;
  const words = value ? (source?.slice(span.start, span.end).replace(/\s+/g, " ") ?? "") : "";
  return {
    kind: kind === "assert" ? kind : "print",
    at: `${span.file}${line}${path ? ` in ${path}` : ""}`,
    text: `${text ?? (words.length > 60 ? `${words.slice(0, 57)}…` : words)}${name}`,
    ...(output === undefined ? {} : { output }),
    passes,
  };
}
