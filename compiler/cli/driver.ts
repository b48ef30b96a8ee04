// How to get a missing Vulkan driver on Linux. In: what /etc/os-release and apt's sources say. Out: text. The bootstrap
// (scripts/system-packages.mjs) knows the same and more, but runs before anything is built and is not in the package.
import { readdirSync, readFileSync } from "node:fs";

interface Recipe {
  readonly ids: readonly string[];
  readonly command: string;
}

const RECIPES: readonly Recipe[] = [
  { ids: ["debian", "ubuntu"], command: "sudo apt-get install -y mesa-vulkan-drivers libvulkan1" },
  { ids: ["fedora", "rhel"], command: "sudo dnf install -y mesa-vulkan-drivers vulkan-loader" },
  { ids: ["arch"], command: "sudo pacman -S --needed vulkan-swrast vulkan-icd-loader" },
];

export interface DriverAdvice {
  /** One command for a shell. */
  readonly command: string;
  /** What only a person can do before it, in words. */
  readonly first?: string;
}

/** Mesa's software driver, or undefined where we do not know how it is called. */
export function driverAdvice(
  osRelease = readOsRelease(),
  sources = readAptSources(),
): DriverAdvice | undefined {
  const value = (key: string): string =>
    new RegExp(`^${key}="?([^"\\n]*)"?$`, "m").exec(osRelease)?.[1] ?? "";
  // Debian 12's own Mesa is too old for Dawn.
  if (value("ID") === "debian" && value("VERSION_CODENAME") === "bookworm") {
    const install =
      "apt-get update && apt-get install -y -t bookworm-backports mesa-vulkan-drivers libvulkan1";
    if (/bookworm-backports/.test(sources)) return { command: `sudo sh -c '${install}'` };
    // The archive this machine uses, in either format of apt's sources: none is assumed.
    const archive =
      /^URIs:\s*(\S+\/debian)\/?\s*$/m.exec(sources)?.[1] ??
      /^deb\s+(?:\[.*?\]\s+)?(\S+\/debian)\/?\s+bookworm\s/m.exec(sources)?.[1];
    if (archive === undefined) {
      return {
        first: "add bookworm-backports (component main) of your Debian archive to /etc/apt/sources.list.d",
        command: `sudo sh -c '${install}'`,
      };
    }
    const source = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${archive} bookworm-backports main`;
    return {
      command: `sudo sh -c 'echo "${source}" > /etc/apt/sources.list.d/bookworm-backports.list && ${install}'`,
    };
  }
  const ids = [value("ID"), ...value("ID_LIKE").split(" ")];
  const known = RECIPES.find((r) => r.ids.some((id) => ids.includes(id)));
  return known && { command: known.command };
}

function readAptSources(): string {
  const folder = "/etc/apt/sources.list.d";
  const read = (file: string): string => {
    try {
      return readFileSync(file, "utf8");
    } catch {
      return "";
    }
  };
  let names: string[] = [];
  try {
    names = readdirSync(folder).filter((name) => /\.(list|sources)$/.test(name));
  } catch {
    // No apt here.
  }
  return ["/etc/apt/sources.list", ...names.map((name) => `${folder}/${name}`)]
    .map(read)
    .join("\n")
    .replaceAll(/^\s*#.*$/gm, "");
}

function readOsRelease(): string {
  for (const file of ["/etc/os-release", "/usr/lib/os-release"]) {
    try {
      return readFileSync(file, "utf8");
    } catch {
      // the other one
    }
  }
  return "";
}
