// Whether dist/ was built from the sources as they are: dist/.sources holds what it was built from. Separate from the
// bootstrap because the build writes what the bootstrap reads.
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const SOURCES = ["compiler", "runtime"];
const SETTINGS = [
  "package-lock.json",
  "tsconfig.json",
  "tsconfig.build.json",
  "scripts/generate.mjs",
  "scripts/bundle-cli.mjs",
];

/** Dirent.path until Node 20.12, Dirent.parentPath since. */
const folderOf = (entry) => entry.parentPath ?? entry.path;

/** Every file that dist/ depends on, with its time and size. */
function fingerprint(root) {
  const files = SOURCES.flatMap((folder) =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile() && !folderOf(entry).endsWith("generated"))
          .map((entry) => join(folderOf(entry), entry.name).slice(root.length))
      : [],
  );
  return [...files, ...SETTINGS]
    .sort()
    .map((file) => {
      const { mtimeMs, size } = statSync(join(root, file));
      return `${file} ${mtimeMs} ${size}\n`;
    })
    .join("");
}

export function isBuilt(root) {
  const stamp = join(root, "dist", ".sources");
  return existsSync(stamp) && readFileSync(stamp, "utf8") === fingerprint(root);
}

/** Takes the fingerprint before a build; the returned function records it in the folder that was built. */
export function startBuild(root) {
  const before = fingerprint(root);
  return (dist) => writeFileSync(join(dist, ".sources"), before);
}
