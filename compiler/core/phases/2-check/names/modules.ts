// Files and their top-level names. In: a root file and a callback for the text of the others. Out: one Module per file,
// with imports resolved. Separate from the interpreter: it knows names and files, and evaluates nothing.
import { didYouMean, pointer } from "../../../diagnostics/nearest.ts";
import type { Diagnostics } from "../../../diagnostics/report.ts";
import type * as ast from "../../../syntax/ast.ts";
import { childrenOf } from "../../../syntax/walk.ts";
import { Library } from "./library.ts";

/** What a top-level name stands for. */
export type Item =
  | ast.LayerDecl
  | ast.ModelDecl
  | ast.OptimizerDecl
  | ast.FnDecl
  | ast.OpDecl
  | ast.BindMember;

export interface Module {
  readonly file: string;
  readonly source: ast.SourceFile;
  /** Own declarations and imported ones, each with the module it was declared in. */
  readonly names: Map<string, { readonly item: Item; readonly module: Module; readonly imported: boolean }>;
  readonly trains: readonly ast.TrainDecl[];
  /** What `with` finds without an import: the optimisers of std/optim that this file names in one. */
  readonly optimizers: Map<string, { readonly item: ast.OptimizerDecl; readonly module: Module }>;
  /** Those there are, where one was looked for. */
  readonly optimizerNames: string[];
  /** Names that an import should have brought and did not: said once, at the import. */
  readonly missing: Set<string>;
}

/** How other files are had. */
export interface Files {
  readonly resolve: (path: string) => string | undefined;
  readonly parse: ast.Parse;
  /** Read the standard library as a whole: for editors, who look at all of it. */
  readonly whole?: boolean;
}

/** Names that are there without being declared. */
export interface Builtins {
  has(name: string): boolean;
  names(): Iterable<string>;
  /** What a path of the standard library names of these, which an import of it may say and need not. */
  module(path: string): readonly string[] | undefined;
}

