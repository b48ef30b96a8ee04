// A revision's compiler as one file, and what it makes of models. In: the tree's top, a revision. Out: records. A commit is
// checked out into a worktree of its own, its generated sources are made by its own script, its library is bundled with the
// packages it needs; then the worktree goes. What a commit made of a model is kept, so that it is compiled once.
import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { build } from "esbuild";
import type { ModelRecord, ReplayModel } from "./record.ts";

/** A compiler to ask: a file that exports the library, and what its answers are kept under (a working tree's change). */
export interface Revision {
  readonly name: string;
  readonly compiler: string;
  /** Undefined: nothing is kept. */
  readonly cache?: string;
}

const CHILD = "scripts/replay/child.mjs";
/** A model that takes longer is reported as one that did not end. */
const PATIENCE_MS = 300_000;

const git = (root: string, ...args: readonly string[]): string =>
  execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();

/** Where it is kept: a folder that git ignores, or the one named, which worktrees of one repository may share. */
const cacheOf = (root: string): string =>
  process.env.MDL_REPLAY_CACHE ?? join(root, "node_modules", ".cache", "mdl-replay");

/** The commit's compiler. Throws with git's or the bundler's words where there is none. */
export async function commitRevision(root: string, rev: string): Promise<Revision> {
  const hash = git(root, "rev-parse", "--verify", `${rev}^{commit}`);
  const name = git(root, "log", "-1", "--format=%h %s", hash);
  const cache = join(cacheOf(root), hash);
  const compiler = join(cache, "compiler.mjs");
  if (existsSync(compiler)) return { name, compiler, cache };
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), "mdl-replay-"));
  const tree = join(folder, "tree");
  try {
    git(root, "worktree", "add", "--detach", tree, hash);
    symlinkSync(join(root, "node_modules"), join(tree, "node_modules"), "junction");
    await bundleLibrary(tree, compiler);
  } finally {
    // The link first: what it leads to stays.
    rmSync(join(tree, "node_modules"), { force: true });
    if (existsSync(tree)) git(root, "worktree", "remove", "--force", tree);
    rmSync(folder, { recursive: true, force: true });
  }
  return { name, compiler, cache };
}

/** The compiler of the tree as it lies there. */
export async function treeRevision(root: string): Promise<Revision> {
  const compiler = join(root, "node_modules", ".cache", "mdl", `replay.${process.pid}.mjs`);
  await bundleLibrary(root, compiler);
  return { name: "the working tree", compiler };
}

/** The library is where the package says that it will be built from: folders may have had other names. */
async function bundleLibrary(tree: string, outfile: string): Promise<void> {
  const script = join(tree, "scripts", "generate.mjs");
  if (existsSync(script)) execFileSync(process.execPath, [script], { cwd: tree, stdio: "ignore" });
  const { exports } = JSON.parse(readFileSync(join(tree, "package.json"), "utf8")) as {
    exports: Record<string, { default: string }>;
  };
  const entry = exports["."].default.replace(/^\.\/dist\//, "").replace(/\.js$/, ".ts");
  const partial = `${outfile}.${process.pid}`;
  mkdirSync(dirname(outfile), { recursive: true });
  await build({
    entryPoints: [join(tree, entry)],
    outfile: partial,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    logLevel: "silent",
  });
  renameSync(partial, outfile);
}

export interface RunOptions {
  readonly targets: readonly string[];
  /** Compiles once more, for the size of the minified module. */
  readonly minified?: boolean;
  /** Called with each record as it is there; kept ones too. */
  readonly progress?: (record: ModelRecord, kept: boolean) => void;
}

/** What the revision makes of the models, in their order. A process that dies is said of the model that it had. */
export async function recordsOf(
  root: string,
  revision: Revision,
  models: readonly ReplayModel[],
  options: RunOptions,
): Promise<ModelRecord[]> {
  const child = readFileSync(join(root, CHILD));
  const fileOf = (model: ReplayModel): string | undefined => {
    if (revision.cache === undefined) return undefined;
    const key = createHash("sha256")
      .update(child)
      .update(JSON.stringify([model, options.targets, options.minified === true]));
    return join(revision.cache, `${key.digest("hex").slice(0, 32)}.json.gz`);
  };
  const records = new Map<string, ModelRecord>();
  for (const model of models) {
    const file = fileOf(model);
    if (file === undefined || !existsSync(file)) continue;
    const record = JSON.parse(gunzipSync(readFileSync(file)).toString()) as ModelRecord;
    records.set(model.id, record);
    options.progress?.(record, true);
  }
  const done = (model: ReplayModel, record: ModelRecord): void => {
    records.set(model.id, record);
    const file = fileOf(model);
    if (file !== undefined) {
      writeFileSync(`${file}.${process.pid}`, gzipSync(JSON.stringify(record), { level: 4 }));
      renameSync(`${file}.${process.pid}`, file);
    }
    options.progress?.(record, false);
  };
  let left = models.filter((m) => !records.has(m.id));
  while (left.length > 0) {
    const end = await runChild(root, revision, left, options, (record) => {
      done(left[0], record);
      left = left.slice(1);
    });
    if (end !== undefined && left.length > 0) {
      done(left[0], { id: left[0].id, error: end });
      left = left.slice(1);
    }
  }
  return models.map((m) => records.get(m.id) as ModelRecord);
}

/** Sends the models to a process of their own. Resolves to how it ended, where it did not say all. */
function runChild(
  root: string,
  revision: Revision,
  models: readonly ReplayModel[],
  { targets, minified }: RunOptions,
  each: (record: ModelRecord) => void,
): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = fork(join(root, CHILD), [], { stdio: ["ignore", "ignore", "pipe", "ipc"] });
    let said = "";
    let slow = false;
    let timer: NodeJS.Timeout;
    const wait = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        slow = true;
        child.kill("SIGKILL");
      }, PATIENCE_MS);
    };
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4000);
    });
    child.on("message", (record: ModelRecord) => {
      wait();
      each(record);
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      if (code === 0) return resolve(undefined);
      const why = said.split("\n").find((line) => /^\w*Error|FATAL/.test(line));
      resolve(
        slow
          ? `it did not end within ${PATIENCE_MS / 1000} s`
          : `its process ended with ${signal ?? code}${why ? `: ${why}` : ""}`,
      );
    });
    wait();
    child.send({ compiler: revision.compiler, models, targets, minified });
  });
}
