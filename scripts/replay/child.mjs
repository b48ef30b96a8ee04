// A process that compiles models with one revision's compiler. It is plain JavaScript and knows of that compiler only what a
// revision keeps: `compile`, `emitModule`, the stages' texts and the report. In, as a message: the compiler's file, the
// models (record.ts), targets. Out: one message a model; a model that takes the process along is the parent's to name.
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

const gzipped = (text) => gzipSync(text, { level: 9 }).length;

function record({ compile, emitModule }, model, targets, minified) {
  const options = {
    resolve: (path) => model.imports?.[path],
    model: model.model,
    set: model.set,
    targets,
  };
  const begin = process.cpuUsage();
  const compiled = compile(model.source, model.file, options);
  const { user, system } = process.cpuUsage(begin);
  const ms = (user + system) / 1000;
  const { artefact, report } = compiled;
  const bare = emitModule(artefact, { runtime: "inline", source: model.file }).js;
  const minifiedBytes = () => {
    const small = compile(model.source, model.file, { ...options, minify: true }).artefact;
    const { js } = emitModule(small, { runtime: "inline", source: model.file, minify: true });
    // A revision without the option writes the same again.
    return js === bare ? undefined : gzipped(js);
  };
  return {
    id: model.id,
    ms,
    bytes: gzipped(bare),
    minifiedBytes: minified ? minifiedBytes() : undefined,
    targets: artefact.programs.map((program) => ({
      target: program.target,
      kernels: program.kernels.map((kernel) => ({ name: kernel.name, text: artefact.texts[kernel.text] })),
      entries: report.entries
        .filter((entry) => entry.target === program.target)
        .map((entry) => ({
          name: entry.name,
          dispatches: entry.dispatches,
          nominal: entry.nominalDispatches,
          prepare: entry.prepare,
          peakBytes: entry.peakBytes,
        })),
      plan: compiled.emit("plan", program.target),
    })),
  };
}

/** The first line of a diagnostic, or of anything else that was thrown. */
function reason(error) {
  const [first] = error?.diagnostics ?? [];
  if (first) return `${first.code} ${first.message}`;
  return String(error?.message ?? error).split("\n")[0];
}

// A parent that is gone wants nothing more.
process.on("disconnect", () => process.exit());
process.once("message", async ({ compiler, models, targets, minified }) => {
  const library = await import(pathToFileURL(compiler).href);
  for (const model of models) {
    let result;
    try {
      result = record(library, model, targets, minified);
    } catch (error) {
      result = { id: model.id, error: reason(error) };
    }
    await new Promise((sent) => process.send(result, sent));
  }
  process.disconnect();
});