/** Resolves `./blocks.mdl` against the importing file; `std/…` stays. */
export function resolvePath(from: string, to: string): string | undefined {
  if (/^std\/[\w-]+$/.test(to)) return to;
  if (!/^\.\.?\//.test(to) || !to.endsWith(".mdl")) return undefined;
  const parts = from.split("/").slice(0, -1);
  for (const p of to.split("/")) {
    if (p === "." || p === "") continue;
    if (p === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else parts.push(p);
  }
  return (from.startsWith("/") && parts[0] !== "" ? "/" : "") + parts.join("/");
}

/** Where the optimisers are. */
const OPTIM = "std/optim";
/** Where the initialisers are, which no file declares. */
export const INIT = "std/init";
const STD = ["std/nn", "std/loss", "std/metric", OPTIM];

/** `import { Linear } from "std/nn"`, where the standard library has that name. */
export function importFor(name: string, resolve: (path: string) => string | undefined): string | undefined {
  if (!/^\w+$/.test(name)) return undefined;
  const declared = new RegExp(`^(?:layer|model|optimizer|fn|op) ${name}\\b`, "m");
  const home = STD.find((path) => declared.test(resolve(path) ?? ""));
  return home && `import { ${name} } from "${home}"`;
}

/** Every name in an expression. */
const namesOfExpr = (e: ast.Node): string[] => [
  ...(e.kind === "name" ? [e.name] : []),
  ...childrenOf(e).flatMap(namesOfExpr),
];

export function loadModules(
  root: ast.SourceFile,
  file: string,
  { resolve, parse, whole = false }: Files,
  builtins: Builtins,
  out: Diagnostics,
): { readonly root: Module; readonly modules: readonly Module[] } {
  const loaded = new Map<string, Module>();
  const loading: string[] = [];
  const load = (source: ast.SourceFile, name: string): Module => {
    const module: Module = {
      file: name,
      source,
      names: new Map(),
      trains: source.items.filter((i) => i.kind === "train"),
      optimizers: new Map(),
      optimizerNames: [],
      missing: new Set(),
    };
    loaded.set(name, module);
    loading.push(name);
    declareAll(module, source.items);
    loading.pop();
    return module;
  };
  const declareAll = (module: Module, items: readonly ast.Item[]): void => {
    for (const item of items) {
      if (item.kind === "import") importInto(module, item);
      else if (item.kind !== "train" && item.kind !== "error")
        declare(module, item.name, item, module, false);
    }
  };
  /** Files of the standard library that are read piece by piece. */
  const libraries = new Map<Module, Library>();
  const declare = (into: Module, name: ast.Ident, item: Item, from: Module, imported: boolean): void => {
    const old = into.names.get(name.name);
    if (old) {
      out.report("E0202", `${name.name} is declared twice`, name.span, {
        secondary: old.module === into ? [{ span: old.item.name.span, text: "first here" }] : [],
      });
      return;
    }
    into.names.set(name.name, { item, module: from, imported });
  };
  const open = (path: string, text: string): Module | undefined => {
    const library =
      !whole && path.startsWith("std/") && Library.divides(text) ? new Library(text) : undefined;
    const parsed = parse(library ? "" : text, path);
    for (const d of parsed.diagnostics) out.add(d);
    if (parsed.diagnostics.some((d) => d.severity === "error")) return undefined;
    const module = load(parsed.ast, path);
    if (library) libraries.set(module, library);
    return module;
  };
  /** Declares what is named of a library that is read piece by piece. */
  const take = (module: Module, names: Iterable<string>): Library | undefined => {
    const library = libraries.get(module);
    const text = library?.take(names) ?? "";
    const parsed = text === "" ? undefined : parse(text, module.file);
    for (const d of parsed?.diagnostics ?? []) out.add(d);
    if (parsed) declareAll(module, parsed.ast.items);
    return library;
  };
  /** `with adam(…)` needs no import. */
  const bringOptimizers = (into: Module): void => {
    const named = into.trains.flatMap((t) =>
      t.clauses.flatMap((c) => (c.kind === "with" ? namesOfExpr(c.optimizer) : [])),
    );
    const wanted = new Set(named.filter((n) => !into.names.has(n)));
    const text = wanted.size > 0 ? resolve(OPTIM) : undefined;
    const module = loaded.get(OPTIM) ?? (text === undefined ? undefined : open(OPTIM, text));
    if (!module) return;
    into.optimizerNames.push(...[...(text ?? "").matchAll(/^optimizer (\w+)/gm)].map((m) => m[1]));
    take(module, wanted);
    for (const n of wanted) {
      const item = module.names.get(n)?.item;
      if (item?.kind === "optimizer") into.optimizers.set(n, { item, module });
    }
  };
  /** There is no such name in what is imported, which has these. */
  const refuse = (into: Module, item: ast.ImportDecl, n: ast.ImportName, own: Iterable<string>): void => {
    const { name, span } = n.name;
    const home = importFor(name, resolve);
    const help = builtins.has(name) ? `${name} needs no import` : (home ?? pointer(name, own));
    into.missing.add((n.alias ?? n.name).name);
    out.report("E0802", `${item.from.value} has no ${name}`, span, help === undefined ? {} : { help });
  };
  const importInto = (into: Module, item: ast.ImportDecl): void => {
    const fail = (): void => {
      for (const n of item.names) into.missing.add((n.alias ?? n.name).name);
    };
    const path = resolvePath(into.file, item.from.value);
    if (path === undefined) {
      out.report("E0801", `there is no module "${item.from.value}"`, item.from.span, {
        help: /^(torch|numpy|jax|tensorflow)/.test(item.from.value)
          ? 'operators need no import, layers come from "std/nn" and losses from "std/loss"'
          : 'import from "std/nn" or from a relative path such as "./blocks.mdl"',
      });
      fail();
      return;
    }
    const known = builtins.module(path);
    if (known) {
      for (const n of item.names) {
        if (!known.includes(n.name.name)) refuse(into, item, n, known);
        else if (n.alias && n.alias.name !== n.name.name)
          out.report("E0802", `${n.name.name} of ${path} has no other name`, n.alias.span, {
            help: `write ${n.name.name}(…), which needs no import`,
          });
      }
      return;
    }
    let module = loaded.get(path);
    if (module && loading.includes(path)) {
      const circle = [...loading.slice(loading.indexOf(path)), path];
      out.report("E0803", `${circle.join(" imports ")}`, item.from.span, {
        help: "move what both need into a third file",
      });
      fail();
      return;
    }
    if (!module) {
      const text = resolve(path);
      if (text === undefined) {
        const std = [...STD.filter((s) => resolve(s) !== undefined), INIT];
        const help =
          didYouMean(path, std) ?? (path.startsWith("std/") ? `there is ${std.join(", ")}` : undefined);
        out.report(
          "E0801",
          `there is no module "${item.from.value}"`,
          item.from.span,
          help === undefined ? {} : { help },
        );
        fail();
        return;
      }
      module = open(path, text);
      if (!module) {
        fail();
        return;
      }
    }
    const library = take(
      module,
      item.names.map((n) => n.name.name),
    );
    for (const n of item.names) {
      const found = module.names.get(n.name.name);
      if (!found || found.imported) {
        const own = library?.names() ?? [...module.names].filter(([, v]) => !v.imported).map(([k]) => k);
        refuse(into, item, n, own);
        continue;
      }
      declare(into, n.alias ?? n.name, found.item, found.module, true);
    }
  };
  const main = load(root, file);
  bringOptimizers(main);
  return { root: main, modules: [...loaded.values()] };
}
