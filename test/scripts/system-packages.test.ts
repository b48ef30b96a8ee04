// What the bootstrap says a person should type is a command a shell takes as meant.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { driverAdvice } from "../../compiler/cli/driver.ts";
import {
  asOneCommand,
  debianArchive,
  install,
  softwareDriverRecipe,
} from "../../scripts/system-packages.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

test.skipIf(process.platform === "win32")("the one command runs the recipe's commands in order", () => {
  const commands = ["echo 'a b'", 'printf "%s\\n" "$((1 + 1))"'];
  const command = asOneCommand({ what: "two lines", commands }).replace(/^sudo /, "");
  const run = spawnSync("sh", ["-c", command], { encoding: "utf8" });
  expect(run.stdout).toBe("a b\n2\n");
});

test("where nothing may be installed the command is said and nothing is run", () => {
  const before = process.env["MDL_NO_INSTALL"];
  process.env["MDL_NO_INSTALL"] = "1";
  const said: string[] = [];
  const done = install({ what: "nothing", commands: ["exit 1"] }, (line) => said.push(line));
  if (before === undefined) delete process.env["MDL_NO_INSTALL"];
  else process.env["MDL_NO_INSTALL"] = before;
  expect(done).toBe(false);
  expect(said).toEqual(["to install nothing:\n  sudo sh -c 'exit 1'"]);
});

test.skipIf(process.platform !== "linux")(
  "a Linux with a package manager we know has a recipe for a driver",
  () => {
    const knows = ["apt-get", "dnf", "pacman"].some((name) => spawnSync(name, ["--version"]).status === 0);
    expect(softwareDriverRecipe() !== undefined).toBe(knows);
  },
);

// What a machine's own configuration says of its archive, in both formats; an archive of no one's is used here.
const oneLine = "deb [arch=amd64] https://archive.test/debian bookworm main contrib\n";
const stanzas =
  "Types: deb\nURIs: https://archive.test/debian/\nSuites: bookworm bookworm-updates\nComponents: main\n";
const bookworm = 'ID=debian\nVERSION_CODENAME=bookworm\nID_LIKE=""\n';

test.each([
  ["one-line sources", oneLine],
  ["deb822 sources", stanzas],
])("the archive of backports is the machine's own: %s", (_, sources) => {
  expect(debianArchive(sources)).toBe("https://archive.test/debian");
  const advice = driverAdvice(bookworm, sources);
  expect(advice?.command).toContain("https://archive.test/debian bookworm-backports main");
  expect(advice?.first).toBeUndefined();
});

test("where no archive is configured, words say what to add, and no host is guessed", () => {
  expect(debianArchive("")).toBeUndefined();
  const advice = driverAdvice(bookworm, "");
  expect(advice?.first).toMatch(/add bookworm-backports .* of your Debian archive/);
  expect(`${advice?.first} ${advice?.command}`).not.toMatch(/https?:/);
});

test("a machine that has backports already adds no source", () => {
  const advice = driverAdvice(
    bookworm,
    `${oneLine}deb https://archive.test/debian bookworm-backports main\n`,
  );
  expect(advice?.command).not.toContain("https:");
});

test("no host of a package mirror stands in the sources", () => {
  const tracked = spawnSync("git", ["ls-files"], { cwd: root, encoding: "utf8" }).stdout.trim().split("\n");
  const holding = tracked.filter((file) => {
    if (file === "package-lock.json" || !/\.(ts|mts|mjs|js|json|md|sh|yml|mdl|run)$/.test(file)) return false;
    return /\b(deb|ftp\.\w+|archive|security)\.(debian|ubuntu)\.(org|com)\b/.test(
      readFileSync(join(root, file), "utf8"),
    );
  });
  expect(holding).toEqual([]);
});
