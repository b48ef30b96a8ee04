// What the system's package manager can add to a Linux machine: Mesa's software Vulkan driver and, on Debian, Chromium.
// Everything that is run is said first. Nothing is run without the right to (root, or sudo without a password), or where
// MDL_NO_INSTALL is set.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * A way to install something: commands for a POSIX shell, to be run as root.
 * `first` is what only a person can do, in words; the commands are empty then.
 * @typedef {{ what: string, commands: string[], first?: string }} Recipe
 */

const BACKPORTS =
  "add bookworm-backports (component main) of your Debian archive to /etc/apt/sources.list.d, then: apt-get update && apt-get install -t bookworm-backports mesa-vulkan-drivers libvulkan1";

function osRelease() {
  const file = ["/etc/os-release", "/usr/lib/os-release"].find((name) => existsSync(name));
  const lines = file ? readFileSync(file, "utf8").split("\n") : [];
  const value = (key) =>
    lines
      .find((line) => line.startsWith(`${key}=`))
      ?.slice(key.length + 1)
      .replaceAll('"', "") ?? "";
  return {
    ids: [value("ID"), ...value("ID_LIKE").split(" ")],
    codename: value("VERSION_CODENAME"),
    id: value("ID"),
  };
}

const aptSources = () =>
  ["/etc/apt/sources.list", ...list("/etc/apt/sources.list.d")]
    .filter((file) => /\.(list|sources)$/.test(file) && existsSync(file))
    .map((file) => readFileSync(file, "utf8"))
    .join("\n")
    .replaceAll(/^\s*#.*$/gm, "");

/**
 * The archive that this machine has Debian from, in either format of apt's sources: none is assumed.
 * @param {string} sources
 */
export const debianArchive = (sources) =>
  /^URIs:\s*(\S+\/debian)\/?\s*$/m.exec(sources)?.[1] ??
  /^deb\s+(?:\[.*?\]\s+)?(\S+\/debian)\/?\s+bookworm\s/m.exec(sources)?.[1];

const list = (folder) => (existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []);

const APT = "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends";

/**
 * How to get Mesa's software Vulkan driver (lavapipe), or undefined where we do not know.
 * @param {string} sources
 * @returns {Recipe | undefined}
 */
export function softwareDriverRecipe(sources = aptSources()) {
  if (process.platform !== "linux") return undefined;
  const { ids, id, codename } = osRelease();
  const mesa = "Mesa's software Vulkan driver";
  if (id === "debian" && codename === "bookworm") {
    // Debian 12's own Mesa 22.3 is too old for Dawn; backports have 25.0.
    const archive = debianArchive(sources);
    const known = /bookworm-backports/.test(sources);
    const what = `${mesa} (mesa-vulkan-drivers from bookworm-backports)`;
    if (!known && archive === undefined) return { what, commands: [], first: BACKPORTS };
    const source = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${archive} bookworm-backports main`;
    return {
      what,
      commands: [
        ...(known ? [] : [`echo '${source}' > /etc/apt/sources.list.d/bookworm-backports.list`]),
        "apt-get update -q",
        `${APT} -t bookworm-backports mesa-vulkan-drivers libvulkan1`,
      ],
    };
  }
  if (ids.includes("debian") || ids.includes("ubuntu")) {
    return {
      what: `${mesa} (mesa-vulkan-drivers)`,
      commands: ["apt-get update -q", `${APT} mesa-vulkan-drivers libvulkan1`],
    };
  }
  if (ids.includes("fedora") || ids.includes("rhel")) {
    return {
      what: `${mesa} (mesa-vulkan-drivers)`,
      commands: ["dnf install -y mesa-vulkan-drivers vulkan-loader"],
    };
  }
  if (ids.includes("arch")) {
    return {
      what: `${mesa} (vulkan-swrast)`,
      commands: ["pacman -S --needed --noconfirm vulkan-swrast vulkan-icd-loader"],
    };
  }
  return undefined;
}

/**
 * How to get what the estimator builds with, beside Mesa's drivers (which have AMD's compiler): a C compiler, Vulkan's headers.
 * @returns {Recipe | undefined}
 */
export function estimatorRecipe(sources = aptSources()) {
  const mesa = softwareDriverRecipe(sources);
  if (!mesa?.commands.some((command) => command.startsWith(APT))) return undefined;
  return {
    what: `${mesa.what}, a C compiler and Vulkan's headers`,
    commands: [...mesa.commands, `${APT} gcc libc6-dev libvulkan-dev`],
  };
}

/** How to get Chromium: on Debian, where it is a package and not a snap. @returns {Recipe | undefined} */
export function chromiumRecipe() {
  if (process.platform !== "linux" || osRelease().id !== "debian") return undefined;
  return { what: "Chromium (for the browser tests)", commands: ["apt-get update -q", `${APT} chromium`] };
}

/** The one command a person would type. @param {Recipe} recipe */
export const asOneCommand = (recipe) => `sudo sh -c ${quote(recipe.commands.join(" && "))}`;

const quote = (text) => (text.includes("'") ? `"${text.replaceAll(/["$`\\]/g, "\\$&")}"` : `'${text}'`);

/** The words before a command that make it root's, or undefined where we may not. */
function asRoot() {
  if (process.env.MDL_NO_INSTALL) return undefined;
  if (process.getuid?.() === 0) return [];
  return spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0 ? ["sudo", "-n"] : undefined;
}

/**
 * Carries a recipe out, or says which command would. Returns whether it was carried out.
 * @param {Recipe} recipe
 * @param {(line: string) => void} say
 */
export function install(recipe, say) {
  if (recipe.first) {
    say(`to install ${recipe.what}:\n  ${recipe.first}`);
    return false;
  }
  const prefix = asRoot();
  if (!prefix) {
    say(`to install ${recipe.what}:\n  ${asOneCommand(recipe)}`);
    return false;
  }
  say(`installing ${recipe.what}`);
  for (const command of recipe.commands) {
    say(`  ${[...prefix, command].join(" ")}`);
    const [program, ...args] = [...prefix, "sh", "-c", command];
    const run = spawnSync(program, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 300_000,
    });
    if (run.status !== 0) {
      const why = `${run.stderr}\n${run.stdout}`.trim().split("\n").slice(-5).join("\n  ");
      say(
        `that failed (${run.signal ?? `exit code ${run.status}`}):\n  ${why}\nto do it by hand:\n  ${asOneCommand(recipe)}`,
      );
      return false;
    }
  }
  return true;
}
