// What the bootstrap says a person should type is a command a shell takes as meant.
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { asOneCommand, install, softwareDriverRecipe } from "../../scripts/system-packages.mjs";

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
