// Replay: the same models through two revisions of the compiler, and what differs in what they make. In: the tree's top and
// the command line. Out: a report on standard output, what is going on on standard error, an exit code: 0 done; 1 something
// differs and `--expect equal` was asked for; 2 usage; 3 it could not run.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { targets as allTargets } from "../../compiler/core/targets.ts";
import { type Comparison, compare, isEqual, reportText } from "./compare.ts";
import { replayModels } from "./models.ts";
import type { ModelRecord } from "./record.ts";
import { commitRevision, type Revision, recordsOf, treeRevision } from "./revision.ts";

const HELP = `npm run replay -- [--against REV] [options]

Compiles the examples, the standard library's layers and the tests' models with this tree's compiler and with another
revision's, and says what differs: kernel texts, plans, dispatches, peak bytes, module sizes, compile times.

  --against REV      any commit; HEAD by default, so that what is not committed shows
  --targets A,B      targets; all by default
  --only PATTERN     models whose name matches (a regular expression; several times: any of them)
  --texts            the difference of every changed kernel, each once
  --plans            the difference of every changed plan
  --minified         sizes of minified modules, too: compiles everything once more
  --all              no limit to the lines of a section
  --expect equal     exit with 1 where anything but a time differs
  --list             the models' names, and no more
  -h, --help         this text

What a commit made is kept in node_modules/.cache/mdl-replay, or in the folder that MDL_REPLAY_CACHE names.`;

const say = (line: string): void => console.error(`replay: ${line}`);
/** Lines of a section without --all. */
const SECTION = 40;

class UsageError extends Error {}

function parseOptions(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        against: { type: "string", default: "HEAD" },
        targets: { type: "string" },
        only: { type: "string", multiple: true },
        texts: { type: "boolean", default: false },
        plans: { type: "boolean", default: false },
        minified: { type: "boolean", default: false },
        all: { type: "boolean", default: false },
        expect: { type: "string" },
        list: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.expect !== undefined && values.expect !== "equal")
      throw new UsageError("--expect takes `equal`");
    const known = allTargets.map((t) => t.name as string);
    const targets = values.targets?.split(",") ?? known;
    const unknown = targets.find((t) => !known.includes(t));
    if (unknown) throw new UsageError(`there is no target ${unknown}: there are ${known.join(", ")}`);
    const patterns = (values.only ?? []).map((p) => new RegExp(p));
    return { ...values, targets, patterns };
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

export async function main(root: string, args: readonly string[]): Promise<number> {
  let tree: Revision | undefined;
  try {
    const options = parseOptions(args);
    if (options.help) {
      console.log(HELP);
      return 0;
    }
    const models = replayModels(root).filter(
      (m) => options.patterns.length === 0 || options.patterns.some((p) => p.test(m.id)),
    );
    if (options.list) {
      for (const m of models) console.log(m.id);
      return 0;
    }
    if (models.length === 0) throw new UsageError("no model matches --only");
    const other = await commitRevision(root, options.against);
    tree = await treeRevision(root);
    const both: ModelRecord[][] = [];
    for (const revision of [other, tree]) {
      let done = 0;
      let kept = 0;
      const records = await recordsOf(root, revision, models, {
        targets: options.targets,
        minified: options.minified,
        progress: (_record, wasKept) => {
          done++;
          if (wasKept) kept++;
          else if (done % 20 === 0) say(`${revision.name}: ${done} of ${models.length} models`);
        },
      });
      say(`${revision.name}: ${models.length} models${kept > 0 ? `, ${kept} of them kept` : ""}`);
      both.push(records);
    }
    const comparison = compare(both[0], both[1]);
    console.log(`${other.name} -> ${tree.name}, ${options.targets.join(", ")}`);
    console.log(reportText(comparison, options.all ? undefined : SECTION));
    if (options.texts) printDifferences(kernelPairs(comparison));
    if (options.plans) printDifferences(comparison.plans.changes.map((c) => [c.where, c.before, c.after]));
    return options.expect === "equal" && !isEqual(comparison) ? 1 : 0;
  } catch (error) {
    if (error instanceof UsageError) {
      say(error.message);
      return 2;
    }
    const { message, stderr } = error as Error & { stderr?: string | Buffer };
    say(`${message.split("\n")[0]}${stderr ? `\n${String(stderr).trim()}` : ""}`);
    return 3;
  } finally {
    if (tree) rmSync(tree.compiler, { force: true });
  }
}

type Pair = readonly [title: string, before: string, after: string];

/** Changed kernels; one that many models share once. */
function kernelPairs(c: Comparison): Pair[] {
  const pairs = new Map<string, { places: string[]; before: string; after: string }>();
  for (const { kind, where, name, before = "", after = "" } of c.kernels.changes) {
    if (kind !== "changed") continue;
    const key = JSON.stringify([before, after]);
    const pair = pairs.get(key);
    if (pair) pair.places.push(`${where} ${name}`);
    else pairs.set(key, { places: [`${where} ${name}`], before, after });
  }
  return [...pairs.values()].map(({ places: [first, ...others], before, after }) => [
    others.length > 0 ? `${first} and ${others.length} more` : first,
    before,
    after,
  ]);
}

/** As git prints a difference. */
function printDifferences(pairs: readonly Pair[]): void {
  const folder = mkdtempSync(join(tmpdir(), "mdl-replay-"));
  try {
    for (const [title, before, after] of pairs) {
      writeFileSync(join(folder, "before"), `${before}\n`);
      writeFileSync(join(folder, "after"), `${after}\n`);
      const args = ["diff", "--no-index", "--no-ext-diff", "-U2", "before", "after"];
      const colour = process.stdout.isTTY ? ["--color"] : [];
      const { stdout } = spawnSync("git", [...args, ...colour], { cwd: folder, encoding: "utf8" });
      // The four lines of files and hashes say nothing here.
      console.log(`\n${title}\n${stdout.split("\n").slice(4).join("\n").trimEnd()}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
