// The one command that gets a missing Vulkan driver on Linux. In: what /etc/os-release says. Out: text. The bootstrap
// (scripts/system-packages.mjs) knows the same and more, but runs before anything is built and is not in the package.
import { readFileSync } from "node:fs";

interface Recipe {
  readonly ids: readonly string[];
  readonly command: string;
}

const RECIPES: readonly Recipe[] = [
  { ids: ["debian", "ubuntu"], command: "sudo apt-get install -y mesa-vulkan-drivers libvulkan1" },
  { ids: ["fedora", "rhel"], command: "sudo dnf install -y mesa-vulkan-drivers vulkan-loader" },
  { ids: ["arch"], command: "sudo pacman -S --needed vulkan-swrast vulkan-icd-loader" },
];

/** Mesa's software driver, or undefined where we do not know how it is called. */
export function driverCommand(osRelease = readOsRelease()): string | undefined {
  const value = (key: string): string =>
    new RegExp(`^${key}="?([^"\\n]*)"?$`, "m").exec(osRelease)?.[1] ?? "";
  // Debian 12's own Mesa is too old for Dawn.
  if (value("ID") === "debian" && value("VERSION_CODENAME") === "bookworm") {
    return (
      "sudo sh -c 'echo deb http://deb.debian.org/debian bookworm-backports main > /etc/apt/sources.list.d/bookworm-backports.list" +
      " && apt-get update && apt-get install -y -t bookworm-backports mesa-vulkan-drivers libvulkan1'"
    );
  }
  const ids = [value("ID"), ...value("ID_LIKE").split(" ")];
  return RECIPES.find((r) => r.ids.some((id) => ids.includes(id)))?.command;
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
